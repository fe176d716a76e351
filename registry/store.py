"""The LMDB environments of a node: the store of handles, and the recursive role's cache.

This is the only file that imports lmdb. What every user of an environment relies on:

- One process writes, any number read; a writer's transactions are one at a time. A transaction is
  durable when its `with` block is left: LMDB writes the pages, fdatasync, the meta page, fdatasync.
- An environment never crosses a fork. A child opens its own; using its parent's fails an assert.
- The map is huge and sparse and never grows: growing it under readers fails. What is used on disk
  is what is stored.
- A long read transaction keeps old pages from being used again: lists are paged.
- A write that finds no room raises StoreFullError and leaves everything as it was.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from registry.errors import RecordError, StoreError, StoreFullError
from registry.migrations import check_store, prepare_store
from registry.range_records import FindNearest, FoundRow, find_nearest
from registry.tables import seek_after
from registry.template_expansion import ExpandRows, expand_rows
from registry.views import Databases, Head, View, WriteView

__all__ = [
    "CacheStore",
    "Head",
    "RecordError",
    "Store",
    "StoreError",
    "StoreFullError",
    "View",
    "WriteView",
]

MAP_OCTETS = 1 << 40  # 1 TiB of address space; 500 bn identifiers as ranges need 10 GB of it
CACHE_MAP_OCTETS = 1 << 30
READERS_MAX = 510  # every worker and tool holds a few slots; a slot is 64 octets
SPARE_TRANSACTIONS = 4  # kept ready by py-lmdb, so that a read begins in 0.3 us
ENGINE_09 = 0  # `lib_version`: files stay readable by every LMDB 0.9 tool
SHORT_OF_ROOM_OCTETS = 64 * 1_048_576  # less free than this explains a write cut short
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def free_octets(folder: Path) -> int:
    """Return the room for ordinary users on the disk that holds a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Turn what lmdb raises into StoreError and StoreFullError."""
    try:
        yield
    except lmdb.Error as error:
        raise _translation(folder, error) from error


def _translation(folder: Path, error: Exception) -> StoreError:
    if isinstance(error, lmdb.MapFullError):
        return StoreFullError(f"{folder}: the map is full; raise map_octets")
    code = getattr(error, "code", 0)
    # LMDB reports a write that a full disk cut short as an I/O error.
    if code in _NO_ROOM or (code == errno.EIO and free_octets(folder) < SHORT_OF_ROOM_OCTETS):
        return StoreFullError(f"{folder}: no room on the disk")
    return StoreError(f"{folder}: {error}")


def _open_environment(
    folder: Path,
    *,
    readonly: bool,
    map_octets: int,
    sync: bool,
    databases: int,
    scans: bool = False,
) -> lmdb.Environment:
    return lmdb.Environment(
        str(folder),
        map_size=map_octets,
        readonly=readonly,
        create=not readonly,
        metasync=True,
        sync=sync,
        mode=0o600,
        readahead=scans,  # look-ups are random; reading ahead would evict what is asked for
        max_readers=READERS_MAX,
        max_dbs=databases,
        max_spare_txns=SPARE_TRANSACTIONS,
        lib_version=ENGINE_09,
    )


class _Environment:
    """What both kinds of environment share."""

    def __init__(self, folder: Path, environment: lmdb.Environment, *, readonly: bool) -> None:
        self.folder = folder
        self.readonly = readonly
        self._env = environment
        self._process = os.getpid()

    def _check_process(self) -> None:
        assert os.getpid() == self._process, "an LMDB environment was carried over a fork"

    def clear_dead_readers(self) -> int:
        """Free the slots of processes that died reading; return how many there were."""
        with _translated(self.folder):
            return int(self._env.reader_check())

    @property
    def data_file(self) -> Path:
        """LMDB's file, which a process that has this open has mapped into its memory."""
        return self.folder / "data.mdb"

    def free_octets(self) -> int:
        """Return the room left on the disk for ordinary users."""
        return free_octets(self.folder)

    def used_octets(self) -> int:
        """Return what the data file takes on the disk."""
        return self.data_file.stat().st_blocks * 512

    def close(self) -> None:
        """Close the environment; its views end with it."""
        self._env.close()


