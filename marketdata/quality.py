"""Which candles of a series can hardly be true, judged by the candles around them. Arrays in, doubts out; no database.

What is judged here are doubts, not impossibilities (those are `marketdata.checks` and `marketdata.staging`): a second
source, the candles that come later or a person may say otherwise. The measures are robust ones, because what they
measure holds the faults that are looked for: medians of neighbours, and the median absolute logarithmic return as the
usual move (F. R. Hampel, "The Influence Curve and Its Role in Robust Estimation", JASA 69, 1974: for a normal
distribution it is 0.6745 standard deviations). Prices are compared by the logarithm of their ratio throughout.

The thresholds were chosen on 550,808 real candles of 75 series (stocks, an index, currencies and coins; days, hours
and minutes; the crashes of 2000, 2008, 6 May 2010, 24 August 2015 and March 2020 among them), so that none of the
crashes is doubted and the wrong ticks in them are.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

from marketdata.checks import Fault
from marketdata.models import QuarantinedCandle, Timeframe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

Kind = QuarantinedCandle.Kind
DOUBTS = (Kind.SPIKE, Kind.UNIT, Kind.FROZEN)

AROUND = 20  # candles on each side by which the usual move and the usual volume are measured
NEXT = 3  # neighbours on each side that say where the level is
LEAST = 8  # with fewer other candles around it nothing is judged
MOVES = 15.0  # a spike is at least so many usual moves
# A spike is at least so far off, in the logarithm: what a thin market does in a candle of that length by itself.
FLOOR = {
    Timeframe.M1: 0.04,
    Timeframe.M5: 0.06,
    Timeframe.M15: 0.07,
    Timeframe.M30: 0.08,
    Timeframe.H1: 0.09,
    Timeframe.H4: 0.12,
    Timeframe.D1: 0.18,
    Timeframe.W1: 0.35,
    Timeframe.MO1: 0.50,
}
LOUD_DAYS, LOUD_WITHIN = 1.4, 3.0  # times the usual volume that makes a move a real one; within a day it has a pattern
INCREDIBLE = log(3)  # so far and back within one candle, and 50 usual moves, no volume makes it credible
LAST_MOVES, LAST_FAR = 20.0, log(1.5)  # of a candle with neighbours on one side only
FAR = log(8)  # a step so large is one of unit or currency, if the volume does not say that it is a split
# A run of so many candles without volume or movement, in a series that trades, was not traded.
RUN = {
    Timeframe.M1: 120,
    Timeframe.M5: 48,
    Timeframe.M15: 24,
    Timeframe.M30: 16,
    Timeframe.H1: 12,
    Timeframe.H4: 8,
    Timeframe.D1: 5,
    Timeframe.W1: 4,
    Timeframe.MO1: 3,
}
TRADES = 0.9  # the share of the other candles that have volume, in a series that trades
_DAY = 86_400_000_000  # microseconds


@dataclass
class View:
    """Candles of one series in order of time, no two of one time: new ones among those that are stored around them.

    Arrays of one length: `at` in microseconds since 1970, prices and volume as float64. `settled` are those that are
    stored already; they are judged again only where a new one has come near.
    """

    timeframe: Timeframe
    at: "Ints"
    open: "Floats"
    high: "Floats"
    low: "Floats"
    close: "Floats"
    volume: "Floats"
    settled: "Bools"


def context(timeframe: Timeframe) -> int:
    """How many stored candles before and after the new ones a view should hold."""
    return AROUND + NEXT + RUN[timeframe]


def doubtful(view: View) -> bool:
    """Whether anything in the view needs a closer look; where this is False `judge` finds nothing. Linear and quick."""
    import numpy as np

    steps = _Steps.of(view)
    return bool(np.any(_conspicuous(view, steps))) or bool(_runs(view))


def judge(view: View) -> dict[int, Fault]:
    """The doubtful candles of the view by their place in it, settled ones included."""
    found = _spikes(view)
    found |= _units(view, found)
    for place, doubt in _frozen(view).items():
        found.setdefault(place, doubt)
    return found


# --- Logarithms and neighbours -----------------------------------------------------------------------------------


@dataclass
class _Steps:
    """Logarithms of a view, and how each close stands to the one before; nan where there is nothing to compare."""

    close: "Floats"
    high: "Floats"
    low: "Floats"
    move: "Floats"  # from the close before, in the same stretch
    stretch: "Ints"  # number of the stretch without a long pause

    @classmethod
    def of(cls, view: View) -> "_Steps":
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            close, high, low = np.log(view.close), np.log(view.high), np.log(view.low)
        pause = np.diff(view.at, prepend=view.at[:1]) > max(10 * _DAY, 10 * _micros(view.timeframe))
        level = np.where(np.isfinite(close), close, np.nan)
        move = np.diff(level, prepend=np.nan)
        move[pause] = np.nan
        return cls(close, high, low, move, np.cumsum(pause))


def _micros(timeframe: Timeframe) -> int:
    return round(timeframe.length.total_seconds() * 1_000_000)


def _near_new(view: View) -> "Bools":
    """New candles, and settled ones that have a new one among their next neighbours."""
    import numpy as np

    fresh = np.concatenate([np.zeros(NEXT, bool), ~view.settled, np.zeros(NEXT, bool)])
    near = ~view.settled
    for shift in range(2 * NEXT + 1):
        near = near | fresh[shift : shift + len(view.at)]
    return near


def _conspicuous(view: View, steps: _Steps) -> "Bools":
    """Candles that a spike or a step may be: further from their neighbours than the floor. Most series have none."""
    import numpy as np

    floor = FLOOR[view.timeframe]
    before, after = steps.move, np.append(steps.move[1:], np.nan)  # from the one before, to the one after
    with np.errstate(invalid="ignore"):
        jumps = (np.abs(before) > floor) | (np.abs(after) > floor)
        above = steps.high - steps.close - np.fmax(np.fmax(-before, after), 0) > floor
        below = steps.close - steps.low - np.fmax(np.fmax(before, -after), 0) > floor
    # Beside a worthless neighbour there is no move; the worthless one itself is conspicuous, as is a low of nothing.
    found: Bools = jumps | above | below | ~np.isfinite(steps.close) | ~np.isfinite(steps.low)
    return found


# --- Spikes ------------------------------------------------------------------------------------------------------


@dataclass
class _Around:
    """What is usual around some candles of a view; one row each. nan where too little is known."""

    left: "Floats"  # logarithm of the level before
    right: "Floats"  # and after
    usual: "Floats"  # the usual move
    reach: "Floats"  # how far highs and lows usually lie beyond the closes
    volume: "Floats"  # the usual volume
    known: "Ints"  # of so many others

    @classmethod
    def of(cls, view: View, steps: _Steps, places: "Ints") -> "_Around":
        import numpy as np

        offsets = np.arange(-AROUND, AROUND + 1)
        index = places[:, None] + offsets
        inside = (index >= 0) & (index < len(view.at))
        index = np.clip(index, 0, len(view.at) - 1)
        inside &= steps.stretch[index] == steps.stretch[places][:, None]
        others = inside & (offsets != 0)
        level = np.where(np.isfinite(steps.close), steps.close, np.nan)
        closes = np.where(inside, level[index], np.nan)
        moves = np.where(others & (offsets != 1), np.abs(steps.move)[index], np.nan)
        beyond = np.where(others, _reach(steps)[index], np.nan)
        middle = AROUND
        return cls(
            left=_median(closes[:, middle - NEXT : middle]),
            right=_median(closes[:, middle + 1 : middle + 1 + NEXT]),
            usual=_median(moves),
            reach=_median(beyond),
            volume=_median(np.where(others, view.volume[index], np.nan)),
            known=np.count_nonzero(np.isfinite(moves), axis=1),
        )


def _reach(steps: _Steps) -> "Floats":
    """How far the high or the low lies beyond both the close and the one before."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        above = steps.high - steps.close - np.fmax(-steps.move, 0)
        below = steps.close - steps.low - np.fmax(steps.move, 0)
        return np.fmax(np.fmax(above, below), 0)


