"""The sessions of markets: as they are stored, as a rule says them, and how they come into the database.

Those of exchanges come from exchange_calendars (pandas: slow, so `load` is for workers and commands). Two markets need
no rows, because a rule says them: "24/7", where every UTC day is a session, and "24/5", foreign exchange.

The package has a "24/5" of its own, Monday 00:00 to Friday 24:00 UTC, which is no market's week. Ours is the week that
banks and brokers keep: a trading date runs from 17:00 New York of the day before to 17:00 New York, so the week begins
on Sunday evening and ends on Friday evening, an hour earlier in UTC in summer; 25 December and 1 January have none.

Sessions are read once in a process and kept until another load.
"""

import logging
from array import array
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.utils import timezone

from marketdata.markets import FX, ROUND_THE_CLOCK, RULES, UnknownCalendar, canonical_code, codes, unknown
from marketdata.models import TradingCalendar, TradingSession

log = logging.getLogger(__name__)

PACKAGE = "exchange-calendars"
FROM = date(1970, 1, 1)  # sessions before are loaded only for a series that is older
AHEAD = timedelta(days=90)  # of known sessions; with fewer the calendar is loaded again
EPOCH = date(1970, 1, 1).toordinal()
DAY = 86_400


@dataclass(frozen=True)
class Sessions:
    """The trading days of one market, oldest first. Days since 1970; times in seconds since 1970, UTC; a break that
    there is not is 0."""

    code: str
    zone: str
    covers_from: date
    covers_until: date
    days: "array[int]"
    opens: "array[int]"
    closes: "array[int]"
    break_from: "array[int]"
    break_until: "array[int]"

    def covers(self, moment: datetime) -> bool:
        return self.covers_from <= moment.date() <= self.covers_until

    @cached_property
    def dated_ends(self) -> "array[int]":
        """When a day's own candle is complete: at the close. A currency's day is complete when UTC's is, too, for
        half of the sources end it there."""
        if self.code != FX:
            return self.closes
        return array("q", ((day + 1) * DAY for day in self.days))

    @cached_property
    def offsets(self) -> "array[int]":
        """The market's distance from UTC at each open, in seconds."""
        zone = ZoneInfo(self.zone)
        return array("q", (_offset(zone, at) for at in self.opens))

    def parts(self, place: int) -> "tuple[tuple[int, int], ...]":
        """The session's stretches of trading, (from, until)."""
        opens, closes, paused = self.opens[place], self.closes[place], self.break_from[place]
        return ((opens, paused), (self.break_until[place], closes)) if paused else ((opens, closes),)


def _offset(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


class Book:
    """The calendars as they are stored now. One for a page or a job: it looks once which there are."""

    @cached_property
    def _stored(self) -> dict[str, TradingCalendar]:
        return {row.code: row for row in TradingCalendar.objects.all()}

    def sessions(self, code: str) -> Sessions | None:
        """The sessions of `code`; None if it is '' or was never loaded."""
        if code in RULES:
            return _ruled(code, timezone.now().date())
        row = self._stored.get(code) if code else None
        if row is None:
            return None
        kept = _kept.get(code)
        if kept is None or kept[0] != row.loaded_at:
            kept = _kept[code] = (row.loaded_at, _read(row))
        return kept[1]


_kept: dict[str, tuple[datetime, Sessions]] = {}

_COLUMNS = """
SELECT array_agg(date - date '1970-01-01' ORDER BY date),
       array_agg(extract(epoch FROM opens_at)::bigint ORDER BY date),
       array_agg(extract(epoch FROM closes_at)::bigint ORDER BY date),
       array_agg(coalesce(extract(epoch FROM break_from)::bigint, 0) ORDER BY date),
       array_agg(coalesce(extract(epoch FROM break_until)::bigint, 0) ORDER BY date)
FROM marketdata_tradingsession WHERE calendar = %s
"""


def _read(row: TradingCalendar) -> Sessions:
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS, [row.code])
        columns = [array("q", column or ()) for column in cursor.fetchone() or ()]
    return Sessions(row.code, row.zone, row.covers_from, row.covers_until, *columns)


