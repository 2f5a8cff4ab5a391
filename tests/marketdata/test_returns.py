"""How far assets have come, against the same told slowly from a list of candles."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata import returns
from marketdata.ingestion import ingest
from marketdata.models import Asset, Basis, Candle, CorporateAction, Series, Timeframe
from marketdata.quotes import preferred
from tests.marketdata.candles import day, row, table
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")
EVERY = tuple(returns.WINDOWS)


def of(*assets, windows=EVERY, **more):
    return returns.past(preferred(assets), windows, **more)


def months_back(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


def begin(window: str, at: datetime) -> datetime:
    """The last moment of which a close may be that a window begins with."""
    match window:
        case "1d":
            return at - timedelta(microseconds=1)
        case "1w":
            return at - timedelta(days=7)
        case "ytd":
            return datetime(at.year, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
    count, unit = int(window[0]), window[1:]
    return months_back(at, count * (12 if unit == "y" else 1))


def naive(candles: dict[datetime, float], splits: dict[date, float], window: str) -> float | None:
    at = max(candles)
    limit = begin(window, at)
    before = [moment for moment in candles if limit - timedelta(days=10) <= moment <= limit]
    if not before:
        return None
    close = candles[max(before)]
    for ex_date, ratio in splits.items():
        if max(before).date() < ex_date <= at.date():
            close /= ratio
    return candles[at] / close - 1


@settings(max_examples=12, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large])  # fmt: skip
@given(
    gaps=st.lists(st.sampled_from([1, 1, 1, 2, 3, 4, 9, 12, 40]), min_size=1, max_size=400),
    start=st.integers(0, 800),
    splits=st.dictionaries(st.integers(-9, 9), st.sampled_from([2.0, 0.1, 4.0]), max_size=3),
)
def test_they_are_what_a_list_of_candles_says(gaps, start, splits):
    Candle.objects.all().delete(), CorporateAction.objects.all().delete(), Series.objects.all().delete()
    asset, _ = Asset.objects.get_or_create(symbol="ANY")
    days = [start]
    for gap in gaps:
        days.append(days[-1] + gap)
    closes = {day(number): walk(500)[place] for place, number in enumerate(days)}
    ingest(asset, Timeframe.D1, table([row(at, str(c), str(c + 1), str(c - 1), str(c)) for at, c in closes.items()]),
           source="file")  # fmt: skip
    Series.objects.update(basis=Basis.RAW)
    told = {day(days[place % len(days)]).date(): ratio for place, ratio in splits.items()}  # at and around the ends
    for ex_date, ratio in told.items():
        CorporateAction.objects.create(asset=asset, kind="split", ex_date=ex_date, value=ratio, source="file")
    kept = {at: close for at, close in closes.items() if Candle.objects.filter(open_time=at).exists()}
    found = of(asset)[asset.pk]
    assert found.at == max(kept)
    for window in EVERY:
        expected = naive(kept, told, window)
        assert found.change(window) == (None if expected is None else pytest.approx(expected)), window


def test_a_year_knows_its_lowest_and_highest_price_on_the_newest_basis():
    asset = stored("NVDA", [100.0] * 200 + [400.0] * 150 + [50.0] * 10, last=day(900))
    found = of(asset, year=True)[asset.pk]
    assert (found.low, found.high) == (pytest.approx(49), pytest.approx(408))
    Series.objects.update(basis=Basis.RAW)
    CorporateAction.objects.create(asset=asset, kind="split", ex_date=day(891).date(), value=8, source="file")
    found = of(asset, year=True)[asset.pk]
    assert (found.low, found.high) == (pytest.approx(98 / 8), pytest.approx(51))


def test_as_of_a_day_only_what_was_there_counts():
    asset = stored("NVDA", [100, 110, 121, 60], last=day(3))
    found = of(asset, until=day(2) + timedelta(hours=23))[asset.pk]
    assert (found.last, found.at) == (121, day(2))
    assert found.change("1d") == pytest.approx(0.1)
    assert of(asset, until=day(-1)) == {}


def test_a_window_shorter_than_a_candle_is_not_told():
    asset = stored("NVDA", walk(30), timeframe=Timeframe.W1, last=day(700))
    found = of(asset)[asset.pk]
    assert found.change("1d") is None
    assert found.change("1w") is not None
    hourly = stored("BTC-USDT", walk(200), timeframe=Timeframe.H1, last=day(700))
    told = of(hourly)[hourly.pk].changes["1d"]
    assert told.since == day(699)


def test_it_is_one_query_however_many_there_are():
    assets = [stored(f"S{n}", walk(40)) for n in range(6)] + [Asset.objects.create(symbol="EMPTY")]
    series = preferred(assets)
    with CaptureQueriesContext(connection) as queries:
        found = returns.past(series, EVERY)
    assert len(queries) == 1
    assert len(found) == 6
    assert returns.past({}, EVERY) == {}
