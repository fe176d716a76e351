"""What is known of a stream of registrations: how far it has come, and what became of its rows."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from resolver.told.streams import StreamState


class RowVerdict(msgspec.Struct, rename="camel", frozen=True):
    """What became of the rows from `row` to `last_row`; code and message say why not."""

    row: int
    verdict: str
    through: int = 0
    sequence: int = 0
    response_code: int = 1
    message: str = ""

    @property
    def last_row(self) -> int:
        """The last row that this is said of."""
        return self.through or self.row

    @property
    def is_refused(self) -> bool:
        """Say whether nothing was done for these rows."""
        return self.verdict == "refused"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a registration is.

    Attributes:
        state: at the node.
        octets_done: of the source, those of the parts that the node has.
        octets_total: of the source, None when nobody knows.
        trouble: why it has to be tried again, "" when all goes well.
        pause_s: how long is waited before that.
    """

    state: StreamState
    octets_done: int
    octets_total: int | None
    trouble: str = ""
    pause_s: float = 0.0


OnProgress = Callable[[Progress], None]
