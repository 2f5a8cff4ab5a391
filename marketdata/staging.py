"""A batch of candles inside the database: staged by COPY, looked over in exact numbers, merged into what is stored.

All of it happens in the caller's transaction, under the series' lock.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from marketdata.checks import EPOCH, NUMBERS, Fault, Kind

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ", ".join(NUMBERS)

# As exact as the target: with plain `numeric` nearly every identical row would compare as different.
_STAGE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS candle_stage ON COMMIT DELETE ROWS AS
SELECT 0 AS place, open_time, {_COLUMNS} FROM marketdata_candle WITH NO DATA
"""  # noqa: S608

_POSSIBLE = """
    low >= 0 AND low <= open AND low <= close AND high >= open AND high >= close AND volume >= 0
    AND (quote_volume IS NULL OR quote_volume >= 0) AND (adj_close IS NULL OR adj_close >= 0)
"""

_IMPOSSIBLE = f"""
SELECT place, CASE
    WHEN low < 0 THEN 'its low ' || trim_scale(low) || ' is negative'
    WHEN high < low THEN 'its high ' || trim_scale(high) || ' is below its low ' || trim_scale(low)
    WHEN low > open THEN 'its low ' || trim_scale(low) || ' is above its open ' || trim_scale(open)
    WHEN low > close THEN 'its low ' || trim_scale(low) || ' is above its close ' || trim_scale(close)
    WHEN high < open THEN 'its high ' || trim_scale(high) || ' is below its open ' || trim_scale(open)
    WHEN high < close THEN 'its high ' || trim_scale(high) || ' is below its close ' || trim_scale(close)
    WHEN volume < 0 THEN 'its volume ' || trim_scale(volume) || ' is negative'
    WHEN quote_volume < 0 THEN 'its quote_volume ' || trim_scale(quote_volume) || ' is negative'
    ELSE 'its adj_close ' || trim_scale(adj_close) || ' is negative'
END
FROM candle_stage WHERE NOT ({_POSSIBLE})
"""  # noqa: S608

_TWINS = f"""
WITH numbered AS (
    SELECT *, first_value(place) OVER same AS kept, first_value(close) OVER same AS kept_close
    FROM candle_stage WINDOW same AS (PARTITION BY open_time ORDER BY place)
)
SELECT n.place, n.kept, trim_scale(n.close)::text, trim_scale(n.kept_close)::text,
       ({", ".join(f"n.{name}" for name in NUMBERS)}) IS NOT DISTINCT FROM
       ({", ".join(f"f.{name}" for name in NUMBERS)})
FROM numbered n JOIN candle_stage f ON f.place = n.kept
WHERE n.place > n.kept
"""  # noqa: S608

# The new row over the stored one `c`: what the source left out stays as long as the number it belongs to.
_NEW = {name: f"s.{name}" for name in NUMBERS} | {
    "adj_close": "coalesce(s.adj_close, CASE WHEN s.close = c.close THEN c.adj_close END)",
    "quote_volume": "coalesce(s.quote_volume, CASE WHEN s.volume = c.volume THEN c.quote_volume END)",
}
_DIFFERS = f"({', '.join(_NEW.values())}) IS DISTINCT FROM ({', '.join(f'c.{name}' for name in NUMBERS)})"

# The range repeats what the join says already, so that only this part of a long series is read.
_TARGET = """
    c.asset_id = %(asset)s AND c.timeframe = %(timeframe)s AND c.open_time = s.open_time
    AND c.open_time BETWEEN %(first)s AND %(last)s
"""

_REPRICED = f"""
SELECT s.place FROM candle_stage s LEFT JOIN marketdata_candle c ON {_TARGET}
WHERE c.open_time IS NULL OR (s.open, s.high, s.low, s.close) IS DISTINCT FROM (c.open, c.high, c.low, c.close)
"""  # noqa: S608

_FLOATS = """
(extract(epoch FROM c.open_time) * 1000000)::bigint, c.open::float8, c.high::float8, c.low::float8, c.close::float8,
c.volume::float8
"""

