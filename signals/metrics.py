"""What a run was worth: arrays in, numbers out.

`equity` is (T,), marked at the close of each bar, of at least one bar; on bar 0 nothing can have been filled yet, so it
starts with the cash. Returns are those from close to close, T − 1 of them, and are annualised by how many bars a year
of the asset's calendar has. A figure that is not defined (no trades, no loss to divide by, no variation) is None, never
NaN or infinite. What each means is said in `signals.measures`.

Definitions are those of the package empyrical, with a risk-free rate of 0. What differs, on purpose: the information
ratio is annualised, as the Sharpe ratio beside it is; where a ratio would divide by nothing or by what is no more than
rounding, empyrical says NaN, infinity or a number like 1e15, and we None.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from signals import overfitting
from signals.engine.terms import ExitReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signals.engine.terms import Flags, Floats, Trades

    Moments = NDArray[np.datetime64]

Figure = float | int | None
Figures = dict[str, Figure]

_TAIL = 0.05
_ROUNDING = 1e-14  # returns, which are quotients near 1, are not more exact than this
_DAY = np.timedelta64(1, "D")
_quiet = np.errstate(all="ignore")  # what is not defined is None in the end


class Month(NamedTuple):
    """`change`: from the end of the month before, or from the starting cash; None if nothing was left to change."""

    year: int
    month: int
    change: float | None


class Year(NamedTuple):
    year: int
    change: float | None


class Drawdown(NamedTuple):
    """`start`: the last bar at the peak; `recovered`: the first bar there again, None if there is none yet."""

    start: int
    bottom: int
    recovered: int | None
    depth: float


class Histogram(NamedTuple):
    """`counts` (n,) between `edges` (n + 1,)."""

    edges: "Floats"
    counts: "NDArray[np.int64]"


@_quiet
def measure(
    equity: "Floats",
    gross: "Floats",
    trades: "Trades",
    *,
    cash: float,
    periods_per_year: float,
    fees: float,
    dividends: float = 0.0,
    hold: "Floats | None" = None,
    benchmark: "Floats | None" = None,
    times: "Moments | None" = None,
) -> Figures:
    """All figures of a run, by the names in `signals.measures`.

    `gross`: what the positions are worth at each close. `hold` and `benchmark`: prices or an equity curve of the same
    bars, of any scale, NaN where there is none. `times`: the opens of the bars, for lengths in days.
    """
    returns = bar_returns(equity)
    figures = {
        **_gain(equity, cash, periods_per_year),
        **_fallen(equity, times),
        **_risk(returns, periods_per_year),
        **_certainty(returns),
        **_beside("hold_", "hold_", hold, returns, periods_per_year),
        **_beside("benchmark_", "", benchmark, returns, periods_per_year),
        **_trading(trades, times),
        **_exposure(equity, gross, trades),
        "fees_paid": fees,
        "dividends": dividends,
    }
    figures["calmar_ratio"] = _quotient(figures["cagr"], -figures["max_drawdown"])
    return {name: _said(figure) for name, figure in figures.items()}


@_quiet
def bar_returns(equity: "Floats") -> "Floats":
    """From close to close (T − 1,). Nothing more is gained or lost once nothing is left."""
    returns = equity[1:] / equity[:-1]
    returns -= 1
    returns[equity[:-1] <= 0] = 0.0
    return returns


# --- What was gained ---------------------------------------------------------------------------------------------


def _gain(equity: "Floats", cash: float, periods_per_year: float) -> dict[str, Any]:
    final, bars = float(equity[-1]), len(equity) - 1
    return {
        "total_return": final / cash - 1,
        "cagr": _yearly_rate(final / cash, periods_per_year / bars) if bars else None,
        "final_equity": final,
        "peak_equity": max(cash, float(equity.max())),
        "bars": len(equity),
        "years": bars / periods_per_year,
    }


def _yearly_rate(growth: float, times: float) -> float | None:
    """What so much growth, so many times a year, is in a year; −1 if it leaves nothing, or less."""
    if growth <= 0:
        return -1.0
    try:
        return math.expm1(times * math.log(growth))
    except OverflowError:  # of a few minutes, taken for a year
        return None


def monthly(times: "Moments", equity: "Floats", cash: float) -> list[Month]:
    """The return of each calendar month (UTC) that a bar opens in; the first from the starting cash."""
    return [Month(1970 + n // 12, 1 + n % 12, change) for n, change in _by_calendar(times, equity, cash, "M")]


def yearly(times: "Moments", equity: "Floats", cash: float) -> list[Year]:
    return [Year(1970 + n, change) for n, change in _by_calendar(times, equity, cash, "Y")]


def _by_calendar(times: "Moments", equity: "Floats", cash: float, unit: str) -> list[tuple[int, float | None]]:
    """Each period since 1970 that a bar opens in, with its return."""
    if not len(times):
        return []
    periods = times.astype(f"datetime64[{unit}]")
    last = np.append(np.flatnonzero(periods[1:] != periods[:-1]), len(periods) - 1)
    ends = equity[last].tolist()
    starts = [cash, *ends[:-1]]
    numbers = periods[last].astype(np.int64).tolist()
    return [
        (number, _said(end / start - 1) if start > 0 else None)
        for number, start, end in zip(numbers, starts, ends, strict=True)
    ]


# --- What was risked ---------------------------------------------------------------------------------------------


@_quiet
def drawdowns(equity: "Floats") -> "Floats":
    """How far below its highest close so far the equity is, at each bar: fractions ≤ 0 (T,)."""
    under = np.maximum.accumulate(equity)
    np.divide(equity, under, out=under)
    under -= 1
    return under


def worst_drawdowns(equity: "Floats", count: int = 5) -> list[Drawdown]:
    """The deepest, from the deepest on."""
    under = drawdowns(equity)
    starts, ends = _spans(under)
    if not len(starts):
        return []
    depths = np.minimum.reduceat(under, starts)
    return [
        Drawdown(
            start,
            start + int(under[start : end + 1].argmin()),
            end if under[end] == 0 else None,
            float(depth),
        )
        for start, end, depth in (
            (int(starts[n]), int(ends[n]), depths[n]) for n in np.argsort(depths, kind="stable")[:count]
        )
    ]


def _spans(under: "Floats") -> tuple["NDArray[np.int64]", "NDArray[np.int64]"]:
    """Where drawdowns start (the last bar at the peak) and end (the first there again, or the last bar of all)."""
    below = under < 0
    edges = np.flatnonzero(below[1:] != below[:-1])
    starts, ends = edges[::2], edges[1::2] + 1
    if len(ends) < len(starts):
        ends = np.append(ends, len(under) - 1)
    return starts, ends


def _fallen(equity: "Floats", times: "Moments | None") -> dict[str, Any]:
    under = drawdowns(equity)
    return {"max_drawdown": float(under.min()), **_lengths(under, times)}


def _lengths(under: "Floats", times: "Moments | None") -> dict[str, Any]:
    """How long the deepest drawdown and the longest one lasted, from the peak until it was reached again or the end."""
    starts, ends = _spans(under)
    bars, days, deepest = np.zeros(1, np.int64), np.zeros(1), 0
    if len(starts):
        bars, deepest = ends - starts, int(np.minimum.reduceat(under, starts).argmin())
        days = days if times is None else (times[ends] - times[starts]) / _DAY
    return {
        "max_drawdown_bars": bars[deepest],
        "max_drawdown_days": None if times is None else days[deepest],
        "longest_drawdown_bars": bars.max(),
        "longest_drawdown_days": None if times is None else days.max(),
    }


def histogram(returns: "Floats", bins: int = 40) -> Histogram:
    """How often returns are how large. 0 is an edge and the width a round number, so that no bin mixes gain with loss;
    a return of 0 counts on the gains' side. The outermost bins also hold what lies beyond them: one in two hundred on
    each side.
    """
    values = returns[np.isfinite(returns)]
    if not len(values):
        return Histogram(np.zeros(1), np.zeros(0, np.int64))
    low, high = (min(0.0, float(np.percentile(values, 0.5))), max(0.0, float(np.percentile(values, 99.5))))
    width = _round_width((high - low) / bins)
    first, after = math.floor(low / width), max(math.ceil(high / width), 1)
    edges = width * np.arange(first, after + 1, dtype=np.float64)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return Histogram(edges, np.bincount(places, minlength=len(edges) - 1))


def _round_width(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below."""
    if least < 1e-12:
        return 1e-12 if least else 0.01
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * step for step in (1, 2, 2.5, 5, 10, 20) if power * step >= least)