def _median(values: "Floats") -> "Floats":
    """Of each row, without the nan in it; nan for a row of nothing else."""
    import warnings

    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=1))


def _spikes(view: View) -> dict[int, Fault]:
    """Candles far from the level on both sides, or at an end of what is known very far from the one side there is."""
    import numpy as np

    steps = _Steps.of(view)
    places = np.flatnonzero(_conspicuous(view, steps) & _near_new(view))
    found: dict[int, Fault] = {}
    for start in range(0, len(places), 10_000):  # the windows of more would take much memory
        part = places[start : start + 10_000]
        found |= _judged(view, steps, part, _Around.of(view, steps, part))
    return found


def _judged(view: View, steps: _Steps, places: "Ints", around: _Around) -> dict[int, Fault]:
    import numpy as np

    close, high, low = steps.close[places], steps.high[places], steps.low[places]
    floor = FLOOR[view.timeframe]
    with np.errstate(invalid="ignore", divide="ignore"):
        off = {
            "close": _off_both(close - around.left, close - around.right),
            "high": high - np.fmax(np.fmax(close, around.left), around.right),
            "low": np.fmin(np.fmin(close, around.left), around.right) - low,
        }
        usual = {"close": around.usual, "high": np.fmax(around.usual, around.reach)}
        usual["low"] = usual["high"]
        # Among candles without volume any is much; where there is no volume at all, 0 / 0 is not loud.
        loud = view.volume[places] / around.volume >= _loud(view.timeframe)
        judged = around.known >= LEAST
        sides = np.isfinite(around.left).astype(int) + np.isfinite(around.right)
        found: dict[int, Fault] = {}
        for name in ("close", "high", "low"):
            beyond = off[name] > np.fmax(floor, MOVES * usual[name])
            credible = loud & ~((off[name] > INCREDIBLE) & (off[name] > 50 * usual[name]))
            for row in np.flatnonzero(judged & beyond & ~credible & (sides > 0)).tolist():
                reason = _spike_reason(view, int(places[row]), name, around, row)
                found.setdefault(int(places[row]), reason)
        for row in np.flatnonzero(judged & (sides == 1) & ~loud).tolist():
            if doubt := _end_doubt(view, int(places[row]), close[row], around, row):
                found.setdefault(int(places[row]), doubt)
    return found


