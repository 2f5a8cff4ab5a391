"""Kinds of strategies: the built-in ones through the battery, what a rule's answer becomes, packages of one's own."""

import json
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals import indicators
from signals.strategies import builtin, registry
from signals.strategies.deciding import StrategyFault, decide, warmup_of
from signals.strategies.declaring import BadDeclaration, BadParameters, Kind, Parameter, Rule
from tests.contracts.strategy import StrategyContract
from tests.signals.candles import bars_of, google, walk


class TestSmaCross(StrategyContract):
    kind = builtin.SMA_CROSS
    samples = ({}, {"fast": 1, "slow": 2}, {"fast": 20, "slow": 100})


class TestRsiReversion(StrategyContract):
    kind = builtin.RSI_REVERSION
    samples = ({}, {"period": 2, "oversold": 10, "overbought": 90}, {"period": 5, "middle": 60})


class TestBollingerBreakout(StrategyContract):
    kind = builtin.BOLLINGER_BREAKOUT
    samples = ({}, {"period": 50, "deviations": 1}, {"period": 5, "deviations": 1.5})


class TestDonchian(StrategyContract):
    kind = builtin.DONCHIAN
    samples = ({}, {"entry": 55, "exit": 20}, {"stop": 0}, {"entry": 10, "exit": 5, "atr": 5})


class TestBuyAndHold(StrategyContract):
    kind = builtin.BUY_AND_HOLD


def where(flags):
    return np.flatnonzero(flags).tolist()


class TestGoogle:
    """The decisions behind the trades that four other engines agree on: each is filled on the bar after."""

    def test_sma_cross(self):
        found = decide(builtin.SMA_CROSS, {"fast": 10, "slow": 30}, google())
        assert where(found.entries == 1)[:5] == [85, 118, 159, 266, 298]
        assert where(found.exits & 1)[:6] == [69, 112, 127, 242, 293, 364]
        # In a row, a long is entered 33 times; the last is still open at the end: 32 closed trades.
        assert len(where(found.entries == 1)) == len(where(found.exits & 1)) == 33
        assert where(found.entries == -1) == where(found.exits & 1)
        assert where(found.exits & 2) == where(found.entries == 1)
        assert found.stops is None

    def test_donchian_by_hand(self):
        bars = google()
        found = decide(builtin.DONCHIAN, {"entry": 20, "exit": 10}, bars, warmup=False)
        for bar in range(21, len(bars)):
            above = bars.close[bar] > bars.high[bar - 20 : bar].max()
            below = bars.close[bar] < bars.low[bar - 20 : bar].min()
            assert found.entries[bar] == int(above) - int(below)
            leave_long = bars.close[bar] < bars.low[bar - 10 : bar].min()
            leave_short = bars.close[bar] > bars.high[bar - 10 : bar].max()
            assert found.exits[bar] == int(leave_long) + 2 * int(leave_short)
            assert np.isfinite(found.stops[bar]) == (found.entries[bar] != 0)

    def test_a_turtles_stop_is_two_n_from_the_close(self):
        bars = google()
        found = decide(builtin.DONCHIAN, {"atr": 20, "stop": 2}, bars)
        n = indicators.atr(bars.high, bars.low, bars.close, 20)
        entries = where(found.entries)
        assert len(entries) > 50
        for bar in entries:
            assert found.stops[bar] == pytest.approx(bars.close[bar] - found.entries[bar] * 2 * n[bar])

    def test_rsi_reversion_leaves_at_its_level(self):
        found = decide(builtin.RSI_REVERSION, {}, google())
        rsi = indicators.rsi(google().close, 14)
        for bar in where(found.entries == 1):
            assert rsi[bar] < 30 <= rsi[bar - 1]
        for bar in where(found.entries == -1):
            assert rsi[bar] > 70 >= rsi[bar - 1]
        assert where(found.exits & 1) == [bar for bar in range(140, len(rsi)) if rsi[bar] >= 50]

    def test_bollinger_breakout_leaves_at_the_middle(self):
        bars = google()
        found = decide(builtin.BOLLINGER_BREAKOUT, {}, bars)
        for bar in where(found.entries == 1):
            window = bars.close[bar - 19 : bar + 1]
            assert bars.close[bar] > window.mean() + 2 * window.std()
        assert len(where(found.entries == 1)) > 50
        for bar in range(20, len(bars)):
            assert bool(found.exits[bar] & 1) == (bars.close[bar] < bars.close[bar - 19 : bar + 1].mean())

    def test_buy_and_hold_buys_once(self):
        found = decide(builtin.BUY_AND_HOLD, {}, google())
        assert where(found.entries) == [0]
        assert not found.exits.any()


