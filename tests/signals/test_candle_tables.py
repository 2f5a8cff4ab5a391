"""The tables of `candle_tables.py`, run; and the terms that no run can be made of."""

import math
import re
from dataclasses import dataclass, field

import numpy as np
import pytest

from signals.engine.simulation import simulate
from signals.engine.terms import Costs, Decisions, ExitReason, Exits, Fine, Impossible, Market, Result, Sizing, Terms
from tests.signals import candle_tables

OUT = {"out": 3, "out-long": 1, "out-short": 2}


@dataclass
class Expected:
    trades: list[str] = field(default_factory=list)
    totals: dict[str, float] = field(default_factory=dict)


@dataclass
class Case:
    name: str
    terms: Terms
    market: Market
    decisions: Decisions
    pessimistic: Expected
    optimistic: Expected


def _terms(words: list[str]) -> Terms:
    """`stop_loss=0.05 direction=short close_at_end`, cash being 1000 unless it is said."""
    given = dict(word.split("=") if "=" in word else (word, "1") for word in words)
    costs = {name: float(given.pop(name)) for name in ("fee_rate", "fee_minimum", "slippage_bps") if name in given}
    exits = {name: float(given.pop(name)) for name in Exits.__dataclass_fields__ if name in given}
    kind, _, size = given.pop("sizing", "fraction:1").partition(":")
    terms = Terms(
        cash=float(given.pop("cash", 1000)),
        costs=Costs(**costs),
        sizing=Sizing(kind, float(size)),
        exits=Exits(**exits),
        lot=float(given.pop("lot", 1)),
        direction=given.pop("direction", "long"),
        close_at_end=bool(given.pop("close_at_end", False)),
    )
    assert not given, f"unknown terms {given}"
    return terms


def _case(text: str) -> Case:
    name, *lines = text.strip().splitlines()
    words = lines.pop(0).split() if lines[0][0].isalpha() else []
    rows = [[cell.split() for cell in line.split("|")] for line in lines if line[0] not in ".=~"]
    assets, bars = len(rows[0]), len(rows)
    prices = np.full((4, assets, bars), math.nan)
    splits, dividends, stops = np.ones((assets, bars)), np.zeros((assets, bars)), np.full((assets, bars), math.nan)
    entries, exits = np.zeros((assets, bars), np.int8), np.zeros((assets, bars), np.int8)
    for t, row in enumerate(rows):
        assert len(row) == assets, f"{name}: bar {t} has {len(row)} assets, the first {assets}"
        for a, cell in enumerate(row):
            if cell == ["-"]:
                continue
            prices[:, a, t] = [float(price) for price in cell[:4]]
            for word in cell[4:]:
                if word in ("long", "short"):
                    entries[a, t] = 1 if word == "long" else -1
                elif word in OUT:
                    exits[a, t] = OUT[word]
                else:
                    what, value = word.split("=")
                    {"split": splits, "div": dividends, "stop": stops}[what][a, t] = float(value)
    return Case(
        name,
        _terms(words),
        Market(
            *prices,
            splits=splits if (splits != 1).any() else None,
            dividends=dividends if dividends.any() else None,
            fine=_fine(lines, assets, bars),
        ),
        Decisions(entries, exits, None if np.isnan(stops).all() else stops),
        _expected(lines, "="),
        _expected(lines, "~"),
    )


def _fine(lines: list[str], assets: int, bars: int) -> Fine | None:
    """The finer candles of the only asset: those below a bar's line are that bar's."""
    candles: list[list[float]] = []
    first, after = np.zeros((assets, bars), np.int64), np.zeros((assets, bars), np.int64)
    t = -1
    for line in lines:
        if line[0] == ".":
            candles.append([float(price) for price in line[1:].split()])
            after[0, t] = len(candles)
        elif line[0] not in "=~":
            t += 1
            first[0, t] = after[0, t] = len(candles)
    return Fine(*np.array(candles).T.copy(), first, after) if candles else None


