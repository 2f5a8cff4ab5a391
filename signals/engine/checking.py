"""Whether a run can be made on terms at all. Cheap, so that a form can ask it."""

import math

from signals.engine.terms import Impossible, Terms

SMALLEST = 1e-10  # lot; of less, quantities are no numbers any more
LONGEST = 2**31 - 1  # bars that a position is held


def check(terms: Terms, *, has_stops: bool = False) -> None:
    """Raise `Impossible` for what no run can be made of. `has_stops`: the strategy gives stop-losses of its own."""
    costs, sizing, exits = terms.costs, terms.sizing, terms.exits
    _between("cash", "Cash", terms.cash, 0, math.inf, low_in=False)
    _between("fee_rate", "The fee rate", costs.fee_rate, 0, 1, high_in=False)
    _between("fee_minimum", "The least fee", costs.fee_minimum, 0, math.inf)
    _between("slippage_bps", "Slippage", costs.slippage_bps, 0, 10_000, high_in=False)
    _between("lot", "The lot", terms.lot, 0, math.inf)
    if 0 < terms.lot < SMALLEST:
        raise Impossible("lot", f"The lot must be 0, for any fraction, or at least {SMALLEST:g}; it is {terms.lot:g}.")
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
        if exits.take_profit_1 is None:
            raise Impossible(
                "take_profit_1_share", "A share closes at the first target: give take_profit_1, or no share."
            )
        _between("take_profit_1_share", "The share of the first target", exits.take_profit_1_share, 0, 1, low_in=False)
    if exits.max_bars is not None and exits.max_bars < 1:
        raise Impossible("max_bars", f"A time stop is at least 1 bar; max_bars is {exits.max_bars}.")
    if exits.max_bars is not None and exits.max_bars > LONGEST:
        raise Impossible("max_bars", f"A time stop is at most {LONGEST} bars: give fewer, or none.")
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
