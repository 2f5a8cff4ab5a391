"""The bias guard: those who only look back are left alone, every way of cheating is caught and named."""

import json
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals import bias, indicators
from signals.strategies import builtin
from signals.strategies.deciding import StrategyFault
from signals.strategies.declaring import BadParameters, Kind, Parameter, Rule
from tests.signals.candles import bars_of, google, upto, walk


def of(rule, warmup=0, **more):
    return Kind(name="mine", label="Mine", summary="Mine.", parameters=(), warmup=lambda p: warmup, decide=rule, **more)


# Ways to cheat. Each is written as somebody would write it who does not notice.


def knows_tomorrows_close(bars, p):
    up = np.zeros(len(bars), bool)
    up[:-1] = bars.close[1:] > bars.close[:-1]
    return Rule(enter_long=up, exit_long=~up)


def centred(values, width=5):
    return np.convolve(values, np.ones(width) / width, "same") if len(values) >= width else values.copy()


def trusts_a_centred_mean(bars, p):
    return Rule(enter_long=indicators.crossed_above(bars.close, centred(bars.close)))


def scaled(values):
    return values / values.max() if len(values) else values


def normalises_by_the_global_maximum(bars, p):
    return Rule(enter_long=scaled(bars.close) > 0.7, exit_long=scaled(bars.close) < 0.6)


def rolls_the_wrong_way(bars, p):
    coming = np.roll(indicators.sma(bars.close, 5), -1)
    return Rule(enter_long=coming > indicators.sma(bars.close, 5))


def reads_backwards(bars, p):
    """Hands an honest indicator something that has looked ahead already."""
    return Rule(enter_long=indicators.sma(bars.close[::-1], 10) > indicators.sma(bars.close, 10))


def backwards(values):
    """The helper hides the cheat from the indicator that it calls."""
    return indicators.ema(values[::-1], 10)[::-1]


def asks_a_helper(bars, p):
    return Rule(enter_long=bars.close > backwards(bars.close))


def stops_at_the_coming_low(bars, p):
    low = np.append(bars.low[1:], np.nan)
    return Rule(enter_long=indicators.rose_above(bars.close, indicators.sma(bars.close, 9)), stop_long=low)


def changes_its_mind_with_more_candles(bars, p):
    period = 5 if len(bars) < 500 else 20
    return Rule(enter_long=bars.close > indicators.sma(bars.close, period))


def fills_from_behind(bars, p):
    import pandas as pd

    known = pd.Series(bars.close).where(np.arange(len(bars)) % 5 == 0)
    return Rule(enter_long=(bars.close < known.bfill()).to_numpy())


class Callable:
    def __call__(self, bars, p):
        return Rule(enter_long=np.append(bars.close[2:] > bars.close[:-2], [False, False])[: len(bars)])


@pytest.mark.parametrize(
    ("rule", "named", "is_rule"),
    [
        (knows_tomorrows_close, "knows_tomorrows_close", True),
        (trusts_a_centred_mean, "centred", False),
        (normalises_by_the_global_maximum, "scaled", False),
        (rolls_the_wrong_way, "rolls_the_wrong_way", True),
        (reads_backwards, "reads_backwards", True),
        (asks_a_helper, "backwards", False),
        (stops_at_the_coming_low, "stops_at_the_coming_low", True),
        (changes_its_mind_with_more_candles, "changes_its_mind_with_more_candles", True),
        (fills_from_behind, "fills_from_behind", True),
        (Callable(), "Callable.__call__", True),
    ],
)
def test_who_looks_ahead_is_caught_and_named(rule, named, is_rule):
    report = bias.check(of(rule), {}, upto(google(), 1_000), cuts=range(0, 1_000, 7))
    assert report.looks_ahead
    assert not report.sound
    guilty = report.guilty
    assert (guilty.function, guilty.is_rule) == (named, is_rule)
    assert guilty.module == __name__
    assert guilty.file == __file__
    first = getattr(sys.modules[__name__], named.partition(".")[0])
    line = (first.__call__ if isinstance(first, type) else first).__code__.co_firstlineno
    assert guilty.line == line
    assert guilty.before != guilty.after
    assert 0 <= guilty.bar < guilty.bars_known < 1_000
    assert named in report.text
    assert f"line {line}" in report.text
    assert "looks ahead" in report.text
    assert json.loads(json.dumps(report.as_data()))["guilty"]["function"] == named


def test_a_guilty_indicator_is_named_rather_than_the_rule_that_trusts_it(monkeypatch):
    def slope(values, period):
        """As the honest one, but the last bars see the whole."""
        found = indicators.sma(values, period)
        return found - np.nanmean(found) if len(found) >= period else found

    monkeypatch.setattr(slope, "__module__", "signals.indicators")
    monkeypatch.setitem(bias.INDICATORS, "slope", replace(bias.INDICATORS["slope"], function=slope))
    for name in ("sma", "slope"):
        assert name in bias.INDICATORS

    def trusting(bars, p):
        return Rule(enter_long=indicators.crossed_above(slope(bars.close, 9), np.zeros(len(bars))))

    report = bias.check(of(trusting), {}, walk(800))
    assert report.guilty.function.endswith("slope")
    assert not report.guilty.is_rule


@pytest.mark.parametrize("kind", builtin.KINDS, ids=lambda kind: kind.name)
def test_the_built_in_kinds_only_look_back(kind):
    report = bias.check(kind, {}, google())
    assert report.sound, report.text
    assert not report.looks_ahead
    assert report.guilty is None
    assert report.decisions > 0
    assert report.cuts >= 30
    assert "only looks back" in report.text
    assert report.start.matters == kind.anchored


