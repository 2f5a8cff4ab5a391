"""An asset's candles as a Plotly figure, at the resolution of the screen that asks.

When there are more candles than fit, the database joins them into longer bars and the figure says so. Colours are
names of the style sheet's tokens ("--gain"), which the page puts in for its theme; nothing here knows light from dark.
"""

import base64
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cached_property
from math import log10
from typing import TYPE_CHECKING, Any, cast

from django.db import connection

from chronos.core import figures
from marketdata import actions
from marketdata.models import Asset, AssetClass, Series, Timeframe

if TYPE_CHECKING:
    from marketdata.multipliers import Adjust

PIXELS_A_BAR = 2.5  # less than this and a candle is a smear
NARROWEST, WIDEST, USUAL = 200, 4000, 1100  # pixels
TYPED_FROM = 2000  # values from which base64 of doubles is shorter and quicker than JSON numbers

# What a person may choose, by kind of timeframe: name, label, length. `None` is everything.
DAILY_RANGES: tuple[tuple[str, str, timedelta | None], ...] = (
    ("1mo", "1 M", timedelta(days=31)),
    ("3mo", "3 M", timedelta(days=92)),
    ("6mo", "6 M", timedelta(days=183)),
    ("1y", "1 Y", timedelta(days=366)),
    ("5y", "5 Y", timedelta(days=5 * 365 + 2)),
    ("all", "All", None),
)
INTRADAY_RANGES: tuple[tuple[str, str, timedelta | None], ...] = (
    ("1d", "1 D", timedelta(days=1)),
    ("5d", "5 D", timedelta(days=7)),
    ("1mo", "1 M", timedelta(days=31)),
    ("3mo", "3 M", timedelta(days=92)),
    ("1y", "1 Y", timedelta(days=366)),
    ("all", "All", None),
)

# Longer bars to join candles into: length, how SQL names a candle's bar, what one is called. A session of Sydney's is
# two days of UTC, so days and what is made of them are those of the market's own clock.
_BIN = "date_bin('{}', open_time AT TIME ZONE %(zone)s, timestamp '2000-01-03 00:00')"  # a Monday: weeks begin on one
_TRUNC = "date_trunc('{}', open_time AT TIME ZONE %(zone)s)"
_LADDER: tuple[tuple[timedelta, str, str], ...] = (
    (timedelta(minutes=5), _BIN.format("5 minutes"), "5 minutes"),
    (timedelta(minutes=15), _BIN.format("15 minutes"), "15 minutes"),
    (timedelta(minutes=30), _BIN.format("30 minutes"), "30 minutes"),
    (timedelta(hours=1), _BIN.format("1 hour"), "1 hour"),
    (timedelta(hours=4), _BIN.format("4 hours"), "4 hours"),
    (timedelta(days=1), _BIN.format("1 day"), "1 day"),
    (timedelta(days=7), _BIN.format("7 days"), "1 week"),
    (timedelta(days=31), _TRUNC.format("month"), "1 month"),
    (timedelta(days=92), _TRUNC.format("quarter"), "1 quarter"),
    (timedelta(days=366), _TRUNC.format("year"), "1 year"),
)

_CANDLES = """
SELECT open_time, open::float8{price}, high::float8{price}, low::float8{price}, close::float8{price},
    volume::float8{volume}, 1
FROM marketdata_candle
WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND open_time >= %(since)s AND open_time <= %(until)s
ORDER BY open_time
"""
# The first open and the last close come from two look-ups a bar; sorting every candle into its bar would cost more.
_JOINED = """
SELECT bar.first, opening.open::float8{opening}, bar.high::float8, bar.low::float8, closing.close::float8{closing},
    bar.volume::float8, bar.candles
FROM (
    SELECT min(open_time) AS first, max(open_time) AS last, max(high{price}) AS high, min(low{price}) AS low,
        sum(volume{volume}) AS volume, count(*) AS candles
    FROM marketdata_candle
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND open_time >= %(since)s AND open_time <= %(until)s
    GROUP BY {bin}
) AS bar
JOIN marketdata_candle AS opening
    ON opening.asset_id = %(asset)s AND opening.timeframe = %(timeframe)s AND opening.open_time = bar.first
JOIN marketdata_candle AS closing
    ON closing.asset_id = %(asset)s AND closing.timeframe = %(timeframe)s AND closing.open_time = bar.last
ORDER BY bar.first
"""
# What a price or a volume is multiplied by: the factor of the step that its time lies in.
_TIMES = "::float8 * (%({factors})s::float8[])[width_bucket({time}, %(steps)s::timestamptz[])]"
_UNCHANGED = dict.fromkeys(("price", "volume", "opening", "closing"), "")
_MULTIPLIED = {
    "price": _TIMES.format(factors="prices", time="open_time"),
    "volume": _TIMES.format(factors="volumes", time="open_time"),
    "opening": _TIMES.format(factors="prices", time="bar.first"),
    "closing": _TIMES.format(factors="prices", time="bar.last"),
}