@pytest.mark.parametrize(
    ("kind", "given", "named", "says"),
    [
        ("sma-cross", {"fast": 30, "slow": 30}, "fast", "must be shorter than the slow one"),
        ("sma-cross", {"fast": "ten"}, "fast", "a whole number, from 1 to 500 bars"),
        ("sma-cross", {"quick": 3}, "quick", "has no parameter 'quick'; it has fast, slow"),
        ("rsi-reversion", {"oversold": 50}, "oversold", "must lie below the exit level"),
        ("rsi-reversion", {"overbought": 40}, "overbought", "must lie above the exit level"),
        ("bollinger-breakout", {"deviations": 0}, "deviations", "from 0.1 to 6 deviations"),
        ("donchian", {"stop": -1}, "stop", "from 0 to 20 N"),
        ("buy-and-hold", {"fast": 3}, "fast", "it has none"),
    ],
)
def test_bad_parameters_are_named_with_the_remedy(kind, given, named, says):
    with pytest.raises(BadParameters) as caught:
        registry.kind_named(kind).checked(given)
    assert says in caught.value.problems[named]


def test_an_unknown_kind_is_told_which_there_are():
    with pytest.raises(
        registry.UnknownKind, match="sma-cross, rsi-reversion, bollinger-breakout, donchian, buy-and-hold"
    ):
        registry.kind_named("sma")


def test_parameters_come_in_their_types_defaults_too():
    kind = of(lambda bars, p: Rule(), parameters=(Parameter("share", "Share", float, 1, 0, 2),))
    assert repr(kind.checked({})) == repr(kind.checked({"share": "1"})) == "{'share': 1.0}"


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)


@given(
    given=st.dictionaries(
        st.sampled_from(["fast", "share", "on", "by", "other"]),
        ANYTHING | st.sampled_from(["7", " 7 ", "7.0", "1e1", "nan", "inf", "-0", "yes", "off", "close", "٣"]),
    )
)
def test_whatever_is_given_is_refused_by_name_or_becomes_what_was_declared(given):
    parameters = (
        Parameter("fast", "Fast", int, 10, 1, 500),
        Parameter("share", "Share", float, 0.5, 0, 1),
        Parameter("on", "On", bool, True),
        Parameter("by", "By", str, "close", choices=("close", "open")),
    )
    kind = of(None, parameters=parameters)
    try:
        values = kind.checked(given)
    except BadParameters as bad:
        assert bad.problems.keys() <= given.keys()
        assert all(text.endswith(".") for text in bad.problems.values())
        return
    assert [type(value) for value in values.values()] == [int, float, bool, str]
    assert 1 <= values["fast"] <= 500
    assert 0 <= values["share"] <= 1
    assert values["by"] in ("close", "open")
    assert (
        kind.checked(json.loads(json.dumps(values))) == kind.checked({k: str(v) for k, v in values.items()}) == values
    )


@pytest.mark.parametrize("check", [lambda p: p["no"], lambda p: None, lambda p: 3])
def test_a_faulty_check_of_parameters_is_its_authors_fault(check):
    kind = replace(of(None, parameters=(Parameter("fast", "Fast", int, 1),)), check=check)
    with pytest.raises(BadParameters, match=r"Mine can't check its parameters: .*Tell its author"):
        kind.checked({})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Parameter("Fast", "Fast", int, 3), "small letters"),
        (lambda: Parameter("fast", "Fast", int, 30, 1, 20), "from 1 to 20"),
        (lambda: Parameter("fast", "Fast", bool, "true"), "must be bool"),
        (lambda: Parameter("by", "By", str, "close", choices=("open",)), "must be one of open"),
        (lambda: Parameter("fast", "Fast", list, []), "must be int, float, bool or str"),
        (lambda: of(None, name="My Kind"), "small letters, digits and hyphens"),
        (lambda: replace(of(None), label="L" * 101), "1 to 100 characters"),
        (lambda: of(None, parameters=(Parameter("a", "A", int, 1), Parameter("a", "B", int, 1))), "two parameters"),
    ],
)
def test_a_wrong_declaration_is_told_to_its_author(wrong, says):
    with pytest.raises(BadDeclaration, match=says):
        wrong()


