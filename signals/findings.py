"""A result with all that belongs to it, whether it is stored or has only been run: what files of it are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from signals import running
from signals.engine.terms import Terms
from signals.models import Backtest, Curve, Trade
from signals.running import Report
from signals.strategies.declaring import Kind

if TYPE_CHECKING:
    from signals.engine.terms import Floats, Whole

AT_ONCE = 5_000  # trades that are held in memory
OF_TRADE = (
    "number", "position", "direction", "quantity", "entry_bar", "entry_time", "entry_price", "exit_bar", "exit_time",
    "exit_price", "exit_reason", "fees", "dividends", "profit", "profit_percent", "mae", "mfe", "risk", "ambiguous",
)  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """`name`: the strategy's. `inputs`: what was asked for, `made`: how it came about, both as plain data. `trades`
    gives those that are closed, or that are open, one after the other. `times` are microseconds since 1970; curves are
    (T,), `benchmark` and `optimistic` None where there is none.
    """

    name: str
    kind: str
    symbol: str
    timeframe: str
    first: datetime
    last: datetime
    inputs: dict[str, Any]
    made: dict[str, Any]
    metrics: dict[str, Any]
    warnings: list[dict[str, str]]
    trades: Callable[[bool], Iterator[dict[str, Any]]]
    times: Whole
    equity: Floats
    gross: Floats
    hold: Floats
    benchmark: Floats | None
    optimistic: Floats | None

    @property
    def cash(self) -> float:
        return float(self.inputs["terms"].get("cash", Terms.cash))


def stored(backtest: Backtest) -> Findings:
    """Of a finished backtest, in its owner's scope."""
    from signals.curves import unpacked, unpacked_times

    assert backtest.first_open
    assert backtest.last_open
    curve = Curve.objects.get(backtest=backtest)

    def some(column: bytes | memoryview | None) -> Floats | None:
        return None if column is None else unpacked(column)

    return Findings(
        name=backtest.strategy_name,
        kind=backtest.kind,
        symbol=backtest.asset.symbol,
        timeframe=backtest.timeframe,
        first=backtest.first_open,
        last=backtest.last_open,
        inputs={
            "parameters": backtest.parameters,
            "start": backtest.start,
            "end": backtest.end,
            "terms": backtest.terms,
            "benchmark": str(backtest.benchmark) if backtest.benchmark else None,
        },
        made={
            "backtest": backtest.pk,
            "created_at": backtest.created_at,
            "finished_at": backtest.finished_at,
            "seconds": backtest.seconds,
            "code_version": backtest.code_version,
            "read_from": backtest.read_from,
            "bars": backtest.bars,
            "fingerprint": backtest.fingerprint,
            "revision": backtest.revision,
            "actions_digest": backtest.actions_digest,
            "checksum": backtest.checksum,
            "rerun_of": backtest.rerun_of_id,
            "stale": backtest.stale,
            "note": backtest.note,
        },
        metrics=backtest.metrics,
        warnings=backtest.warnings,
        trades=lambda still_open: _trades(backtest, still_open),
        times=unpacked_times(curve.times),
        equity=unpacked(curve.equity),
        gross=unpacked(curve.gross),
        hold=unpacked(curve.hold),
        benchmark=some(curve.benchmark),
        optimistic=some(curve.optimistic),
    )


def _trades(backtest: Backtest, still_open: bool) -> Iterator[dict[str, Any]]:
    rows = Trade.objects.filter(backtest=backtest, is_open=still_open).order_by("number").values(*OF_TRADE)
    return (told(row) for row in rows.iterator(AT_ONCE))


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A stored trade's values as programs get them: numbers as floats, nothing for what an open one has not yet."""
    numbers = {name: float(row[name]) for name in ("quantity", "entry_price", "fees", "dividends", "profit")}
    left = None if row["exit_price"] is None else float(row["exit_price"])
    risk = None if row["risk"] is None else float(row["risk"])
    return row | numbers | {"exit_price": left, "risk": risk, "exit_reason": row["exit_reason"] or None}


def of_report(
    report: Report,
    kind: Kind,
    parameters: dict[str, Any],
    terms: Terms,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    benchmark: str | None = None,
    seconds: float | None = None,
) -> Findings:
    """Of a run that nobody stores."""
    candles = report.candles
    closed, still_open = running.trade_rows(report), running.open_rows(report)

    def trades(wants_open: bool) -> Iterator[dict[str, Any]]:
        return _numbered(still_open, len(closed)) if wants_open else _numbered(closed, 0)

    return Findings(
        name=kind.label,
        kind=kind.name,
        symbol=candles.symbol,
        timeframe=candles.timeframe.value,
        first=candles.first,
        last=candles.last,
        inputs={
            "parameters": parameters,
            "start": start,
            "end": end,
            "terms": running.plain(terms),
            "benchmark": benchmark,
        },
        made={
            "seconds": seconds,
            "code_version": running.code_version(kind),
            "read_from": candles.since,
            "bars": len(candles.times),
            "fingerprint": candles.fingerprint,
            "revision": candles.revision,
            "actions_digest": candles.actions,
            "checksum": report.checksum,
        },
        metrics=report.metrics,
        warnings=[remark.plain() for remark in report.remarks],
        trades=trades,
        times=candles.times,
        equity=report.result.equity,
        gross=report.result.gross,
        hold=report.hold,
        benchmark=report.benchmark,
        optimistic=None if report.best is None else report.best.equity,
    )


def _numbered(rows: Iterable[dict[str, Any]], first: int) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, first):
        paid = row["quantity"] * row["entry_price"]
        values = row | {"number": number, "profit_percent": row["profit"] / paid if paid else 0.0}
        yield {name: values[name] for name in OF_TRADE}
