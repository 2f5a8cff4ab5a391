"""The one writer of candles: batches are staged by COPY, checked, and merged so that what is the same stays as it is.

Each batch is a transaction of its own: whoever is killed in the middle leaves whole batches, and doing it all again
changes nothing of what was stored. What fails a check goes to `QuarantinedCandle`; what a new value replaces goes to
`CandleRevision`.

Three decisions about what is given:

- Of two candles for one time in one call the first that passes the checks is kept: a series with a candle is of
  more use than one with a hole, and the first is the same at every repetition. A later one that says the
  same counts as unchanged; one that differs is quarantined and its reason names the one that was kept.
- A column left empty (`adj_close`, `quote_volume`) means that the source did not say, not that the value is gone:
  the stored one stays as long as the `close` (or `volume`) that it belongs to does.
- Numbers with more decimals than the table keeps (10 for prices, 8 for volumes) are rounded half away from zero, as
  PostgreSQL's `numeric` does, before anything is compared.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256
from statistics import median
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.utils import timezone

from marketdata import checks
from marketdata.models import Asset, QuarantinedCandle, Series, Timeframe

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 50_000  # rows of one transaction
GUARD_SAMPLE = 5_000  # stored candles that the guard compares at most
GUARD_LEAST = 20  # fewer common candles than this tell nothing


def schema() -> "pa.Schema":
    """A table of candles: the open in UTC, and the numbers as the text that the source gave, so that nothing is lost.

    Two further columns are understood: `row` (int64), the row's number in its file, for messages; and `time`
    (string), the time as it came, for rows whose `open_time` is null because it could not be read.
    """
    import pyarrow as pa

    return pa.schema(
        [pa.field("open_time", pa.timestamp("us", "UTC"))] + [pa.field(name, pa.string()) for name in checks.NUMBERS]
    )


@dataclass(frozen=True)
class Ingested:
    """What became of the candles of one call; `received` is the sum of the other four counts.

    `first` and `last` are the earliest and the latest open among those that have a possible time and readable numbers.
    `problems` says what was wrong with the first few that were quarantined.
    """

    received: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    first: datetime | None = None
    last: datetime | None = None
    problems: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.inserted or self.updated)


@dataclass
class _Batch:
    """One transaction's rows, in order of time; those of the same time as they came."""

    candles: "pa.Table"
    refused: dict[int, str] = field(default_factory=dict)  # place in the batch: reason


def ingest(
    asset: Asset,
    timeframe: str,
    candles: "pa.Table",
    *,
    source: str,
    origin: str = "",
    guard: bool = False,
    final: bool = True,
) -> Ingested:
    """Store candles (a table of `schema()`, in any order) of one series.

    `source` is the provider's name, `origin` what a person would look for (a file's name). `final` says that the
    source vouches for each candle being over; without it a candle counts as over when its length has passed.
    `guard` is for sources that can be mistaken for one another (files): if more than half of the stored candles
    that it meets would change, it is another series, not a correction, and nothing that differs is stored.

    Do not call it inside a transaction if more than one batch is to come: each batch commits.
    Raises `ValueError` if the table is not of that schema.
    """
    timeframe = Timeframe(timeframe)
    candles = _checked(candles)
    foreign = _foreign(asset, timeframe, candles) if guard else ""
    total = Ingested()
    for part in _batches(candles):
        batch = _Batch(part)
        batch.refused.update(checks.faults(part, timeframe, timezone.now(), final=final))
        counts = _store(asset, timeframe, batch, source, origin, foreign)
        total = _sum(total, counts)
    return total


def _checked(candles: "pa.Table") -> "pa.Table":
    for wanted in schema():
        if wanted.name not in candles.column_names or candles.schema.field(wanted.name).type != wanted.type:
            raise ValueError(f"candles need a column {wanted.name} of type {wanted.type}")
    extra = [name for name in ("row", "time") if name in candles.column_names]
    return candles.select([*schema().names, *extra])


