"""What a run was worth: the figures that other engines agree on, empyrical's, and what must hold for any run."""

import csv
import gzip
import json
import math
import tracemalloc
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from unittest.mock import patch

import empyrical
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from signals import measures, metrics
from signals.engine.terms import ExitReason, Trades

DAY = np.timedelta64(1, "D")
YEAR = 252
WHOLE = ("asset", "position", "direction", "entry_bar", "exit_bar", "exit_reason")


def trades(*rows: dict[str, Any]) -> Trades:
    """Trades with what the test says of them; each is a position of its own, long, and left by a signal."""
    usual = {"direction": 1, "exit_reason": ExitReason.SIGNAL, "quantity": 1.0, "risk": math.nan, "ambiguous": False}
    of = [{"position": number, **usual, **row} for number, row in enumerate(rows)]
    return Trades(
        **{
            name: np.array(
                [row.get(name, 0) for row in of],
                dtype=bool if name == "ambiguous" else np.int64 if name in WHOLE else np.float64,
            )
            for name in Trades.__dataclass_fields__
        }
    )


def profits(*amounts: float) -> Trades:
    return trades(*({"profit": amount} for amount in amounts))


def days(count: int, start: str = "2020-01-01") -> Any:
    return np.datetime64(start, "us") + np.arange(count) * DAY


def measured(equity: Any, of: Trades | None = None, **more: Any) -> metrics.Figures:
    equity = np.asarray(equity, float)
    given = {"cash": float(equity[0]), "periods_per_year": YEAR, "fees": 0.0, "gross": np.zeros(len(equity)), **more}
    return metrics.measure(equity, trades=of or trades(), **given)


def grown(returns: Any, cash: float = 10_000.0) -> Any:
    return cash * np.concatenate(([1.0], np.cumprod(1 + np.asarray(returns))))


