"""The one writer of candles: batches are staged by COPY, checked, and merged so that what is the same stays as it is.

Each batch is a transaction of its own: whoever is killed in the middle leaves whole batches, and doing it all again
changes nothing of what was stored. What fails a check goes to `QuarantinedCandle`; what a new value replaces goes to
`CandleRevision`.

Checks come in three kinds: is it a candle at all (`marketdata.checks`), do its numbers agree with each other
(`marketdata.staging`), and can it be true beside its neighbours (`marketdata.quality`). The last are doubts, which
later candles, a second source (`marketdata.arbitration`) or a person may settle; the neighbours that they look at are
the stored and the held ones as well, so it does not matter how a series is cut into batches.

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
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from marketdata import calendars, checks, judging, quality, staging
from marketdata.checks import Fault, Kind
from marketdata.models import Asset, Candle, QuarantinedCandle, Series, Timeframe

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 50_000  # rows of one transaction
GUARD_SAMPLE = 5_000  # candles by which a table of several batches is judged
GUARD_LEAST = 20  # fewer common candles than this tell nothing
REASONS = 5  # that a call names


@cache
def schema() -> "pa.Schema":
    """A table of candles: the open in UTC, and the numbers as the text that the source gave, so that nothing is lost.

    Three further columns are understood: `row` (int64), the row's number in its file, for messages; `time` (string),
    the time as it came, for rows whose `open_time` is null because it could not be read; and `fault` (string), why
    the reader of the file thinks that the row is no candle.
    """
    import pyarrow as pa

    return pa.schema(
        [pa.field("open_time", pa.timestamp("us", "UTC"))] + [pa.field(name, pa.string()) for name in checks.NUMBERS]
    )


@dataclass(frozen=True)
class Ingested:
    """What became of the candles of one call; `received` is the sum of the four counts after it.

    Besides, candles that were held before may have been `released`, because these ones bear them out, and stored ones
    `withdrawn` into quarantine, because they don't.

    `first` and `last` are the earliest and the latest open among those that have a possible time and readable numbers.
    `problems` says what was wrong with those that were quarantined: a few reasons, each with where it was found first.
    """

    received: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    released: int = 0
    withdrawn: int = 0
    first: datetime | None = None
    last: datetime | None = None
    problems: tuple[str, ...] = ()

    def __add__(self, more: "Ingested") -> "Ingested":
        """Both together; `more` is of later candles of the same series."""
        return Ingested(
            received=self.received + more.received,
            inserted=self.inserted + more.inserted,
            updated=self.updated + more.updated,
            unchanged=self.unchanged + more.unchanged,
            quarantined=self.quarantined + more.quarantined,
            released=self.released + more.released,
            withdrawn=self.withdrawn + more.withdrawn,
            first=self.first or more.first,
            last=more.last or self.last,
            problems=(self.problems + more.problems)[:REASONS],
        )

    @property
    def changed(self) -> bool:
        return bool(self.inserted or self.updated or self.released or self.withdrawn)


@dataclass
class _Batch:
    """One transaction's rows, in order of time; those of the same time as they came."""

    candles: "pa.Table"
    refused: dict[int, Fault]  # by place in the batch
    said_twice: set[int] = field(default_factory=set)  # places of rows that say what an earlier one says


@dataclass(frozen=True)
class _Guard:
    """`verdict` says why all of the call is foreign to the series; with `on` the batch itself is still to be judged."""

    on: bool
    verdict: str = ""


def ingest(
    asset: Asset,
    timeframe: str,
    candles: "pa.Table",
    *,
    source: str,
    origin: str = "",
    guard: bool = False,
    final: bool = True,
    doubt: bool = True,
) -> Ingested:
    """Store candles (a table of `schema()`, in any order) of one series.

    `source` is the provider's name, `origin` what a person would look for (a file's name). `final` says that the
    source vouches for each candle being over; without it a candle counts as over when its length has passed.
    `guard` is for sources that can be mistaken for one another (files): if more than half of the stored candles
    that it meets would change, it is another series, not a correction, and nothing that differs is stored.
    Without `doubt` a candle is stored however unlikely it is beside its neighbours: a person has said so.

    Inside a transaction of the caller's all of it takes part in that, and holds the series' lock until its end; do so
    with one batch at most (`BATCH` rows), because else each batch should commit.
    Raises `ValueError` if the table is not of that schema.
    """
    timeframe = Timeframe(timeframe)
    candles = checked(candles)
    guarded = _Guard(on=guard)
    if guard and candles.num_rows > BATCH:
        guarded = _Guard(on=False, verdict=_sampled(asset, timeframe, candles))
    total = Ingested()
    for part in _batches(candles):
        batch = _Batch(part, _faults(asset, timeframe, part, final))
        total += _store(asset, timeframe, batch, source, origin, guarded, doubt)
    return total


