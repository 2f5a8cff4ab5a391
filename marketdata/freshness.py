"""How fresh a series is, by its market's calendar, said honestly.

Where no calendar is known (or not loaded yet) a weekday counts as a trading day, so a holiday looks like one missing
day; the words then give an age and claim nothing more.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from chronos.core import figures
from marketdata import calendars, recognition
from marketdata.calendars import Book
from marketdata.models import Asset, AssetClass, Series, Timeframe

Level = Literal["fresh", "ageing", "stale", "sample", "empty", "failing"]
_ENDED = 30  # candles (of a day or less: trading days) after which a series is told by its end rather than its age


@dataclass(frozen=True)
class Freshness:
    """`word` stands in a cell, `detail` says it in a sentence, `level` picks the mark."""

    level: Level
    word: str
    detail: str


def judge(asset: Asset, series: Series | None, now: datetime, book: Book | None = None) -> Freshness:
    """The freshness of one series of `asset`; `None` stands for one that has no candles.

    Give one `book` for all assets of a page, so that the calendars are looked up once.
    """
    if series is None or series.last_open is None:
        return _without_candles(asset, series)
    last, failing = series.last_open, series.failed_at
    if asset.is_sample:
        end = figures.day(last)
        return Freshness("sample", f"sample, ends {end}", f"Bundled sample data that end on {end} and never move.")
    found = _by_calendar(asset, series, last, now, book or Book()) or _by_the_clock(asset, series, last, now)
    if asset.refuted_at and found.level != "fresh":
        return Freshness("stale", f"ends {figures.day(last)}", f"{recognition.refuted(asset)} {_newest_of(series)}")
    if failing and found.level != "fresh":
        why = f" {series.failure}" if series.failure else ""
        return Freshness("failing", found.word, f"{found.detail} No answer since {figures.moment(failing)} UTC.{why}")
    return found


def _newest_of(series: Series) -> str:
    return _newest(Timeframe(series.timeframe), series.last_open) if series.last_open else ""


def _without_candles(asset: Asset, series: Series | None) -> Freshness:
    if asset.refuted_at:
        return Freshness("failing", "delisted" if asset.validated_at else "unknown", recognition.refuted(asset))
    if series and series.failed_at:
        return Freshness(
            "failing", "no candles", f"No answer since {figures.moment(series.failed_at)} UTC. {series.failure}"
        )
    if asset.validated_at is None:
        return Freshness(
            "empty", "no candles", "Not fetched yet, and no provider has confirmed the symbol. Refresh fetches it."
        )
    return Freshness("empty", "no candles", "Not fetched yet. Refresh fetches it.")


# --- By the calendar ---------------------------------------------------------------------------------------------


def _by_calendar(asset: Asset, series: Series, last: datetime, now: datetime, book: Book) -> Freshness | None:
    """None if the calendar is not known, or ends before `now`."""
    code, timeframe = calendars.calendar_of(asset), Timeframe(series.timeframe)
    settled = now - calendars.settle(code)
    behind = calendars.behind(code, timeframe, last, settled, most=_ENDED + 1, book=book)
    following = calendars.next_complete(code, timeframe, last, book=book)
    if behind is None or following is None:
        return None
    newest = _newest(timeframe, last)
    if not behind:
        word = figures.day(last) if timeframe.is_daily else f"{last:%H:%M}"
        when = "due now" if following <= now else _when(following, now)
        return Freshness("fresh", word, f"Up to date; next candle {when}. {newest}")
    count = f"More than {_ENDED} candles" if behind > _ENDED else figures.counted(behind, "candle")
    detail = f"{count} behind since {_when(following, now)}. {newest}"
    if _has_ended(timeframe, behind, following, now):
        return Freshness("stale", f"ends {figures.day(last)}", detail)
    level: Level = "ageing" if _is_recent(timeframe, behind, following, now) else "stale"
    return Freshness(level, _age(timeframe, behind, now - following), detail)


def _has_ended(timeframe: Timeframe, behind: int, missed: datetime, now: datetime) -> bool:
    return behind > _ENDED if timeframe.is_daily else now - missed > timedelta(days=_ENDED)


def _is_recent(timeframe: Timeframe, behind: int, missed: datetime, now: datetime) -> bool:
    return behind <= 2 if timeframe.is_daily else now - missed <= timedelta(hours=36)


_UNITS = {Timeframe.D1: "day", Timeframe.W1: "week", Timeframe.MO1: "month"}


def _age(timeframe: Timeframe, behind: int, since: timedelta) -> str:
    """For a cell: "2 days old" of a daily series, "5 h old" of an hourly one, from its first missing candle's end."""
    if timeframe.is_daily:
        return f"{figures.counted(behind, _UNITS[timeframe])} old"
    return _hours_old(since)


