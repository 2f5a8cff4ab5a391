"""How old the newest candle is, said honestly.

Exchange calendars are not known yet: for anything that does not trade around the clock a weekday counts as a trading
day, so a holiday looks like one missing day. That is why the words give an age and claim nothing more.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from chronos.core import figures
from marketdata.models import Asset, AssetClass, Series, Timeframe

Level = Literal["fresh", "ageing", "stale", "sample", "empty", "failing"]
_ENDED = 30  # trading days after which a series is told by its end rather than its age


@dataclass(frozen=True)
class Freshness:
    """`word` stands in a cell, `detail` says it in a sentence, `level` picks the mark."""

    level: Level
    word: str
    detail: str


def judge(asset: Asset, series: Series | None, now: datetime) -> Freshness:
    """The freshness of one series of `asset`; `None` stands for one that has no candles."""
    if series is None or series.last_open is None:
        return _without_candles(asset, series)
    last, failing = series.last_open, series.failed_at
    if asset.is_sample:
        end = figures.day(last)
        return Freshness("sample", f"sample, ends {end}", f"Bundled sample data that end on {end} and never move.")
    found = _by_date(asset, last, now) if Timeframe(series.timeframe).is_daily else _by_time(series, last, now)
    if failing and found.level != "fresh":
        why = f" {series.failure}" if series.failure else ""
        return Freshness("failing", found.word, f"{found.detail} No answer since {figures.moment(failing)} UTC.{why}")
    return found


def _without_candles(asset: Asset, series: Series | None) -> Freshness:
    if series and series.failed_at:
        return Freshness(
            "failing", "no candles", f"No answer since {figures.moment(series.failed_at)} UTC. {series.failure}"
        )
    if asset.validated_at is None:
        return Freshness(
            "empty", "no candles", "Not fetched yet, and no provider has confirmed the symbol. Refresh fetches it."
        )
    return Freshness("empty", "no candles", "Not fetched yet. Refresh fetches it.")


def _by_date(asset: Asset, last: datetime, now: datetime) -> Freshness:
    around_the_clock = asset.asset_class == AssetClass.CRYPTO
    missing = missing_days(last.date(), now.date(), every_day=around_the_clock)
    newest = f"The newest candle is of {figures.day(last)}."
    if missing == 0:
        return Freshness("fresh", figures.day(last), newest)
    kind = "day" if around_the_clock else "weekday"
    detail = f"{newest} {figures.counted(missing, kind)} since then without one" + (
        "." if around_the_clock else " (a holiday counts as a weekday here)."
    )
    if missing > _ENDED:
        return Freshness("stale", f"ends {figures.day(last)}", detail)
    return Freshness("ageing" if missing <= 2 else "stale", f"{figures.counted(missing, 'day')} old", detail)


def _by_time(series: Series, last: datetime, now: datetime) -> Freshness:
    newest = f"The newest candle opened at {figures.moment(last)} UTC."
    age = now - last - Timeframe(series.timeframe).length
    if age <= max(Timeframe(series.timeframe).length, timedelta(minutes=15)):
        return Freshness("fresh", f"{last:%H:%M}", newest)
    if age > timedelta(days=_ENDED):
        return Freshness("stale", f"ends {figures.day(last)}", newest)
    if age > timedelta(hours=36):
        return Freshness("stale", f"{age.days} days old", newest)
    hours = age.total_seconds() / 3600
    word = f"{hours:.0f} h old" if hours >= 1 else f"{age.total_seconds() / 60:.0f} min old"
    return Freshness("ageing", word, newest)


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