_AROUND = f"""
(SELECT {_FLOATS} FROM marketdata_candle c WHERE c.asset_id = %(asset)s AND c.timeframe = %(timeframe)s
 AND c.open_time < %(first)s ORDER BY c.open_time DESC LIMIT %(count)s)
UNION ALL
(SELECT {_FLOATS} FROM marketdata_candle c WHERE c.asset_id = %(asset)s AND c.timeframe = %(timeframe)s
 AND c.open_time > %(last)s ORDER BY c.open_time LIMIT %(count)s)
"""  # noqa: S608

_BETWEEN = f"""
SELECT {_FLOATS} FROM marketdata_candle c LEFT JOIN candle_stage s USING (open_time)
WHERE c.asset_id = %(asset)s AND c.timeframe = %(timeframe)s AND c.open_time BETWEEN %(first)s AND %(last)s
  AND s.open_time IS NULL
"""  # noqa: S608

_WITHDRAW = f"""
WITH gone AS (
    DELETE FROM marketdata_candle
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND open_time = ANY(%(times)s) RETURNING *
), superseded AS (
    INSERT INTO marketdata_candlerevision
        (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at, superseded_at)
    SELECT asset_id, timeframe, open_time, {_COLUMNS}, source, known_at, %(now)s FROM gone
)
SELECT open_time, source, {", ".join(f"trim_scale({name})::text" for name in NUMBERS)} FROM gone ORDER BY open_time
"""  # noqa: S608

_DIFFERING = f"""
SELECT s.place FROM candle_stage s LEFT JOIN marketdata_candle c ON {_TARGET}
WHERE c.open_time IS NULL OR {_DIFFERS}
"""  # noqa: S608

_LIKENESS = f"""
SELECT count(*), count(*) FILTER (WHERE d), percentile_cont(0.5) WITHIN GROUP (ORDER BY factor) FILTER (WHERE d)
FROM (
    SELECT (s.open, s.high, s.low, s.close) IS DISTINCT FROM (c.open, c.high, c.low, c.close) AS d,
           (s.close / nullif(c.close, 0))::float8 AS factor
    FROM candle_stage s JOIN marketdata_candle c ON {_TARGET}
) common
"""  # noqa: S608

_MERGE = f"""
WITH merged AS (
    MERGE INTO marketdata_candle c USING candle_stage s ON {_TARGET}
    WHEN MATCHED AND {_DIFFERS} THEN UPDATE SET
        {", ".join(f"{name} = {new}" for name, new in _NEW.items())}, source = %(source)s, known_at = %(now)s
    WHEN NOT MATCHED THEN INSERT (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at)
        VALUES (%(asset)s, %(timeframe)s, s.open_time, {", ".join(f"s.{name}" for name in NUMBERS)},
                %(source)s, %(now)s)
    RETURNING merge_action() AS action, new.open_time AS at,
        {", ".join(f"old.{name}" for name in NUMBERS)}, old.source AS source, old.known_at AS known_at
), superseded AS (
    INSERT INTO marketdata_candlerevision
        (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at, superseded_at)
    SELECT %(asset)s, %(timeframe)s, at, {_COLUMNS}, source, known_at, %(now)s FROM merged WHERE action = 'UPDATE'
)
SELECT count(*) FILTER (WHERE action = 'INSERT'), count(*) FILTER (WHERE action = 'UPDATE'),
       min(at) FILTER (WHERE action = 'INSERT'), max(at)
FROM merged
"""  # noqa: S608

_MET = """
SELECT EXISTS (
    SELECT FROM marketdata_candle
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND open_time BETWEEN %(first)s AND %(last)s
)
"""

# Where nothing is stored yet there is nothing to compare: the lock keeps it so.
_INSERT = f"""
INSERT INTO marketdata_candle (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at)
SELECT %(asset)s, %(timeframe)s, open_time, {_COLUMNS}, %(source)s, %(now)s FROM candle_stage ORDER BY place
"""  # noqa: S608