@lru_cache(maxsize=4)
def _ruled(code: str, today: date) -> Sessions:
    """What the rule of `code` says, until a year after today."""
    last = today + timedelta(days=366)
    days = range(last.toordinal() - EPOCH + 1)
    if code == ROUND_THE_CLOCK:
        opens = array("q", (day * DAY for day in days))
        closes, kept = array("q", (at + DAY for at in opens)), array("q", days)
        zone = "UTC"
    else:
        kept = array("q", (day for day in days if _is_fx_day(day)))
        opens, closes = (array("q", (_fx_turn(day - back) for day in kept)) for back in (1, 0))
        zone = "America/New_York"
    nothing = array("q", bytes(8 * len(kept)))
    return Sessions(code, zone, FROM, last, kept, opens, closes, nothing, nothing)


def _is_fx_day(day: int) -> bool:
    named = date.fromordinal(day + EPOCH)
    return named.weekday() < 5 and (named.month, named.day) not in ((12, 25), (1, 1))


@cache
def _fx_turn(day: int) -> int:
    """17:00 in New York."""
    five = datetime.combine(date.fromordinal(day + EPOCH), time(17), ZoneInfo("America/New_York"))
    return round(five.timestamp())


# --- Loading them ----------------------------------------------------------------------------------------------------


def load(code: str, since: date | None = None) -> None:
    """Store the sessions of a market from 1970 (or `since`, if that is earlier) as far ahead as the package knows.

    Does nothing if they are stored, by this version of the package, and reach far enough. Several may load at once.
    Not for the web process: the package takes seconds to import. Raises `UnknownCalendar`.
    """
    code = canonical_code(code)
    if code in RULES:
        return
    if code not in codes():
        raise UnknownCalendar(unknown(code))
    wanted = min(since or FROM, FROM)
    if _is_current(code, wanted):
        return
    try:
        made, rows = _from_package(code, wanted)
    except Exception as error:  # the package's own faults, which differ by the pandas that is installed
        log.exception("exchange_calendars failed", extra={"calendar": code})
        raise UnknownCalendar(
            f"exchange_calendars {version(PACKAGE)} can't make the calendar {code} here ({type(error).__name__});"
            " the log has the details. Without it nothing is claimed about this market's candles."
        ) from error
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"marketdata.calendars {code}"])
        if _is_current(code, wanted):
            return
        TradingSession.objects.filter(calendar=code).delete()
        columns = "calendar, date, opens_at, closes_at, break_from, break_until"
        with cursor.copy(f"COPY marketdata_tradingsession ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        TradingCalendar.objects.filter(code=code).delete()
        made.save(force_insert=True)


def _is_current(code: str, wanted: date) -> bool:
    row = TradingCalendar.objects.filter(code=code).first()
    if row is None or row.version != version(PACKAGE):
        return False
    now = timezone.now()
    # Some calendars end where holidays are not known yet, and some begin late: no need to try every time.
    far_enough = row.covers_until >= (now + AHEAD).date() or row.loaded_at > now - timedelta(days=7)
    return far_enough and (row.covers_from <= wanted or row.covers_from > FROM)


def _from_package(code: str, wanted: date) -> tuple[TradingCalendar, list[tuple[object, ...]]]:
    """The calendar and its sessions as rows to store."""
    import exchange_calendars

    usual = exchange_calendars.get_calendar(code)
    bound = usual.bound_min()
    start = max(wanted, bound.date()) if bound is not None else wanted
    found = exchange_calendars.get_calendar(code, start=start.isoformat())
    table = found.schedule
    columns = [_seconds(table[name]) for name in ("open", "close", "break_start", "break_end")]
    rows: list[tuple[object, ...]] = [
        (code, day.date(), *(None if at is None else datetime.fromtimestamp(at, UTC) for at in times))
        for day, *times in zip(table.index, *columns, strict=True)
    ]
    last = found.default_end().date()
    return TradingCalendar(
        code=code, zone=str(found.tz), covers_from=start, covers_until=last, version=version(PACKAGE)
    ), rows


def _seconds(column: Any) -> list[int | None]:
    """A pandas column of moments as seconds since 1970."""
    return [None if gone else round(at.timestamp()) for at, gone in zip(column, column.isna(), strict=True)]
