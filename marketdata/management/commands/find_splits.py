"""`manage.py find_splits`: the splits and distributions of assets, found in stored prices or told by a source."""

import argparse
import json
from typing import Any

from marketdata import actions, splits
from marketdata.management.arguments import Explained
from marketdata.models import Asset, CorporateAction, Series, Timeframe
from marketdata.providers.base import Action
from marketdata.reporting import add_json_argument

EXPLANATION = """
Daily closes that were stored beside adjusted closes are looked through for splits: a day on which the adjusted close
becomes another share of the close, by exactly the ratio of a split, while the close falls by it. What is found is
stored, and the series counts as traded from then on. Without adjusted closes a fall is only named as a suspicion,
because a crash looks the same.

examples:
  manage.py find_splits AAPL-RAW MSFT-RAW
  manage.py find_splits AAPL --json

exit status: 0 if every symbol is known and has daily candles, 1 if none is, 3 in between.
"""


class Command(Explained):
    help = "Find the splits in stored daily prices, and list what is known of an asset's splits."
    explanation = EXPLANATION

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help="whose splits to find")
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        rows = [_row(symbol) for symbol in options["symbols"]]
        for row in rows:
            self.stdout.write(_for_people(row))
        if options["as_json"]:
            self.stdout.write(json.dumps({"series": rows}))
        failed = sum(row["status"] == "failed" for row in rows)
        if failed:
            raise SystemExit(1 if failed == len(rows) else 3)


def _row(symbol: str) -> dict[str, Any]:
    asset = Asset.objects.called(symbol).order_by("is_sample").first()
    if asset is None:
        return _failed(symbol, f"There is no asset called {symbol}. Import or fetch it first.")
    if not Series.objects.filter(asset=asset, timeframe=Timeframe.D1, candle_count__gt=0).exists():
        return _failed(asset.symbol, f"{asset} has no daily candles. Import or fetch them first.")
    found = splits.derive(asset)
    return {
        "symbol": asset.symbol,
        "basis": str(found.basis),
        "splits": [
            _split(row.ex_date.isoformat(), actions.ratio_words(row.value), row.source, derived=row.derived)
            for row in actions.current(asset).filter(kind=CorporateAction.Kind.SPLIT)
        ],
        "suspected": [_suspected(one) for one in found.suspected],
        "status": "done",
        "error": None,
    }


def _split(day: str, ratio: str, source: str, *, derived: bool) -> dict[str, Any]:
    return {"ex_date": day, "ratio": ratio, "source": source, "derived": derived}


def _suspected(one: Action) -> dict[str, str]:
    return {"ex_date": one.ex_date.isoformat(), "ratio": actions.ratio_words(one.value)}


def _failed(symbol: str, error: str) -> dict[str, Any]:
    return {"symbol": symbol, "basis": "", "splits": [], "suspected": [], "status": "failed", "error": error}


def _for_people(row: dict[str, Any]) -> str:
    if row["error"]:
        return f"{row['symbol']}: {row['error']}"
    said = [f"{one['ratio']} on {one['ex_date']} ({one['source']})" for one in row["splits"]]
    text = f"{row['symbol']}: {', '.join(said) or 'no splits'}"
    if row["suspected"]:
        doubts = ", ".join(f"{one['ratio']} on {one['ex_date']}" for one in row["suspected"])
        text += f"; might be splits, or not: {doubts}"
    return f"{text}."
