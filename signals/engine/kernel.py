"""The one loop that decides entries, stops, targets and exits. Compiled by numba; nothing here is called by pages.

A bar of an asset goes through these steps, in this order:

1. A split multiplies what is held and divides its levels; a dividend is paid to who held over into the bar.
2. At the open: what was decided on the bar before is done, exits of all assets first, then entries in their order.
3. Inside the bar: an open beyond a stop or a target fills at the open; then stops and targets that the bar's range
   touches fill at their price. If it touches both, finer candles decide, else the assumed order: the stop first, or
   with `optimistic` the targets first and what is left at the stop.
4. At the close: excursions and the trailing stop are moved on, the account is marked, the bar's decisions are kept for
   the next open.

Market orders fill worse by the slippage, targets at their price. An asset without a bar (NaN) waits: its decisions are
done at its next open, its position is marked at its last close.
"""

from math import floor, inf, isnan, nan
from typing import Any

import numpy as np
from numba import njit

# Rows of the state of an asset, floats throughout so that one array holds them.
SIDE, HELD, ENTRY, ENTRY_BAR, NUMBER, STOP, STOP_REASON, TARGET_1, TARGET_2, WHOLE, FEES, PAID = range(12)
RISK, BEST, WORST, BARS, LAST, WANT, LEAVE, WANT_STOP = range(12, 20)
STATES = 20

# Columns of the log of trades.
ASSET, POSITION, DIRECTION, QUANTITY, BEGAN, BOUGHT, ENDED, SOLD, REASON, COST, DIVIDENDS, PROFIT = range(12)
MAE, MFE, AT_RISK, AMBIGUOUS = range(12, 16)
COLUMNS = 16

# Why, as `signals.engine.terms.ExitReason` numbers it.
SIGNAL, REVERSAL, STOP_LOSS, TRAILING_STOP, TAKE_PROFIT_1, TAKE_PROFIT_2, MAX_BARS, END, RUIN = range(1, 10)

FRACTION, AMOUNT, AT_RISK_FRACTION = range(3)

# Places of the terms in their array.
(
    CASH, FEE_RATE, FEE_MINIMUM, SLIPPAGE, SIZING, SIZE, LOSS, PROFIT_1, PROFIT_2, SHARE, TRAIL, HOLD, LOT, LONG, SHORT,
    CLOSE_AT_END, OPTIMISTIC,
) = range(17)  # fmt: skip
TERMS = 17

# Places of the totals.
CLOSED, ALL, DOUBTFUL, RESOLVED, FEES_PAID, DIVIDENDS_PAID, RUINED, MONEY = range(8)
TOTALS = 8
AT_MOST = 8  # trades that an asset can end on one bar, and then some

compiled: Any = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def _fee(notional, terms):
    return max(terms[FEE_RATE] * notional, terms[FEE_MINIMUM])


@compiled
def _longer(log):
    """The log with as many places again."""
    more = np.empty((2 * len(log), COLUMNS))
    more[: len(log)] = log
    return more


@compiled
def _part(state, a, t, quantity, price, reason, cost, ambiguous, row):
    """One trade's row, of a part of what is held."""
    s = state[SIDE, a]
    share = quantity / state[HELD, a]
    entry = state[ENTRY, a]
    fees = share * state[FEES, a] + cost
    paid = share * state[PAID, a]
    row[ASSET] = a
    row[POSITION] = state[NUMBER, a]
    row[DIRECTION] = s
    row[QUANTITY] = quantity
    row[BEGAN] = state[ENTRY_BAR, a]
    row[BOUGHT] = entry
    row[ENDED] = t
    row[SOLD] = price
    row[REASON] = reason
    row[COST] = fees
    row[DIVIDENDS] = paid
    row[PROFIT] = s * quantity * (price - entry) - fees + paid
    worst = min(s * state[WORST, a], s * price)
    best = max(s * state[BEST, a], s * price)
    row[MAE] = min(0.0, (worst - s * entry) / entry)
    row[MFE] = max(0.0, (best - s * entry) / entry)
    row[AT_RISK] = quantity * state[RISK, a]
    row[AMBIGUOUS] = ambiguous


@compiled
def _leave(state, a, t, quantity, price, reason, ambiguous, terms, totals, log):
    """Close a part of a position, or all of it, at a price."""
    s = state[SIDE, a]
    notional = quantity * price
    cost = _fee(notional, terms)
    _part(state, a, t, quantity, price, reason, cost, ambiguous, log[int(totals[CLOSED])])
    totals[CLOSED] += 1
    totals[MONEY] += s * notional - cost
    totals[FEES_PAID] += cost
    if ambiguous:
        totals[DOUBTFUL] += 1
    left = state[HELD, a] - quantity
    if left <= 0.0:
        state[SIDE, a] = 0.0
        state[HELD, a] = 0.0
    else:
        share = left / state[HELD, a]
        state[FEES, a] *= share
        state[PAID, a] *= share
        state[HELD, a] = left