# --- The run that four engines agree on --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def goog() -> tuple[list[float], list[float]]:
    """Opens and closes of the data that comes with backtesting.py."""
    text = files("backtesting").joinpath("test/GOOG.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    return [float(row["Open"]) for row in rows], [float(row["Close"]) for row in rows]


def crossing(opens: list[float], closes: list[float], *, whole: bool) -> tuple[list[float], list[float], Trades]:
    """SMA 10 crossing SMA 30, all cash, long only, 0.1 % a side: equity, what the position is worth, closed trades."""
    fast, slow = (
        [sum(closes[i - n : i]) / n if i >= n else math.nan for i in range(1, len(closes) + 1)] for n in (10, 30)
    )
    cash, held, entry = 10_000.0, 0.0, 0
    equity, worth, closed = [], [], []
    for bar in range(len(closes)):
        one, two = bar - 1, bar - 2
        price = opens[bar]
        if bar > 1 and not held and fast[one] > slow[one] and fast[two] <= slow[two]:
            held, entry = cash / (price * 1.001), bar
            held = math.floor(held) if whole else held
            cash -= held * price * 1.001
        elif bar > 1 and held and fast[one] < slow[one] and fast[two] >= slow[two]:
            cash += held * price * 0.999
            profit = held * (price - opens[entry]) - 0.001 * held * (price + opens[entry])
            closed.append({"entry_bar": entry, "exit_bar": bar, "quantity": held, "profit": profit})
            held = 0.0
        equity.append(cash + held * closes[bar])
        worth.append(held * closes[bar])
    return equity, worth, trades(*closed)


@pytest.mark.parametrize(
    ("whole", "final", "total", "drawdown", "sharpe", "factor"),
    [
        (True, 54_101.369160, 4.410136916, -0.30395607368, 0.9992697424, 2.2164353686),
        (False, 54_611.237082, 4.461123708, -0.30554396922, 0.9995044918, 2.2159153571),
    ],
)
def test_the_run_that_four_engines_agree_on(
    goog: Any, whole: bool, final: float, total: float, drawdown: float, sharpe: float, factor: float
) -> None:
    equity, worth, closed = crossing(*goog, whole=whole)
    found = measured(equity, closed, gross=np.array(worth))

    assert found["trade_count"] == found["position_count"] == 32
    assert found["final_equity"] == pytest.approx(final, abs=1e-5)
    assert found["total_return"] == pytest.approx(total, abs=1e-9)
    assert found["max_drawdown"] == pytest.approx(drawdown, abs=1e-10)
    assert found["sharpe_ratio"] == pytest.approx(sharpe, abs=1e-10)
    assert found["win_rate"] == 0.5
    assert found["profit_factor"] == pytest.approx(factor, abs=1e-9)
    assert found["exposure_time"] == pytest.approx(0.533054003724, abs=1e-11)
    assert found["time_in_market"] == 1205 / 2148  # with the 60 bars of the position that is still open


def test_the_sharpe_ratio_of_five_returns() -> None:
    found = measured(grown([0.01, -0.02, 0.015, -0.005, 0.025]))

    assert found["sharpe_ratio"] == pytest.approx(4.48998886412873, abs=1e-11)


# --- The oracle --------------------------------------------------------------------------------------------------


def oracle(returns: Any, other: Any, periods: int) -> dict[str, float]:
    """The same figures by empyrical; its information ratio is of one bar."""
    with patch.object(np, "NINF", -np.inf, create=True):  # which NumPy 2 has no more, and empyrical still asks for
        return {
            "cagr": empyrical.annual_return(returns, annualization=periods),
            "volatility": empyrical.annual_volatility(returns, annualization=periods),
            "sharpe_ratio": empyrical.sharpe_ratio(returns, annualization=periods),
            "sortino_ratio": empyrical.sortino_ratio(returns, annualization=periods),
            "calmar_ratio": empyrical.calmar_ratio(returns, annualization=periods),
            "omega_ratio": empyrical.omega_ratio(returns, annualization=periods),
            "tail_ratio": empyrical.tail_ratio(returns),
            "value_at_risk": empyrical.value_at_risk(returns),
            "conditional_value_at_risk": empyrical.conditional_value_at_risk(returns),
            "max_drawdown": empyrical.max_drawdown(returns),
            "alpha": empyrical.alpha_aligned(returns, other, annualization=periods),
            "beta": empyrical.beta_aligned(returns, other),
            "information_ratio": empyrical.excess_sharpe(returns, other) * math.sqrt(periods),
        }


def agrees(equity: Any, benchmark: Any, periods: int) -> None:
    found = measured(equity, benchmark=benchmark, hold=benchmark, periods_per_year=periods)
    expected = oracle(np.diff(equity) / equity[:-1], np.diff(benchmark) / benchmark[:-1], periods)
    beta = expected["beta"]
    if 1 + np.mean(np.diff(equity) / equity[:-1] - beta * np.diff(benchmark) / benchmark[:-1]) < 1e-6:
        expected["alpha"] = -1.0  # nothing is left; empyrical raises the negative rest to a power
    differing = {
        name: (found[name], figure)
        for name, figure in expected.items()
        if math.isfinite(figure) and found[name] != pytest.approx(figure, rel=1e-9, abs=1e-9)
    }
    assert not differing
    for name in ("alpha", "beta", "information_ratio"):
        assert found[f"hold_{name}"] == found[name]


@pytest.fixture(scope="module")
def stocks() -> dict[str, Any]:
    """Closes of five stocks for years, of the sample that is a dependency, by ticker."""
    with files("bokeh_sampledata").joinpath("_data/stocks.csv.gz").open("rb") as packed:
        rows = list(csv.DictReader(gzip.decompress(packed.read()).decode().splitlines()))
    tickers = sorted({row["Ticker"] for row in rows})
    return {ticker: np.array([float(row["Close"]) for row in rows if row["Ticker"] == ticker]) for ticker in tickers}


@pytest.mark.parametrize("ticker", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
@pytest.mark.parametrize("periods", [252, 365])
def test_real_series_agree_with_empyrical(stocks: dict[str, Any], ticker: str, periods: int) -> None:
    other = "IBM" if ticker != "IBM" else "MSFT"
    count = min(len(stocks[ticker]), len(stocks[other]))

    agrees(stocks[ticker][-count:], stocks[other][-count:], periods)


moves = st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)), min_size=2, max_size=120)


@settings(deadline=None, max_examples=60)
@given(moves=moves, periods=st.sampled_from([12, 252, 365]))
def test_any_series_agrees_with_empyrical(moves: list[tuple[float, float]], periods: int) -> None:
    ours, theirs = np.array(moves).T
    assume(ours.std() > 1e-6 and theirs.std() > 1e-6 and (ours - theirs).std() > 1e-6)
    # As loss by nothing is infinite, loss by next to nothing is a matter of rounding.
    assume(-np.minimum(ours, 0).sum() > 1e-6 and abs(np.percentile(ours, 5)) > 1e-6)
    equity = grown(ours)
    assume((equity / np.maximum.accumulate(equity) - 1).min() < -1e-6)

    agrees(equity, grown(theirs), periods)


