"""How many bars of a timeframe a year has, by the asset's calendar: what ratios are annualised by."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from statistics import median

from marketdata import calendars
from marketdata.models import Asset, AssetClass, Timeframe

# The years over which a market's sessions are counted: fixed, so that a result does not change with the calendar year.
FIRST, LAST = 2000, 2019
DAY = 86_400
_ROUND_THE_CLOCK, _EXCHANGE = (365, DAY), (252, 23_400)  # sessions a year, seconds a session


@dataclass(frozen=True)
class Year:
    """`periods` bars a year; `why` in words."""

    periods: float
    why: str


def year_of(asset: Asset, timeframe: Timeframe) -> Year:
    """By the sessions of the asset's market. May load its calendar, which takes seconds: for workers and commands."""
    code = calendars.calendar_of(asset)
    if code == calendars.ROUND_THE_CLOCK or (not code and asset.asset_class == AssetClass.CRYPTO):
        return of_sessions(*_ROUND_THE_CLOCK, timeframe, "a market that never closes")
    with suppress(calendars.UnknownCalendar):
        if code:
            calendars.load(code)
    sessions = calendars.Book().sessions(code)
    if sessions is None:
        return of_sessions(*_EXCHANGE, timeframe, "252 sessions of 6.5 hours, as its calendar is not known")
    first, last = date(FIRST, 1, 1).toordinal(), date(LAST + 1, 1, 1).toordinal()
    epoch = date(1970, 1, 1).toordinal()
    inside = [place for place, day in enumerate(sessions.days) if first <= day + epoch < last]
    years = len({date.fromordinal(sessions.days[place] + epoch).year for place in inside})
    if not years:
        return of_sessions(*_EXCHANGE, timeframe, "252 sessions of 6.5 hours, as its calendar has no whole year")
    lengths = (sum(until - since for since, until in sessions.parts(place)) for place in inside)
    return of_sessions(round(len(inside) / years), median(lengths), timeframe, f"by the sessions of {code}")


def of_sessions(sessions: float, seconds: float, timeframe: Timeframe, whose: str) -> Year:
    """So many sessions a year of so many seconds; a week or a month is what it is everywhere."""
    if timeframe is Timeframe.MO1:
        return Year(12, "12 months")
    if timeframe is Timeframe.W1:
        return Year(52, "52 weeks")
    if timeframe.is_daily:
        return Year(sessions, whose)
    return Year(sessions * seconds / timeframe.length.total_seconds(), whose)


def of_opens(days: "set[date]", a_day: float, timeframe: Timeframe) -> Year:
    """Of candles that nobody says the market of, by the weekdays that they have and how many of them a day."""
    if any(day.weekday() >= 5 for day in days):
        return of_sessions(*_ROUND_THE_CLOCK, timeframe, "it has candles at weekends, so every day")
    seconds = a_day * timeframe.length.total_seconds()
    return of_sessions(_EXCHANGE[0], seconds, timeframe, "it has no candles at weekends, so 252 days")