# --- What was gained for what was risked -------------------------------------------------------------------------


class _Spread(NamedTuple):
    """Of the returns of one bar. `deviation`: ddof 1; exactly 0 where it is no more than rounding."""

    mean: float
    deviation: float

    @property
    def sharpe(self) -> float | None:
        return _quotient(self.mean, self.deviation)


def _spread(returns: "Floats") -> _Spread | None:
    if len(returns) < 2:
        return None
    mean = float(returns.mean())
    aside = returns - mean
    deviation = math.sqrt(_dot(aside, aside) / (len(returns) - 1))
    rounding = _ROUNDING * max(1.0, float(returns.max()))
    return _Spread(mean, deviation if deviation > rounding else 0.0)


def _risk(returns: "Floats", periods_per_year: float) -> dict[str, Any]:
    """Sharpe as empyrical has it: the arithmetic mean, ddof 1. Sortino and omega: of a required return of 0."""
    spread = _spread(returns)
    if spread is None:
        return dict.fromkeys(("volatility", "sharpe_ratio", "sortino_ratio", "omega_ratio", *_TAILS))
    a_year = math.sqrt(periods_per_year)
    lost = np.minimum(returns, 0)
    downside = math.sqrt(_dot(lost, lost) / len(returns))
    losses = -float(lost.sum())
    gains = float(np.maximum(returns, 0, out=lost).sum())
    return {
        "volatility": spread.deviation * a_year,
        "sharpe_ratio": _times(spread.sharpe, a_year),
        "sortino_ratio": _times(_quotient(spread.mean, downside), a_year),
        "omega_ratio": _quotient(gains, losses),
        **_tails(returns),
    }


