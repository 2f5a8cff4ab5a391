"""Equity beside what it is held against, and how far it is below its high.

Of more bars than pixels the lowest and the highest within each few of them are drawn, of every line, so that no peak
and no fall is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import log10
from typing import TYPE_CHECKING, Any

from chronos.core import figures
from marketdata.charts import NARROWEST, USUAL, WIDEST
from marketdata.models import Timeframe
from signals import curves, telling, thinning
from signals.charts.axes import AXIS, BARE, packed, ticks
from signals.engine.terms import Terms
from signals.models import Backtest, Curve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from signals.engine.terms import Floats, Whole

DRAWN_WHOLE = 2  # bars a pixel up to which all are drawn
ROWS = 24  # of the table
WIDE = 10  # times as much at the top as at the bottom: a linear axis would show only the top
BEST, UNDER = "Best case", "Below its high"


@dataclass(frozen=True)
class Curves:
    """A backtest's curve as arrays of its bars. `times` are microseconds since 1970."""

    times: Whole
    equity: Floats
    gross: Floats
    hold: Floats
    benchmark: Floats | None
    optimistic: Floats | None
    cash: float

    def __len__(self) -> int:
        return len(self.equity)

    @property
    def moments(self) -> NDArray[np.datetime64]:
        return self.times.view("M8[us]")


def read(backtest: Backtest, *names: str) -> Curves | None:
    """The stored curve, or only some of its columns, since a million bars take 30 ms each: the others are empty, or
    None where there may be none. `times` always.
    """
    import numpy as np

    wanted = names or ("equity", "gross", "hold", "benchmark", "optimistic")
    row = Curve.objects.filter(backtest=backtest).values("times", *wanted).first()
    if row is None:
        return None
    there = {name: curves.unpacked(row[name]) for name in wanted if row[name]}
    times, cash = curves.unpacked_times(row["times"]), float(backtest.terms.get("cash") or Terms().cash)
    own, held, hold = (there.get(name, np.empty(0)) for name in ("equity", "gross", "hold"))
    return Curves(times, own, held, hold, there.get("benchmark"), there.get("optimistic"), cash)


@dataclass(frozen=True)
class Line:
    """One line of the comparison. `hue`: a colour of the palette, in the order of the page's legend."""

    name: str
    values: Floats
    hue: str


def lines(backtest: Backtest, found: Curves) -> list[Line]:
    """The run, holding, the benchmark: in one order of colours everywhere."""
    drawn = [Line("Equity", found.equity, "--hue-1"), Line(f"Holding {backtest.asset.symbol}", found.hold, "--hue-2")]
    if found.benchmark is not None and backtest.benchmark:
        drawn.append(Line(backtest.benchmark.symbol, found.benchmark, "--hue-3"))
    return drawn


def figure(
    backtest: Backtest, found: Curves, *, width: int = USUAL, logarithmic: bool = False, percent: bool = False
) -> dict[str, Any]:
    """Equity, holding and benchmark above, how far equity is below its high underneath, on one axis of bars.

    Bars stand side by side, so closed markets take no room. `percent`: the change since the start instead of currency.
    """
    import numpy as np

    from signals.metrics import drawdowns

    under = drawdowns(found.equity)
    drawn = lines(backtest, found)
    compared = [line.values for line in drawn] + ([] if found.optimistic is None else [found.optimistic])
    places = sampled([*compared, under], width)

    def shown(values: Floats) -> Floats:
        picked: Floats = values[places]
        if logarithmic:
            picked = np.where(picked > 0, picked, np.nan)
        if percent:
            return picked / found.cash if logarithmic else (picked / found.cash - 1) * 100
        return picked

    x = packed(places, "u4")
    data = [_line(line, x, shown(line.values)) for line in reversed(drawn)]
    if found.optimistic is not None:
        data.append(_bound(x, shown(found.optimistic)))
        data.append(data.pop(-2))
        data[-1] |= {"fill": "tonexty", "fillcolor": "--accent-wash"}
    data.append(_underwater(x, under[places] * 100))
    low, high = _limits([shown(values) for values in compared])
    ends = [shown(line.values) for line in drawn]
    layout = _layout(drawn, ends, low, high, len(found), logarithmic, percent)
    layout["yaxis2"] |= {"range": [float(under.min()) * 108 or -1.0, 0]}
    return {
        "data": data,
        "layout": layout,
        "meta": {
            "bars": len(places),
            "of": len(found),
            "joined": False,
            "x": x,
            "times": packed(found.times[places] // 1_000_000, "f8"),
            "daily": Timeframe(backtest.timeframe).is_daily,
            "factor": percent and logarithmic,
            "percent": percent,
            "legend": [*(line.name for line in drawn), BEST, UNDER],
        },
    }


def usual_scale(found: Curves) -> str:
    """Logarithmic where a linear axis would flatten the lower lines."""
    import numpy as np

    low = min(float(values.min()) for values in (found.equity, found.hold))
    high = max(float(values.max()) for values in (found.equity, found.hold))
    return "log" if np.isfinite(low) and low > 0 and high / low >= WIDE else "linear"


def sampled(columns: Sequence[Floats], width: int) -> Whole:
    """The bars to draw: all, or where each column is lowest and highest within each few pixels; first and last."""
    import numpy as np

    width = min(max(width, NARROWEST), WIDEST)
    if len(columns[0]) <= width * DRAWN_WHOLE:
        return np.arange(len(columns[0]))
    return np.unique(np.concatenate([thinning.extremes(column, width) for column in columns]))


def _line(line: Line, x: dict[str, str], values: Floats) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": line.name, "x": x, "y": packed(values, "f4"), "hoverinfo": "none",
        "line": {"color": line.hue, "width": 2 if line.hue == "--hue-1" else 1.3},
    }  # fmt: skip


