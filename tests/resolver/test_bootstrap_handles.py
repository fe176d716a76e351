"""Handle.Net's bootstrap_handles: a real one, and what may be wrong with others."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.claims import (
    HS_CERT,
    HS_SIGNATURE,
    TRUST_ROOT,
    Grant,
    digest_value,
    read_claims,
    verify_token,
)
from protocol.json_forms import site_to_json
from protocol.types.hs_pubkey import decode_public_key, encode_public_key
from protocol.value import Reference
from resolver.bootstrap_handles import BootstrapHandles
from resolver.node_files import NodeFilesError, bootstrap_document, read_bootstrap
from resolver.trust_chains import ChainChecker, TrustedKey
from tests.protocol.recorded import VECTORS, json_of

FILE = VECTORS / "bootstrap_handles"
ISSUED_S = 1_562_324_440


@pytest.fixture
def real() -> BootstrapHandles:
    return BootstrapHandles(json_of("bootstrap_handles"))


def test_the_real_roots_certificate_and_digests_hold(real: BootstrapHandles) -> None:
    values = {value.type: value for value in real.values(TRUST_ROOT)}
    (trusted,) = real.root_keys()
    token, claims = read_claims(values[HS_CERT].data)
    verify_token(token, decode_public_key(trusted))
    assert claims.is_self_issued
    assert claims.grants == (Grant("everything"),)
    assert claims.public_key == encode_public_key(decode_public_key(trusted))
    _, signed = read_claims(values[HS_SIGNATURE].data)
    assert (signed.issuer, signed.subject) == (Reference(b"0.NA/0.NA", 301), "0.0/0.0")
    by_index = {value.index: value for value in real.values(TRUST_ROOT)}
    assert signed.digests is not None
    assert [index for index, _ in signed.digests] == [100, 1, 2, 301, 400]
    assert all(digest_value(by_index[index]) == digest for index, digest in signed.digests)


def test_the_real_root_is_checked_as_any(real: BootstrapHandles) -> None:
    def fetch(handle: bytes) -> list[Any]:
        raise LookupError("not here")

    trusted = [TrustedKey(key, TRUST_ROOT) for key in real.root_keys()]
    record = list(real.values(TRUST_ROOT))
    cert, signature = ChainChecker(fetch, trusted, ISSUED_S).check(TRUST_ROOT, record)
    assert cert.is_good
    assert signature.verified == (100, 1, 2, 301, 400)
    assert [link.problems for link in signature.links] == [
        ["the issuer's certificate is not to be had: not here"]
    ]


def test_the_root_is_found_where_existing_clients_find_it(tmp_path: Path) -> None:
    (site,) = read_bootstrap(FILE)
    assert (str(site.servers[0].ip), site.serial) == ("38.100.138.131", 15)
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(bootstrap_document([site])))
    assert read_bootstrap(path) == (site,)


def test_sites_of_service_handles_stand_behind_and_circles_end(real: BootstrapHandles) -> None:
    (site,) = real.root_sites()

    def record(*services: str) -> dict[str, Any]:
        own = {
            "index": 1,
            "type": "HS_SITE",
            "data": {"format": "site", "value": site_to_json(site)},
        }
        named = [{"index": n, "type": "HS_SERV", "data": s} for n, s in enumerate(services, 2)]
        return {"values": [own, *named]}

    handles = {
        "0.na/0.na": record("0.GHR/1", "0.GHR/2", "0.GHR/none"),
        "0.GHR/1": record("0.NA/0.NA", "0.GHR/1"),
        "0.GHR/2": record("0.GHR/1"),
        "0.GHR/9": record(),
    }
    assert BootstrapHandles({"handles": handles}).root_sites() == [site] * 3


@pytest.mark.parametrize(
    "document",
    [[], {}, {"handles": 1}, {"handles": {"0.0/0.0": 1}}, {"handles": {"0.0/0.0": {"values": {}}}},
     {"handles": [1, {"handle": 5, "values": []}]}],
)  # fmt: skip
def test_what_has_another_form_has_no_records(document: object) -> None:
    handles = BootstrapHandles(document)
    assert (handles.root_keys(), handles.root_sites()) == ([], [])


def test_what_cannot_be_read_is_passed_over(real: BootstrapHandles) -> None:
    (key,) = [
        v for v in json_of("bootstrap_handles")["handles"]["0.0/0.0"]["values"] if v["index"] == 301
    ]
    damaged = {"index": 1, "type": "HS_PUBKEY", "data": {"format": "base64", "value": "AAAA"}}
    odd = [{"index": "x"}, 5, damaged, key, {"index": 2, "type": "HS_SITE", "data": "no site"}]
    handles = {"0.0/0.0": {"values": odd}, "0.NA/0.NA": {"values": odd}}
    read = BootstrapHandles({"handles": handles})
    assert read.root_keys() == real.root_keys()
    assert read.root_sites() == []
    records = [{"handle": "0.0/0.0", "values": [key]}]
    assert BootstrapHandles({"handles": records}).root_keys() == real.root_keys()


def test_a_file_without_a_root_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps({"handles": {}}))
    with pytest.raises(NodeFilesError, match=r'no "sites": copy'):
        read_bootstrap(path)
