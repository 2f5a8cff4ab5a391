"""What a strategy decides on given bars: its rule is run, what comes back is checked, and made ready for the engine.

A rule of a user's own may return anything and raise anything; whatever is wrong with it becomes a `StrategyFault` that
names the kind, the fault and the remedy.
"""

import traceback
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from signals.engine.terms import Decisions
from signals.strategies.declaring import Bars, Kind, Rule

if TYPE_CHECKING:
    from signals.engine.terms import Flags, Floats


class StrategyFault(Exception):
    """A strategy's own code failed, or gave what is no decision. `kind` is its name."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(f"The strategy {kind.label} ({kind.name}) {text}")
        self.kind = kind.name


def decide(kind: Kind, params: Mapping[str, Any], bars: Bars, *, warmup: bool = True) -> Decisions:
    """What the strategy decides on each of one asset's completed bars: the engine's codes, by bar (T,).

    `params` may be partial: they are checked, and defaults put in. Nothing is decided on the first bars that the kind
    declares as its warmup, unless `warmup` is False. Where a rule wants to enter long and short on the same bar it
    enters neither. A stop stands only where there is an entry, and one at or below zero is none.

    Raises `BadParameters`, or `StrategyFault` for anything the kind's own functions do wrong.
    """
    import numpy as np

    values = kind.checked(params)
    length = len(bars)
    rule = _asked(kind, values, bars)
    flags = {name: _flags(kind, name, getattr(rule, name), length) for name in FLAGS}
    long, short = flags["enter_long"], flags["enter_short"]
    entries = np.zeros(length, np.int8)
    exits = np.zeros(length, np.int8)
    if long is not None:
        entries += long.view(np.int8)
    if short is not None:
        entries -= short.view(np.int8)  # both: 1 − 1 is neither
    if (leave := flags["exit_long"]) is not None:
        exits |= leave.view(np.int8)
    if (leave := flags["exit_short"]) is not None:
        exits |= leave.view(np.int8) << 1
    stops = _stops(kind, rule, entries)
    if warmup:
        quiet = warmup_of(kind, values)
        entries[:quiet] = exits[:quiet] = 0
        if stops is not None:
            stops[:quiet] = np.nan
    return Decisions(entries, exits, stops)


FLAGS = ("enter_long", "exit_long", "enter_short", "exit_short")


def warmup_of(kind: Kind, params: Mapping[str, Any]) -> int:
    """How many bars come before the strategy's first valid decision. Raises `StrategyFault` if the kind can't say."""
    values = kind.checked(params)
    try:
        bars: Any = kind.warmup(values)
    except Exception as error:
        raise StrategyFault(kind, f"can't say its warmup: {_told(error)}") from error
    if isinstance(bars, bool) or not isinstance(bars, int) or bars < 0:
        raise StrategyFault(kind, f"must say its warmup as a whole number of bars, 0 or more; it says {bars!r:.40}.")
    return bars


def _asked(kind: Kind, values: Mapping[str, Any], bars: Bars) -> Rule:
    """The rule's answer on bars that it can't write to: they are shared with whoever asks next."""
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            rule = kind.decide(_read_only(bars), values)
    except Exception as error:
        raise StrategyFault(kind, f"failed on {len(bars):,} bars: {_told(error)}") from error
    if not isinstance(rule, Rule):
        raise StrategyFault(kind, f"must return a Rule; it returned {type(rule).__name__}.")
    return rule


def _read_only(bars: Bars) -> Bars:
    columns = {}
    for column in fields(bars):
        view = getattr(bars, column.name).view()
        view.flags.writeable = False
        columns[column.name] = view
    return Bars(**columns)


def _flags(kind: Kind, name: str, given: Any, length: int) -> "Flags | None":
    import numpy as np

    if given is None:
        return None
    array = _array(kind, name, given, length)
    if array.dtype != np.bool_:
        raise StrategyFault(
            kind,
            f"must return {name} as true or false for each bar; it returned {array.dtype}{_odd(array)}. "
            "Compare: `values > limit` is such an array.",
        )
    return np.ascontiguousarray(array)


def _stops(kind: Kind, rule: Rule, entries: Any) -> "Floats | None":
    """The stops of both sides as one array, NaN where there is no entry or no stop; None if there never is one."""
    import numpy as np

    if rule.stop_long is None and rule.stop_short is None:
        return None
    stops = np.full(len(entries), np.nan)
    for name, given, side in (("stop_long", rule.stop_long, 1), ("stop_short", rule.stop_short, -1)):
        if given is None:
            continue
        prices = _prices(kind, name, given, len(entries))
        np.copyto(stops, prices, where=(entries == side) & (prices > 0))
    return stops


def _prices(kind: Kind, name: str, given: Any, length: int) -> "Floats":
    import numpy as np

    array = _array(kind, name, given, length)
    if array.dtype.kind not in "fiu":
        raise StrategyFault(kind, f"must return {name} as a price for each bar, NaN for none; it is {array.dtype}.")
    prices: Floats = array.astype(np.float64, copy=False)
    if np.isinf(prices).any():
        bar = int(np.flatnonzero(np.isinf(prices))[0])
        raise StrategyFault(kind, f"gives an infinite price as {name} on bar {bar}; NaN means no stop.")
    return prices


def _array(kind: Kind, name: str, given: Any, length: int) -> Any:
    import numpy as np

    try:
        array = np.asarray(given)
    except ValueError as error:
        raise StrategyFault(kind, f"returned {name} as what is no array: {error}.") from error
    if array.shape != (length,):
        shape = "one value" if array.ndim == 0 else " × ".join(f"{one:,}" for one in array.shape) + " values"
        raise StrategyFault(kind, f"must return {name} with one value for each of {length:,} bars; it has {shape}.")
    return array


def _odd(array: Any) -> str:
    """Where the first value stands that is neither true nor false."""
    for bar, value in enumerate(array.tolist()):
        if value not in (True, False):
            return f" with {value!r:.40} on bar {bar}"
    return ""


def _told(error: Exception) -> str:
    """An error in one line, with the place in the strategy's own code where it came up."""
    where = traceback.extract_tb(error.__traceback__)[1:]
    place = f" ({where[0].filename}, line {where[0].lineno})" if where else ""
    return f"{type(error).__name__}: {str(error)[:300]}{place}"