@compiled
def _first_part(state, a, terms):
    """What the first target closes: its share of the whole position, in lots, at least one."""
    held = state[HELD, a]
    wanted = terms[SHARE] * state[WHOLE, a]
    lot = terms[LOT]
    if lot > 0.0:
        wanted = max(lot, floor(wanted / lot + 1e-9) * lot)
    return held if wanted >= held * (1 - 1e-12) else wanted


@compiled
def _inside(state, a, t, o, hi, lo, terms, totals, log, ambiguous, assumed):
    """Stops and targets against one range of prices. Whether the order within it is not known.

    With `assumed` an unknown order is decided as assumed, else it is left to the caller and nothing but what the open
    itself decides is done.
    """
    s = state[SIDE, a]
    stop = state[STOP, a]
    worse = 1.0 - s * terms[SLIPPAGE]
    if s * o <= s * stop:
        _leave(state, a, t, state[HELD, a], o * worse, state[STOP_REASON, a], 0.0, terms, totals, log)
        return False
    low, high = (lo, hi) if s > 0 else (hi, lo)
    opened_1 = s * o >= s * state[TARGET_1, a]
    opened_2 = s * o >= s * state[TARGET_2, a]
    if opened_1:
        _leave(state, a, t, _first_part(state, a, terms), o, TAKE_PROFIT_1, 0.0, terms, totals, log)
        state[TARGET_1, a] = s * inf
    if opened_2 and state[HELD, a] > 0.0:
        _leave(state, a, t, state[HELD, a], o, TAKE_PROFIT_2, 0.0, terms, totals, log)
    if state[HELD, a] == 0.0:
        return False
    stopped = s * low <= s * stop
    reached_1 = s * high >= s * state[TARGET_1, a]
    reached_2 = s * high >= s * state[TARGET_2, a]
    if stopped and (reached_1 or reached_2):
        if not assumed:
            return True
        ambiguous = 1.0
    if stopped and not (ambiguous and terms[OPTIMISTIC]):
        reached_1 = reached_2 = False
    if reached_1:
        price = state[TARGET_1, a]
        _leave(state, a, t, _first_part(state, a, terms), price, TAKE_PROFIT_1, ambiguous, terms, totals, log)
        state[TARGET_1, a] = s * inf
    if reached_2 and state[HELD, a] > 0.0:
        price = state[TARGET_2, a]
        _leave(state, a, t, state[HELD, a], price, TAKE_PROFIT_2, ambiguous, terms, totals, log)
    if stopped and state[HELD, a] > 0.0:
        why = state[STOP_REASON, a]
        _leave(state, a, t, state[HELD, a], stop * worse, why, ambiguous, terms, totals, log)
    return False


@compiled
def _finer(state, a, t, o, hi, lo, terms, totals, log, fine_open, fine_high, fine_low, first, after):
    """A bar whose order is not known, candle by candle; what these do not decide is decided as assumed."""
    doubtful = totals[DOUBTFUL]
    closed = totals[CLOSED]
    for k in range(first, after):
        _inside(state, a, t, fine_open[k], fine_high[k], fine_low[k], terms, totals, log, 0.0, True)
        if state[HELD, a] == 0.0:
            break
    if state[HELD, a] > 0.0:
        before = totals[CLOSED]
        _inside(state, a, t, o, hi, lo, terms, totals, log, 1.0, True)
        if before == closed:
            return
    if totals[DOUBTFUL] == doubtful:
        totals[RESOLVED] += 1


@compiled
def _split(state, a, ratio):
    """More or fewer shares at another price: the same money."""
    state[HELD, a] *= ratio
    state[WHOLE, a] *= ratio
    for level in (ENTRY, STOP, TARGET_1, TARGET_2, RISK, BEST, WORST, LAST):
        state[level, a] /= ratio


@compiled
def _quantity(price, equity, room, stop, terms):
    """How much to enter at a price. `room`: what gross exposure may grow by, costs included."""
    budget = room
    if terms[SIZING] == FRACTION:
        budget = min(room, terms[SIZE] * equity)
    elif terms[SIZING] == AMOUNT:
        budget = min(room, terms[SIZE])
    rate, least, lot = terms[FEE_RATE], terms[FEE_MINIMUM], terms[LOT]
    quantity = min(budget / (1.0 + rate), budget - least) / price
    if terms[SIZING] == AT_RISK_FRACTION:
        distance = abs(price - stop)
        if not distance > 0.0 or distance == inf:
            return 0.0
        quantity = min(quantity, terms[SIZE] * equity / distance)
    if not quantity > 0.0:
        return 0.0
    if lot > 0.0:
        lots = floor(quantity / lot)
        more = (lots + 1.0) * lot  # a division that ends just below a whole number
        if more <= quantity * (1 + 1e-15) and more * price + max(rate * more * price, least) <= budget:
            lots += 1.0
        return lots * lot
    while quantity * price + max(rate * quantity * price, least) > budget:
        quantity *= 1.0 - 1e-15
    return quantity