def _bound(x: dict[str, str], values: Floats) -> dict[str, Any]:
    """The result had every order of events inside a candle been the better one: the other edge of a band."""
    return {
        "type": "scatter", "mode": "lines", "name": BEST, "x": x, "y": packed(values, "f4"),
        "hoverinfo": "none", "line": {"color": "--hue-1", "width": 1, "dash": "dot"},
    }  # fmt: skip


def _underwater(x: dict[str, str], values: Floats) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": UNDER, "x": x, "y": packed(values, "f4"),
        "yaxis": "y2", "hoverinfo": "none", "line": {"color": "--loss-mark", "width": 1}, "fill": "tozeroy",
        "fillcolor": "--loss-faint",
    }  # fmt: skip


def _limits(columns: list[Floats]) -> tuple[float, float]:
    import numpy as np

    low, high = (float(edge([edge(one[np.isfinite(one)]) for one in columns])) for edge in (np.min, np.max))
    return low, high


def _layout(
    drawn: list[Line], values: list[Floats], low: float, high: float, bars: int, logarithmic: bool, percent: bool
) -> dict[str, Any]:
    marks = ticks(low, high, logarithmic=logarithmic)

    def text(value: float) -> str:
        if not percent:
            return figures.compact(value)
        change = value - 1 if logarithmic else value / 100
        return f"{figures.percent(change, 0 if abs(change) >= 0.1 or not change else 1)} %"

    room = (high - low or abs(high) or 1) * 0.04
    span = [low - room, high + room]
    if logarithmic:
        room = (log10(high) - log10(low) or 0.1) * 0.04
        span = [log10(low) - room, log10(high) + room]
    labels = _last_labels(drawn, values, span, logarithmic, text)
    across = {"domain": [0.3, 1], "side": "right", "type": "log" if logarithmic else "linear", "range": span,
              "tickmode": "array", "tickvals": marks, "ticktext": [text(value) for value in marks]}  # fmt: skip
    return BARE | {
        "margin": {"l": 8, "r": 64, "t": 8, "b": 38},
        "hovermode": "x",
        "hoversubplots": "axis",
        "dragmode": False,
        "annotations": labels,
        "xaxis": AXIS
        | {"type": "linear", "range": [0, max(bars - 1, 1)], "anchor": "y2", "showspikes": True, "spikemode": "across",
           "spikesnap": "data", "spikethickness": 1, "spikedash": "dot", "spikecolor": "--ink-faint", "tickangle": 0},
        "yaxis": AXIS | across,
        "yaxis2": AXIS
        | {"domain": [0, 0.25], "side": "right", "nticks": 4, "ticksuffix": " %"},
    }  # fmt: skip


def _last_labels(
    drawn: list[Line], values: list[Floats], span: list[float], logarithmic: bool, text: Any
) -> list[dict[str, Any]]:
    """Where each line ends, on the axis; of those that would lie on another the run's stays."""
    placed: list[float] = []
    labels = []
    for line, column in zip(drawn, values, strict=True):
        last = float(column[-1])
        if last != last or (logarithmic and last <= 0):
            continue
        place = log10(last) if logarithmic else last
        height = (place - span[0]) / (span[1] - span[0])
        if any(abs(height - other) < 0.07 for other in placed):
            continue
        placed.append(height)
        labels.append(
            {"xref": "paper", "x": 1, "xanchor": "left", "yref": "y", "y": place, "text": text(last),
             "showarrow": False,
             "font": {"color": "--on-mark", "size": 11}, "bgcolor": line.hue, "borderpad": 3}
        )  # fmt: skip
    return labels


def says(backtest: Backtest, found: Curves) -> str:
    """What to see: from what to what, when it was highest, the deepest fall and how long it took."""
    from signals.metrics import worst_drawdowns

    first, last = found.cash, float(found.equity[-1])
    top = int(found.equity.argmax())
    said = f"{figures.money(first)} became {figures.money(last)}"
    if top not in (0, len(found) - 1):
        said += f", after {figures.money(float(found.equity[top]))} on {at(backtest, found, top)}"
    held = float(found.hold[-1])
    said += f"; held in {backtest.asset.symbol} they would be {figures.money(held)}."
    fall = next(iter(worst_drawdowns(found.equity, 1)), None)
    if fall is None:
        return said
    size = figures.percent(-fall.depth, 1).lstrip("+")
    said += f" The deepest fall, {size} %, went from {at(backtest, found, fall.start)}"
    said += f" to {at(backtest, found, fall.bottom)}"
    if fall.recovered is None:
        return f"{said} and was not made up for by the end."
    return f"{said} and was made up for on {at(backtest, found, fall.recovered)}."


def when(found: Curves, bar: int) -> datetime:
    from marketdata.history import moment

    return moment(int(found.times[bar]))


def at(backtest: Backtest, found: Curves, bar: int) -> str:
    return telling.moment(backtest, when(found, bar))


def rows(backtest: Backtest, found: Curves) -> list[tuple[str, list[str]]]:
    """The chart as a table: some of its bars, the newest first, ending with the first."""
    step = max(1, -(-(len(found) - 1) // (ROWS - 1)))
    places = sorted({0, *range(len(found) - 1, -1, -step)}, reverse=True)
    columns = [line.values for line in lines(backtest, found)]
    return [(at(backtest, found, bar), [figures.money(float(one[bar])) for one in columns]) for bar in places]
