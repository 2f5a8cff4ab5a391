"""A second engine, written from what `signals.engine` says of itself and for nothing but being plainly right.

It counts in fractions, so that nothing is rounded: 0.1 is a tenth. It is some ten thousand times slower.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor, isnan
from typing import Any

from signals.engine.terms import Decisions, ExitReason, Market, Terms

NEVER = None
Candle = tuple[Fraction, Fraction, Fraction]  # open, high, low


def exact(number: float) -> Fraction:
    """What is meant by a float: its shortest decimal."""
    return Fraction(repr(float(number)))


@dataclass
class Position:
    number: int
    asset: int
    side: int
    quantity: Fraction
    entry_bar: int
    entry: Fraction
    fees: Fraction
    stop: Fraction | None
    stop_reason: ExitReason
    targets: list[tuple[Fraction, ExitReason]]
    trail: Fraction | None
    risk: Fraction | None
    whole: Fraction = Fraction(0)
    last: Fraction = Fraction(0)
    dividends: Fraction = Fraction(0)
    bars: int = 0
    seen: list[Fraction] = field(default_factory=list)  # prices while held

    def split(self, ratio: Fraction) -> None:
        self.quantity *= ratio
        self.whole *= ratio
        self.entry /= ratio
        self.last /= ratio
        self.stop = None if self.stop is None else self.stop / ratio
        self.risk = None if self.risk is None else self.risk / ratio
        self.targets = [(price / ratio, reason) for price, reason in self.targets]
        self.seen = [price / ratio for price in self.seen]

    def gain(self, price: Fraction) -> Fraction:
        """By how much a price is better than the entry's."""
        return self.side * (price - self.entry)

    def passed(self, price: Fraction, level: Fraction | None) -> bool:
        """Whether the price is at a stop or beyond."""
        return level is not None and self.gain(price) <= self.gain(level)

    def reached(self, price: Fraction, level: Fraction) -> bool:
        return self.gain(price) >= self.gain(level)

    @property
    def best(self) -> Fraction:
        return max(self.seen, key=self.gain)


@dataclass
class Outcome:
    trades: list[dict[str, Any]] = field(default_factory=list)
    open: list[dict[str, Any]] = field(default_factory=list)
    equity: list[Fraction] = field(default_factory=list)
    cash: list[Fraction] = field(default_factory=list)
    gross: list[Fraction] = field(default_factory=list)
    resolved: int = 0
    fees: Fraction = Fraction(0)
    dividends: Fraction = Fraction(0)
    ruined: bool = False

    @property
    def ambiguous(self) -> int:
        return sum(trade["ambiguous"] for trade in self.trades)