@compiled
def _enter(state, a, t, s, price, quantity, stop, number, terms):
    state[SIDE, a] = s
    state[HELD, a] = quantity
    state[WHOLE, a] = quantity
    state[ENTRY, a] = price
    state[ENTRY_BAR, a] = t
    state[NUMBER, a] = number
    state[STOP, a] = stop
    state[STOP_REASON, a] = STOP_LOSS
    state[RISK, a] = abs(price - stop) if abs(stop) != inf else nan
    state[TARGET_1, a] = price * (1.0 + s * terms[PROFIT_1])
    state[TARGET_2, a] = price * (1.0 + s * terms[PROFIT_2])
    state[PAID, a] = 0.0
    state[BEST, a] = price
    state[WORST, a] = price
    state[BARS, a] = 0.0
    trail = price * (1.0 - s * terms[TRAIL])
    if s * trail > s * stop:
        state[STOP, a] = trail
        state[STOP_REASON, a] = TRAILING_STOP
        if isnan(state[RISK, a]):
            state[RISK, a] = abs(price - trail)


@compiled
def _last_but_one(opens):
    """The last bar but one that an asset has; -1 if it has not two."""
    seen = 0
    for t in range(len(opens) - 1, -1, -1):
        if not isnan(opens[t]):
            seen += 1
            if seen == 2:
                return t
    return -1


@compiled
def _stop_of(s, price, wanted, terms):
    """The stop-loss of an entry: the strategy's own level, else the fraction of the price, else none."""
    if not isnan(wanted):
        return wanted
    return price * (1.0 - s * terms[LOSS]) if terms[LOSS] < inf else -s * inf


