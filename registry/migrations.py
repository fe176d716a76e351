"""Whether a store fits this program, and how one of an older version becomes one of this.

`MIGRATIONS[n]` turns version n into n + 1 within the one write transaction that opens the store:
either all steps happen or none. To add one: raise `STORE_VERSION` in `registry.schema`, describe
the new form there, and add the step here. A step may re-write every row; it keeps what the journal
replays to equal to what is stored, or it says so in the release notes and seals a snapshot.

    1 -> 2   databases for streams of registrations, which are made when the store is opened
    2 -> 3   databases for ranges, templates, histories, statistics and the prefix office; handles
             are counted in pages by the node that serves the store (`registry.first_count`)
    3 -> 4   revoked ranges are counted with everything else in `statistics`, not in `meta`
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from registry.counters import TABLE, totals_key
from registry.errors import StoreError
from registry.first_count import NOTHING_TO_COUNT, put_progress
from registry.schema import STORE_VERSION
from registry.views import View, WriteView

Migration = Callable[[WriteView], None]


def _nothing_to_rewrite(_: WriteView) -> None:
    """Leave all rows as they are: the new version only has more databases."""


def _join_counts(view: WriteView) -> None:
    """Put what version 3 counted of revoked ranges apart, in `meta`, behind the other totals.

    There it had, for each prefix, eight numbers of 12 octets, the sixth and seventh of them these.
    """
    totals, apart = view.writable(TABLE), view.writable("meta")
    counted = dict(apart.items(prefix=b"tally\0"))
    for key, octets in list(totals.items(prefix=totals_key(b""))):
        numbers = counted.get(b"tally\0" + key[1:], b"").ljust(8 * 12, b"\0")
        more = (numbers[at : at + 12].rjust(16, b"\0") for at in (5 * 12, 6 * 12))
        totals.put(key, octets + b"".join(more))
    for key in counted:
        apart.delete(key)


MIGRATIONS: dict[int, Migration] = {
    1: _nothing_to_rewrite,
    2: _nothing_to_rewrite,
    3: _join_counts,
}


def migrate(
    view: WriteView, found: int, wanted: int, steps: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Bring a store from version `found` to version `wanted`.

    Raises:
        StoreError: a step is missing from the table.
    """
    for version in range(found, wanted):
        step = steps.get(version)
        if step is None:
            raise StoreError(
                f"the store has version {version}, which this program cannot bring to "
                f"{version + 1}: open it with the release that wrote it and export it"
            )
        step(view)


def prepare_store(folder: Path, view: WriteView, case_sensitive: bool | None) -> bool:
    """Make a new store's notes, or migrate an old store; return whether suffixes keep their case.

    Raises:
        StoreError: a newer version, the other case rule, or no way from an old version.
    """
    if view.find_meta(b"version") is None:
        view.put_meta(b"version", _version_octets(STORE_VERSION))
        view.put_meta(b"case_sensitive", bytes([bool(case_sensitive)]))
        put_progress(view.writable(TABLE), NOTHING_TO_COUNT)
    version = _read_version(folder, view)
    view.case_sensitive = _check_case(folder, view, case_sensitive)
    if version < STORE_VERSION:
        view.frame = None  # another form of what is stored is no change for the history
        migrate(view, version, STORE_VERSION)
        view.put_meta(b"version", _version_octets(STORE_VERSION))
    for name in (b"histories", b"range_histories"):
        if view.find_meta(name) is None:
            view.put_meta(name, view.head().seq.to_bytes(8, "big"))
    return view.case_sensitive


def check_store(folder: Path, view: View, case_sensitive: bool | None) -> bool:
    """Check a store that is only read; return whether suffixes keep their case.

    Raises:
        StoreError: another version, or the other case rule.
    """
    version = _read_version(folder, view)
    if version < STORE_VERSION:
        raise StoreError(
            f"the store in {folder} has version {version}, this program reads version "
            f"{STORE_VERSION}: start the node once, it migrates the store"
        )
    return _check_case(folder, view, case_sensitive)


def _version_octets(version: int) -> bytes:
    return version.to_bytes(4, "big")


def _read_version(folder: Path, view: View) -> int:
    version = int.from_bytes(view.find_meta(b"version") or b"", "big")
    if version > STORE_VERSION:
        raise StoreError(
            f"the store in {folder} has version {version}, this program knows versions up to "
            f"{STORE_VERSION}: run the release that wrote it, or a newer one"
        )
    return version


def _check_case(folder: Path, view: View, wanted: bool | None) -> bool:
    found = view.find_meta(b"case_sensitive") == b"\1"
    if wanted is not None and wanted != found:
        raise StoreError(
            f"the store in {folder} was made with case_sensitive = {str(found).lower()} and "
            f"cannot be read otherwise: set it back, or export and import into a new store"
        )
    return found
