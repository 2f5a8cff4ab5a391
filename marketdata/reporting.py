"""How commands that store candles tell what they did: a line a series, JSON for programs, an exit code.

On a terminal a progress bar stands below the lines; piped, there are only the lines. With `--json` the last
line of the output is one JSON object, whatever happened.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import IO, Any, Literal, Protocol

from marketdata.checks import short
from marketdata.ingestion import Ingested

Status = Literal["done", "partial", "failed"]
DONE, FAILED, PARTIAL = 0, 1, 3  # exit codes; 2 is argparse's own

EXIT_CODES = "Exit status: 0 all done, 1 nothing done, 3 partly done (what was good is kept), 2 wrong usage."


@dataclass
class Row:
    """One series: how many candles came, what became of them, first and last that came (UTC opens).

    `windows` and `requests`: how many were asked for and sent; None where no provider is asked.
    """

    symbol: str
    timeframe: str
    received: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    first: datetime | None = None
    last: datetime | None = None
    status: Status = "done"
    error: str | None = None
    windows: int | None = None
    requests: int | None = None
    note: str = ""  # for people, in place of the counts when nothing came

    @classmethod
    def of(cls, symbol: str, timeframe: str, counts: Ingested, status: Status, error: str | None, **more: Any) -> "Row":
        """The row of one series whose candles were ingested."""
        return cls(
            symbol,
            timeframe,
            received=counts.received,
            inserted=counts.inserted,
            updated=counts.updated,
            unchanged=counts.unchanged,
            quarantined=counts.quarantined,
            first=counts.first,
            last=counts.last,
            status=status,
            error=error,
            **more,
        )

    def for_programs(self) -> dict[str, object]:
        """The row as `--json` prints it, and as jobs keep it in their result: times as ISO 8601 with Z."""
        told = {**asdict(self), "first": iso(self.first), "last": iso(self.last)}
        del told["note"]
        return {name: value for name, value in told.items() if value is not None or name not in ("windows", "requests")}

    def for_people(self) -> str:
        name = f"{self.symbol} {self.timeframe}".strip()
        if self.status == "failed" and not self.received:
            return f"{name}: failed. {self.error or ''}".rstrip()
        if not self.received and self.note:
            return f"{name}: {self.note}" + (f" {self.status.capitalize()}: {self.error}" if self.error else "")
        counts = f"{self.inserted:,} new, {self.updated:,} changed, {self.unchanged:,} unchanged"
        if self.quarantined:
            counts += f", {self.quarantined:,} quarantined"
        line = f"{name}: {self.received:,} candles, {self._range()}; {counts}"
        return f"{line}. {self.status.capitalize()}: {self.error}" if self.error else line

    def _range(self) -> str:
        return f"{short(self.first)} to {short(self.last)}" if self.first and self.last else "no time range"


def iso(moment: datetime | None) -> str | None:
    """`2024-03-08T00:00:00Z`; None stays None."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def exit_code(rows: list[Row], *, troubled: bool = False) -> int:
    """0 if all is well, 1 if nothing is, 3 in between. `troubled`: something outside the rows went wrong."""
    if not rows:
        return FAILED if troubled else DONE
    if all(row.status == "failed" for row in rows):
        return FAILED
    return DONE if all(row.status == "done" for row in rows) and not troubled else PARTIAL


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json",
                        help="print one JSON object on the last line, for programs")  # fmt: skip


class Writes(Protocol):
    """What Django gives a command as `self.stdout`."""

    def write(self, msg: str, /) -> object: ...
    def isatty(self) -> bool: ...


class Bar(Protocol):
    """A progress display. `total` may be raised while one goes; on a pipe all of it is silent."""

    def advance(self, steps: float = 1, note: str = "") -> None: ...
    def grow(self, total: float) -> None: ...


class Report:
    """Collects the rows of a command and prints them as they come.

    with report.progress("Importing", total=len(files)) as bar:
        report.add(Row("AAPL", "1d", received=3, inserted=3)); bar.advance(note="AAPL")
    raise SystemExit(report.finish())
    """

    def __init__(self, out: Writes, *, as_json: bool = False, screen: IO[str] | None = None) -> None:
        self.rows: list[Row] = []
        self.troubled = False
        self._out, self._as_json = out, as_json
        self._bar: _TerminalBar | None = None
        self._screen = screen or sys.stdout

    def add(self, row: Row) -> None:
        """Keep and print one series' row."""
        self.rows.append(row)
        self.say(row.for_people())

    def say(self, text: str) -> None:
        """A line that belongs to no series."""
        if self._bar:
            self._bar.above(text)
        else:
            self._out.write(text)

    def trouble(self, text: str) -> None:
        """A line that says what went wrong outside any series; the exit status will not be 0."""
        self.troubled = True
        self.say(text)

    @contextmanager
    def progress(self, title: str, total: float) -> Iterator[Bar]:
        """A bar while the block runs, if the output is a terminal."""
        if not self._out.isatty():
            yield _NoBar()
            return
        with _TerminalBar(title, total, self._screen) as self._bar:
            try:
                yield self._bar
            finally:
                bar, self._bar = self._bar, None
                bar.close()

    def finish(self) -> int:
        """Print the JSON object if that was asked for; returns the exit status."""
        if self._as_json:
            assets = [row.for_programs() for row in self.rows]
            if self._out.isatty():
                self._out.write("")  # the line on which the bar was wiped away is not clean for programs
            self._out.write(json.dumps({"assets": assets}, ensure_ascii=False))
        return exit_code(self.rows, troubled=self.troubled)


class _NoBar:
    def advance(self, steps: float = 1, note: str = "") -> None:
        pass

    def grow(self, total: float) -> None:
        pass


class _TerminalBar:
    """rich's progress display, imported when there is a terminal to show it on."""

    def __init__(self, title: str, total: float, screen: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"), console=Console(file=screen, highlight=False), transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task(title, total=total, note="")

    def __enter__(self) -> "_TerminalBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._progress.stop()

    def above(self, text: str) -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=steps, note=note)

    def grow(self, total: float) -> None:
        self._progress.update(self._task, total=total)
