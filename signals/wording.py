"""A strategy's kind and parameters in words, also where the kind is not installed here any more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chronos.core import figures
from signals.strategies import registry
from signals.strategies.deciding import StrategyFault, warmup_of
from signals.strategies.declaring import BadParameters, Kind, Parameter


@dataclass(frozen=True)
class Told:
    """One parameter as it is shown."""

    label: str
    value: str
    unit: str = ""
    help: str = ""

    def __str__(self) -> str:
        return f"{self.label} {self.value} {self.unit}".rstrip()


def kind_of(name: str) -> Kind | None:
    """None for a kind whose package is gone: what was made of it is still there and can be read."""
    return registry.kinds().get(name)


def label_of(name: str) -> str:
    kind = kind_of(name)
    return kind.label if kind else name


def parameters(kind_name: str, values: Mapping[str, Any]) -> list[Told]:
    """In the order of the declaration, with defaults for what was declared since; what it does not know comes last."""
    kind = kind_of(kind_name)
    declared = kind.parameters if kind else ()
    told = [_told(parameter, values.get(parameter.name, parameter.default)) for parameter in declared]
    known = {parameter.name for parameter in declared}
    return told + [Told(name, _value(value)) for name, value in values.items() if name not in known]


def sentence(kind_name: str, values: Mapping[str, Any]) -> str:
    """ "Fast average 10 bars, Slow average 30 bars" """
    return ", ".join(map(str, parameters(kind_name, values)))


def trouble(kind_name: str, values: Mapping[str, Any]) -> str:
    """Why nothing can be run with this any more, or nothing."""
    kind = kind_of(kind_name)
    if kind is None:
        return (
            f"The kind “{kind_name}” is not installed here any more. What was made of it can be read, but not run:"
            " install the package that offers it, or make a strategy of another kind."
        )
    try:
        kind.checked(values)
    except BadParameters as error:
        return f"Its parameters do not fit {kind.label} any more: {error} Edit it to mend them."
    return ""


def warmup(kind_name: str, values: Mapping[str, Any]) -> str:
    """ "30 bars", or nothing if it can't be run."""
    kind = kind_of(kind_name)
    try:
        return figures.counted(warmup_of(kind, values), "bar") if kind else ""
    except (BadParameters, StrategyFault):
        return ""


def _told(parameter: Parameter, value: Any) -> Told:
    unit = parameter.unit if not isinstance(value, bool) else ""
    return Told(parameter.label, _value(value), unit, parameter.help)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return figures.integer(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