class Store(_Environment):
    """The handles of a node. `Store.open` makes one; `read` and `write` hand out views."""

    rows_database = b"handles"  # within LMDB's file
    ranges_database = b"ranges"

    def __init__(
        self,
        folder: Path,
        environment: lmdb.Environment,
        databases: Databases,
        *,
        readonly: bool,
        case_sensitive: bool,
    ) -> None:
        super().__init__(folder, environment, readonly=readonly)
        self._dbs = databases
        # Of which state of the store it is known whether there are any: ranges, templates.
        self._counted_state = -1
        self._has_ranges = self._has_templates = False
        self.case_sensitive = case_sensitive

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        readonly: bool = False,
        map_octets: int = MAP_OCTETS,
        sync: bool = True,
        case_sensitive: bool | None = False,
        scans: bool = False,
    ) -> "Store":
        """Open the store in a folder; a writer creates or migrates it.

        Args:
            folder: holds LMDB's two files; made when missing, not read-only.
            readonly: for workers and tools; the store must exist in this version.
            map_octets: bound on the store's size, address space only.
            sync: False only for scratch stores that may be lost.
            case_sensitive: must be what the store was made with; None takes what that was.
            scans: it is read from end to end, so the disk is read ahead.

        Raises:
            StoreError: missing, of another version, or made with the other case rule.
        """
        if not readonly:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not (folder / "data.mdb").exists():
            raise StoreError(f"no store in {folder}: make one with biaoshi init")
        with _translated(folder):
            environment = _open_environment(
                folder,
                readonly=readonly,
                map_octets=map_octets,
                sync=sync,
                databases=len(Databases._fields),
                scans=scans,
            )
            try:
                prepare = _check if readonly else _prepare
                databases, case = prepare(folder, environment, case_sensitive)
            except BaseException:
                environment.close()
                raise
        return cls(folder, environment, databases, readonly=readonly, case_sensitive=case)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[View]:
        """Hand out a view of one consistent state."""
        self._check_process()
        with _translated(self.folder), self._env.begin() as txn:
            yield View(txn, self._dbs, case_sensitive=self.case_sensitive)

    def find_rows(
        self,
        keys: list[bytes],
        prefixes: list[bytes],
        nearest: FindNearest = find_nearest,
        expand: ExpandRows = expand_rows,
    ) -> tuple[list[FoundRow], list[bool]]:
        """Return what is found of handles, and which prefix handles are homed, of one state.

        A silent prefix does not count as homed (`registry.standings`).

        Args:
            keys: folded handles that are storage keys, each 1 to 511 octets.
            prefixes: folded, and short enough to be keys themselves.
            nearest: `find_nearest`, or the same thing faster.
            expand: `expand_rows`, or what leaves rows from templates as they are that it knows.

        Returns:
            Rows, or where there is none the nearest range, which need not hold the handle; None
            where there is no range either.
        """
        self._check_process()
        databases = self._dbs
        try:
            with self._env.begin(databases.handles) as txn:
                get, homed = txn.get, databases.prefixes
                rows: list[FoundRow] = list(map(get, keys))
                state = txn.id()
                if state != self._counted_state:
                    self._count_kinds(txn, state)
                if self._has_templates:
                    expand(partial(get, db=databases.templates), keys, rows)
                if self._has_ranges and not all(rows):
                    rows = nearest(txn, databases.ranges, keys, rows)
                return rows, [get(prefix, b"", homed) != b"" for prefix in prefixes]
        except lmdb.Error as error:
            raise _translation(self.folder, error) from error

    def _count_kinds(self, txn: Any, state: int) -> None:
        """See whether there are ranges and templates: once in every state, most have neither."""
        self._has_ranges = txn.stat(self._dbs.ranges)["entries"] > 0
        self._has_templates = txn.stat(self._dbs.templates)["entries"] > 0
        self._counted_state = state

    @contextmanager
    def write(self, *, journaled: bool = True) -> Iterator[WriteView]:
        """Hand out a view that writes; waits for the writer before.

        It is committed, durably, when the block is left, and undone when it is left by an
        exception. With `journaled`, changes without a frame are our own mistake: an assert.

        Raises:
            StoreFullError: no room; the store is as it was.
        """
        self._check_process()
        with _translated(self.folder):
            txn = self._env.begin(write=True)
            try:
                view = WriteView(txn, self._dbs, case_sensitive=self.case_sensitive)
                yield view
                assert not (journaled and view.unjournaled), "changes without a journal frame"
                view.changes.keep()
            except BaseException:
                txn.abort()
                raise
            txn.commit()


def _open_databases(environment: lmdb.Environment, txn: Any, *, create: bool) -> Databases:
    return Databases(
        *(environment.open_db(name.encode(), txn=txn, create=create) for name in Databases._fields)
    )


def _prepare(
    folder: Path, environment: lmdb.Environment, case_sensitive: bool | None
) -> tuple[Databases, bool]:
    """Create what is missing and migrate what is old, in one transaction."""
    with environment.begin(write=True) as txn:
        databases = _open_databases(environment, txn, create=True)
        view = WriteView(txn, databases, case_sensitive=bool(case_sensitive))
        return databases, prepare_store(folder, view, case_sensitive)


def _check(
    folder: Path, environment: lmdb.Environment, case_sensitive: bool | None
) -> tuple[Databases, bool]:
    try:
        databases = _open_databases(environment, None, create=False)
    except (lmdb.NotFoundError, lmdb.ReadonlyError) as error:
        raise StoreError(
            f"the store in {folder} is not complete or of an older version: start the node once"
        ) from error
    with environment.begin() as txn:
        view = View(txn, databases, case_sensitive=bool(case_sensitive))
        return databases, check_store(folder, view, case_sensitive)


def read_boot_id() -> str:
    """Return what the kernel calls this boot of the machine; empty where it does not say."""
    try:
        return _BOOT_ID_FILE.read_text().strip()
    except OSError:
        return ""


