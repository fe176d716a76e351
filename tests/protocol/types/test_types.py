from ipaddress import ip_address

import pytest
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol.codes import AdminPermission
from protocol.errors import DecodeError, InvalidValueError
from protocol.types import decode_typed
from protocol.types.hs_admin import HsAdmin, decode_hs_admin
from protocol.types.hs_pubkey import (
    DhPublicKey,
    HsPubkey,
    decode_hs_pubkey,
    decode_public_key,
    encode_public_key,
    number_octets,
    write_number,
)
from protocol.types.hs_seckey import HsSeckey, decode_hs_seckey
from protocol.types.hs_serv import HsServ, decode_hs_serv
from protocol.types.hs_site import (
    KIND_ADMIN,
    KIND_BOTH,
    KIND_OUT_OF_SERVICE,
    KIND_QUERY,
    HsSite,
    SiteInterface,
    SiteServer,
    address_octets,
    decode_hs_site,
)
from protocol.types.hs_vlist import HsVlist, decode_hs_vlist
from protocol.types.opaque import Opaque
from protocol.value import Reference
from protocol.versions import BEST
from protocol.wire import write_i16, write_i32, write_str
from tests.protocol.recorded import octets_of

# An odd number of 1,024 bits: only its size matters here.
P = 2**1024 - 105
DH = DhPublicKey(7, P, 2)


def test_types_are_found_by_their_exact_name() -> None:
    admin = HsAdmin(0x7, Reference(b"0.NA/88", 300))
    assert decode_typed(b"HS_ADMIN", admin.encode()) == admin
    assert decode_typed(b"hs_admin", admin.encode()) == Opaque(admin.encode())
    assert decode_typed(b"URL", b"\xff").encode() == b"\xff"


@pytest.mark.parametrize("type_", [b"HS_SITE", b"HS_SITE.6", b"HS_SITE.PREFIX", b"HS_NA_DELEGATE"])
def test_types_of_one_form(type_: bytes) -> None:
    site = HsSite(BEST, 1, True, ())
    assert decode_typed(type_, site.encode()) == site


def test_admin_octets() -> None:
    octets = bytes.fromhex("0fff 00000004 302e4e41 0000012c")
    admin = decode_hs_admin(octets)
    assert admin == HsAdmin(AdminPermission.ALL, Reference(b"0.NA", 300))
    assert admin.encode() == octets
    assert admin.allows(AdminPermission.ADD_ADMIN | AdminPermission.LIST_HANDLES)
    assert not HsAdmin(0x1, admin.admin).allows(0x3)


def test_admins_of_old_writers_keep_their_two_zeros() -> None:
    octets = HsAdmin(1, Reference(b"a", 1)).encode()
    assert decode_hs_admin(octets + b"\0\0").encode() == octets + b"\0\0"
    for trailing in (b"\0", b"\0\0\0", b"ab"):
        with pytest.raises(InvalidValueError, match=f"{len(trailing)} octets too many"):
            decode_hs_admin(octets + trailing)


def test_vlists() -> None:
    vlist = HsVlist((Reference(b"a", 1), Reference(b"b", 0)))
    assert decode_hs_vlist(vlist.encode()) == vlist
    with pytest.raises(DecodeError, match="HS_VLIST has 1 octets too many"):
        decode_hs_vlist(vlist.encode() + b"\0")


def test_services() -> None:
    assert decode_hs_serv(b"0.SERV/x") == HsServ(b"0.SERV/x")
    for data in (b"", bytes(2_049)):
        with pytest.raises(InvalidValueError, match=f"not {len(data)}"):
            decode_hs_serv(data)


def test_secrets() -> None:
    assert decode_hs_seckey(b"geheim").encode() == b"geheim"
    assert "geheim" not in repr(HsSeckey(b"geheim"))
    with pytest.raises(InvalidValueError, match="empty"):
        decode_hs_seckey(b"")


@pytest.mark.parametrize(
    ("address", "octets"),
    [
        ("127.0.0.1", "00000000000000000000000" + "07f000001"),
        ("0.0.0.0", "00" * 16),
        ("::1", "00" * 15 + "01"),
        ("2001:db8::7", "20010db8" + "00" * 11 + "07"),
    ],
)
def test_addresses(address: str, octets: str) -> None:
    ip = ip_address(address)
    assert address_octets(ip).hex() == octets
    assert SiteServer(1, bytes.fromhex(octets), b"", ()).ip == ip


