"""Candles out of PostgreSQL as arrays, in bounded memory and in one snapshot.

`numeric` becomes float64 in the server, by the same correctly rounded conversion of the decimal text as Python's
`float()`. Each column of some ten thousand candles crosses as one binary array, which numpy reads without a loop;
a row at a time would cost more than the conversion. One statement fetches all, so one snapshot sees all.
"""

from collections.abc import Generator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import psycopg
from django.db import connection

from marketdata.checks import EPOCH
from marketdata.columns import CHUNK, NUMBERS, Array, Rows, State

_Y2K = 946_684_800_000_000  # PostgreSQL counts microseconds from 2000

_TIMES = np.dtype([("length", ">i4"), ("value", ">i8")])
_FLOATS = np.dtype([("length", ">i4"), ("value", ">f8")])
_ARRAY_HEAD = 20  # bytes before the first element of a one-dimensional array

_AGGREGATES = ", ".join(
    ["count(*)", "array_send(array_agg(open_time))"]
    + [f"array_send(array_agg({name}::float8))" for name in NUMBERS[:5]]
    + [
        f"CASE WHEN count({name}) > 0 THEN array_send(array_agg(coalesce({name}::float8, 'NaN'))) END"
        for name in NUMBERS[5:]
    ]
)

VERSIONS = """
    SELECT open_time, {columns} FROM marketdata_candle
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND known_at <= %(as_of)s {range}
    UNION ALL
    SELECT open_time, {columns} FROM marketdata_candlerevision
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s
        AND known_at <= %(as_of)s AND superseded_at > %(as_of)s {range}
"""
"""The candles as they were known at `as_of`: each as the one version that was believed then, if there was one."""


def micros(moment: datetime | None) -> int | None:
    """Microseconds since 1970 of an aware moment; None stays None."""
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1)


def moment(micros: int) -> datetime:
    """The aware moment so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=int(micros))


def _epoch(column: str) -> str:
    return f"(extract(epoch FROM {column}) * 1000000)::int8"


# The ranges are equal spans of time, so a chunk has CHUNK rows only on average.
_SNAPSHOT = f"""
WITH state AS MATERIALIZED (
    SELECT id, revision, revised_at, changed_at, candle_count, last_open,
           greatest(first_open, %(since)s::timestamptz) AS since
    FROM marketdata_series WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND candle_count > 0
)
SELECT id, revision, {_epoch("revised_at")}, {_epoch("changed_at")}, candle_count,
    {
    _epoch(
        "(SELECT known_at FROM marketdata_candle WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s"
        " AND open_time = last_open)"
    )
},
    {
    _epoch(
        "(SELECT known_at FROM marketdata_candle WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s"
        " AND open_time = since)"
    )
},
    part.*
