"""One run: the terms checked, the arrays aligned, the kernel called, its log read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from signals.engine import kernel
from signals.engine.terms import Decisions, Fine, Impossible, Market, Result, Terms, Trades

if TYPE_CHECKING:
    from signals.engine.terms import Floats, Whole

_SIZINGS = {"fraction": kernel.FRACTION, "amount": kernel.AMOUNT, "risk": kernel.AT_RISK_FRACTION}


def simulate(market: Market, decisions: Decisions, terms: Terms, *, optimistic: bool = False) -> Result:
    """The result of doing what was decided, as `signals.engine.kernel` states it.

    `optimistic` takes the best order of events inside a bar where it is not known, instead of the worst. The same
    arguments give the same bytes. Raises `Impossible` for terms that contradict each other and arrays that don't fit.
    """
    check(terms, has_stops=decisions.stops is not None)
    assets, bars = market.shape
    _fits(market, decisions)
    nothing = np.empty((assets, 0))
    fine = market.fine or _no_fine(assets)
    equity, cash, gross = np.empty(bars), np.empty(bars), np.empty(bars)
    log, totals = kernel.simulate(
        _floats(market.open), _floats(market.high), _floats(market.low), _floats(market.close),
        nothing if market.splits is None else _floats(market.splits),
        nothing if market.dividends is None else _floats(market.dividends),
        np.ascontiguousarray(decisions.entries, np.int8), np.ascontiguousarray(decisions.exits, np.int8),
        nothing if decisions.stops is None else _floats(decisions.stops),
        _floats(fine.open), _floats(fine.high), _floats(fine.low), fine.first, fine.after,
        packed(terms, optimistic), equity, cash, gross,
    )  # fmt: skip
    closed, every = int(totals[kernel.CLOSED]), int(totals[kernel.ALL])
    return Result(
        equity, cash, gross, _trades(log[:closed]), _trades(log[closed:every]),
        ambiguous=int(totals[kernel.DOUBTFUL]), resolved=int(totals[kernel.RESOLVED]),
        fees=float(totals[kernel.FEES_PAID]), dividends=float(totals[kernel.DIVIDENDS_PAID]),
        ruined=bool(totals[kernel.RUINED]),
    )  # fmt: skip


def check(terms: Terms, *, has_stops: bool = False) -> None:
    """Raise `Impossible` for what no run can be made of. `has_stops`: the strategy gives stop-losses of its own."""
    costs, sizing, exits = terms.costs, terms.sizing, terms.exits
    _between("cash", "Cash", terms.cash, 0, math.inf, low_in=False)
    _between("fee_rate", "The fee rate", costs.fee_rate, 0, 1, high_in=False)
    _between("fee_minimum", "The least fee", costs.fee_minimum, 0, math.inf)
    _between("slippage_bps", "Slippage", costs.slippage_bps, 0, 10_000, high_in=False)
    _between("lot", "The lot", terms.lot, 0, math.inf)
    most = math.inf if sizing.kind == "amount" else 1
    _between("sizing", f"The size ({sizing.kind})", sizing.value, 0, most, low_in=False)
    for name, value in (("stop_loss", exits.stop_loss), ("trailing_stop", exits.trailing_stop)):
        if value is not None:
            _between(name, _words(name), value, 0, 1, low_in=False, high_in=False)
    for name, value in (("take_profit_1", exits.take_profit_1), ("take_profit_2", exits.take_profit_2)):
        if value is not None:
            most = 1 if terms.direction != "long" else math.inf
            _between(name, _words(name), value, 0, most, low_in=False, high_in=most == math.inf)
    if exits.take_profit_2 is not None:
        if exits.take_profit_1 is None:
            raise Impossible("take_profit_2", "A second target needs a first one: give take_profit_1 as well.")
        if exits.take_profit_2 <= exits.take_profit_1:
            raise Impossible("take_profit_2", "The second target must lie beyond the first: raise take_profit_2.")
    if exits.take_profit_1_share is not None:
        _between("take_profit_1_share", "The share of the first target", exits.take_profit_1_share, 0, 1, low_in=False)
    if exits.max_bars is not None and exits.max_bars < 1:
        raise Impossible("max_bars", f"A time stop is at least 1 bar; max_bars is {exits.max_bars}.")
    if sizing.kind == "risk" and not has_stops and exits.stop_loss is None and exits.trailing_stop is None:
        raise Impossible("sizing", "Sizing by risk needs a stop: give stop_loss or trailing_stop, or size by fraction.")


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _between(
    name: str, words: str, value: float, low: float, high: float, *, low_in: bool = True, high_in: bool = True
) -> None:
    good = math.isfinite(value) and (value >= low if low_in else value > low)
    if good and (value <= high if high_in else value < high):
        return
    least = f"{'at least' if low_in else 'more than'} {low:g}"
    most = "" if high == math.inf else f" and {'at most' if high_in else 'less than'} {high:g}"
    raise Impossible(name, f"{words} must be {least}{most}; it is {value:g}.")


def packed(terms: Terms, optimistic: bool = False) -> Floats:
    """The terms as the kernel takes them: floats, infinity for a level that there is none of."""
    exits = terms.exits
    found = np.zeros(kernel.TERMS)
    found[kernel.CASH] = terms.cash
    found[kernel.FEE_RATE] = terms.costs.fee_rate
    found[kernel.FEE_MINIMUM] = terms.costs.fee_minimum
    found[kernel.SLIPPAGE] = terms.costs.slippage_bps / 10_000
    found[kernel.SIZING] = _SIZINGS[terms.sizing.kind]
    found[kernel.SIZE] = terms.sizing.value
    for place, value in (
        (kernel.LOSS, exits.stop_loss),
        (kernel.PROFIT_1, exits.take_profit_1),
        (kernel.PROFIT_2, exits.take_profit_2),
        (kernel.TRAIL, exits.trailing_stop),
        (kernel.HOLD, exits.max_bars),
    ):
        found[place] = math.inf if value is None else value
    usual = 1.0 if exits.take_profit_2 is None else 0.5
    found[kernel.SHARE] = usual if exits.take_profit_1_share is None else exits.take_profit_1_share
    found[kernel.LOT] = terms.lot
    found[kernel.LONG] = terms.direction in ("long", "both")
    found[kernel.SHORT] = terms.direction in ("short", "both")
    found[kernel.CLOSE_AT_END] = terms.close_at_end
    found[kernel.OPTIMISTIC] = optimistic
    return found


def _fits(market: Market, decisions: Decisions) -> None:
    arrays = {
        "high": market.high, "low": market.low, "close": market.close, "splits": market.splits,
        "dividends": market.dividends, "entries": decisions.entries, "exits": decisions.exits, "stops": decisions.stops,
    }  # fmt: skip
    for name, array in arrays.items():
        if array is not None and array.shape != market.shape:
            raise Impossible(name, f"{name} has the shape {array.shape}, the opens {market.shape}: align them.")


def _floats(array: Floats) -> Floats:
    return np.ascontiguousarray(array, np.float64)


def _no_fine(assets: int) -> Fine:
    none = np.empty(0)
    places = np.empty((assets, 0), np.int64)
    return Fine(none, none, none, none, places, places)


def _trades(log: Floats) -> Trades:
    def whole(column: int) -> Whole:
        return log[:, column].astype(np.int64)

    def number(column: int) -> Floats:
        return np.ascontiguousarray(log[:, column])

    return Trades(
        asset=whole(kernel.ASSET), position=whole(kernel.POSITION), direction=whole(kernel.DIRECTION),
        quantity=number(kernel.QUANTITY), entry_bar=whole(kernel.BEGAN), entry_price=number(kernel.BOUGHT),
        exit_bar=whole(kernel.ENDED), exit_price=number(kernel.SOLD), exit_reason=whole(kernel.REASON),
        fees=number(kernel.COST), dividends=number(kernel.DIVIDENDS), profit=number(kernel.PROFIT),
        mae=number(kernel.MAE), mfe=number(kernel.MFE), risk=number(kernel.AT_RISK),
        ambiguous=log[:, kernel.AMBIGUOUS] != 0,
    )  # fmt: skip