def test_an_ipv4_address_mapped_into_ipv6_is_itself() -> None:
    octets = ip_address("::ffff:10.0.0.1").packed
    assert SiteServer(1, octets, b"", ()).ip == ip_address("10.0.0.1")


@pytest.mark.parametrize(
    ("kind", "queries", "admin"),
    [
        (KIND_OUT_OF_SERVICE, False, False),
        (KIND_ADMIN, False, True),
        (KIND_QUERY, True, False),
        (KIND_BOTH, True, True),
    ],
)
def test_what_an_interface_answers(kind: int, queries: bool, admin: bool) -> None:
    interface = SiteInterface(kind, 1, 2641)
    assert (interface.answers_queries, interface.answers_admin) == (queries, admin)


SITE = HsSite(
    BEST,
    0xFFFF,
    True,
    (SiteServer(1, bytes(16), b"key", (SiteInterface(3, 1, 2641),)),),
    ((b"desc", b"x"), (b"desc", b"y")),
    flags_rest=0x05,
    hash_option=1,
)


def test_a_site() -> None:
    assert decode_hs_site(SITE.encode()) == SITE
    assert SITE.find_attribute(b"desc") == b"x"
    assert SITE.find_attribute(b"domain") is None


def test_sites_that_are_none() -> None:
    octets = SITE.encode()
    with pytest.raises(InvalidValueError, match="hash option is 3, allowed are 0, 1 and 2"):
        decode_hs_site(octets[:7] + b"\x03" + octets[8:])
    for port in (-1, 65_536):
        with pytest.raises(InvalidValueError, match=f"interface port is {port}"):
            decode_hs_site(octets[:-4] + write_i32(port))
    with pytest.raises(DecodeError, match="1 octets too many"):
        decode_hs_site(octets + b"\0")


def test_recorded_keys_encode_to_the_same_octets() -> None:
    for name, kind, bits in (
        ("admpub.bin", RSAPublicKey, 2_048),
        ("pubkey.bin", DSAPublicKey, 1024),
    ):
        key = decode_public_key(octets_of(name))
        assert isinstance(key, kind)
        assert key.key_size == bits
        assert encode_public_key(key) == octets_of(name)


def test_a_key_without_its_four_zeros_is_the_same_key() -> None:
    octets = octets_of("admpub.bin")
    short = decode_hs_pubkey(octets[:-4])
    assert short == decode_hs_pubkey(octets + b"more")
    assert short.encode() == octets


def test_diffie_hellman_keys() -> None:
    assert decode_public_key(encode_public_key(DH)) == DH
    assert HsPubkey(DH).encode() == encode_public_key(DH)


def test_numbers_are_read_as_unsigned() -> None:
    assert number_octets(0) == b"\0"
    assert number_octets(0x7F) == b"\x7f"
    assert number_octets(0x80) == b"\0\x80"
    unpadded = write_str(b"DH_PUB_KEY") + write_i16(0) + write_str(b"\x80")
    octets = unpadded + write_number(P) + write_number(2)
    assert decode_public_key(octets) == DhPublicKey(0x80, P, 2)


def key_of(kind: bytes, *numbers: int) -> bytes:
    return write_str(kind) + write_i16(0) + b"".join(map(write_number, numbers))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (key_of(b"EC_PUB_KEY"), "public key kind b'EC_PUB_KEY' is unknown"),
        (key_of(b"RSA_PUB_KEY", 65_537, 2**8192), "RSA modulus has 8193 bits"),
        (key_of(b"RSA_PUB_KEY", 2, 77), "no RSA key"),
        (key_of(b"DSA_PUB_KEY", 1, 2, 3, 4), "no DSA key"),
        (key_of(b"DH_PUB_KEY", 7, 2**1023 - 1, 2), "DH p has 1023 bits"),
        (key_of(b"DH_PUB_KEY", 7, 2**2048 + 1, 2), "DH p has 2049 bits"),
        (key_of(b"DH_PUB_KEY", 7, P - 1, 2), "an odd one of 1024 to 2048"),
        (key_of(b"DH_PUB_KEY", 1, P, 2), "DH y and g must lie between"),
        (key_of(b"DH_PUB_KEY", P - 1, P, 2), "DH y and g must lie between"),
        (key_of(b"DH_PUB_KEY", P + 1, P, 2), "DH y and g must lie between"),
        (key_of(b"DH_PUB_KEY", 7, P, 1), "DH y and g must lie between"),
    ],
)
def test_keys_that_are_none(data: bytes, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        decode_public_key(data)
