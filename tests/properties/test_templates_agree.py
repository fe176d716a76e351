"""Any template and any attributes: what is kept compactly answers like the values themselves.

rows of a stream ──> compact rows ──expand──> the records that registering the values would give
        │                └──fast path──> the answers of the readable path
        └──> journal ──replay──> the same store
"""

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag
from protocol.envelope import Envelope
from protocol.header import Header
from protocol.message import Message
from protocol.value import HandleValue, Reference
from protocol.versions import BEST
from registry.acts import Done
from registry.attribute_types import AttributeType
from registry.outcomes import Refusal
from registry.schema import RECORD_FORMAT, decode_record, encode_record
from registry.store import Store
from registry.streams import Verdict
from registry.template_creations import TemplateCreations
from registry.template_requests import pack_request, unpack_request
from registry.template_rows import is_template_row
from registry.verify import verify
from tests.registry.builders import open_store, rows_of
from tests.registry.template_builders import DOCUMENT, LATER_S, act, made_row, seed, send
from tests.resolver.two_paths import Given, make_paths

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
CHOICES = st.lists(TEXT, min_size=1, max_size=4, unique=True)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN_TYPES = [each for each in AttributeType if each is not AttributeType.LIST]
SERIALS = st.integers(0, 99_999)
PUBLIC_RECORD = RECORD_FORMAT << 4


def ask(handle: bytes) -> bytes:
    envelope, header = Envelope(BEST, BEST, 0, 0, 7, 0, 0), Header(1, 0, MessageFlag.PUBLIC_ONLY, 0)
    return Message(envelope, header, ResolutionRequest(handle).encode()).encode()


def content(type_: AttributeType, values: list[str]) -> st.SearchStrategy[Any]:
    return {
        AttributeType.STRING: TEXT,
        AttributeType.NUMBER: NUMBERS,
        AttributeType.BOOLEAN: st.booleans(),
        AttributeType.DATE: st.dates().map(lambda day: day.isoformat()),
        AttributeType.URL: SERIALS.map(lambda serial: f"https://example.org/{serial:06}?a"),
        AttributeType.IDENTIFIER: SERIALS.map(lambda serial: f"88.118/X.{serial:06}.{serial:06}"),
        AttributeType.ENUMERATION: st.sampled_from(values or ["-"]),
    }[type_]


@st.composite
def templates(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, st.SearchStrategy[Any]]]:
    """Return a template's document, and what each of its attributes may be."""
    attributes, contents = [], {}
    for position, type_ in enumerate(draw(st.lists(st.sampled_from(AttributeType), max_size=8))):
        name = f"a{position}"
        form: dict[str, Any] = {"name": name, "type": type_.value, "required": draw(st.booleans())}
        item = draw(st.sampled_from(PLAIN_TYPES)) if type_ is AttributeType.LIST else type_
        values = draw(CHOICES) if item is AttributeType.ENUMERATION else []
        if values:
            form["values"] = values
        contents[name] = content(item, values)
        if type_ is AttributeType.LIST:
            form["itemType"] = item.value
            contents[name] = st.lists(contents[name], max_size=3)
        if not form["required"]:
            contents[name] = contents[name] | st.none()
        attributes.append(form)
    attributes.append({"name": "serial", "type": "string"})
    return {**DOCUMENT, "attributes": attributes}, contents


OTHERS = st.lists(
    st.builds(
        HandleValue,
        index=st.integers(1, 999),
        type=st.binary(max_size=6),
        data=st.binary(max_size=10) | SERIALS.map(lambda serial: b"x%06dy%06d" % (serial, serial)),
        permission=st.integers(0, 15),
        ttl=st.integers(0, 2**31 - 1),
        ttl_type=st.integers(0, 1),
        references=st.lists(
            st.builds(Reference, st.binary(max_size=8), st.integers(0, 9)), max_size=2
        ).map(tuple),
    ),
    max_size=2,
    unique_by=lambda value: value.index,
)


@st.composite
def rows(draw: st.DrawFn, contents: dict[str, st.SearchStrategy[Any]]) -> list[Any]:
    """Return rows of a lot: most of what they have is that of the one before."""
    made = []
    attributes = {name: draw(each) for name, each in contents.items()}
    others: list[HandleValue] = []
    for serial in draw(st.lists(SERIALS, min_size=1, max_size=40, unique=True)):
        for name in draw(st.lists(st.sampled_from([*contents, "others", "none"]), max_size=2)):
            if name == "others":
                others = draw(OTHERS)
            elif name in contents:
                attributes = {**attributes, name: draw(contents[name])}
        text = draw(st.sampled_from([f"{serial:06}", f"SN-{serial:06}-{serial:06}", "same"]))
        handle = draw(st.sampled_from([b"88.118/L.%06d", b"88.118/P%d", b"88.118/Q-%xX"])) % serial
        made.append(made_row(handle, {**attributes, "serial": text}, *others))
    return made


def ordinary(store: Store, made: Any) -> bytes:
    """Return the record of the values that a row stands for."""
    with store.read() as view:
        wanted = TemplateCreations(view, LATER_S).make(made.handle, unpack_request(made.octets))
    assert not isinstance(wanted, Refusal), wanted
    return encode_record(wanted.values(LATER_S), b"")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_compact_rows_answer_like_the_values_themselves(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder: Path = tmp_path_factory.mktemp("templates") / "store"
    seed(folder)
    document, contents = data.draw(templates())
    with open_store(folder) as store:
        outcome = act(store, "templates.register", document)
        assert isinstance(outcome, Done), outcome
        made = data.draw(rows(contents))
        cut = data.draw(st.integers(0, len(made)))
        runs = [run for part in (made[:cut], made[cut:]) if part for run in send(store, part)]
        expected: dict[bytes, bytes] = {}
        for row, run in zip(made, runs, strict=True):
            taken = row.handle.upper() in expected
            assert (run.verdict == Verdict.CREATED) is not taken, run
            expected.setdefault(row.handle.upper(), ordinary(store, row))
        found, _ = store.find_rows(list(expected), [])
        assert found == list(expected.values())
        paths = make_paths(cast("Given", store))
        asked = [ask(row.handle) for row in made]
        are_plain = all(each[0] == PUBLIC_RECORD for each in expected.values())
        assert paths.check(asked) == len(asked) or not are_plain
        with store.read() as view:
            for key, record in expected.items():
                assert view.find_record(key) == decode_record(record)
        stored = rows_of(store)
        assert all(is_template_row(stored[key]) for key in expected)
    assert verify(folder).problems == []


@given(st.dictionaries(TEXT, TEXT | NUMBERS | st.booleans() | st.lists(TEXT, max_size=3)), TEXT)
def test_requests_pack_and_unpack_to_the_same(attributes: dict[str, Any], name: str) -> None:
    row = made_row(b"88.118/1", attributes, template=name, version=3, is_text=True)
    request = unpack_request(row.octets)
    assert (request.template, request.version, request.attributes) == (name, 3, attributes)
    assert pack_request(request) == row.octets
