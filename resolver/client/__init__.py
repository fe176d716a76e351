"""The client for programs: resolve and register identifiers (README.md shows how).

Streams of registrations are in `resolver.client.registrations`, apart: they need an HTTP client,
which takes longer to load than a look-up takes.
"""

from protocol.codes import Permission
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS, TRANSPORT_TCP, TRANSPORT_UDP
from protocol.value import HandleValue, Reference
from resolver.asking import Hop
from resolver.client.blocking import BlockingClient
from resolver.client.client import HandleClient
from resolver.client.errors import (
    AlreadyExistsError,
    AuthenticationRefusedError,
    HandleError,
    HandleNotFoundError,
    InvalidRequestError,
    PermissionRefusedError,
    ServiceUnavailableError,
    StreamChangedError,
    StreamEndedError,
    StreamError,
    UnbelievedError,
    UnreachableError,
    UntrustedNodeError,
    ValuesNotFoundError,
)
from resolver.client.identities import (
    Identity,
    KeyIdentity,
    SecretIdentity,
    reference_from_text,
    reference_to_text,
)
from resolver.client.results import Resolution
from resolver.client.sessions import OwnKey, SessionOptions
from resolver.client.sites import fetch_site, site_at
from resolver.exchanges import Endpoint, ExchangeLimits
from resolver.node_files import read_bootstrap, read_site
from resolver.upstream import Upstream
from resolver.upstream_settings import UpstreamSettings

__all__ = [
    "TRANSPORT_HTTP",
    "TRANSPORT_HTTPS",
    "TRANSPORT_TCP",
    "TRANSPORT_UDP",
    "AlreadyExistsError",
    "AuthenticationRefusedError",
    "BlockingClient",
    "Endpoint",
    "ExchangeLimits",
    "HandleClient",
    "HandleError",
    "HandleNotFoundError",
    "HandleValue",
    "Hop",
    "Identity",
    "InvalidRequestError",
    "KeyIdentity",
    "OwnKey",
    "Permission",
    "PermissionRefusedError",
    "Reference",
    "Resolution",
    "SecretIdentity",
    "ServiceUnavailableError",
    "SessionOptions",
    "StreamChangedError",
    "StreamEndedError",
    "StreamError",
    "UnbelievedError",
    "UnreachableError",
    "UntrustedNodeError",
    "Upstream",
    "UpstreamSettings",
    "ValuesNotFoundError",
    "fetch_site",
    "read_bootstrap",
    "read_site",
    "reference_from_text",
    "reference_to_text",
    "site_at",
]
