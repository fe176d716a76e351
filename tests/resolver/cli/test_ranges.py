"""`biaoshi range`, run as a person runs it, against one node on loopback."""

import json
from pathlib import Path
from typing import Any

import pytest

from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.cli.output import local_time
from resolver.cli.range_output import print_counts, print_ranges, report_ranges
from resolver.client.ranges import Range, RangeCounts
from tests.nodes import Node

URL = "URL=https://example.org/{serial}"
REVOKED = Range(
    "88/\x1b[31m.", "1", "1", "gs1", 1, "revoked", "t1", "300:88/A", (), "t2", "300:88/B", "lost"
)


class Shell:
    """Runs `biaoshi range` at the node."""

    def __init__(self, node: Node, capsys: pytest.CaptureFixture[str]) -> None:
        self._where = ["--node", str(node.folder)]
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = main(["range", *words, *self._where])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    def say(self, *words: str) -> str:
        code, out, error = self.run(*words)
        assert code == ExitCode.OK, error
        return out

    def fail(self, *words: str) -> tuple[int, str]:
        code, out, error = self.run(*words)
        assert out == ""
        return code, error


@pytest.fixture
def shell(top_node: Node, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(top_node, capsys)


def test_registering_and_showing(shell: Shell) -> None:
    out = shell.say(
        "register", "88/SHOW.", "001", "250", "-v", URL, "-v", "DESC=泵", "--check", "gs1"
    )
    assert out == "88/SHOW.001..250: registered, 250 identifiers\n"
    out = shell.say("show", "88/SHOW.0017")
    for words in (
        "range        88/SHOW.001..250\n",
        "first        88/SHOW.0017\n",
        "gs1",
        "active",
    ):
        assert words in out
    assert "by 300:0.NA/0.NA\n" in out
    assert "https://example.org/{serial}" in out
    document = json.loads(shell.say("show", "88/SHOW.0017", "--json"))
    assert (document["check"], document["identifiers"]) == ("gs1", 250)
    assert [each["data"]["value"] for each in document["values"]] == [URL[4:], "泵"]


def test_what_is_shown_registers_another(shell: Shell, tmp_path: Path) -> None:
    words = ["-v", URL, "-v", "DESC={{{number}}}", "--owner", "300:0.NA/88"]
    first = json.loads(shell.say("register", "88/ONE.", "01", "99", *words, "--json"))
    (tmp_path / "values.json").write_text(json.dumps(first))
    words = ["--values", str(tmp_path / "values.json"), "--json"]
    second = json.loads(shell.say("register", "88/TWO.", "01", "99", *words))
    plain = [{**each, "timestamp": ""} for each in first["values"]]
    assert [{**each, "timestamp": ""} for each in second["values"]] == plain
    assert [each["type"] for each in plain] == ["URL", "DESC", "HS_ADMIN"]


def test_a_conflict_is_named_and_the_same_may_be_said_again(shell: Shell) -> None:
    words = ["register", "88/TWICE.", "001", "100", "-v", URL]
    shell.say(*words)
    code, error = shell.fail(*words)
    assert code == ExitCode.REFUSED
    assert "88/TWICE.001..100" in error
    assert "(response code 101)" in error
    assert "  try: choose serials beside" in error
    assert shell.say(*words, "--again") == "88/TWICE.001..100: registered, 100 identifiers\n"
    words[3] = "101"
    assert shell.fail(*words, "--again")[0] == ExitCode.REFUSED


def test_listing_and_counting(shell: Shell) -> None:
    assert shell.say("list", "88", "--stem", "88/LIST.") == "no ranges under 88\n"
    before: dict[str, Any] = json.loads(shell.say("count", "88", "--json"))
    for stem in ("A.", "B."):
        shell.say("register", f"88/LIST.{stem}", "0000000001", "2000000000", "-v", URL)
    assert shell.say("list", "88", "--stem", "88/LIST.") == (
        "88/LIST.A.0000000001..2000000000: 2,000,000,000 identifiers\n"
        "88/LIST.B.0000000001..2000000000: 2,000,000,000 identifiers\n"
    )
    lines = shell.say("list", "88", "--stem", "88/LIST.B", "--json").splitlines()
    assert [json.loads(line)["stem"] for line in lines] == ["88/LIST.B."]
    after = json.loads(shell.say("count", "88", "--json"))
    assert after["identifiers"] - before["identifiers"] == 4_000_000_000
    assert f"  {after['identifiers']:,}  identifiers\n" in shell.say("count", "88")


def test_shrinking_splitting_revoking(shell: Shell) -> None:
    shell.say("register", "88/CUT.", "001", "100", "-v", URL)
    shrink = ["shrink", "88/CUT.050", "011", "090"]
    code, _, error = shell.run(*shrink)  # nobody is there to be asked
    assert code != ExitCode.OK
    assert shell.say(*shrink, "--yes") == "88/CUT.011..090: shrunk, 80 identifiers\n"
    code, error = shell.fail("shrink", "88/CUT.050", "001", "090", "--yes")
    assert code == ExitCode.REFUSED
    assert "88/CUT.011..090" in error
    assert shell.say("split", "88/CUT.051") == (
        "88/CUT.011..050: split, 40 identifiers\n88/CUT.051..090: split, 40 identifiers\n"
    )
    revoke = ["revoke", "88/CUT.060", "--reason", "not made", "--yes", "--json"]
    revoked = json.loads(shell.say(*revoke))
    assert (revoked["first"], revoked["state"], revoked["reason"]) == ("051", "revoked", "not made")
    assert (revoked["revokedBy"], bool(revoked["revoked"])) == ("300:0.NA/0.NA", True)
    assert "by 300:0.NA/0.NA: not made\n" in shell.say("show", "88/CUT.060")
    assert "88/CUT.051..090: 40 identifiers, revoked: not made\n" in shell.say("list", "88")
    parts = json.loads(shell.say("split", "88/CUT.012", "--json"))["ranges"]
    assert [part["identifiers"] for part in parts] == [1, 39]


def test_what_is_no_range(shell: Shell) -> None:
    code, error = shell.fail("show", "88/NONE.1")
    assert (code, "no range holds 88/NONE.1" in error) == (ExitCode.REFUSED, True)
    code, error = shell.fail("revoke", "88/NONE.1", "--reason", "x", "--yes")
    assert (code, "88/NONE.1 is in no range" in error) == (ExitCode.REFUSED, True)
    assert "try: list_ranges (biaoshi range list PREFIX) shows" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["88/BAD.", "1", "09"], "first has 1 digits, last has 2"),
        (["88/BAD.", "9", "1"], "first (9) is beyond last (1)"),
        (["88/BAD.", "a", "b"], 'first must be 1 to 18 digits as text, not "a"'),
        (["88", "1", "9"], "stem must begin with a prefix and a slash"),
        (["88/BAD.", "1", "9", "--check", "luhn"], "check must be one of none, gs1"),
        (["88/BAD.", "1", "9", "-v", "DESC={serail}"], "{serail} is unknown: there are {serial}"),
        (["88/BAD.", "1", "9", "-v", "RANGE:1002=x"], "value at index 1002"),
    ],
)
def test_what_cannot_be_registered(shell: Shell, words: list[str], said: str) -> None:
    code, error = shell.fail("register", *words, "-v", URL)
    assert (code, said in error, "try: mend" in error) == (ExitCode.REFUSED, True, True), error


