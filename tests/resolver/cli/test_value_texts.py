from pathlib import Path

import pytest

from protocol.codes import AdminPermission, Permission
from protocol.types.hs_admin import decode_hs_admin
from protocol.types.hs_site import decode_hs_site
from protocol.types.hs_vlist import decode_hs_vlist
from protocol.value import Reference
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.value_texts import parse_identity, parse_values
from resolver.rows.value_texts import make_admin_value

VECTORS = Path(__file__).parents[2] / "vectors"


def test_identity() -> None:
    assert parse_identity("300:0.NA/88.118") == Reference(b"0.NA/88.118", 300)
    assert parse_identity("0:0.NA/标识") == Reference("0.NA/标识".encode(), 0)


@pytest.mark.parametrize("text", ["", "300", "300:", ":0.NA/88", "x:0.NA/88", "٣:0.NA/88", "-1:h"])
def test_not_an_identity(text: str) -> None:
    with pytest.raises(CliError, match="is not an identity") as caught:
        parse_identity(text)
    assert caught.value.code is ExitCode.USAGE


def test_text_values_are_numbered_from_one() -> None:
    values = parse_values(["URL=https://example.org/a?b=c", "DESC=Käse 奶酪"])
    assert [(value.index, value.type, value.data) for value in values] == [
        (1, b"URL", b"https://example.org/a?b=c"),
        (2, b"DESC", "Käse 奶酪".encode()),
    ]


def test_explicit_indexes_are_kept_and_avoided() -> None:
    values = parse_values(["A=1", "B:1=2", "C=3"], taken={2})
    assert [(value.index, value.type) for value in values] == [(3, b"A"), (1, b"B"), (4, b"C")]


def test_types_have_their_usual_places() -> None:
    values = parse_values(["HS_ADMIN=300:0.NA/88", "HS_ADMIN=301:0.NA/88", "HS_SECKEY=hush"])
    assert [value.index for value in values] == [100, 101, 300]


def test_admin_may_do_everything() -> None:
    (value,) = parse_values(["HS_ADMIN=300:0.NA/88.118"])
    admin = decode_hs_admin(value.data)
    assert admin.admin == Reference(b"0.NA/88.118", 300)
    assert admin.allows(AdminPermission.ALL)
    assert value == make_admin_value(Reference(b"0.NA/88.118", 300), 100)


def test_group() -> None:
    (value,) = parse_values(["HS_VLIST:200=300:0.NA/88,301:0.NA/88"])
    assert decode_hs_vlist(value.data).references == (
        Reference(b"0.NA/88", 300),
        Reference(b"0.NA/88", 301),
    )


def test_a_secret_is_not_public() -> None:
    (value,) = parse_values(["HS_SECKEY=hush"])
    assert not value.permission & Permission.PUBLIC_READ
    assert value.permission & Permission.ADMIN_READ


def test_data_from_files(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(b"\x00\xff")
    note, key, site = parse_values(
        [
            f"NOTE=@{tmp_path / 'note'}",
            f"HS_PUBKEY=@{VECTORS / 'admpub.bin'}",
            f"HS_SITE:9=@{VECTORS / 'siteinfo.json'}",
        ]
    )
    assert note.data == b"\x00\xff"
    assert key.data == (VECTORS / "admpub.bin").read_bytes()
    assert decode_hs_site(site.data).servers[0].interfaces[0].port == 2641


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["URL"], "is not a value"),
        (["=data"], "is not a value"),
        (["URL:0=x"], "is not a value"),
        (["URL:2147483648=x"], "is not a value"),
        (["A:1=x", "B:1=y"], "index 1 is taken"),
        (["HS_SITE=nonsense"], "is not HS_SITE data"),
        (["HS_ADMIN=nobody"], "is not an identity"),
        (["A=@/nowhere/at/all"], "cannot be read"),
    ],
)
def test_mistakes_are_named(texts: list[str], words: str) -> None:
    with pytest.raises(CliError, match=words) as caught:
        parse_values(texts)
    assert caught.value.hint
