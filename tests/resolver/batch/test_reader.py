"""Batch files: what is read out of them, where they are wrong, and what is written of records."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.codes import AdminPermission
from protocol.errors import ProtocolError
from protocol.types import decode_typed
from protocol.types.hs_admin import HsAdmin, decode_hs_admin
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP
from protocol.types.hs_vlist import HsVlist
from protocol.value import TTL_ABSOLUTE, HandleValue, Reference
from protocol.wire import MESSAGE_OCTETS_MAX
from resolver.batch.admin_digits import AdminDigits, digits_of, permissions_of
from resolver.batch.reader import LINE_OCTETS_MAX, SECTION_OCTETS_MAX, BatchReader
from resolver.batch.sections import (
    Fault,
    LogIn,
    Operation,
    Section,
    ServerPlace,
    SessionWish,
    Verb,
)
from resolver.batch.value_lines import write_value_line
from resolver.batch.writer import BatchWriter
from tests.resolver.network import make_site

# What the technical manual shows, its line break inside an ADMIN and its missing blank line too.
MANUAL = """\
CREATE 12345/hdl1
100 HS_ADMIN 86400 1110 ADMIN
300:110011111111:12345/hdl1
300 HS_SECKEY 86400 1100 UTF8 my password
CREATE 12345/hdl2
1 HS_VLIST 86400 1110 LIST 300:10.50/USR1; 300:10.50/USR2;

DELETE 12345/hdl1
REMOVE 5,6:12345/hdl2
HOME 10.27.10.28:2641:TCP
0.NA/12345