def _batches(candles: "pa.Table") -> Iterator["pa.Table"]:
    """The table in order of time, cut so that rows of the same time are never in two batches; null times come last."""
    import numpy as np
    import pyarrow as pa

    times = candles["open_time"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max).to_numpy()
    order = None if bool(np.all(times[1:] >= times[:-1])) else np.argsort(times, kind="stable")
    if order is not None:
        times = times[order]
    start = 0
    while start < len(times):
        end = min(start + BATCH, len(times))
        if end < len(times) and times[end] == times[end - 1] != np.iinfo(np.int64).max:
            end = int(np.searchsorted(times, times[end], side="right"))
        yield candles.slice(start, end - start) if order is None else candles.take(pa.array(order[start:end]))
        start = end


# --- One batch, one transaction ----------------------------------------------------------------------------------

_COLUMNS = ", ".join(checks.NUMBERS)

# As exact as the target: with plain `numeric` nearly every identical row would compare as different.
_STAGE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS candle_stage ON COMMIT DELETE ROWS AS
SELECT 0 AS place, open_time, {_COLUMNS} FROM marketdata_candle WITH NO DATA
"""

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
"""

_TWINS = f"""
WITH numbered AS (
    SELECT *, first_value(place) OVER same AS kept, first_value(close) OVER same AS kept_close
    FROM candle_stage WINDOW same AS (PARTITION BY open_time ORDER BY place)
)
SELECT n.place, n.kept, trim_scale(n.close)::text, trim_scale(n.kept_close)::text,
       ({", ".join(f"n.{name}" for name in checks.NUMBERS)}) IS NOT DISTINCT FROM
       ({", ".join(f"f.{name}" for name in checks.NUMBERS)})
FROM numbered n JOIN candle_stage f ON f.place = n.kept
WHERE n.place > n.kept
"""

# The new row over the stored one `c`: what the source left out stays as long as the number it belongs to.
_NEW = {name: f"s.{name}" for name in checks.NUMBERS} | {
    "adj_close": "coalesce(s.adj_close, CASE WHEN s.close = c.close THEN c.adj_close END)",
    "quote_volume": "coalesce(s.quote_volume, CASE WHEN s.volume = c.volume THEN c.quote_volume END)",
}
_DIFFERS = f"({', '.join(_NEW.values())}) IS DISTINCT FROM ({', '.join(f'c.{name}' for name in checks.NUMBERS)})"

# The range repeats what the join says already, so that only this part of a long series is read.
_TARGET = """
    c.asset_id = %(asset)s AND c.timeframe = %(timeframe)s AND c.open_time = s.open_time
    AND c.open_time BETWEEN %(first)s AND %(last)s
"""

_FOREIGN = f"""
SELECT s.place FROM candle_stage s LEFT JOIN marketdata_candle c ON {_TARGET}
WHERE c.open_time IS NULL OR {_DIFFERS}
"""

_MERGE = f"""
WITH merged AS (
    MERGE INTO marketdata_candle c USING candle_stage s ON {_TARGET}
    WHEN MATCHED AND {_DIFFERS} THEN UPDATE SET
        {", ".join(f"{name} = {new}" for name, new in _NEW.items())}, source = %(source)s, known_at = %(now)s
    WHEN NOT MATCHED THEN INSERT (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at)
        VALUES (%(asset)s, %(timeframe)s, s.open_time, {", ".join(f"s.{name}" for name in checks.NUMBERS)},
                %(source)s, %(now)s)
    RETURNING merge_action() AS action, new.open_time AS at,
        {", ".join(f"old.{name}" for name in checks.NUMBERS)}, old.source AS source, old.known_at AS known_at
), superseded AS (
    INSERT INTO marketdata_candlerevision
        (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at, superseded_at)
    SELECT %(asset)s, %(timeframe)s, at, {_COLUMNS}, source, known_at, %(now)s FROM merged WHERE action = 'UPDATE'
)
SELECT count(*) FILTER (WHERE action = 'INSERT'), count(*) FILTER (WHERE action = 'UPDATE'),
       min(at) FILTER (WHERE action = 'INSERT'), max(at)
FROM merged
"""

