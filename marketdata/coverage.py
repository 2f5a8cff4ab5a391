"""The coverage ledger: what was asked of whom, what came of it, and so what need not be asked again.

A question is written down and committed before it is asked (`begin`). Its end is written in the transaction that
stores its candles (`answered`), so a process that dies leaves either both or neither, and a row that says `asking`.

What an answer vouches for ends at `settled_until`: what it brought, and what it did not bring although it should have
been over for a while. Providers give the newest candles late, so their absence just now proves nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from marketdata.checks import last_complete_open
from marketdata.models import FetchWindow, Timeframe

Range = tuple[datetime, datetime]  # since ≤ open < until, aware UTC

# How long after its end a candle that an answer lacks can still be on its way.
LATE = timedelta(hours=12)
LATE_BY_DAYS = timedelta(days=3)
KEPT = timedelta(days=30)  # so long every question has a line of its own
MANY = 500  # older lines of a series, from which they are merged
VOUCHING = (FetchWindow.State.ANSWERED, FetchWindow.State.EMPTY)


# --- Writing it down ---------------------------------------------------------------------------------------------


def begin(
    asset_id: int, timeframe: Timeframe, provider: str, since: datetime, until: datetime, job_id: int | None = None
) -> FetchWindow:
    """Write down that this is about to be asked. Call it outside transactions, so that it is committed at once."""
    return FetchWindow.objects.create(
        asset_id=asset_id, timeframe=timeframe, provider=provider, since=since, until=until, job_id=job_id
    )


def answered(
    window: FetchWindow,
    *,
    received: int = 0,
    inserted: int = 0,
    updated: int = 0,
    quarantined: int = 0,
    newest: datetime | None = None,
    vouches: bool = True,
) -> None:
    """Write down the answer, in the transaction that stores its candles.

    `newest` is the open of the last candle that came. Without `vouches` the window stays uncovered: nothing of what
    came was kept.
    """
    window.state = FetchWindow.State.ANSWERED if received else FetchWindow.State.EMPTY
    window.received, window.inserted, window.updated = received, inserted, updated
    window.quarantined = quarantined
    window.settled_until = settled_until(window, newest) if vouches else None
    _end(window)
    if received:  # so what was said of an earlier end of its history does not hold any more
        older = FetchWindow.objects.filter(
            asset_id=window.asset_id, timeframe=window.timeframe, provider=window.provider, exhausted=True
        )
        older.filter(since__gt=window.since).update(exhausted=False)


def vouch(window: FetchWindow, newest: datetime | None) -> None:
    """What the answer to this window lacked was asked for once more and answered: now it can be relied on."""
    window.settled_until = settled_until(window, newest)
    window.save(update_fields=["settled_until"])


def failed(window: FetchWindow, error: BaseException) -> None:
    """Write down that nothing was stored and why: it covers nothing. Who was told to stop was interrupted."""
    window.state = FetchWindow.State.FAILED
    window.error_class, window.error = type(error).__name__[:40], str(error)[:300]
    if not isinstance(error, Exception):
        window.error_class, window.error = "Interrupted", "Its job was stopped before the answer was stored."
    window.received = window.inserted = window.updated = window.quarantined = 0
    window.settled_until = None
    _end(window)


def _end(window: FetchWindow) -> None:
    window.answered_at = timezone.now()
    window.seconds = max(0.0, (window.answered_at - window.asked_at).total_seconds())
    window.save()


def exhaust(asset_id: int, timeframe: Timeframe, provider: str, since: datetime) -> None:
    """Remember that the provider has nothing older than its window that begins there."""
    newest = FetchWindow.objects.filter(
        asset_id=asset_id, timeframe=timeframe, provider=provider, since=since, state__in=VOUCHING
    ).order_by("-pk")
    FetchWindow.objects.filter(pk__in=newest.values("pk")[:1]).update(exhausted=True)


def close_interrupted(asset_id: int, timeframe: Timeframe) -> int:
    """Say of the series' questions that are still open that they were interrupted; returns how many were.

    For the holder of the series' lock, who knows that nobody is asking.
    """
    return FetchWindow.objects.filter(
        asset_id=asset_id, timeframe=timeframe, state=FetchWindow.State.ASKING
    ).update(
        state=FetchWindow.State.FAILED,
        error_class="Interrupted",
        error="The process that asked ended before the answer was stored; it is asked again.",
        answered_at=timezone.now(),
    )  # fmt: skip


def settled_until(window: FetchWindow, newest: datetime | None) -> datetime | None:
    """Until when (exclusive) the answer can be relied on; None if for nothing of the window.

    Up to the newest candle that came, for the provider gives none that is not over; and beyond it as far as candles
    were over by their length, and `LATE` with it, when it was asked.
    """
    timeframe = Timeframe(window.timeframe)
    late = LATE_BY_DAYS if timeframe.is_daily else LATE
    settled = floor(last_complete_open(timeframe, window.asked_at - late), timeframe)
    if timeframe.is_daily:  # that day's is over, and it opened at 00:00
        settled += timedelta(days=1)
    if newest:
        settled = max(settled, next_open(newest, timeframe))
    settled = min(settled, window.until)
    return settled if settled > window.since else None


def floor(moment: datetime, timeframe: Timeframe) -> datetime:
    """Down to the day or the minute, where candles begin."""
    whole = moment.replace(second=0, microsecond=0)
    return whole.replace(hour=0, minute=0) if timeframe.is_daily else whole


def next_open(at: datetime, timeframe: Timeframe) -> datetime:
    """The earliest possible open after the one at `at`."""
    if timeframe == Timeframe.MO1:
        return (at.replace(day=28) + timedelta(days=4)).replace(day=1)
    return at + timeframe.length


_MERGED = """
WITH old AS (
    DELETE FROM marketdata_fetchwindow
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND asked_at < %(before)s
      AND state <> 'asking' AND NOT exhausted
    RETURNING *
), ranges AS (
    SELECT provider, state, unnest(range_agg(tstzrange(since, settled_until))) AS r
    FROM old WHERE state = ANY(%(vouching)s) AND settled_until > since
    GROUP BY provider, state
)
INSERT INTO marketdata_fetchwindow (asset_id, timeframe, provider, since, until, settled_until, state, received,
    inserted, updated, quarantined, exhausted, error_class, error, asked_at, answered_at, seconds)