# --- What must hold for any run ----------------------------------------------------------------------------------

CURRENCY = {measure.name for measure in measures.MEASURES.values() if measure.kind == "currency"}


def some_trades(bars: int, amounts: list[float]) -> Trades:
    return trades(
        *(
            {"entry_bar": n % bars, "exit_bar": bars - 1, "profit": amount, "position": n // 2, "risk": abs(amount) + 1}
            for n, amount in enumerate(amounts)
        )
    )


@settings(deadline=None, max_examples=60)
@given(
    returns=st.lists(st.floats(-0.4, 0.4), min_size=1, max_size=60),
    amounts=st.lists(st.integers(-50, 50).map(float), max_size=12),
    exponent=st.integers(-40, 40),
)
def test_a_run_of_twice_the_money_has_the_same_ratios(
    returns: list[float], amounts: list[float], exponent: int
) -> None:
    """By a power of 2, so that no digit changes but those of currency."""
    factor = 2.0**exponent
    equity = grown(returns)
    one, other = (
        measured(
            equity * by,
            some_trades(len(equity), [amount * by for amount in amounts]),
            gross=equity * by / 2,
            hold=equity,
        )
        for by in (1.0, factor)
    )
    one.pop("average_r"), other.pop("average_r")  # the stakes above do not grow with the money

    assert {name: one[name] for name in one.keys() - CURRENCY} == {name: other[name] for name in one.keys() - CURRENCY}
    for name in CURRENCY:
        assert one[name] is None or other[name] == pytest.approx(one[name] * factor, rel=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    equity=st.lists(st.one_of(st.floats(-1e300, 1e300), st.floats(-1, 1e5)), min_size=0, max_size=20),
    cash=st.floats(1e-300, 1e300),
    amounts=st.lists(st.floats(-1e300, 1e300), max_size=6),
    periods=st.floats(1, 525_600),
)
def test_a_figure_is_a_number_or_none(equity: list[float], cash: float, amounts: list[float], periods: float) -> None:
    """Whatever the run: tiny, huge, ruined. And JSON can say it, in 64 bits."""
    curve = [cash, *equity]
    run = some_trades(len(curve), amounts)
    found = measured(curve, run, hold=np.array(curve), periods_per_year=periods, times=days(len(curve)))

    assert found.keys() == measures.MEASURES.keys()
    json.dumps([found, metrics.by_exit_reason(run)], allow_nan=False)
    assert all(type(figure) in (int, float, type(None)) for figure in found.values())
    assert all(abs(figure) < 2**63 for figure in found.values() if isinstance(figure, int))


def test_a_run_that_never_traded() -> None:
    found = measured([10_000.0] * 300, hold=np.linspace(100, 90, 300), times=days(300))
    defined = {name: figure for name, figure in found.items() if figure is not None}

    assert defined == {
        "total_return": 0.0, "cagr": 0.0, "final_equity": 10_000.0, "peak_equity": 10_000.0, "bars": 300,
        "years": 299 / 252, "max_drawdown": 0.0, "max_drawdown_bars": 0, "max_drawdown_days": 0.0,
        "longest_drawdown_bars": 0, "longest_drawdown_days": 0.0, "volatility": 0.0, "value_at_risk": 0.0,
        "conditional_value_at_risk": 0.0, "hold_return": pytest.approx(-0.1), "hold_max_drawdown": pytest.approx(-0.1),
        "hold_sharpe_ratio": defined["hold_sharpe_ratio"], "hold_alpha": 0.0, "hold_beta": 0.0,
        "hold_information_ratio": pytest.approx(-defined["hold_sharpe_ratio"]), "trade_count": 0, "position_count": 0,
        "longest_win_streak": 0, "longest_loss_streak": 0, "fees_paid": 0.0, "dividends": 0.0, "time_in_market": 0.0,
        "exposure_time": 0.0, "gross_exposure": 0.0,
    }  # fmt: skip


def test_a_single_bar_has_no_returns() -> None:
    found = measured([10_000.0], times=days(1), benchmark=np.array([5.0]))

    assert (found["bars"], found["total_return"], found["max_drawdown"]) == (1, 0.0, 0.0)
    assert {found[name] for name in ("cagr", "volatility", "sharpe_ratio", "value_at_risk", "psr", "beta")} == {None}
    assert found["benchmark_return"] == 0.0


def test_growth_without_variation_has_no_sharpe_ratio() -> None:
    """Returns of exactly 0.1 % differ by rounding, which would make a ratio of 10^13."""
    found = measured(10_000 * 1.001 ** np.arange(500))

    assert found["volatility"] == 0.0
    assert found["sharpe_ratio"] is found["psr"] is found["sortino_ratio"] is found["calmar_ratio"] is None
    assert found["cagr"] == pytest.approx(1.001**252 - 1)


def test_ruin_loses_all_and_nothing_after_it() -> None:
    found = measured([100.0, 120.0, 60.0, -3.0, -5.0])

    assert found["total_return"] == pytest.approx(-1.05)
    assert found["cagr"] == -1.0
    assert found["max_drawdown"] == pytest.approx(-125 / 120)
    assert metrics.bar_returns(np.array([60.0, -3.0, -5.0])).tolist() == [pytest.approx(-63 / 60), 0.0]


def test_a_few_minutes_are_not_taken_for_a_year_of_them() -> None:
    assert measured([1.0, 1.5, 2.0], periods_per_year=525_600)["cagr"] is None


# --- Trades ------------------------------------------------------------------------------------------------------


def test_trades_are_counted_won_and_lost() -> None:
    """A trade of 0 was not won, and lost nothing."""
    found = measured([100.0] * 9, profits(10, 20, 0, 5, -10, -5, 0, -15, 15))

    assert (found["trade_count"], found["win_rate"]) == (9, 4 / 9)
    assert found["profit_factor"] == pytest.approx(50 / 30)
    assert found["expectancy"] == pytest.approx(20 / 9)
    assert found["expectancy_ratio"] == pytest.approx(20 / 9 / 10)
    assert (found["average_win"], found["average_loss"]) == (12.5, -10.0)
    assert (found["best_trade"], found["worst_trade"]) == (20.0, -15.0)
    assert (found["longest_win_streak"], found["longest_loss_streak"]) == (2, 2)
    assert found["best_position_share"] == pytest.approx(20 / 50)
    assert found["average_r"] is None


def test_without_a_loss_nothing_is_divided_by_it() -> None:
    found = measured([100.0] * 9, profits(10, 20))

    assert (found["win_rate"], found["expectancy"]) == (1.0, 15.0)
    assert found["profit_factor"] is found["expectancy_ratio"] is found["average_loss"] is None


def test_without_a_win_the_profit_factor_is_zero() -> None:
    found = measured([100.0] * 9, profits(-10, -20))

    assert (found["win_rate"], found["profit_factor"], found["expectancy_ratio"]) == (0.0, 0.0, -1.0)
    assert found["average_win"] is found["best_position_share"] is None


def test_parts_of_a_position_are_trades_of_one_position() -> None:
    run = trades(
        {"position": 0, "entry_bar": 1, "exit_bar": 3, "profit": 30.0, "mae": -0.02, "mfe": 0.1, "risk": 10.0},
        {"position": 1, "entry_bar": 4, "exit_bar": 5, "profit": 20.0, "mae": -0.01, "mfe": 0.0, "risk": 0.0},
        {"position": 0, "entry_bar": 1, "exit_bar": 7, "profit": -10.0, "mae": -0.06, "mfe": 0.1, "risk": 10.0},
    )
    found = measured([100.0] * 10, run, times=days(10), fees=3.5, dividends=1.25)

    assert (found["trade_count"], found["position_count"]) == (3, 2)
    assert found["average_r"] == 1.0  # +3 R and -1 R; nothing was at risk in the other
    assert (found["average_mae"], found["average_mfe"]) == (pytest.approx(-0.03), pytest.approx(0.2 / 3))
    assert (found["average_holding_bars"], found["average_holding_days"]) == (3.0, 3.0)
    assert found["best_position_share"] == 0.5  # 20 and 20
    assert (found["fees_paid"], found["dividends"]) == (3.5, 1.25)
    assert found["exposure_time"] == 0.6  # bars 1 to 6, once


def test_by_exit_reason() -> None:
    stop, signal = ExitReason.STOP_LOSS, ExitReason.SIGNAL
    run = trades(
        {"profit": -4.0, "exit_reason": stop}, {"profit": 10.0, "exit_reason": signal},
        {"profit": 1.0, "exit_reason": stop}, {"profit": 0.0, "exit_reason": signal},
    )  # fmt: skip
    found = metrics.by_exit_reason(run)

    assert list(found) == ["signal", "stop_loss"]
    assert found["signal"] == {
        "trade_count": 2, "win_rate": 0.5, "profit": 10.0, "average_profit": 5.0, "profit_factor": None,
    }  # fmt: skip
    assert found["stop_loss"] == {
        "trade_count": 2, "win_rate": 0.5, "profit": -3.0, "average_profit": -1.5, "profit_factor": 0.25,
    }  # fmt: skip
    assert metrics.by_exit_reason(trades()) == {}


def test_exposure_is_of_time_and_of_capital() -> None:
    found = measured([100.0, 100.0, 50.0, 200.0], gross=np.array([0.0, 50.0, 50.0, 0.0]))

    assert (found["time_in_market"], found["gross_exposure"]) == (0.5, 0.375)


# --- Months, drawdowns, distribution -----------------------------------------------------------------------------


def test_months_and_years_begin_where_the_last_one_ended() -> None:
    times = np.array(["1969-12-31", "1970-01-01", "1970-01-31", "1970-03-01"], "datetime64[us]")

    assert metrics.monthly(times, np.array([110.0, 100.0, 121.0, 60.5]), 100.0) == [
        (1969, 12, pytest.approx(0.1)), (1970, 1, pytest.approx(0.1)), (1970, 3, pytest.approx(-0.5)),
    ]  # fmt: skip
    assert metrics.yearly(times, np.array([110.0, 100.0, 121.0, 60.5]), 100.0) == [
        (1969, pytest.approx(0.1)), (1970, pytest.approx(-0.45)),
    ]  # fmt: skip
    assert metrics.monthly(times[:0], np.zeros(0), 100.0) == []
    assert [month.change for month in metrics.monthly(times, np.array([110.0, 0.0, 0.0, 0.0]), 100.0)][1:] == [
        -1.0,
        None,
    ]


@settings(deadline=None, max_examples=50)
@given(returns=st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=800))
def test_months_and_years_compound_to_the_total(returns: list[float]) -> None:
    equity = grown(returns)
    times = days(len(equity), "2019-12-30")
    total = equity[-1] / equity[0]

    for table in (metrics.monthly, metrics.yearly):
        rows = table(times, equity, float(equity[0]))
        assert math.prod(1 + row.change for row in rows) == pytest.approx(total)
        assert rows == sorted(rows, key=lambda row: row[:-1])