def _off_both(left: "Floats", right: "Floats") -> "Floats":
    """How far off it is from the nearer of both sides, if it is off both in the same direction; nan with one side."""
    import numpy as np

    same = np.sign(left) == np.sign(right)
    return np.where(same | np.isnan(left + right), np.minimum(np.abs(left), np.abs(right)), 0.0)


def _loud(timeframe: Timeframe) -> float:
    return LOUD_DAYS if timeframe.is_daily else LOUD_WITHIN


def _spike_reason(view: View, place: int, name: str, around: _Around, row: int) -> Fault:
    value = float(getattr(view, name)[place])
    left, right, close = float(around.left[row]), float(around.right[row]), float(view.close[place])
    sides = [exp(side) for side in (left, right) if side == side]
    level = sides[0] if len(sides) == 1 else (max(sides) if value > max(sides) else min(sides))
    if name == "close":
        kind = Kind.UNIT if value and _is_hundred(value / level) else Kind.SPIKE
        of = "that of the candles on both sides"
    else:
        kind, of = Kind.SPIKE, "its own close and those of its neighbours"
        level = max(level, close) if name == "high" else min(level, close) or level
    return Fault(
        kind, f"its {name} {_text(value)} is {_compared(value / level)} {of}{_volume(view, place, around, row)}"
    )


def _is_hundred(factor: float) -> bool:
    return any(abs(log(factor / unit)) < log(1.25) for unit in (100, 0.01))


def _end_doubt(view: View, place: int, close: float, around: _Around, row: int) -> Fault | None:
    """With neighbours on one side a spike can't be told from a move that stays: only what is very far off is held."""
    import numpy as np

    before = bool(np.isfinite(around.left[row]))
    off = close - float(around.left[row] if before else around.right[row])
    if np.isfinite(off) and not LAST_FAR < abs(off) < FAR:  # beyond `FAR` it is a matter of unit
        return None
    if np.isfinite(off) and abs(off) < LAST_MOVES * around.usual[row]:
        return None
    times = float(view.volume[place] / around.volume[row]) if around.volume[row] > 0 else 0.0
    if np.isfinite(off) and times > 0 and abs(off + log(times)) < log(2) < abs(off):
        return None  # as much money changed hands as ever: a split
    factor = _compared(exp(off))
    where, others = ("before", "after") if before else ("after", "before")
    value = _text(float(view.close[place]))
    return Fault(
        Kind.SPIKE,
        f"its close {value} is {factor} that of the candles {where} it{_volume(view, place, around, row)};"
        f" the candles {others} it will tell",
    )


