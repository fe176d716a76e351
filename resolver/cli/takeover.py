"""`biaoshi takeover`: take the records of another server over, all of them or none."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from protocol.handle import to_text
from protocol.json_forms import time_to_json
from registry.errors import StoreError
from registry.offline import LoadPolicy, LoadRow, load_records
from registry.store import Store
from registry.takeover import (
    Findings,
    find_differences,
    find_problems,
    home_prefixes,
    note_homes,
)
from registry.verify import verify as verify_store
from resolver.cli.by_row import RefusedFile, make_progress, new_refused_path
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.importing import RowVerdict, Verdict
from resolver.cli.loading import find_registering, line_of, open_store, stopped, verdict_of
from resolver.cli.output import print_json
from resolver.cli.where_options import JsonOption
from resolver.config import Config
from resolver.rows.dumps import DumpError, dump_lines
from resolver.rows.ndjson import read_load_rows
from resolver.rows.row import BadRow

FAULTS_MAX = 100  # differences looked for: more would not tell more
SHOWN_MAX = 20  # problems and prefixes shown on the screen; all problems are in the file


def takeover(
    file: Annotated[
        Path,
        typer.Argument(help="Records of the other server.", dir_okay=False, show_default=False),
    ],
    node: Annotated[
        str, typer.Option(help="Data folder of the node, not running.", envvar="BIAOSHI_NODE")
    ],
    home: Annotated[
        bool, typer.Option("--home", help="Have the node answer for the prefixes of the records.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be refused, store nothing.")
    ] = False,
    check_all: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify", help="Whether to check the whole store and journal afterwards."
        ),
    ] = True,
    problems: Annotated[
        Path | None, typer.Option(help="New file for rows that stand in the way.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take over the records of another Handle server, with timestamps, permissions and references.

    FILE is a dump of the server's storage, as Handle.Net's StorageToJson or dblist -v writes it.
    Or it holds what the REST interface answers to GET /api/handles/HANDLE, one answer a line:
    asked as an administrator, or what only he may read (secrets, groups) is not in it. An own
    export does as well. Every row is looked at first: if one stands in the way (stored here with
    other values, frozen or revoked here, twice in the file, not a record) nothing is stored and
    all of them are named. Afterwards all rows are compared with the store. After a break run it
    again: what is stored already does not stand in the way.
    A batch file has no timestamps: run one with biaoshi batch.
    Example: biaoshi takeover dump.json --node enterprise --home
    """
    config = find_registering(node)
    report = RefusedFile(new_refused_path(file, problems))
    taking = _Taking(file, int(time.time()), report)
    with stopped(config, node), report:
        _find_problems(config, taking)
        _refuse(taking, home=home, as_json=as_json)
        if not dry_run:
            _take(config, taking)
    if not dry_run and check_all:
        taking.faults += verify_store(config.store_folder).problems
    _show(taking, as_json=as_json, dry_run=dry_run)


@dataclass
class _Taking:
    """A takeover under way."""

    file: Path
    now_s: int
    report: RefusedFile
    findings: Findings = field(default_factory=Findings)
    problems: int = 0
    stored: int = 0
    existed: int = 0
    faults: list[str] = field(default_factory=list)
    homes: list[str] = field(default_factory=list)
    """Prefixes that the other server answered for, where its dump says so."""

    def rows(self) -> Iterator[LoadRow | BadRow]:
        if not self.file.is_file():
            words = f"{self.file} is no file: it is read several times"
            raise CliError(words, "write what comes out of a pipe into a file first")
        try:
            lines = self.file.open("rb")
        except OSError as error:
            words = f"{self.file} cannot be read: {error.strerror}"
            raise CliError(words, "check the path") from None
        self.homes.clear()
        number = 0
        with lines:
            try:
                for row in read_load_rows(dump_lines(lines, self.homes), self.now_s):
                    number = row.number
                    yield row
            except DumpError as error:
                words = f"the dump cannot be read any further: {error}"
                yield BadRow(number + 1, b"", words)

    def good_rows(self) -> Iterator[LoadRow]:
        for row in self.rows():
            if isinstance(row, BadRow):
                self.problems += 1
                self.report.write(RowVerdict(row, Verdict.REFUSED, 0, row.reason))
            else:
                yield row


