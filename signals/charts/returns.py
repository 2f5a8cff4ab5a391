"""How the returns of a run are spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chronos.core import figures
from chronos.core.figures import counted
from signals.charts.axes import AXIS, BARE, HOVER, title
from signals.charts.equity import Curves, at
from signals.models import Backtest


@dataclass(frozen=True)
class Spread:
    """Returns of the bars at which something was held. `edges` (n + 1), `counts` (n)."""

    edges: list[float]
    counts: list[int]
    bars: int
    quarter: float = 0.0
    middle: float = 0.0
    three_quarters: float = 0.0
    worst: float = 0.0
    worst_at: int = 0
    best: float = 0.0
    best_at: int = 0


def spread(found: Curves) -> Spread | None:
    """None if nothing was held."""
    import numpy as np

    from signals.metrics import bar_returns, histogram

    moves = bar_returns(found.equity)
    inside = (found.gross[1:] > 0) | (found.gross[:-1] > 0)
    held = moves[inside]
    if not len(held):
        return None
    edges, counts = histogram(held)
    low, middle, high = np.percentile(held, [25, 50, 75]).tolist()
    worst, best = int(moves.argmin()), int(moves.argmax())
    return Spread(
        edges.tolist(), counts.tolist(), len(held), low, middle, high, float(moves[worst]), worst + 1,
        float(moves[best]), best + 1,
    )  # fmt: skip


def figure(found: Spread) -> dict[str, Any]:
    middles = [(low + high) / 2 * 100 for low, high in zip(found.edges, found.edges[1:], strict=False)]
    data = {
        "type": "bar", "x": middles, "y": found.counts, "hovertemplate": "%{text}<extra></extra>",
        "width": (found.edges[1] - found.edges[0]) * 100 * 0.92,
        "text": [f"{label}: {counted(count, 'bar')}" for label, count in bins(found)], "textposition": "none",
        "marker": {"color": ["--gain-mark" if middle > 0 else "--loss-mark" for middle in middles]},
        "hoverlabel": HOVER,
    }  # fmt: skip
    layout = BARE | {
        "margin": {"l": 8, "r": 48, "t": 8, "b": 40},
        "bargap": 0,
        "dragmode": False,
        "xaxis": AXIS | {"ticksuffix": " %", "nticks": 9, "title": title("Return of a bar")},
        "yaxis": AXIS | {"side": "right", "nticks": 5, "rangemode": "tozero"},
    }
    return {"data": [data], "layout": layout, "meta": {"bars": len(found.counts), "joined": False}}


def bins(found: Spread) -> list[tuple[str, int]]:
    """Each bin in words; the outermost hold what lies beyond them, too."""
    places = 2 if found.edges[1] - found.edges[0] < 0.001 else 1
    said = []
    last = len(found.counts) - 1
    for place, count in enumerate(found.counts):
        low, high = (f"{figures.percent(edge, places)} %" for edge in found.edges[place : place + 2])
        said.append(
            (f"below {high}" if place == 0 else f"{low} or more" if place == last else f"{low} to {high}", count)
        )
    return said


def says(backtest: Backtest, found: Spread, curve: Curves) -> str:
    low, high = (f"{figures.percent(edge)} %" for edge in (found.quarter, found.three_quarters))
    return (
        f"Of {counted(found.bars, 'bar')} with a position half lay between {low} and {high}, the middle one at"
        f" {figures.percent(found.middle)} %. The worst was {figures.percent(found.worst, 1)} %"
        f" ({at(backtest, curve, found.worst_at)}), the best {figures.percent(found.best, 1)} %"
        f" ({at(backtest, curve, found.best_at)})."
    )
