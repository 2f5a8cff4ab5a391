"""What holds of every run, whatever the market, the decisions and the terms."""

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signals.engine import kernel
from signals.engine.simulation import _floats, _trades, packed, simulate
from signals.engine.terms import Decisions, Fine, Market, Result, Sizing, Terms, Trades
from tests.signals.random_cases import any_market, case

seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=100)


@given(seeds)
@some
def test_cash_and_positions_are_equity_on_each_bar(seed: int) -> None:
    """Counted again from the trades alone, each bar by itself."""
    market, decisions, terms = case(seed)
    result = simulate(market, decisions, terms)
    cash, positions, gross = _ledger(market, terms, result)
    near = {"rtol": 1e-9, "atol": 1e-8}
    np.testing.assert_allclose(result.cash, cash, **near)
    np.testing.assert_allclose(result.gross, gross, **near)
    np.testing.assert_allclose(result.equity, cash + positions, **near)


def _ledger(market: Market, terms: Terms, result: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cash, the value of positions and its absolute value, by bar, from what each trade says of itself."""
    bars = market.shape[1]
    flows, positions, gross = np.zeros(bars), np.zeros(bars), np.zeros(bars)
    splits = np.ones(market.shape) if market.splits is None else market.splits
    dividends = np.zeros(market.shape) if market.dividends is None else market.dividends
    costs = terms.costs
    for trades in (result.trades, result.open):
        for n in range(len(trades)):
            a, s, quantity = trades.asset[n], trades.direction[n], trades.quantity[n]
            begin, end = int(trades.entry_bar[n]), int(trades.exit_bar[n])
            left = end >= 0
            paid = quantity * trades.exit_price[n]
            fee = max(costs.fee_rate * paid, costs.fee_minimum) if left else 0.0
            flows[begin] -= s * quantity * trades.entry_price[n] + trades.fees[n] - fee
            if left:
                flows[end] += s * paid - fee
            last = end if left else bars - 1
            # In shares of each day: quantities are in those of the last.
            shares = quantity / np.concatenate([np.cumprod(splits[a, begin + 1 : last + 1][::-1])[::-1], [1.0]])
            there = ~np.isnan(market.open[a, begin + 1 : last + 1])
            flows[begin + 1 : last + 1] += s * shares[1:] * dividends[a, begin + 1 : last + 1] * there
            value = math.nan
            for t in range(begin, end if left else bars):
                if not math.isnan(market.open[a, t]):
                    value = shares[t - begin] * market.close[a, t]
                positions[t] += s * value
                gross[t] += value
    return terms.cash + np.cumsum(flows), positions, gross


@given(seeds)
@some
def test_trades_and_what_is_open_make_the_change_of_equity(seed: int) -> None:
    market, decisions, terms = case(seed)
    result = simulate(market, decisions, terms)
    both = result.trades, result.open
    change = result.equity[-1] - terms.cash
    assert sum(trades.profit.sum() for trades in both) == pytest.approx(change, rel=1e-9, abs=1e-7)
    assert sum(trades.fees.sum() for trades in both) == pytest.approx(result.fees, rel=1e-9, abs=1e-7)
    assert sum(trades.dividends.sum() for trades in both) == pytest.approx(result.dividends, rel=1e-9, abs=1e-7)
    for trades in both:
        won = trades.direction * trades.quantity * (trades.exit_price - trades.entry_price)
        np.testing.assert_allclose(trades.profit, won - trades.fees + trades.dividends, rtol=1e-9, atol=1e-7)
        assert (trades.mae <= 0).all()
        assert (trades.mfe >= 0).all()
        assert (trades.quantity > 0).all()


@given(seeds)
@some
def test_a_long_only_account_never_owes(seed: int) -> None:
    market, decisions, terms = case(seed)
    costs = replace(terms.costs, fee_minimum=0.0)  # which can be more than a sale brings
    result = simulate(market, decisions, replace(terms, direction="long", costs=costs))
    assert (result.cash >= -1e-9 * terms.cash).all()
    assert (result.gross <= result.equity + 1e-9 * terms.cash).all()
    assert not result.ruined


@given(seeds)
@some
def test_the_unit_of_money_changes_nothing(seed: int) -> None:
    market, decisions, terms = case(seed)
    one = simulate(market, decisions, terms)
    k = 8.0  # a power of two, so that no digit changes
    costs = replace(terms.costs, fee_minimum=k * terms.costs.fee_minimum)
    sizing = replace(terms.sizing, value=k * terms.sizing.value) if terms.sizing.kind == "amount" else terms.sizing
    other = simulate(
        _priced(market, k),
        replace(decisions, stops=None if decisions.stops is None else k * decisions.stops),
        replace(terms, cash=k * terms.cash, costs=costs, sizing=sizing),
    )
    money = {"entry_price", "exit_price", "fees", "dividends", "profit", "risk"}
    for name in ("equity", "cash", "gross"):
        np.testing.assert_array_equal(k * getattr(one, name), getattr(other, name))
    for field in fields(Trades):
        scale = k if field.name in money else 1
        np.testing.assert_array_equal(scale * getattr(one.trades, field.name), getattr(other.trades, field.name))


@given(seeds)
@some
def test_quantities_are_whole_lots(seed: int) -> None:
    market, decisions, terms = case(seed)
    lot = terms.lot or 1.0
    result = simulate(replace(market, splits=None), decisions, replace(terms, lot=lot))
    lots = np.concatenate([result.trades.quantity, result.open.quantity]) / lot
    np.testing.assert_allclose(lots, np.round(lots), rtol=0, atol=1e-9)


@given(seeds)
@some
def test_luck_changes_only_what_is_ambiguous(seed: int) -> None:
    market, decisions, terms = case(seed)
    unlucky, lucky = (simulate(market, decisions, terms, optimistic=luck) for luck in (False, True))
    assert unlucky.ambiguous == unlucky.trades.ambiguous.sum()
    if not unlucky.ambiguous:
        assert _digest(lucky) == _digest(unlucky)


@given(seeds, st.integers(0, 40))
@some
def test_what_comes_later_changes_nothing_before(seed: int, until: int) -> None:
    market, decisions, terms = case(seed)
    terms = replace(terms, close_at_end=False)
    whole, part = simulate(market, decisions, terms), simulate(*_upto(market, decisions, until), terms)
    for name in ("equity", "cash", "gross"):
        np.testing.assert_array_equal(getattr(whole, name)[:until], getattr(part, name))
    before = whole.trades.exit_bar < until
    for field in fields(Trades):
        np.testing.assert_array_equal(getattr(whole.trades, field.name)[before], getattr(part.trades, field.name))


@given(seeds)
@some
def test_splits_are_only_other_units(seed: int) -> None:
    """Fractional and without a least fee, adjusted prices make the same money as raw ones with splits."""
    market, decisions, terms = case(seed)
    terms = replace(terms, lot=0.0, costs=replace(terms.costs, fee_minimum=0.0))
    raw = simulate(market, decisions, terms)
    if market.splits is None:
        return
    later = np.cumprod(np.concatenate([market.splits[:, 1:], np.ones((market.shape[0], 1))], axis=1)[:, ::-1], axis=1)
    factor = 1 / later[:, ::-1]
    adjusted = simulate(
        replace(_priced(market, factor), splits=None),
        replace(decisions, stops=None if decisions.stops is None else decisions.stops * factor),
        terms,
    )
    for name in ("equity", "cash", "gross"):
        np.testing.assert_allclose(getattr(adjusted, name), getattr(raw, name), rtol=1e-9, atol=1e-8)
    for name in ("entry_bar", "exit_bar", "exit_reason", "direction"):
        np.testing.assert_array_equal(getattr(adjusted.trades, name), getattr(raw.trades, name))
    for name in ("profit", "fees", "dividends", "mae", "mfe", "risk"):
        np.testing.assert_allclose(
            getattr(adjusted.trades, name), getattr(raw.trades, name), rtol=1e-9, atol=1e-8
        )  # fmt: skip


@given(seeds)
@some
def test_assets_that_want_for_nothing_do_not_touch_each_other(seed: int) -> None:
    market, decisions, terms = case(seed, assets=3)
    terms = replace(terms, cash=1e6, sizing=Sizing("amount", 5_000.0))
    together = simulate(market, decisions, terms).trades
    for a in range(3):
        alone = simulate(*_only(market, decisions, a), terms).trades
        mine = together.asset == a
        for field in fields(Trades):
            if field.name not in ("asset", "position"):
                found, wanted = getattr(together, field.name)[mine], getattr(alone, field.name)
                np.testing.assert_array_equal(found, wanted, err_msg=field.name)


@given(seeds)
@some
def test_the_short_ways_of_a_single_asset_lead_where_the_long_one_does(seed: int) -> None:
    """With a second asset that never has a bar the engine goes bar by bar."""
    market, decisions, terms = case(seed, assets=1, bars=80)
    alone = simulate(market, decisions, terms)
    nothing = np.full(market.open.shape, math.nan)
    accompanied = replace(
        market,
        **{name: np.concatenate([getattr(market, name), nothing]) for name in ("open", "high", "low", "close")},
        splits=None if market.splits is None else np.concatenate([market.splits, np.ones_like(nothing)]),
        dividends=None if market.dividends is None else np.concatenate([market.dividends, np.zeros_like(nothing)]),
        fine=None if market.fine is None else replace(
            market.fine,
            first=np.concatenate([market.fine.first, np.zeros_like(market.fine.first)]),
            after=np.concatenate([market.fine.after, np.zeros_like(market.fine.after)]),
        ),
    )  # fmt: skip
    stops = decisions.stops
    doubled = Decisions(
        np.concatenate([decisions.entries] * 2),
        np.concatenate([decisions.exits] * 2),
        None if stops is None else np.concatenate([stops] * 2),
    )
    assert _digest(simulate(accompanied, doubled, terms)) == _digest(alone)


@given(seeds)
@some
def test_a_run_of_which_only_the_trades_are_wanted_has_the_same(seed: int) -> None:
    """As sweeps ask the kernel: nothing is marked."""
    market, decisions, terms = case(seed)
    result = simulate(market, decisions, terms)
    none, nothing = np.empty(0), np.empty((market.shape[0], 0))
    fine = market.fine or Fine(none, none, none, none, nothing.astype(np.int64), nothing.astype(np.int64))
    log, totals = kernel.simulate(
        market.open, market.high, market.low, market.close,
        nothing if market.splits is None else market.splits, nothing if market.dividends is None else market.dividends,
        decisions.entries, decisions.exits, nothing if decisions.stops is None else decisions.stops,
        _floats(fine.open), _floats(fine.high), _floats(fine.low), fine.first, fine.after, packed(terms),
        none, none, none,
    )  # fmt: skip
    trades = _trades(log[: int(totals[kernel.CLOSED])])
    assert _bytes(trades) == _bytes(result.trades)
    assert totals[kernel.MONEY] == result.cash[-1]


@given(seeds)
@example(0)
@settings(max_examples=10)
def test_the_same_gives_the_same_bytes(seed: int) -> None:
    assert _digest(simulate(*case(seed))) == _digest(simulate(*case(seed)))


def test_another_process_gives_the_same_bytes() -> None:
    program = (
        "from tests.signals.test_engine_properties import _digest, case, simulate\n"
        "print(*[_digest(simulate(*case(seed))) for seed in range(20)])"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "", "PYTHONPATH": str(root)}
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [_digest(simulate(*case(seed))) for seed in range(20)]


@pytest.mark.parametrize("seed", range(3))
def test_a_random_market_is_one(seed: int) -> None:
    """What the other tests stand on: candles that are candles."""
    market = any_market(np.random.default_rng(seed), 3, 200)
    there = ~np.isnan(market.open)
    assert (market.low[there] > 0).all()
    assert (market.low[there] <= np.minimum(market.open, market.close)[there]).all()
    assert (market.high[there] >= np.maximum(market.open, market.close)[there]).all()


def _bytes(trades: Trades) -> bytes:
    return b"".join(np.ascontiguousarray(column).tobytes() for column in astuple(trades))


def _digest(result: Result) -> str:
    curves = b"".join(curve.tobytes() for curve in (result.equity, result.cash, result.gross))
    totals = repr((result.ambiguous, result.resolved, result.fees, result.dividends, result.ruined))
    return hashlib.sha256(curves + _bytes(result.trades) + _bytes(result.open) + totals.encode()).hexdigest()


def _priced(market: Market, factor: float | np.ndarray) -> Market:
    """The market with other prices, by a factor for all or for each bar."""
    scaled = {name: getattr(market, name) * factor for name in ("open", "high", "low", "close")}
    dividends = None if market.dividends is None else market.dividends * factor
    fine = market.fine
    if fine is not None:
        each = np.ones(len(fine.open))
        for at in np.ndindex(market.shape):
            each[fine.first[at] : fine.after[at]] = factor if np.isscalar(factor) else factor[at]
        fine = replace(fine, **{name: getattr(fine, name) * each for name in ("open", "high", "low", "close")})
    return replace(market, **scaled, dividends=dividends, fine=fine)


def _cut(market: Market, decisions: Decisions, where: tuple) -> tuple[Market, Decisions]:
    def of(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.ascontiguousarray(array[where])

    fine = market.fine
    fine = None if fine is None else replace(fine, first=of(fine.first), after=of(fine.after))
    names = ("open", "high", "low", "close", "splits", "dividends")
    return (
        Market(*(of(getattr(market, name)) for name in names), fine=fine),
        Decisions(of(decisions.entries), of(decisions.exits), of(decisions.stops)),
    )


def _upto(market: Market, decisions: Decisions, until: int) -> tuple[Market, Decisions]:
    return _cut(market, decisions, np.s_[:, :until])


def _only(market: Market, decisions: Decisions, asset: int) -> tuple[Market, Decisions]:
    return _cut(market, decisions, np.s_[asset : asset + 1])