# Where nothing is stored yet there is nothing to compare: the lock keeps it so.
_INSERT = f"""
INSERT INTO marketdata_candle (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at)
SELECT %(asset)s, %(timeframe)s, open_time, {_COLUMNS}, %(source)s, %(now)s FROM candle_stage ORDER BY place
"""


@dataclass(frozen=True)
class _Changes:
    inserted: int = 0
    updated: int = 0
    first_inserted: datetime | None = None
    last_changed: datetime | None = None


def _store(asset: Asset, timeframe: Timeframe, batch: _Batch, source: str, origin: str, foreign: str) -> Ingested:
    """1. Take the series' lock: two merges of one key at once would fail with a unique violation.
    2. COPY what can be a candle; 3. take out what is impossible, said twice or of another series;
    4. merge the rest and keep what it replaced; 5. keep what was refused; 6. bring the series up to date.
    """
    staged = _stageable(batch)
    span = _span(staged)
    changes = _Changes()
    with transaction.atomic(), connection.cursor() as cursor:
        now = _lock(cursor, asset, timeframe)
        scope = {"asset": asset.pk, "timeframe": timeframe.value, "source": source, "now": now, **span}
        if staged.num_rows:
            _copy(cursor, staged)
            _take_out_impossible(cursor, batch)
            _take_out_twins(cursor, batch)
            if foreign:
                _take_out_foreign(cursor, batch, scope, foreign)
            changes = _merge(cursor, scope)
        _quarantine(asset, timeframe, batch, source, origin)
        if changes.inserted or changes.updated:
            _bring_up_to_date(asset, timeframe, changes, source, now)
    quarantined, received = len(batch.refused), batch.candles.num_rows
    return Ingested(
        received=received,
        inserted=changes.inserted,
        updated=changes.updated,
        unchanged=received - quarantined - changes.inserted - changes.updated,
        quarantined=quarantined,
        problems=tuple(_problems(batch, origin)),
        **span,
    )


def _stageable(batch: _Batch) -> "pa.Table":
    """The rows that passed the first checks, with their place in the batch."""
    import numpy as np
    import pyarrow as pa

    candles = batch.candles.select(["open_time", *checks.NUMBERS])
    places = np.arange(candles.num_rows, dtype=np.int32)
    candles = candles.add_column(0, "place", pa.array(places))
    if batch.refused:
        good = np.ones(candles.num_rows, dtype=bool)
        good[list(batch.refused)] = False
        candles = candles.filter(pa.array(good))
    return candles


def _span(candles: "pa.Table") -> dict[str, datetime | None]:
    if not candles.num_rows:
        return {"first": None, "last": None}
    times = candles["open_time"]
    return {"first": _utc(times[0].as_py()), "last": _utc(times[-1].as_py())}


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)  # pyarrow's own zone object is an equal one, but not ours


def _lock(cursor: Any, asset: Asset, timeframe: Timeframe) -> datetime:
    """The moment of this transaction's facts, read once the lock is held: a later holder has a later moment."""
    name = f"marketdata.ingestion {asset.pk} {timeframe}"
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
    cursor.execute("SELECT clock_timestamp()")
    return cursor.fetchone()[0]  # type: ignore[no-any-return]


def _copy(cursor: Any, staged: "pa.Table") -> None:
    import pyarrow as pa
    from pyarrow import csv

    # Whole minutes by now: seconds are the shorter text.
    at = staged["open_time"].cast(pa.timestamp("s", "UTC"))
    staged = staged.set_column(1, "open_time", at)
    text = pa.BufferOutputStream()
    csv.write_csv(staged, text, csv.WriteOptions(include_header=False, quoting_style="none"))
    cursor.execute(_STAGE)
    cursor.execute("DELETE FROM candle_stage")  # of an earlier batch in the same outer transaction
    with cursor.copy("COPY candle_stage FROM STDIN (FORMAT csv)") as copy:
        copy.write(memoryview(text.getvalue()))


def _take_out_impossible(cursor: Any, batch: _Batch) -> None:
    cursor.execute(_IMPOSSIBLE)
    _take_out(cursor, batch, dict(cursor.fetchall()))


