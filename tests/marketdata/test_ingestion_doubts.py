"""Candles that can hardly be true: held with the reason, and what later candles and people make of that."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from marketdata import quarantine
from marketdata.ingestion import Ingested, ingest
from marketdata.models import Asset, Candle, CandleRevision, QuarantinedCandle, Series, TradingCalendar, TradingSession
from tests.marketdata.candles import closes, day, market, row, table, times, whole

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def acme() -> Asset:
    return Asset.objects.create(symbol="ACME")


def put(asset: Asset, rows: list[dict], timeframe: str = "1d", **options) -> Ingested:
    return ingest(asset, timeframe, table(rows), **{"source": "test", **options})


def held(asset: Asset | None = None, **more) -> QuarantinedCandle:
    return QuarantinedCandle.objects.get(**({"asset": asset} if asset else {}), **more)


# --- Spikes ------------------------------------------------------------------------------------------------------


def test_a_quiet_market_is_stored(acme):
    assert put(acme, market(300)).inserted == 300


def test_a_close_far_off_both_neighbours_is_held(acme):
    rows = market(60)
    rows[30] = times(rows[30], 10, volume=0.5)
    result = put(acme, rows)
    assert (result.inserted, result.quarantined) == (59, 1)
    assert held().kind == "spike"
    assert held().reason == (
        f"its close {Decimal(rows[30]['close']).normalize():f} is 10.0 times that of the candles on both sides,"
        " with no more volume than they have"
    )
    assert day(30) not in closes(acme)
    assert result.problems == (f"2020-01-31: {held().reason}",)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("low", "4.5", "its low 4.5 is 95"), ("high", "230", "its high 230 is 2"), ("low", "0", "its low 0 is 100.0 %")],
)
def test_a_wick_far_beyond_its_close_and_neighbours_is_held(acme, column, value, words):
    rows = market(60)
    rows[30][column] = value
    assert put(acme, rows).quarantined == 1
    assert held().reason.startswith(words)
    assert held().kind == "spike"


def test_a_move_with_the_volume_of_a_real_one_is_stored(acme):
    rows = market(60)
    rows[30] = times(rows[30], 0.6, volume=6)
    assert put(acme, rows).inserted == 60


def test_so_far_and_back_no_volume_is_enough(acme):
    rows = market(60)
    rows[30] |= {"low": "0.01", "volume": "9000000"}
    assert put(acme, rows).quarantined == 1
    assert held().reason.endswith("times their volume")


def test_a_move_that_stays_is_no_spike(acme):
    rows = market(60)
    assert put(acme, rows[:30] + [times(one, 0.45) for one in rows[30:]]).inserted == 60


def test_without_volume_only_the_prices_tell(acme):
    rows = [one | {"volume": "0"} for one in market(60)]
    rows[30] = times(rows[30], 1.5)
    assert put(acme, rows).quarantined == 1
    assert held().reason.endswith("that of the candles on both sides")


def test_a_short_series_is_not_judged(acme):
    rows = market(6)
    rows[3] = times(rows[3], 3)
    assert put(acme, rows).inserted == 6


def test_a_correction_is_judged_by_what_is_stored_around_it(acme):
    rows = market(60)
    put(acme, rows)
    assert put(acme, [times(rows[30], 3)]).quarantined == 1
    assert closes(acme)[day(30)] == Decimal(rows[30]["close"])
    whole(acme)


# --- The last candle ---------------------------------------------------------------------------------------------


def test_the_last_candle_is_held_until_the_next_bears_it_out(acme):
    rows = market(40)
    rows = rows[:30] + [times(one, 2.2) for one in rows[30:]]
    assert put(acme, rows[:31]).quarantined == 1
    assert held().reason.endswith("; the candles after it will tell")
    result = put(acme, [rows[31]])
    assert (result.inserted, result.released, result.received) == (1, 1, 1)
    assert (held().state, held().decided_by) == ("released", "the candles after it")
    assert closes(acme)[day(30)] == Decimal(rows[30]["close"])
    whole(acme)


def test_or_until_it_comes_again_with_the_next(acme):
    rows = market(40)
    rows = rows[:30] + [times(one, 2.2) for one in rows[30:]]
    put(acme, rows[:31])
    assert put(acme, rows[29:33]).inserted == 3
    assert (held().state, held().decided_by) == ("released", "the candles after it")
    whole(acme)


def test_or_stays_held_when_the_next_does_not(acme):
    rows = market(40)
    put(acme, [*rows[:30], times(rows[30], 2.2)])
    assert put(acme, rows[31:35]).inserted == 4
    assert (held().state, held().kind) == ("held", "spike")
    assert "on both sides" in held().reason


def test_what_its_source_corrects_is_decided(acme):
    rows = market(40)
    put(acme, [*rows[:30], times(rows[30], 2.2)])
    put(acme, rows[30:33])
    assert (held().state, held().decided_by) == ("rejected", "a later answer of its source")
    assert closes(acme)[day(30)] == Decimal(rows[30]["close"])


def test_a_stored_candle_is_withdrawn_when_its_neighbours_cast_doubt_on_it(acme):
    rows = market(60)
    rows[30] = times(rows[30], 1.45)  # not so far that it is held while it is the last
    assert put(acme, rows[:31]).inserted == 31
    known = Candle.objects.get(open_time=day(30)).known_at
    result = put(acme, rows[31:])
    assert (result.inserted, result.withdrawn) == (29, 1)
    assert day(30) not in closes(acme)
    assert held().origin == "stored before, and doubted since its neighbours came"
    was = CandleRevision.objects.get()
    assert (was.open_time, was.known_at, was.close) == (day(30), known, Decimal(rows[30]["close"]))
    assert was.superseded_at == Candle.objects.get(open_time=day(31)).known_at
    assert Series.objects.get().revision == 1
    whole(acme)
    quarantine.release(held(), "stella")
    assert put(acme, rows).unchanged == 60, "and once a person has released it, it stays"
    assert closes(acme)[day(30)] == Decimal(rows[30]["close"])
    whole(acme)


def test_it_is_withdrawn_when_it_comes_again_with_its_neighbours_too(acme):
    rows = market(60)
    rows[30] = times(rows[30], 1.45)
    put(acme, rows[:31])
    result = put(acme, rows[28:34])
    assert (result.inserted, result.unchanged, result.quarantined, result.withdrawn) == (3, 2, 1, 1)
    assert held().state == "held"
    whole(acme)


# --- Steps of unit -----------------------------------------------------------------------------------------------


def test_a_stretch_in_pence_is_held_as_a_whole(acme):
    rows = market(60)
    rows[30:40] = [times(one, 100) for one in rows[30:40]]
    assert put(acme, rows).quarantined == 10
    reasons = set(QuarantinedCandle.objects.values_list("kind", "reason"))
    assert {kind for kind, _ in reasons} == {"unit"}
    assert all("100" in reason and "pence" in reason for _, reason in reasons)
    assert not {day(number) for number in range(30, 40)} & set(closes(acme))


def test_a_new_unit_is_held_day_by_day_until_a_person_says_so(acme):
    rows = market(60)
    put(acme, rows[:50])
    for one in rows[50:55]:
        assert put(acme, [times(one, 0.01)]).quarantined == 1
    assert set(QuarantinedCandle.objects.values_list("kind", flat=True)) == {"unit"}
    for one in QuarantinedCandle.objects.all():
        quarantine.release(one, "stella")
    assert put(acme, [times(rows[55], 0.01)]).inserted == 1, "its neighbours are on its level now"
    whole(acme)


def test_another_level_by_a_constant_factor_is_held(acme):
    rows = market(60)
    put(acme, rows[:30])
    assert put(acme, [times(one, 13) for one in rows[30:]]).quarantined == 30
    assert {kind for (kind,) in QuarantinedCandle.objects.values_list("kind")} == {"unit"}


@pytest.mark.parametrize(("new", "old"), [(2, 1), (7, 1), (20, 1), (3, 2), (1, 10), (1, 100)])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_split_is_neither_a_spike_nor_a_unit(acme, new, old, at_once):
    rows = market(60)
    rows = rows[:30] + [times(one, old / new, volume=new / old) for one in rows[30:]]
    parts = [rows] if at_once else [rows[:30], *([one] for one in rows[30:])]
    for part in parts:
        put(acme, part)
    assert not QuarantinedCandle.objects.filter(state="held").exists()
    assert len(closes(acme)) == 60


def test_after_a_long_pause_any_level_is_believed(acme):
    rows = market(60)
    later = [times(one, 40) | {"open_time": one["open_time"] + timedelta(days=400)} for one in rows]
    assert put(acme, rows + later).inserted == 120


# --- Frozen runs -------------------------------------------------------------------------------------------------


def frozen(of: dict) -> dict:
    return of | {"open": "50", "high": "50", "low": "50", "close": "50", "volume": "0"}


def test_a_run_without_volume_or_movement_is_held_in_a_series_that_trades(acme):
    rows = market(80, level=50)
    rows[60:] = [frozen(one) for one in rows[60:]]
    assert put(acme, rows).quarantined == 20
    assert set(QuarantinedCandle.objects.values_list("kind", "reason")) == {
        ("frozen", "one of 20 candles in a row at 50 without any volume, in a series that trades")
    }


def test_day_by_day_it_is_held_too_from_its_first_candle(acme):
    rows = market(80, level=50)
    rows[60:] = [frozen(one) for one in rows[60:]]
    for one in [rows[:60], *([one] for one in rows[60:])]:
        put(acme, one)
    assert QuarantinedCandle.objects.filter(state="held").count() == 20
    assert max(closes(acme)) == day(59)
    whole(acme)


def test_a_few_quiet_candles_are_not(acme):
    rows = market(80, level=50)
    rows[60:64] = [frozen(one) for one in rows[60:64]]
    assert put(acme, rows).inserted == 80


def test_currencies_and_indices_have_no_volume_at_all(acme):
    rows = [frozen(one) if number % 7 else one | {"volume": "0"} for number, one in enumerate(market(80, level=50))]
    assert put(acme, rows).inserted == 80


def test_quiet_minutes_of_a_coin_are_not_doubted():
    coin = Asset.objects.create(symbol="TINY-USDT", asset_class="crypto")
    rows = [
        frozen(one) | {"open_time": day(0) + timedelta(minutes=number)} if number % 60 else one
        for number, one in enumerate(market(300, level=50))
    ]
    rows = [one | {"open_time": day(0) + timedelta(minutes=number)} for number, one in enumerate(rows)]
    assert put(coin, rows, "1m").inserted == 300


# --- The grid of times -------------------------------------------------------------------------------------------


def hours(minute: int, count: int = 60) -> list[dict]:
    start = datetime(2024, 1, 2, tzinfo=UTC)
    return [one | {"open_time": start + timedelta(hours=n, minutes=minute)} for n, one in enumerate(market(count))]


@pytest.mark.parametrize("minute", [0, 15, 30, 45])
def test_hours_begin_where_the_sessions_of_the_series_do(acme, minute):
    rows = hours(minute)
    odd = rows[40] | {"open_time": rows[40]["open_time"] + timedelta(minutes=7)}
    assert put(acme, [*rows, odd], "1h").quarantined == 1
    assert held().kind == "grid"
    after = (minute + 7) % 60
    assert held().reason.endswith(
        f"Z, {after} minutes after a multiple of 60 minutes, where no other candle of this series opens"
    )


def test_a_coin_s_candles_begin_at_multiples_of_their_length():
    coin = Asset.objects.create(symbol="BTC-USDT", asset_class="crypto")
    assert put(coin, hours(30, 3), "1h").quarantined == 3
    assert put(coin, [row(datetime(2024, 1, 2, hour, tzinfo=UTC)) for hour in (4, 6, 8)], "4h").quarantined == 1


def test_what_the_market_s_sessions_open_at_is_on_the_grid(acme):
    acme.calendar = "XBOM"
    acme.save()
    put(acme, hours(45), "1h")
    evening = datetime(2024, 1, 4, 12, 15, tzinfo=UTC)  # a special session
    odd = market(70)[-1] | {"open_time": evening}
    assert put(acme, [odd], "1h").quarantined == 1
    TradingCalendar.objects.create(
        code="XBOM", zone="Asia/Kolkata", covers_from="2020-01-01", covers_until="2025-01-01", version="test"
    )
    TradingSession.objects.create(
        calendar="XBOM", date="2024-01-04", opens_at=evening, closes_at=evening + timedelta(hours=1)
    )
    assert put(acme, [odd], "1h").inserted == 1


def test_a_day_on_which_its_market_is_closed_is_held(acme):
    acme.calendar = "XNYS"
    acme.save()
    rows = [one for one in market(60) if one["open_time"].weekday() < 5]
    TradingCalendar.objects.create(
        code="XNYS", zone="America/New_York", covers_from="2020-01-01", covers_until="2025-01-01", version="test"
    )
    TradingSession.objects.bulk_create(
        TradingSession(
            calendar="XNYS",
            date=one["open_time"].date(),
            opens_at=one["open_time"] + timedelta(hours=14.5),
            closes_at=one["open_time"] + timedelta(hours=21),
        )
        for one in rows
    )
    saturday = market(60)[31] | {"open_time": datetime(2020, 2, 1, tzinfo=UTC)}
    assert put(acme, [*rows, saturday]).quarantined == 1
    assert (held().kind, held().reason) == ("grid", "2020-02-01 is not a trading day of XNYS")


# --- What people decide ------------------------------------------------------------------------------------------


def test_a_person_s_release_holds_for_good(acme):
    rows = market(60)
    rows[30] = times(rows[30], 3)
    put(acme, rows)
    assert quarantine.release(held(), "stella").inserted == 1
    assert put(acme, rows).unchanged == 60
    dearer = rows[30] | {"adj_close": "7", "volume": str(int(rows[30]["volume"]) + 1)}
    assert put(acme, [*rows[:30], dearer, *rows[31:]]).updated == 1, "the prices count, not how the row was written"
    assert held().state == "released"


def test_whatever_comes_beside_it(acme):
    rows = market(60)
    rows[30] = times(rows[30], 3)
    put(acme, rows[:32])
    quarantine.release(held(), "stella")
    result = put(acme, rows[29:])
    assert (result.inserted, result.unchanged, result.withdrawn) == (28, 3, 0)
    assert closes(acme)[day(30)] == Decimal(rows[30]["close"])


def test_so_does_a_rejection(acme):
    rows = market(40)
    rows = rows[:30] + [times(one, 2.2) for one in rows[30:]]
    put(acme, rows[:31])
    quarantine.reject(held(), "stella")
    assert put(acme, rows[30:]).quarantined == 1, "although the later candles bear it out"
    assert day(30) not in closes(acme)
    assert held().state == "rejected"
