"""How quick the simulation is, against a bare loop and other engines, in one run: `python -m tests.benchmarks.engine`.

The same strategy everywhere: SMA(10) crossing SMA(30), all cash, fee rate 0.001, decided at the close and filled at the
next open. The kernel writes equity, cash and exposure of every bar and all trades; "simulate" is the kernel with its
arrays made, its terms checked and its log read. The bare loop computes the averages, decides, fills and marks equity,
and can do nothing else.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.machine import table

LONG = 1_000_000
FAST, SLOW, FEE = 10, 30, 0.001
GOALS = {"backtesting.py": 500, "vectorbt": 100, "vectorbt, a million": 30, "bare": 2}


def main() -> None:
    from signals.engine.simulation import simulate
    from signals.engine.terms import Costs, Exits, Terms

    goog, long = _goog(), _walk(LONG)
    loop = _compiled_loop()
    terms = Terms(costs=Costs(FEE))
    rich = Terms(cash=1e6, costs=Costs(FEE))
    guarded = Terms(cash=1e6, costs=Costs(FEE), exits=Exits(0.01, 0.02, 0.03, None, 0.02, 50))
    short = {"kernel": _median(_kernel(goog, terms), 300)}
    given = _engine(goog)
    short["simulate"] = _median(lambda: simulate(*given, terms), 300)
    equity = np.empty(len(goog[0]))
    short["bare loop"] = _median(lambda: loop(goog[0], goog[3], FAST, SLOW, 1e4, FEE, equity), 300)
    short["backtesting.py"] = _median(_backtesting(goog), 9)
    market, decisions = _engine(long)
    equity = np.empty(LONG)
    kernel = _kernel(long, rich)

    def bare_loop() -> None:
        loop(long[0], long[3], FAST, SLOW, 1e6, FEE, equity)

    kernel(), bare_loop()
    pairs = [(_once(kernel), _once(bare_loop)) for _ in range(25)]  # in turn, for a drifting machine meets both alike
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    whole = _median(lambda: simulate(market, decisions, rich), 7)
    deciding = _median(lambda: _decisions(long[3]), 7)
    stops = _median(lambda: simulate(market, decisions, guarded), 7)
    rivals = _vectorbt(goog, long)
    rows = [(name, f"{1000 * seconds:.3f}", f"{seconds / short['kernel']:.1f} ×") for name, seconds in short.items()]
    if rivals:
        rows.append(("vectorbt, warm", f"{1000 * rivals['short']:.3f}", f"{rivals['short'] / short['kernel']:.0f} ×"))
    table(f"one run, GOOG, {len(goog[0]):,} bars", ("", "median ms", "of the kernel"), rows)
    rows = [
        ("kernel", f"{1000 * ours:.1f}", "1.0 ×"),
        ("simulate", f"{1000 * whole:.1f}", f"{whole / ours:.1f} ×"),
        ("simulate, every exit on", f"{1000 * stops:.1f}", f"{stops / ours:.1f} ×"),
        ("averages and decisions", f"{1000 * deciding:.1f}", f"{deciding / ours:.1f} ×"),
        ("bare loop", f"{1000 * bare:.1f}", f"{bare / ours:.2f} ×"),
    ]
    if rivals:
        rows.append(("vectorbt, warm", f"{1000 * rivals['long']:.1f}", f"{rivals['long'] / ours:.0f} ×"))
    table(f"one run, {LONG:,} bars", ("", "median ms", "of the kernel"), rows)
    _judge("GOOG, kernel against backtesting.py", short["backtesting.py"] / short["kernel"], GOALS["backtesting.py"])
    if rivals:
        _judge("GOOG, kernel against vectorbt", rivals["short"] / short["kernel"], GOALS["vectorbt"])
        _judge("a million bars against vectorbt", rivals["long"] / ours, GOALS["vectorbt, a million"])
    print(
        f"goal: a million bars ≤ {GOALS['bare']} × the bare loop: {'met' if ratio <= GOALS['bare'] else 'MISSED'}"
        f" ({ratio:.2f} ×, paired)"
    )


def _judge(what: str, ratio: float, goal: int) -> None:
    print(f"goal: {what} ≥ {goal} ×: {'met' if ratio >= goal else 'MISSED'} ({ratio:.0f} ×)")


def _once(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _median(run: Callable[[], Any], rounds: int) -> float:
    run()
    return statistics.median(_once(run) for _ in range(rounds))


Prices = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _goog() -> Prices:
    from tests.signals.candles import google

    bars = google()
    return bars.open, bars.high, bars.low, bars.close


def _walk(bars: int) -> Prices:
    chance = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(chance.normal(0, 0.001, bars)))
    opens = np.concatenate([[100.0], close[:-1]]) * (1 + chance.normal(0, 0.0002, bars))
    return opens, np.maximum(opens, close) * 1.0005, np.minimum(opens, close) * 0.9995, close


def _decisions(close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from signals import indicators

    fast, slow = indicators.sma(close, FAST), indicators.sma(close, SLOW)
    up, down = indicators.crossed_above(fast, slow), indicators.crossed_above(slow, fast)
    return up.astype(np.int8), down.astype(np.int8)


def _engine(prices: Prices) -> tuple[Any, Any]:
    from signals.engine.terms import Decisions, Market

    entries, exits = _decisions(prices[3])
    return Market(*(row.reshape(1, -1) for row in prices)), Decisions(entries.reshape(1, -1), exits.reshape(1, -1))


def _kernel(prices: Prices, terms: Any) -> Callable[[], Any]:
    """The compiled function alone, with everything that it takes ready."""
    from signals.engine import kernel, simulation

    market, decisions = _engine(prices)
    bars = market.shape[1]
    none, fine = np.empty((1, 0)), simulation.no_fine(1)
    packed = simulation.packed(terms)
    equity, cash, gross = np.empty(bars), np.empty(bars), np.empty(bars)
    return lambda: kernel.simulate(
        market.open, market.high, market.low, market.close, none, none, decisions.entries, decisions.exits, none,
        fine.open, fine.high, fine.low, fine.first, fine.after, packed, equity, cash, gross,
    )  # fmt: skip


def _compiled_loop() -> Any:
    from numba import njit

    @njit
    def loop(opens, closes, fast, slow, cash, fee, equity):
        held, wanted, sum_fast, sum_slow, was_fast, was_slow, trades = 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0
        for t in range(len(closes)):
            if wanted == 1 and held == 0.0:
                quantity = np.floor(cash / (opens[t] * (1 + fee)))
                if quantity > 0:
                    cash -= quantity * opens[t] * (1 + fee)
                    held = quantity
            elif wanted == -1 and held > 0.0:
                cash += held * opens[t] * (1 - fee)
                held = 0.0
                trades += 1
            wanted = 0
            sum_fast += closes[t]
            sum_slow += closes[t]
            if t >= fast:
                sum_fast -= closes[t - fast]
            if t >= slow:
                sum_slow -= closes[t - slow]
            mean_fast, mean_slow = sum_fast / fast, sum_slow / slow
            if t >= slow:
                if mean_fast > mean_slow and was_fast <= was_slow:
                    wanted = 1
                elif mean_fast < mean_slow and was_fast >= was_slow:
                    wanted = -1
            was_fast, was_slow = mean_fast, mean_slow
            equity[t] = cash + held * closes[t]
        return trades

    return loop


def _backtesting(prices: Prices) -> Callable[[], Any]:
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    frame = pd.DataFrame(
        dict(zip(("Open", "High", "Low", "Close"), prices, strict=True)),
        index=pd.date_range("2004-08-19", periods=len(prices[0]), freq="D"),
    )

    class Cross(Strategy):
        def init(self):
            def mean(values, period):
                return pd.Series(values).rolling(period).mean()

            self.fast, self.slow = self.I(mean, self.data.Close, FAST), self.I(mean, self.data.Close, SLOW)

        def next(self):
            if crossover(self.fast, self.slow):
                self.buy()
            elif crossover(self.slow, self.fast):
                self.position.close()

    test = Backtest(frame, Cross, cash=10_000, commission=FEE)
    return test.run


def _vectorbt(goog: Prices, long: Prices) -> dict[str, float]:
    """Seconds of a warm run of each, in the environment that `make prove` has for it; nothing if that is not there."""
    try:
        from tests.rivals import vectorbt
    except ImportError:
        return {}
    return vectorbt.timed(goog, long, FAST, SLOW, FEE)


if __name__ == "__main__":
    sys.exit(main())
