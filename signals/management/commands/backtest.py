"""`manage.py backtest`: one strategy on one asset or one file of candles, without storing anything."""

import argparse
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from chronos.core import figures
from marketdata.management.arguments import Explained, moment
from marketdata.models import Asset, Timeframe
from marketdata.providers.tabular import FileError
from signals.engine.terms import Costs, Exits, Impossible, Sizing, Terms
from signals.strategies import registry
from signals.strategies.declaring import BadParameters, Kind

EXPLANATION = """
strategies and their parameters:
{strategies}

Decisions are made on a completed candle and filled at the next one's open. Fractions are written as such: a fee rate of
0.001 is 0.1 % of each side, a stop-loss of 0.05 lies 5 % from the entry. When stop and target fall into one candle the
worse order is taken (or finer stored candles decide), and how much that matters is said.

examples:
  manage.py backtest sma-cross AAPL --param fast=20 slow=100 --fee-rate 0.001
  manage.py backtest rsi-reversion BTC-USDT --timeframe 1h --start 2024-01-01 --lots fractional --stop-loss 0.03
  manage.py backtest donchian prices.csv.gz --timeframe 1d --sizing risk:0.01 --json

Exit status: 0 done, 1 it could not be run, 2 wrong usage.
"""
CLOCK = "%Y-%m-%d %H:%M"
SIZINGS = {"fraction": "fraction", "amount": "amount", "fixed": "amount", "risk": "risk"}


class Command(Explained):
    help = "Backtest a strategy on a stored asset's candles or a file's."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.epilog = EXPLANATION.format(strategies="\n".join(_told(kind) for kind in registry.kinds().values()))
        argument = parser.add_argument
        argument("strategy", metavar="STRATEGY", help=f"one of {' '.join(registry.kinds())}")
        argument("source", metavar="SYMBOL|FILE", help="a stored asset, such as NVDA, or a CSV or Parquet file")
        argument("--timeframe", metavar="TIMEFRAME",
                 help=f"one of {' '.join(Timeframe.values)} (default: 1d, of a file what it says)")  # fmt: skip
        argument("--start", type=moment, metavar="WHEN", help="first open, such as 2015-01-01 (default: the first)")
        argument("--end", type=moment, metavar="WHEN", help="first open that is not wanted (default: none)")
        argument("--param", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="of the strategy")
        argument("--cash", type=float, default=Terms.cash, help="at the start (default: 10000)")
        argument("--fee-rate", type=float, default=0.0, metavar="FRACTION", help="of each side (default: 0)")
        argument("--fee-minimum", type=float, default=0.0, metavar="MONEY", help="of each order (default: 0)")
        argument("--slippage-bps", type=float, default=0.0, metavar="BPS", help="of market orders (default: 0)")
        argument("--sizing", type=sizing, default=Sizing(), metavar="KIND:VALUE",
                 help="fraction:1 of equity, amount:1000 of money, or risk:0.01 of equity lost at the stop"
                 " (default: fraction:1)")  # fmt: skip
        argument("--lots", choices=("whole", "fractional"), default="whole", help="quantities (default: whole)")
        argument("--direction", choices=("long", "short", "both"), default="long", help="(default: long)")
        argument("--stop-loss", type=float, metavar="FRACTION", help="from the entry price")
        argument("--take-profit-1", type=float, metavar="FRACTION",
                 help="closes half if there is a second one, else all")  # fmt: skip
        argument("--take-profit-2", type=float, metavar="FRACTION", help="closes the rest")
        argument("--take-profit-1-share", type=float, metavar="FRACTION", help="how much the first one closes")
        argument("--trailing-stop", type=float, metavar="FRACTION", help="from the best price of completed candles")
        argument("--max-bars", type=int, metavar="BARS", help="after so many bars a position is closed")
        argument("--close-at-end", action="store_true", help="close what is held at the last candle's open")
        argument("--benchmark", metavar="SYMBOL", help="a stored asset to compare with")
        argument("--json", action="store_true", help="metrics, trades and warnings as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            report = self._run(options)
        except (Impossible, BadParameters, FileError, registry.UnknownKind) as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(_plain(report), default=_moment, indent=2, allow_nan=False))
        else:
            self._tell(report)

    def _run(self, options: dict[str, Any]) -> Any:
        from signals import candles, running
        from signals.strategies.deciding import StrategyFault, warmup_of

        kind = registry.kind_named(options["strategy"])
        params = kind.checked(_named(options["param"]))
        terms = _terms(options)
        start, end = options["start"], options["end"]
        benchmark = _asset(options["benchmark"]) if options["benchmark"] else None
        path = Path(options["source"])
        asset = None
        try:
            if path.is_file():
                wanted = options["timeframe"] or ""
                found = candles.from_file(path, wanted, start, end, warmup_of(kind, params))
            else:
                asset = _asset(options["source"])
                timeframe = _timeframe(options["timeframe"] or "1d")
                found = candles.stored(asset, timeframe, start, end, warmup_of(kind, params))
            return running.run(kind, params, found, terms, asset=asset, benchmark=benchmark)
        except StrategyFault as error:
            raise CommandError(str(error)) from None

    def _tell(self, report: Any) -> None:
        from signals import cells, measures, running

        candles = report.candles
        write = self.stdout.write
        write(
            f"{candles.symbol} {candles.timeframe.value}, {candles.first:{CLOCK}} to {candles.last:{CLOCK}},"
            f" {figures.counted(len(candles.times), 'bar')}; {candles.year.periods:g} a year ({candles.year.why})."
        )
        for group in measures.GROUPS:
            told = [(one.label, report.metrics.get(one.name), one.kind) for one in group.measures]
            if any(value is not None for _, value, _ in told):
                write(f"\n{group.label}")
                for label, value, kind in told:
                    write(f"  {label:<34}{cells.written(value, kind):>16}")
        rows = running.trade_rows(report)
        if rows:
            write("\nTrades")
        for row in rows[-20:]:
            write(
                f"  {row['direction']:<5} {row['quantity']:>12g}"
                f"  {row['entry_time']:{CLOCK}} {row['entry_price']:>12.6g}"
                f"  {row['exit_time']:{CLOCK}} {row['exit_price']:>12.6g}  {row['exit_reason']:<14}"
                f" {row['profit']:>12,.2f}"
            )
        if len(rows) > 20:
            write(f"  (the last 20 of {len(rows)}; --json has them all)")
        if report.remarks:
            write("")
        for remark in report.remarks:
            write(f"{'!' if remark.level == 'warning' else '·'} {remark.text}")


