"""How old candles are, in words that claim no more than is known."""

from datetime import UTC, date, datetime, timedelta

import pytest

from marketdata.freshness import judge, missing_days
from marketdata.models import Asset, Series

MONDAY = datetime(2026, 3, 9, 15, tzinfo=UTC)


def series(last, timeframe="1d", **fields):
    return Series(timeframe=timeframe, last_open=last, candle_count=1, **fields)


@pytest.mark.parametrize(
    ("kind", "last", "level", "word"),
    [
        ("stock", datetime(2026, 3, 6, tzinfo=UTC), "fresh", "6 Mar 2026"),  # Friday, seen on Monday
        ("stock", datetime(2026, 3, 5, tzinfo=UTC), "ageing", "1 day old"),
        ("stock", datetime(2026, 3, 2, tzinfo=UTC), "stale", "4 days old"),
        ("stock", datetime(2024, 3, 8, tzinfo=UTC), "stale", "ends 8 Mar 2024"),
        ("crypto", datetime(2026, 3, 8, tzinfo=UTC), "fresh", "8 Mar 2026"),
        ("crypto", datetime(2026, 3, 6, tzinfo=UTC), "ageing", "2 days old"),
    ],
)
def test_daily_candles(kind, last, level, word):
    found = judge(Asset(asset_class=kind), series(last), MONDAY)
    assert (found.level, found.word) == (level, word)


def test_a_holiday_is_admitted_not_to_be_known():
    found = judge(Asset(asset_class="stock"), series(datetime(2026, 3, 5, tzinfo=UTC)), MONDAY)
    assert "a holiday counts as a weekday here" in found.detail


def test_hours_and_minutes():
    fresh = judge(Asset(), series(MONDAY - timedelta(hours=2), "1h"), MONDAY)
    assert (fresh.level, fresh.word) == ("fresh", "13:00")
    old = judge(Asset(), series(MONDAY - timedelta(hours=6), "1h"), MONDAY)
    assert (old.level, old.word) == ("ageing", "5 h old")


def test_a_failing_provider_shows_once_candles_are_missing():
    failed = {"failed_at": MONDAY - timedelta(days=1), "failure": "429 from Yahoo."}
    assert judge(Asset(), series(MONDAY - timedelta(days=3, hours=15), **failed), MONDAY).level == "fresh"
    late = judge(Asset(), series(MONDAY - timedelta(days=6), **failed), MONDAY)
    assert late.level == "failing"
    assert "No answer since 8 Mar 2026 15:00 UTC. 429 from Yahoo." in late.detail


def test_the_sample_and_nothing_at_all():
    assert (
        judge(Asset(is_sample=True), series(datetime(2013, 3, 1, tzinfo=UTC)), MONDAY).word == "sample, ends 1 Mar 2013"
    )
    assert judge(Asset(), None, MONDAY).word == "no candles"


def test_weekdays_are_counted_as_a_calendar_would():
    for start in range(14):
        for length in range(40):
            last = date(2026, 3, 1) + timedelta(days=start)
            today = last + timedelta(days=length)
            between = [last + timedelta(days=n) for n in range(1, length)]
            assert missing_days(last, today, every_day=False) == sum(day.weekday() < 5 for day in between)