FROM state
CROSS JOIN generate_series(0, %(chunks)s::int - 1) AS number
CROSS JOIN LATERAL (SELECT (last_open - since) / %(chunks)s::int + interval '1 microsecond' AS width) AS span
CROSS JOIN LATERAL (
    SELECT {_AGGREGATES} FROM (
        SELECT open_time, {", ".join(NUMBERS)} FROM marketdata_candle
        WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s
            AND open_time >= since + number * width AND open_time < since + (number + 1) * width
            AND open_time <= last_open
        ORDER BY open_time
    ) AS candle
) AS part
ORDER BY number
"""  # noqa: S608

_AS_OF = f"""
SELECT part.* FROM generate_series(0, %(chunks)s::int - 1) AS number
CROSS JOIN LATERAL (
    SELECT (%(until)s::timestamptz - %(since)s::timestamptz) / %(chunks)s::int + interval '1 microsecond' AS width
) AS span
CROSS JOIN LATERAL (
    SELECT {_AGGREGATES} FROM (
        SELECT * FROM ({
    VERSIONS.format(
        columns=", ".join(NUMBERS),
        range='''
            AND open_time >= %(since)s::timestamptz + number * width
            AND open_time < %(since)s::timestamptz + (number + 1) * width AND open_time < %(until)s''',
    )
}
        ) AS version ORDER BY open_time
    ) AS candle
) AS part
ORDER BY number
"""  # noqa: S608


_NOW = """
    SELECT open_time, {columns} FROM marketdata_candle
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s {range}
"""
_TEXTS = ("open", "high", "low", "close", "adj_close", "volume")
_EXACT = f"""
SELECT {_epoch("open_time")}, {", ".join(f"coalesce(trim_scale({name})::text, '')" for name in _TEXTS)}, source
FROM ({{candles}}) AS candle ORDER BY open_time
"""  # noqa: S608


class Found(NamedTuple):
    """Some candles of a snapshot, the state of their series in it, and when the first candle asked for was stored."""

    state: State
    since_known: int | None
    rows: Rows


def snapshot(asset_id: int, timeframe: str, expected: int, since: datetime | None = None) -> Generator[Found]:
    """All candles of a series from the open `since` on, in parts, oldest first; nothing if it has none.

    `expected` is how many there may be: it decides the parts. Every part tells the same state: that of the one
    snapshot. Do not leave the iterator half-read without closing it.
    """
    values = {"asset": asset_id, "timeframe": timeframe, "since": since, "chunks": max(1, -(-expected // CHUNK))}
    with closing(_stream(_SNAPSHOT, values)) as found:
        for series, revision, revised, changed, count, last_known, since_known, *part in found:
            state = State(series, revision, revised, changed, count, last_known)
            yield Found(state, since_known, _rows(part))


def as_of(
    asset_id: int, timeframe: str, moment: datetime, since: datetime, until: datetime, expected: int
) -> Generator[Rows]:
    """The candles with since ≤ open < until as they were known at a moment, in parts, oldest first."""
    values = {
        "asset": asset_id, "timeframe": timeframe, "as_of": moment, "since": since, "until": until,
        "chunks": max(1, -(-expected // CHUNK)),
    }  # fmt: skip
    with closing(_stream(_AS_OF, values)) as found:
        for part in found:
            yield _rows(part)


_EVER = """
SELECT least(%(first)s, min(open_time)), greatest(%(last)s, max(open_time)) FROM marketdata_candlerevision
WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s
"""


def ever(asset_id: int, timeframe: str, first: datetime, last: datetime) -> tuple[int, int]:
    """The first and the last open that the series has, now from `first` to `last`, or ever had; in microseconds."""
    with connection.cursor() as cursor:
        cursor.execute(_EVER, {"asset": asset_id, "timeframe": timeframe, "first": first, "last": last})
        low, high = cursor.fetchone() or (first, last)
    return (low - EPOCH) // timedelta(microseconds=1), (high - EPOCH) // timedelta(microseconds=1)


def exact(
    asset_id: int, timeframe: str, since: datetime | None, until: datetime | None, as_of: datetime | None = None
) -> Generator[tuple[Any, ...]]:
    """One row a candle with since ≤ open < until, oldest first: the open in microseconds since 1970, then as text,
    without zeros that only fill their column, open, high, low, close, adj_close ('' for none) and volume, and the
    source. One snapshot, in bounded memory.
    """
    limits = [("open_time >= %(since)s", since), ("open_time < %(until)s", until)]
    ranged = "".join(f" AND {limit}" for limit, moment in limits if moment is not None)
    candles = (_NOW if as_of is None else VERSIONS).format(columns=f"{', '.join(_TEXTS)}, source", range=ranged)
    values = {"asset": asset_id, "timeframe": timeframe, "since": since, "until": until, "as_of": as_of}
    with closing(_stream(_EXACT.format(candles=candles), values)) as found:
        yield from found


def _stream(statement: str, values: dict[str, Any]) -> Generator[tuple[Any, ...]]:
    """Rows as the server makes them. A cursor of psycopg's own: Django's has no binary results.

    The parameters are bound by the server, which plans for their values, so only one partition is looked at.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        yield from cursor.stream(statement, values, binary=True)


def _rows(part: tuple[Any, ...] | list[Any]) -> Rows:
    count, times, *numbers = part
    if not count:
        return Rows(np.empty(0, np.int64), (None,) * len(NUMBERS))
    opens = _array(times, _TIMES).astype(np.int64) + _Y2K
    assert bool(np.all(opens[1:] > opens[:-1])), "PostgreSQL gave candles out of order"
    return Rows(opens, tuple(None if raw is None else _array(raw, _FLOATS).astype(np.float64) for raw in numbers))


def _array(raw: bytes, kind: "np.dtype[Any]") -> Array:
    return np.frombuffer(raw, kind, offset=_ARRAY_HEAD)["value"]
