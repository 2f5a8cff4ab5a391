"""`manage.py fetch_candles`: candles from a provider, stored or only shown."""

import argparse
from typing import Any

from django.core.exceptions import ValidationError

from marketdata.asking import Foreground
from marketdata.fetching import fetch, look
from marketdata.jobs import row
from marketdata.management.arguments import Explained, add_series_arguments, asset_called, count, span
from marketdata.models import Asset, Timeframe, canonical
from marketdata.providers.base import ProviderError
from marketdata.reporting import EXIT_CODES, Report, Row, add_json_argument

EXAMPLES = """
examples:
  manage.py fetch_candles NVDA MSFT --since 2020-01-01
  manage.py fetch_candles BTC-USDT --timeframe 1h --since 2026-01-01 --until 2026-02-01
  manage.py fetch_candles BRK.B --limit 10 --print

A symbol that is not kept yet is, as soon as the provider has confirmed it. What was answered before is not asked for
again, unless you say --again; that changes nothing but what the provider has changed.
"""


class Command(Explained):
    help = "Fetch candles of assets from a provider and store them, or only show them (--print)."
    explanation = f"{EXAMPLES}\n{EXIT_CODES}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_series_arguments(parser, since="as far as a backfill goes, or as far as the provider reaches")
        parser.add_argument("--limit", type=count, metavar="N", help="only the newest N candles of the range")
        parser.add_argument("--print", action="store_true", dest="only_print",
                            help="show the candles and store nothing")  # fmt: skip
        add_json_argument(parser)

    def handle(self, *symbols: str, **options: Any) -> None:
        since, until = span(options["since"], options["until"])
        report = Report(self.stdout, as_json=options["as_json"])
        wanted = {
            "timeframe": Timeframe(options["timeframe"]),
            "since": since,
            "until": until,
            "provider": options["provider"],
            "limit": options["limit"],
            "wait": Foreground(report.say),
        }
        names = list(dict.fromkeys(canonical(text) for text in options["symbols"]))
        with report.progress("Fetching", total=len(names)) as bar:
            for name in names:
                self._one(name, report, wanted, show=options["only_print"], again=options["again"])
                bar.advance(note=name)
        if status := report.finish():
            raise SystemExit(status)

    def _one(self, symbol: str, report: Report, wanted: dict[str, Any], *, show: bool, again: bool) -> None:
        try:
            asset = asset_called(symbol)
            if asset.is_sample:
                raise ProviderError(f"{asset} is a bundled sample; no provider has it. Fetch the asset that it is of.")
            report.add(_shown(asset, report, wanted) if show else row(fetch(asset, **wanted, again=again)))
        except (ProviderError, ValidationError) as error:
            text = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            report.add(Row(symbol, wanted["timeframe"].value, status="failed", error=text))


def _shown(asset: Asset, report: Report, wanted: dict[str, Any]) -> Row:
    """Print the candles as CSV; the row says how many came and that none was stored."""
    candles = look(asset, **wanted)
    report.say("symbol,timeframe,open_time,open,high,low,close,adj_close,volume")
    opens = candles["open_time"].to_pylist()
    for at, found in zip(opens, candles.drop_columns(["open_time", "quote_volume"]).to_pylist(), strict=True):
        numbers = ",".join(found[name] or "" for name in ("open", "high", "low", "close", "adj_close", "volume"))
        report.say(f"{asset.symbol},{wanted['timeframe']},{at:%Y-%m-%dT%H:%M:%SZ},{numbers}")
    return Row(
        asset.symbol,
        wanted["timeframe"].value,
        received=len(opens),
        first=opens[0] if opens else None,
        last=opens[-1] if opens else None,
    )
