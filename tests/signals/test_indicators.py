"""Indicators: Wilder's and the textbook's figures, never a look ahead, and warmups that are measured."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals import indicators
from signals.indicators import INDICATORS
from tests.signals.candles import bars_of, candles, google, walk

RECURSIVE = [name for name, one in INDICATORS.items() if one.recursive]
COMPARED = ("above", "below", "crossed_above", "rose_above", "fell_below")


def inputs(indicator, bars):
    """Its arrays: the columns it names; where any will do, closes, and a second one that crosses them."""
    others = {"values": bars.close, "one": bars.close, "other": bars.open}
    return [others[name] if name in others else getattr(bars, name) for name in indicator.inputs]


def outputs(indicator, bars, *settings):
    found = indicator.function(*inputs(indicator, bars), *settings)
    return found if isinstance(found, tuple) else (found,)


def some_settings(indicator, most=12):
    """Settings in order, small enough for short histories. A fast average is faster than a slow one."""
    if indicator.name == "macd":
        return st.tuples(st.integers(2, 5), st.integers(6, 12), st.integers(1, 6))
    return st.tuples(
        *(
            st.integers(int(one.low), most) if one.type is int else st.floats(0, 5, allow_nan=False)
            for one in indicator.settings
        )
    )


each = pytest.mark.parametrize("indicator", INDICATORS.values(), ids=INDICATORS)


@each
@settings(max_examples=40)
@given(data=st.data(), bars=candles())
def test_appending_candles_never_changes_a_value(indicator, data, bars):
    given = data.draw(some_settings(indicator))
    whole = outputs(indicator, bars, *given)
    assert len(whole) == len(indicator.outputs)
    for length in data.draw(st.sets(st.integers(0, len(bars)), max_size=4)):
        shorter = type(bars)(*(getattr(bars, name)[:length] for name in bars.__dataclass_fields__))
        for then, now in zip(outputs(indicator, shorter, *given), whole, strict=True):
            np.testing.assert_array_equal(then, now[:length])


@each
def test_it_gives_as_much_as_it_gets_and_writes_to_nothing(indicator):
    for length in (0, 1, 2, 3, 30, 400):
        bars = walk(length)
        arrays = inputs(indicator, bars)
        kept = [one.copy() for one in arrays]
        given = [12 if one.default is None else one.default for one in indicator.settings]
        found = outputs(indicator, bars, *given)
        for array, before in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(array, before)
        for one in found:
            assert one.shape == (length,)
            assert not any(np.shares_memory(one, array) for array in arrays)
            assert one.dtype == (bool if indicator.name in COMPARED else float)
            known = np.flatnonzero(~np.isnan(one))
            assert len(known) == 0 or (known == np.arange(known[0], length)).all(), "a hole after the first value"
            first = len(one) if len(known) == 0 else known[0]
            assert first <= indicator.warmup(*given), "its first value comes later than it says"
            if not indicator.recursive and indicator.name not in COMPARED and length > 100:
                assert max(np.isnan(other).sum() for other in found) == indicator.warmup(*given)


@each
def test_slices_views_and_lists_are_read_like_arrays(indicator):
    bars = walk(200)
    wide = {name: np.repeat(getattr(bars, name), 2) for name in bars.__dataclass_fields__}
    for array in wide.values():
        array.flags.writeable = False
    sliced = type(bars)(**{name: array[::2] for name, array in wide.items()})
    given = [5 if one.default is None else one.default for one in indicator.settings]
    for plain, view in zip(outputs(indicator, bars, *given), outputs(indicator, sliced, *given), strict=True):
        np.testing.assert_array_equal(plain, view)


@each
def test_a_setting_out_of_range_is_named(indicator):
    bars = walk(50)
    for place, setting in enumerate(indicator.settings):
        for wrong in (setting.low - 1, 10**9, "many", 2.5 if setting.type is int else float("nan"), True):
            given = [12 if one.default is None else one.default for one in indicator.settings]
            given[place] = wrong
            with pytest.raises(ValueError, match=f"{setting.name} must be"):
                outputs(indicator, bars, *given)


# Wilder's and the textbook's definitions, bar by bar.


def plain_wilder(values, period, first):
    """Wilder's average of `values` from bar `first` on: the mean of the first `period`, then 1/period of each."""
    found = [float("nan")] * len(values)
    at = first + period - 1
    if at < len(values):
        found[at] = sum(values[first : at + 1]) / period
        for bar in range(at + 1, len(values)):
            found[bar] = (found[bar - 1] * (period - 1) + values[bar]) / period
    return np.array(found)


def plain_rsi(close, period):
    moves = np.diff(close, prepend=close[0])
    up = plain_wilder(np.maximum(moves, 0), period, 1)
    down = plain_wilder(np.maximum(-moves, 0), period, 1)
    return 100 * up / (up + down)


