"""New candles of many series in one go: as if each had been stored by itself."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata import appending, quarantine
from marketdata.appending import ingest_many
from marketdata.ingestion import Ingested, ingest
from marketdata.models import Asset, Candle, QuarantinedCandle, Series, TradingCalendar, TradingSession
from tests.marketdata.candles import day, market, row, stored, table, times, whole

pytestmark = pytest.mark.usefixtures("house")


def assets(count: int, **fields) -> list[Asset]:
    return [Asset.objects.create(symbol=f"A{number}", **fields) for number in range(count)]


def put(asset: Asset, rows: list[dict], timeframe: str = "1d") -> Ingested:
    return ingest(asset, timeframe, table(rows), source="test")


def many(given: dict[Asset, list[dict]], timeframe: str = "1d") -> dict[int, Ingested]:
    return ingest_many([(asset, table(rows)) for asset, rows in given.items()], timeframe, source="test").counts


def test_a_day_of_many_is_a_few_statements():
    rows, found = market(41), assets(12)
    for asset in found:
        put(asset, rows[:40])
    with CaptureQueriesContext(
        connection,
    ) as asked:
        result = many(dict.fromkeys(found, rows[40:]))
    assert len(asked) < 15
    assert set(result.values()) == {Ingested(received=1, inserted=1, first=day(40), last=day(40))}
    for asset in found:
        whole(asset)
        assert Series.objects.get(asset=asset).revision == 0
        assert len(stored(asset)) == 41
    assert len(set(Candle.objects.filter(open_time=day(40)).values_list("known_at", flat=True))) == 1


def test_the_outcome_is_that_of_each_by_itself():
    """Series of every sort, twice: in one go, and one by one."""
    rows = market(60)
    sorts = {
        "next": (rows[:50], rows[50:53]),
        "overlap": (rows[:50], rows[47:53]),
        "unchanged": (rows[:50], rows[40:50]),
        "corrected": (rows[:50], [times(rows[49], 1.01), rows[50]]),
        "new": ([], rows[:30]),
        "empty": (rows[:50], []),
        "gap": (rows[:30] + rows[35:50], rows[30:35]),
        "impossible": (rows[:50], [rows[50] | {"high": "1"}, rows[51]]),
        "unreadable": (rows[:50], [rows[50] | {"close": "x"}, rows[51]]),
        "twins": (rows[:50], [rows[50], times(rows[50], 1.001)]),
        "spike": (rows[:50], [times(rows[50], 4), rows[51]]),
        "last": (rows[:50], [times(rows[50], 2.2)]),
        "unit": (rows[:50], [times(one, 100) for one in rows[50:53]]),
        "wick": (rows[:50], [rows[50] | {"low": "1"}]),
        "told": ([*rows[:49], times(rows[49], 2.2)], rows[50:52]),
        "worthless": (rows[:50], [rows[50] | {"low": "0", "close": "0"}]),
        "withdrawn": ([*rows[:49], times(rows[49], 1.45)], rows[50:52]),
    }
    pairs = {name: (Asset.objects.create(symbol=f"M-{name.upper()}"), Asset.objects.create(symbol=f"S-{name.upper()}"))
             for name in sorts}  # fmt: skip
    for name, (before, _) in sorts.items():
        for asset in pairs[name]:
            put(asset, before)
    together = many({pairs[name][0]: after for name, (_, after) in sorts.items()})
    for name, (_, after) in sorts.items():
        one, other = pairs[name]
        assert together[one.pk] == put(other, after), name
        assert stored(one) == stored(other), name
        held = [list(QuarantinedCandle.objects.filter(asset=asset).order_by("open_time", "pk")
                     .values_list("open_time", "kind", "reason", "state")) for asset in (one, other)]  # fmt: skip
        assert held[0] == held[1], name
        series = [Series.objects.filter(asset=asset).values_list("candle_count", "first_open", "last_open", "revision")
                  for asset in (one, other)]  # fmt: skip
        assert list(series[0]) == list(series[1]), name


def test_more_than_a_transaction_s_worth(monkeypatch):
    monkeypatch.setattr(appending, "SERIES", 3)
    rows, found = market(31), assets(8)
    for asset in found:
        put(asset, rows[:30])
    assert sum(result.inserted for result in many(dict.fromkeys(found, rows[30:])).values()) == 8


def test_what_a_person_rejected_stays_out():
    rows, (asset,) = market(40), assets(1)
    put(asset, [*rows[:30], times(rows[30], 2.2)])
    quarantine.reject(QuarantinedCandle.objects.get(), "stella")
    result = many({asset: [times(rows[30], 2.2), times(rows[31], 2.2)]})
    assert result[asset.pk].quarantined >= 1
    assert day(30) not in [candle[0] for candle in stored(asset)]


def test_the_grid_of_times_is_kept():
    coin = Asset.objects.create(symbol="BTC-USDT", asset_class="crypto")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    hours = [one | {"open_time": start + timedelta(hours=number)} for number, one in enumerate(market(41))]
    put(coin, hours[:40], "1h")
    odd = hours[40] | {"open_time": start + timedelta(hours=40, minutes=7)}
    assert many({coin: [odd]}, "1h")[coin.pk].quarantined == 1
    assert many({coin: hours[40:]}, "1h")[coin.pk].inserted == 1


def test_one_candle_off_the_grid_is_no_new_grid():
    """The newest candle lies off it, released by a person or because the series was too young to tell."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    hours = [one | {"open_time": start + timedelta(hours=number)} for number, one in enumerate(market(41))]
    coin = Asset.objects.create(symbol="BTC-USDT", asset_class="crypto")
    odd, next_odd = (one | {"open_time": one["open_time"] + timedelta(minutes=7)} for one in hours[39:])
    put(coin, [*hours[:39], odd], "1h")
    quarantine.release(QuarantinedCandle.objects.get(), "stella")
    assert many({coin: [next_odd]}, "1h")[coin.pk].quarantined == 1
    (young,) = assets(1)
    put(young, [*hours[20:38], odd], "1h")
    assert many({young: [next_odd]}, "1h")[young.pk].quarantined == 1


def test_so_are_the_market_s_days():
    rows, (asset,) = market(41), assets(1, calendar="XNYS")
    TradingCalendar.objects.create(
        code="XNYS", zone="America/New_York", covers_from="2020-01-01", covers_until="2025-01-01", version="test"
    )
    TradingSession.objects.bulk_create(
        TradingSession(calendar="XNYS", date=one["open_time"].date(), opens_at=one["open_time"],
                       closes_at=one["open_time"] + timedelta(hours=20)) for one in rows[:40]
    )  # fmt: skip
    put(asset, rows[:40])
    assert many({asset: rows[40:]})[asset.pk].quarantined == 1
    assert QuarantinedCandle.objects.get().kind == "grid"


def test_what_its_reader_found_wrong_is_kept_aside():
    import pyarrow as pa

    rows, (asset,) = market(41), assets(1)
    put(asset, rows[:40])
    told = table(rows[40:]).append_column("fault", pa.array(["it is of another series"], pa.string()))
    assert ingest_many([(asset, told)], "1d", source="test").counts[asset.pk].quarantined == 1
    assert len(stored(asset)) == 40


def test_a_table_of_another_shape_is_refused():
    (asset,) = assets(1)
    with pytest.raises(ValueError, match="candles need a column close"):
        ingest_many([(asset, table([row(day(1))]).drop_columns(["close"]))], "1d", source="test")
    assert ingest_many([], "1d", source="test") == ({}, set())
