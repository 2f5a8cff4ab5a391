"""Figures on which independent engines agree, reproduced: SMA(10) crossing SMA(30) on eight years of Google.

The prices are those that come with backtesting.py. Whole shares: backtesting.py, backtrader and a bare loop agree;
fractional ones: vectorbt, backtrader and a bare loop. A position that is open at the end stays so and is no trade.
"""

import math
import warnings

import numpy as np
import pytest

from signals import indicators
from signals.engine.simulation import simulate
from signals.engine.terms import Costs, Decisions, Market, Result, Terms

FEES = Costs(fee_rate=0.001)


@pytest.fixture(scope="module")
def google() -> Market:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from backtesting.test import GOOG
    return Market(*(GOOG[name].to_numpy(float)[None, :] for name in ("Open", "High", "Low", "Close")))


def _crosses(market: Market, *, both: bool = False) -> Decisions:
    fast, slow = (indicators.sma(market.close[0], period) for period in (10, 30))
    up, down = indicators.crossed_above(fast, slow), indicators.crossed_above(slow, fast)
    entries = up.astype(np.int8) - down.astype(np.int8) * both
    exits = down.astype(np.int8) * 0 if both else down.astype(np.int8)
    return Decisions(entries[None, :].astype(np.int8), exits[None, :])


@pytest.fixture(scope="module", params=[1.0, 0.0], ids=["whole shares", "fractional"])
def run(request: pytest.FixtureRequest, google: Market) -> tuple[Result, dict[str, float]]:
    wanted = {
        1.0: {
            "equity": 54_101.369160, "return": 441.0136916, "drawdown": -30.395607368, "sharpe": 0.9992697424,
            "profit factor": 2.2164353686,
        },
        0.0: {
            "equity": 54_611.237082, "return": 446.1123708, "drawdown": -30.554396922, "sharpe": 0.9995044918,
            "profit factor": 2.2159153571,
        },
    }  # fmt: skip
    return simulate(google, _crosses(google), Terms(costs=FEES, lot=request.param)), wanted[request.param]


def test_the_prices_are_those_of_the_reference(google: Market) -> None:
    assert google.shape == (1, 2148)


def test_final_equity_and_return(run: tuple[Result, dict[str, float]]) -> None:
    result, wanted = run
    assert result.equity[-1] == pytest.approx(wanted["equity"], abs=5e-7)
    assert 100 * (result.equity[-1] / 10_000 - 1) == pytest.approx(wanted["return"], abs=5e-8)


def test_maximum_drawdown(run: tuple[Result, dict[str, float]]) -> None:
    result, wanted = run
    assert 100 * _drawdown(result) == pytest.approx(wanted["drawdown"], abs=5e-10)


def test_sharpe_of_the_bars(run: tuple[Result, dict[str, float]]) -> None:
    result, wanted = run
    returns = result.equity[1:] / result.equity[:-1] - 1
    assert returns.mean() / returns.std(ddof=1) * math.sqrt(252) == pytest.approx(wanted["sharpe"], abs=5e-11)


def test_trades(run: tuple[Result, dict[str, float]]) -> None:
    result, wanted = run
    profit = result.trades.profit
    assert len(profit) == 32
    assert (profit > 0).mean() == 0.5
    assert profit[profit > 0].sum() / -profit[profit < 0].sum() == pytest.approx(wanted["profit factor"], abs=5e-11)
    assert len(result.open) == 1
    assert result.ambiguous == result.resolved == 0


def test_bars_in_the_market(run: tuple[Result, dict[str, float]]) -> None:
    """Of closed trades, from the bar of the entry to that before the exit."""
    trades = run[0].trades
    assert 100 * (trades.exit_bar - trades.entry_bar).sum() / 2148 == pytest.approx(53.3054003724, abs=5e-11)


def test_first_trades_of_whole_shares(google: Market) -> None:
    trades = simulate(google, _crosses(google), Terms(costs=FEES)).trades
    found = zip(
        trades.quantity, trades.entry_bar, trades.entry_price, trades.exit_bar, trades.exit_price, strict=True
    )  # fmt: skip
    assert list(found)[:5] == [
        (53, 86, 186.31, 113, 193.69),
        (52, 119, 196.96, 128, 196.50),
        (53, 160, 193.69, 243, 297.50),
        (53, 267, 297.28, 294, 304.96),
        (46, 299, 345.78, 365, 430.57),
    ]
    assert set(trades.direction) == {1}


def test_always_in_the_market(google: Market) -> None:
    result = simulate(google, _crosses(google, both=True), Terms(direction="both", close_at_end=True))
    assert len(result.trades) == 66
    assert len(result.open) == 0
    assert result.equity[-1] == pytest.approx(51_422.99, abs=5e-3)
    assert result.equity.max() == pytest.approx(75_787.44, abs=5e-3)
    assert 100 * _drawdown(result) == pytest.approx(-47.98012705, abs=5e-9)
    assert (result.trades.entry_bar[1:] == result.trades.exit_bar[:-1]).all()


def _drawdown(result: Result) -> float:
    return float((result.equity / np.maximum.accumulate(result.equity) - 1).min())