def plain_true_range(high, low, close):
    before = np.concatenate([[np.nan], close[:-1]])
    return np.maximum(high, before) - np.minimum(low, before)


def plain_ema(values, period, first=0):
    found = [float("nan")] * len(values)
    at = first + period - 1
    found[at] = sum(values[first : at + 1]) / period
    for bar in range(at + 1, len(values)):
        found[bar] = found[bar - 1] + (values[bar] - found[bar - 1]) * 2 / (period + 1)
    return np.array(found)


def windowed(values, period, of):
    found = np.full(len(values), np.nan)
    for bar in range(period - 1, len(values)):
        found[bar] = of(values[bar - period + 1 : bar + 1])
    return found


def agree(ours, plain):
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("period", [2, 3, 14, 20])
def test_windows_are_the_textbooks(period):
    bars = google()
    close = bars.close[:400]
    weights = np.arange(1, period + 1)
    agree(indicators.sma(close, period), windowed(close, period, np.mean))
    agree(indicators.wma(close, period), windowed(close, period, lambda w: (w * weights).sum() / weights.sum()))
    agree(indicators.deviation(close, period), windowed(close, period, lambda w: np.std(w, ddof=0)))
    agree(indicators.slope(close, period), windowed(close, period, lambda w: np.polyfit(range(period), w, 1)[0]))
    agree(indicators.highest(close, period), windowed(close, period, max))
    agree(indicators.lowest(close, period), windowed(close, period, min))
    agree(indicators.roc(close, period)[period:], 100 * (close[period:] / close[:-period] - 1))
    upper, middle, lower = indicators.bollinger(close, period, 2.5)
    agree(upper - middle, 2.5 * windowed(close, period, np.std))
    agree(middle - lower, 2.5 * windowed(close, period, np.std))


@pytest.mark.parametrize("period", [2, 5, 14])
def test_recursions_are_wilders(period):
    bars = google()
    high, low, close = bars.high[:300], bars.low[:300], bars.close[:300]
    agree(indicators.rsi(close, period), plain_rsi(close, period))
    agree(indicators.true_range(high, low, close), plain_true_range(high, low, close))
    agree(indicators.atr(high, low, close, period), plain_wilder(plain_true_range(high, low, close), period, 1))
    agree(indicators.ema(close, period), plain_ema(close, period))


def test_macd_is_the_difference_of_two_averages_that_begin_together():
    close = google().close[:300]
    line, signal, histogram = indicators.macd(close, 12, 26, 9)
    difference = plain_ema(close, 12, 14) - plain_ema(close, 26)
    agree(line[33:], difference[33:])
    agree(signal, np.concatenate([np.full(25, np.nan), plain_ema(difference[25:], 9)]))
    agree(histogram, line - signal)


def test_the_adx_of_a_straight_rise_is_full_and_its_value_on_google_is_known():
    assert indicators.adx(*(np.arange(1.0, 80) + shift for shift in (1, -1, 0)), 14)[-1] == pytest.approx(100)
    bars = google()
    high, low, close = bars.high, bars.low, bars.close
    up, down = np.diff(high, prepend=high[0]), -np.diff(low, prepend=low[0])
    # Sums of Wilder's, which start one bar short; what is left of that is forgotten long before the end.
    ranges = plain_wilder(plain_true_range(high, low, close), 14, 1)
    plus = 100 * plain_wilder(np.where((up > down) & (up > 0), up, 0), 14, 1) / ranges
    minus = 100 * plain_wilder(np.where((down > up) & (down > 0), down, 0), 14, 1) / ranges
    plain = plain_wilder(100 * abs(plus - minus) / (plus + minus), 14, 14)
    np.testing.assert_allclose(indicators.adx(high, low, close, 14)[500:], plain[500:], rtol=1e-9)


def test_what_does_not_move_is_neither_weak_nor_strong():
    still = bars_of(np.full(60, 10.1), spread=0)
    assert set(indicators.rsi(still.close, 14)[14:]) == {50.0}
    assert set(indicators.stochastic(still.high, still.low, still.close)[0][13:]) == {50.0}
    assert set(indicators.deviation(still.close, 14)[13:]) == {0.0}
    falling = np.concatenate([np.arange(60.0, 20, -1), np.full(5, 21.0)])
    assert indicators.rsi(falling, 14)[-1] == 0  # it did move, and only down


