"""What all of a result's charts have in common: their axes, round numbers on them, numbers as Plotly takes them.

Colours are names of the style sheet's tokens, which the page puts in for its theme, as in `marketdata.charts`.
"""

from __future__ import annotations

import base64
from math import ceil, floor, log10
from typing import Any

AXIS: dict[str, Any] = {
    "gridcolor": "--grid",
    "linecolor": "--grid",
    "zeroline": False,
    "tickfont": {"color": "--ink-soft", "size": 11},
    "fixedrange": True,
}
BARE: dict[str, Any] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"color": "--ink-soft", "size": 11},
    "showlegend": False,
}
HOVER: dict[str, Any] = {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink", "size": 12}}


def title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11, "color": "--ink-soft"}, "standoff": 6}


def ticks(low: float, high: float, *, logarithmic: bool = False, most: int = 7) -> list[float]:
    """Round numbers between two others: of equal distance, or on a logarithmic axis 1, 2 and 5 of each power."""
    if logarithmic and low > 0 and high / low > 5:
        powers = range(floor(log10(low)), ceil(log10(high)) + 1)
        steps = (1, 2, 5) if high / low < 1000 else (1,)
        return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    least = (high - low) / most
    if least <= 0:
        return [low]
    power = 10.0 ** floor(log10(least))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= least * 0.999)
    return [step * place for place in range(ceil(low / step), floor(high / step) + 1)]


def packed(values: Any, kind: str) -> dict[str, str]:
    """An array as Plotly takes it: base64 of numbers of this kind."""
    import numpy as np

    return {"dtype": kind, "bdata": base64.b64encode(np.ascontiguousarray(values, f"<{kind}").tobytes()).decode()}