@dataclass(frozen=True)
class Changes:
    """What a merge did. Times are opens: the earliest that is new, the latest that is new or different."""

    inserted: int = 0
    updated: int = 0
    first_inserted: datetime | None = None
    last_changed: datetime | None = None


@dataclass(frozen=True)
class Twin:
    """A staged row whose time an earlier one, `kept`, has too; both by their place. `same`: it says the same."""

    place: int
    kept: int
    close: str
    kept_close: str
    same: bool


def lock(cursor: Any, asset_id: int, timeframe: str) -> datetime:
    """Wait for the series' lock, held until the transaction ends; returns the moment of its facts.

    Two merges of one key at once would fail with a unique violation. The clock is read once the lock is
    held, so a later holder has a later moment.
    """
    name = f"marketdata.ingestion {asset_id} {timeframe}"
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
    cursor.execute("SELECT clock_timestamp()")
    return cursor.fetchone()[0]  # type: ignore[no-any-return]


def copy(cursor: Any, candles: "pa.Table") -> None:
    """Stage the rows: columns `place` (int32), `open_time` (whole minutes, UTC) and the numbers as text."""
    import pyarrow as pa
    from pyarrow import csv

    at = candles["open_time"].cast(pa.timestamp("s", "UTC"))  # the shorter text
    candles = candles.set_column(1, "open_time", at)
    text = pa.BufferOutputStream()
    csv.write_csv(candles, text, csv.WriteOptions(include_header=False, quoting_style="none"))
    cursor.execute(_STAGE)
    cursor.execute("DELETE FROM candle_stage")  # of an earlier batch in the same outer transaction
    with cursor.copy("COPY candle_stage FROM STDIN (FORMAT csv)") as stream:
        stream.write(memoryview(text.getvalue()))


def lock_many(cursor: Any, asset_ids: list[int], timeframe: str) -> datetime:
    """`lock` for the series of many assets, in one order for all who do so; held until the transaction ends."""
    cursor.execute(_LOCK_MANY, {"assets": asset_ids, "name": "marketdata.ingestion ", "timeframe": f" {timeframe}"})
    cursor.execute("SELECT clock_timestamp()")
    return cursor.fetchone()[0]  # type: ignore[no-any-return]


_LOCK_MANY = """
SELECT count(pg_advisory_xact_lock(key)) FROM (
    SELECT hashtextextended(%(name)s || id || %(timeframe)s, 0) AS key FROM unnest(%(assets)s::bigint[]) AS id
    ORDER BY key OFFSET 0
) AS keys
"""


def copy_many(cursor: Any, candles: "pa.Table") -> None:
    """Stage rows of many series: columns `asset_id`, `open_time` (whole minutes, UTC) and the numbers as text."""
    import pyarrow as pa
    from pyarrow import csv

    candles = candles.set_column(1, "open_time", candles["open_time"].cast(pa.timestamp("s", "UTC")))
    text = pa.BufferOutputStream()
    csv.write_csv(candles, text, csv.WriteOptions(include_header=False, quoting_style="none"))
    cursor.execute(_STAGE_MANY)
    with cursor.copy("COPY many_stage FROM STDIN (FORMAT csv)") as stream:
        stream.write(memoryview(text.getvalue()))
    cursor.execute("ANALYZE many_stage")