def falls(equity: list[float]) -> Iterator[metrics.Drawdown]:
    """Drawdowns bar by bar, as one would by hand."""
    peak, since = equity[0], 0
    bottom = 0
    for bar, value in enumerate(equity):
        if value >= peak:
            if bottom:
                yield metrics.Drawdown(since, bottom, bar, equity[bottom] / peak - 1)
            peak, since, bottom = value, bar, 0
        elif not bottom or value < equity[bottom]:
            bottom = bar
    if bottom:
        yield metrics.Drawdown(since, bottom, None, equity[bottom] / peak - 1)


@settings(deadline=None)
@given(equity=st.lists(st.integers(1, 9).map(float), min_size=1, max_size=40))
def test_drawdowns_are_those_found_by_hand(equity: list[float]) -> None:
    by_hand = sorted(falls(equity), key=lambda fall: fall.depth)
    found = measured(equity, times=days(len(equity)))
    ends = [len(equity) - 1 if fall.recovered is None else fall.recovered for fall in by_hand]
    lengths = [end - fall.start for fall, end in zip(by_hand, ends, strict=True)] or [0]

    assert metrics.worst_drawdowns(np.array(equity), 99) == by_hand
    assert metrics.drawdowns(np.array(equity)).min() == (by_hand[0].depth if by_hand else 0.0)
    assert (found["max_drawdown_bars"], found["longest_drawdown_bars"]) == (lengths[0], max(lengths))
    assert (found["max_drawdown_days"], found["longest_drawdown_days"]) == (lengths[0], max(lengths))


