"""Who asks over the REST interface: what a request's authorization claims, and its proof.

None                                nobody
{"session": id}                     whoever proved to be somebody in that REST session
{"basic": [handle, index, pw]}      claimed with a password, an HS_SECKEY
{"certificate": [handle, index, k]} claimed with the certificate of a TLS client whose key is
                                    k, as HS_PUBKEY data; that he has its private part TLS has
                                    proven
"""

from dataclasses import dataclass
from typing import Any

from protocol.value import Reference
from registry.outcomes import Refusal
from resolver.operations import Operations
from resolver.rest_sessions import RestSessions


@dataclass(frozen=True, slots=True)
class Claim:
    """Who asks: with neither password nor key, proven already, or nobody."""

    identity: Reference | None
    password: bytes | None = None
    certified_key: bytes | None = None

    @property
    def is_unproven(self) -> bool:
        """Say whether there is an identity that is still to be proven."""
        return self.password is not None or self.certified_key is not None


class Claims:
    """Reads and proves what requests claim."""

    def __init__(self, operations: Operations, sessions: RestSessions) -> None:
        self._operations = operations
        self._sessions = sessions

    def read(self, authorization: dict[str, Any] | None) -> Claim:
        """Return what an authorization claims."""
        user = claimed_user(authorization)
        if authorization is None:
            return Claim(None)
        if user is None:
            return Claim(self._sessions.identity(authorization["session"]))
        if "basic" in authorization:
            return Claim(user, password=authorization["basic"][2])
        return Claim(user, certified_key=authorization["certificate"][2])

    async def prove(self, claim: Claim) -> Reference | Refusal | None:
        """Return who asks, proven; None: nobody says who he is."""
        identity = claim.identity
        if identity is None or not claim.is_unproven:
            return identity
        if claim.password is not None:
            return await self._operations.prove_password(identity, claim.password)
        assert claim.certified_key is not None
        return await self._operations.prove_certified_key(identity, claim.certified_key)


def claimed_user(authorization: dict[str, Any] | None) -> Reference | None:
    """Return who a password or certificate is said to be of; None: neither is given."""
    for kind in ("basic", "certificate"):
        if authorization is not None and kind in authorization:
            handle, index, _ = authorization[kind]
            return Reference(handle, index)
    return None
