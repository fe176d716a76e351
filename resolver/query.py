"""What a worker can look up by itself, and the form in which it hands the answer on.

Look-ups go through one of two classes with one method: `OwnRecords` reads the node's store,
`CachedRecords` the recursive role's cache. Both answer None where only the registrar or keeper can
go on: who asks has to be known, or nothing is cached.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from protocol.bodies import Body, ErrorAnswer, ReferralAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import REFERRALS, MessageFlag, ResponseCode
from protocol.value import read_values
from protocol.wire import Reader
from registry.answers import Answer, Question, resolve
from registry.errors import RecordError
from registry.outcomes import Need
from registry.store import CacheStore, Store
from resolver.cache import find_fresh
from resolver.link import Link
from resolver.metrics import CACHE_LOOKUPS

RESOLVE_TIMEOUT_S = 30.0  # longer than any walk the keeper would still answer

_log = logging.getLogger(__name__)


class Result(NamedTuple):
    """How an operation ended; `created` says that something new came to be.

    `left` is what is left of a quota: limit, remaining, seconds until it begins anew.
    """

    response_code: int
    body: Body
    created: bool = False
    left: tuple[int, int, int] | None = None


class Records(Protocol):
    """What a worker can look up by itself."""

    def find(self, question: ResolutionRequest, flags: int) -> Result | None:
        """Answer a question asked with these MessageFlag bits; None: somebody else must."""
        ...


def question_of(request: ResolutionRequest, flags: int, *, in_session: bool = False) -> Question:
    """Return the registry's form of a resolution request."""
    return Question(
        request.handle,
        request.indexes,
        request.types,
        public_only=bool(flags & MessageFlag.PUBLIC_ONLY),
        do_not_refer=bool(flags & MessageFlag.DO_NOT_REFER),
        in_session=in_session,
    )


def result_of(answer: Answer, handle: bytes) -> Result:
    """Return what is written for an answer; its handle is repeated as it was asked."""
    return Result(answer.response_code, answer.body(handle))


class OwnRecords:
    """The records of this node, read from its store in a transaction per question."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, question: ResolutionRequest, flags: int) -> Result | None:
        """Answer a question; None when it must be known who asks."""
        try:
            with self._store.read() as view:
                answer = resolve(view, question_of(question, flags))
        except RecordError as error:
            # One damaged row must not take the others down with it.
            return damaged_record(error)
        if isinstance(answer, Need):
            return None
        if answer.response_code == ResponseCode.AUTHENTICATION_NEEDED:
            return None
        return result_of(answer, question.handle)


class CachedRecords:
    """The cache of a recursive node, read-only; what is not there, or not fresh, is the keeper's.

    Args:
        store: the cache, opened read-only.
        now_s: the time since 1970.
    """

    def __init__(self, store: CacheStore, now_s: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now_s = now_s
        self._hits = CACHE_LOOKUPS.labels("hit")

    def find(self, question: ResolutionRequest, flags: int) -> Result | None:
        """Answer a question that a fresh entry answers and that does not bypass caches."""
        if flags & MessageFlag.AUTHORITATIVE:
            return None
        entry = find_fresh(self._store, question.handle, self._now_s())
        if entry is None:
            return None
        self._hits.inc()
        code, values, words = entry.answer(question.indexes, question.types)
        return keeper_result(question, {"code": code, "values": values, "message": words})


def damaged_record(error: RecordError) -> Result:
    """Say that a stored record cannot be read, to the peer and in the log."""
    _log.error("a stored record is damaged: %s; run biaoshi verify", error)
    words = b"the stored record of this handle is damaged; its operator has been told"
    return Result(ResponseCode.ERROR, ErrorAnswer(words))


def keeper_result(question: ResolutionRequest, reply: dict[str, Any]) -> Result:
    """Take the keeper's reply apart: {code, values: octets of a value list, message: octets}."""
    code = reply["code"]
    if code == ResponseCode.SUCCESS or code in REFERRALS:
        values = read_values(Reader(reply["values"]))
        if code == ResponseCode.SUCCESS:
            return Result(code, ValuesRequest(question.handle, values))
        return Result(code, ReferralAnswer(b"", values))
    return Result(code, ErrorAnswer(reply.get("message", b"")))


async def ask_keeper(link: Link, question: ResolutionRequest, flags: int, recursion: int) -> Result:
    """Have the keeper find what is not cached. Raises: LinkDown."""
    payload = {
        "handle": question.handle,
        "indexes": list(question.indexes),
        "types": list(question.types),
        "flags": flags,
        "recursion_count": recursion,
    }
    reply = await link.call("resolve", payload, RESOLVE_TIMEOUT_S)
    return keeper_result(question, reply)
