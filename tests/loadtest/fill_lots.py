"""Fills the store of a node that is not running with lots made from a template, by the formula.

    python -m tests.loadtest.fill_lots NODE --rows N --serials M

`biaoshi loadtest large` runs this. Loading 100 M rows from text would take hours; here the texts of
a row are made where they are kept, and everything after that is what a stream of registrations goes
through: attributes kept, lots chosen, rows and counts stored, the journal written. It looks inside,
so it is no part of `loadtest`. What is forced to disk is the whole store, once, at the end: a run
that was broken off is begun anew.
"""

import argparse
import os
from pathlib import Path

from loadtest.formula import (
    FULL,
    TEMPLATE_CODE,
    TIMESTAMP_S,
    Shape,
    make_handle,
    make_serial_texts,
)
from protocol.handle import fold_handles
from registry.attribute_types import Attribute, AttributeType, keep
from registry.journal import FRAME_OPERATIONS_MAX, OWNER, JournalOperation, Kind, pack_change
from registry.log import LocalLog
from registry.replay import replay
from registry.store import Store
from registry.template_lots import Lots, pack_entries, put_new_lot
from registry.template_rows import Fields, fields_of, tail_of
from registry.templates import Registered, Template, encode_template, name_key, number_key
from registry.views import WriteView
from resolver.config import load_config

NUMBER = 1  # of the template's version, in a store that has no other
ATTRIBUTES = (
    Attribute("URL", AttributeType.URL, required=True),
    Attribute("DESC", AttributeType.STRING, required=True),
    Attribute("SERIAL", AttributeType.STRING, required=True),
)
FRAMES = 8  # in one transaction
TRANSACTION_ROWS = FRAMES * FRAME_OPERATIONS_MAX
PLACE, BETWEEN = "\0", "\n"  # for a serial, between texts; neither stands in any
_TIME_MS = TIMESTAMP_S * 1_000


def make_template(shape: Shape) -> Template:
    """Return what the rows of a shape are made from."""
    prefix = shape.prefix.encode()
    return Template(prefix, TEMPLATE_CODE, 1, "Parts", "C3670", False, ATTRIBUTES)


def register(view: WriteView, template: Template) -> None:
    """Register the one template of a store, journal and all."""
    entries = [
        (number_key(NUMBER), encode_template(Registered(template, TIMESTAMP_S, OWNER))),
        (name_key(template.prefix, template.code, template.version), number_key(NUMBER)),
    ]
    payload = pack_entries(entries)
    operation = JournalOperation(Kind.TEMPLATE, b"", (), OWNER, TIMESTAMP_S, payload)
    replay(view, [operation])
    LocalLog(view).append_operations([operation], _TIME_MS)


class LotRows:
    """Makes what is kept of the rows of a shape, lot by lot."""

    def __init__(self, shape: Shape) -> None:
        self.template = make_template(shape)
        self._shape = shape
        self._lot = -1
        self._pieces: list[str] = []  # of all texts, around serials
        self._fields: Fields = []

    def fields(self, row: int, key: bytes) -> Fields:
        """Return what is kept of a row: as of its lot, unless its serial stands there by chance."""
        lot = row // self._shape.serials
        if lot != self._lot:
            self._begin(lot)
        serial = tail_of(key).decode()
        if serial.join(self._pieces).split(serial) == self._pieces:
            return self._fields
        texts = [text for _, text in make_serial_texts(self._shape, lot, serial)]
        return fields_of(self.template, texts, (), TIMESTAMP_S, tail_of(key))

    def _begin(self, lot: int) -> None:
        texts = [text for _, text in make_serial_texts(self._shape, lot, PLACE)]
        for attribute, text in zip(self.template.attributes, texts, strict=True):
            assert keep(attribute, text.replace(PLACE, "0")), "texts are kept as they are"
        self._lot = lot
        self._pieces = BETWEEN.join(texts).split(PLACE)
        self._fields = fields_of(self.template, texts, (), TIMESTAMP_S, PLACE.encode())


def fill(store: Store, shape: Shape) -> None:
    """Register the template and every row of a shape in a store that has neither."""
    rows = LotRows(shape)
    with store.write() as view:
        assert not any(view.table("templates").items()), "the store has templates already"
        register(view, rows.template)
    for first in range(0, shape.rows, TRANSACTION_ROWS):
        with store.write() as view:
            lots = Lots(view.table("templates"))
            end = min(first + TRANSACTION_ROWS, shape.rows)
            for start in range(first, end, FRAME_OPERATIONS_MAX):
                numbers = range(start, min(start + FRAME_OPERATIONS_MAX, end))
                LocalLog(view).append_packed(add(view, lots, rows, shape, numbers), _TIME_MS)


def add(
    view: WriteView, lots: Lots, rows: LotRows, shape: Shape, numbers: range
) -> list[list[object]]:
    """Store rows; return their operations for the journal."""
    handles = [make_handle(shape, number) for number in numbers]
    folded = fold_handles(handles, case_sensitive=False)
    octets: list[bytes] = []
    items: list[list[object]] = []
    before, payload = None, b""
    for number, key in zip(numbers, folded, strict=True):
        new = lots.add(NUMBER, rows.fields(number, key))
        if new is not before:  # that of a row which differs in nothing is the same again and again
            before, payload = new, new.payload()
            put_new_lot(view, new)
        octets.append(new.row)
        items.append(pack_change(Kind.CREATE_FROM_TEMPLATE, key, payload, OWNER, TIMESTAMP_S))
    assert all(view.add_rows(folded, octets)), "the store has some of the rows already"
    return items


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("node", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--serials", type=int, required=True)
    parser.add_argument("--prefix", default="88.118.5")
    options = parser.parse_args()
    shape = Shape(options.rows, FULL, options.prefix, options.serials, lots=True)
    config = load_config(options.node / "biaoshi.toml")
    with Store.open(config.store_folder, sync=False, map_octets=config.store.map_octets) as store:
        fill(store, shape)
    os.sync()


if __name__ == "__main__":
    main()
