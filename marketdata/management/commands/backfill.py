"""`manage.py backfill`: the history of assets, window by window, as far back as there is any."""

import argparse
from typing import Any

from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError

from marketdata.asking import Foreground
from marketdata.backfill import backfill
from marketdata.fetching import Refreshed
from marketdata.jobs import row
from marketdata.management.arguments import Explained, add_series_arguments, asset_called, span
from marketdata.models import Asset, Timeframe, canonical
from marketdata.reporting import EXIT_CODES, Bar, Report, Row, add_json_argument

EXAMPLES = """
examples:
  manage.py backfill NVDA MSFT --since 2000-01-01
  manage.py backfill BTC-USDT ETH-USDT --timeframe 1h --json

The newest window comes first. What was answered before is not asked for again, so a backfill that was broken off goes
on where it was when you type the same again. BACKFILL_PARALLEL assets are worked on at once.
"""


class Command(Explained):
    help = "Fetch the history of assets backwards from now, until --since or until the provider has no more."
    explanation = f"{EXAMPLES}\n{EXIT_CODES}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_series_arguments(parser, since="five years ago for days, two for hours, seven days for minutes; settings")
        add_json_argument(parser)

    def handle(self, *symbols: str, **options: Any) -> None:
        since, until = span(options["since"], options["until"])
        report = Report(self.stdout, as_json=options["as_json"])
        assets = _assets(options["symbols"], options["timeframe"], report)
        with report.progress("Backfilling", total=1) as bar:
            self._all(assets, options | {"since": since, "until": until}, report, bar)
        if status := report.finish():
            raise SystemExit(status)

    def _all(self, assets: list[Asset], options: dict[str, Any], report: Report, bar: Bar) -> None:
        waits = Foreground(report.say)
        shown = 0

        def show(done: int, total: int, words: str) -> None:
            nonlocal shown
            bar.grow(total)
            bar.advance(done - shown, note=words)
            shown = done

        try:
            backfill(
                assets,
                Timeframe(options["timeframe"]),
                options["since"],
                waits,
                until=options["until"],
                provider=options["provider"],
                again=options["again"],
                show=show,
                done=lambda found: report.add(_row(found)),
            )
        except (OperationalError, InterfaceError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            report.trouble(
                f"The database went away ({reason}). What came until then is kept; give the same command again, and it"
                " goes on where it was."
            )


def _row(found: Refreshed) -> Row:
    if found.asset.is_sample:
        text = f"{found.asset} is a bundled sample; no provider has it. Fetch the asset that it is of."
        return Row(found.asset.symbol, found.timeframe.value, status="failed", error=text)
    return row(found)


def _assets(symbols: list[str], timeframe: str, report: Report) -> list[Asset]:
    """The assets, each once; what can't be a symbol is a row of its own."""
    assets: dict[str, Asset] = {}
    for name in dict.fromkeys(canonical(text) for text in symbols):
        try:
            asset = asset_called(name)
            assets.setdefault(asset.symbol, asset)
        except ValidationError as error:
            report.add(Row(name, str(timeframe), status="failed", error=" ".join(error.messages)))
    return list(assets.values())