def _when(moment: datetime, now: datetime) -> str:
    """Monday 21:00 UTC within the week, with the date beyond."""
    near = abs((moment.date() - now.date()).days) < 7
    return f"{moment:%A %H:%M} UTC" if near else f"{figures.moment(moment)} UTC"


def _newest(timeframe: Timeframe, last: datetime) -> str:
    if timeframe.is_daily:
        return f"The newest candle is of {figures.day(last)}."
    return f"The newest candle opened at {figures.moment(last)} UTC."


def _hours_old(age: timedelta) -> str:
    if age > timedelta(hours=36):
        return f"{age.days} days old" if age.days > 1 else "1 day old"
    hours = age.total_seconds() / 3600
    return f"{hours:.0f} h old" if hours >= 1 else f"{max(0, age.total_seconds() / 60):.0f} min old"


# --- Without one -------------------------------------------------------------------------------------------------


def _by_the_clock(asset: Asset, series: Series, last: datetime, now: datetime) -> Freshness:
    timeframe = Timeframe(series.timeframe)
    return _by_date(asset, timeframe, last, now) if timeframe.is_daily else _by_time(timeframe, last, now)


def _by_date(asset: Asset, timeframe: Timeframe, last: datetime, now: datetime) -> Freshness:
    around_the_clock = asset.asset_class == AssetClass.CRYPTO
    newest = _newest(timeframe, last)
    until = last + timeframe.length - timedelta(days=1)  # a week or a month has its days after the one that names it
    missing = missing_days(until.date(), now.date(), every_day=around_the_clock)
    if missing == 0 or now < last + 2 * timeframe.length:
        return Freshness("fresh", figures.day(last), newest)
    kind = "day" if around_the_clock else "weekday"
    detail = f"{newest} {figures.counted(missing, kind)} since then without one" + (
        "." if around_the_clock else " (a holiday counts as a weekday here)."
    )
    if missing > _ENDED * timeframe.length.days:
        return Freshness("stale", f"ends {figures.day(last)}", detail)
    recent = missing <= 2 * timeframe.length.days
    return Freshness("ageing" if recent else "stale", f"{figures.counted(missing, 'day')} old", detail)


def _by_time(timeframe: Timeframe, last: datetime, now: datetime) -> Freshness:
    newest = _newest(timeframe, last)
    age = now - last - timeframe.length
    if age <= max(timeframe.length, timedelta(minutes=15)):
        return Freshness("fresh", f"{last:%H:%M}", newest)
    if age > timedelta(days=_ENDED):
        return Freshness("stale", f"ends {figures.day(last)}", newest)
    return Freshness("stale" if age > timedelta(hours=36) else "ageing", _hours_old(age), newest)


def missing_days(last: date, today: date, *, every_day: bool) -> int:
    """Trading days after `last` that are over by `today`: today itself is not, by UTC."""
    between = (today - last).days - 1
    if between <= 0:
        return 0
    if every_day:
        return between
    weeks, rest = divmod(between, 7)
    first = last + timedelta(days=1)
    return weeks * 5 + sum((first + timedelta(days=n)).weekday() < 5 for n in range(rest))
