"""`manage.py fetch_candles`: candles from a provider, stored or only shown."""

import argparse
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from marketdata import providers
from marketdata.asking import Foreground
from marketdata.fetching import fetch, look
from marketdata.jobs import row
from marketdata.models import Asset, Timeframe, canonical, is_symbol
from marketdata.providers.base import Provider, ProviderError
from marketdata.reporting import EXIT_CODES, Report, Row, add_json_argument, short
from marketdata.symbols import likely_class

EXAMPLES = """
examples:
  manage.py fetch_candles NVDA MSFT --since 2020-01-01
  manage.py fetch_candles BTC-USDT --timeframe 1h --since 2026-01-01 --until 2026-02-01
  manage.py fetch_candles BRK.B --limit 10 --print

A symbol that is not kept yet is, as soon as the provider has confirmed it. Fetching again changes nothing.
"""


class Command(BaseCommand):
    help = "Fetch candles of assets from a provider and store them, or only show them (--print)."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            epilog=f"{EXAMPLES}\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        argument = parser.add_argument
        argument("symbols", nargs="+", metavar="SYMBOL", help="such as NVDA, BRK.B, BTC-USDT, EUR-USD, ^GSPC")
        argument("--timeframe", default=Timeframe.D1, choices=Timeframe.values, metavar="TIMEFRAME",
                 help=f"one of {' '.join(Timeframe.values)} (default: 1d)")  # fmt: skip
        argument("--since", type=_moment, metavar="WHEN",
                 help="first open, such as 2024-01-31 or 2024-01-31T14:30Z; without an offset it is UTC"
                 " (default: five years ago, or as far as the provider reaches)")  # fmt: skip
        argument("--until", type=_moment, metavar="WHEN", help="first open that is not wanted (default: now)")
        argument("--provider", type=_provider,
                 help=f"one of {' '.join(providers.REGISTRY)} (default: the first that has such assets)")  # fmt: skip
        argument("--limit", type=_count, metavar="N", help="only the newest N candles of the range")
        argument("--print", action="store_true", dest="only_print", help="show the candles and store nothing")
        add_json_argument(parser)

    def handle(self, *symbols: str, **options: Any) -> None:
        until = options["until"] or timezone.now()
        if options["since"] and options["since"] >= until:
            raise CommandError(
                f"--since {short(options['since'])} is not before --until {short(until)}:"
                " exchange the two, or leave one out."
            )
        report = Report(self.stdout, as_json=options["as_json"])
        wanted = {
            "timeframe": Timeframe(options["timeframe"]),
            "since": options["since"],
            "until": until,
            "provider": options["provider"],
            "limit": options["limit"],
            "wait": Foreground(report.say),
        }
        names = list(dict.fromkeys(canonical(text) for text in options["symbols"]))
        with report.progress("Fetching", total=len(names)) as bar:
            for name in names:
                self._one(name, report, wanted, show=options["only_print"])
                bar.advance(note=name)
        if status := report.finish():
            raise SystemExit(status)

    def _one(self, symbol: str, report: Report, wanted: dict[str, Any], *, show: bool) -> None:
        try:
            asset = _asset(symbol)
            if asset.is_sample:
                raise ProviderError(f"{asset} is a bundled sample; no provider has it. Fetch the asset that it is of.")
            report.add(_shown(asset, report, wanted) if show else row(fetch(asset, **wanted)))
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


def _asset(symbol: str) -> Asset:
    """The stored asset, by our symbol or a provider's spelling, or a new one, not stored. Raises `ValidationError`."""
    if stored := Asset.objects.called(symbol).order_by("is_sample").first():
        return stored
    is_symbol(symbol)
    return Asset(symbol=symbol, asset_class=likely_class(symbol))


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2024-01-31 or 2024-01-31T14:30Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _provider(text: str) -> Provider:
    try:
        return providers.named(text)
    except providers.UnknownProvider as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of candles; write 1 or more")
    return int(text)