@settings(max_examples=15)
@given(
    shift=st.integers(1, 20),
    column=st.sampled_from(["high", "low", "close"]),
    seed=st.integers(0, 1_000),
    period=st.integers(1, 30),
)
def test_a_look_of_any_length_into_any_column_is_caught(shift, column, seed, period):
    def rule(bars, p):
        values = indicators.sma(getattr(bars, column), period)
        coming = np.append(values[shift:], np.full(min(shift, len(values)), np.nan))
        return Rule(enter_long=coming > values, enter_short=coming < values)

    report = bias.check(of(rule), {}, walk(120, seed=seed))
    assert report.looks_ahead
    assert report.guilty.is_rule


def test_one_bar_of_knowledge_in_a_single_place_is_caught():
    """A leak that shows on few bars only: the beginnings that end with a decision find it."""

    def rule(bars, p):
        enter = indicators.crossed_above(indicators.sma(bars.close, 20), indicators.sma(bars.close, 50))
        falls = np.append(bars.close[1:] < bars.close[:-1] * 0.99, False)
        return Rule(enter_long=enter & ~falls[: len(enter)])

    report = bias.check(of(rule, warmup=50), {}, google())
    assert report.looks_ahead
    assert all(change.bar == change.bars_known - 1 for change in report.changes)


def test_who_looks_ahead_without_changing_a_decision_is_suspected():
    rising = bars_of(np.linspace(100, 200, 300))
    report = bias.check(of(lambda bars, p: Rule(enter_long=scaled(bars.close) > 0.1)), {}, rising)
    assert report.sound
    assert report.suspect.function == "scaled"
    assert "beware of scaled" in report.text


# Where the data begins.


def sums_up(bars, p):
    """On-balance volume is summed up since the first candle."""
    moves = np.sign(np.diff(bars.close, prepend=bars.close[:1]))
    return Rule(enter_long=np.cumsum(moves * bars.volume) > 3_000)


def test_a_sum_since_the_first_candle_is_told_apart():
    report = bias.check(of(sums_up), {}, walk(1_000))
    assert not report.looks_ahead
    assert report.guilty is None
    assert not report.sound
    assert report.start.matters
    assert report.start.needed > 100
    assert len(report.start.changes) == bias.KEPT
    assert "depends on where the data begins" in report.text


def test_a_warmup_that_is_too_short_is_measured():
    rsi = replace(builtin.RSI_REVERSION, warmup=lambda p: p["period"])
    report = bias.check(rsi, {}, walk(3_000, seed=4))
    assert not report.sound
    assert 14 < report.start.needed <= builtin.RSI_REVERSION.warmup({"period": 14})
    assert f"while its warmup is {14}" in report.text
    assert bias.check(builtin.RSI_REVERSION, {}, walk(3_000, seed=4)).sound


def test_who_means_to_begin_with_the_data_is_not_blamed():
    report = bias.check(builtin.BUY_AND_HOLD, {}, walk(300))
    assert report.sound
    assert report.start.matters
    assert "and is meant to" in report.text
    assert not bias.check(replace(builtin.BUY_AND_HOLD, anchored=False), {}, walk(300)).sound


# Other faults.


def test_a_throw_of_dice_is_told():
    dice = random.Random(3)

    def rule(bars, p):
        return Rule(enter_long=[dice.random() < 0.5 for _ in range(len(bars))])

    report = bias.check(of(rule), {}, walk(100))
    assert not report.sound
    assert "decides differently each time" in report.text


def test_a_rule_that_fails_on_few_candles_is_told_with_its_error():
    def rule(bars, p):
        return Rule(enter_long=bars.close > bars.close[10])

    report = bias.check(of(rule), {}, walk(100))
    assert not report.sound
    assert not report.looks_ahead
    assert "fails while few candles are known" in report.text
    assert "IndexError" in report.text
    assert "on 0 bars" in report.faults[0]


def test_what_cannot_be_checked_is_refused():
    def broken(bars, p):
        raise RuntimeError("no luck")

    with pytest.raises(StrategyFault, match="no luck"):
        bias.check(of(broken), {}, walk(50))
    with pytest.raises(BadParameters):
        bias.check(builtin.SMA_CROSS, {"fast": 0}, walk(50))


@pytest.mark.parametrize("length", [0, 1, 2, 5, 31])
def test_few_candles_are_no_trouble_and_say_little(length):
    report = bias.check(builtin.SMA_CROSS, {}, walk(length))
    assert report.sound
    assert "says little" in report.text
    assert json.dumps(report.as_data())


def test_chosen_cuts_are_the_ones_tried_and_it_is_the_same_each_time():
    assert bias.check(builtin.SMA_CROSS, {}, walk(500), cuts=[100, 200, 200, 900]).cuts == 2
    assert bias.check(of(knows_tomorrows_close), {}, walk(500)) == bias.check(of(knows_tomorrows_close), {}, walk(500))


def test_a_profiler_that_was_there_is_there_afterwards():
    seen = []

    def profiler(*_):
        seen.append(1)

    sys.setprofile(profiler)
    try:
        bias.check(of(knows_tomorrows_close), {}, walk(200))
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)


def test_a_rule_with_parameters_and_standing_prices_is_checked_too():
    kind = replace(
        of(lambda bars, p: Rule(enter_long=bars.close > indicators.before(bars.close, p["by"])), warmup=9),
        parameters=(Parameter("by", "By", int, 3, 1, 9),),
    )
    assert bias.check(kind, {"by": "9"}, bars_of(np.full(100, 5.0))).sound
