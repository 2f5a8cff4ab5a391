"""How the figures of a result are written, on a page or a terminal."""

from chronos.core import figures
from signals.measures import Kind


def written(value: float | int | None, kind: Kind) -> str:
    """A figure as a page or a terminal shows it; an en dash for one that is not defined."""
    if value is None:
        return figures.NOTHING
    if kind in ("change", "share"):
        text = figures.percent(value)
        return f"{text if kind == 'change' else text.lstrip('+')} %"
    if kind in ("count", "bars"):
        return figures.integer(round(value))
    if kind == "currency":
        return figures.money(value)
    return figures.ratio(value, 1 if kind == "days" else 2)
