"""Trades on the price: candles, an arrow where a position was entered, a mark where it was left, a line between."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import log10
from typing import Any

from django.db.models import Count, Q

from chronos.core import figures
from chronos.core.figures import counted
from marketdata import charts as prices
from marketdata.charts import USUAL, Span
from marketdata.models import Series, Timeframe
from signals import telling
from signals.charts.axes import HOVER, ticks
from signals.models import Backtest, Trade

DENSER = 1.25  # than on an asset's page, so that ten years are weeks rather than months
MARKED = 400  # trades in one drawing; of more the largest
CROWD = 80  # marks from which on they are smaller
SEEN = 60  # trades that the range that is shown at first has at most
WIDE = 8  # times as high as low: a logarithmic axis
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


def usual_range(backtest: Backtest) -> str:
    """The longest range in which trades can be told apart; the shortest if there is none."""
    assert backtest.last_open
    every = [(name, limits(backtest, name, None)[0]) for name, _ in reversed(ranges(backtest))]
    many = Trade.objects.filter(backtest=backtest).aggregate(
        **{name: Count("pk", filter=~Q(exit_time__lt=since)) for name, since in every}
    )
    return next((name for name, _ in every if many[name] <= SEEN), every[-1][0])


def has_candles(backtest: Backtest) -> bool:
    return _series(backtest) is not None


def _series(backtest: Backtest) -> Series | None:
    stored = Series.objects.filter(asset=backtest.asset, timeframe=backtest.timeframe, candle_count__gt=0)
    return stored.exclude(first_open=None).exclude(last_open=None).first()


def candles(backtest: Backtest, since: datetime, until: datetime, width: int = USUAL) -> Span | None:
    """The candles as they were traded, which is what orders filled at; None if there are none any more."""
    series = _series(backtest)
    if series is None:
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


def figure(shown: Span, trades: list[Trade], chosen: Trade | None, exits: dict[str, Any]) -> dict[str, Any]:
    """Candles with an arrow where a position was entered, a mark where it was left, and a line between them.

    A trade that is looked at has its stop and targets beside it, and the others stand back.
    """
    levels = _levels(shown, chosen, exits) if chosen is not None and shown.bars else []
    seen = [bar.low for bar in shown.bars] + [bar.high for bar in shown.bars] + [level["y0"] for level in levels]
    low, high = min(seen, default=0.0), max(seen, default=1.0)
    logarithmic = _is_wide(shown)
    drawn = prices.figure(shown, logarithmic=logarithmic)
    position = None if chosen is None else chosen.position
    drawn["data"] += [*_ways(shown, trades), _entries(shown, trades, position), _exits(shown, trades, position)]
    if logarithmic:
        drawn["meta"]["note"] = "The axis of prices is logarithmic."
    layout = drawn["layout"]
    layout["dragmode"] = False
    layout["xaxis"] |= {"fixedrange": True, "range": [-0.5, len(shown.bars) - 0.5]}
    marks = ticks(low, high, logarithmic=logarithmic)
    layout["yaxis"] |= {"fixedrange": True, "range": _room(low, high, logarithmic), "tickmode": "array",
                        "tickvals": marks, "ticktext": [figures.price(mark) for mark in marks]}  # fmt: skip
    layout["shapes"] = [*layout.get("shapes", []), *levels]
    layout["annotations"] = [*layout.get("annotations", []), *_names(levels, logarithmic)]
    return drawn


def _is_wide(shown: Span) -> bool:
    """Whether prices differ so much that a linear axis would flatten the low ones."""
    low, high = min((bar.low for bar in shown.bars), default=0.0), max((bar.high for bar in shown.bars), default=0.0)
    return low > 0 and high / low >= WIDE


def _room(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        low, high = log10(low), log10(high)
    room = (high - low or abs(high) or 1.0) * 0.05
    return [low - room, high + room]


def _on_bar(shown: Span, at: datetime, fill: float) -> tuple[str, float] | None:
    """Where a fill is drawn: on its bar, and within what that traded, whatever slippage or a later split made of it."""
    place = shown.place(at)
    if place is None:
        return None
    bar = shown.bars[place]
    return shown.label(bar), min(max(fill, bar.low), bar.high)


def _entries(shown: Span, trades: list[Trade], chosen: int | None) -> dict[str, Any]:
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
        11, chosen,
    )  # fmt: skip


def _exits(shown: Span, trades: list[Trade], chosen: int | None) -> dict[str, Any]:
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
        chosen,
    )


def _end_of(shown: Span) -> datetime:
    """The last moment that the last bar may hold."""
    return shown.bars[-1].time + timedelta(days=366 if shown.joined else 1)


def _marks(
    name: str,
    found: list[tuple[Trade, tuple[str, float], str]],
    symbols: list[str],
    colours: list[str],
    size: int,
    chosen: int | None,
) -> dict[str, Any]:
    size = size if len(found) <= CROWD else size - 3
    return {
        "type": "scatter", "mode": "markers", "name": name, "cliponaxis": False,
        "x": [at[0] for _, at, _ in found],
        "y": [at[1] for _, at, _ in found],
        "customdata": [trade.number for trade, _, _ in found],
        "text": [f"Trade {trade.number + 1}: {text}" for trade, _, text in found],
        "hovertemplate": "%{text}<extra></extra>",
        "hoverlabel": HOVER,
        "marker": {
            "symbol": symbols, "color": colours,
            "size": [size + 4 if trade.position == chosen else size for trade, _, _ in found],
            "opacity": [1 if chosen in (None, trade.position) else 0.45 for trade, _, _ in found],
            "line": {"width": 1, "color": ["--ink" if one.position == chosen else "--surface" for one, _, _ in found]},
        },
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


def _names(levels: list[dict[str, Any]], logarithmic: bool) -> list[dict[str, Any]]:
    return [
        {"xref": "x", "x": level["x0"], "xanchor": "right", "yref": "y",
         "y": log10(level["y0"]) if logarithmic else level["y0"], "showarrow": False,
         "bgcolor": "--surface", "text": f"{level['name']} {figures.price(level['y0'])} ",
         "font": {"color": level["line"]["color"], "size": 11}}
        for level in levels
    ]  # fmt: skip


def says(trades: list[Trade], many: int, *, there: bool) -> str:
    """What to see: how many trades of the range are marked, and how they went."""
    if not there:
        return "The candles of this range are not here any more, so there is nothing to draw trades on."
    if not many:
        return "No trade was held in this range."
    closed = [trade for trade in trades if not trade.is_open]
    said = f"{counted(many, 'trade')} in this range"
    if many > len(trades):
        return f"{said}, of which the {len(trades)} with the largest profits and losses are marked."
    if not closed:
        return f"{said}, still open at the end."
    return f"{said}; {sum(trade.profit > 0 for trade in closed)} of {len(closed)} won."
