"""Which candles a market can have, when each is complete, and when to ask for the next: all from its sessions.

Everything here reads the stored sessions only (`marketdata.sessions`); `load` and `reschedule`, which may have to make
them, are for workers and commands.
"""

import logging
import math
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from django.conf import settings
from django.utils import timezone

from marketdata.markets import FX, ROUND_THE_CLOCK, UnknownCalendar, calendar_of, check_code
from marketdata.models import Asset, Series, Timeframe, available_at
from marketdata.sessions import DAY, EPOCH, Book, Sessions, load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FX", "ROUND_THE_CLOCK", "Book", "UnknownCalendar", "behind", "calendar_of", "check_code", "complete_at",
           "expected", "last_complete", "load", "next_complete", "next_due", "reschedule", "settle"]  # fmt: skip
log = logging.getLogger(__name__)

Grid = Literal["session", "utc", "local"]
SETTLE = timedelta(minutes=15)  # from a session's candle to the moment when sources have it as it will stay
LATE = timedelta(hours=6)  # at most so long until a candle that has not come is asked for again


# --- Which candles there are -----------------------------------------------------------------------------------------


def expected(
    code: str,
    timeframe: Timeframe,
    since: datetime,
    until: datetime,
    *,
    grid: Grid = "session",
    book: Book | None = None,
) -> "NDArray[np.datetime64]":
    """The opens of all candles with since ≤ open < until that the market can have: sorted datetime64[us], UTC.

    Candles of less than a day are counted from the session's open, and again from the end of its break; the last one
    of a stretch may be shorter. On the other grids they begin at multiples of their length by UTC's or the market's
    clock (so a New York hour is 09:00, with half an hour of trading in it). Days are named by their date, weeks by
    their Monday, months by their first; those without a session are not expected. Nothing is expected outside the
    range that the sessions are known for. Raises `UnknownCalendar` if they are not stored.
    """
    import numpy as np

    found = (book or Book()).sessions(code)
    if found is None:
        raise UnknownCalendar(f"The sessions of {code or 'this market'} are not stored.")
    timeframe = Timeframe(timeframe)
    low, high = _microseconds(since), _microseconds(until)
    opens = _dated(found, timeframe, low, high) if timeframe.is_daily else _timed(found, timeframe, low, high, grid)
    opens = opens[np.searchsorted(opens, low) : np.searchsorted(opens, high)]
    moments: NDArray[np.datetime64] = opens.view("datetime64[us]")
    return moments


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _dated(found: Sessions, timeframe: Timeframe, low: int, high: int) -> "NDArray[np.int64]":
    import numpy as np

    days = np.frombuffer(found.days, dtype=np.int64)
    margin = 31  # a week or a month is named by a day that may be before the range of its sessions
    days = days[
        np.searchsorted(days, low // (DAY * 1_000_000) - margin) : np.searchsorted(days, high // (DAY * 10**6) + 32)
    ]
    if timeframe is Timeframe.W1:
        days = np.unique(days - (days + 3) % 7)  # 1 January 1970 was a Thursday
    elif timeframe is Timeframe.MO1:
        days = np.unique(days.view("datetime64[D]").astype("datetime64[M]")).astype("datetime64[D]").view(np.int64)
    return days * (DAY * 1_000_000)


def _timed(found: Sessions, timeframe: Timeframe, low: int, high: int, grid: Grid) -> "NDArray[np.int64]":
    import numpy as np

    length = round(timeframe.length.total_seconds())
    opens, closes = (np.frombuffer(column, dtype=np.int64) for column in (found.opens, found.closes))
    of = slice(np.searchsorted(closes, low // 10**6 - length), np.searchsorted(opens, high // 10**6 + length))
    starts, ends = opens[of], closes[of]
    paused, again = (np.frombuffer(column, dtype=np.int64)[of] for column in (found.break_from, found.break_until))
    moved = np.frombuffer(found.offsets, dtype=np.int64)[of] if grid == "local" else np.zeros_like(starts)
    if (breaks := paused > 0).any():
        first_ends = np.where(breaks, paused, ends)
        starts, ends = np.concatenate([starts, again[breaks]]), np.concatenate([first_ends, ends[breaks]])
        moved = np.concatenate([moved, moved[breaks]])
    if grid != "session":
        starts = (starts + moved) // length * length - moved
    counts = np.maximum(-(-(ends - starts) // length), 0)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    found_opens = np.repeat(starts, counts) + within * length
    if breaks.any() or grid != "session":
        found_opens = np.unique(found_opens)
    in_microseconds: NDArray[np.int64] = found_opens * 1_000_000
    return in_microseconds


# --- One candle after another, without numpy -------------------------------------------------------------------------


def complete_at(code: str, timeframe: Timeframe, open_time: datetime, *, book: Book | None = None) -> datetime:
    """When the candle with this open is complete: a day at the market's close, a week or a month at its last one; a
    shorter one after its length, or at the end of the stretch of trading that it begins in or before.

    By its length alone where the calendar tells nothing.
    """
    timeframe, found = Timeframe(timeframe), (book or Book()).sessions(code)
    if found is None or not found.covers(open_time):
        return available_at(open_time, timeframe)
    if timeframe.is_daily:
        first, last = _period(_day(open_time), timeframe)
        place = bisect_right(found.days, last) - 1
        inside = place >= 0 and found.days[place] >= first
        return _moment(found.dated_ends[place]) if inside else available_at(open_time, timeframe)
    at, length = math.floor(open_time.timestamp()), round(timeframe.length.total_seconds())
    place = bisect_right(found.closes, at)
    if place < len(found.days):
        start, end = next(part for part in found.parts(place) if part[1] > at)
        if start < at + length:
            return _moment(min(at + length, end))
    return open_time + timeframe.length


def next_complete(code: str, timeframe: Timeframe, last_open: datetime, *, book: Book | None = None) -> datetime | None:
    """When the first candle after the one with this open will be complete, or was; None if the calendar can't tell."""
    found = (book or Book()).sessions(code)
    if found is None or not found.covers(last_open):
        return None
    end = next(_ends_after(found, Timeframe(timeframe), _covered(last_open, Timeframe(timeframe))), None)
    return None if end is None else _moment(end)


def last_complete(code: str, timeframe: Timeframe, now: datetime, *, book: Book | None = None) -> datetime | None:
    """The open of the newest candle that is complete by `now`; None if the calendar can't tell."""
    timeframe, found = Timeframe(timeframe), (book or Book()).sessions(code)
    if found is None or not found.covers(now):
        return None
    until = math.floor(now.timestamp())
    opened = _last_dated(found, timeframe, until) if timeframe.is_daily else _last_timed(found, timeframe, until)
    return None if opened is None else _moment(opened)


def behind(
    code: str, timeframe: Timeframe, last_open: datetime, now: datetime, *, most: int = 1000, book: Book | None = None
) -> int | None:
    """How many candles after the one with this open are complete by `now`, counted up to `most`; None if the calendar
    can't tell."""
    timeframe, found = Timeframe(timeframe), (book or Book()).sessions(code)
    if found is None or not found.covers(now) or not found.covers(last_open):
        return None
    until, count = math.floor(now.timestamp()), 0
    if timeframe is Timeframe.D1:
        return max(0, bisect_right(found.dated_ends, until) - bisect_right(found.days, _day(last_open)))
    for end in _ends_after(found, timeframe, _covered(last_open, timeframe)):
        if end > until or count >= most:
            break
        count += 1
    return count


def next_due(
    code: str, timeframe: Timeframe, last_open: datetime | None, now: datetime, *, book: Book | None = None
) -> datetime:
    """When to ask for the candle after the one with this open: when it is complete and sources have settled.

    One that should have come and has not is asked for again after a while, longer each time; one that is missing for
    a day, when the market makes its next. A week or a month that is not there at its last close is asked for when its
    last day is over everywhere, since sources take it for forming until then. Where the calendar tells nothing, after
    FETCH_INTERVAL_MINUTES.
    """
    book, timeframe = book or Book(), Timeframe(timeframe)
    wait = settle(code)
    following = next_complete(code, timeframe, last_open, book=book) if last_open else None
    if following is None:
        return now + timedelta(minutes=settings.FETCH_INTERVAL_MINUTES)
    ready = following + wait
    if ready <= now and following < (over := _period_over(following, timeframe)):
        ready = over + LATE
    if ready > now:
        return ready
    late = now - ready
    newest = last_complete(code, timeframe, now - wait, book=book)
    coming = next_complete(code, timeframe, newest, book=book) if newest else None
    again = now + min(max(late, SETTLE), LATE)
    if coming is None:
        return again
    return coming + wait if late > timedelta(days=1) else min(again, coming + wait)


def settle(code: str) -> timedelta:
    """How long after a candle's end sources have it as it will stay."""
    return timedelta(seconds=5) if code == ROUND_THE_CLOCK else SETTLE


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _day(moment: datetime) -> int:
    return moment.toordinal() - EPOCH


def _period(day: int, timeframe: Timeframe) -> tuple[int, int]:
    """The first and the last day of the candle that `day` is in."""
    if timeframe is Timeframe.W1:
        monday = day - (day + 3) % 7
        return monday, monday + 6
    if timeframe is Timeframe.MO1:
        named = date.fromordinal(day + EPOCH)
        first = day - named.day + 1
        return first, first + monthrange(named.year, named.month)[1] - 1
    return day, day


def _period_over(end: datetime, timeframe: Timeframe) -> datetime:
    """The end in UTC of the last day of the week or month whose last session ends then; else that end itself."""
    if timeframe not in (Timeframe.W1, Timeframe.MO1):
        return end
    return _moment((_period(_day(end - timedelta(microseconds=1)), timeframe)[1] + 1) * DAY)


def _covered(last_open: datetime, timeframe: Timeframe) -> int:
    """Up to where a series with this newest candle has the market: a day, or seconds. By its end rather than its open,
    because not all sources count the hours from the session's open."""
    if timeframe.is_daily:
        return _period(_day(last_open), timeframe)[1]
    return math.floor((last_open + timeframe.length).timestamp())


def _ends_after(found: Sessions, timeframe: Timeframe, covered: int) -> Iterator[int]:
    """The ends of the candles after `covered`, one after the other."""
    if timeframe.is_daily:
        place = bisect_right(found.days, covered)
        while place < len(found.days):
            place = bisect_right(found.days, _period(found.days[place], timeframe)[1])
            yield found.dated_ends[place - 1]
        return
    length = round(timeframe.length.total_seconds())
    for place in range(bisect_right(found.closes, covered), len(found.days)):
        for start, end in found.parts(place):
            at = start + max(0, (covered - start) // length) * length
            while at < end:
                yield min(at + length, end)
                at += length


def _last_dated(found: Sessions, timeframe: Timeframe, until: int) -> int | None:
    place = bisect_right(found.dated_ends, until) - 1
    if place < 0:
        return None
    first, last = _period(found.days[place], timeframe)
    if place + 1 < len(found.days) and found.days[place + 1] <= last:  # its week or month is not over
        place = bisect_left(found.days, first) - 1
        if place < 0:
            return None
        first, _ = _period(found.days[place], timeframe)
    return first * DAY


def _last_timed(found: Sessions, timeframe: Timeframe, until: int) -> int | None:
    length = round(timeframe.length.total_seconds())
    for place in range(bisect_left(found.opens, until) - 1, -1, -1):
        for start, end in reversed(found.parts(place)):
            whole = -(-(end - start) // length) if until >= end else (until - start) // length
            if whole > 0:
                return start + (whole - 1) * length
    return None


# --- When a series is due --------------------------------------------------------------------------------------------


def reschedule(asset: Asset, timeframe: Timeframe, now: datetime | None = None) -> datetime:
    """Note when the series is to be refreshed next, and say it; for workers, because it may load a calendar.

    While no provider answers, the pauses grow with the time that it has been so, from a quarter of an hour to a day.
    """
    now, code = now or timezone.now(), calendar_of(asset)
    series, _ = Series.objects.get_or_create(asset=asset, timeframe=timeframe)
    if series.failed_at:
        due = now + min(max(now - series.failed_at, SETTLE), timedelta(days=1))
    else:
        try:
            load(code) if code else None
        except UnknownCalendar:
            log.warning("an asset has a calendar that does not exist", extra={"symbol": asset.symbol, "calendar": code})
        due = next_due(code, timeframe, series.last_open, now)
    Series.objects.filter(pk=series.pk).update(due_at=due)
    return due