def test_crossing_is_strict_on_both_bars_and_rising_above_is_not():
    one, other = np.array([1.0, 2, 3, 1, 3, np.nan, 4]), np.full(7, 2.0)
    assert indicators.crossed_above(one, other).tolist() == [False, False, False, False, True, False, False]
    assert indicators.rose_above(one, other).tolist() == [False, False, True, False, True, False, False]
    assert indicators.rose_above(one, 2.0).tolist() == indicators.rose_above(one, other).tolist()
    assert indicators.fell_below(-one, -2.0).tolist() == indicators.rose_above(one, 2.0).tolist()


def test_what_differs_by_rounding_is_equal():
    one = np.array([1.0, 3.0, 3.0 + 1e-13, 3.0 - 1e-13, 3.1, -3.0 + 1e-13])
    other = np.array([2.0, 3.0, 3.0, 3.0, 3.0, -3.0])
    assert indicators.above(one, other).tolist() == [False, False, False, False, True, False]
    assert indicators.below(one, other).tolist() == [True, False, False, False, False, False]
    assert indicators.crossed_above(one, other).tolist() == [False] * 6
    assert indicators.rose_above(one, other).tolist() == [False, False, False, False, True, False]


def test_before_is_the_value_of_bars_before():
    values = np.array([1.0, 2, 3])
    np.testing.assert_array_equal(indicators.before(values), [np.nan, 1, 2])
    np.testing.assert_array_equal(indicators.before(values, 5), [np.nan] * 3)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="same length"):
        indicators.atr(np.ones(5), np.ones(4), np.ones(5), 2)
    with pytest.raises(ValueError, match="must be less than slow"):
        indicators.macd(np.ones(50), 26, 12)


# How long a recursion remembers how it began.


def remembered(name, periods, start, bars):
    """The part of the first error that is left, by bars since `start`: the indicator on all bars against the same on
    the bars since. An index has the error of its whole scale, MACD that of its slow average."""
    indicator = INDICATORS[name]
    later = type(bars)(*(getattr(bars, column)[start:] for column in bars.__dataclass_fields__))
    parts, seed = [], 100.0 if name in ("rsi", "adx") else None
    if name == "macd":
        seed = np.nanmax(
            np.abs(indicators.ema(bars.close, periods[1])[start:] - indicators.ema(later.close, periods[1]))
        )
    for whole, cut in zip(outputs(indicator, bars, *periods), outputs(indicator, later, *periods), strict=True):
        error = np.abs(whole[start:] - cut)
        parts.append(error / (seed if seed else np.nanmax(error[: sum(periods) + 5])))
    return np.fmax.reduce(parts)


@pytest.mark.parametrize(
    ("name", "periods"),
    [
        *[("ema", (period,)) for period in (2, 10, 50, 200)],
        *[(name, (period,)) for name in ("rsi", "atr", "adx") for period in (2, 7, 14, 50)],
        *[("macd", given) for given in ((12, 26, 9), (5, 35, 5), (20, 100, 50))],
    ],
)
def test_a_warmup_is_long_enough_measured(name, periods):
    needed = indicators.warmup(name, *periods)
    for seed in range(4):
        bars = walk(1_500 + 4 * needed, seed=seed)
        for start in (1, 101, 1_000):
            left = remembered(name, periods, start, bars)[needed:]
            assert np.nanmax(left) <= 1.5 * indicators.SEED_WEIGHT, f"{name}{periods} from bar {start}"


@pytest.mark.parametrize("period", [2, 10, 50, 200])
def test_a_warmup_is_no_longer_than_it_must_be(period):
    """An average's error falls as the formula says: one bar before its warmup it is still above the tolerance."""
    left = remembered("ema", (period,), 300, walk(6_000))
    needed = indicators.warmup("ema", period)
    assert left[needed] <= indicators.SEED_WEIGHT * 1.0001 < left[needed - 1] * 1.0002
    weight = (1 - 2 / (period + 1)) ** (needed - (period - 1))
    assert left[needed] == pytest.approx(weight, rel=1e-3)


def test_recursive_indicators_say_so_and_how_their_warmup_was_found():
    assert set(RECURSIVE) == {"ema", "rsi", "macd", "atr", "adx"}
    for name in RECURSIVE:
        assert "armup" in INDICATORS[name].function.__doc__
    assert {name: indicators.warmup(name, 14) for name in ("ema", "rsi", "atr", "adx")} == {
        "ema": 78,
        "rsi": 139,
        "atr": 139,
        "adx": 186,
    }
    for indicator in INDICATORS.values():
        assert indicator.label
        assert indicator.summary.endswith(".")


def test_naming_indicators_and_their_warmups_costs_the_web_process_nothing():
    code = (
        "import sys; from signals import indicators; from signals.strategies import registry;"
        "[kind.warmup(kind.checked({})) for kind in registry.kinds().values()];"
        "print([name for name in ('numpy', 'talib', 'numba', 'pandas', 'django') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
