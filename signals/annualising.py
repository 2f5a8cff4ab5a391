"""How many bars of a timeframe a year has, by the asset's calendar: what ratios are annualised by."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from math import ceil
from statistics import median

from marketdata import calendars
from marketdata.models import Asset, AssetClass, Timeframe

# The years over which a market's sessions are counted: fixed, so that a result does not change with the calendar year.
FIRST, LAST = 2000, 2019
DAYS, DAY = 365, 86_400  # of a market that never closes
SESSIONS, SESSION = 252, 23_400  # of one that nobody knows the calendar of: what New York has


@dataclass(frozen=True)
class Year:
    """`periods` bars a year; `why` in words."""

    periods: float
    why: str


def year_of(asset: Asset, timeframe: Timeframe) -> Year:
    """By the sessions of the asset's market. May load its calendar, which takes seconds: for workers and commands."""
    code = calendars.calendar_of(asset)
    if code == calendars.ROUND_THE_CLOCK or (not code and asset.asset_class == AssetClass.CRYPTO):
        return _year(DAYS, bars_of([DAY], timeframe), timeframe, "a market that never closes")
    with suppress(calendars.UnknownCalendar):
        if code:
            calendars.load(code)
    usual = _year(SESSIONS, bars_of([SESSION], timeframe), timeframe, "252 sessions of 6.5 hours, its calendar unknown")
    sessions = calendars.Book().sessions(code)
    if sessions is None:
        return usual
    first, last = date(FIRST, 1, 1).toordinal(), date(LAST + 1, 1, 1).toordinal()
    epoch = date(1970, 1, 1).toordinal()
    inside = [place for place, day in enumerate(sessions.days) if first <= day + epoch < last]
    years = len({date.fromordinal(sessions.days[place] + epoch).year for place in inside})
    if not years:
        return usual
    bars = (bars_of([until - since for since, until in sessions.parts(place)], timeframe) for place in inside)
    return _year(round(len(inside) / years), median(bars), timeframe, f"by the sessions of {code}")


def bars_of(parts: Iterable[float], timeframe: Timeframe) -> int:
    """How many bars a session of such parts, in seconds, has: the last of each part may be a short one, and its return
    is one as any other. Six hours and a half are seven hourly bars."""
    return sum(ceil(part / timeframe.length.total_seconds()) for part in parts)


def of_opens(days: "set[date]", a_day: float, timeframe: Timeframe) -> Year:
    """Of candles that nobody says the market of, by the weekdays that they have and how many of them a day."""
    if any(day.weekday() >= 5 for day in days):
        return _year(DAYS, bars_of([DAY], timeframe), timeframe, "it has candles at weekends, so every day")
    return _year(SESSIONS, a_day, timeframe, "it has no candles at weekends, so 252 days")


def _year(sessions: int, bars: float, timeframe: Timeframe, whose: str) -> Year:
    """So many sessions a year of so many bars; a week or a month is what it is everywhere."""
    if timeframe is Timeframe.MO1:
        return Year(12, "12 months")
    if timeframe is Timeframe.W1:
        return Year(52, "52 weeks")
    return Year(sessions if timeframe.is_daily else sessions * bars, whose)
