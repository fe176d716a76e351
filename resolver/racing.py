"""Overlapping attempts at the same question: the first good answer counts, the rest is dropped."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from resolver.asking import Answer, Candidate
from resolver.exchanges import ExchangeError

Attempt = Callable[[Candidate], Coroutine[Any, Any, Answer]]

# Another site may do better than one that answers so.
_TRY_NEXT = frozenset(
    {ResponseCode.ERROR, ResponseCode.SERVER_TOO_BUSY, ResponseCode.PROTOCOL_ERROR}
)


class NoAnswerError(ExchangeError):
    """Nobody who was asked answered; `problems` has one sentence for each attempt."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems) or "no server to ask")
        self.problems = tuple(problems)


async def race(candidates: Sequence[Candidate], attempt: Attempt, head_start_s: float) -> Answer:
    """Attempt candidates in order, each a head start after the one before or when that failed.

    Raises:
        NoAnswerError: nobody answered.
        ProtocolError: somebody did, but nothing that may be believed.
    """
    waiting = list(reversed(candidates))
    tasks: set[asyncio.Task[Answer]] = set()
    outcome = _Outcome()
    try:
        while waiting or tasks:
            if waiting:
                tasks.add(asyncio.create_task(attempt(waiting.pop())))
            done, tasks = await asyncio.wait(
                tasks,
                timeout=head_start_s if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if outcome.settles(task):
                    return task.result()
            waiting = [left for left in waiting if left.endpoint.address not in outcome.passed]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return outcome.best()


class _Outcome:
    """What overlapping attempts came to, until one settles the matter."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self._answer: Answer | None = None
        self._breach: ProtocolError | None = None
        self._problems: list[str] = []

    def settles(self, task: asyncio.Task[Answer]) -> bool:
        """Take a finished attempt in; say whether its answer is the one to return."""
        error = task.exception()
        if error is None:
            self._answer = task.result()
            self.passed.add(self._answer.candidate.endpoint.address)
            return self._answer.response_code not in _TRY_NEXT
        if isinstance(error, ProtocolError):
            self._breach = error
        elif not isinstance(error, ExchangeError):
            raise error
        self._problems.append(str(error))
        return False

    def best(self) -> Answer:
        """Return the answer nobody improved on, or raise what stood in the way."""
        if self._answer is not None:
            return self._answer
        if self._breach is not None:
            raise self._breach
        raise NoAnswerError(self._problems)