UNHOME [::1]:8000:http
0.NA/12345
0.NA/TEST1.t1
"""


def no_file(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


def read(text: str | bytes, files: dict[str, bytes] | None = None) -> list[Section]:
    octets = text.encode() if isinstance(text, str) else text

    def read_file(path: str) -> bytes:
        return files[path] if files and path in files else no_file(path)

    return list(BatchReader(io.BytesIO(octets), read_file))


def operation(text: str, files: dict[str, bytes] | None = None) -> Operation:
    (section,) = read(text, files)
    assert isinstance(section, Operation), section
    return section


def fault(text: str | bytes) -> Fault:
    (section,) = (each for each in read(text) if isinstance(each, Fault))
    return section


def test_the_manuals_examples_are_read() -> None:
    found = read(MANUAL)
    assert all(isinstance(each, Operation) for each in found)
    first, second, *others = [each for each in found if isinstance(each, Operation)]
    admin, secret = first.values
    assert decode_hs_admin(admin.data).admin == Reference(b"12345/hdl1", 300)
    granted = AdminPermission.ALL & ~(
        AdminPermission.ADD_DERIVED_PREFIX | AdminPermission.DELETE_DERIVED_PREFIX
    )
    assert decode_hs_admin(admin.data).permissions == granted
    assert secret == HandleValue(300, b"HS_SECKEY", b"my password", 0b1100)
    members = (Reference(b"10.50/USR1", 300), Reference(b"10.50/USR2", 300))
    assert second.values == (HandleValue(1, b"HS_VLIST", HsVlist(members).encode()),)
    places = (
        ServerPlace("10.27.10.28", 2641, TRANSPORT_TCP),
        ServerPlace("::1", 8000, TRANSPORT_HTTP),
    )
    assert [(each.verb, each.handle, each.indexes, each.server) for each in others] == [
        (Verb.DELETE, b"12345/hdl1", (), None),
        (Verb.REMOVE, b"12345/hdl2", (5, 6), None),
        (Verb.HOME, b"0.NA/12345", (), places[0]),
        (Verb.UNHOME, b"0.NA/12345", (), places[1]),
        (Verb.UNHOME, b"0.NA/TEST1.t1", (), places[1]),
    ]
    assert [each.line for each in [first, second, *others]] == [1, 5, 8, 9, 11, 14, 15]


@pytest.mark.parametrize(
    ("order", "bits"),
    [
        (AdminDigits.MANUAL, [0, 1, 2, 3, 4, 5, 6, 10, 7, 8, 9, 11]),
        (AdminDigits.TOOL, range(12)),
    ],
)
def test_each_administrators_digit_has_its_place(order: AdminDigits, bits: Sequence[int]) -> None:
    for place, bit in enumerate(bits):
        digits = "".join("1" if number == place else "0" for number in range(12))
        text = f"CREATE 1/a\n100 HS_ADMIN 1 1110 ADMIN 0:{digits}:0.NA/1\n"
        reader = BatchReader(io.BytesIO(text.encode()), no_file, order)
        (section,) = reader
        assert isinstance(section, Operation)
        assert decode_hs_admin(section.values[0].data).permissions == 1 << bit
        assert reader.doubtful_line == (2 if 7 <= place <= 10 else 0)


def test_an_administrator_who_could_be_misread_is_written_as_octets() -> None:
    """The tool of the server that the batch goes to takes the digits in another order."""
    for permissions in range(0x1000):
        data = HsAdmin(permissions, Reference(b"0.NA/1", 300)).encode()
        line = write_value_line(HandleValue(100, b"HS_ADMIN", data), lambda _: "path", 0)
        readings = {order: permissions_of(digits_of(permissions), order) for order in AdminDigits}
        is_clear = set(readings.values()) == {permissions}
        assert line.split(maxsplit=4)[4].split()[0] == ("ADMIN" if is_clear else "FILE")


def test_words_are_read_in_any_case_and_fields_with_any_spaces() -> None:
    text = "\ufeffcreate   1/a b\r\n 1  URL   60 0011  utf8   two  words \r\n   \r\n"
    value = HandleValue(1, b"URL", b"two  words", 0b0011, 60)
    assert operation(text).values == (value,)
    assert operation(text).handle == b"1/a b"


def test_log_ins_keep_what_stands_behind_a_bar_as_the_passphrase() -> None:
    text = "AUTHENTICATE SECKEY:301:0.NA/a:b\nmy | password\n"
    text += (
        "\nauthenticate pubkey:300:0.NA/1\nkeys/a b.bin|pass|phrase\nAUTHENTICATE PUBKEY:0:x\nk\n"
    )
    secret, key, bare = read(text)
    assert secret == LogIn(
        1, Reference(b"0.NA/a:b", 301), "AUTHENTICATE SECKEY:301:0.NA/a:b\nmy | password\n\n",
        secret=b"my | password",
    )  # fmt: skip
    assert isinstance(key, LogIn)
    assert isinstance(bare, LogIn)
    assert (key.key_path, key.passphrase) == ("keys/a b.bin", b"pass|phrase")
    assert (bare.identity, bare.key_path, bare.passphrase) == (Reference(b"x", 0), "k", None)


def test_a_session_set_up_is_read_in_any_order() -> None:
    text = "SESSIONSETUP\nTIMEOUT:2\nOptions:100\nUSESESSION: 1\nPUBEXNGKEYREF:300:0.NA/1\n"
    (wish,) = read(text + "PRIVEXNGKEYFILE:c:\\k.bin\nPASSPHRASE:a b\n")
    assert isinstance(wish, SessionWish)
    assert (wish.use, wish.encrypt, wish.fall_back, wish.timeout_s) == (True, True, False, 7_200)
    assert wish.public_key_reference == Reference(b"0.NA/1", 300)
    assert (wish.private_key_path, wish.passphrase) == ("c:\\k.bin", b"a b")
    (plain,) = read("SESSIONSETUP\nUSESESSION:0\n")
    assert isinstance(plain, SessionWish)
    assert (plain.use, plain.encrypt, plain.fall_back) == (False, False, True)


def test_sites_are_read_as_octets_and_as_json() -> None:
    site = make_site("127.0.0.1").encode()
    document = (
        b'{"version":1,"protocolVersion":"2.10","serialNumber":7,"primarySite":true,"servers":[]}'
    )
    text = "CREATE 1/a\n1 HS_SITE 1 1110 FILE s.bin\n2 HS_SITE 1 1110 FILE s.json\n"
    octets, form = operation(text, {"s.bin": site, "s.json": document}).values
    assert octets.data == site
    assert decode_typed(b"HS_SITE", form.data).serial == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("CREATE 1/a\n\n", 1, 11, "no values"),
        ("CREATE\n1 URL 1 1110 UTF8 a\n", 1, 7, "octets"),
        ("CREATE 1/a\nx URL 1 1110 UTF8 a\n", 2, 1, "index 'x'"),
        ("CREATE 1/a\n0 URL 1 1110 UTF8 a\n", 2, 1, "index is 0"),
        ("CREATE 1/a\n1 URL -1 1110 UTF8 a\n", 2, 7, "ttl '-1'"),
        ("CREATE 1/a\n1 URL 99999999999 1110 UTF8 a\n", 2, 7, "ttl"),
        ("CREATE 1/a\n1 URL 1 11102 UTF8 a\n", 2, 9, "permissions"),
        ("CREATE 1/a\n1 URL 1 1110 UTF16 a\n", 2, 14, "encoding 'UTF16'"),
        ("CREATE 1/a\n1 URL 1 1110\n", 2, 13, "no encoding"),
        ("CREATE 1/a\n1 HS_ADMIN 1 1110 ADMIN 3:11:x\n", 2, 27, "12 digits"),
        ("CREATE 1/a\n1 HS_ADMIN 1 1110 ADMIN 3\n", 2, 25, "not complete"),
        ("CREATE 1/a\n1 HS_VLIST 1 1110 LIST 3:x; y\n", 2, 29, "'y'"),
        ("CREATE 1/a\n1 HS_PUBKEY 1 1110 UTF8 abc\n", 2, 25, "no data of HS_PUBKEY"),
        ("CREATE 1/a\n1 X 1 1110 FILE none.bin\n", 2, 17, "none.bin"),
        ("REMOVE 1/a\n", 1, 8, "no handle"),
        ("REMOVE 1,x:1/a\n", 1, 10, "'x'"),
        ("LIST 0.NA/1\n", 1, 1, "'LIST' begins no section"),
        ("HOME 1.2.3.4:2641\n0.NA/1\n", 1, 6, "not a server"),
        ("HOME 1.2.3.4:99999:TCP\n0.NA/1\n", 1, 14, "port 99999"),
        ("HOME 1.2.3.4:1:TCP\n\n", 1, 19, "names no prefix"),
        ("HOME 1.2.3.4:1:TCP\n1/a\n", 2, 1, "'1/a'"),
        ("AUTHENTICATE KEY:1:a\nb\n", 1, 14, "how to log in"),
        ("AUTHENTICATE SECKEY:1:a\n\n", 1, 24, "next line"),
        ("SESSIONSETUP\nOPTIONS:111\n", 1, 13, "USESESSION"),
        ("SESSIONSETUP\nUSESESSION:1\nUSESESSION:1\n", 3, 1, "twice"),
        ("SESSIONSETUP\nUSESESSION:1\nPRIVEXNGKEYFILE:a\n", 1, 13, "one half"),
        ("SESSIONSETUP\nUSESESSION:1\nTIMEOUT:0\n", 3, 9, "TIMEOUT"),
        (b"DELETE 1/a\nDELETE 1/\xc3\xbc\xff\n", 2, 11, "0xff is not UTF-8"),
    ],
)
def test_a_fault_says_where_and_what(text: str | bytes, line: int, column: int, words: str) -> None:
    error = fault(text).error
    assert (error.line, error.column) == (line, column), error
    assert words in error.what


def test_a_file_longer_than_any_message_is_refused() -> None:
    (section,) = read("CREATE 1/a\n1 X 1 1110 FILE big\n", {"big": bytes(MESSAGE_OCTETS_MAX + 1)})
    assert isinstance(section, Fault)
    assert "over 262144 octets" in section.error.what


def test_reading_goes_on_behind_what_is_wrong() -> None:
    text = "CREATE 1/a\nx URL\nDELETE 1/b\nNONSENSE\nmore of it\n\nDELETE 1/c\n"
    first, second, third, fourth = read(text)
    assert isinstance(first, Fault)
    assert first.text == "CREATE 1/a\nx URL\n"
    assert isinstance(third, Fault)
    assert third.text == "NONSENSE\nmore of it\n"
    assert isinstance(second, Operation)
    assert isinstance(fourth, Operation)
    assert (second.handle, fourth.handle) == (b"1/b", b"1/c")


def test_lines_and_sections_are_bounded() -> None:
    long_line = b"CREATE 1/a\n1 X 1 1110 UTF8 " + b"x" * (2 * LINE_OCTETS_MAX) + b"\n\nDELETE 1/b\n"
    wrong, good = read(long_line)
    assert isinstance(wrong, Fault)
    assert "over 1048576 octets" in wrong.error.what
    assert isinstance(good, Operation)
    assert good.line == 4
    value = "1 X 1 1110 UTF8 " + "x" * 100_000 + "\n"
    wrong, good = read(
        "CREATE 1/a\n" + value * (SECTION_OCTETS_MAX // 100_000 + 2) + "\nDELETE 1/b"
    )
    assert isinstance(wrong, Fault)
    assert "split it" in wrong.error.hint
    assert isinstance(good, Operation)


def test_offset_and_digest_are_those_of_what_was_given() -> None:
    text = b"\xef\xbb\xbfDELETE 1/a\n\n\nDELETE 1/b\r\nHOME 1.2.3.4:1:TCP\n0.NA/1\n0.NA/2\n\n"
    reader = BatchReader(io.BytesIO(text), no_file)
    offsets = [reader.offset for _ in reader]
    assert [text[:at].splitlines()[-1][-10:] for at in offsets] == [
        b"DELETE 1/a"[-10:], b"DELETE 1/b", b"0.NA/1", b"0.NA/2",
    ]  # fmt: skip
    assert reader.offset == len(text)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_whatever_comes_is_read_or_a_fault(octets: bytes) -> None:
    for section in read(b"CREATE 1/a\n1 X 1 1110 " + octets):
        assert isinstance(section, Operation | LogIn | SessionWish | Fault)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
references = st.builds(Reference, names.map(str.encode), st.integers(0, 2**31 - 1))
datas = st.one_of(
    st.tuples(st.sampled_from([b"URL", b"HS_SECKEY", b"X.Y"]), st.binary(max_size=40)),
    st.tuples(st.just(b"URL"), st.text(max_size=20).map(str.encode)),
    st.tuples(st.just(b"HS_ADMIN"), st.builds(HsAdmin, st.integers(0, 0xFFFF), references)).map(
        lambda pair: (pair[0], pair[1].encode())
    ),
    st.tuples(st.just(b"HS_VLIST"), st.lists(references, max_size=3).map(tuple).map(HsVlist)).map(
        lambda pair: (pair[0], pair[1].encode())
    ),
)
values = st.builds(
    lambda pair, index, permission, ttl: HandleValue(index, pair[0], pair[1], permission, ttl),
    datas,
    st.integers(1, 2**31 - 1),
    st.integers(0, 15),
    st.integers(0, 2**31 - 1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batch")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values)
def test_what_is_written_is_read_back(value: HandleValue, folder: Path) -> None:
    try:
        decode_typed(value.type, value.data)
    except ProtocolError:
        return
    text = io.StringIO()
    BatchWriter(text, folder / "x.files", 0).write("1/螺丝".encode(), [value])
    reader = BatchReader(
        io.BytesIO(text.getvalue().encode()), lambda path: (folder / path).read_bytes()
    )
    (section,) = reader
    assert isinstance(section, Operation), section
    assert section.handle == "1/螺丝".encode()
    assert section.values == (value,)


def test_what_a_batch_cannot_say_is_counted(tmp_path: Path) -> None:
    text = io.StringIO()
    writer = BatchWriter(text, tmp_path / "x.files", 1_000)
    key = b"\0\1" * 100
    writer.write(b"1/a", [HandleValue(1, b"X", key, ttl=1_060, ttl_type=TTL_ABSOLUTE)])
    writer.write(b"1/b", [HandleValue(1, b"X", key, references=(Reference(b"1/a", 1),))])
    writer.write(b"1/ends in a space ", [HandleValue(1, b"URL", b"x")])
    writer.write(b"1/c", [HandleValue(1, b"A B", b"x")])
    assert (writer.handles, writer.files) == (2, 1)
    assert " 60 1110 FILE x.files/" in text.getvalue()
    told = " ".join(writer.losses())
    for words in ("timestamps", "references of 1", "expiry of 1", "2 handles", "'A B'", "a space"):
        assert words in told
