"""What operators write on a command line, read: moments, providers, timeframes, assets."""

import argparse
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from marketdata import providers
from marketdata.checks import short
from marketdata.forms import EARLIEST
from marketdata.models import Asset, Timeframe, is_symbol
from marketdata.providers.base import Provider
from marketdata.symbols import likely_class


class Explained(BaseCommand):
    """A command whose help ends in examples, printed as they are written."""

    explanation = ""

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        as_written = argparse.RawDescriptionHelpFormatter
        return super().create_parser(
            prog_name, subcommand, epilog=self.explanation, formatter_class=as_written, **options
        )


def moment(text: str) -> datetime:
    """2024-01-31 or 2024-01-31T14:30Z; without an offset it is UTC."""
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2024-01-31 or 2024-01-31T14:30Z") from None


def span(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime]:
    """The range to be asked for: what is to come can't be had, so it ends now. Raises `CommandError`."""
    now = timezone.now()
    end = min(until or now, now)
    if since and since >= end:
        limit = f"--until {short(until)}" if until and until <= now else "now"
        raise CommandError(f"--since {short(since)} is not before {limit}: exchange the two, or leave one out.")
    if since and since.date() < EARLIEST:
        raise CommandError(f"No source here reaches back to {short(since)}; choose a day after {EARLIEST.year}.")
    return since, end


def provider(text: str) -> Provider:
    """The provider of that name."""
    try:
        return providers.named(text)
    except providers.UnknownProvider as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text: str) -> int:
    """A number of candles."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of candles; write 1 or more")
    return int(text)


def add_series_arguments(parser: ArgumentParser, *, since: str) -> None:
    """SYMBOL…, --timeframe, --since (`since` says what it is without), --until, --provider, --again."""
    argument = parser.add_argument
    argument("symbols", nargs="+", metavar="SYMBOL", help="such as NVDA, BRK.B, BTC-USDT, EUR-USD, ^GSPC")
    argument("--timeframe", default=Timeframe.D1, choices=Timeframe.values, metavar="TIMEFRAME",
             help=f"one of {' '.join(Timeframe.values)} (default: 1d)")  # fmt: skip
    argument("--since", type=moment, metavar="WHEN",
             help="first open, such as 2024-01-31 or 2024-01-31T14:30Z; without an offset it is UTC"
             f" (default: {since})")  # fmt: skip
    argument("--until", type=moment, metavar="WHEN", help="first open that is not wanted (default: now)")
    argument("--provider", type=provider,
             help=f"only this one: {' '.join(providers.REGISTRY)}, or an exchange of ccxt by its name, such as kraken"
             " (default: one after the other, as the fallback chain of the asset's class has them)")  # fmt: skip
    argument("--again", action="store_true", help="ask also for what was answered before")


def asset_called(symbol: str) -> Asset:
    """The stored asset, by our symbol or a provider's spelling, or a new one, not stored. Raises `ValidationError`."""
    if stored := Asset.objects.called(symbol).order_by("is_sample").first():
        return stored
    is_symbol(symbol)
    return Asset(symbol=symbol, asset_class=likely_class(symbol))