_STAGE_MANY = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS many_stage ON COMMIT DELETE ROWS AS
SELECT asset_id, open_time, {_COLUMNS} FROM marketdata_candle WITH NO DATA
"""  # noqa: S608

# What is stored exactly so already; all of each series of which anything is not a plain next candle; and the rest.
_SAME_MANY = f"""
DELETE FROM many_stage s USING marketdata_candle c
WHERE c.asset_id = s.asset_id AND c.timeframe = %(timeframe)s AND c.open_time = s.open_time AND NOT {_DIFFERS}
"""  # noqa: S608

_NOT_PLAIN = f"""
WITH known AS (
    SELECT x.asset_id, x.last_open, near.close, near.high > near.low * exp(%(floor)s::float8) OR near.odd AS moves
    FROM marketdata_series x CROSS JOIN LATERAL (
        SELECT (array_agg(close::float8 ORDER BY open_time DESC))[1] AS close,
               max(high)::float8 AS high, min(low)::float8 AS low,
               bool_or(extract(epoch FROM x.last_open - open_time)::bigint %% %(step)s <> 0) AS odd
        FROM (
            SELECT open_time, close, high, low FROM marketdata_candle
            WHERE asset_id = x.asset_id AND timeframe = %(timeframe)s AND open_time <= x.last_open
            ORDER BY open_time DESC LIMIT %(next)s
        ) AS stored
    ) AS near
    WHERE x.asset_id = ANY(%(assets)s) AND x.timeframe = %(timeframe)s AND near.low > 0 AND NOT EXISTS (
        SELECT FROM marketdata_quarantinedcandle q
        WHERE q.asset_id = x.asset_id AND q.timeframe = x.timeframe AND (q.state = 'held' OR q.open_time >= x.last_open)
    )
), seen AS (
    SELECT s.*, k.last_open, k.moves, coalesce(lag(s.close::float8) OVER series, k.close) AS before,
           s.open_time = lag(s.open_time) OVER series AS twin
    FROM many_stage s LEFT JOIN known k USING (asset_id)
    WINDOW series AS (PARTITION BY asset_id ORDER BY open_time)
), odd AS (
    SELECT DISTINCT asset_id FROM seen
    WHERE last_open IS NULL OR open_time <= last_open OR moves OR twin OR NOT ({_POSSIBLE}) OR low = 0 OR before = 0
       OR (volume = 0 AND high = low) OR extract(epoch FROM open_time - last_open)::bigint %% %(step)s <> 0
       OR high::float8 > least(close::float8, before) * exp(%(floor)s::float8)
       OR low::float8 * exp(%(floor)s::float8) < greatest(close::float8, before)
)
DELETE FROM many_stage s USING odd WHERE s.asset_id = odd.asset_id RETURNING s.asset_id
"""  # noqa: S608

_INSERT_MANY = f"""
INSERT INTO marketdata_candle (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at)
SELECT asset_id, %(timeframe)s, open_time, {_COLUMNS}, %(source)s, %(now)s FROM many_stage ORDER BY asset_id, open_time
"""  # noqa: S608

_SERIES_MANY = """
UPDATE marketdata_series x SET
    candle_count = x.candle_count + s.count, last_open = s.last, source = %(source)s, changed_at = %(now)s
