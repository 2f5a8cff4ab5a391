"""`manage.py backtest`: one strategy on one asset or one file of candles, without storing anything."""

import argparse
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from chronos.core import figures
from marketdata.management.arguments import Explained
from marketdata.providers.tabular import FileError
from signals import findings
from signals.engine.terms import Costs, Exits, Impossible, Sizing, Terms
from signals.management import arguments
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
  manage.py backtest buy-and-hold ^GSPC --output report.html --output equity.csv

Exit status: 0 done, 1 it could not be run, 2 wrong usage.
"""
CLOCK = "%Y-%m-%d %H:%M"
FORMS = (".json", ".csv", ".png", ".html")
SIZINGS = {"fraction": "fraction", "amount": "amount", "fixed": "amount", "risk": "risk"}


class Command(Explained):
    help = "Backtest a strategy on a stored asset's candles or a file's."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.epilog = EXPLANATION.format(strategies=arguments.kinds_told())
        arguments.add_arguments(parser)
        argument = parser.add_argument
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
        argument("--output", type=Path, action="append", default=[], metavar="FILE",
                 help="write the result into a file, by its ending: .json everything, .csv the equity of each bar, .png"
                 " the curves, .html a report; can be given several times")  # fmt: skip

    def handle(self, *_: Any, **options: Any) -> None:
        for path in options["output"]:
            _check_output(path)
        try:
            kind = registry.kind_named(options["strategy"])
            params, terms = arguments.parameters(kind, options["param"]), _terms(options)
            began = time.perf_counter()
            report = self._run(options, kind, params, terms)
            seconds = time.perf_counter() - began
        except (Impossible, BadParameters, FileError, registry.UnknownKind) as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(_plain(report), default=_moment, allow_nan=False))
        else:
            self._tell(report)
        if options["output"]:
            found = findings.of_report(
                report, kind, params, terms, start=options["start"], end=options["end"],
                benchmark=options["benchmark"], seconds=seconds,
            )  # fmt: skip
            for path in options["output"]:
                self._write(path, found)

    def _write(self, path: Path, found: Any) -> None:
        from signals import exporting, reports

        form = path.suffix.lower().removeprefix(".")
        try:
            with path.open("wb") as file:
                if form == "html":
                    file.write(reports.html(found, timezone.now()).encode())
                elif form == "png":
                    file.write(exporting.png(found))
                else:
                    file.writelines(exporting.json(found) if form == "json" else exporting.equity_csv(found))
        except OSError as error:
            raise CommandError(f"{path} can't be written: {error.strerror}.") from None
        self.stderr.write(f"Written: {path}")

    def _run(self, options: dict[str, Any], kind: Kind, params: dict[str, Any], terms: Terms) -> Any:
        from signals import running
        from signals.strategies.deciding import StrategyFault, warmup_of

        benchmark = arguments.asset_called(options["benchmark"]) if options["benchmark"] else None
        try:
            candles, asset = arguments.read(options, warmup_of(kind, params))
            return running.run(kind, params, candles, terms, asset=asset, benchmark=benchmark)
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


def _check_output(path: Path) -> None:
    """Before anything is run, because a run can be long."""
    if path.suffix.lower() not in FORMS:
        raise CommandError(f"{path} can't be told what to hold: end its name in {', '.join(FORMS)}.")
    if not path.parent.is_dir():
        raise CommandError(f"{path} can't be written: there is no directory {path.parent}.")


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
