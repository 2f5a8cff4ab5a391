"""Charts of a result as plain geometry, laid out once: `signals.painting` makes SVG and PNG of it.

A panel is 1 wide and 1 high, up is up. A bar has the width of any other, so that closed markets leave no gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from chronos.core import figures
from signals import thinning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from signals.engine.terms import Floats
    from signals.metrics import Histogram

    Moments = NDArray[np.datetime64]

POINTS = 2_400  # of a line: more than pixels say nothing more
LEVELS = 5
LOGARITHMIC = 8  # by which the highest exceeds the lowest before equal changes should look equal


class Mark(NamedTuple):
    """A label at an axis, at a share of its length."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """`points` (N, 2). `filled_from`: the level down or up to which the area is filled; None for none."""

    name: str
    tone: str
    points: Floats
    filled_from: float | None = None


@dataclass(frozen=True)
class Bar:
    left: float
    right: float
    low: float
    high: float
    tone: str


@dataclass(frozen=True)
class Panel:
    title: str
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    levels: tuple[Mark, ...] = ()
    moments: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Curves:
    """What is drawn, (T,) each; `benchmark` if there is one."""

    times: Moments
    equity: Floats
    hold: Floats
    benchmark: Floats | None = None


def equity(curves: Curves, *, beside: str, marks: int) -> Panel:
    """Equity, the asset held, and the benchmark, called `beside`; at most so many labels across."""
    import numpy as np

    series = [("Strategy", "hue-1", curves.equity), ("Holding the asset", "hue-2", curves.hold)]
    if curves.benchmark is not None:
        series.append((beside, "hue-3", curves.benchmark))
    low = min(float(np.nanmin(values)) for _, _, values in series)
    high = max(float(np.nanmax(values)) for _, _, values in series)
    scale = _Scale(low, high, logarithmic=low > 0 and high / low > LOGARITHMIC)
    drawn = tuple(Line(name, tone, _points(values, scale)) for name, tone, values in reversed(series))
    title = "Equity" + (", log scale" if scale.logarithmic else "")
    return Panel(title, drawn, levels=scale.marks(figures.compact), moments=tuple(moments(curves.times, marks)))


def drawdown(curves: Curves, *, marks: int) -> Panel:
    from signals import metrics

    under = metrics.drawdowns(curves.equity)
    scale = _Scale(min(float(under.min()), -0.01), 0.0)
    line = Line("Drawdown", "loss-mark", _points(under, scale), filled_from=scale.of(0.0))
    levels = scale.marks(lambda value: f"{figures.percent(value, scale.places(100)).lstrip('+')} %")
    return Panel("Drawdown", (line,), levels=levels, moments=tuple(moments(curves.times, marks)))


def distribution(found: Histogram) -> Panel:
    """How often a bar's return was how large."""
    import numpy as np

    edges, counts = found
    if not len(counts) or not counts.max():
        return Panel("Returns of bars")
    low, high, most = float(edges[0]), float(edges[-1]), int(counts.max())
    across = _Scale(low, high, margin=0)
    up = _Scale(0, most, margin=0)
    bars = tuple(
        Bar(across.of(left), across.of(right), 0.0, up.of(count), "gain-mark" if left >= 0 else "loss-mark")
        for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        if count
    )
    places = across.places(100)
    moments = across.marks(lambda value: f"{figures.percent(value, places)} %")
    levels = up.marks(lambda value: figures.integer(round(value)))
    whole = tuple(mark for mark in levels if np.isclose(mark.at * most, round(mark.at * most)))
    return Panel("Bars by their return", bars=bars, levels=whole, moments=moments)


def _points(values: Floats, scale: _Scale) -> Floats:
    import numpy as np

    places = thinning.extremes(values, POINTS)
    across = places / max(len(values) - 1, 1)
    up = scale.all(values[places])
    return np.column_stack([across, up])[np.isfinite(up)]


class _Scale:
    """From values to shares of a panel's height, with a little room above and below."""

    def __init__(self, low: float, high: float, *, logarithmic: bool = False, margin: float = 0.03) -> None:
        if high - low < 1e-9 * max(abs(high), abs(low), 1e-9):
            low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
        self.low, self.high, self.logarithmic, self.margin = low, high, logarithmic, margin
        self._bottom, self._top = (math.log(low), math.log(high)) if logarithmic else (low, high)

    def of(self, value: float) -> float:
        at = math.log(value) if self.logarithmic else value
        return self.margin + (1 - 2 * self.margin) * (at - self._bottom) / (self._top - self._bottom)

    def all(self, values: Floats) -> Floats:
        import numpy as np

        at = np.log(values) if self.logarithmic else values
        shares: Floats = self.margin + (1 - 2 * self.margin) * (at - self._bottom) / (self._top - self._bottom)
        return shares

    def marks(self, written: Callable[[float], str]) -> tuple[Mark, ...]:
        found = [Mark(self.of(level), written(level)) for level in self._levels()]
        return tuple(mark for place, mark in enumerate(found) if not place or mark.text != found[place - 1].text)

    def places(self, by: float) -> int:
        """Decimals that tell the levels apart, of values times `by`."""
        step = self._step() * by
        return max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if f"{step:e}"[:3] == "2.5" else 0)

    def _levels(self) -> list[float]:
        """Round numbers between low and high, five or so."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            tried = [
                [
                    digit * 10.0**power
                    for power in powers
                    for digit in digits
                    if self.low <= digit * 10.0**power <= self.high
                ]
                for digits in ((1, 2, 5), (1, 3), (1,))
            ]
            found = next((levels for levels in tried if len(levels) <= LEVELS + 2), tried[-1])
            return found[:: -(-len(found) // (LEVELS + 2)) or 1]
        step = self._step()
        first = math.ceil(self.low / step - 1e-9)
        return [step * n + 0.0 for n in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _step(self) -> float:
        rough = (self.high - self.low) / LEVELS
        power = 10.0 ** math.floor(math.log10(rough))
        return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= rough * (1 - 1e-9))


# --- Labels of time ----------------------------------------------------------------------------------------------

# The finest first: a unit of NumPy's, how many of them, and how such a moment is written.
_STEPS = (
    *(("h", step, "{0.day} {0:%b} {0:%H:%M}") for step in (1, 3, 6, 12)),
    *(("D", step, "{0.day} {0:%b}") for step in (1, 2, 5)),
    ("W", 1, "{0.day} {0:%b}"),
    ("W", 2, "{0.day} {0:%b %Y}"),
    *(("M", step, "{0:%b %Y}") for step in (1, 3, 6)),
    *(("Y", step, "{0:%Y}") for step in (1, 2, 5, 10, 20, 50)),
)
_HOURS = {"h": 1, "D": 24, "W": 168, "M": 730, "Y": 8766}


def moments(times: Moments, most: int) -> Iterator[Mark]:
    """Round moments, at most so many: the bars with which hours, days, months or years begin."""
    import numpy as np

    many = len(times)
    if many < 2:
        return
    hours = float((times[-1] - times[0]) / np.timedelta64(1, "h"))
    for unit, step, words in _STEPS:
        if hours / (_HOURS[unit] * step) > 3 * most:
            continue
        numbers = times.astype(f"M8[{unit}]").astype(np.int64)
        if unit == "Y":
            numbers = numbers + 1970
        begins = np.flatnonzero(numbers[1:] // step != numbers[:-1] // step) + 1
        if len(begins) <= most:
            for place in begins.tolist():
                yield Mark(place / (many - 1), words.format(times[place].astype("M8[us]").item()))
            return
