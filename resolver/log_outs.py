"""Logging out whoever is logged in with a key that is not what it was, wherever he logged in.

    own record      keys changed or gone          told by the commit that did it
    range           its values, or itself, gone   told by the commit; who is in it is looked up
    prefix          changes hands                 told by the act
    another node    changed or gone there         `resolver.foreign_keys`

A session knows only who was proven, by name: handle and index.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from protocol.handle import fold_handle, to_text
from protocol.value import Reference
from registry.outcomes import identity_text
from registry.range_keys import lost_identities
from registry.range_records import Nearest
from registry.store import Store

KEYS_NAMED_MAX = 10  # in one line of the log

_log = logging.getLogger(__name__)


class LoggedIn(Protocol):
    """Sessions of one kind, or streams."""

    def identities(self) -> Iterator[Reference]:
        """Iterate over who has logged in."""
        ...

    def drop_of(self, is_meant: Callable[[Reference], bool]) -> int:
        """End those of whoever logged in with a key that is meant; return how many."""
        ...


class LogOuts:
    """Ends sessions and streams. Use from one event loop.

    Args:
        store: where keys are now.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: Sequence[LoggedIn] = ()
        self._streams: Sequence[LoggedIn] = ()

    def cover(self, sessions: Sequence[LoggedIn], *streams: LoggedIn) -> None:
        """Say where people are logged in: kinds of sessions, and those who send streams."""
        self._sessions, self._streams = sessions, streams

    def identities(self) -> Iterator[Reference]:
        """Iterate over everybody who is logged in, some more than once."""
        for table in (*self._sessions, *self._streams):
            yield from table.identities()

    def end_under(self, prefix_handle: bytes) -> None:
        """Log out whoever had a key of a prefix: it is, or may become, somebody else's.

        The next owner has the same name.
        """
        folded = fold_handle(prefix_handle)
        words = f"{to_text(prefix_handle)} changes hands"
        self._log_out(lambda key: fold_handle(key.handle) == folded, words)

    def end_of(self, keys: Collection[Reference]) -> None:
        """Log out whoever was proven with keys that are not what they were, or are gone."""
        lost = {(fold_handle(key.handle), key.index) for key in keys}
        names = ", ".join(sorted(identity_text(key) for key in keys)[:KEYS_NAMED_MAX])
        self._log_out(
            lambda key: (fold_handle(key.handle), key.index) in lost, f"changed or gone: {names}"
        )

    def end_in(self, ranges: Collection[Nearest]) -> None:
        """Log out whoever was proven with a key that a range gave him before it was changed."""
        with self._store.read() as view:
            lost = lost_identities(view, ranges, set(self.identities()))
        if lost:
            self.end_of(lost)

    def _log_out(self, is_meant: Callable[[Reference], bool], why: str) -> None:
        ended = sum(table.drop_of(is_meant) for table in self._sessions)
        stopped = sum(table.drop_of(is_meant) for table in self._streams)
        if ended or stopped:
            _log.info("%d sessions ended and %d streams stopped: %s", ended, stopped, why)
