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

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signals.engine.terms import Flags, Floats

Value = int | float | bool | str
Params = Mapping[str, Any]


class BadDeclaration(ValueError):
    """A kind or a parameter that is declared wrongly: its author must mend it."""


class BadParameters(ValueError):
    """Parameters that do not fit the declaration. `problems`: what is wrong and the remedy, by parameter's name; what
    concerns several stands under the first of them."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


@dataclass(frozen=True)
class Parameter:
    """One typed parameter. `type` is int, float, bool or str; `low` and `high` are inclusive; `choices` for a str.

    Raises `BadDeclaration` for a name that no form or command could carry, or a default that doesn't fit.
    """

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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", str(self.name)):
            raise BadDeclaration(f"A parameter's name is small letters, digits and underscores; it is {self.name!r}.")
        if self.type not in (int, float, bool, str):
            raise BadDeclaration(f"The type of {self.name} must be int, float, bool or str; it is {self.type!r}.")
        try:
            fits = self.typed(self.default) == self.default
        except ValueError as error:
            raise BadDeclaration(f"The default of {self.name} doesn't fit its declaration: {error}") from error
        if not fits:
            raise BadDeclaration(f"The default of {self.name} must be {self.type.__name__}; it is {self.default!r}.")

    def typed(self, given: Any) -> Value:
        """The value that is meant. Raises `ValueError` in words that name the parameter and its range."""
        if self.type is bool:
            return self._flag(given)
        if self.type is str:
            if self.choices and given not in self.choices:
                raise ValueError(f"{self.label} must be one of {', '.join(self.choices)}; it is {str(given)[:40]!r}.")
            return str(given)
        number = self._number(given)
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise ValueError(f"{self.label} must be {self.range}; it is {number:g}.")
        return number

    @property
    def range(self) -> str:
        """In words: "from 2 to 500 bars"."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"from {self.low:g} to {self.high:g}{unit}"
        if self.low is not None:
            return f"at least {self.low:g}{unit}"
        return f"at most {self.high:g}{unit}" if self.high is not None else "any number"

    def _flag(self, given: Any) -> bool:
        words = {
            "true": True,
            "on": True,
            "yes": True,
            "1": True,
            "false": False,
            "off": False,
            "no": False,
            "0": False,
        }
        if isinstance(given, bool):
            return given
        try:
            return words[str(given).strip().lower()]
        except KeyError:
            raise ValueError(f"{self.label} must be true or false; it is {str(given)[:40]!r}.") from None

    def _number(self, given: Any) -> int | float:
        words = "a whole number" if self.type is int else "a number"
        wrong = f"{self.label} must be {words}, {self.range}; it is {str(given)[:40]!r}."
        if isinstance(given, bool):
            raise ValueError(wrong)
        try:
            number = float(given)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(wrong) from None
        if not math.isfinite(number) or (self.type is int and number != int(number)):
            raise ValueError(wrong)
        return int(number) if self.type is int else number


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


LONGEST = 100  # characters of a label


def _no_problems(_: Params) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Kind:
    """A kind of strategy. `warmup(params)`: how many bars come before the first valid decision. `check(params)`:
    problems between parameters, by name. `explanation`: two or three plain sentences for a person who chooses.
    `sells_short`: whether it has a short side at all. `anchored`: it decides by where its data begins, on purpose, and
    is not blamed for it. `origin`: the package it comes from and its version, for kinds of a user's own.

    Raises `BadDeclaration` for a name that no command could carry, a label that no list could, or parameters that are
    named alike.
    """

    name: str
    label: str
    summary: str
    parameters: tuple[Parameter, ...]
    warmup: Callable[[Params], int]
    decide: Callable[[Bars, Params], Rule]
    check: Callable[[Params], dict[str, str]] = _no_problems
    explanation: str = ""
    sells_short: bool = True
    anchored: bool = False
    origin: str = "chronos"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", str(self.name)):
            raise BadDeclaration(f"A kind's name is small letters, digits and hyphens; it is {self.name!r}.")
        if not 1 <= len(str(self.label)) <= LONGEST:
            raise BadDeclaration(
                f"A kind's label has 1 to {LONGEST} characters; that of {self.name} is {self.label!r}."
            )
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) != len(names):
            raise BadDeclaration(f"{self.name} has two parameters of one name: {', '.join(names)}.")

    def checked(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """All parameters, typed: those given (texts of a form, a command or JSON), the defaults of the rest.

        Raises `BadParameters` for an unknown name, a wrong type, a value out of range, or what `check` finds.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        problems = {
            name: f"{self.label} has no parameter {name!r}; it has {', '.join(known) or 'none'}."
            for name in given
            if name not in known
        }
        values: dict[str, Value] = {}
        for name, parameter in known.items():
            try:
                values[name] = parameter.typed(given.get(name, parameter.default))
            except ValueError as error:
                problems[name] = str(error)
        if not problems:
            problems = self._disagreeing(values)
        if problems:
            raise BadParameters(problems)
        return values

    def _disagreeing(self, values: dict[str, Value]) -> dict[str, str]:
        """What `check` finds; that it fails is a problem, too, and not the asker's."""
        try:
            return dict(self.check(values))
        except Exception as error:
            told = f"{self.label} can't check its parameters: {type(error).__name__}: {str(error)[:200]}."
            raise BadParameters({next(iter(values), "parameters"): f"{told} Tell its author."}) from error