def test_only_the_worst_drawdowns_are_told() -> None:
    assert metrics.worst_drawdowns(np.array([10.0, 9.0, 10.0, 5.0, 11.0, 10.0]), 2) == [
        (2, 3, 4, -0.5), (0, 1, 2, pytest.approx(-0.1)),
    ]  # fmt: skip


@given(returns=st.lists(st.floats(-1, 5), max_size=200), bins=st.integers(1, 60))
def test_no_bin_mixes_gain_with_loss(returns: list[float], bins: int) -> None:
    edges, counts = metrics.histogram(np.array(returns), bins)

    assert counts.sum() == len(returns)
    assert 0.0 in edges
    assert len(edges) == len(counts) + 1 <= bins + 4
    assert (np.diff(edges) > 0).all()
    if min(returns, default=0) < 0 <= max(returns, default=-1) and edges[0] < 0:
        assert counts[edges[1:] <= 0].sum() == sum(value < 0 for value in returns)


def test_bins_have_round_edges_and_hold_what_lies_beyond() -> None:
    returns = np.concatenate((np.linspace(-0.019, 0.019, 1000), [-0.9, 3.0]))
    edges, counts = metrics.histogram(returns, 16)

    assert edges.tolist() == pytest.approx(np.arange(-8, 9) * 0.0025)
    assert counts[0] + counts[-1] > 2 + counts[1]
    assert metrics.histogram(np.zeros(5)).counts.tolist() == [5]


