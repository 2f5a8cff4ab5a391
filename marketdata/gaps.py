"""Which candles of a series are missing: what its market's calendar lets expect, less what is stored.

An expected candle is one of four things: there; held in quarantine; not traded, because providers that were asked for
exactly that time had none; or missing. For minutes and hours one provider's word is enough, for a quiet minute has no
candle; a whole day without a trade is so unlikely that two must say it.

A series is judged by its own way of counting. Some sources count hours from the session's open (09:30), others by the
clock (09:00); candles before and after the session are extra, neither missing nor wrong. And where no exchange rules
the hours of the week (currencies, futures), only hours are expected that the source itself usually has.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from marketdata import calendars, providers
from marketdata.calendars import Book, UnknownCalendar
from marketdata.models import Asset, FetchWindow, QuarantinedCandle, Series, Timeframe

if TYPE_CHECKING:
    import numpy as np
    from django.db.models import QuerySet
    from numpy.typing import NDArray

HAVE, MISSING, UNTRADED, HELD = range(4)
SPANS = 60  # of a coverage bar
_HABITUAL = (calendars.FX, "CMES", "us_futures", "IEPA")  # hours differ from source to source
_HOUR, _WEEK = 3_600_000_000, 168 * 3_600_000_000  # microseconds
_AROUND = 6  # weeks before and after one that tell what is usual in it
_FROM_2000 = 946_684_800_000_000  # PostgreSQL counts its microseconds from there


@dataclass(frozen=True)
class Gap:
    """A run of missing candles: the opens of its first and its last, and how many they are."""

    start: datetime
    end: datetime
    candles: int


@dataclass(frozen=True)
class Coverage:
    """What became of every candle that can be expected of a series.

    `expected` are their opens (sorted datetime64[us], UTC), `kinds` says for each what it is. `extra` counts stored
    candles in the range that nobody expected.
    """

    calendar: str
    expected: "NDArray[np.datetime64]"
    kinds: "NDArray[np.int8]"
    extra: int

    def count(self, kind: int) -> int:
        import numpy as np

        return int(np.count_nonzero(self.kinds == kind))

    @cached_property
    def runs(self) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
        """Where runs of missing candles begin and end among the expected ones; the ends are exclusive."""
        import numpy as np

        edges = np.diff(np.concatenate([[0], (self.kinds == MISSING).astype(np.int8), [0]]))
        return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)

    @property
    def gaps(self) -> list[Gap]:
        starts, ends = self.runs
        firsts, lasts = self.expected[starts].tolist(), self.expected[ends - 1].tolist()
        counts = (ends - starts).tolist()
        return [
            Gap(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC), count)
            for first, last, count in zip(firsts, lasts, counts, strict=True)
        ]

    @property
    def bar(self) -> list[list[int]]:
        """Equal spans of time, oldest first: how many in each are there, missing, not traded, and held."""
        import numpy as np

        if not self.expected.size:
            return []
        opens = self.expected.view(np.int64)
        spans = min(SPANS, opens.size)
        place = (opens - opens[0]) * spans // (opens[-1] - opens[0] + 1)
        return np.bincount(place * 4 + self.kinds, minlength=spans * 4).reshape(spans, 4).tolist()


# --- The verbs ---------------------------------------------------------------------------------------------------


def find(asset: Asset, timeframe: Timeframe, since: datetime | None = None, until: datetime | None = None) -> list[Gap]:
    """The runs of missing candles with since ≤ open < until, oldest first; from the first stored candle without
    `since`, to the newest that is complete without `until`. Raises `UnknownCalendar`."""
    return examine(asset, timeframe, since, until).gaps


def examine(
    asset: Asset, timeframe: Timeframe, since: datetime | None = None, until: datetime | None = None
) -> Coverage:
    """What became of every expected candle of the range, as `find` has it. May load a calendar: for workers and
    commands. Raises `UnknownCalendar`."""
    import numpy as np

    timeframe, code = Timeframe(timeframe), _loaded(asset, since)
    series = Series.objects.filter(asset=asset, timeframe=timeframe).first()
    book = Book()
    first, last = _stored_range(asset, timeframe)
    since = since or first
    until = _until(series, code, timeframe, last, until, book)
    if since is None or until is None or since >= until:
        return Coverage(code, np.empty(0, "datetime64[us]"), np.empty(0, np.int8), 0)
    calendars.load(code, since.date())
    stored = _opens(asset, timeframe, since, until)
    opens = _expected(code, timeframe, since, until, stored, book)
    kinds = np.full(opens.size, MISSING, dtype=np.int8)
    kinds[_untraded(asset, timeframe, opens)] = UNTRADED
    kinds[np.isin(opens, _held(asset, timeframe, since, until))] = HELD
    there = _in(opens, stored)
    kinds[there] = HAVE
    return Coverage(code, opens.view("datetime64[us]"), kinds, int(stored.size - np.count_nonzero(there)))


def audit(series: Series) -> Coverage | None:
    """Count again what is missing of a series and store it with the series; None if its calendar is not known."""
    found: Coverage | None
    try:
        found = examine(series.asset, Timeframe(series.timeframe))
    except UnknownCalendar:
        found = None
    counts = {
        "expected_count": found.expected.size if found else 0,
        "missing_count": found.count(MISSING) if found else 0,
        "untraded_count": found.count(UNTRADED) if found else 0,
        "held_count": found.count(HELD) if found else 0,
        "gap_count": len(found.runs[0]) if found else 0,
        "coverage_bar": found.bar if found else [],
        "audited_at": timezone.now(),
    }
    for name, value in counts.items():
        setattr(series, name, value)
    Series.objects.filter(pk=series.pk).update(**counts)
    return found


def unaudited(now: datetime) -> "QuerySet[Series]":
    """The series whose candles have changed since they were counted, but for those that are being changed just now."""
    changed = Q(audited_at=None) | Q(audited_at__lt=F("changed_at"))
    return Series.objects.filter(changed, changed_at__lt=now - timedelta(minutes=5)).exclude(last_open=None)


# --- The range ---------------------------------------------------------------------------------------------------


def _loaded(asset: Asset, since: datetime | None) -> str:
    code = calendars.calendar_of(asset)
    if not code:
        where = f" ({asset.exchange})" if asset.exchange else ""
        raise UnknownCalendar(
            f"Nothing tells which market {asset}{where} is traded on, so which candles it should have is not known."
            " Write its calendar, such as XNYS, XLON or 24/7, in the admin."
        )
    try:
        calendars.load(code, since.date() if since else None)
    except UnknownCalendar as error:
        raise UnknownCalendar(f"The calendar of {asset}: {error}") from None
    return code


def _stored_range(asset: Asset, timeframe: Timeframe) -> tuple[datetime | None, datetime | None]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(open_time), max(open_time) FROM marketdata_candle WHERE asset_id = %s AND timeframe = %s",
            [asset.pk, timeframe.value],
        )
        first, last = cursor.fetchone() or (None, None)
    return first, last


def _until(
    series: Series | None,
    code: str,
    timeframe: Timeframe,
    last: datetime | None,
    until: datetime | None,
    book: Book,
) -> datetime | None:
    """Up to the newest candle that a provider should have by now; a file or a sample ended when it ended."""
    complete = calendars.last_complete(code, timeframe, timezone.now() - calendars.settle(code), book=book)
    ended = series is None or not providers.known(series.source)
    newest = last if ended and until is None else max(filter(None, (complete, last)), default=None)
    if newest is None:
        return until
    after = newest + timedelta(microseconds=1)
    return after if until is None else min(after, until)


# --- What is there, and what is not ------------------------------------------------------------------------------


_OPENS = """
SELECT array_send(array_agg(open_time)) FROM (
    SELECT open_time FROM marketdata_candle
    WHERE asset_id = %s AND timeframe = %s AND open_time >= %s AND open_time < %s ORDER BY open_time
) AS candle
"""


def _opens(asset: Asset, timeframe: Timeframe, since: datetime, until: datetime) -> "NDArray[np.int64]":
    """The stored opens of the range in microseconds since 1970, sorted.

    As one value in PostgreSQL's binary form: a million rows one by one would take a second.
    """
    import numpy as np

    with connection.cursor() as cursor:
        cursor.execute(_OPENS, [asset.pk, timeframe.value, since, until])
        (sent,) = cursor.fetchone() or (None,)
    if sent is None:
        return np.empty(0, np.int64)
    elements = np.frombuffer(sent, dtype=[("size", ">i4"), ("at", ">i8")], offset=20)  # after the array's header
    opens: NDArray[np.int64] = elements["at"].astype(np.int64) + _FROM_2000
    return opens


def _in(wanted: "NDArray[np.int64]", among: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    """For each of `wanted` whether it is among the sorted others."""
    import numpy as np

    if not among.size:
        return np.zeros(wanted.size, dtype=np.bool_)
    found: NDArray[np.bool_] = among[np.minimum(np.searchsorted(among, wanted), among.size - 1)] == wanted
    return found


def _expected(
    code: str, timeframe: Timeframe, since: datetime, until: datetime, stored: "NDArray[np.int64]", book: Book
) -> "NDArray[np.int64]":
    """The opens to expect, on the grid that the stored candles keep to."""
    import numpy as np

    best = _on_grid(code, timeframe, since, until, "session", book)
    if timeframe.is_daily:
        return best
    most = np.count_nonzero(_in(best, stored))
    length = timeframe.length // timedelta(microseconds=1)
    if most < 0.9 * stored.size and (best % length).any():  # else the clock's grid is the session's
        for grid in ("utc", "local"):
            other = _on_grid(code, timeframe, since, until, grid, book)
            if (hits := np.count_nonzero(_in(other, stored))) > most:
                best, most = other, hits
    return _usual(best, stored) if code in _HABITUAL else best


def _on_grid(
    code: str, timeframe: Timeframe, since: datetime, until: datetime, grid: calendars.Grid, book: Book
) -> "NDArray[np.int64]":
    import numpy as np

    return calendars.expected(code, timeframe, since, until, grid=grid, book=book).view(np.int64)


def _usual(opens: "NDArray[np.int64]", stored: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Of the expected opens those in an hour of the week that three in four of the weeks around have candles in.

    Weeks without any candle say nothing about what is usual: all of theirs stay expected. Where summer time moves the
    week, its first and last hours are not expected for a while, for nobody can say whether they should be there.
    """
    import numpy as np

    if not opens.size or not stored.size:
        return opens
    first = min(opens[0], stored[0]) // _WEEK
    weeks = int(max(opens[-1], stored[-1]) // _WEEK - first + 1)
    has = np.zeros((weeks, 168), dtype=np.int32)
    has[stored // _WEEK - first, stored % _WEEK // _HOUR] = 1
    alive: NDArray[np.int32] = has.max(axis=1, keepdims=True)
    usual = (_around(has) * 4 >= np.maximum(_around(alive), 1) * 3) | (alive == 0)
    kept: NDArray[np.int64] = opens[usual[opens // _WEEK - first, opens % _WEEK // _HOUR]]
    return kept


def _around(counts: "NDArray[np.int32]") -> "NDArray[np.int32]":
    """The sums over each week and its neighbours."""
    import numpy as np

    summed = np.concatenate([np.zeros((1, counts.shape[1]), np.int32), np.cumsum(counts, axis=0, dtype=np.int32)])
    places = np.arange(len(counts))
    last, first = np.minimum(places + _AROUND + 1, len(counts)), np.maximum(places - _AROUND, 0)
    sums: NDArray[np.int32] = summed[last] - summed[first]
    return sums


def _held(asset: Asset, timeframe: Timeframe, since: datetime, until: datetime) -> "NDArray[np.int64]":
    import numpy as np

    held = QuarantinedCandle.objects.filter(
        asset=asset, timeframe=timeframe, state=QuarantinedCandle.State.HELD, open_time__gte=since, open_time__lt=until
    )
    return np.array([_microseconds(at) for at in held.values_list("open_time", flat=True) if at], dtype=np.int64)


def _untraded(asset: Asset, timeframe: Timeframe, opens: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    """Which of the opens enough providers were asked for, and had said all that they had to say."""
    import numpy as np

    answers = FetchWindow.objects.filter(
        asset=asset,
        timeframe=timeframe,
        state__in=(FetchWindow.State.ANSWERED, FetchWindow.State.EMPTY),
        settled_until__isnull=False,
    )
    changes: dict[str, NDArray[np.int32]] = {}
    for provider, since, until in answers.values_list("provider", "since", "settled_until"):
        if until is None or until <= since:
            continue
        change = changes.setdefault(provider, np.zeros(opens.size + 1, dtype=np.int32))
        change[np.searchsorted(opens, _microseconds(since))] += 1
        change[np.searchsorted(opens, _microseconds(until))] -= 1
    said = np.zeros(opens.size, dtype=np.int32)
    for change in changes.values():
        said += np.cumsum(change[:-1]) > 0
    enough: NDArray[np.bool_] = said >= (2 if timeframe.is_daily else 1)
    return enough


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
