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
CLOSED, ALL, DOUBTFUL, RESOLVED, FEES_PAID, DIVIDENDS_PAID, RUINED, MONEY, WAITING, HOLDING, POSITIONS = range(11)
TOTALS = 11
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
        totals[HOLDING] -= 1
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
        wanted = max(lot, floor(wanted / lot * (1 + 1e-12)) * lot)
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
        _inside(state, a, t, o, hi, lo, terms, totals, log, 1.0, True)
    totals[RESOLVED] += (totals[CLOSED] - closed) - (totals[DOUBTFUL] - doubtful)


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
    if not quantity * price > 1e-12 * equity:  # what rounding left of an account that is spent
        return 0.0
    if lot > 0.0:
        lots = floor(quantity / lot)
        more = (lots + 1.0) * lot  # a division that ends just below a whole number, as 0.3 / 0.1 does
        close = 1 + 1e-12
        if more <= quantity * close and more * price + max(rate * more * price, least) <= budget * close:
            lots += 1.0
        return lots * lot
    while quantity * price + max(rate * quantity * price, least) > budget:
        quantity *= 1.0 - 1e-15
    return quantity


@compiled
def _stop_of(s, price, wanted, terms):
    """The stop-loss of an entry: the strategy's own level, else the fraction of the price, else none."""
    if not isnan(wanted):
        return wanted
    return price - s * price * terms[LOSS] if terms[LOSS] < inf else -s * inf


@compiled
def _enter(state, a, t, price, worth, gross, terms, totals):
    """Enter as is wanted, as far as the account can pay. What it adds to the gross exposure, costs included."""
    s = state[WANT, a]
    stop, why = _stop_of(s, price, state[WANT_STOP, a], terms), STOP_LOSS
    trail = price - s * price * terms[TRAIL]
    if s * trail > s * stop:
        stop, why = trail, TRAILING_STOP
    quantity = _quantity(price, worth, worth - gross, stop, terms) if price > 0.0 else 0.0
    if not quantity > 0.0:
        return 0.0
    cost = _fee(quantity * price, terms)
    state[SIDE, a] = s
    state[HELD, a] = quantity
    state[WHOLE, a] = quantity
    state[ENTRY, a] = price
    state[ENTRY_BAR, a] = t
    state[NUMBER, a] = totals[POSITIONS]
    state[STOP, a] = stop
    state[STOP_REASON, a] = why
    state[RISK, a] = abs(price - stop) if abs(stop) != inf else nan
    # price + price × f, not price × (1 + f): ten per cent on 100 is 110, and not 110.00000000000001.
    state[TARGET_1, a] = price + s * price * terms[PROFIT_1]
    state[TARGET_2, a] = price + s * price * terms[PROFIT_2]
    state[FEES, a] = cost
    state[PAID, a] = 0.0
    state[BEST, a] = price
    state[WORST, a] = price
    state[BARS, a] = 0.0
    totals[FEES_PAID] += cost
    totals[MONEY] -= s * quantity * price + cost
    totals[POSITIONS] += 1
    totals[HOLDING] += 1
    return quantity * price + cost


@compiled
def _corporate(opens, splits, dividends, state, t, totals):
    """Step 1, of all assets."""
    for a in range(opens.shape[0]):
        if isnan(opens[a, t]):
            continue
        s = state[SIDE, a]
        if splits.shape[1] > 0 and splits[a, t] != 1.0:
            if s != 0.0:
                _split(state, a, splits[a, t])
            state[WANT_STOP, a] /= splits[a, t]
        if s != 0.0 and dividends.shape[1] > 0 and dividends[a, t] != 0.0:
            paid = s * state[HELD, a] * dividends[a, t]
            totals[MONEY] += paid
            totals[DIVIDENDS_PAID] += paid
            state[PAID, a] += paid