def _take_out_twins(cursor: Any, batch: _Batch) -> None:
    """Later rows for one time: the same once more is left out, a different one is refused."""
    if not _has_twins(batch.candles):
        return
    cursor.execute(_TWINS)
    found = cursor.fetchall()
    different = {}
    for place, kept, close, kept_close, same in found:
        if not same:
            different[place] = (
                f"another candle of {_row(batch, kept)} has the same time and was kept"
                f" (close {kept_close} there, {close} here)"
            )
    _delete_staged(cursor, [place for place, *_ in found])
    batch.refused.update(different)


def _has_twins(candles: "pa.Table") -> bool:
    import numpy as np
    import pyarrow as pa

    times = candles["open_time"].drop_null().cast(pa.int64()).to_numpy()
    return bool(np.any(times[1:] == times[:-1]))


def _take_out_foreign(cursor: Any, batch: _Batch, scope: dict[str, Any], reason: str) -> None:
    cursor.execute(_FOREIGN, scope)
    _take_out(cursor, batch, {place: reason for (place,) in cursor.fetchall()})


def _take_out(cursor: Any, batch: _Batch, refused: dict[int, str]) -> None:
    _delete_staged(cursor, list(refused))
    batch.refused.update(refused)


def _delete_staged(cursor: Any, places: list[int]) -> None:
    if places:
        cursor.execute("DELETE FROM candle_stage WHERE place = ANY(%s)", [places])


def _merge(cursor: Any, scope: dict[str, Any]) -> _Changes:
    cursor.execute(
        "SELECT EXISTS (SELECT FROM marketdata_candle WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s"
        " AND open_time BETWEEN %(first)s AND %(last)s)",
        scope,
    )
    if cursor.fetchone()[0]:
        cursor.execute(_MERGE, scope)
        return _Changes(*cursor.fetchone())
    cursor.execute(_INSERT, scope)
    cursor.execute("SELECT count(*), 0, min(open_time), max(open_time) FROM candle_stage")
    return _Changes(*cursor.fetchone())


def _bring_up_to_date(asset: Asset, timeframe: Timeframe, changes: _Changes, source: str, now: datetime) -> None:
    """Counts, range and freshness; the revision rises only if the past changed, not when candles were appended."""
    series, _ = Series.objects.get_or_create(asset=asset, timeframe=timeframe)
    past = series.last_open is not None and (
        changes.updated or (changes.first_inserted and changes.first_inserted < series.last_open)
    )
    series.revision += bool(past)
    series.candle_count += changes.inserted
    if changes.first_inserted:
        series.first_open = min(series.first_open or changes.first_inserted, changes.first_inserted)
    if changes.last_changed and (series.last_open is None or changes.last_changed >= series.last_open):
        series.last_open, series.source = changes.last_changed, source
    series.changed_at = now
    series.save(update_fields=["revision", "candle_count", "first_open", "last_open", "source", "changed_at"])


# --- What was refused --------------------------------------------------------------------------------------------


def _quarantine(asset: Asset, timeframe: Timeframe, batch: _Batch, source: str, origin: str) -> None:
    """Keep the refused rows as they came. One that is there already, decided or not, is left as it is."""
    import pyarrow as pa

    places = sorted(batch.refused)
    if not places:
        return
    rows = batch.candles.take(pa.array(places))
    rows = rows.set_column(0, "open_time", rows["open_time"].cast(pa.int64()))  # Python's calendar ends earlier
    held = []
    for place, row in zip(places, rows.to_pylist(), strict=True):
        at = None if row["open_time"] is None else checks.moment(row["open_time"])
        raw = _raw(row, at)
        held.append(
            QuarantinedCandle(
                asset=asset,
                timeframe=timeframe,
                open_time=at,
                raw=raw,
                reason=batch.refused[place][:300],
                source=source,
                origin=_origin(origin, row.get("row"))[:300],
                fingerprint=fingerprint(raw),
            )
        )
    QuarantinedCandle.objects.bulk_create(held, ignore_conflicts=True, batch_size=5_000)


def _raw(row: dict[str, Any], at: datetime | None) -> dict[str, str]:
    """The row's texts by column, without what it did not have."""
    time = row.get("time") or (at.isoformat().replace("+00:00", "Z") if at else None)
    texts = {"open_time": time, **{name: row[name] for name in checks.NUMBERS}}
    return {name: text for name, text in texts.items() if text is not None}


