"""Keys that the tests share: the recorded ones, so that none has to be made."""

from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import HealthCheck, settings

from protocol.key_files import decode_private_key
from tests.protocol.recorded import octets_of

# No test asserts on wall-clock time: on a busy machine an example may take as long as it likes.
settings.register_profile("protocol", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("protocol")


@pytest.fixture(scope="session")
def rsa_key() -> RSAPrivateKey:
    """The recorded administrator's key."""
    return cast(RSAPrivateKey, decode_private_key(octets_of("admpriv.bin")))


@pytest.fixture(scope="session")
def dsa_key() -> DSAPrivateKey:
    """The recorded server's key."""
    return cast(DSAPrivateKey, decode_private_key(octets_of("privkey.bin")))