@compiled
def simulate(
    opens, highs, lows, closes, splits, dividends, entries, exits, stops,
    fine_open, fine_high, fine_low, fine_first, fine_after, terms, equity, cash_of, gross_of,
):  # fmt: skip
    """Run it. Arrays (A, T) as `signals.engine.terms` has them; those of what there is none of have no bars (A, 0).

    `equity`, `cash_of` and `gross_of` (T,) are written, unless they have no bars either. Returns the log of trades, the
    open ones after the closed ones, and the totals.
    """
    assets, bars = opens.shape
    state = np.zeros((STATES, assets))
    log = np.empty((64 + 2 * AT_MOST * assets, COLUMNS))
    totals = np.zeros(TOTALS)
    totals[MONEY] = terms[CASH]
    slippage = terms[SLIPPAGE]
    number = 0
    holding = 0
    splitting, paying = splits.shape[1] > 0, dividends.shape[1] > 0
    stopping, finer = stops.shape[1] > 0, fine_first.shape[1] > 0
    marking = equity.shape[0] > 0
    guarded = terms[TRAIL] < inf or terms[LOSS] < inf or terms[PROFIT_1] < inf or terms[PROFIT_2] < inf or stopping
    last_but_one = np.full(assets, -1)
    for a in range(assets):
        state[WANT_STOP, a] = nan
        if terms[CLOSE_AT_END]:
            last_but_one[a] = _last_but_one(opens[a])
    for t in range(bars):
        wanted = 0
        if totals[CLOSED] + AT_MOST * assets > len(log):
            log = _longer(log)
        for a in range(assets):
            o = opens[a, t]
            if isnan(o):
                continue
            s = state[SIDE, a]
            if splitting and splits[a, t] != 1.0:
                if s != 0.0:
                    _split(state, a, splits[a, t])
                state[WANT_STOP, a] /= splits[a, t]
            if s != 0.0:
                if paying and dividends[a, t] != 0.0:
                    paid = s * state[HELD, a] * dividends[a, t]
                    totals[MONEY] += paid
                    state[PAID, a] += paid
                    totals[DIVIDENDS_PAID] += paid
                if state[LEAVE, a] != 0.0:
                    _leave(
                        state, a, t, state[HELD, a], o * (1.0 - s * slippage), state[LEAVE, a], 0.0, terms, totals, log
                    )
                    holding -= 1
            state[LEAVE, a] = 0.0
            if state[WANT, a] != 0.0:
                wanted += 1
        if wanted:
            worth, gross = totals[MONEY], 0.0
            if holding:
                for a in range(assets):
                    if state[SIDE, a] != 0.0:
                        price = state[LAST, a] if isnan(opens[a, t]) else opens[a, t]
                        worth += state[SIDE, a] * state[HELD, a] * price
                        gross += state[HELD, a] * price
            for a in range(assets):
                s = state[WANT, a]
                o = opens[a, t]
                if s == 0.0 or isnan(o):
                    continue
                if state[SIDE, a] == 0.0 and not totals[RUINED]:
                    price = o * (1.0 + s * slippage)
                    stop = _stop_of(s, price, state[WANT_STOP, a], terms)
                    at_risk = stop
                    trail = price * (1.0 - s * terms[TRAIL])
                    if s * trail > s * stop:
                        at_risk = trail
                    quantity = _quantity(price, worth, worth - gross, at_risk, terms) if price > 0.0 else 0.0
                    if quantity > 0.0:
                        cost = _fee(quantity * price, terms)
                        _enter(state, a, t, s, price, quantity, stop, number, terms)
                        state[FEES, a] = cost
                        totals[FEES_PAID] += cost
                        totals[MONEY] -= s * quantity * price + cost
                        gross += quantity * price + cost
                        number += 1
                        holding += 1
                state[WANT, a] = 0.0
                state[WANT_STOP, a] = nan
        worth, gross = 0.0, 0.0
        for a in range(assets):
            o = opens[a, t]
            s = state[SIDE, a]
            if isnan(o):
                if s != 0.0:
                    worth += s * state[HELD, a] * state[LAST, a]
                    gross += state[HELD, a] * state[LAST, a]
                continue
            c = closes[a, t]
            if s != 0.0:
                hi, lo = highs[a, t], lows[a, t]
                if guarded:
                    unknown = _inside(state, a, t, o, hi, lo, terms, totals, log, 0.0, False)
                    if unknown:
                        if finer and fine_after[a, t] > fine_first[a, t]:
                            _finer(
                                state, a, t, o, hi, lo, terms, totals, log, fine_open, fine_high, fine_low,
                                fine_first[a, t], fine_after[a, t],
                            )  # fmt: skip
                        else:
                            _inside(state, a, t, o, hi, lo, terms, totals, log, 0.0, True)
                    if state[SIDE, a] == 0.0:
                        holding -= 1
                        s = 0.0
                if s != 0.0:
                    low, high = (lo, hi) if s > 0 else (hi, lo)
                    if s * low < s * state[WORST, a]:
                        state[WORST, a] = low
                    if s * high > s * state[BEST, a]:
                        state[BEST, a] = high
                        trail = high * (1.0 - s * terms[TRAIL])
                        if s * trail > s * state[STOP, a]:
                            state[STOP, a] = trail
                            state[STOP_REASON, a] = TRAILING_STOP
                    state[BARS, a] += 1.0
                    worth += s * state[HELD, a] * c
                    gross += state[HELD, a] * c
                    out = exits[a, t]
                    if (s > 0.0 and out & 1) or (s < 0.0 and out & 2):
                        state[LEAVE, a] = SIGNAL
                    elif state[BARS, a] >= terms[HOLD]:
                        state[LEAVE, a] = MAX_BARS
            state[LAST, a] = c
            want = float(entries[a, t])
            allowed = (want > 0.0 and terms[LONG]) or (want < 0.0 and terms[SHORT])
            if allowed and want != s:
                state[WANT, a] = want
                state[WANT_STOP, a] = stops[a, t] if stopping else nan
                if s != 0.0:
                    state[LEAVE, a] = REVERSAL
            if t == last_but_one[a]:
                state[WANT, a] = 0.0
                state[LEAVE, a] = END if s != 0.0 else 0.0
        worth += totals[MONEY]
        if holding and worth <= 0.0:
            totals[RUINED] = 1.0
            for a in range(assets):
                s = state[SIDE, a]
                if s != 0.0:
                    _leave(
                        state,
                        a,
                        t,
                        state[HELD, a],
                        state[LAST, a] * (1.0 - s * slippage),
                        RUIN,
                        0.0,
                        terms,
                        totals,
                        log,
                    )
                    state[LEAVE, a] = 0.0
            holding = 0
            worth, gross = totals[MONEY], 0.0
        if marking:
            equity[t] = worth
            cash_of[t] = totals[MONEY]
            gross_of[t] = gross
    totals[ALL] = totals[CLOSED]
    for a in range(assets):
        if state[SIDE, a] != 0.0:
            n = int(totals[ALL])
            _part(state, a, -1, state[HELD, a], state[LAST, a], 0.0, 0.0, 0.0, log[n])
            totals[ALL] += 1
    return log, totals
