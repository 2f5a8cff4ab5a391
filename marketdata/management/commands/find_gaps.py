"""`manage.py find_gaps`: which candles of a series are missing, by its market's calendar."""

import argparse
import json
from datetime import datetime
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError

from marketdata.checks import short
from marketdata.management.arguments import Explained, moment
from marketdata.models import Asset, Series, Timeframe
from marketdata.reporting import add_json_argument, iso

EXAMPLES = """
examples:
  manage.py find_gaps NVDA
  manage.py find_gaps BTC-USDT --timeframe 1h --since 2026-01-01 --json

Exit status: 0 also if there are gaps, 1 if the series can't be judged (the text says why), 2 wrong usage.
"""
SHOWN = 40  # gaps, for people; --json gives all


class Command(Explained):
    help = "List the candles that an asset's market should have and that are not stored."
    explanation = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        argument = parser.add_argument
        argument("symbol", metavar="SYMBOL", help="such as NVDA, BRK.B, BTC-USDT, EUR-USD, ^GSPC")
        argument("--timeframe", default=Timeframe.D1, choices=Timeframe.values, metavar="TIMEFRAME",
                 help=f"one of {' '.join(Timeframe.values)} (default: 1d)")  # fmt: skip
        argument("--since", type=moment, metavar="WHEN",
                 help="first open, such as 2024-01-31 or 2024-01-31T14:30Z; without an offset it is UTC"
                 " (default: the first stored candle)")  # fmt: skip
        argument("--until", type=moment, metavar="WHEN",
                 help="first open that is not wanted (default: the newest candle that is complete)")  # fmt: skip
        add_json_argument(parser)

    def handle(self, *_: str, **options: Any) -> None:
        from marketdata import gaps
        from marketdata.calendars import UnknownCalendar

        timeframe = Timeframe(options["timeframe"])
        since, until = options["since"], options["until"]
        refused = _Refusal(self, options["symbol"], timeframe, as_json=options["as_json"])
        if since and until and since >= until:
            refused(f"--since {short(since)} is not before --until {short(until)}: exchange the two, or leave one out.")
        asset = Asset.objects.called(options["symbol"]).order_by("is_sample").first()
        if asset is None:
            refused(f"There is no asset {options['symbol']!r} here. Fetch or import its candles first.")
        if not Series.objects.filter(asset=asset, timeframe=timeframe).exclude(last_open=None).exists():
            refused(f"There are no {timeframe} candles of {asset}. Fetch or import them first. {_others(asset)}")
        try:
            found = gaps.examine(asset, timeframe, since, until)
        except UnknownCalendar as error:
            refused(str(error))
        counts = {
            "expected": int(found.expected.size),
            "have": found.count(gaps.HAVE),
            "missing": found.count(gaps.MISSING),
            "untraded": found.count(gaps.UNTRADED),
            "quarantined": found.count(gaps.HELD),
            "extra": found.extra,
        }
        listed = found.gaps
        if options["as_json"]:
            rows = [{"start": iso(gap.start), "end": iso(gap.end), "candles": gap.candles} for gap in listed]
            head = {"symbol": asset.symbol, "timeframe": timeframe.value, "calendar": found.calendar}
            self.stdout.write(json.dumps({**head, **counts, "gaps": rows}))
            return
        self.stdout.write(_summary(f"{asset} {timeframe}", found.calendar, counts, len(listed)))
        for gap in listed[:SHOWN]:
            self.stdout.write(f"  {_range(gap, timeframe)}  {gap.candles:,}")
        if len(listed) > SHOWN:
            self.stdout.write(f"  … and {len(listed) - SHOWN:,} more; --json lists all.")


class _Refusal:
    """Ends the command with a sentence on the error output, and for programs with an object that holds it."""

    def __init__(self, command: BaseCommand, symbol: str, timeframe: Timeframe, *, as_json: bool) -> None:
        self.command, self.as_json = command, as_json
        self.head = {"symbol": symbol, "timeframe": timeframe.value}

    def __call__(self, text: str) -> NoReturn:
        if self.as_json:
            self.command.stdout.write(json.dumps({**self.head, "error": text}, ensure_ascii=False))
        raise CommandError(text.strip())


def _others(asset: Asset) -> str:
    have = set(Series.objects.filter(asset=asset).exclude(last_open=None).values_list("timeframe", flat=True))
    kept = [name for name in Timeframe.values if name in have]
    return f"It has {', '.join(kept)}." if kept else ""


def _summary(name: str, calendar: str, counts: dict[str, int], gaps: int) -> str:
    told = [f"{counts['have']:,} of {counts['expected']:,} candles that {calendar} lets expect"]
    told += [f"{counts['missing']:,} missing in {gaps:,} gap{'' if gaps == 1 else 's'}"] if gaps else ["none missing"]
    told += [f"{counts[key]:,} {word}" for key, word in _WORDS if counts[key]]
    return f"{name}: {', '.join(told)}."


_WORDS = (("untraded", "not traded"), ("quarantined", "in quarantine"), ("extra", "outside the calendar"))


def _range(gap: Any, timeframe: Timeframe) -> str:
    def text(at: datetime) -> str:
        return f"{at:%Y-%m-%d}" if timeframe.is_daily else f"{at:%Y-%m-%d %H:%M}Z"

    return text(gap.start) if gap.candles == 1 else f"{text(gap.start)} to {text(gap.end)}"
