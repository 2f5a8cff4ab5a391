"""What a person decides about candles that failed a check: release them into the series, or reject them."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from marketdata import splits, staging
from marketdata.checks import NUMBERS
from marketdata.ingestion import Ingested, ingest, schema
from marketdata.models import Candle, QuarantinedCandle, Timeframe

State = QuarantinedCandle.State
PRICES = ("open", "high", "low", "close", "adj_close")
SINGLY = 100  # so many are released one by one if they can't be together


class CannotDecide(Exception):
    """The candle can't be released or rejected; the text says why and what can be done."""


@dataclass(frozen=True)
class Decided:
    """How many candles were decided about, and why the others were not, a sentence each."""

    count: int = 0
    problems: tuple[str, ...] = ()

    def __add__(self, more: "Decided") -> "Decided":
        return Decided(self.count + more.count, self.problems + more.problems)


# --- One candle --------------------------------------------------------------------------------------------------


def release(held: QuarantinedCandle, by: str) -> Ingested:
    """Store the candle as it came, over the one that is stored for its time; returns what that changed.

    The doubts that put it aside (another candle of the same time, another price basis, what its neighbours say) are
    the person's to overrule, for good; what no candle can be (a high below its low, a text that is no number, a time in
    the future) is not. Raises `CannotDecide`; then nothing has changed.
    """
    with transaction.atomic():
        (candle,) = _undecided([held])
        if candle.state == State.RELEASED:
            raise CannotDecide(_released_before(candle))
        counts = _stored([candle])
        _decide([candle], State.RELEASED, by)
    held.refresh_from_db()
    return counts


def reject(held: QuarantinedCandle, by: str) -> None:
    """Say that the candle is rightly not used. It is kept. Raises `CannotDecide` if it has been released."""
    with transaction.atomic():
        (candle,) = _undecided([held])
        if candle.state == State.RELEASED:
            raise CannotDecide(_is_stored(candle))
        _decide([candle], State.REJECTED, by)
    held.refresh_from_db()


# --- Many --------------------------------------------------------------------------------------------------------


def release_many(chosen: Iterable[QuarantinedCandle], by: str) -> Decided:
    """Release all that can be. Those of one series and source are stored together, a transaction each."""
    return sum((_release_group(rows, by) for rows in _groups(chosen)), Decided())


def reject_many(chosen: Iterable[QuarantinedCandle], by: str) -> Decided:
    """Reject all that were not released."""
    return sum((_reject_group(rows, by) for rows in _groups(chosen)), Decided())


def _groups(chosen: Iterable[QuarantinedCandle]) -> list[list[QuarantinedCandle]]:
    """By series and source, always in the same order."""

    def whose(row: QuarantinedCandle) -> tuple[int, str, str]:
        return row.asset_id, row.timeframe, row.source

    return [list(rows) for _, rows in groupby(sorted(chosen, key=lambda row: (whose(row), row.pk)), whose)]


def _release_group(rows: list[QuarantinedCandle], by: str) -> Decided:
    """All at once; one by one if something among them can't be stored, so that it is told of that one."""
    try:
        with transaction.atomic():
            candles = _undecided(rows)
            if any(candle.state == State.RELEASED for candle in candles):
                raise CannotDecide
            _stored(candles)
            _decide(candles, State.RELEASED, by)
    except CannotDecide as error:
        if len(rows) > SINGLY:
            many = f"Nothing of these {len(rows):,} was released; choose fewer of them."
            return Decided(problems=(f"{error} {many}".strip(),))
        return sum((_release_one(row, by) for row in rows), Decided())
    return Decided(len(rows))


def _release_one(row: QuarantinedCandle, by: str) -> Decided:
    try:
        release(row, by)
    except CannotDecide as error:
        return Decided(problems=(str(error),))
    return Decided(1)


def _reject_group(rows: list[QuarantinedCandle], by: str) -> Decided:
    with transaction.atomic():
        candles = _undecided(rows)
        refused = [candle for candle in candles if candle.state == State.RELEASED]
        open_still = [candle for candle in candles if candle.state != State.RELEASED]
        _decide(open_still, State.REJECTED, by)
    return Decided(len(open_still), tuple(_is_stored(candle) for candle in refused))


# --- Steps -------------------------------------------------------------------------------------------------------


