"""Protocol versions and what each of them changes.

A request states the version both sides are believed to know and suggests the highest its sender
speaks; the answer is in min(suggested, ours) and all cryptography in a message follows the
version in that message's own envelope.
"""

from typing import NamedTuple


class Version(NamedTuple):
    """A protocol version; order it with `rank`, not with `<`."""

    major: int
    minor: int

    @property
    def rank(self) -> tuple[int, int]:
        """A sort key: 5.x marks ancient clients by mistake and ranks below every 2.x."""
        return (0, self.minor) if self.major == 5 else (self.major, self.minor)

    def at_least(self, other: "Version") -> bool:
        """Say whether this version knows what `other` introduced."""
        return self.rank >= other.rank

    def __str__(self) -> str:
        """Return the form of site records: `2.10`."""
        return f"{self.major}.{self.minor}"


V2_0 = Version(2, 0)
V2_1 = Version(2, 1)  # request digest with an id; error messages always present
V2_2 = Version(2, 2)  # cipher id before a session key
V2_3 = Version(2, 3)  # overwrite flag honoured
V2_4 = Version(2, 4)  # CBC with a leading IV; cipher id in Diffie-Hellman sessions
V2_5 = Version(2, 5)  # session counter in the credential; 303 means referral, 7 means backup
V2_6 = Version(2, 6)  # signatures cover a misplaced prefix
V2_7 = Version(2, 7)  # SHA-256, HMAC, PBKDF2; the envelope is covered
V2_8 = Version(2, 8)  # the suggested version is covered too
V2_9 = Version(2, 9)  # transaction log request with a mode octet
V2_10 = Version(2, 10)  # 303 understood for prefixes derived below an ancestor

BEST = V2_10


def answer_version(suggested: Version) -> Version:
    """Return the version to answer in, given the best one the peer speaks."""
    return suggested if BEST.at_least(suggested) else BEST