@compiled
def _at_open(opens, state, t, terms, totals, log):
    """Step 2: what was decided on the bar before, exits of all assets first, then entries in their order."""
    wanted = 0
    for a in range(opens.shape[0]):
        price = opens[a, t]
        if isnan(price):
            continue
        s = state[SIDE, a]
        if state[LEAVE, a] != 0.0:
            if s != 0.0:
                worse = price * (1.0 - s * terms[SLIPPAGE])
                _leave(state, a, t, state[HELD, a], worse, state[LEAVE, a], 0.0, terms, totals, log)
            state[LEAVE, a] = 0.0
            totals[WAITING] -= 1
        if state[WANT, a] != 0.0:
            wanted += 1
    if not wanted:
        return
    worth, gross = totals[MONEY], 0.0
    for a in range(opens.shape[0]):
        if state[SIDE, a] != 0.0:
            price = state[LAST, a] if isnan(opens[a, t]) else opens[a, t]
            worth += state[SIDE, a] * state[HELD, a] * price
            gross += state[HELD, a] * price
    for a in range(opens.shape[0]):
        s = state[WANT, a]
        if s == 0.0 or isnan(opens[a, t]):
            continue
        if state[SIDE, a] == 0.0 and not totals[RUINED]:
            gross += _enter(state, a, t, opens[a, t] * (1.0 + s * terms[SLIPPAGE]), worth, gross, terms, totals)
        state[WANT, a] = 0.0
        totals[WAITING] -= 1


@compiled
def _moved_on(state, a, hi, lo, terms):
    """The end of a bar with a position: excursions, the trailing stop, and one bar more."""
    s = state[SIDE, a]
    low, high = (lo, hi) if s > 0 else (hi, lo)
    if s * low < s * state[WORST, a]:
        state[WORST, a] = low
    if s * high > s * state[BEST, a]:
        state[BEST, a] = high
        trail = high - s * terms[TRAIL] * high
        if s * trail > s * state[STOP, a]:
            state[STOP, a] = trail
            state[STOP_REASON, a] = TRAILING_STOP
    state[BARS, a] += 1.0


@compiled
def _ruin(state, t, terms, totals, log):
    """The account has nothing left: everything is closed, and nothing is entered again."""
    totals[RUINED] = 1.0
    for a in range(state.shape[1]):
        s = state[SIDE, a]
        if s != 0.0:
            worse = state[LAST, a] * (1.0 - s * terms[SLIPPAGE])
            _leave(state, a, t, state[HELD, a], worse, RUIN, 0.0, terms, totals, log)


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
def _eventful(splits, dividends, closing, bars):
    """The bars of a single asset on which something is due whatever the prices are, ascending, `bars` at the end."""
    found = np.empty(bars + 2, np.int64)
    n = 0
    splitting, paying = splits.shape[1] > 0, dividends.shape[1] > 0
    for t in range(bars):
        if t == closing or (splitting and splits[0, t] != 1.0) or (paying and dividends[0, t] != 0.0):
            found[n] = t
            n += 1
    found[n] = bars
    return found[: n + 1]


@compiled
def _flat(entries, t, until, money, equity, cash_of, gross_of):
    """Mark the bars on which a single asset is neither held nor wanted; the first on which it is wanted."""
    marking = len(equity) > 0
    while t < until and entries[0, t] == 0:
        if marking:
            equity[t] = money
            cash_of[t] = money
            gross_of[t] = 0.0
        t += 1
    return t