# --- Beside something else ---------------------------------------------------------------------------------------


def test_a_benchmark_that_began_later_counts_from_where_both_are(stocks: dict[str, Any]) -> None:
    ours, theirs = stocks["AAPL"][-500:], stocks["IBM"][-500:].copy()
    theirs[:200] = np.nan
    found, late = measured(ours, benchmark=theirs), measured(ours[200:], benchmark=theirs[200:])

    assert found["benchmark_return"] == pytest.approx(theirs[-1] / theirs[200] - 1)
    for name in ("alpha", "beta", "information_ratio", "benchmark_sharpe_ratio", "benchmark_max_drawdown"):
        assert found[name] == pytest.approx(late[name])


def test_a_benchmark_without_prices_is_none() -> None:
    found = measured([1.0, 1.1, 1.2], benchmark=np.full(3, np.nan))

    assert {found[name] for name in ("benchmark_return", "benchmark_sharpe_ratio", "alpha", "beta")} == {None}


def test_the_run_itself_has_a_beta_of_one() -> None:
    equity = grown([0.01, -0.02, 0.03])
    found = measured(equity, hold=equity / 7)

    assert found["hold_beta"] == pytest.approx(1.0)
    assert found["hold_alpha"] == pytest.approx(0.0)
    assert found["hold_information_ratio"] is None
    assert found["hold_return"] == pytest.approx(found["total_return"])


def test_an_alpha_that_leaves_nothing_is_a_loss_of_all() -> None:
    """Moving twice as the benchmark would have gained 75 % a bar; instead the run lost 25 %, a whole less."""
    found = measured([10_000.0, 10_000.0, 5_000.0], benchmark=np.array([1.0, 1.5, 1.875]), periods_per_year=12)

    assert found["beta"] == pytest.approx(2.0)
    assert found["alpha"] == -1.0


def test_certainty_follows_from_the_sample(stocks: dict[str, Any]) -> None:
    from scipy import stats

    found = measured(stocks["AAPL"])
    returns = np.diff(stocks["AAPL"]) / stocks["AAPL"][:-1]
    sharpe = returns.mean() / returns.std(ddof=1)
    skewness, kurtosis = stats.skew(returns), stats.kurtosis(returns, fisher=False)
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2

    assert (found["skewness"], found["kurtosis"]) == (pytest.approx(skewness), pytest.approx(kurtosis))
    assert found["psr"] == pytest.approx(stats.norm.cdf(sharpe * math.sqrt((len(returns) - 1) / spread)))
    assert found["min_track_record_length"] == math.ceil(1 + spread * (stats.norm.ppf(0.95) / sharpe) ** 2)


# --- Measures ----------------------------------------------------------------------------------------------------


def test_every_figure_is_explained_in_one_line() -> None:
    listed = [measure for group in measures.GROUPS for measure in group.measures]

    assert len(listed) == len(measures.MEASURES)
    for measure in listed:
        assert 20 <= len(measure.explanation) <= 120
        assert measure.explanation.endswith(".")
    for group in measures.GROUPS:
        assert len({measure.label for measure in group.measures}) == len(group.measures)


def test_a_million_bars_take_few_copies() -> None:
    equity = grown(np.random.default_rng(6).normal(0, 0.001, 1_000_000))
    gross, times = equity / 2, days(len(equity), "0001-01-01")
    tracemalloc.start()
    try:
        measured(equity, gross=gross, hold=equity, benchmark=gross, times=times)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 6.5 * equity.nbytes
