"""One run: the terms checked, the arrays aligned, the kernel called, its log read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from signals.engine import kernel
from signals.engine.checking import check
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
    _means_something(decisions)
    if market.fine is not None and bars:
        _lies_within(market.fine, market)
    nothing = np.empty((assets, 0))
    fine = market.fine or no_fine(assets)
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


def _means_something(decisions: Decisions) -> None:
    for name, codes, low, high in (("entries", decisions.entries, -1, 1), ("exits", decisions.exits, 0, 3)):
        if codes.size and (codes.min() < low or codes.max() > high):
            raise Impossible(name, f"{name} has codes beyond {low} to {high}, which mean nothing.")


def _lies_within(fine: Fine, market: Market) -> None:
    """The kernel reads where it is told to, whatever lies there."""
    candles = len(fine.open)
    same = all(len(column) == candles for column in (fine.high, fine.low, fine.close))
    shaped = fine.first.shape == fine.after.shape == market.shape
    if not same or not shaped or fine.first.min() < 0 or fine.after.max() > candles:
        raise Impossible("fine", "The finer candles don't fit the bars that they are said to lie in: align them.")


def _floats(array: Floats) -> Floats:
    return np.ascontiguousarray(array, np.float64)


def no_fine(assets: int) -> Fine:
    """What the kernel takes where there are no finer candles."""
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