def _find_problems(config: Config, taking: _Taking) -> None:
    with (
        open_store(config) as store,
        tempfile.TemporaryDirectory(prefix="takeover-", dir=config.store_folder.parent) as place,
        Store.open(Path(place), sync=False, case_sensitive=store.case_sensitive) as scratch,
        make_progress() as progress,
    ):
        task = progress.add_task("looking", total=None)
        rows = progress.track(taking.good_rows(), task_id=task)
        found, homes = taking.findings, taking.homes
        try:
            for refused in find_problems(
                store, scratch, rows, found, now_s=taking.now_s, homes=homes
            ):
                taking.problems += 1
                verdict = verdict_of(refused)
                taking.report.write(verdict, line_of(refused.row, verdict))
            note_homes(store, homes, found)  # a dump may have no rows
        except StoreError as error:
            raise CliError(f"{error}: nothing was stored", "mend the dump") from None


def _refuse(taking: _Taking, *, home: bool, as_json: bool) -> None:
    """Raise what stands in the way, if anything does."""
    report, unhomed = taking.report, taking.findings.unhomed
    words = []
    if taking.problems:
        words.append(f"{taking.problems:,} rows stand in the way, nothing was stored")
        for verdict in report.shown:
            handle = verdict.row.handle.decode("utf-8", "backslashreplace")
            words.append(f"  row {verdict.row.number} {handle}: {verdict.reason}")
    if unhomed and not home:
        names = ", ".join(map(to_text, sorted(unhomed)[:SHOWN_MAX]))
        more = f" and {len(unhomed) - SHOWN_MAX:,} more" if len(unhomed) > SHOWN_MAX else ""
        words.append(f"the node does not answer for {names}{more}: nothing was stored")
    if not words:
        return
    if as_json:
        prefixes = [to_text(each) for each in sorted(unhomed)] if not home else []
        path = str(report.path) if report.is_written else None
        print_json({"problems": taking.problems, "problems_file": path, "not_homed": prefixes})
    hints = []
    if taking.problems:
        hints.append(f"mend or leave out the rows that {report.path} names")
    if unhomed and not home:
        hints.append("add --home")
    raise CliError("\n".join(words), ", ".join(hints), ExitCode.REFUSED)


def _take(config: Config, taking: _Taking) -> None:
    with open_store(config) as store, make_progress() as progress:
        task = progress.add_task("storing", total=taking.findings.rows)
        home_prefixes(store, taking.findings.unhomed, taking.now_s)
        batches = load_records(
            store, taking.good_rows(), policy=LoadPolicy.REFUSE, now_s=lambda: taking.now_s
        )
        for batch in batches:
            taking.stored += batch.stored
            taking.existed += batch.existed
            progress.advance(task, batch.stored + batch.existed)
        task = progress.add_task("comparing", total=taking.findings.rows)
        rows = progress.track(taking.good_rows(), task_id=task)
        taking.faults += islice(find_differences(store, rows), FAULTS_MAX)


def _show(taking: _Taking, *, as_json: bool, dry_run: bool) -> None:
    findings = taking.findings
    found = (findings.oldest_s, findings.newest_s) if findings.oldest_s else ()
    times = [time_to_json(each) for each in found]
    if as_json:
        print_json(
            {
                "rows": findings.rows,
                "values": findings.values,
                "stored": taking.stored,
                "existed": taking.existed,
                "homed": [to_text(each) for each in sorted(findings.unhomed)],
                "oldest": times[0] if times else None,
                "newest": times[1] if times else None,
                "without_timestamp": findings.undated,
                "without_admin": findings.without_admin,
                "faults": taking.faults,
            }
        )
    else:
        print("\n".join(_words_of(taking, times, dry_run=dry_run)))
    if taking.faults:
        shown = "\n".join(taking.faults[:SHOWN_MAX])
        words = f"{len(taking.faults):,} faults were found afterwards\n{shown}"
        raise CliError(words, "biaoshi verify tells more", ExitCode.REFUSED)


def _words_of(taking: _Taking, times: Sequence[str], *, dry_run: bool) -> Iterator[str]:
    findings = taking.findings
    if dry_run:
        yield f"{findings.rows:,} rows, {findings.values:,} values: nothing stands in the way"
    else:
        yield (
            f"{taking.stored:,} handles taken over, {taking.existed:,} were here already; "
            f"{findings.values:,} values{', timestamps from ' if times else ''}{' to '.join(times)}"
        )
    if findings.unhomed:
        names = ", ".join(map(to_text, sorted(findings.unhomed)[:SHOWN_MAX]))
        yield f"{'to be homed' if dry_run else 'homed'}: {len(findings.unhomed):,} ({names})"
    if findings.undated:
        yield f"{findings.undated:,} values had no timestamp and have that of the takeover"
    if findings.without_admin:
        yield (
            f"{findings.without_admin:,} handles have no HS_ADMIN value: nobody may change them "
            "(was the dump made by an administrator?)"
        )
    if not dry_run and not taking.faults:
        yield "all rows were compared with the store: they are as in the file"