def _volume(view: View, place: int, around: _Around, row: int) -> str:
    """The words about volume that end a reason."""
    usual, own = float(around.volume[row]), float(view.volume[place])
    if not usual > 0:
        return ""
    if own <= usual:
        return ", with no more volume than they have"
    return f", with {own / usual:.1f} times their volume"


def _compared(factor: float) -> str:
    """`10.1 times`, `26 % above`, `94 % below`: ends so that a noun may follow."""
    if factor >= 2:
        return f"{factor:,.1f} times"
    if factor >= 1:
        return f"{100 * (factor - 1):.1f} % above"
    return f"{100 * (1 - factor):.1f} % below"


def _text(value: float) -> str:
    return f"{value:.10g}"


# --- Units and currencies ----------------------------------------------------------------------------------------


def _units(view: View, spikes: dict[int, Fault]) -> dict[int, Fault]:
    """Stretches on a level that is far off the series' own, reached by one step without the volume of a split."""
    import numpy as np

    steps = _Steps.of(view)
    usable = np.isfinite(steps.close)
    usable[list(spikes)] = False
    places = np.flatnonzero(usable)
    if len(places) < LEAST + 1:
        return {}
    close, stretch = steps.close[places], steps.stretch[places]
    move = np.diff(close)
    far = (np.abs(move) > FAR) & (np.diff(stretch) == 0)
    far &= ~(view.settled[places][1:] & view.settled[places][:-1])  # accepted long ago
    far[[step for step in np.flatnonzero(far).tolist() if _explained(view, places, step, float(move[step]))]] = False
    if not far.any():
        return {}
    # Each long pause begins anew: nobody knows what became of the level meanwhile.
    group = np.concatenate([[0], np.cumsum(far | (np.diff(stretch) != 0))])
    found: dict[int, Fault] = {}
    for number in np.unique(stretch).tolist():
        here = stretch == number
        found |= _off_level(view, places[here], close[here], group[here])
    return found


def _explained(view: View, places: "Ints", step: int, move: float) -> bool:
    """Whether the volume says that the step is one of the price: a split's inverse, or a crowd's."""
    import numpy as np

    before = view.volume[places[max(0, step + 1 - AROUND) : step + 1]]
    after = view.volume[places[step + 1 : step + 1 + NEXT]]
    usual, now = float(np.median(before)), float(np.median(after))
    if usual <= 0 or now <= 0:
        return False
    return now >= usual * LOUD_WITHIN or abs(move + log(now / usual)) < log(4)


def _off_level(view: View, places: "Ints", close: "Floats", group: "Ints") -> dict[int, Fault]:
    """The new candles of those groups whose level is far from home: that of most settled candles, else of most."""
    import numpy as np

    groups = np.unique(group)
    if len(groups) == 1:
        return {}
    # From group to group only the steps count, so that a market may rise eightfold over the years.
    first = np.searchsorted(group, groups)
    level = np.concatenate([[0.0], np.cumsum(close[first[1:]] - close[first[1:] - 1])])
    settled = np.array([np.count_nonzero(view.settled[places[group == number]]) for number in groups])
    size = np.array([np.count_nonzero(group == number) for number in groups])
    weight = settled if settled.any() else size
    alike = np.abs(level[:, None] - level) < FAR / 2
    home = int(np.argmax(alike @ weight))
    found: dict[int, Fault] = {}
    for number in np.flatnonzero(~alike[home]).tolist():
        factor = exp(level[number] - level[home])
        doubt = Fault(Kind.UNIT, _unit_reason(factor))
        here = places[group == groups[number]]
        found |= dict.fromkeys(here[~view.settled[here]].tolist(), doubt)
    return found