def sizing(text: str) -> Sizing:
    """`fraction:0.5`, `amount:1000`, `risk:0.01`; a kind alone takes all, a number alone is a fraction."""
    name, _, value = text.partition(":")
    if not value and name not in SIZINGS:
        name, value = "fraction", name
    try:
        return Sizing(SIZINGS[name], float(value or 1))  # type: ignore[arg-type]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is no sizing; write fraction:1, amount:1000 or risk:0.01") from None


def _told(kind: Kind) -> str:
    several = ", ".join(f"{one.name}={one.default}" for one in kind.parameters) or "no parameters"
    return f"  {kind.name:<20} {several}"


def _named(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"{pair!r} is no parameter; write NAME=VALUE, such as fast=20.")
        found[name.strip()] = value.strip()
    return found


def _terms(options: dict[str, Any]) -> Terms:
    return Terms(
        cash=options["cash"],
        costs=Costs(options["fee_rate"], options["fee_minimum"], options["slippage_bps"]),
        sizing=options["sizing"],
        exits=Exits(
            stop_loss=options["stop_loss"],
            take_profit_1=options["take_profit_1"],
            take_profit_2=options["take_profit_2"],
            take_profit_1_share=options["take_profit_1_share"],
            trailing_stop=options["trailing_stop"],
            max_bars=options["max_bars"],
        ),
        lot=1.0 if options["lots"] == "whole" else 0.0,
        direction=options["direction"],
        close_at_end=options["close_at_end"],
    )


def _asset(text: str) -> Asset:
    found = Asset.objects.called(text).order_by("is_sample").first()
    if found is None:
        raise CommandError(f"There is no file and no asset called {text}; fetch or import it first.")
    return found


def _timeframe(text: str) -> Timeframe:
    if text not in Timeframe.values:
        raise CommandError(f"{text!r} is no timeframe; choose one of {' '.join(Timeframe.values)}.")
    return Timeframe(text)


def _plain(report: Any) -> dict[str, Any]:
    from signals import running

    return {
        "symbol": report.candles.symbol,
        "timeframe": report.candles.timeframe.value,
        "start": report.candles.first,
        "end": report.candles.last,
        "metrics": report.metrics,
        "trades": running.trade_rows(report),
        "open": running.open_rows(report),
        "warnings": [remark.text for remark in report.remarks],
        "fingerprint": report.candles.fingerprint,
        "checksum": report.checksum,
    }


def _moment(value: Any) -> str:
    assert isinstance(value, datetime)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"
