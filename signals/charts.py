"""A result's charts as Plotly figures, at the resolution of the screen that asks, and the sentence under each.

Of more bars than pixels the lowest and the highest within each few of them are drawn, of every line, so that no peak
and no fall is lost. Colours are names of the style sheet's tokens, as in `marketdata.charts`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor, log10
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from chronos.core import figures
from chronos.core.figures import counted
from marketdata import charts as prices
from marketdata.charts import NARROWEST, WIDEST, Span
from marketdata.models import Series, Timeframe
from signals import curves, telling
from signals.engine.terms import Terms
from signals.models import Backtest, Curve, Trade

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from signals.engine.terms import Floats, Whole

USUAL = prices.USUAL  # pixels
PIXELS_A_STEP = 2  # in which the lowest and the highest are drawn
DRAWN_WHOLE = 2  # bars a pixel up to which all are drawn
MARKED = 400  # trades in one drawing; of more the largest
DENSER = 1.25  # than on an asset's page, so that ten years are weeks rather than months
DOTS = 2000  # of the excursions; of more as many, spread evenly
ROWS = 24  # of a chart's table


# --- The equity and what it is held against ----------------------------------------------------------------------


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
    """The stored curve, or only some of its columns, since a million bars take 30 ms each; `times` always."""
    wanted = names or ("equity", "gross", "hold", "benchmark", "optimistic")
    row = Curve.objects.filter(backtest=backtest).values("times", *wanted).first()
    if row is None:
        return None
    columns = {name: curves.unpacked(row[name]) if row.get(name) else None for name in _COLUMNS}
    times, cash = curves.unpacked_times(row["times"]), float(backtest.terms.get("cash") or Terms().cash)
    return Curves(times, **columns, cash=cash)  # type: ignore[arg-type]


_COLUMNS = ("equity", "gross", "hold", "benchmark", "optimistic")


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


def equity(
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
    return {
        "data": data,
        "layout": _layout(drawn, [shown(line.values) for line in drawn], low, high, len(found), logarithmic, percent),
        "meta": {
            "bars": len(places),
            "of": len(found),
            "joined": False,
            "x": x,
            "times": packed(found.times[places] // 1_000_000, "f8"),
            "daily": Timeframe(backtest.timeframe).is_daily,
            "factor": percent and logarithmic,
            "percent": percent,
        },
    }


def sampled(columns: Sequence[Floats], width: int) -> Whole:
    """The bars to draw: all, or where each column is lowest and highest within each few pixels; first and last."""
    import numpy as np

    bars, width = len(columns[0]), min(max(width, NARROWEST), WIDEST)
    if bars <= width * DRAWN_WHOLE:
        return np.arange(bars)
    size = ceil(bars * PIXELS_A_STEP / width)
    whole = bars // size * size
    begins = np.arange(0, whole, size)
    kept = [np.array([0, bars - 1])]
    for column in columns:
        parts, rest = column[:whole].reshape(-1, size), column[whole:]
        for lowest in (np.argmin, np.argmax):
            kept.append(begins + lowest(parts, axis=1))
            if len(rest):
                kept.append(np.array([whole + int(lowest(rest))]))
    return np.unique(np.concatenate(kept))


def packed(values: Any, kind: str) -> dict[str, str]:
    """An array as Plotly takes it: base64 of numbers of this kind."""
    import numpy as np

    return {"dtype": kind, "bdata": base64.b64encode(np.ascontiguousarray(values, f"<{kind}").tobytes()).decode()}


def _line(line: Line, x: dict[str, str], values: Floats) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": line.name, "x": x, "y": packed(values, "f4"), "hoverinfo": "none",
        "line": {"color": line.hue, "width": 2 if line.hue == "--hue-1" else 1.3},
    }  # fmt: skip


def _bound(x: dict[str, str], values: Floats) -> dict[str, Any]:
    """The result had every order of events inside a candle been the better one: the other edge of a band."""
    return {
        "type": "scatter", "mode": "lines", "name": "Best case", "x": x, "y": packed(values, "f4"),
        "hoverinfo": "none", "line": {"color": "--hue-1", "width": 1, "dash": "dot"},
    }  # fmt: skip


def _underwater(x: dict[str, str], values: Floats) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": "Below its high, %", "x": x, "y": packed(values, "f4"),
        "yaxis": "y2", "hoverinfo": "none", "line": {"color": "--loss-mark", "width": 1}, "fill": "tozeroy",
        "fillcolor": "--loss-faint",
    }  # fmt: skip


def _limits(columns: list[Floats]) -> tuple[float, float]:
    import numpy as np

    low, high = (float(edge([edge(one[np.isfinite(one)]) for one in columns])) for edge in (np.min, np.max))
    return low, high


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


def _layout(
    drawn: list[Line], values: list[Floats], low: float, high: float, bars: int, logarithmic: bool, percent: bool
) -> dict[str, Any]:
    at = ticks(low, high, logarithmic=logarithmic)

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
              "tickmode": "array", "tickvals": at, "ticktext": [text(value) for value in at]}  # fmt: skip
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
        | {"domain": [0, 0.25], "side": "right", "nticks": 4, "ticksuffix": " %", "rangemode": "tozero"},
    }  # fmt: skip


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
        at = log10(last) if logarithmic else last
        height = (at - span[0]) / (span[1] - span[0])
        if any(abs(height - other) < 0.07 for other in placed):
            continue
        placed.append(height)
        labels.append(
            {"xref": "paper", "x": 1, "xanchor": "left", "yref": "y", "y": at, "text": text(last), "showarrow": False,
             "font": {"color": "--on-mark", "size": 11}, "bgcolor": line.hue, "borderpad": 3}
        )  # fmt: skip
    return labels


def equity_says(backtest: Backtest, found: Curves) -> str:
    """What to see: from what to what, when it was highest, the deepest fall and how long it took."""
    from signals.metrics import worst_drawdowns

    first, last = found.cash, float(found.equity[-1])
    top = int(found.equity.argmax())
    said = f"{figures.money(first)} became {figures.money(last)}"
    if top not in (0, len(found) - 1):
        said += f", after {figures.money(float(found.equity[top]))} on {_at(backtest, found, top)}"
    held = float(found.hold[-1])
    said += f"; held in {backtest.asset.symbol} they would be {figures.money(held)}."
    fall = next(iter(worst_drawdowns(found.equity, 1)), None)
    if fall is None:
        return said
    size = figures.percent(-fall.depth, 1).lstrip("+")
    said += f" The deepest fall, {size} %, went from {_at(backtest, found, fall.start)}"
    said += f" to {_at(backtest, found, fall.bottom)}"
    if fall.recovered is None:
        return f"{said} and was not made up for by the end."
    return f"{said} and was made up for on {_at(backtest, found, fall.recovered)}."


def when(found: Curves, bar: int) -> datetime:
    from marketdata.history import moment

    return moment(int(found.times[bar]))


def _at(backtest: Backtest, found: Curves, bar: int) -> str:
    return telling.moment(backtest, when(found, bar))


def equity_rows(backtest: Backtest, found: Curves) -> list[tuple[str, list[str]]]:
    """The chart as a table: some of its bars, the newest first, ending with the first."""
    step = max(1, -(-(len(found) - 1) // (ROWS - 1)))
    places = sorted({0, *range(len(found) - 1, -1, -step)}, reverse=True)
    columns = [line.values for line in lines(backtest, found)]
    return [(_at(backtest, found, bar), [figures.money(float(one[bar])) for one in columns]) for bar in places]


# --- Trades on the price -----------------------------------------------------------------------------------------

# By what is done a mark has its shape, by what came of it its colour.
SHAPES = {
    "signal": "circle", "reversal": "circle", "stop_loss": "x", "trailing_stop": "x", "take_profit_1": "diamond",
    "take_profit_2": "diamond", "max_bars": "square", "end": "square", "ruin": "x",
}  # fmt: skip
AROUND = 30  # bars before and after a trade that is looked at, at least


def limits(backtest: Backtest, chosen: str, trade: Trade | None) -> tuple[datetime, datetime]:
    """First and last moment that is shown: around a trade, or as much of the run as was chosen, up to its end."""
    assert backtest.first_open
    assert backtest.last_open
    if trade is not None:
        length = Timeframe(backtest.timeframe).length
        left = trade.exit_time or backtest.last_open
        room = max(AROUND * length, (left - trade.entry_time) / 2)
        return max(backtest.first_open, trade.entry_time - room), min(backtest.last_open, left + room)
    lengths = {name: length for name, _, length in prices.ranges(Timeframe(backtest.timeframe))}
    found = lengths.get(chosen)
    since = backtest.first_open if found is None else max(backtest.first_open, backtest.last_open - found)
    return since, backtest.last_open


def ranges(backtest: Backtest) -> list[tuple[str, str]]:
    """Those that are shorter than the run, and all of it."""
    assert backtest.first_open
    assert backtest.last_open
    whole = backtest.last_open - backtest.first_open + timedelta(days=1)
    every = prices.ranges(Timeframe(backtest.timeframe))
    return [(name, label) for name, label, length in every if length is None or length < whole]


def candles(backtest: Backtest, since: datetime, until: datetime, width: int = USUAL) -> Span | None:
    """The candles as they were traded, which is what orders filled at; None if there are none any more."""
    series = Series.objects.filter(asset=backtest.asset, timeframe=backtest.timeframe, candle_count__gt=0).first()
    if series is None or series.first_open is None or series.last_open is None:
        return None
    return prices.between(backtest.asset, series, since, until, round(width * DENSER), "raw")


def marked(backtest: Backtest, since: datetime, until: datetime, trade: Trade | None) -> tuple[list[Trade], int]:
    """The trades that were held in a range, in their order, and how many there are: if too many, the largest."""
    inside = Trade.objects.filter(backtest=backtest, entry_time__lte=until).exclude(exit_time__lt=since)
    many = inside.count()
    found = list(inside.order_by("number") if many <= MARKED else _largest(inside))
    if trade is not None and trade.number not in {one.number for one in found}:
        found.append(trade)
    return sorted(found, key=lambda one: one.number), many


def _largest(trades: Any) -> list[Trade]:
    gained, lost = trades.order_by("-profit", "number"), trades.order_by("profit", "number")
    return list({one.pk: one for one in [*gained[: MARKED // 2], *lost[: MARKED // 2]]}.values())


def price(shown: Span, trades: list[Trade], chosen: Trade | None, exits: dict[str, Any]) -> dict[str, Any]:
    """Candles with an arrow where a position was entered, a mark where it was left, and a line between them."""
    figure = prices.figure(shown)
    entries, left, between = _entries(shown, trades), _exits(shown, trades), _ways(shown, trades)
    figure["data"] = [*figure["data"], *between, entries, left]
    layout = figure["layout"]
    layout["dragmode"] = False
    layout["xaxis"] |= {"fixedrange": True, "range": [-0.5, len(shown.bars) - 0.5]}
    layout["yaxis"] |= {"fixedrange": True}
    layout["margin"] = layout["margin"] | {"t": 12}
    if chosen is not None:
        levels = _levels(shown, chosen, exits)
        layout["shapes"] = [*layout.get("shapes", []), *levels]
        layout["annotations"] = [*layout.get("annotations", []), *_names(levels)]
    return figure


def _on_bar(shown: Span, at: datetime, fill: float) -> tuple[str, float] | None:
    """Where a fill is drawn: on its bar, and within what that traded, whatever slippage or a later split made of it."""
    place = shown.place(at)
    if place is None:
        return None
    bar = shown.bars[place]
    return shown.label(bar), min(max(fill, bar.low), bar.high)


def _entries(shown: Span, trades: list[Trade]) -> dict[str, Any]:
    """One arrow a position, however many parts it was left in."""
    found: dict[int, tuple[Trade, tuple[str, float]]] = {}
    since = shown.bars[0].time if shown.bars else None
    for trade in trades:
        if trade.position not in found and since is not None:
            at = _on_bar(shown, trade.entry_time, float(trade.entry_price))
            if at:
                found[trade.position] = (trade, at)
    rising = [trade.direction == Trade.Direction.LONG for trade, _ in found.values()]
    return _marks(
        "Entries",
        [(trade, at, f"{trade.get_direction_display()} at {figures.price(trade.entry_price)}")
         for trade, at in found.values()],
        ["triangle-up" if up else "triangle-down" for up in rising],
        ["--hue-1" if up else "--hue-3" for up in rising],
        11,
    )  # fmt: skip


def _exits(shown: Span, trades: list[Trade]) -> dict[str, Any]:
    found = []
    for trade in trades:
        if trade.exit_time and trade.exit_price is not None:
            last = shown.bars[-1] if shown.bars else None
            if last is None or trade.exit_time > _end_of(shown):
                continue
            at = _on_bar(shown, trade.exit_time, float(trade.exit_price))
            if at:
                found.append((trade, at, f"{telling.reason(trade.exit_reason)} at {figures.price(trade.exit_price)}"))
    return _marks(
        "Exits",
        [(trade, at, f"{text}, {figures.percent(trade.profit_percent)} %") for trade, at, text in found],
        [SHAPES.get(trade.exit_reason, "circle") for trade, _, _ in found],
        ["--gain-mark" if trade.profit > 0 else "--loss-mark" for trade, _, _ in found],
        9,
    )


def _end_of(shown: Span) -> datetime:
    """The last moment that the last bar may hold."""
    return shown.bars[-1].time + timedelta(days=366 if shown.joined else 1)


def _marks(
    name: str, found: list[tuple[Trade, tuple[str, float], str]], symbols: list[str], colours: list[str], size: int
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": name, "cliponaxis": False,
        "x": [at[0] for _, at, _ in found],
        "y": [at[1] for _, at, _ in found],
        "customdata": [trade.number for trade, _, _ in found],
        "text": [f"Trade {trade.number + 1}: {text}" for trade, _, text in found],
        "hovertemplate": "%{text}<extra></extra>",
        "hoverlabel": {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink", "size": 12}},
        "marker": {"symbol": symbols, "color": colours, "size": size, "line": {"color": "--surface", "width": 1}},
    }  # fmt: skip


def _ways(shown: Span, trades: list[Trade]) -> list[dict[str, Any]]:
    """From each entry to its exit, in the colour of what came of it; what is open still until the last bar."""
    drawn: dict[bool, tuple[list[str | None], list[float | None]]] = {True: ([], []), False: ([], [])}
    for trade in trades:
        begin = _on_bar(shown, trade.entry_time, float(trade.entry_price))
        leaves, fill = trade.exit_time or _end_of(shown), trade.exit_price or trade.entry_price
        end = _on_bar(shown, leaves, float(fill))
        if trade.is_open and end:
            end = (end[0], shown.bars[-1].close)
        if begin and end:
            x, y = drawn[trade.profit > 0]
            x += [begin[0], end[0], None]
            y += [begin[1], end[1], None]
    return [
        {"type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip",
         "line": {"color": "--gain-mark" if won else "--loss-mark", "width": 1.4, "dash": "dot"}}
        for won, (x, y) in drawn.items()
    ]  # fmt: skip


def _levels(shown: Span, trade: Trade, exits: dict[str, Any]) -> list[dict[str, Any]]:
    """The first stop and the targets of a trade, from its entry to its exit."""
    begin = shown.place(trade.entry_time)
    end = shown.place(trade.exit_time) if trade.exit_time else len(shown.bars) - 1
    if begin is None or end is None:
        return []
    sign, entry = (1 if trade.direction == Trade.Direction.LONG else -1), float(trade.entry_price)
    levels = []
    if trade.risk:
        levels.append(("Stop", entry - sign * float(trade.risk) / float(trade.quantity), "--loss-mark"))
    for name, label in (("take_profit_1", "Target 1"), ("take_profit_2", "Target 2")):
        if exits.get(name):
            levels.append((label, entry * (1 + sign * exits[name]), "--gain-mark"))
    return [
        {"type": "line", "xref": "x", "x0": begin - 0.4, "x1": end + 0.4, "yref": "y", "y0": level, "y1": level,
         "name": name, "line": {"color": colour, "width": 1.5}}
        for name, level, colour in levels
    ]  # fmt: skip


def _names(levels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"xref": "x", "x": level["x0"], "xanchor": "right", "yref": "y", "y": level["y0"], "showarrow": False,
         "text": f"{level['name']} {figures.price(level['y0'])} ",
         "font": {"color": level["line"]["color"], "size": 11}}
        for level in levels
    ]  # fmt: skip


def price_says(shown: Span | None, trades: list[Trade], many: int) -> str:
    if shown is None or not shown.bars:
        return "The candles of this range are not here any more, so there is nothing to draw trades on."
    closed = [trade for trade in trades if not trade.is_open]
    won = sum(trade.profit > 0 for trade in closed)
    said = "No trade was held in this range." if not many else f"{counted(many, 'trade')} in this range"
    if many > len(trades):
        said += f", of which the {len(trades)} with the largest profits and losses are marked"
    if closed:
        said += f"; {won} of {len(closed)} won" if many == len(trades) else ""
        said += "."
    elif many:
        said += ", still open at the end."
    return said + (" Choose a shorter range, or a trade, to see each candle." if shown.joined else "")


# --- How returns are spread --------------------------------------------------------------------------------------


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

    returns = bar_returns(found.equity)
    inside = (found.gross[1:] > 0) | (found.gross[:-1] > 0)
    held = returns[inside]
    if not len(held):
        return None
    edges, counts = histogram(held)
    low, middle, high = np.percentile(held, [25, 50, 75]).tolist()
    worst, best = int(returns.argmin()), int(returns.argmax())
    return Spread(
        edges.tolist(), counts.tolist(), len(held), low, middle, high, float(returns[worst]), worst + 1,
        float(returns[best]), best + 1,
    )  # fmt: skip


def returns(found: Spread) -> dict[str, Any]:
    middles = [(low + high) / 2 * 100 for low, high in zip(found.edges, found.edges[1:], strict=False)]
    data = {
        "type": "bar", "x": middles, "y": found.counts, "hovertemplate": "%{text}<extra></extra>",
        "width": (found.edges[1] - found.edges[0]) * 100 * 0.92,
        "text": [f"{label}: {counted(count, 'bar')}" for label, count in bins(found)], "textposition": "none",
        "marker": {"color": ["--gain-mark" if middle > 0 else "--loss-mark" for middle in middles]},
        "hoverlabel": {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink", "size": 12}},
    }  # fmt: skip
    layout = BARE | {
        "margin": {"l": 8, "r": 48, "t": 8, "b": 40},
        "bargap": 0,
        "dragmode": False,
        "xaxis": AXIS | {"ticksuffix": " %", "nticks": 9, "title": _title("Return of a bar")},
        "yaxis": AXIS | {"side": "right", "nticks": 5, "rangemode": "tozero"},
    }
    return {"data": [data], "layout": layout, "meta": {"bars": len(found.counts), "joined": False}}


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11, "color": "--ink-soft"}, "standoff": 6}


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


def returns_says(backtest: Backtest, found: Spread, curve: Curves) -> str:
    low, high = (f"{figures.percent(edge)} %" for edge in (found.quarter, found.three_quarters))
    return (
        f"Of {counted(found.bars, 'bar')} with a position half lay between {low} and {high}, the middle one at"
        f" {figures.percent(found.middle)} %. The worst was {figures.percent(found.worst, 1)} %"
        f" ({_at(backtest, curve, found.worst_at)}), the best {figures.percent(found.best, 1)} %"
        f" ({_at(backtest, curve, found.best_at)})."
    )


# --- How far trades went against and in favour of their entry ----------------------------------------------------


@dataclass(frozen=True)
class Dot:
    number: int
    mae: float
    mfe: float
    change: float


def dots(backtest: Backtest) -> list[Dot]:
    """Closed trades, in their order."""
    rows = Trade.objects.filter(backtest=backtest, is_open=False).order_by("number")
    return [Dot(*row) for row in rows.values_list("number", "mae", "mfe", "profit_percent")]


def excursions(found: list[Dot], exits: dict[str, Any]) -> dict[str, Any]:
    """Across how far each trade went against its entry, upwards how far in favour; stops and targets as lines."""
    drawn = _spread_out(found)
    data = []
    for won, name, colour, symbol in ((True, "Won", "--gain-mark", "circle"), (False, "Lost", "--loss-mark", "x-thin")):
        some = [dot for dot in drawn if (dot.change > 0) == won]
        data.append(
            {"type": "scatter", "mode": "markers", "name": name,
             "x": prices.numbers([round(-dot.mae * 100, 4) for dot in some]),
             "y": prices.numbers([round(dot.mfe * 100, 4) for dot in some]),
             "customdata": [dot.number for dot in some],
             "text": [f"Trade {dot.number + 1}: {figures.percent(dot.change)} %" for dot in some],
             "hovertemplate": "%{text}<br>%{x:.2f} % against, %{y:.2f} % in favour<extra></extra>",
             "hoverlabel": {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink", "size": 12}},
             "marker": {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.75,
                        "line": {"color": colour, "width": 1.5 if symbol == "x-thin" else 0}}}
        )  # fmt: skip
    across, upwards = max([-dot.mae for dot in drawn], default=0), max([dot.mfe for dot in drawn], default=0)
    layout = BARE | {
        "margin": {"l": 8, "r": 64, "t": 8, "b": 40},
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": AXIS | {"ticksuffix": " %", "nticks": 7, "title": _title("Against it at worst")} | _from_zero(across),
        "yaxis": AXIS
        | {"side": "right", "ticksuffix": " %", "nticks": 6, "title": _title("In favour at best")}
        | _from_zero(upwards),
        "shapes": [
            *[_rule("x", exits[name]) for name in ("stop_loss",) if exits.get(name)],
            *[_rule("y", exits[name]) for name in ("take_profit_1", "take_profit_2") if exits.get(name)],
        ],
    }
    return {"data": data, "layout": layout, "meta": {"bars": len(drawn), "joined": False}}


def _from_zero(most: float) -> dict[str, Any]:
    """A range of per cent with room for marks that lie on 0."""
    return {"range": [-3 * (most or 0.01), 105 * (most or 0.01)]}


def _rule(axis: str, fraction: float) -> dict[str, Any]:
    """A stop or a target, right across."""
    other, at = ("y" if axis == "x" else "x"), fraction * 100
    line = {"color": "--ink-faint", "width": 1, "dash": "dot"}
    return {"type": "line", f"{axis}0": at, f"{axis}1": at, f"{axis}ref": axis, f"{other}0": 0, f"{other}1": 1,
            f"{other}ref": "paper", "line": line}  # fmt: skip


def _spread_out(found: list[Dot]) -> list[Dot]:
    """No more than can be drawn: each so-manieth, and the outermost."""
    if len(found) <= DOTS:
        return found
    kept = {dot.number: dot for dot in found[:: -(-len(found) // DOTS)]}
    for measure in ("mae", "mfe", "change"):
        for edge in (min, max):
            dot = edge(found, key=attrgetter(measure))
            kept[dot.number] = dot
    return list(kept.values())


def excursions_says(found: list[Dot]) -> str:
    won, lost = [dot for dot in found if dot.change > 0], [dot for dot in found if dot.change <= 0]
    said = ""
    if won:
        said = f"Half of the {counted(len(won), 'winner')} never were more than {_middle(-dot.mae for dot in won)}"
        said += " % against their entry. "
    if lost:
        said += f"Half of the {counted(len(lost), 'loser')} had been up by {_middle(dot.mfe for dot in lost)}"
        said += " % or more before they lost. "
    if len(found) > DOTS:
        said += f"About {figures.integer(DOTS)} of {figures.integer(len(found))} are drawn. "
    return said.strip()


def _middle(values: Any) -> str:
    from statistics import median

    return f"{median(values) * 100:.1f}"
