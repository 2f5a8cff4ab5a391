"""One backtest: candles, decisions, simulation, what it was worth, and what must be said about it. Stores nothing."""

from __future__ import annotations

import hashlib
import inspect
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketdata.models import Asset
from signals import candles as given
from signals import remarks
from signals.candles import Candles
from signals.engine.terms import Costs, Decisions, Exits, Impossible, Result, Sizing, Terms
from signals.remarks import Remark
from signals.strategies.declaring import Kind

if TYPE_CHECKING:
    from signals.engine.terms import Floats, Trades

CLOSED = timedelta(days=5)  # that a market may be closed around holidays, while another one trades


@dataclass(frozen=True)
class Report:
    """What came of a run. `hold` and `benchmark` (T,): what the same cash would have been worth, buying and holding.
    `best`: the result with the best order of events inside candles, if some order was not known. `checksum`: of the
    bytes of trades and equity.
    """

    candles: Candles
    result: Result
    best: Result | None
    hold: Floats
    benchmark: Floats | None
    metrics: dict[str, Any]
    remarks: list[Remark]
    checksum: str


def run(
    kind: Kind,
    params: dict[str, Any],
    candles: Candles,
    terms: Terms,
    *,
    asset: Asset | None = None,
    benchmark: Asset | None = None,
) -> Report:
    """Run it. `asset`: whose finer candles may decide what happened inside a bar. Raises `Impossible`, and
    `StrategyFault` for what a strategy of somebody's own does wrong."""
    from signals import metrics
    from signals.engine import simulation
    from signals.strategies.deciding import warmup_of

    warmup = warmup_of(kind, params)
    if len(candles.bars) < warmup + 2:
        series = f"{candles.symbol} {candles.timeframe.value}"
        raise Impossible("start", remarks.too_short(kind, warmup, series, len(candles.bars)))
    decisions = _decisions(kind, params, candles)
    market = candles.market
    result = simulation.simulate(market, decisions, terms)
    if result.ambiguous and asset is not None and (fine := given.finer(candles, asset)):
        market, candles = replace(market, fine=fine), given.with_finer(candles, fine)
        result = simulation.simulate(market, decisions, terms)
    best = simulation.simulate(market, decisions, terms, optimistic=True) if result.ambiguous else None
    hold, in_parts = held(candles, terms)
    beside, lacks = _beside(benchmark, candles, terms)
    measured = metrics.measure(
        result.equity, result.gross, result.trades, cash=terms.cash, periods_per_year=candles.year.periods,
        fees=result.fees, dividends=result.dividends, hold=hold, benchmark=beside, times=candles.times.view("M8[us]"),
    )  # fmt: skip
    measured |= {"periods_per_year": candles.year.periods}
    measured |= {"ambiguous_count": result.ambiguous, "resolved_count": result.resolved}
    if best is not None:
        measured["optimistic_return"] = float(best.equity[-1] / terms.cash - 1)
    said = remarks.of(kind, params, terms, candles, decisions, result, best, measured, lacks, in_parts)
    return Report(candles, result, best, hold, beside, measured, said, checksum(result))


def _decisions(kind: Kind, params: dict[str, Any], candles: Candles) -> Decisions:
    from signals.strategies.deciding import decide

    found = decide(kind, params, candles.bars)
    inside = slice(candles.begin, None)
    stops = found.stops
    if stops is not None:
        stops = stops[inside] if candles.raised is None else stops[inside] * candles.raised
        stops = stops.reshape(1, -1)
    return Decisions(found.entries[inside].reshape(1, -1), found.exits[inside].reshape(1, -1), stops)


def held(candles: Candles, terms: Terms) -> tuple[Floats, bool]:
    """Equity (T,) of buying at the second bar's open, as the first decision could, with all cash, and keeping it.

    Where the cash does not buy one lot it is held in any fraction, and that is told: cash that lies idle is no holding.
    """
    import numpy as np

    from signals.engine import simulation

    entries = np.zeros(candles.market.shape, np.int8)
    entries[0, 0] = 1
    alone = Terms(cash=terms.cash, costs=terms.costs, sizing=Sizing(), exits=Exits(), lot=terms.lot)
    bought = Decisions(entries, np.zeros_like(entries))
    result = simulation.simulate(candles.market, bought, alone)
    if result.gross.any() or not terms.lot:
        return result.equity, False
    result = simulation.simulate(candles.market, bought, replace(alone, lot=0.0))
    return result.equity, bool(result.gross.any())