def _unit_reason(factor: float) -> str:
    hundred = _is_hundred(factor)
    size = "about 100" if hundred else f"{max(factor, 1 / factor):,.4g}"
    times = f"{size} times" if factor > 1 else f"1/{size} of".replace("1/about ", "about 1/")
    hint = "as if given in hundredths (pence, cents)" if hundred and factor > 1 else ""
    hint = hint or ("as if given in whole units instead of hundredths (pence, cents)" if hundred else "")
    hint = hint or "another unit, currency or asset?"
    return f"from one candle to the next its prices are {times} the level of the others: {hint}"


# --- Frozen runs -------------------------------------------------------------------------------------------------


def _runs(view: View) -> list[tuple[int, int]]:
    """Long runs (first place, one after the last) of candles at one price without volume."""
    import numpy as np

    flat = (view.volume == 0) & (view.high == view.low)
    if np.count_nonzero(flat) < RUN[view.timeframe]:
        return []
    same = flat[1:] & flat[:-1] & (view.close[1:] == view.close[:-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2] + 1
    long = ends - starts >= RUN[view.timeframe]
    return list(zip(starts[long].tolist(), ends[long].tolist(), strict=True))


def _frozen(view: View) -> dict[int, Fault]:
    """Runs without volume or movement amid candles that trade. Currencies and indices, which have no volume, do not."""
    import numpy as np

    found: dict[int, Fault] = {}
    for start, end in _runs(view):
        if view.settled[start:end].all():
            continue
        others = np.concatenate([view.volume[max(0, start - 300) : start], view.volume[end : end + 300]])
        if len(others) < AROUND or np.count_nonzero(others) < TRADES * len(others):
            continue
        price = _text(float(view.close[start]))
        reason = f"one of {end - start} candles in a row at {price} without any volume, in a series that trades"
        found |= dict.fromkeys(range(start, end), Fault(Kind.FROZEN, reason))
    return found


# --- The grid of times -------------------------------------------------------------------------------------------


def off_grid(view: View, *, strict: bool, opens: Collection[int] = ()) -> dict[int, Fault]:
    """The new candles whose minute is not one that the series' candles open at.

    A market around the clock counts from midnight UTC (`strict`). In one with sessions bars are counted from the
    session's open (hours of New York start at :30, of Mumbai at :15 or :45, others by the clock), so what counts there
    is what most candles around do, and `opens`, the minutes of the hour at which its sessions open. Hours and longer
    are judged by the minute alone, since summer time moves the hour.
    """
    import numpy as np

    length = round(view.timeframe.length.total_seconds()) // 60
    step = length if strict and length < 1440 else min(length, 60)
    if step <= 1 or view.timeframe.is_daily:
        return {}
    phase = view.at // 60_000_000 % step
    if strict:
        odd = phase != 0
    else:
        counts = np.bincount(phase, minlength=step)
        usual = counts >= max(NEXT, 0.02 * len(phase))
        usual[[minute % step for minute in opens]] = True
        odd = ~usual[phase] & (len(phase) >= AROUND)
    found = {}
    for place in np.flatnonzero(odd & ~view.settled).tolist():
        found[place] = Fault(Kind.GRID, _grid_reason(view, place, step, int(phase[place]), strict))
    return found


def not_trading_days(view: View, sessions: "Ints", first: int, last: int, market: str) -> dict[int, Fault]:
    """The new daily candles at dates on which the market has no session, `sessions` in days since 1970, known from
    `first` to `last`. If there are many, it is the calendar that is not the asset's, and none is doubted."""
    import numpy as np

    days = view.at // _DAY
    known = (days >= first) & (days <= last)
    odd = known & ~np.isin(days, sessions)
    if len(days) < AROUND or np.count_nonzero(odd) > max(NEXT, 0.02 * np.count_nonzero(known)):
        return {}
    dates = days.astype("datetime64[D]")
    places = np.flatnonzero(odd & ~view.settled).tolist()
    return {place: Fault(Kind.GRID, f"{dates[place]} is not a trading day of {market}") for place in places}


def _grid_reason(view: View, place: int, step: int, phase: int, strict: bool) -> str:
    import numpy as np

    at = np.datetime64(int(view.at[place]), "us").astype("datetime64[m]")
    opens = f"it opens at {str(at).replace('T', ' ')}Z, {phase} minute{'s' if phase != 1 else ''} after"
    if strict:
        return f"{opens} the open of the {view.timeframe} candle that it lies in"
    return f"{opens} a multiple of {step} minutes, where no other candle of this series opens"
