"""What a kind of strategy says of itself. Importing this is cheap: the web process makes forms of it.

    SMA_CROSS = Kind(
        name="sma-cross",
        label="SMA cross",
        summary="Long while the fast average is above the slow one.",
        parameters=(Parameter("fast", "Fast average", int, 10, 2, 500, unit="bars"), ...),
        warmup=lambda p: p["slow"],
        decide=decide,
    )

A `decide` function gets arrays of completed bars and may only look back: `signals.bias` holds every kind to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signals.engine.terms import Flags, Floats

Value = int | float | bool | str
Params = Mapping[str, Any]


class BadParameters(ValueError):
    """Parameters that do not fit the declaration. `problems`: what is wrong and the remedy, by parameter's name; what
    concerns several stands under the first of them."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


@dataclass(frozen=True)
class Parameter:
    """One typed parameter. `type` is int, float, bool or str; `low` and `high` are inclusive; `choices` for a str."""

    name: str
    label: str
    type: type[int] | type[float] | type[bool] | type[str]
    default: Value
    low: float | None = None
    high: float | None = None
    step: float | None = None
    unit: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bars:
    """One asset's completed bars, float64 (T,) each, without NaN, oldest first."""

    open: "Floats"
    high: "Floats"
    low: "Floats"
    close: "Floats"
    volume: "Floats"

    def __len__(self) -> int:
        return len(self.close)


@dataclass(frozen=True)
class Rule:
    """What `decide` returns, by bar: bool (T,) each; None for never. `stop`: with an entry, the price of its stop-loss,
    NaN for none (float64, T)."""

    enter_long: "Flags | None" = None
    exit_long: "Flags | None" = None
    enter_short: "Flags | None" = None
    exit_short: "Flags | None" = None
    stop_long: "Floats | None" = None
    stop_short: "Floats | None" = None


def _no_problems(_: Params) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Kind:
    """A kind of strategy. `warmup(params)`: how many bars come before the first valid decision. `check(params)`:
    problems between parameters, by name. `origin`: the package it comes from, for kinds of a user's own.
    """

    name: str
    label: str
    summary: str
    parameters: tuple[Parameter, ...]
    warmup: Callable[[Params], int]
    decide: Callable[[Bars, Params], Rule]
    check: Callable[[Params], dict[str, str]] = _no_problems
    explanation: str = ""
    origin: str = "chronos"