def _beside(benchmark: Asset | None, candles: Candles, terms: Terms) -> tuple[Floats | None, str]:
    """The benchmark's equity (T,) at the run's closes, dividends included, without costs; or why there is none."""
    import numpy as np

    from marketdata import frames, history

    if benchmark is None:
        return None, ""
    timeframe = candles.timeframe
    slack = max(10 * timeframe.length, CLOSED)
    read = frames.read(
        benchmark, timeframe, candles.first - slack, candles.last + timeframe.length, ("close",), adjust="total"
    )
    times, closes = read.times.view(np.int64), read["close"][0]
    places = np.searchsorted(times, candles.times, "right") - 1
    there = ""
    if not len(times):
        there = "none"
    elif places[0] < 0:
        there = f"only from {history.moment(int(times[0])):%Y-%m-%d}"
    elif candles.last - (last := history.moment(int(times[-1]))) > slack:
        there = f"only until {last:%Y-%m-%d}"
    if there:
        return None, f"{benchmark} has no {timeframe.value} candles for all of the run ({there}): it is left out."
    found = closes[places]
    return terms.cash * found / found[0], ""


def checksum(result: Result) -> str:
    """SHA-256 of the bytes of equity and of each column of the trades."""
    found = hashlib.sha256(result.equity.tobytes())
    for trades in (result.trades, result.open):
        for column in vars(trades).values():
            found.update(column.tobytes())
    return found.hexdigest()


def terms_of(given: dict[str, Any]) -> Terms:
    """Terms from plain data, as `plain` makes it; what lacks has its default."""
    parts = {"costs": Costs, "sizing": Sizing, "exits": Exits}
    return Terms(**{name: parts[name](**value) if name in parts else value for name, value in given.items()})


def plain(terms: Terms) -> dict[str, Any]:
    """Terms as JSON can have them."""
    from dataclasses import asdict

    return asdict(terms)


@cache
def code_version(kind: Kind) -> str:
    """Chronos' version, and a digest of the code that a result of this kind depends on."""
    folder = Path(__file__).parent
    sources = [*sorted((folder / "engine").glob("*.py")), *sorted((folder / "strategies").glob("*.py"))]
    sources += [
        folder / "indicators.py",
        folder / "candles.py",
        folder / "running.py",
        folder / "metrics.py",
        folder / "overfitting.py",
    ]
    with suppress(TypeError):  # a rule may be any callable; only a function says where it is written
        sources.append(Path(inspect.getfile(kind.decide)))
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in dict.fromkeys(sources) if path.is_file())
    ).hexdigest()
    try:
        number = version("chronos")
    except PackageNotFoundError:
        number = "0"
    return f"{number}+{digest[:12]}"


def trade_rows(report: Report) -> list[dict[str, Any]]:
    """The closed trades as plain data, in the order of their exits."""
    return _rows(report.result.trades, report.candles, closed=True)


def open_rows(report: Report) -> list[dict[str, Any]]:
    """What is still held, as trades until the last close."""
    return _rows(report.result.open, report.candles, closed=False)


def _rows(trades: Trades, candles: Candles, *, closed: bool) -> list[dict[str, Any]]:
    from marketdata import history
    from signals.engine.terms import ExitReason

    def at(bar: int) -> datetime:
        return history.moment(int(candles.times[bar]))

    columns = [getattr(trades, name).tolist() for name in _COLUMNS]
    found = []
    for values in zip(*columns, strict=True):
        row = dict(zip(_COLUMNS, values, strict=True))
        row["direction"] = "long" if row["direction"] > 0 else "short"
        row["entry_time"] = at(row["entry_bar"])
        row["risk"] = None if isnan(row["risk"]) else row["risk"]
        row["exit_time"] = at(row["exit_bar"]) if closed else None
        row["exit_reason"] = ExitReason(int(row["exit_reason"])).word if closed else None
        row["exit_bar"] = row["exit_bar"] if closed else None
        found.append(row)
    return found


_COLUMNS = (
    "direction", "quantity", "entry_bar", "entry_price", "exit_bar", "exit_price", "exit_reason", "fees", "profit",
    "dividends", "mae", "mfe", "risk", "ambiguous", "position",
)  # fmt: skip