_TAILS = ("value_at_risk", "conditional_value_at_risk", "tail_ratio")


def _tails(returns: "Floats") -> dict[str, Any]:
    """The percentiles 5 and 95, between neighbours where they fall between two, and the mean up to the lower."""
    last = len(returns) - 1
    low, high = last * _TAIL, last * (1 - _TAIL)
    ordered = np.partition(returns, sorted({int(low), math.ceil(low), int(high), math.ceil(high)}))
    at_low, at_high = (
        ordered[int(at)] + (ordered[math.ceil(at)] - ordered[int(at)]) * (at - int(at)) for at in (low, high)
    )
    worst = ordered[: int(low) + 1].mean()
    return dict(zip(_TAILS, (at_low, worst, _quotient(abs(at_high), abs(at_low))), strict=True))


def _beside(
    theirs: str, ours: str, other: "Floats | None", returns: "Floats", periods_per_year: float
) -> dict[str, Any]:
    """What something else did over the bars that it has, and how the run did beside it over those that both have."""
    names = [f"{theirs}{name}" for name in ("return", "max_drawdown", "sharpe_ratio")]
    names += [f"{ours}{name}" for name in ("alpha", "beta", "information_ratio")]
    known = np.empty(0) if other is None else other[np.isfinite(other)]
    if other is None or not len(known):
        return dict.fromkeys(names)
    moves = bar_returns(other)
    both = np.isfinite(moves)
    if not both.all():
        returns, moves = returns[both], moves[both]
    spread = _spread(moves)
    sharpe = None if spread is None else _times(spread.sharpe, math.sqrt(periods_per_year))
    own = (float(known[-1] / known[0]) - 1, float(drawdowns(known).min()), sharpe)
    return dict(zip(names, (*own, *_compared(returns, moves, periods_per_year)), strict=True))


def _compared(
    returns: "Floats", moves: "Floats", periods_per_year: float
) -> tuple[float | None, float | None, float | None]:
    """Alpha (as a yearly rate), beta and the information ratio."""
    spread, active = _spread(moves), _spread(returns - moves)
    if spread is None or active is None:
        return None, None, None
    information = _times(active.sharpe, math.sqrt(periods_per_year))
    if not spread.deviation:
        return None, None, information
    aside = moves - spread.mean
    beta = _dot(aside, returns) / _dot(aside, aside)
    growth = 1 + float(returns.mean()) - beta * spread.mean
    return _yearly_rate(growth, periods_per_year), beta, information


def _certainty(returns: "Floats") -> dict[str, Any]:
    """How sure it is that the true Sharpe ratio is above 0. Skewness and kurtosis are those of the sample, biased."""
    spread, bars = _spread(returns), len(returns)
    if spread is None or spread.sharpe is None:
        return dict.fromkeys(("psr", "min_track_record_length", "skewness", "kurtosis"))
    sharpe = spread.sharpe
    scaled = returns - spread.mean
    scaled /= spread.deviation * math.sqrt((bars - 1) / bars)
    squared = scaled * scaled
    skewness, kurtosis = _dot(scaled, squared) / bars, _dot(squared, squared) / bars
    needed = overfitting.minimum_track_record_length(sharpe, skewness, kurtosis)
    return {
        "psr": overfitting.probabilistic_sharpe_ratio(sharpe, bars, skewness, kurtosis),
        "min_track_record_length": None if needed is None else math.ceil(needed),
        "skewness": skewness,
        "kurtosis": kurtosis,
    }


