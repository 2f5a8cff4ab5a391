"""`manage.py load_symbols`: the symbol master, from a file or from the FinanceDatabase package."""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marketdata.directory import listings, sources
from marketdata.management.arguments import Explained
from marketdata.reporting import DONE, FAILED, Bar, Report

STEPS = 4  # that a load tells of itself

EXPLANATION = f"""
PATH is a Parquet or CSV file (.gz or not) with the columns {", ".join(sources.NEEDED)} and, where known,
{", ".join(sources.COLUMNS[len(sources.NEEDED) :])}. type is EQUITY, ETF, INDEX,
CURRENCY, CRYPTOCURRENCY, MUTUALFUND or FUTURE; symbols are written as Yahoo Finance writes them.

financedatabase downloads the directory of that name with the package financedatabase, which is not part of Chronos.

Loading again changes only what differs. Lines that the same source has no more are removed; should that be more than a
tenth of them, the file may be only a part of it, and they are kept unless --replace is given.
Stored assets whose name, exchange, sector and the like are empty get them from the directory.

examples:
  manage.py load_symbols symbol_master.parquet
  manage.py load_symbols financedatabase --json

Exit status: 0 loaded, 1 nothing has changed because the directory can't be read, 2 wrong usage.
"""


class Command(Explained):
    help = "Load names, sectors, industries, exchanges and market-cap classes of all symbols from a directory."
    explanation = EXPLANATION

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        argument = parser.add_argument
        argument("directory", metavar="PATH|financedatabase", help="a file, or the package of that name")
        argument("--replace", action="store_true",
                 help="remove all lines that the source has no more, however many")  # fmt: skip
        argument("--base-url", default="", metavar="URL",
                 help="where FinanceDatabase's files are, instead of its own place")  # fmt: skip
        argument("--json", action="store_true", dest="as_json",
                 help="print one JSON object on the last line, for programs")  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        report = Report(self.stdout)
        started = time.monotonic()
        try:
            with report.progress("Loading symbols", total=STEPS) as bar:
                done = _load(options["directory"], options["base_url"], options["replace"], bar)
        except listings.Unreadable as error:
            report.say(str(error))
            self._json(options["as_json"], {"status": "failed", "error": str(error)})
            raise SystemExit(FAILED) from None
        seconds = time.monotonic() - started
        for line in _told(done, seconds):
            report.say(line)
        refused = {reason: {"lines": many, "examples": some} for reason, (many, some) in done.refused.items()}
        told = {**asdict(done), "unchanged": done.unchanged, "refused": refused, "seconds": round(seconds, 2)}
        self._json(options["as_json"], {"status": "done", **told})
        raise SystemExit(DONE)

    def _json(self, wanted: bool, told: dict[str, Any]) -> None:
        if wanted:
            self.stdout.write(json.dumps(told, ensure_ascii=False))


def _load(directory: str, base_url: str, replace: bool, bar: Bar) -> listings.Loaded:
    def step(note: str) -> None:
        bar.advance(note=note)

    if directory == "financedatabase" and not Path(directory).exists():
        bar.grow(STEPS + 6)
        return listings.load(sources.financedatabase(base_url, step), replace=replace, step=step)
    return listings.load(Path(directory), replace=replace, step=step)


def _told(done: listings.Loaded, seconds: float) -> list[str]:
    removed = f", {done.removed:,} removed" if done.removed else ""
    lines = [
        f"{done.stored:,} symbols in {seconds:.1f} s: {done.inserted:,} new, {done.updated:,} changed,"
        f" {done.unchanged:,} unchanged{removed}."
    ]
    if done.assets:
        lines.append(f"{done.assets:,} stored {'asset has' if done.assets == 1 else 'assets have'} learnt from it.")
    if done.twins:
        lines.append(f"{done.twins:,} lines name what another line names too; the one that says more was taken.")
    for reason, (many, some) in done.refused.items():
        lines.append(
            f"{many:,} {'lines' if many > 1 else 'line'} left out, because the symbol {reason}: {_some(many, some)}."
        )
    if done.spared:
        lines.append(
            f"{done.spared:,} stored symbols of the same source are not in it and were kept; --replace removes them."
        )
    return lines


def _some(many: int, some: list[str]) -> str:
    return ", ".join(some) + (", …" if many > len(some) else "")