# What a rule's answer becomes.


def of(rule, *, name="mine", warmup=lambda p: 0, parameters=()):
    return Kind(name=name, label="Mine", summary="Mine.", parameters=parameters, warmup=warmup, decide=rule)


def flags(*bars, length=6):
    found = np.zeros(length, bool)
    found[list(bars)] = True
    return found


SIX = bars_of([10.0, 11, 12, 11, 10, 9])


def test_an_answer_becomes_codes():
    rule = Rule(
        enter_long=flags(0, 1, 3),
        enter_short=flags(3, 4),
        exit_long=flags(2, 5),
        exit_short=flags(5),
        stop_long=np.full(6, 8.0),
        stop_short=np.array([1, 2, 3, 4, 12.5, 6]),
    )
    found = decide(of(lambda bars, p: rule), {}, SIX)
    assert found.entries.tolist() == [1, 1, 0, 0, -1, 0]  # on bar 3 both are wanted: neither
    assert found.exits.tolist() == [0, 0, 1, 0, 0, 3]
    np.testing.assert_array_equal(found.stops, [8, 8, np.nan, np.nan, 12.5, np.nan])
    quiet = decide(of(lambda bars, p: rule, warmup=lambda p: 3), {}, SIX)
    assert quiet.entries.tolist() == [0, 0, 0, 0, -1, 0]
    assert quiet.exits.tolist() == [0, 0, 0, 0, 0, 3]
    np.testing.assert_array_equal(quiet.stops, [np.nan] * 4 + [12.5, np.nan])


def test_an_answer_may_be_lists_or_nothing_and_the_rules_own_arrays_are_left_alone():
    mine = flags(1)
    rule = Rule(enter_long=mine, exit_long=[False, False, True, False, False, False], stop_long=[5] * 6)
    found = decide(of(lambda bars, p: rule, warmup=lambda p: 2), {}, SIX)
    assert found.exits.tolist() == [0, 0, 1, 0, 0, 0]
    assert mine.tolist() == flags(1).tolist()
    nothing = decide(of(lambda bars, p: Rule()), {}, SIX)
    assert not nothing.entries.any()
    assert nothing.stops is None


def test_a_stop_below_zero_is_none():
    found = decide(of(lambda bars, p: Rule(enter_long=flags(0, 1), stop_long=np.array([-1.0] + [5] * 5))), {}, SIX)
    np.testing.assert_array_equal(found.stops[:2], [np.nan, 5])


def _writes(bars, p):
    bars.close[0] = 1
    return Rule()


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (
            lambda bars, p: Rule(enter_long=flags(0, length=5)),
            r"enter_long with one value for each of 6 bars; it has 5",
        ),
        (lambda bars, p: Rule(exit_short=True), "exit_short with one value for each of 6 bars; it has one value"),
        (lambda bars, p: Rule(enter_long=np.zeros((6, 2), bool)), "6 × 2 values"),
        (lambda bars, p: Rule(enter_long=np.where(flags(2), np.nan, 1.0)), "float64 with nan on bar 2"),
        (lambda bars, p: Rule(exit_long=[0, 1, 0, 0, 0, 0]), "exit_long as true or false for each bar"),
        (lambda bars, p: Rule(enter_long=[True, False, None, False, True, True]), "object with None on bar 2"),
        (lambda bars, p: Rule(enter_long=[[1, 2], [3]]), "enter_long as what is no array"),
        (lambda bars, p: Rule(enter_long=flags(0), stop_long=["a"] * 6), "stop_long as a price"),
        (
            lambda bars, p: Rule(enter_long=flags(0), stop_short=[1.0] * 5 + [np.inf]),
            "infinite price as stop_short on bar 5",
        ),
        (lambda bars, p: bars.close > 3, "must return a Rule; it returned ndarray"),
        (lambda bars, p: None, "must return a Rule; it returned NoneType"),
        (lambda bars, p: p["fast"], r"failed on 6 bars: KeyError: 'fast' \(.*test_strategies.py, line \d+\)"),
        (_writes, r"failed on 6 bars: ValueError: .*read-only.*test_strategies.py"),
    ],
)
def test_a_faulty_rule_is_named_with_its_fault(rule, says):
    with pytest.raises(StrategyFault, match=r"The strategy Mine \(mine\) .*" + says):
        decide(of(rule), {}, SIX)