def _expected(lines: list[str], mark: str) -> Expected:
    found = Expected()
    for line in lines:
        if not line.startswith(mark):
            continue
        if line[2:].startswith("equity"):
            words = line[2:].replace(" ruined", " ruined 1").split()
            found.totals = {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
        else:
            found.trades.append(line[2:])
    return found


CASES = [
    _case(text)
    for part in (
        candle_tables.DECISIONS,
        candle_tables.STOPS,
        candle_tables.TARGETS,
        candle_tables.TRAILING,
        candle_tables.RIDDLES,
        candle_tables.TIME,
        candle_tables.COSTS,
        candle_tables.SIZES,
        candle_tables.ACTIONS,
        candle_tables.SHARED,
    )
    for text in re.split(r"^# ", part, flags=re.MULTILINE)[1:]
]


def _near(value: float) -> object:
    return pytest.approx(value, rel=1e-12, abs=1e-9)


def _holds(case: Case, result: Result, expected: Expected) -> None:
    totals = {
        "equity": result.equity[-1], "ambiguous": result.ambiguous, "resolved": result.resolved, "fees": result.fees,
        "dividends": result.dividends, "ruined": result.ruined,
    }  # fmt: skip
    rows = [(result.trades, n) for n in range(len(result.trades))] + [(result.open, n) for n in range(len(result.open))]
    found = [_said(trades, n) for trades, n in rows]
    assert len(found) == len(expected.trades), f"{case.name}: {found}"
    for (trades, n), line, seen in zip(rows, expected.trades, found, strict=True):
        match = re.fullmatch(r"(?:(\d): )?(\S+) (\d+)@(\S+) (open|\d+)@(\S+)((?: [^\s=]+)*)((?: \S+=\S+)*)", line)
        assert match, f"{case.name}: {line!r} is no trade"
        asset, quantity, entry_bar, entry, exit_bar, price, words, more = match.groups()
        reason, *flags = words.split() if exit_bar != "open" else ["open", *words.split()]
        bar = -1 if exit_bar == "open" else int(exit_bar)
        ended = ExitReason(trades.exit_reason[n]).word if trades.exit_reason[n] else "open"
        assert (trades.asset[n], trades.entry_bar[n], trades.exit_bar[n], ended, bool(trades.ambiguous[n])) == (
            int(asset or 0), int(entry_bar), bar, reason, flags == ["ambiguous"],
        ), f"{case.name}: {seen}, not {line}"  # fmt: skip
        figures = {"quantity": abs(float(quantity)), "direction": math.copysign(1, float(quantity))}
        figures |= {"entry_price": float(entry), "exit_price": float(price)}
        figures |= {name: float(value) for name, value in (pair.split("=") for pair in more.split())}
        for name, value in figures.items():
            assert getattr(trades, name)[n] == _near(value), f"{case.name}: {name} of {seen}, not {line}"
    for name, value in totals.items():
        assert float(value) == _near(expected.totals.get(name, 0)), f"{case.name}: {name} with {found}"
    # Whatever a table says or leaves out: the trades make the equity.
    assert result.equity[-1] - case.terms.cash == _near(result.trades.profit.sum() + result.open.profit.sum())


def _said(trades, n: int) -> str:
    exit_bar = "open" if trades.exit_bar[n] < 0 else trades.exit_bar[n]
    reason = ExitReason(trades.exit_reason[n]).word if trades.exit_reason[n] else ""
    quantity = trades.direction[n] * trades.quantity[n]
    return (
        f"{trades.asset[n]}: {quantity:g} {trades.entry_bar[n]}@{trades.entry_price[n]:g} "
        f"{exit_bar}@{trades.exit_price[n]:g} {reason}"
    )


def test_there_are_many_and_no_two_are_called_the_same() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_table_says(case: Case) -> None:
    result = simulate(case.market, case.decisions, case.terms)
    _holds(case, result, case.pessimistic)
    lucky = simulate(case.market, case.decisions, case.terms, optimistic=True)
    _holds(case, lucky, case.optimistic if case.optimistic.totals else case.pessimistic)
    assert bool(case.optimistic.totals) == (result.ambiguous > 0)


@pytest.mark.parametrize(
    ("words", "name", "says"),
    [
        ("cash=0", "cash", "Cash must be more than 0; it is 0."),
        ("cash=inf", "cash", "Cash must be more than 0; it is inf."),
        ("cash=nan", "cash", "Cash must be more than 0; it is nan."),
        ("fee_rate=-0.1", "fee_rate", "The fee rate must be at least 0 and less than 1; it is -0.1."),
        ("fee_rate=1", "fee_rate", "The fee rate must be at least 0 and less than 1; it is 1."),
        ("fee_minimum=-1", "fee_minimum", "The least fee must be at least 0; it is -1."),
        ("slippage_bps=10000", "slippage_bps", "Slippage must be at least 0 and less than 10000; it is 10000."),
        ("lot=-1", "lot", "The lot must be at least 0; it is -1."),
        ("sizing=fraction:0", "sizing", "The size (fraction) must be more than 0 and at most 1; it is 0."),
        ("sizing=fraction:1.5", "sizing", "The size (fraction) must be more than 0 and at most 1; it is 1.5."),
        ("sizing=amount:0", "sizing", "The size (amount) must be more than 0; it is 0."),
        ("sizing=risk:2 stop_loss=0.1", "sizing", "The size (risk) must be more than 0 and at most 1; it is 2."),
        ("sizing=risk:0.01", "sizing", "Sizing by risk needs a stop: give stop_loss or trailing_stop"),
        ("stop_loss=0", "stop_loss", "Stop loss must be more than 0 and less than 1; it is 0."),
        ("stop_loss=1", "stop_loss", "Stop loss must be more than 0 and less than 1; it is 1."),
        ("trailing_stop=1", "trailing_stop", "Trailing stop must be more than 0 and less than 1; it is 1."),
        ("take_profit_1=0", "take_profit_1", "Take profit 1 must be more than 0; it is 0."),
        ("take_profit_1=1 direction=short", "take_profit_1", "must be more than 0 and less than 1; it is 1."),
        ("take_profit_1=2 direction=both", "take_profit_1", "must be more than 0 and less than 1; it is 2."),
        ("take_profit_1_share=0.5", "take_profit_1_share", "A share closes at the first target: give take_profit_1"),
        ("take_profit_2=0.1", "take_profit_2", "A second target needs a first one: give take_profit_1 as well."),
        ("take_profit_1=0.1 take_profit_2=0.1", "take_profit_2", "The second target must lie beyond the first"),
        (
            "take_profit_1=0.1 take_profit_1_share=0",
            "take_profit_1_share",
            "must be more than 0 and at most 1; it is 0.",
        ),
        ("take_profit_1=0.1 take_profit_1_share=1.1", "take_profit_1_share", "and at most 1; it is 1.1."),
        ("max_bars=0", "max_bars", "A time stop is at least 1 bar; max_bars is 0"),
    ],
)
def test_terms_that_no_run_can_be_made_of(words: str, name: str, says: str) -> None:
    terms = _terms(words.split())
    with pytest.raises(Impossible, match=re.escape(says)) as refused:
        simulate(CASES[0].market, CASES[0].decisions, terms)
    assert refused.value.name == name


def test_a_long_may_aim_at_more_than_twice_its_price() -> None:
    simulate(CASES[0].market, CASES[0].decisions, _terms(["take_profit_1=2.5"]))


def test_risk_needs_no_other_stop_than_the_strategys() -> None:
    decisions = CASES[0].decisions
    stops = np.full(decisions.entries.shape, math.nan)
    result = simulate(
        CASES[0].market, Decisions(decisions.entries, decisions.exits, stops), _terms(["sizing=risk:0.1"])
    )
    assert not len(result.trades)


@pytest.mark.parametrize("name", ["high", "low", "close", "splits", "dividends", "entries", "exits", "stops"])
def test_arrays_that_do_not_fit_are_named(name: str) -> None:
    prices = np.ones((1, 3))
    short = np.ones((1, 2))
    market = {"open": prices, "high": prices, "low": prices, "close": prices, name: short}
    decisions = {
        "entries": np.zeros((1, 3), np.int8), "exits": np.zeros((1, 3), np.int8), "stops": None,
    } | ({name: market.pop(name)} if name in Decisions.__dataclass_fields__ else {})  # fmt: skip
    with pytest.raises(Impossible, match=f"^{name} has the shape") as refused:
        simulate(Market(**market), Decisions(**decisions), Terms())
    assert refused.value.name == name


def test_a_market_without_bars() -> None:
    none = np.empty((1, 0))
    result = simulate(Market(none, none, none, none), Decisions(none.astype(np.int8), none.astype(np.int8)), Terms())
    assert len(result.equity) == len(result.trades) == len(result.open) == 0