def fingerprint(raw: dict[str, str]) -> str:
    """What tells one refused row from another: all that it said, wherever it stood."""
    return sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()


def _origin(origin: str, row: int | None) -> str:
    return f"{origin} row {row}".strip() if row is not None else origin


def _row(batch: _Batch, place: int) -> str:
    """How a message names another row of the batch."""
    if "row" in batch.candles.column_names:
        return f"row {batch.candles['row'][place].as_py()}"
    return "the same answer"


def _problems(batch: _Batch, origin: str, most: int = 5) -> Iterator[str]:
    for place in sorted(batch.refused)[:most]:
        row = batch.candles["row"][place].as_py() if "row" in batch.candles.column_names else None
        where = _origin("", row) or f"{checks.moment(batch.candles['open_time'][place].value or 0):%Y-%m-%d %H:%M}Z"
        yield f"{where}: {batch.refused[place]}"


def _sum(total: Ingested, more: Ingested) -> Ingested:
    """Both together; `more` is of later candles."""
    return Ingested(
        received=total.received + more.received,
        inserted=total.inserted + more.inserted,
        updated=total.updated + more.updated,
        unchanged=total.unchanged + more.unchanged,
        quarantined=total.quarantined + more.quarantined,
        first=total.first or more.first,
        last=more.last or total.last,
        problems=(total.problems + more.problems)[:5],
    )


# --- Is it the same series at all? -------------------------------------------------------------------------------


def _foreign(asset: Asset, timeframe: Timeframe, candles: "pa.Table") -> str:
    """Why these candles are not a correction of the stored ones but another series; '' if they may be one.

    Compares the prices of at most `GUARD_SAMPLE` candles, evenly spread over what came, exactly. Volumes and adjusted
    closes do not count: a dividend changes the whole past of the latter.
    """
    theirs = _sampled(candles)
    ours = _stored(asset, timeframe, list(theirs))
    common = [(theirs[at], prices) for at, prices in ours.items()]
    different = [(new, old) for new, old in common if new != old]
    if len(common) < GUARD_LEAST or len(different) * 2 <= len(common):
        return ""
    factors = [new[3] / old[3] for new, old in different if old[3] and new[3]]
    factor = f" (median factor {float(median(factors)):.4g})" if factors else ""
    return (
        f"differs from the stored {asset} {timeframe} on {len(different)} of {len(common)} common candles{factor}:"
        f" another price basis? Import it under its own symbol (--symbol {asset}-RAW)"
        " or replace what is stored (--replace)"
    )


def _sampled(candles: "pa.Table") -> dict[datetime, tuple[Decimal, ...]]:
    """The prices of evenly spread candles by time, rounded as they would be stored; without what can't be read."""
    import numpy as np
    import pyarrow as pa

    places = np.unique(np.linspace(0, candles.num_rows - 1, min(candles.num_rows, GUARD_SAMPLE)).astype(np.int64))
    part = candles.take(pa.array(places)).select(["open_time", "open", "high", "low", "close"])
    part = part.set_column(0, "open_time", part["open_time"].cast(pa.int64()))
    found: dict[datetime, tuple[Decimal, ...]] = {}
    for at, *texts in zip(*(column.to_pylist() for column in part.columns), strict=True):
        if at is not None and not any(checks.number_fault("close", text) for text in texts):
            prices = tuple(Decimal(text).quantize(Decimal("1e-10"), ROUND_HALF_UP) for text in texts)
            found.setdefault(checks.moment(at), prices)
    return found


def _stored(asset: Asset, timeframe: Timeframe, times: list[datetime]) -> dict[datetime, tuple[Decimal, ...]]:
    if not times:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT open_time, open, high, low, close FROM marketdata_candle"
            " WHERE asset_id = %s AND timeframe = %s AND open_time = ANY(%s)",
            [asset.pk, timeframe.value, times],
        )
        return {at: tuple(prices) for at, *prices in cursor.fetchall()}
