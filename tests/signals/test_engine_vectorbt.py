"""The engine against vectorbt on random candles: the same trades and equity, to 1e-9. `make prove` runs it.

vectorbt lives in an environment of its own. Where it means something else:

- It fills on the bar of the signal: it is given our decisions one bar later, and the opens as prices.
- An entry and an exit on one bar cancel each other there: the decisions have none.
- A position's stops are looked at from the bar after its entry there, and from the entry on here; turning a position is
  one order there, and two here. Neither is asked: backtesting.py and the slow engine are held against ours in these.
- Lots that floats have no number for, such as a hundredth, are rounded down twice there: lots are eighths.
- An amount is without its costs there, and with them here: amounts come without fees and slippage.
"""

from dataclasses import replace

import numpy as np
import pytest

from signals.engine.simulation import simulate
from signals.engine.terms import Costs, Decisions, Market, Result, Sizing, Terms
from tests.rivals import vectorbt

CASES = 200


def _case(seed: int, bars: int = 200) -> tuple[Market, Decisions, Terms]:
    r = np.random.default_rng(seed)

    def one(*values):
        return values[r.integers(len(values))]

    assets = one(1, 1, 3)
    shape = assets, bars
    close = 100 * np.exp(np.cumsum(r.normal(0, 0.012, shape), axis=1))
    opens = np.concatenate([np.full((assets, 1), 100.0), close[:, :-1]], axis=1) * (1 + r.uniform(-0.01, 0.01, shape))
    market = Market(opens, np.maximum(opens, close), np.minimum(opens, close), close)
    side = one(1, 1, -1)
    entries = np.where(r.random(shape) < 0.1, side, 0).astype(np.int8)
    exits = np.where((r.random(shape) < 0.1) & (entries == 0), 3, 0).astype(np.int8)
    terms = Terms(lot=one(1.0, 0.0, 0.125), direction="long" if side > 0 else "short")
    if assets > 1:
        return market, Decisions(entries, exits), replace(terms, sizing=Sizing("amount", one(1_000.0, 2_500.0)))
    costs = Costs(fee_rate=one(0.0, 0.001, 0.01), slippage_bps=one(0.0, 5.0))
    return market, Decisions(entries, exits), replace(terms, costs=costs)


def _rival(cases: list[tuple[Market, Decisions, Terms]]) -> dict[str, np.ndarray]:
    def later(decided: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros_like(decided[:, :1]), decided[:, :-1]], axis=1).T

    given = {}
    for n, (market, decisions, terms) in enumerate(cases):
        amount = terms.sizing.value if terms.sizing.kind == "amount" else 0.0
        given |= {
            f"{n}.close": market.close.T,
            f"{n}.price": market.open.T,
            f"{n}.entries": later(decisions.entries),
            f"{n}.exits": later(decisions.exits),
            f"{n}.terms": [terms.cash, terms.costs.fee_rate, terms.costs.slippage_bps / 10_000, terms.lot, amount],
        }
    return vectorbt.asked("vectorbt_runs.py", given)


def _ours(result: Result) -> np.ndarray:
    rows = [
        (trades.asset, trades.entry_bar, trades.exit_bar, trades.direction * trades.quantity, trades.entry_price,
         trades.exit_price, trades.profit)
        for trades in (result.trades, result.open)
    ]  # fmt: skip
    return np.concatenate([np.array(columns, float).T for columns in rows])


def _ordered(trades: np.ndarray) -> np.ndarray:
    return trades[np.lexsort((trades[:, 1], trades[:, 0]))]


@pytest.mark.prove
def test_the_same_trades_and_equity_as_vectorbt() -> None:
    cases = [_case(seed) for seed in range(CASES)]
    found = _rival(cases)
    trades = 0
    for n, (market, decisions, terms) in enumerate(cases):
        result = simulate(market, decisions, terms)
        ours, theirs = _ordered(_ours(result)), _ordered(found[f"{n}.trades"])
        said = f"case {n}: {terms}"
        assert len(ours) == len(theirs), said
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-8, err_msg=said)
        np.testing.assert_allclose(result.equity, found[f"{n}.equity"], rtol=1e-9, err_msg=said)
        trades += len(ours)
    assert trades > 2_000