# How prices may be shown, whatever they are stored as: label, and what it says under the chart.
ADJUSTMENTS: dict[str, tuple[str, str]] = {
    "raw": ("Raw", "Prices as they were traded."),
    "split": ("Split", "Prices divided by every later split."),
    "total": ("Total", "Prices with splits and dividends taken out, backwards from the newest candle."),
}


@dataclass(frozen=True)
class Bar:
    """One drawn bar: a candle, or several joined. `time` is the open of its first, of a day or more its date."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    candles: int


@dataclass(frozen=True)
class Span:
    """A part of a series as bars: what a chart and its sentence are made of."""

    asset: Asset
    timeframe: Timeframe
    bars: Sequence[Bar]
    each: str  # what one bar is, "1 week"
    joined: bool
    zone: tzinfo = UTC  # by whose date bars of a day or more are named

    @cached_property
    def times(self) -> list[datetime]:
        return [bar.time for bar in self.bars]

    def place(self, at: datetime) -> int | None:
        """Which bar a candle that opens then is in; None if it opens before all of them."""
        if self.zone is not UTC:
            at = datetime.combine(at.astimezone(self.zone).date(), time(), UTC)
        after = bisect_right(self.times, at)
        return after - 1 if after else None

    @property
    def daily(self) -> bool:
        """Whether bars are named by dates rather than moments."""
        return self.timeframe.is_daily or self.each in ("1 day", "1 week", "1 month", "1 quarter", "1 year")

    def label(self, bar: Bar) -> str:
        """How the bar is called, which no other bar of the span is."""
        if not self.daily:
            return f"{bar.time:%a} {figures.moment(bar.time)}"
        if self.each == "1 week":
            return f"Week of {figures.day(bar.time)}"
        if self.each == "1 month":
            return f"{bar.time:%b %Y}"
        if self.each == "1 quarter":
            return f"Q{(bar.time.month + 2) // 3} {bar.time.year}"
        if self.each == "1 year":
            return str(bar.time.year)
        return f"{bar.time:%a} {figures.day(bar.time)}"


def ranges(timeframe: Timeframe) -> tuple[tuple[str, str, timedelta | None], ...]:
    return DAILY_RANGES if timeframe.is_daily else INTRADAY_RANGES


def usual_range(timeframe: Timeframe) -> str:
    if timeframe in (Timeframe.W1, Timeframe.MO1):
        return "5y"
    return "1y" if timeframe.is_daily else ("1mo" if timeframe.length >= timedelta(hours=1) else "5d")


def limits(series: Series, chosen: str) -> tuple[datetime, datetime]:
    """First and last moment of a range, counted back from the newest candle: ended series show something too."""
    assert series.first_open
    assert series.last_open
    lengths = {name: length for name, _, length in ranges(Timeframe(series.timeframe))}
    length = lengths.get(chosen)
    since = series.first_open if length is None else max(series.first_open, series.last_open - length)
    return since, series.last_open


def span(asset: Asset, series: Series, chosen: str, width: int = USUAL, adjust: str = "") -> Span:
    """The bars of a range (a name of `ranges`) for a drawing `width` pixels wide; one query.

    `adjust` is a name of `ADJUSTMENTS`; without it, or if prices are stored so, they are shown as they are stored.
    """
    return between(asset, series, *limits(series, chosen), width, adjust)


def between(
    asset: Asset, series: Series, since: datetime, until: datetime, width: int = USUAL, adjust: str = ""
) -> Span:
    """The same of the candles that open from `since` to `until`, both included."""
    timeframe = Timeframe(series.timeframe)
    room = int(min(max(width, NARROWEST), WIDEST) / PIXELS_A_BAR)
    step = _step(series, since, until, room)
    values: dict[str, Any] = {
        "asset": asset.pk,
        "timeframe": timeframe.value,
        "since": since,
        "until": until,
    }
    zone = _zone(asset, timeframe, step)
    values["zone"] = str(zone)
    factors = _factors(asset, series, adjust)
    how = _MULTIPLIED if factors else _UNCHANGED
    with connection.cursor() as cursor:
        cursor.execute((_JOINED if step else _CANDLES).format(bin=step[1] if step else "", **how), values | factors)
        bars = [Bar(*found) for found in cursor.fetchall()]
    if zone is not UTC:
        days = [bar.time.astimezone(zone).date() for bar in bars]
        bars = [replace(bar, time=datetime.combine(day, time(), UTC)) for bar, day in zip(bars, days, strict=True)]
    return Span(asset, timeframe, bars, step[2] if step else timeframe.label, step is not None, zone)


def _zone(asset: Asset, timeframe: Timeframe, step: tuple[timedelta, str, str] | None) -> tzinfo:
    """By whose clock candles are joined, and by whose date the bars are named."""
    if step is None or step[0] < timedelta(days=1) or timeframe.is_daily:  # those are named by their date already
        return UTC
    if asset.asset_class in (AssetClass.CRYPTO, AssetClass.FX):
        return UTC
    zone: tzinfo = actions.zone_of(asset)
    return zone


def _factors(asset: Asset, series: Series, adjust: str) -> dict[str, list[Any]]:
    """The factors of `marketdata.frames` as steps: from when on, and by what prices and volumes are multiplied.

    Empty if by nothing but 1.
    """
    if adjust not in ADJUSTMENTS or adjust == series.basis:
        return {}
    import numpy as np

    from marketdata import frames

    found = frames.factors(asset, series.timeframe, cast("Adjust", adjust))
    if found is None or not found.times.size:
        return {}
    changed = (found.price[1:] != found.price[:-1]) | (found.volume[1:] != found.volume[:-1])
    at = np.concatenate([[0], np.flatnonzero(changed) + 1])
    steps = [opened.replace(tzinfo=UTC) for opened in found.times[at].view("datetime64[us]").tolist()]
    return {"steps": steps, "prices": found.price[at].tolist(), "volumes": found.volume[at].tolist()}


def _step(series: Series, since: datetime, until: datetime, room: int) -> tuple[timedelta, str, str] | None:
    """The shortest bars of which no more than `room` are needed; None if the candles themselves fit.

    How many candles the range has is estimated from the whole series: counting them would cost as much as drawing.
    """
    assert series.first_open
    assert series.last_open
    length = Timeframe(series.timeframe).length
    whole = max(series.last_open - series.first_open, length)
    candles = series.candle_count * ((until - since + length) / (whole + length))
    if candles <= room:
        return None
    longer = [step for step in _LADDER if step[0] > length]
    return next((step for step in longer if (until - since) / step[0] <= room), longer[-1] if longer else None)


def summary(shown: Span) -> str:
    """The sentence that says what to see in the chart."""
    bars = shown.bars
    if not bars:
        return "There are no candles in this range."
    first, last = bars[0], bars[-1]
    lowest, highest = min(bars, key=lambda bar: bar.low), max(bars, key=lambda bar: bar.high)
    if len(bars) == 1 or not first.open:
        return f"{shown.asset.symbol} closed at {figures.price(last.close)} ({shown.label(last)})."
    change = last.close / first.open - 1
    way = {"gain": "up", "loss": "down", "flat": "level"}[figures.direction(change)]
    by = f" {figures.percent(abs(change), 1).lstrip('+')} %" if way != "level" else ""
    return (
        f"{shown.asset.symbol} closed at {figures.price(last.close)}, {way}{by} from the open of"
        f" {_when(shown, first)}; between {figures.price(lowest.low)} ({_when(shown, lowest)})"
        f" and {figures.price(highest.high)} ({_when(shown, highest)})."
    )


def _when(shown: Span, bar: Bar) -> str:
    label = shown.label(bar)
    return label[0].lower() + label[1:] if label.startswith("Week") else label


def figure(shown: Span, *, logarithmic: bool = False) -> dict[str, Any]:
    """`data` and `layout` for Plotly, and `meta` for the page around it; colours are names of tokens.

    The axis has one place a bar and none for closed markets: bars are categories, named by their times, and the page
    chooses which of them to label from `meta.times`.
    """
    bars = shown.bars
    labels = [shown.label(bar) for bar in bars]
    rising = [bar.close >= bar.open for bar in bars]
    candles: dict[str, Any] = {
        "type": "candlestick",
        "name": shown.asset.symbol,
        "x": labels,
        "open": numbers([bar.open for bar in bars]),
        "high": numbers([bar.high for bar in bars]),
        "low": numbers([bar.low for bar in bars]),
        "close": numbers([bar.close for bar in bars]),
        "increasing": {"line": {"color": "--gain-mark", "width": 1}, "fillcolor": "--gain-mark"},
        "decreasing": {"line": {"color": "--loss-mark", "width": 1}, "fillcolor": "--loss-mark"},
        "hoverinfo": "none",  # the line above the chart reads out the bar, in tabular figures
        "whiskerwidth": 0,
    }
    volume: dict[str, Any] = {
        "type": "bar",
        "name": "Volume",
        "x": labels,
        "y": numbers([bar.volume for bar in bars]),
        "yaxis": "y2",
        "marker": {"color": ["--gain-faint" if up else "--loss-faint" for up in rising], "line": {"width": 0}},
        "hoverinfo": "none",
    }
    return {
        "data": [candles, volume],
        "layout": _layout(bars, logarithmic),
        "meta": {
            "each": shown.each,
            "joined": shown.joined,
            "daily": shown.daily,
            "bars": len(bars),
            "labels": labels,
            "times": [int(bar.time.timestamp()) for bar in bars],
            "readouts": [_readout(bar, before) for before, bar in zip([None, *bars], bars, strict=False)],
        },
    }


def _layout(bars: Sequence[Bar], logarithmic: bool) -> dict[str, Any]:
    axis = {
        "gridcolor": "--grid",
        "linecolor": "--grid",
        "zeroline": False,
        "tickfont": {"color": "--ink-soft", "size": 11},
        "fixedrange": False,
    }
    layout: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--ink-soft", "size": 11},
        "margin": {"l": 8, "r": 64, "t": 8, "b": 38},
        "showlegend": False,
        "hovermode": "x",
        "dragmode": "pan",
        "bargap": 0.25,
        "xaxis": axis
        | {
            "type": "category",
            "rangeslider": {"visible": False},
            "showspikes": True,
            "spikemode": "across",
            "spikesnap": "data",
            "spikethickness": 1,
            "spikedash": "dot",
            "spikecolor": "--ink-faint",
            "anchor": "y2",
            "showgrid": True,
            "tickangle": 0,
        },
        # Volume is a fifth of the height; a thirtieth keeps the two apart.
        "yaxis": axis
        | {"domain": [0.235, 1], "side": "right", "type": "log" if logarithmic else "linear", "nticks": 8},
        "yaxis2": axis | {"domain": [0, 0.2], "side": "right", "nticks": 3, "rangemode": "tozero", "fixedrange": True},
    }
    if bars:
        last = bars[-1]
        layout["shapes"] = [_last_line(last)]
        layout["annotations"] = [_last_label(last, logarithmic)]
    return layout


def _last_line(last: Bar) -> dict[str, Any]:
    colour = "--gain-mark" if last.close >= last.open else "--loss-mark"
    line = {"color": colour, "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": last.close, "y1": last.close, "line": line}


def _last_label(last: Bar, logarithmic: bool) -> dict[str, Any]:
    up = last.close >= last.open
    return {
        "xref": "paper",
        "x": 1,
        "xanchor": "left",
        "yref": "y",
        # Plotly takes an annotation's place on a logarithmic axis as the exponent, a shape's as the value.
        "y": log10(last.close) if logarithmic and last.close > 0 else last.close,
        "text": figures.price(last.close),
        "showarrow": False,
        "font": {"color": "--on-mark", "size": 11},
        "bgcolor": "--gain-mark" if up else "--loss-mark",
        "borderpad": 3,
    }


def _readout(bar: Bar, before: Bar | None) -> list[str]:
    """Open, high, low, close, change in per cent, volume; the change is of the close against the bar before."""
    change = bar.close / before.close - 1 if before and before.close else None
    return [
        figures.price(bar.open),
        figures.price(bar.high),
        figures.price(bar.low),
        figures.price(bar.close),
        figures.percent(change),
        figures.compact(bar.volume),
    ]


def numbers(values: Sequence[float]) -> list[float] | dict[str, str]:
    """Values as Plotly takes them: a list, or base64 of doubles when there are many."""
    if len(values) < TYPED_FROM:
        return list(values)
    packed = array("d", values)
    return {"dtype": "f8", "bdata": base64.b64encode(packed.tobytes()).decode()}
