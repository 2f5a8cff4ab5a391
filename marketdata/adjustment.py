"""The arithmetic of splits and dividends: arrays in, arrays out. Knows no database.

An event at position p of an array of candles (oldest first) is what happened between candle p - 1 and candle p: the
candles before p are adjusted for it, those from p on are not. A price factor is what a stored price is multiplied by;
for a split it is 1/k (k new shares for an old one), and the volume's factor is k, so that price x volume stays as it
is (CRSP, "Factor to Adjust Price" and "Factor to Adjust Shares").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# New shares for one old share, as companies do it. Stock dividends below 5:4 are left out: in prices alone they can't
# be told from cash.
_FORWARD = ("5/4", "4/3", "3/2", "5/3", "7/4", "2", "9/4", "7/3", "5/2", "8/3", "3", "7/2", "4", "9/2",
            *(str(many) for many in (*range(5, 21), 25, 30, 35, 40, 50, 100)))  # fmt: skip
_REVERSE = ("1/2", "2/3", "3/4", "4/5", "2/5", *(f"1/{many}" for many in (
            *range(3, 21), 25, 30, 35, 40, 45, 50, 60, 75, 80, 100, 150, 200, 500, 1000)))  # fmt: skip
RATIOS = tuple(sorted(Fraction(text) for text in (*_FORWARD, *_REVERSE)))

AROUND = 5  # candles on each side whose median share says what the share is there
FINEST = 2e-4  # relative distance from a ratio that rounding to a few decimals may cause
COARSEST = 4e-3  # beyond that neighbouring ratios could be meant


def backward(count: int, positions: Sequence[int], ratios: Sequence[float]) -> "Floats":
    """What each of `count` candles is multiplied by: the product of the ratios of the events after it.

    Shape (count,). `positions` are those of the events, in any order, 0 to `count`; several may share one.
    """
    import numpy as np

    order = np.argsort(np.asarray(positions, dtype=np.int64), kind="stable")
    places = np.asarray(positions, dtype=np.int64)[order]
    steps = np.asarray(ratios, dtype=np.float64)[order]
    # After the last event nothing is left to adjust for; each segment before has one event more.
    products = np.append(np.cumprod(steps[::-1])[::-1], 1.0)
    lengths = np.diff(np.concatenate(([0], places, [count])))
    return np.repeat(products, lengths)


def dividend_ratio(amount: float, close_before: float) -> float:
    """What the prices before an ex-date are multiplied by so that the fall by the dividend is no loss: 1 - D/C.

    C is the close of the last session before the ex-date on the same share basis as D. Backwards from the newest
    candle this gives the total-return series of CRSP (a distribution reinvested at that close) and of Yahoo's
    "Adj Close" ("Yahoo Finance Help: What is the adjusted close?": the multiplier is 1 - D/C of the day before).
    A dividend of the whole price or more can't be reinvested so: ratio 1, it is left out.
    """
    if not (0 < amount < close_before) or not math.isfinite(close_before):
        return 1.0
    return 1.0 - amount / close_before


def told_share(closes: "Floats", adjusted: "Floats", known: "Floats") -> "Floats":
    """What each close is multiplied by for total return, by the source's own adjusted closes where it gives them.

    Three arrays of shape (n,), oldest first; `adjusted` is NaN where the source said nothing, `known` the factor by the
    actions that are known. Between neighbours the source's share and ours move alike, so a hole takes what the two
    differed by at the next candle that has an adjusted close, or else at the last one before.
    """
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        excess = adjusted / closes / known
    return known * filled(np.where(np.isfinite(excess) & (excess > 0), excess, np.nan))


def filled(values: "Floats") -> "Floats":
    """Each NaN replaced by the next number, at the end by the last; 1 if there is none."""
    import numpy as np

    have = np.flatnonzero(~np.isnan(values))
    if not len(have):
        return np.ones_like(values)
    following = np.minimum(np.searchsorted(have, np.arange(len(values))), len(have) - 1)
    return np.asarray(values[have[following]], dtype=np.float64)


# --- Splits in prices that nobody has told of --------------------------------------------------------------------


@dataclass(frozen=True)
class Jump:
    """A day on which prices moved as by a split of `ratio` new shares for an old one."""

    day: date
    ratio: Fraction


@dataclass(frozen=True)
class Found:
    """What prices tell. `splits` are certain; `suspected` could be crashes as well and are for a person to judge.

    `later` is the ratio of splits after the last candle, where the adjusted closes count some already; None if not.
    """

    splits: tuple[Jump, ...] = ()
    suspected: tuple[Jump, ...] = ()
    later: Fraction | None = None


def find_splits(days: Sequence[date], opens: "Floats", closes: "Floats", adjusted: "Floats | None" = None) -> Found:
    """The splits that show in daily closes as they were traded. All arrays have the shape of `days`, oldest first.

    With `adjusted` (NaN where there is none) the share adjusted/close is the witness: a crash leaves it as it is, a
    dividend moves it by its yield, a split of k moves it by exactly k. A split is a day on which

    1. the share's median over the five candles from that day on is k times that over the five before, k one of
       `RATIOS`, to within what rounding explains (a single wrong adjusted close moves no median);
    2. the day itself makes that step;
    3. the close fell by about k: taking the split out leaves a smaller move, or one of at most six of the series'
       robust standard deviations. So nothing is found in closes that are split-adjusted already.

    A step within 5 % of a ratio is suspected: a spin-off, a special dividend, or a split with a dividend on its day.

    Without `adjusted` a day that opens and closes near 1/k of the close before, half or less or double or more, is
    only suspected: AAPL fell by 52 % overnight on 2000-09-29, and that was no split.
    """
    import numpy as np

    if len(days) < 2:
        return Found()
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.log(closes[1:] / closes[:-1])
        gaps = np.log(opens[1:] / closes[:-1])
    if adjusted is None or np.count_nonzero(np.isfinite(adjusted)) < 2:
        return Found(suspected=tuple(_suspects(days, gaps, moves)))
    has = np.flatnonzero(np.isfinite(adjusted) & (adjusted > 0) & (closes > 0))
    if len(has) < 2:
        return Found()
    shares = np.log(adjusted[has] / closes[has])
    tolerance = _tolerance(shares)
    usual = 6 * 1.4826 * float(np.nanmedian(np.abs(moves[np.isfinite(moves)]))) if np.isfinite(moves).any() else 0.0
    found: list[Jump] = []
    near: list[Jump] = []
    for place in np.flatnonzero(np.abs(np.diff(shares)) > math.log(1.2)) + 1:
        move = float(np.log(closes[has[place]] / closes[has[place - 1]]))
        ratio = _ratio_at(shares, int(place), tolerance)
        about = ratio or _ratio_at(shares, int(place), 0.05)
        if about and abs(move + math.log(about)) <= max(abs(move), usual):
            (found if ratio else near).append(Jump(days[has[place]], about))
    return Found(tuple(found), tuple(near), None if found else _later(float(shares[-1])))


def _ratio_at(shares: "Floats", place: int, tolerance: float) -> Fraction | None:
    """The ratio by which the share changes at `place` for good; None if it is none of `RATIOS`."""
    import numpy as np

    before, after = shares[max(0, place - AROUND) : place], shares[place : place + AROUND]
    lasting = float(np.median(after) - np.median(before))
    step = float(shares[place] - shares[place - 1])
    ratio = nearest(step, tolerance)
    # A dividend within the five days moves the median by its yield.
    return ratio if ratio and abs(lasting - math.log(ratio)) < 0.1 else None


def nearest(log_ratio: float, tolerance: float) -> Fraction | None:
    """The one of `RATIOS` whose logarithm is within `tolerance` of this; None if none is."""
    best = min(RATIOS, key=lambda ratio: abs(math.log(ratio) - log_ratio))
    return best if abs(math.log(best) - log_ratio) <= tolerance else None


def _tolerance(shares: "Floats") -> float:
    """Twenty times the usual day's noise of the share, which rounding makes, between `FINEST` and `COARSEST`."""
    import numpy as np

    return float(np.clip(20 * np.median(np.abs(np.diff(shares))), FINEST, COARSEST))