@compiled
def _calm(opens, highs, lows, closes, entries, exits, t, until, state, money, terms, equity, cash_of, gross_of):
    """Mark the bars on which a single asset is held and nothing is decided or touched; the first on which it is.

    The same as the steps of `simulate` do, without what they are prepared for: they are that bar's.
    """
    s, held = state[SIDE, 0], state[HELD, 0]
    stop, why, first, second = state[STOP, 0], state[STOP_REASON, 0], state[TARGET_1, 0], state[TARGET_2, 0]
    best, worst, lasted, hold = state[BEST, 0], state[WORST, 0], state[BARS, 0], terms[HOLD]
    back = s * terms[TRAIL]
    out = 1 if s > 0.0 else 2
    marking = len(equity) > 0
    begin = t
    while t < until:
        hi, lo = highs[0, t], lows[0, t]
        low, high = (lo, hi) if s > 0.0 else (hi, lo)
        if isnan(opens[0, t]) or exits[0, t] & out or (entries[0, t] != 0 and entries[0, t] != s):
            break
        if s * low <= s * stop or s * high >= s * first or s * high >= s * second or lasted + 1.0 >= hold:
            break
        value = held * closes[0, t]
        if s * opens[0, t] <= s * stop or money + s * value <= 0.0:
            break
        if s * low < s * worst:
            worst = low
        if s * high > s * best:
            best = high
            trail = high - back * high
            if s * trail > s * stop:
                stop, why = trail, TRAILING_STOP
        lasted += 1.0
        if marking:
            equity[t] = money + s * value
            cash_of[t] = money
            gross_of[t] = value
        t += 1
    if t > begin:
        state[BEST, 0], state[WORST, 0], state[BARS, 0] = best, worst, lasted
        state[STOP, 0], state[STOP_REASON, 0] = stop, why
        state[LAST, 0] = closes[0, t - 1]
    return t


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
    state[WANT_STOP] = nan
    acting, finer = splits.shape[1] > 0 or dividends.shape[1] > 0, fine_first.shape[1] > 0
    stopping, marking, ending = stops.shape[1] > 0, len(equity) > 0, terms[CLOSE_AT_END] > 0.0
    guarded = terms[TRAIL] < inf or terms[LOSS] < inf or terms[PROFIT_1] < inf or terms[PROFIT_2] < inf or stopping
    long, short = terms[LONG] > 0.0, terms[SHORT] > 0.0
    last_but_one = np.full(assets, -1)
    if ending:
        for a in range(assets):
            last_but_one[a] = _last_but_one(opens[a])
    events = np.full(1, bars)
    if assets == 1 and (acting or ending):
        events = _eventful(splits, dividends, last_but_one[0], bars)
    event, t = 0, -1
    while t < bars - 1:
        t += 1
        if assets == 1 and totals[WAITING] == 0.0:
            while events[event] < t:
                event += 1
            if state[SIDE, 0] == 0.0:
                t = _flat(entries, t, events[event], totals[MONEY], equity, cash_of, gross_of)
            else:
                t = _calm(
                    opens, highs, lows, closes, entries, exits, t, events[event], state, totals[MONEY], terms,
                    equity, cash_of, gross_of,
                )  # fmt: skip
            if t == bars:
                break
        if totals[CLOSED] + AT_MOST * assets > len(log):
            log = _longer(log)
        if acting:
            _corporate(opens, splits, dividends, state, t, totals)
        if totals[WAITING] > 0.0:
            _at_open(opens, state, t, terms, totals, log)
        worth, gross = 0.0, 0.0
        for a in range(assets):
            s = state[SIDE, a]
            op = opens[a, t]
            if isnan(op):
                worth += s * state[HELD, a] * state[LAST, a]
                gross += state[HELD, a] * state[LAST, a]
                continue
            if s != 0.0 and guarded:
                hi, lo = highs[a, t], lows[a, t]
                if _inside(state, a, t, op, hi, lo, terms, totals, log, 0.0, False):
                    if finer and fine_after[a, t] > fine_first[a, t]:
                        _finer(
                            state, a, t, op, hi, lo, terms, totals, log, fine_open, fine_high, fine_low,
                            fine_first[a, t], fine_after[a, t],
                        )  # fmt: skip
                    else:
                        _inside(state, a, t, op, hi, lo, terms, totals, log, 0.0, True)
                s = state[SIDE, a]
            leave = 0
            if s != 0.0:
                _moved_on(state, a, highs[a, t], lows[a, t], terms)
                value = state[HELD, a] * closes[a, t]
                state[LAST, a] = closes[a, t]
                worth += s * value
                gross += value
                if exits[a, t] & (1 if s > 0.0 else 2):
                    leave = SIGNAL
                elif state[BARS, a] >= terms[HOLD]:
                    leave = MAX_BARS
            want = entries[a, t]
            if want != 0 and want != s and (long if want > 0 else short) and not totals[RUINED]:
                state[WANT, a] = want
                state[WANT_STOP, a] = stops[a, t] if stopping else nan
                totals[WAITING] += 1
                if s != 0.0:
                    leave = REVERSAL
            if ending and t == last_but_one[a]:
                totals[WAITING] -= state[WANT, a] != 0.0
                state[WANT, a] = 0.0
                leave = END if s != 0.0 else 0
            if leave:
                state[LEAVE, a] = leave
                totals[WAITING] += 1
        worth += totals[MONEY]
        if gross > 0.0 and worth <= 0.0:
            _ruin(state, t, terms, totals, log)
            worth, gross = totals[MONEY], 0.0
        if marking:
            equity[t] = worth
            cash_of[t] = totals[MONEY]
            gross_of[t] = gross
    totals[ALL] = totals[CLOSED]
    for a in range(assets):
        if state[SIDE, a] != 0.0:
            _part(state, a, -1, state[HELD, a], state[LAST, a], 0.0, 0.0, 0.0, log[int(totals[ALL])])
            totals[ALL] += 1
    return log, totals