def _faults(asset: Asset, timeframe: Timeframe, candles: "pa.Table", final: bool) -> dict[int, Fault]:
    """What `checks` finds; but the market's calendar may know that a candle is over although its length is not."""
    now = timezone.now()
    found = checks.faults(candles, timeframe, now, final=final)
    open_still = [place for place, fault in found.items() if fault.kind == Kind.UNFINISHED]
    for place in [] if final else open_still:
        at = checks.moment(candles["open_time"][place].value)
        if at <= now and calendars.complete_at(calendars.calendar_of(asset), timeframe, at) <= now:
            del found[place]
    return found


def checked(candles: "pa.Table") -> "pa.Table":
    """The columns that count, in their order. Raises `ValueError` if the table is not of `schema()`."""
    if candles.schema.equals(schema()):
        return candles
    for wanted in schema():
        if wanted.name not in candles.column_names or candles.schema.field(wanted.name).type != wanted.type:
            raise ValueError(f"candles need a column {wanted.name} of type {wanted.type}")
    extra = [name for name in ("row", "time", "fault") if name in candles.column_names]
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


def _store(
    asset: Asset, timeframe: Timeframe, batch: _Batch, source: str, origin: str, guard: _Guard, doubt: bool
) -> Ingested:
    """1. Take the series' lock: two merges of one key at once would fail with a unique violation.
    2. COPY what can be a candle; 3. take out what is impossible, said twice, of another series or doubtful;
    4. merge the rest and keep what it replaced; 5. keep what was refused; 6. bring the series up to date;
    7. store held candles that this batch bears out, and withdraw stored ones that it casts doubt on.
    """
    staged = _stageable(batch)
    span = _span(staged)
    changes, verdict = staging.Changes(), judging.Verdict()
    with transaction.atomic(), connection.cursor() as cursor:
        now = staging.lock(cursor, asset.pk, timeframe)
        scope = {"asset": asset.pk, "timeframe": timeframe.value, "source": source, "now": now, **span}
        if staged.num_rows:
            staging.copy(cursor, staged)
            scope["met"] = staging.meets(cursor, scope)
            _refuse(cursor, batch, staging.impossible(cursor))
            if _has_twins(batch.candles):
                _part_twins(cursor, asset, timeframe, batch)
            if foreign := guard.verdict or (guard.on and _foreign(cursor, asset, timeframe, span)):
                fault = Fault(Kind.FOREIGN, foreign)
                _refuse(cursor, batch, dict.fromkeys(staging.differing(cursor, scope), fault))
            if doubt and len(batch.refused) < batch.candles.num_rows:
                verdict = judging.judge(cursor, asset, timeframe, _alive(batch, staged), scope)
                _refuse(cursor, batch, verdict.refused)
            changes = staging.merge(cursor, scope)
            if verdict.held:
                judging.settle(cursor, scope)
        if batch.refused:
            _quarantine(cursor, asset, timeframe, batch, source, origin)
        if changes.inserted or changes.updated:
            _bring_up_to_date(asset, timeframe, changes, source, now)
        _look_back(cursor, asset, timeframe, verdict, scope)
    quarantined, received = len(batch.refused), batch.candles.num_rows
    return Ingested(
        received=received,
        inserted=changes.inserted,
        updated=changes.updated,
        unchanged=received - quarantined - changes.inserted - changes.updated,
        quarantined=quarantined,
        released=len(verdict.confirmed),
        withdrawn=len(verdict.withdrawn),
        problems=_problems(batch),
        **span,
    )


def _alive(batch: _Batch, staged: "pa.Table") -> "pa.Table":
    """The staged rows that are still there."""
    import numpy as np
    import pyarrow as pa

    gone = [*batch.refused, *batch.said_twice]
    return staged.filter(pa.array(~np.isin(staged["place"].to_numpy(), gone))) if gone else staged


def _look_back(
    cursor: Any, asset: Asset, timeframe: Timeframe, verdict: judging.Verdict, scope: dict[str, Any]
) -> None:
    """Do what the batch tells of candles that came before it."""
    judging.restate(cursor, verdict.restated)
    if verdict.withdrawn:
        rows = staging.withdraw(cursor, scope, list(verdict.withdrawn))
        _keep_withdrawn(cursor, asset, timeframe, verdict, rows)
        _without(asset, timeframe, len(rows), scope["now"])
    for source, rows in judging.confirmed(cursor, verdict.confirmed, scope["now"]).items() if verdict.confirmed else ():
        staging.restage(cursor, rows)
        theirs = scope | {"source": source, "first": rows[0][0], "last": rows[-1][0], "met": True}
        changes = staging.merge(cursor, theirs)
        _bring_up_to_date(asset, timeframe, changes, source, scope["now"])


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


