"""The battery that every kind of strategy must pass. The subclass gives the kind and parameters worth trying.

A user's own kind may be put through it as well: subclass, name it `Test…`, and have pytest find it.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signals import bias
from signals.strategies.deciding import decide, warmup_of
from signals.strategies.declaring import BadParameters, Kind, Parameter
from tests.signals.candles import after, bars_of, candles, upto, walk


def value_of(parameter: Parameter, most: int = 40) -> st.SearchStrategy[Any]:
    """Values that a parameter allows; periods stay short, so that short histories are enough to decide something."""
    if parameter.type is bool:
        return st.booleans()
    if parameter.type is str:
        return st.sampled_from(parameter.choices) if parameter.choices else st.just(parameter.default)
    low = parameter.low if parameter.low is not None else -most
    high = parameter.high if parameter.high is not None else most
    if parameter.type is int:
        return st.integers(int(low), int(min(high, max(low, most))))
    return st.floats(low, high, allow_nan=False)


def agreeing(kind: Kind, drawn: dict[str, Any]) -> dict[str, Any]:
    """Those of them that agree with each other; the others have their defaults."""
    while drawn:
        try:
            kind.checked(drawn)
            break
        except BadParameters as bad:
            named = drawn.keys() & bad.problems.keys() or drawn.keys()
            drawn = {name: value for name, value in drawn.items() if name not in named}
    return drawn


class StrategyContract:
    kind: Kind
    samples: tuple[dict[str, Any], ...] = ({},)  # parameters that decide something within 1,000 bars

    def same(self, one: Any, other: Any, length: int) -> None:
        """Both decide exactly the same on the first `length` bars."""
        np.testing.assert_array_equal(one.entries[:length], other.entries[:length])
        np.testing.assert_array_equal(one.exits[:length], other.exits[:length])
        assert (one.stops is None) == (other.stops is None)
        if one.stops is not None:
            np.testing.assert_array_equal(one.stops[:length], other.stops[:length])

    def test_it_tells_a_person_what_it_is(self):
        assert self.kind.label
        assert self.kind.summary.endswith(".")
        assert 2 <= self.kind.explanation.count(". ") + 1 <= 5
        for parameter in self.kind.parameters:
            assert parameter.label, parameter.name
            assert parameter.help.endswith("."), parameter.name
            if parameter.type in (int, float):
                assert parameter.low is not None, parameter.name
                assert parameter.high is not None, parameter.name

    def test_its_defaults_are_good_parameters(self):
        values = self.kind.checked({})
        assert {name: type(value) for name, value in values.items()} == {p.name: p.type for p in self.kind.parameters}

    def test_its_limits_hold(self):
        for parameter in self.kind.parameters:
            if parameter.type in (int, float):
                for beyond in (parameter.low - 1, parameter.high + 1):
                    with pytest.raises(BadParameters) as caught:
                        self.kind.checked({parameter.name: beyond})
                    assert parameter.label in caught.value.problems[parameter.name]

    def test_it_decides_something_and_nothing_while_it_warms_up(self):
        bars = walk(1_000, seed=3)
        for params in self.samples:
            found, quiet = decide(self.kind, params, bars), warmup_of(self.kind, params)
            assert found.entries.dtype == found.exits.dtype == np.int8
            assert (found.entries == 1).any(), params
            assert not found.entries[:quiet].any()
            assert not found.exits[:quiet].any()
            if self.kind.sells_short:
                assert {-1, 1} <= set(found.entries.tolist())
                assert {1, 2} <= set((found.exits & 1).tolist()) | set((found.exits & 2).tolist())
            else:
                assert not (found.entries < 0).any()
                assert not (found.exits & 2).any()

    def test_few_bars_are_no_trouble(self):
        for length in range(8):
            found = decide(self.kind, {}, bars_of(np.linspace(10, 11, length)), warmup=False)
            assert len(found.entries) == len(found.exits) == length

    def test_prices_that_stand_still_are_no_reason(self):
        if not self.kind.anchored:
            for params in self.samples:
                found = decide(self.kind, params, bars_of(np.full(600, 10.1), spread=0))
                assert not found.entries.any()

    def test_prices_that_come_to_a_stand_are_no_reason_once_they_are_all_that_is_seen(self):
        """Whatever it averages is then one number, added up in different ways: rounding must not decide."""
        if self.kind.anchored:
            return
        for seed in range(25):
            moving = 50 + np.random.default_rng(seed).normal(0, 0.1, 250).cumsum().round(2)
            bars = bars_of(np.concatenate([moving, np.full(250, moving[-1])]), spread=0)
            for params in self.samples:
                longest = max((value for value in self.kind.checked(params).values() if type(value) is int), default=0)
                found = decide(self.kind, params, bars, warmup=False)
                assert not found.entries[248 + longest :].any(), params

    def test_it_writes_to_nothing_it_was_given(self):
        bars = walk(300)
        kept = [getattr(bars, name).copy() for name in ("open", "high", "low", "close", "volume")]
        self.kind.decide(bars, self.kind.checked({}))
        for name, column in zip(("open", "high", "low", "close", "volume"), kept, strict=True):
            np.testing.assert_array_equal(getattr(bars, name), column)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors])  # it is inherited
    @given(data=st.data(), bars=candles(low=2))
    def test_appending_candles_never_changes_what_was_decided(self, data, bars):
        params = agreeing(
            self.kind, data.draw(st.fixed_dictionaries({p.name: value_of(p) for p in self.kind.parameters}))
        )
        whole = decide(self.kind, params, bars, warmup=False)
        for length in data.draw(st.sets(st.integers(0, len(bars)), min_size=1, max_size=4)):
            self.same(decide(self.kind, params, upto(bars, length), warmup=False), whole, length)

    def test_where_the_data_begins_does_not_matter_after_its_warmup(self):
        bars = walk(2_000, seed=5)
        if self.kind.anchored:
            return
        for params in self.samples:
            quiet, whole = warmup_of(self.kind, params), decide(self.kind, params, bars)
            for start in (1, 17, 400):
                later = decide(self.kind, params, after(bars, start))
                np.testing.assert_array_equal(whole.entries[start + quiet :], later.entries[quiet:])
                np.testing.assert_array_equal(whole.exits[start + quiet :], later.exits[quiet:])
                if whole.stops is not None:
                    np.testing.assert_allclose(whole.stops[start + quiet :], later.stops[quiet:], rtol=1e-4)

    def test_the_bias_guard_finds_nothing(self):
        for params in self.samples:
            report = bias.check(self.kind, params, walk(1_500, seed=7), cuts=range(0, 1_500, 40))
            assert report.sound, report.text
            assert report.suspect is None, report.text