SELECT %(asset)s, %(timeframe)s, provider, lower(r), upper(r), upper(r), state, sum(received), sum(inserted),
    sum(updated), sum(quarantined), false, '', '', min(asked_at), max(answered_at), sum(seconds)
FROM ranges JOIN old USING (provider, state)
WHERE old.settled_until > old.since AND old.since >= lower(r) AND old.since < upper(r)
GROUP BY provider, state, r
"""


def tidy(asset_id: int, timeframe: Timeframe) -> bool:
    """Merge the series' answers of more than a month ago, if there are many: what they vouch for stays the same, what
    vouches for nothing (failures) goes. Whether it was done. For the holder of the series' lock.
    """
    before = timezone.now() - KEPT
    old = FetchWindow.objects.filter(asset_id=asset_id, timeframe=timeframe, asked_at__lt=before, exhausted=False)
    if not old.order_by("-asked_at").values("pk")[MANY : MANY + 1]:
        return False
    scope: dict[str, Any] = {"asset": asset_id, "timeframe": timeframe.value, "before": before}
    scope["vouching"] = list(VOUCHING)
    with connection.cursor() as cursor:
        cursor.execute(_MERGED, scope)
    return True


# --- Reading it --------------------------------------------------------------------------------------------------


_NEEDED = """
SELECT lower(r), upper(r)
FROM unnest(
    tstzmultirange(tstzrange(%(since)s, %(until)s)) - coalesce((
        SELECT range_agg(tstzrange(since, settled_until))
        FROM marketdata_fetchwindow
        WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND since < %(until)s
          AND settled_until > %(since)s AND settled_until > since
          AND (state = %(brought)s OR (provider = %(provider)s AND state = ANY(%(own)s)))
    ), '{}'::tstzmultirange)
) AS r
ORDER BY r
"""


def needed(asset: Any, timeframe: Timeframe | str, since: datetime, until: datetime, provider: str) -> list[Range]:
    """What this provider has still to be asked: neither did anybody bring candles for it, nor did this one say that
    there are none. That another has none says nothing of this one.
    """
    if asset.pk is None:
        return [(since, until)] if since < until else []
    if since >= until:
        return []
    scope = {"asset": asset.pk, "timeframe": str(timeframe), "since": since, "until": until, "provider": provider}
    with connection.cursor() as cursor:
        cursor.execute(_NEEDED, scope | {"brought": FetchWindow.State.ANSWERED.value, "own": list(VOUCHING)})
        return list(cursor.fetchall())


def exhausted_at(asset: Any, timeframe: Timeframe | str, provider: str) -> datetime | None:
    """Where the provider's history is known to begin: it has nothing older. None if that is not known."""
    if asset.pk is None:
        return None
    known = FetchWindow.objects.filter(asset=asset, timeframe=timeframe, provider=provider, exhausted=True)
    return known.order_by("-answered_at").values_list("since", flat=True).first()


def gave_any(asset: Any, timeframe: Timeframe | str, provider: str, since: datetime) -> bool:
    """Whether the provider has ever given candles of this moment or later."""
    given = FetchWindow.objects.filter(asset=asset, timeframe=timeframe, provider=provider, received__gt=0)
    return given.filter(until__gt=since).exists()


def overlap(one: Range, other: Range) -> Range | None:
    """What both have in common."""
    since, until = max(one[0], other[0]), min(one[1], other[1])
    return (since, until) if since < until else None


def cut(ranges: Iterable[Range], step: timedelta) -> list[Range]:
    """The ranges by a fixed grid of `step` (counted from 1970), so that every run asks for the same windows.

    Oldest first; of a cell of the grid one window, from the first to the last moment in it that is wanted.
    """
    cells: dict[int, Range] = {}
    for since, until in ranges:
        number = (since - _EPOCH) // step
        while (start := _EPOCH + number * step) < until:
            part = max(since, start), min(until, start + step)
            known = cells.get(number, part)
            cells[number] = (min(known[0], part[0]), max(known[1], part[1]))
            number += 1
    return [cells[number] for number in sorted(cells)]


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


# --- For pages ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What one provider was asked about one series, in sum."""

    timeframe: str
    provider: str
    windows: int
    failures: int
    received: int
    last_asked_at: datetime | None


def summary(asset: Any) -> list[Asked]:
    """One line a timeframe and provider; one query."""
    rows = (
        FetchWindow.objects.filter(asset=asset)
        .order_by()
        .values("timeframe", "provider")
        .annotate(
            windows=Count("pk"),
            failures=Count("pk", filter=Q(state=FetchWindow.State.FAILED)),
            received=Sum("received"),
            last_asked_at=Max("asked_at"),
        )
        .order_by("timeframe", "provider")
    )
    return [Asked(**row) for row in rows]