def _refuse(cursor: Any, batch: _Batch, faults: dict[int, Fault]) -> None:
    staging.take_out(cursor, list(faults))
    batch.refused.update(faults)


def _has_twins(candles: "pa.Table") -> bool:
    import numpy as np
    import pyarrow as pa

    times = candles["open_time"].drop_null().cast(pa.int64()).to_numpy()
    return bool(np.any(times[1:] == times[:-1]))


def _part_twins(cursor: Any, asset: Asset, timeframe: Timeframe, batch: _Batch) -> None:
    """Of several rows for one time keep the first, or the one that a person has released from quarantine."""
    found = staging.twins(cursor)
    different = [twin for twin in found if not twin.same]
    chosen = {twin.kept: twin for twin in different if _was_released(asset, timeframe, batch, twin.place)}
    reasons = {}
    for twin in different:
        if chosen.get(twin.kept) is not twin:
            reasons[twin.place] = (
                f"{_row(batch, twin.kept)} has the same time and came first"
                f" (close {twin.kept_close} there, {twin.close} here)"
            )
    for kept, twin in chosen.items():
        reasons[kept] = f"{_row(batch, twin.place)} has the same time and was released (close {twin.close} there)"
    _refuse(cursor, batch, {place: Fault(Kind.TWIN, reason) for place, reason in reasons.items()})
    batch.said_twice.update(twin.place for twin in found if twin.same)
    staging.take_out(cursor, list(batch.said_twice))


def _was_released(asset: Asset, timeframe: Timeframe, batch: _Batch, place: int) -> bool:
    row = batch.candles.slice(place, 1).to_pylist()[0]
    return QuarantinedCandle.objects.filter(
        asset=asset,
        timeframe=timeframe,
        state=QuarantinedCandle.State.RELEASED,
        fingerprint=fingerprint(_raw(row, row["open_time"])),
    ).exists()


def _bring_up_to_date(asset: Asset, timeframe: Timeframe, changes: staging.Changes, source: str, now: datetime) -> None:
    """Counts, range and freshness; the revision rises only if the past changed, not when candles were appended."""
    series, _ = Series.objects.get_or_create(asset=asset, timeframe=timeframe)
    past = series.last_open is not None and (
        changes.updated or (changes.first_inserted and changes.first_inserted < series.last_open)
    )
    if past:
        series.revision, series.revised_at = series.revision + 1, now
    series.candle_count += changes.inserted
    if changes.first_inserted:
        series.first_open = min(series.first_open or changes.first_inserted, changes.first_inserted)
    if changes.last_changed and (series.last_open is None or changes.last_changed >= series.last_open):
        series.last_open, series.source = changes.last_changed, source
    series.changed_at = now
    series.save(
        update_fields=["revision", "revised_at", "candle_count", "first_open", "last_open", "source", "changed_at"]
    )


def _without(asset: Asset, timeframe: Timeframe, count: int, now: datetime) -> None:
    """Of the series, after so many candles were withdrawn from it."""
    stored = Candle.objects.filter(asset=asset, timeframe=timeframe).order_by("open_time")
    first, last = stored.first(), stored.last()
    Series.objects.filter(asset=asset, timeframe=timeframe).update(
        candle_count=F("candle_count") - count,
        revision=F("revision") + 1,
        revised_at=now,
        changed_at=now,
        first_open=first and first.open_time,
        last_open=last and last.open_time,
        source=last.source if last else "",
    )


# --- What was refused --------------------------------------------------------------------------------------------


# One statement of arrays: a refused file can be as long as an accepted one, and objects would take minutes.
_KEEP = """
INSERT INTO marketdata_quarantinedcandle
    (asset_id, timeframe, open_time, raw, reason, source, origin, state, received_at, decided_by, fingerprint, kind)
SELECT %s, %s, open_time, raw::jsonb, reason, %s, origin, 'held', now(), '', fingerprint, kind
FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS refused (open_time, raw, kind, reason, origin, fingerprint)
ON CONFLICT DO NOTHING
"""


def _quarantine(cursor: Any, asset: Asset, timeframe: Timeframe, batch: _Batch, source: str, origin: str) -> None:
    """Keep the refused rows as they came. One that is there already, decided or not, is left as it is."""
    import pyarrow as pa

    places = sorted(batch.refused)
    rows = batch.candles.take(pa.array(places, pa.int64()))
    rows = rows.set_column(0, "open_time", rows["open_time"].cast(pa.int64()))  # Python's calendar ends earlier
    held = []
    for place, row in zip(places, rows.to_pylist(), strict=True):
        at = None if row["open_time"] is None else checks.moment(row["open_time"])
        held.append(_held(at, _raw(row, at), batch.refused[place], _origin(origin, row.get("row"))))
    _keep(cursor, asset, timeframe, source, held)