class Engine:
    def __init__(self, market: Market, decisions: Decisions, terms: Terms, *, optimistic: bool = False) -> None:
        self.market, self.decisions, self.terms, self.optimistic = market, decisions, terms, optimistic
        self.assets, self.bars = market.shape
        self.cash = exact(terms.cash)
        self.rate, self.least = exact(terms.costs.fee_rate), exact(terms.costs.fee_minimum)
        self.slippage = exact(terms.costs.slippage_bps) / 10_000
        self.held: dict[int, Position] = {}
        self.leaving: dict[int, ExitReason] = {}
        self.wanting: dict[int, tuple[int, Fraction | None]] = {}
        self.entered = 0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        for t in range(self.bars):
            here = [a for a in range(self.assets) if not isnan(self.market.open[a, t])]
            for a in here:
                self.corporate_actions(a, t)
            for a in here:
                if a in self.leaving:
                    position = self.held[a]
                    self.close(position, t, position.quantity, self.worse(self.at("open", a, t), -position.side),
                               self.leaving.pop(a))  # fmt: skip
            self.entries(here, t)
            for a in here:
                if a in self.held:
                    self.inside(self.held[a], t)
            for a in here:
                if a in self.held:
                    self.move_on(self.held[a], t)
                self.decide(a, t)
            self.mark(t)
        for _, position in sorted(self.held.items()):
            self.outcome.open.append(self.trade(position, -1, position.quantity, position.last, 0, Fraction(0), False))
        return self.outcome

    def at(self, what: str, a: int, t: int) -> Fraction:
        return exact(getattr(self.market, what)[a, t])

    def worse(self, price: Fraction, way: int) -> Fraction:
        """The fill of a market order that buys (way 1) or sells (-1)."""
        return price * (1 + way * self.slippage)

    def fee(self, notional: Fraction) -> Fraction:
        return max(self.rate * notional, self.least)

    def corporate_actions(self, a: int, t: int) -> None:
        ratio = Fraction(1) if self.market.splits is None else self.at("splits", a, t)
        if a in self.held:
            self.held[a].split(ratio)
        if a in self.wanting:
            side, stop = self.wanting[a]
            self.wanting[a] = side, None if stop is None else stop / ratio
        if a in self.held and self.market.dividends is not None:
            position = self.held[a]
            paid = position.side * position.quantity * self.at("dividends", a, t)
            self.cash += paid
            position.dividends += paid
            self.outcome.dividends += paid

    def entries(self, here: list[int], t: int) -> None:
        values = [
            position.quantity * (self.at("open", a, t) if a in here else position.last) * position.side
            for a, position in self.held.items()
        ]
        equity = self.cash + sum(values)
        room = equity - sum(abs(value) for value in values)
        for a in here:
            if a not in self.wanting:
                continue
            side, own_stop = self.wanting.pop(a)
            if not self.outcome.ruined:
                room -= self.enter(a, t, side, own_stop, equity, room)

    def enter(
        self, a: int, t: int, side: int, own_stop: Fraction | None, equity: Fraction, room: Fraction
    ) -> Fraction:  # fmt: skip
        """What it takes of the room."""
        exits = self.terms.exits
        price = self.worse(self.at("open", a, t), side)
        stop, reason = own_stop, ExitReason.STOP_LOSS
        if stop is None and exits.stop_loss is not None:
            stop = price * (1 - side * exact(exits.stop_loss))
        trail = None if exits.trailing_stop is None else exact(exits.trailing_stop)
        if trail is not None and (stop is None or side * price * (1 - side * trail) > side * stop):
            stop, reason = price * (1 - side * trail), ExitReason.TRAILING_STOP
        quantity = self.size(price, stop, equity, room)
        if quantity <= 0:
            return Fraction(0)
        cost = self.fee(quantity * price)
        targets = [
            (price * (1 + side * exact(level)), reason_of)
            for level, reason_of in (
                (exits.take_profit_1, ExitReason.TAKE_PROFIT_1),
                (exits.take_profit_2, ExitReason.TAKE_PROFIT_2),
            )
            if level is not None
        ]
        risk = None if stop is None else abs(price - stop)
        self.held[a] = Position(
            self.entered, a, side, quantity, t, price, cost, stop, reason, targets, trail, risk, quantity, price,
            seen=[price],
        )  # fmt: skip
        self.entered += 1
        self.cash -= side * quantity * price + cost
        self.outcome.fees += cost
        return quantity * price + cost

    def size(self, price: Fraction, stop: Fraction | None, equity: Fraction, room: Fraction) -> Fraction:
        sizing = self.terms.sizing
        value = exact(sizing.value)
        budget = room
        if sizing.kind != "risk":
            budget = min(room, value * equity if sizing.kind == "fraction" else value)
        quantity = min(budget / (1 + self.rate), budget - self.least) / price  # the fee is the greater of two
        if sizing.kind == "risk":
            if stop is None or stop == price:
                return Fraction(0)
            quantity = min(quantity, value * equity / abs(price - stop))
        return self.lots(quantity)

    def lots(self, quantity: Fraction) -> Fraction:
        lot = exact(self.terms.lot)
        return quantity if lot == 0 else floor(quantity / lot) * lot

    def inside(self, position: Position, t: int) -> None:
        """Step 3. The riddle of a bar that touches stop and target goes to finer candles, if there are some."""
        a = position.asset
        candle = self.at("open", a, t), self.at("high", a, t), self.at("low", a, t)
        self.by_open(position, t, candle)
        if not position.quantity or not self.riddle(position, candle):
            self.by_range(position, t, candle, False)
            return
        before = len(self.outcome.trades), self.outcome.ambiguous
        for finer in self.finer(a, t):
            self.by_open(position, t, finer)
            self.by_range(position, t, finer, self.riddle(position, finer))
        self.by_range(position, t, candle, True)
        if self.finer(a, t):
            exits, doubtful = len(self.outcome.trades) - before[0], self.outcome.ambiguous - before[1]
            self.outcome.resolved += exits - doubtful

    def finer(self, a: int, t: int) -> list[Candle]:
        fine = self.market.fine
        if fine is None:
            return []
        return [
            (exact(fine.open[n]), exact(fine.high[n]), exact(fine.low[n]))
            for n in range(fine.first[a, t], fine.after[a, t])
        ]

    def by_open(self, position: Position, t: int, candle: Candle) -> None:
        if not position.quantity:
            return
        first = candle[0]
        if position.passed(first, position.stop):
            self.close(position, t, position.quantity, self.worse(first, -position.side), position.stop_reason)
        else:
            reached = [target for target in position.targets if position.reached(first, target[0])]
            self.take_profits(position, t, reached, at=first)

    def touched(self, position: Position, candle: Candle) -> tuple[bool, list[tuple[Fraction, ExitReason]]]:
        _, high, low = candle
        good, bad = (high, low) if position.side > 0 else (low, high)
        return position.passed(bad, position.stop), [
            target for target in position.targets if position.reached(good, target[0])
        ]

    def riddle(self, position: Position, candle: Candle) -> bool:
        stopped, targets = self.touched(position, candle)
        return bool(position.quantity and stopped and targets)

    def by_range(self, position: Position, t: int, candle: Candle, doubtful: bool) -> None:
        if not position.quantity:
            return
        stopped, targets = self.touched(position, candle)
        if targets and (not stopped or self.optimistic):
            self.take_profits(position, t, targets, doubtful=doubtful)
        if stopped and position.quantity:
            price = self.worse(position.stop, -position.side)
            self.close(position, t, position.quantity, price, position.stop_reason, doubtful)

    def take_profits(
        self, position: Position, t: int, targets: list[tuple[Fraction, ExitReason]], *, at: Fraction | None = None,
        doubtful: bool = False,
    ) -> None:  # fmt: skip
        for target in targets:
            if not position.quantity:
                return
            price, reason = target
            quantity = position.quantity
            if reason == ExitReason.TAKE_PROFIT_1:
                quantity = min(quantity, self.first_part(position))
            position.targets = [other for other in position.targets if other != target]
            self.close(position, t, quantity, price if at is None else at, reason, doubtful)

    def first_part(self, position: Position) -> Fraction:
        exits = self.terms.exits
        share = exits.take_profit_1_share
        if share is None:
            share = 1 if exits.take_profit_2 is None else 0.5
        return max(self.lots(exact(share) * position.whole), exact(self.terms.lot))

    def close(
        self, position: Position, t: int, quantity: Fraction, price: Fraction, reason: ExitReason,
        doubtful: bool = False,
    ) -> None:  # fmt: skip
        cost = self.fee(quantity * price)
        self.outcome.trades.append(self.trade(position, t, quantity, price, reason, cost, doubtful))
        self.outcome.fees += cost
        self.cash += position.side * quantity * price - cost
        kept = 1 - quantity / position.quantity
        position.fees *= kept
        position.dividends *= kept
        position.quantity -= quantity
        if not position.quantity:
            del self.held[position.asset]

    def trade(
        self, position: Position, t: int, quantity: Fraction, price: Fraction, reason: int, cost: Fraction,
        doubtful: bool,
    ) -> dict[str, Any]:  # fmt: skip
        part = quantity / position.quantity
        fees, dividends = part * position.fees + cost, part * position.dividends
        gains = [position.gain(other) / position.entry for other in [*position.seen, price]]
        return {
            "asset": position.asset, "position": position.number, "direction": position.side, "quantity": quantity,
            "entry_bar": position.entry_bar, "entry_price": position.entry, "exit_bar": t, "exit_price": price,
            "exit_reason": int(reason), "fees": fees, "dividends": dividends,
            "profit": position.gain(price) * quantity - fees + dividends, "mae": min(gains), "mfe": max(gains),
            "risk": None if position.risk is None else position.risk * quantity, "ambiguous": doubtful,
        }  # fmt: skip

    def move_on(self, position: Position, t: int) -> None:
        a = position.asset
        position.seen += [self.at("high", a, t), self.at("low", a, t)]
        position.last = self.at("close", a, t)
        position.bars += 1
        if position.trail is not None:
            level = position.best * (1 - position.side * position.trail)
            if position.stop is None or position.side * level > position.side * position.stop:
                position.stop, position.stop_reason = level, ExitReason.TRAILING_STOP

    def decide(self, a: int, t: int) -> None:
        """What is decided on the completed bar, for the asset's next open."""
        entry, leave = int(self.decisions.entries[a, t]), int(self.decisions.exits[a, t])
        position, terms = self.held.get(a), self.terms
        allowed = {0: (), 1: ("long", "both"), -1: ("short", "both")}[entry]
        if position is not None:
            if terms.exits.max_bars is not None and position.bars >= terms.exits.max_bars:
                self.leaving[a] = ExitReason.MAX_BARS
            if leave == 3 or leave == (1 if position.side > 0 else 2):
                self.leaving[a] = ExitReason.SIGNAL
        if terms.direction in allowed and (position is None or position.side != entry):
            stop = None if self.decisions.stops is None else self.decisions.stops[a, t]
            self.wanting[a] = entry, None if stop is None or isnan(stop) else exact(stop)
            if position is not None:
                self.leaving[a] = ExitReason.REVERSAL
        later = [u for u in range(t + 1, self.bars) if not isnan(self.market.open[a, u])]
        if terms.close_at_end and len(later) == 1:
            self.wanting.pop(a, None)
            if position is not None:
                self.leaving[a] = ExitReason.END

    def mark(self, t: int) -> None:
        values = [position.side * position.quantity * position.last for position in self.held.values()]
        if self.held and self.cash + sum(values) <= 0:
            for _, position in sorted(self.held.items()):
                self.close(position, t, position.quantity, self.worse(position.last, -position.side), ExitReason.RUIN)
            self.outcome.ruined, values = True, []
            self.leaving.clear()
        self.outcome.equity.append(self.cash + sum(values))
        self.outcome.cash.append(self.cash)
        self.outcome.gross.append(sum((abs(value) for value in values), Fraction(0)))