# --- Trades ------------------------------------------------------------------------------------------------------


def _trading(trades: "Trades", times: "Moments | None") -> dict[str, Any]:
    """Closed trades, each part of a position that was left in parts for itself; a trade of 0 is neither won nor lost.

    `expectancy_ratio` is expectancy by the average loss; freqtrade's formula gives the same unless a trade made 0,
    which it takes for a loss there and for none in the average.
    """
    profit, risk = trades.profit, trades.risk
    won, lost = profit[profit > 0], profit[profit < 0]
    staked = risk > 0
    bars = trades.exit_bar - trades.entry_bar
    days = None if times is None else (times[trades.exit_bar] - times[trades.entry_bar]) / _DAY
    by_position = _by_position(trades)
    return {
        "trade_count": len(profit),
        "position_count": len(by_position),
        "win_rate": _quotient(len(won), len(profit)),
        "profit_factor": _profit_factor(profit),
        "expectancy": _mean(profit),
        "expectancy_ratio": _quotient(_mean(profit), _times(_mean(lost), -1)),
        "average_r": _mean(profit[staked] / risk[staked]),
        "average_win": _mean(won),
        "average_loss": _mean(lost),
        "best_trade": profit.max() if len(profit) else None,
        "worst_trade": profit.min() if len(profit) else None,
        "best_position_share": _quotient(max(by_position, default=0.0), sum(x for x in by_position if x > 0)),
        "average_mae": _mean(trades.mae),
        "average_mfe": _mean(trades.mfe),
        "average_holding_bars": _mean(bars),
        "average_holding_days": None if days is None else _mean(days),
        "longest_win_streak": _longest_run(profit > 0),
        "longest_loss_streak": _longest_run(profit < 0),
    }


@_quiet
def by_exit_reason(trades: "Trades") -> dict[str, Figures]:
    """For each reason that trades were left for: how many, how often with a win, the profit, that of one."""
    found = {}
    for reason in ExitReason:
        profit = trades.profit[trades.exit_reason == reason]
        if len(profit):
            figures = {
                "trade_count": len(profit),
                "win_rate": (profit > 0).mean(),
                "profit": profit.sum(),
                "average_profit": profit.mean(),
                "profit_factor": _profit_factor(profit),
            }
            found[reason.word] = {name: _said(figure) for name, figure in figures.items()}
    return found


def _profit_factor(profit: "Floats") -> float | None:
    """In currency. None without a lost trade: it would be infinite, and say nothing of how much was won."""
    return _quotient(profit[profit > 0].sum(), -profit[profit < 0].sum())


def _by_position(trades: "Trades") -> list[float]:
    _, places = np.unique(trades.position, return_inverse=True)
    return np.bincount(places, weights=trades.profit).tolist() if len(places) else []


def _longest_run(flags: "Flags") -> int:
    breaks = np.flatnonzero(np.concatenate(([True], ~flags, [True])))
    return int(np.diff(breaks).max()) - 1


def _exposure(equity: "Floats", gross: "Floats", trades: "Trades") -> dict[str, Any]:
    """Of all bars, those at whose close a position is held; those between entry and exit of closed trades alone.

    The second is what other engines give, which leave out what is still open at the end: holding for ever would be an
    exposure of 0.
    """
    bars = len(equity)
    entered, left = (np.bincount(at, minlength=bars + 1) for at in (trades.entry_bar, trades.exit_bar))
    solvent = equity > 0
    return {
        "time_in_market": np.count_nonzero(gross) / bars,
        "exposure_time": np.count_nonzero(np.cumsum(entered - left)[:bars]) / bars,
        "gross_exposure": _mean(gross[solvent] / equity[solvent]),
    }


# --- Numbers -----------------------------------------------------------------------------------------------------


def _dot(one: "Floats", other: "Floats") -> float:
    """Without BLAS, which cuts long sums by the number of cores: the last digits would be the machine's."""
    return float(np.einsum("i,i->", one, other))


def _mean(values: Any) -> float | None:
    return float(values.mean()) if len(values) else None


def _quotient(one: float | None, other: float | None) -> float | None:
    return float(one) / float(other) if one is not None and other else None


def _times(one: float | None, other: float) -> float | None:
    return None if one is None else one * other


def _said(figure: Any) -> Figure:
    """As Python's own number, without a negative zero; None instead of NaN and infinity."""
    if figure is None or not math.isfinite(figure):
        return None
    return int(figure) if isinstance(figure, (int, np.integer)) else float(figure) + 0.0
