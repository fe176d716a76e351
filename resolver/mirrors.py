"""Mirrors, in the registrar: how many may be fed at once, and in which form.

    administration decides ─> answer to the mirror ─> order ─> worker: `resolver.mirror_feed`
                              (counted until the worker is done)

    TCP, 2.8 and later   TLS on the same connection, by the server's key, RSA or DSA
    https                as it is, when the port's certificate has that key; else signed
    anything else        signed and in clear, only with `mirrors.allow_unencrypted`

The worker sends, out of its own view of the store; here is only who, what and how.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.bodies import Body, Empty, StreamAnswer
from protocol.codes import OpCode, ResponseCode
from protocol.replication_stream import STREAM_SIGNED, STREAM_TLS, STREAM_UNSIGNED
from protocol.types.hs_site import TRANSPORT_HTTPS, TRANSPORT_TCP, TRANSPORT_UDP
from protocol.versions import V2_8, answer_version
from registry.mirror_plans import pack_plan
from registry.operations import Mirroring
from registry.outcomes import Refusal, identity_text, refuse
from resolver.asked import Asked
from resolver.config import Config
from resolver.node import Node

MIRROR_OPCODES = frozenset({OpCode.GET_NEXT_TXN_ID, OpCode.RETRIEVE_TXN_LOG, OpCode.DUMP_HANDLES})
NO_KEEP_ALIVE = 0  # the connection ends with the stream


class MirrorReply(NamedTuple):
    """A stream to send after the answer to `asked`."""

    asked: Asked
    mirroring: Mirroring

    @property
    def body(self) -> Body:
        """The body of the answer."""
        is_log = self.asked.subject.header.opcode == OpCode.RETRIEVE_TXN_LOG
        return StreamAnswer(NO_KEEP_ALIVE) if is_log else Empty()


class Mirrors:
    """Counts the mirrors that are fed, and says how.

    Args:
        config: the node's.
        node: its key.
    """

    def __init__(self, config: Config, node: Node) -> None:
        self._mirrors_max = config.limits.mirrors_max
        self._allow_unencrypted = config.mirrors.allow_unencrypted
        has_rsa_key = isinstance(node.private_key, rsa.RSAPrivateKey)
        self._https_has_key = has_rsa_key and not config.tls.certificate
        self.fed = 0

    def refusal(self, reply: MirrorReply) -> Refusal | None:
        """Return why a mirror is not fed now, or not so."""
        if reply.asked.transport == TRANSPORT_UDP:
            return refuse(ResponseCode.PROTOCOL_ERROR, "ask over TCP or HTTP: a stream follows")
        if self._form(reply.asked) is None:
            return refuse(
                ResponseCode.OPERATION_NOT_SUPPORTED,
                "values would cross the network in clear: ask over TCP in version 2.8 or later, "
                "or over https; or set mirrors.allow_unencrypted there",
            )
        if self.fed >= self._mirrors_max:
            words = f"{self.fed} mirrors are fed at the moment, as many as may be: try again"
            return refuse(ResponseCode.SERVER_TOO_BUSY, words)
        return None

    @contextlib.contextmanager
    def feeding(self) -> Iterator[None]:
        """Count a mirror while it is fed."""
        self.fed += 1
        try:
            yield
        finally:
            self.fed -= 1

    def order(self, reply: MirrorReply) -> dict[str, Any]:
        """Return what the worker is to send behind the answer."""
        return {
            "form": self._form(reply.asked),
            "plan": pack_plan(reply.mirroring.plan),
            "who": f"{identity_text(reply.mirroring.identity)} at {reply.asked.address}",
        }

    def _form(self, asked: Asked) -> int | None:
        """Return the type of the stream; None: there is none that may be used."""
        version = answer_version(asked.request.envelope.best_version)
        if asked.transport == TRANSPORT_TCP and version.at_least(V2_8):
            return STREAM_TLS
        if asked.transport == TRANSPORT_HTTPS:
            is_plain = self._https_has_key and version.at_least(V2_8)
            return STREAM_UNSIGNED if is_plain else STREAM_SIGNED
        return STREAM_SIGNED if self._allow_unencrypted else None