def _keep_withdrawn(
    cursor: Any, asset: Asset, timeframe: Timeframe, verdict: judging.Verdict, rows: list[tuple[Any, ...]]
) -> None:
    """Keep candles that were stored, but for those that came again and so were refused as they came."""
    for at, source, *numbers in rows:
        if at not in verdict.again:
            raw = _raw(dict(zip(checks.NUMBERS, numbers, strict=True)), at)
            held = _held(at, raw, verdict.withdrawn[at], "stored before, and doubted since its neighbours came")
            _keep(cursor, asset, timeframe, source, [held])


_Held = tuple[datetime | None, str, str, str, str, str]


def _held(at: datetime | None, raw: dict[str, str], fault: Fault, where: str) -> _Held:
    return at, json.dumps(raw), fault.kind.value, fault.reason[:300], where[:300], fingerprint(raw)


def _keep(cursor: Any, asset: Asset, timeframe: Timeframe, source: str, held: list[_Held]) -> None:
    doubted = [row[-1] for row in held if row[2] in quality.DOUBTS]
    if doubted:
        judging.doubted_again(cursor, {"asset": asset.pk, "timeframe": timeframe.value}, doubted)
    for start in range(0, len(held), 10_000):
        columns = [list(column) for column in zip(*held[start : start + 10_000], strict=True)]
        cursor.execute(_KEEP, [asset.pk, timeframe.value, source, *columns])


def _raw(row: dict[str, Any], at: datetime | None) -> dict[str, str]:
    """The row's texts by column, without what it did not have (and without NUL, which PostgreSQL's JSON can't hold)."""
    time = row.get("time") or (at.isoformat().replace("+00:00", "Z") if at else None)
    texts = {"open_time": time, **{name: row[name] for name in checks.NUMBERS}}
    return {name: text.replace("\0", "�") for name, text in texts.items() if text is not None}


def fingerprint(raw: dict[str, str]) -> str:
    """What tells one refused row from another: all that it said, wherever it stood."""
    return sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()


def _origin(origin: str, row: int | None) -> str:
    return f"{origin} row {row}".strip() if row is not None else origin


def _row(batch: _Batch, place: int) -> str:
    """How a message names a row of the batch: by its number if it came with one."""
    if "row" in batch.candles.column_names:
        return f"row {batch.candles['row'][place].as_py()}"
    return "another candle"


def _problems(batch: _Batch) -> tuple[str, ...]:
    """The different reasons, each with the first row that it was found in and how many more there are."""
    places: dict[str, list[int]] = {}
    for place in sorted(batch.refused):
        places.setdefault(batch.refused[place].reason, []).append(place)
    named = [
        f"{_where(batch, first)}{f' and {len(more):,} more' if more else ''}: {reason}"
        for reason, (first, *more) in list(places.items())[:REASONS]
    ]
    others = sum(map(len, list(places.values())[REASONS:]))
    return (*named, f"and {others:,} more, each with its own reason") if others else tuple(named)


def _where(batch: _Batch, place: int) -> str:
    at = batch.candles["open_time"][place].value
    if at is None or "row" in batch.candles.column_names:
        return _row(batch, place)
    return checks.short(checks.moment(at))


# --- Is it the same series at all? -------------------------------------------------------------------------------


def _sampled(asset: Asset, timeframe: Timeframe, candles: "pa.Table") -> str:
    """Judge a table of more than one batch before any of it is stored, by candles evenly spread over it."""
    import numpy as np
    import pyarrow as pa

    places = np.unique(np.linspace(0, candles.num_rows - 1, GUARD_SAMPLE).astype(np.int64))
    part = next(_batches(candles.take(pa.array(places))))
    batch = _Batch(part, checks.faults(part, timeframe, timezone.now(), final=True))
    staged = _stageable(batch)
    if not staged.num_rows:
        return ""
    with transaction.atomic(), connection.cursor() as cursor:
        staging.copy(cursor, staged)
        return _foreign(cursor, asset, timeframe, _span(staged))


def _foreign(cursor: Any, asset: Asset, timeframe: Timeframe, span: dict[str, datetime | None]) -> str:
    """Why what is staged is not a correction of what is stored but another series; '' if it may be one."""
    found = staging.likeness(cursor, {"asset": asset.pk, "timeframe": timeframe.value, **span})
    if found.common < GUARD_LEAST or found.different * 2 <= found.common:
        return ""
    factor = f" (median factor {found.factor:.4g})" if found.factor else ""
    return (
        f"differs from the stored {asset} {timeframe} on {found.different:,} of {found.common:,} common candles"
        f"{factor}: another source or price basis? Import it under its own symbol (--symbol {asset}-RAW)"
        " or replace what is stored (--replace)"
    )
