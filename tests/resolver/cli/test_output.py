import io

import pytest
from rich.console import Console

from protocol.value import TTL_ABSOLUTE, HandleValue, Reference
from resolver.cli import output
from resolver.cli.output import print_table, show_data, show_ttl, value_rows, visible
from resolver.cli.value_texts import parse_values
from resolver.rows.value_texts import make_admin_value


def test_control_characters_are_shown_not_obeyed() -> None:
    assert visible("a\x1b[2Jb\u202ec") == "a\\x1b[2Jb\\u202ec"
    assert visible("特上檸檬茶\t찌개\nน้ำ") == "特上檸檬茶\t찌개\nน้ำ"


def test_markup_is_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(output, "make_console", lambda: Console(file=written, width=80))
    print_table("[bold]title", ("a",), [("[red]x[/red]",)])
    assert "[bold]title" in written.getvalue()
    assert "[red]x[/red]" in written.getvalue()


def test_values_as_a_person_reads_them() -> None:
    owner = Reference(b"0.NA/88", 300)
    assert show_data(make_admin_value(owner)) == "300:0.NA/88 may 111111111111"
    (group,) = parse_values(["HS_VLIST=300:0.NA/88,301:0.NA/88"])
    assert show_data(group) == "300:0.NA/88, 301:0.NA/88"
    assert show_data(HandleValue(1, b"X", b"\xff\x00")) == "2 octets: ff 00"
    assert show_data(HandleValue(1, b"HS_SITE", b"\xff")).startswith("not HS_SITE data: ")
    assert "(1000 octets, --json shows all)" in show_data(HandleValue(1, b"X", b"x" * 1000))


def test_rows() -> None:
    value = HandleValue(7, b"URL", b"x", 0b1100, 60)
    assert value_rows([value]) == [("7", "URL", "x", "60 s", "1100")]
    assert show_ttl(HandleValue(1, b"", b"", ttl=99, ttl_type=TTL_ABSOLUTE)) == "until 99"
