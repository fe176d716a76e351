"""In which form a mirror is fed, by version, transport, key and configuration."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from protocol.bodies import DumpRequest
from protocol.codes import OpCode, ResponseCode
from protocol.envelope import Envelope
from protocol.header import Header
from protocol.key_files import PrivateKey
from protocol.message import Message
from protocol.replication_stream import STREAM_SIGNED, STREAM_TLS, STREAM_UNSIGNED
from protocol.types.hs_site import (
    TRANSPORT_HTTP,
    TRANSPORT_HTTPS,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
)
from protocol.value import Reference
from protocol.versions import V2_7, V2_8, V2_10, Version
from registry.mirror_plans import DumpPlan, Share
from registry.operations import Mirroring
from resolver.asked import Asked
from resolver.config import Config, LimitsConfig, MirrorsConfig, NodeRole, TlsConfig
from resolver.mirrors import MirrorReply, Mirrors
from tests.resolver.office import make_node

RSA = rsa.generate_private_key(65537, 2048)
DSA = dsa.generate_private_key(1024)
OWN = TlsConfig()
OPERATORS = TlsConfig(certificate="c.pem", key="k.pem")
MIRRORING = Mirroring(DumpPlan(Share(2, 1, 0)), Reference(b"0.NA/M", 300))


def reply(version: Version, transport: int) -> MirrorReply:
    body = DumpRequest(2, 1, 0).encode()
    header = Header(OpCode.DUMP_HANDLES, 0, 0, 0)
    request = Message(Envelope(version, version, 0, 0, 1, 0, 0), header, body)
    return MirrorReply(Asked(request, None, "::1", transport), MIRRORING)


def mirrors(key: PrivateKey = RSA, tls: TlsConfig = OWN, *, allow: bool = False) -> Mirrors:
    allowed = MirrorsConfig(allow_unencrypted=allow)
    limits = LimitsConfig(mirrors_max=1)
    config = Config(role=NodeRole.TOP, tls=tls, mirrors=allowed, limits=limits)
    return Mirrors(config, replace(make_node(), private_key=key))


@pytest.mark.parametrize(
    ("version", "transport", "key", "tls", "form"),
    [
        (V2_10, TRANSPORT_TCP, RSA, OWN, STREAM_TLS),
        (V2_8, TRANSPORT_TCP, RSA, OPERATORS, STREAM_TLS),
        (V2_8, TRANSPORT_TCP, DSA, OWN, STREAM_TLS),
        (V2_10, TRANSPORT_HTTPS, RSA, OWN, STREAM_UNSIGNED),
        (V2_10, TRANSPORT_HTTPS, RSA, OPERATORS, STREAM_SIGNED),
        (V2_10, TRANSPORT_HTTPS, DSA, OWN, STREAM_SIGNED),
        (V2_7, TRANSPORT_HTTPS, RSA, OWN, STREAM_SIGNED),
    ],
)
def test_encrypted_forms(
    version: Version, transport: int, key: PrivateKey, tls: TlsConfig, form: int
) -> None:
    asked = reply(version, transport)
    fed = mirrors(key, tls)
    assert fed.refusal(asked) is None
    order = fed.order(asked)
    assert order["form"] == form
    assert order["who"] == "300:0.NA/M at ::1"


@pytest.mark.parametrize(
    ("version", "transport", "key"),
    [
        (V2_7, TRANSPORT_TCP, RSA),
        (V2_10, TRANSPORT_HTTP, RSA),
    ],
)
def test_in_clear_only_when_allowed(version: Version, transport: int, key: PrivateKey) -> None:
    asked = reply(version, transport)
    refused = mirrors(key).refusal(asked)
    assert refused is not None
    assert refused.response_code == ResponseCode.OPERATION_NOT_SUPPORTED
    allowed = mirrors(key, allow=True)
    assert allowed.refusal(asked) is None
    assert allowed.order(asked)["form"] == STREAM_SIGNED


def test_nothing_is_streamed_over_datagrams() -> None:
    refused = mirrors(allow=True).refusal(reply(V2_10, TRANSPORT_UDP))
    assert refused is not None
    assert refused.response_code == ResponseCode.PROTOCOL_ERROR


def test_one_too_many_is_told_to_try_again() -> None:
    fed, asked = mirrors(), reply(V2_10, TRANSPORT_TCP)
    with fed.feeding():
        refused = fed.refusal(asked)
        assert refused is not None
        assert refused.response_code == ResponseCode.SERVER_TOO_BUSY
    assert fed.refusal(asked) is None