@pytest.mark.parametrize("warmup", [lambda p: -1, lambda p: 2.5, lambda p: None, lambda p: True, lambda p: p["no"]])
def test_a_faulty_warmup_is_named(warmup):
    with pytest.raises(StrategyFault, match="warmup"):
        warmup_of(of(lambda bars, p: Rule(), warmup=warmup), {})


def test_a_division_by_zero_inside_a_rule_is_no_news():
    found = decide(of(lambda bars, p: Rule(enter_long=bars.close / (bars.close - 10) > 3)), {}, SIX)
    assert found.entries.tolist() == [1, 1, 1, 1, 1, 0]


def test_a_million_bars_are_decided_without_a_loop():
    bars = walk(1_000_000)
    calls = []

    def count(frame, event, _):
        calls.append(event)

    for kind in builtin.KINDS:
        calls.clear()
        sys.setprofile(count)
        try:
            decide(kind, {}, bars)
        finally:
            sys.setprofile(None)
        assert len(calls) < 1_000, kind.name


# Packages of one's own, as docs/strategies.md shows them.


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Installs packages: a module and its metadata in a folder that Python looks into."""

    def install(name, source, offers="KINDS"):
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[chronos.strategies]\n{name} = {name}:{offers}\n")
        registry.forget()

    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)
    yield install
    registry.forget()
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


def test_packages_that_are_broken_are_told_of_and_the_others_work(packages):
    packages("broken", "raise RuntimeError('no such data')")
    packages("strange", "KINDS = [3]")
    packages("absent", "", offers="NOTHING")
    packages("again", "from signals.strategies.builtin import KINDS")
    assert list(registry.kinds()) == [kind.name for kind in builtin.KINDS]
    told = " ".join(registry.faults())
    assert "broken:KINDS could not be loaded: RuntimeError: no such data" in told
    assert "strange:KINDS offers a int, not a Kind." in told
    assert "absent:NOTHING could not be loaded" in told
    assert "again:KINDS offers 'sma-cross', which chronos has already." in told


PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"


def test_the_page_about_strategies_of_ones_own_does_what_it_says(packages, capsys):
    page = PAGE.read_text()
    (project,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    package, guard = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    offered = tomllib.loads(project)["project"]["entry-points"]["chronos.strategies"]["mine"]
    module, offers = offered.split(":")
    packages(module, package, offers)
    kind = registry.kind_named("momentum")
    assert list(registry.kinds())[-1] == "momentum"
    assert kind.origin == "my_strategies 1.2"
    assert not registry.faults()
    names = {"bars": google()}
    exec(guard, names)  # the page's own
    assert names["report"].sound
    assert names["report"].decisions > 10
    assert "It only looks back" in capsys.readouterr().out

    class TestMomentum(StrategyContract):
        pass

    TestMomentum.kind = kind
    battery = TestMomentum()
    for name in dir(battery):
        if name.startswith("test_"):
            getattr(battery, name)()


def test_the_page_knows_every_indicator_and_its_warmup():
    page = PAGE.read_text()
    rows = {name: row for row, name in re.findall(r"^(\| `(\w+)\(.*)$", page, re.MULTILINE)}
    assert list(rows) == list(indicators.INDICATORS)
    for name, indicator in indicators.INDICATORS.items():
        warmup = indicator.warmup(*[20 if one.default is None else one.default for one in indicator.settings])
        assert indicator.summary in rows[name]
        assert rows[name].endswith(f"| {warmup}{' (recursive)' if indicator.recursive else ''} |")