def _undecided(rows: list[QuarantinedCandle]) -> list[QuarantinedCandle]:
    """The rows of one series as they are now, held until the transaction ends: who decides at once, waits.

    The series' lock comes first, as in ingestion, which may decide about held rows too; else each could wait for the
    other.
    """
    with connection.cursor() as cursor:
        staging.lock(cursor, rows[0].asset_id, rows[0].timeframe)
    chosen = QuarantinedCandle.objects.filter(pk__in=[row.pk for row in rows]).order_by("pk")
    return list(chosen.select_for_update(of=("self",)).select_related("asset"))


def _stored(candles: list[QuarantinedCandle]) -> Ingested:
    """Of one series and source. Raises `CannotDecide` if not all can be stored."""
    import pyarrow as pa

    one = candles[0]
    shares = splits.since(one.asset, Timeframe(one.timeframe))
    rows = [{"open_time": candle.open_time, **_numbers(candle, shares)} for candle in candles]
    counts = ingest(
        one.asset,
        one.timeframe,
        pa.Table.from_pylist(rows, schema=schema()),
        source=one.source,
        origin=one.origin,
        doubt=False,
    )
    if counts.quarantined:
        raise CannotDecide(f"{one.asset} {one.timeframe} can't be released: {'; '.join(counts.problems)}.")
    return counts


def _numbers(candle: QuarantinedCandle, shares: Callable[[datetime, datetime], Fraction]) -> dict[str, str | None]:
    """What came; on the basis of after the splits that happened while it was held. Money stays what it is."""
    told: dict[str, str | None] = {name: candle.raw.get(name) for name in NUMBERS}
    many = shares(candle.open_time, candle.received_at) if candle.open_time else Fraction(1)
    for name in (*PRICES, "volume") if many != 1 else ():
        ratio = many if name == "volume" else 1 / many
        with suppress(ArithmeticError, TypeError):  # what is no number is refused as it came
            told[name] = str(Decimal(str(told[name])) * ratio.numerator / ratio.denominator)
    return told


def _decide(candles: list[QuarantinedCandle], state: QuarantinedCandle.State, by: str) -> None:
    QuarantinedCandle.objects.filter(pk__in=[candle.pk for candle in candles]).update(
        state=state, decided_by=str(by)[:150], decided_at=timezone.now()
    )


def _released_before(candle: QuarantinedCandle) -> str:
    return f"{candle} was released before, by {candle.decided_by}."


def _is_stored(candle: QuarantinedCandle) -> str:
    return f"{candle} was released by {candle.decided_by} and is stored; import a better one over it."


# --- Beside what is stored ---------------------------------------------------------------------------------------

# `at` arrives with each candle, so that one statement finds the neighbours of a whole page.
_NEIGHBOURS = """
SELECT wanted.id, near.place, near.open_time, near.open, near.high, near.low, near.close, near.volume, near.source
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[]) AS wanted (id, asset_id, timeframe, at)
CROSS JOIN LATERAL (
    (SELECT 'before' AS place, c.* FROM marketdata_candle c
     WHERE c.asset_id = wanted.asset_id AND c.timeframe = wanted.timeframe AND c.open_time < wanted.at
     ORDER BY c.open_time DESC LIMIT 1)
    UNION ALL
    (SELECT 'stored', c.* FROM marketdata_candle c
     WHERE c.asset_id = wanted.asset_id AND c.timeframe = wanted.timeframe AND c.open_time = wanted.at)
    UNION ALL
    (SELECT 'after', c.* FROM marketdata_candle c
     WHERE c.asset_id = wanted.asset_id AND c.timeframe = wanted.timeframe AND c.open_time > wanted.at
     ORDER BY c.open_time LIMIT 1)
) AS near
"""


def neighbours(rows: list[QuarantinedCandle]) -> dict[int, dict[str, list[Any]]]:
    """By id of a held candle: the stored candles before, at and after its time; one query."""
    timed = [row for row in rows if row.open_time]
    if not timed:
        return {}
    columns: list[Any] = [
        [row.pk for row in timed],
        [row.asset_id for row in timed],
        [row.timeframe for row in timed],
        [row.open_time for row in timed],
    ]
    found: dict[int, dict[str, list[Any]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_NEIGHBOURS, columns)
        for pk, place, *candle in cursor.fetchall():
            found.setdefault(pk, {})[place] = candle
    return found


def over(chosen: list[QuarantinedCandle]) -> int:
    """For how many of them a candle is stored."""
    stored = Exists(
        Candle.objects.filter(asset=OuterRef("asset"), timeframe=OuterRef("timeframe"), open_time=OuterRef("open_time"))
    )
    return QuarantinedCandle.objects.filter(stored, pk__in=[row.pk for row in chosen]).count()