def _later(last: float) -> Fraction | None:
    """The splits after the last candle, by its share: 3:2 and more, or 2:3 and less, to within half a per cent.

    Dividends after the last candle lower the share as well, so what is further off says nothing.
    """
    ratio = nearest(-last, 0.005)
    return ratio if ratio and (ratio >= Fraction(3, 2) or ratio <= Fraction(2, 3)) else None


def _suspects(days: Sequence[date], gaps: "Floats", moves: "Floats") -> list[Jump]:
    import numpy as np

    found = []
    big = np.isfinite(gaps) & np.isfinite(moves) & (np.minimum(np.abs(gaps), np.abs(moves)) > math.log(1.45))
    for place in np.flatnonzero(big):
        ratio = nearest(-float(gaps[place] + moves[place]) / 2, 0.1)
        if ratio and abs(gaps[place] - moves[place]) < 0.2:
            found.append(Jump(days[int(place) + 1], ratio))
    return found


def scaled(number: str | None, by: Fraction, decimals: int) -> str | None:
    """A decimal text times a fraction, exact but for the last of `decimals`, rounded half away from zero there."""
    if number is None:
        return None
    exact = Fraction(number) * by
    unit = 10**decimals
    size = (abs(exact) * unit * 2 + 1) // 2
    text = f"{size // unit}.{size % unit:0{decimals}d}".rstrip("0").rstrip(".")
    return f"-{text}" if exact < 0 and size else text


def fraction(value: Any) -> Fraction:
    """A stored ratio of twelve decimals as the fraction it was meant to be: 0.333333333333 is 1/3."""
    exact = Fraction(str(value))
    near = exact.limit_denominator(10_000)
    return near if abs(near - exact) <= Fraction(1, 10**12) else exact
