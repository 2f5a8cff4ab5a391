"""How fresh candles are: by the market's calendar, and without one in words that claim no more than is known."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata.calendars import Book
from marketdata.freshness import judge, missing_days
from marketdata.models import Asset, Series
from marketdata.quotes import quotes
from tests.prices import stored
from tests.sessions import known

pytestmark = pytest.mark.usefixtures("house")

MONDAY = datetime(2026, 3, 9, 15, tzinfo=UTC)  # New York: 11:00, the second day of summer time


def series(last, timeframe="1d", **fields):
    return Series(timeframe=timeframe, last_open=last, candle_count=1, **fields)


def at(day, hour=0, minute=0):
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


# --- Without a calendar --------------------------------------------------------------------------------------------

NOWHERE = {"exchange": "Nowhere"}


@pytest.mark.parametrize(
    ("last", "level", "word"),
    [
        (at(6), "fresh", "6 Mar 2026"),  # Friday, seen on Monday
        (at(5), "ageing", "1 day old"),
        (at(2), "stale", "4 days old"),
        (datetime(2024, 3, 8, tzinfo=UTC), "stale", "ends 8 Mar 2024"),
    ],
)
@pytest.mark.parametrize("asset", [{}, NOWHERE], ids=["XNYS, not loaded", "no market"])
def test_days_without_a_calendar(asset, last, level, word):
    found = judge(Asset(**asset), series(last), MONDAY)
    assert (found.level, found.word) == (level, word)


def test_a_holiday_is_admitted_not_to_be_known():
    found = judge(Asset(**NOWHERE), series(at(5)), MONDAY)
    assert "a holiday counts as a weekday here" in found.detail


def test_hours_without_a_calendar():
    fresh = judge(Asset(**NOWHERE), series(MONDAY - timedelta(hours=2), "1h"), MONDAY)
    assert (fresh.level, fresh.word) == ("fresh", "13:00")
    old = judge(Asset(**NOWHERE), series(MONDAY - timedelta(hours=6), "1h"), MONDAY)
    assert (old.level, old.word) == ("ageing", "5 h old")


def test_weeks_and_months_are_not_old_while_theirs_last():
    assert judge(Asset(**NOWHERE), series(at(2), "1w"), MONDAY).level == "fresh"
    assert judge(Asset(**NOWHERE), series(datetime(2026, 2, 1, tzinfo=UTC), "1mo"), MONDAY).level == "fresh"
    assert judge(Asset(**NOWHERE), series(datetime(2026, 2, 16, tzinfo=UTC), "1w"), MONDAY).level == "ageing"


def test_weekdays_are_counted_as_a_calendar_would():
    for start in range(14):
        for length in range(40):
            last = date(2026, 3, 1) + timedelta(days=start)
            today = last + timedelta(days=length)
            between = [last + timedelta(days=n) for n in range(1, length)]
            assert missing_days(last, today, every_day=False) == sum(day.weekday() < 5 for day in between)


# --- By the calendar -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "level", "word", "detail"),
    [
        (at(6), "fresh", "6 Mar 2026", "Up to date; next candle Monday 20:00 UTC. The newest candle is of 6 Mar 2026."),
        (at(5), "ageing", "1 day old", "1 candle behind since Friday 21:00 UTC. The newest candle is of 5 Mar 2026."),
        (at(2), "stale", "4 days old", "4 candles behind since Tuesday 21:00 UTC. The newest candle is of 2 Mar 2026."),
        (datetime(2024, 3, 8, tzinfo=UTC), "stale", "ends 8 Mar 2024", "More than 30 candles behind since"),
    ],
)
def test_days_of_an_exchange(last, level, word, detail):
    known("XNYS")
    found = judge(Asset(symbol="NVDA", exchange="NasdaqGS"), series(last), MONDAY)
    assert (found.level, found.word) == (level, word)
    assert found.detail.startswith(detail)


def test_a_holiday_is_no_missing_day():
    known("XNYS")
    tuesday = datetime(2026, 1, 20, 15, tzinfo=UTC)  # after Martin Luther King's day
    assert judge(Asset(), series(datetime(2026, 1, 16, tzinfo=UTC)), tuesday).level == "fresh"


def test_just_after_the_close_the_candle_is_awaited():
    known("XNYS")
    assert "next candle due now" in judge(Asset(), series(at(6)), at(9, 20, 5)).detail
    assert judge(Asset(), series(at(6)), at(9, 20, 5)).level == "fresh"
    assert judge(Asset(), series(at(6)), at(9, 20, 15)).level == "ageing"


@pytest.mark.parametrize(
    ("timeframe", "last", "now", "level", "word"),
    [
        ("1h", at(6, 20, 30), at(9, 14), "fresh", "20:30"),  # over the weekend there is nothing to be had
        ("1h", at(6, 20), at(9, 14), "fresh", "20:00"),  # a source that counts by the clock
        ("1h", at(6, 19, 30), at(6, 23), "ageing", "2 h old"),
        ("1h", at(6, 19, 30), at(9, 14), "stale", "2 days old"),
        ("1m", at(9, 14, 59), at(9, 15), "fresh", "14:59"),
        ("1m", at(9, 14, 30), at(9, 15), "ageing", "28 min old"),
        ("1w", at(2), at(9, 15), "fresh", "2 Mar 2026"),
        ("1w", datetime(2026, 2, 23, tzinfo=UTC), at(9, 15), "ageing", "1 week old"),
        ("1mo", datetime(2025, 12, 1, tzinfo=UTC), at(9, 15), "ageing", "2 months old"),
    ],
)
def test_other_candles_of_an_exchange(timeframe, last, now, level, word):
    known("XNYS")
    found = judge(Asset(), series(last, timeframe), now)
    assert (found.level, found.word) == (level, word)


def test_markets_that_a_rule_describes_need_no_loading():
    coin, pair = Asset(asset_class="crypto"), Asset(asset_class="fx")
    assert judge(coin, series(at(8)), MONDAY).detail.startswith("Up to date; next candle Tuesday 00:00 UTC.")
    assert judge(coin, series(at(6)), MONDAY).word == "2 days old"
    assert judge(pair, series(at(6)), MONDAY).level == "fresh"
    assert judge(pair, series(at(6, 21), "1h"), at(8, 22)).level == "fresh"  # Sunday: the hour from 21:00 is awaited
    assert judge(pair, series(at(6, 21), "1h"), at(8, 22, 30)).level == "ageing"


def test_a_failing_provider_shows_once_candles_are_missing():
    known("XNYS")
    failed = {"failed_at": MONDAY - timedelta(days=1), "failure": "429 from Yahoo."}
    assert judge(Asset(), series(at(6), **failed), MONDAY).level == "fresh"
    late = judge(Asset(), series(at(3), **failed), MONDAY)
    assert late.level == "failing"
    assert "No answer since 8 Mar 2026 15:00 UTC. 429 from Yahoo." in late.detail


def test_the_sample_and_nothing_at_all():
    assert (
        judge(Asset(is_sample=True), series(datetime(2013, 3, 1, tzinfo=UTC)), MONDAY).word == "sample, ends 1 Mar 2013"
    )
    assert judge(Asset(), None, MONDAY).word == "no candles"


def test_a_hundred_assets_cost_as_many_queries_as_two():
    known("XNYS")
    known("XLON")
    assets = [stored(f"A{n}", [1, 2, 3], exchange=("NYSE", "LSE")[n % 2]) for n in range(30)]
    Book().sessions("XNYS")
    Book().sessions("XLON")
    spent = []
    for shown in (assets[:2], assets):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            quotes(shown)
        spent.append(len(queries))
    assert spent[0] == spent[1] <= 3