class CacheStore(_Environment):
    """A bounded cache of rows on disk; one process writes it, workers read it.

    Nothing in it is ever forced to disk, so after the machine (not merely the process) went down
    its pages may be torn: the file `boot` says in which boot it was open, and a writer that finds
    it open in another boot starts from nothing. Under its bound a hand goes round the keys and
    drops what it meets; rows are opaque here, so what expires is the owner's to delete.
    """

    rows_database = b""  # within LMDB's file: the unnamed one
    ranges_database = None  # a cache has none
    FILL_MAX = 0.75  # of the map: deleting needs free pages, and readers keep old ones
    EVICT_ROWS = 256  # dropped at a time, so that no put waits long

    def __init__(
        self,
        folder: Path,
        *,
        readonly: bool = False,
        octets_max: int = CACHE_MAP_OCTETS,
        read_boot: Callable[[], str] = read_boot_id,
    ) -> None:
        """Open or make the cache.

        Raises:
            StoreError: read-only and not there yet, or the folder is not writable.
        """
        self.octets_max = octets_max
        self.was_wiped = False
        self._hand = b""
        self._boot = read_boot()
        if readonly and not (folder / "data.mdb").exists():
            raise StoreError(f"no cache in {folder} yet: the keeper makes it when it starts")
        if not readonly:
            self._prepare(folder)
        with _translated(folder):
            environment = self._open(folder, readonly)
        super().__init__(folder, environment, readonly=readonly)

    def _prepare(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = folder / "boot"
        text = marker.read_text() if marker.exists() else ""
        if text not in ("closed", f"open {self._boot}") or not self._boot:
            self.was_wiped = self._wipe(folder) and bool(text)
        marker.write_text(f"open {self._boot}")
        with marker.open() as file:
            os.fsync(file.fileno())

    def _open(self, folder: Path, readonly: bool) -> lmdb.Environment:
        options: dict[str, Any] = {
            "readonly": readonly,
            "map_octets": self.octets_max,
            "sync": False,
            "databases": 0,
        }
        try:
            return _open_environment(folder, **options)
        except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError):
            if readonly:
                raise
            self.was_wiped = self._wipe(folder)
            return _open_environment(folder, **options)

    @staticmethod
    def _wipe(folder: Path) -> bool:
        found = False
        for name in ("data.mdb", "lock.mdb"):
            with suppress(FileNotFoundError):
                (folder / name).unlink()
                found = True
        return found

    def get(self, key: bytes) -> bytes | None:
        """Return a row."""
        self._check_process()
        with _translated(self.folder), self._env.begin() as txn:
            return txn.get(key)

    def find_rows(
        self,
        keys: list[bytes],
        prefixes: list[bytes],
        nearest: FindNearest = find_nearest,
        expand: ExpandRows = expand_rows,
    ) -> tuple[list[FoundRow], list[bool]]:
        """Return the rows under keys, of one state; a cache has no ranges, prefixes, templates."""
        assert not prefixes
        self._check_process()
        try:
            with self._env.begin() as txn:
                get = txn.get
                return [get(key) for key in keys], []
        except lmdb.Error as error:
            raise _translation(self.folder, error) from error

    def put_many(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Store rows, making room for them. When even that fails the cache is emptied."""
        self._check_process()
        rows = list(rows)
        try:
            with _translated(self.folder), self._env.begin(write=True) as txn:
                while self._fill(txn) > self.FILL_MAX:
                    self._evict(txn)
                for key, row in rows:
                    txn.put(key, row)
        except StoreFullError:
            self.clear()

    def delete(self, keys: Iterable[bytes]) -> None:
        """Delete rows; those that are not there do not matter."""
        self._check_process()
        with _translated(self.folder), self._env.begin(write=True) as txn:
            for key in keys:
                txn.delete(key)

    def items(self, after: bytes = b"", limit: int = 1_000) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` rows with keys beyond `after`: to go through the cache in pages."""
        self._check_process()
        with _translated(self.folder), self._env.begin() as txn:
            cursor = txn.cursor()
            found = seek_after(cursor, after)
            rows: list[tuple[bytes, bytes]] = []
            while found and len(rows) < limit:
                rows.append(cursor.item())
                found = cursor.next()
            return rows

    def clear(self) -> None:
        """Delete all rows."""
        with _translated(self.folder), self._env.begin(write=True) as txn:
            txn.drop(self._env.open_db(None, txn=txn), delete=False)

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._env.stat()["entries"])

    def _fill(self, txn: Any) -> float:
        stat = txn.stat(self._env.open_db(None, txn=txn))
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return float(pages * stat["psize"] / self.octets_max)

    def _evict(self, txn: Any) -> None:
        cursor = txn.cursor()
        found = cursor.set_range(self._hand) or cursor.first()
        for _ in range(self.EVICT_ROWS):
            if not found:
                break
            self._hand = cursor.key()
            found = cursor.delete()

    def close(self) -> None:
        """Close the cache; a writer makes it whole on disk first, so that it is kept."""
        if not self.readonly:
            self._env.sync(True)
            (self.folder / "boot").write_text("closed")
        super().close()