def test_another_nodes_prefix(shell: Shell) -> None:
    code, error = shell.fail("register", "99/X.", "1", "9", "-v", URL)
    assert (code, "not homed on this node" in error) == (ExitCode.REFUSED, True)


def test_history(shell: Shell, top_node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    shell.say("register", "88/OLD.", "001", "900", "-v", URL)
    shell.say("split", "88/OLD.501")
    where = ["--node", str(top_node.folder)]
    freeze = ["life", "freeze", "88/OLD.007", "--reason", "sample", *where]
    assert main(freeze) == ExitCode.OK
    shell.say("shrink", "88/OLD.001", "001", "400", "--existing", "keep", "--yes")
    shell.say("revoke", "88/OLD.001", "--reason", "leaks\x1b", "--existing", "keep", "--yes")
    table = shell.say("history", "88/OLD.450").splitlines()
    assert [line.split()[2] for line in table[2:5]] == ["register", "split", "cut"]
    assert table[3].rstrip().endswith("88/OLD.001..500, 500 identifiers; 88/OLD.501..900")
    assert "the identifier is not in it any more" in table[4]
    assert "this machine's zone" in table[5]
    told = json.loads(shell.say("history", "88/OLD.001", "--json"))["events"]
    assert [each["operation"] for each in told] == ["register", "split", "shrink", "revoke"]
    assert shell.say("history", "88/NONE.1") == "no range is known to have held 88/NONE.1\n"

    def life(*words: str) -> str:
        capsys.readouterr()
        assert main(["life", *words, *where]) == ExitCode.OK
        return capsys.readouterr().out

    table = life("history", "88/OLD.007").splitlines()
    what = ["create in a range", "split its range", "freeze", "shrink its range"]
    assert all(word in line for word, line in zip(what, table[2:], strict=False))
    assert "88/OLD.001..400; has values of its own, which stayed; leaks\\x1b" in table[6]
    was = life("as-of", "88/OLD.008", str(told[1]["sequence"]))
    at = local_time(told[1]["time"])
    words = f"was active in the range 88/OLD.001..500, since {at} by {top_node.admin}, frame"
    assert was.startswith(f"88/OLD.008 {words} {told[1]['sequence']}\n")
    assert "was active in" in life("as-of", "88/OLD.008", at)  # as it was printed
    was = life("as-of", "88/OLD.008", told[3]["time"])
    assert "was revoked with the range 88/OLD.001..400, since" in was
    assert "deleted, cut off from the range" in life("as-of", "88/OLD.450", told[3]["time"])
    assert life("history", "88/OLD.901") == "nothing is known of 88/OLD.901\n"


def test_without_values_or_an_identity(top_node: Node, shell: Shell) -> None:
    assert shell.fail("register", "88/X.", "1", "9")[0] == ExitCode.USAGE
    server = f"127.0.0.1:{top_node.handle_port}"
    assert main(["range", "count", "88", "--server", server]) == ExitCode.USAGE


def test_a_wrong_key_is_not_believed(top_node: Node, shell: Shell, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not the one")
    code, error = shell.fail("count", "88", "--secret", str(secret), "--admin", "300:0.NA/88")
    assert (code, "did not believe 300:0.NA/88" in error) == (ExitCode.NOT_ALLOWED, True)


def test_what_is_told_cannot_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report_ranges("registered", REVOKED, as_json=False)
    print_ranges("88", [REVOKED], as_json=False)
    assert capsys.readouterr().out == (
        "88/\\x1b[31m.1..1: registered, 1 identifier\n"
        "88/\\x1b[31m.1..1: 1 identifier, check gs1, revoked: lost\n"
    )


def test_counts_stand_in_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    print_counts("88", RangeCounts(3, 1, 10**18 + 2, 10**18, 1, 0), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  1,000,000,000,000,000,002  identifiers"
    assert lines[2] == f"{'3':>27}  with a row of their own"
