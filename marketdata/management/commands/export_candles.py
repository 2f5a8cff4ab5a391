"""`manage.py export_candles`: stored candles as CSV, exactly as they are stored or adjusted."""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from marketdata.checks import short
from marketdata.management.arguments import Explained, moment
from marketdata.models import Asset, Series, Timeframe

EXPLANATION = """
columns: symbol,timeframe,open_time,open,high,low,close,adj_close,volume,source

Without --adjust the numbers are the stored decimals, in full: importing the file gives the same candles. With it,
prices and volumes are multiplied by what splits (split, raw) or splits and dividends (total) make of them, and
rounded to ten significant digits; numbers that no action changes stay as they are, and so does adj_close.

examples:
  manage.py export_candles AAPL MSFT --timeframe 1d --output prices.csv
  manage.py export_candles BTC-USDT --timeframe 1h --since 2024-01-01 --until 2024-02-01
  manage.py export_candles AAPL --timeframe 1d --adjust total --as-of 2024-01-31T22:00Z

Exit status: 0 done, 1 nothing written because a symbol or its candles are not there, 2 wrong usage.
"""


class Command(Explained):
    help = "Write the stored candles of assets as CSV."
    explanation = EXPLANATION

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        argument = parser.add_argument
        argument("symbols", nargs="+", metavar="SYMBOL", help="such as NVDA, BRK.B, BTC-USDT, EUR-USD, ^GSPC")
        argument("--timeframe", default=Timeframe.D1, choices=Timeframe.values, metavar="TIMEFRAME",
                 help=f"one of {' '.join(Timeframe.values)} (default: 1d)")  # fmt: skip
        argument("--adjust", choices=("raw", "split", "total"),
                 help="raw: as traded; split: divided by later splits; total: also for dividends"
                 " (default: as stored)")  # fmt: skip
        argument("--as-of", type=moment, metavar="WHEN",
                 help="as it was known then, such as 2024-01-31T14:30Z; without an offset it is UTC")  # fmt: skip
        argument("--since", type=moment, metavar="WHEN", help="first open (default: the first stored)")
        argument("--until", type=moment, metavar="WHEN", help="first open that is not wanted (default: none)")
        argument("--output", type=Path, metavar="FILE", help="where to (default: the standard output)")
        argument("--format", choices=("csv",), default="csv", help="the form of the output (csv)")

    def handle(self, *symbols: str, **options: Any) -> None:
        from marketdata import exporting

        timeframe = Timeframe(options["timeframe"])
        since, until = options["since"], options["until"]
        if since and until and since >= until:
            raise CommandError(
                f"--since {short(since)} is not before --until {short(until)}: exchange the two, or leave one out."
            )
        assets = [_asset(text, timeframe) for text in dict.fromkeys(options["symbols"])]
        wish = exporting.Wish(timeframe, since, until, options["adjust"], options["as_of"])
        lines = _lines(assets, wish)
        if options["output"]:
            _write(options["output"], lines)
            return
        with suppress(BrokenPipeError):  # `| head` has read enough
            for line in lines:
                self.stdout.write(line, ending="")


def _asset(text: str, timeframe: Timeframe) -> Asset:
    """The asset, if there is something to export of it."""
    asset = Asset.objects.called(text).first()
    if asset is None:
        raise CommandError(f"There is no asset called {text}; fetch or import it first.")
    stored = set(Series.objects.filter(asset=asset, candle_count__gt=0).values_list("timeframe", flat=True))
    if timeframe.value not in stored:
        others = ", ".join(each.value for each in Timeframe if each.value in stored)
        raise CommandError(
            f"{asset} has no {timeframe.value} candles; "
            + (f"give --timeframe with one that it has: {others}." if others else "fetch or import them first.")
        )
    return asset


def _lines(assets: list[Asset], wish: Any) -> Iterator[str]:
    from marketdata import exporting

    yield exporting.HEAD
    for asset in assets:
        yield from exporting.lines(asset, wish)


def _write(path: Path, lines: Iterator[str]) -> None:
    """The whole file or none: an export that is interrupted leaves what was there before."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            file.writelines(lines)
        part.replace(path)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}.") from None
    finally:
        part.unlink(missing_ok=True)
