"""How far assets have come: the newest close of many against those of a week, a month or a year before, in one query.

A window counts back from an asset's own newest candle, so that one that was asked for yesterday and one that ended in
2013 are each told of their last year. What it is held against is the last close at or before that day; if that is
older than `STALE`, or the asset has not been there for so long, nothing is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from marketdata.models import Series, Timeframe
from marketdata.multipliers import Split, ratio, unseen_splits

STALE = timedelta(days=10)  # how much older than its day a close may be that a window begins with: longest holidays

# Where each window begins, in SQL, from the open of the newest candle; by UTC, which is the connection's time zone.
_DAILY = "w.timeframe = '1d'"
WINDOWS: dict[str, str] = {
    "1d": f"CASE WHEN {_DAILY} THEN newest.open_time - interval '1 microsecond' ELSE newest.open_time - interval"
    " '1 day' END",
    "1w": "newest.open_time - interval '7 days'",
    "1mo": "newest.open_time - interval '1 month'",
    "3mo": "newest.open_time - interval '3 months'",
    "6mo": "newest.open_time - interval '6 months'",
    "ytd": "date_trunc('year', newest.open_time) - interval '1 microsecond'",
    "1y": "newest.open_time - interval '1 year'",
    "5y": "newest.open_time - interval '5 years'",
}
_AT_LEAST = {"1d": timedelta(days=1), "1w": timedelta(days=7)}  # a window is not told of candles longer than it is
_YEAR_FROM = Timeframe.H1.length  # a year of shorter candles is too many to look for its ends

# Per asset a handful of look-ups in the primary key of one partition.
_PAST = """
SELECT w.asset_id, extract(epoch FROM newest.open_time)::float8, newest.close::float8, newest.volume::float8,
    (SELECT array_agg(extract(epoch FROM before.open_time)::float8 ORDER BY begin.place)
        || array_agg(before.close::float8 ORDER BY begin.place)
     FROM (VALUES {begins}) AS begin (place, at)
     LEFT JOIN LATERAL (
        SELECT open_time, close FROM marketdata_candle
        WHERE asset_id = w.asset_id AND timeframe = w.timeframe
            AND open_time <= begin.at AND open_time >= begin.at - w.stale
        ORDER BY open_time DESC LIMIT 1
     ) AS before ON true)
FROM unnest(%(assets)s::bigint[], %(timeframes)s::text[], %(stale)s::interval[]) AS w (asset_id, timeframe, stale)
CROSS JOIN LATERAL (
    SELECT open_time, close, volume FROM marketdata_candle
    WHERE asset_id = w.asset_id AND timeframe = w.timeframe AND open_time <= %(until)s
    ORDER BY open_time DESC LIMIT 1
) AS newest
"""
_ENDS = """
SELECT w.place, ends.low, ends.high
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    AS w (place, asset_id, timeframe, since, until)
CROSS JOIN LATERAL (
    SELECT min(low)::float8 AS low, max(high)::float8 AS high FROM marketdata_candle
    WHERE asset_id = w.asset_id AND timeframe = w.timeframe AND open_time >= w.since AND open_time < w.until
) AS ends
WHERE ends.low IS NOT NULL
"""
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    """A fraction, and the open of the candle whose close it is held against."""

    by: float
    since: datetime


@dataclass
class Past:
    """One asset's newest candle and what it came from."""

    at: datetime
    last: float
    volume: float
    changes: dict[str, Change] = field(default_factory=dict)
    low: float | None = None  # of the year until the newest candle
    high: float | None = None

    def change(self, window: str) -> float | None:
        found = self.changes.get(window)
        return found.by if found else None


def past(
    series: Mapping[int, Series], windows: Sequence[str], *, until: datetime | None = None, year: bool = False
) -> dict[int, Past]:
    """By asset id, of the series given for each; those without candles (until then) are absent.

    `windows` are keys of `WINDOWS`. One query; with `year` a second one for its lowest and highest prices; where
    prices are as they were traded a third for the splits that they must be seen without.
    """
    stored = {pk: found for pk, found in series.items() if found.last_open is not None}
    if not stored:
        return {}
    splits = unseen_splits(stored.values())
    told: dict[int, Past] = {}
    for pk, at, last, volume, before in _rows(stored, windows, until):
        newest = _moment(at)
        found = told[pk] = Past(newest, last, volume)
        for place, window in enumerate(windows):
            since, close = before[place], before[len(windows) + place]
            if close and _fits(window, stored[pk]):
                begin = _moment(since)
                close /= ratio(splits.get(pk, ()), begin, newest)
                found.changes[window] = Change(last / close - 1, begin)
    if year:
        _add_year(told, stored, splits)
    return told


def _rows(stored: Mapping[int, Series], windows: Sequence[str], until: datetime | None) -> list[Any]:
    begins = ", ".join(f"({place}, {WINDOWS[window]})" for place, window in enumerate(windows)) or "(0, now())"
    values: dict[str, Any] = {
        "assets": list(stored),
        "timeframes": [found.timeframe for found in stored.values()],
        "stale": [STALE + _beyond_a_day(found) for found in stored.values()],
        "until": until or _FOREVER,
    }
    with connection.cursor() as cursor:
        cursor.execute(_PAST.format(begins=begins), values)
        return list(cursor.fetchall())


def _beyond_a_day(series: Series) -> timedelta:
    return max(Timeframe(series.timeframe).length - timedelta(days=1), timedelta())


def _fits(window: str, series: Series) -> bool:
    return Timeframe(series.timeframe).length <= _AT_LEAST.get(window, timedelta(days=31))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _add_year(told: dict[int, Past], stored: Mapping[int, Series], splits: Mapping[int, Sequence[Split]]) -> None:
    """The lowest and highest price of the year until the newest candle, piece by piece between splits."""
    pieces: list[tuple[int, float, datetime, datetime]] = []
    for pk, found in told.items():
        if Timeframe(stored[pk].timeframe).length < _YEAR_FROM:
            continue
        since, until = found.at - timedelta(days=365), found.at + timedelta(microseconds=1)
        marks = [split.begins for split in splits.get(pk, ()) if since < split.begins < until]
        for begin, end in zip([since, *marks], [*marks, until], strict=True):
            pieces.append((pk, ratio(splits.get(pk, ()), begin, found.at), begin, end))
    if not pieces:
        return
    values: list[Any] = [
        list(range(len(pieces))), [piece[0] for piece in pieces], [stored[piece[0]].timeframe for piece in pieces],
        [piece[2] for piece in pieces], [piece[3] for piece in pieces],
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_ENDS, values)
        for place, low, high in cursor.fetchall():
            pk, shares, _, _ = pieces[place]
            found = told[pk]
            found.low = min(low / shares, found.low if found.low is not None else low / shares)
            found.high = max(high / shares, found.high if found.high is not None else high / shares)