FROM (SELECT asset_id, count(*) AS count, max(open_time) AS last FROM many_stage GROUP BY asset_id) AS s
WHERE x.asset_id = s.asset_id AND x.timeframe = %(timeframe)s
RETURNING x.asset_id, s.count
"""


def append_many(cursor: Any, scope: dict[str, Any]) -> tuple[set[int], dict[int, int]]:
    """Store what is staged of those series to which it only appends plain candles: (the other series, new candles by
    asset). `scope`: assets, timeframe, source, now; floor, the logarithm of what is conspicuous; next, how many stored
    candles are looked at; step, the seconds of the grid.
    """
    cursor.execute(_SAME_MANY, scope)
    cursor.execute(_NOT_PLAIN, scope)
    others = {asset for (asset,) in cursor.fetchall()}
    cursor.execute(_INSERT_MANY, scope)
    cursor.execute(_SERIES_MANY, scope)
    return others, dict(cursor.fetchall())


def impossible(cursor: Any) -> dict[int, Fault]:
    """The places of rows whose numbers contradict each other, with the reason."""
    cursor.execute(_IMPOSSIBLE)
    return {place: Fault(Kind.IMPOSSIBLE, reason) for place, reason in cursor.fetchall()}


def twins(cursor: Any) -> list[Twin]:
    cursor.execute(_TWINS)
    return [Twin(*found) for found in cursor.fetchall()]


def differing(cursor: Any, scope: dict[str, Any]) -> list[int]:
    """The places of rows that are not stored exactly so already."""
    cursor.execute(_DIFFERING, scope)
    return [place for (place,) in cursor.fetchall()]


@dataclass(frozen=True)
class Likeness:
    """How the prices of what is staged agree with what is stored: candles that both have, those that differ, and the
    median of new close / stored close of these (None if there are none).
    """

    common: int
    different: int
    factor: float | None


def likeness(cursor: Any, scope: dict[str, Any]) -> Likeness:
    """Volumes and adjusted closes do not count: a dividend changes the whole past of the latter."""
    cursor.execute(_LIKENESS, scope)
    return Likeness(*cursor.fetchone())


@dataclass(frozen=True)
class Around:
    """Stored candles beside what is staged, oldest first: (microseconds since 1970, open, high, low, close, volume)."""

    before: list[tuple[Any, ...]]
    after: list[tuple[Any, ...]]


def around(cursor: Any, scope: dict[str, Any], count: int) -> Around:
    """The last `count` stored candles before the first staged open, and the first ones after the last."""
    cursor.execute(_AROUND, scope | {"count": count})
    rows = sorted(cursor.fetchall())
    first = (scope["first"] - EPOCH) // timedelta(microseconds=1)
    return Around([row for row in rows if row[0] < first], [row for row in rows if row[0] > first])


def between(cursor: Any, scope: dict[str, Any]) -> "pa.Table":
    """The stored candles among the staged ones, those without a staged one of their time: columns as `Around` has.

    There can be as many as in the batch, and objects would take longer than the merge.
    """
    import pyarrow as pa
    from pyarrow import csv

    with cursor.copy(f"COPY ({_BETWEEN}) TO STDOUT (FORMAT csv)", scope) as stream:
        text = b"".join(stream)
    names = ["at", "open", "high", "low", "close", "volume"]
    kinds = dict.fromkeys(names, pa.float64()) | {"at": pa.int64()}
    if not text:
        return pa.schema(kinds.items()).empty_table()
    return csv.read_csv(
        pa.BufferReader(text),
        csv.ReadOptions(column_names=names),
        convert_options=csv.ConvertOptions(column_types=kinds),
    )


def repriced(cursor: Any, scope: dict[str, Any]) -> list[int]:
    """The places of rows that are not stored at the same prices already."""
    cursor.execute(_REPRICED, scope)
    return [place for (place,) in cursor.fetchall()]


def withdraw(cursor: Any, scope: dict[str, Any], times: list[datetime]) -> list[tuple[Any, ...]]:
    """Take stored candles out of the series: what they were is kept as revisions, believed until now.

    Returns (open_time, source, numbers as text…), oldest first.
    """
    cursor.execute(_WITHDRAW, scope | {"times": times})
    return cursor.fetchall()  # type: ignore[no-any-return]


def restage(cursor: Any, rows: list[tuple[Any, ...]]) -> None:
    """Stage these rows (open_time and numbers as text) instead of what is staged."""
    cursor.execute("DELETE FROM candle_stage")
    values = ", ".join(["%s"] * (2 + len(NUMBERS)))
    cursor.executemany(f"INSERT INTO candle_stage VALUES ({values})", [(n, *row) for n, row in enumerate(rows)])  # noqa: S608


def take_out(cursor: Any, places: list[int]) -> None:
    if places:
        cursor.execute("DELETE FROM candle_stage WHERE place = ANY(%s)", [places])


def meets(cursor: Any, scope: dict[str, Any]) -> bool:
    """Whether anything is stored between the first and the last staged open."""
    cursor.execute(_MET, scope)
    return bool(cursor.fetchone()[0])


def merge(cursor: Any, scope: dict[str, Any]) -> Changes:
    """Store what is staged. `scope`: asset, timeframe, source, now, the first and last staged open, and `met`, whether
    anything is stored between them.
    """
    if scope["met"]:
        cursor.execute(_MERGE, scope)
        return Changes(*cursor.fetchone())
    cursor.execute(_INSERT, scope)
    cursor.execute("SELECT count(*), 0, min(open_time), max(open_time) FROM candle_stage")
    return Changes(*cursor.fetchone())
