"""What is missing of a series and what is not, against calendars, the ledger, quarantine and a slow second opinion."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata import calendars, gaps
from marketdata.calendars import UnknownCalendar
from marketdata.gaps import HAVE, HELD, MISSING, UNTRADED
from marketdata.ingestion import ingest, schema
from marketdata.models import Asset, FetchWindow, QuarantinedCandle, Series, Timeframe
from tests.sessions import known

pytestmark = pytest.mark.usefixtures("house")
D1, H1, M1 = Timeframe.D1, Timeframe.H1, Timeframe.M1


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def keep(asset: Asset, timeframe: Timeframe, opens: list[datetime], source: str = "file") -> Series:
    """Store a flat candle for each open."""
    numbers = dict.fromkeys(("open", "high", "low", "close"), "10") | {"volume": "1"}
    rows = [{"open_time": one, **numbers, "adj_close": None, "quote_volume": None} for one in opens]
    ingest(asset, timeframe, pa.Table.from_pylist(rows, schema=schema()), source=source)
    return Series.objects.get(asset=asset, timeframe=timeframe)


def coin(symbol: str = "BTC-USDT") -> Asset:
    return Asset.objects.create(symbol=symbol, asset_class="crypto")


def hours(first: datetime, count: int, *without: int) -> list[datetime]:
    return [first + timedelta(hours=n) for n in range(count) if n not in without]


def expected(code: str, timeframe: Timeframe, since: datetime, until: datetime, **options) -> list[datetime]:
    return [one.replace(tzinfo=UTC) for one in calendars.expected(code, timeframe, since, until, **options).tolist()]


def found(asset: Asset, timeframe: Timeframe, *limits: datetime) -> list[tuple[datetime, datetime, int]]:
    return [(gap.start, gap.end, gap.candles) for gap in gaps.find(asset, timeframe, *limits)]


def answered(asset: Asset, timeframe: Timeframe, provider: str, since: datetime, until: datetime, **fields) -> None:
    told = {"state": "empty", "settled_until": until, "asked_at": until, "answered_at": until} | fields
    FetchWindow.objects.create(
        asset=asset, timeframe=timeframe, provider=provider, since=since, until=until, **told
    )  # fmt: skip


# --- Days ----------------------------------------------------------------------------------------------------------


def test_holidays_are_no_gaps_and_lost_days_are():
    known("XNYS")
    nvda = Asset.objects.create(symbol="NVDA")
    days = expected("XNYS", D1, at(2001, 8, 1), at(2019, 1, 1))
    lost = [at(2005, 3, 8), at(2005, 3, 9), at(2012, 10, 26), at(2012, 10, 31)]
    series = keep(nvda, D1, [day for day in days if day not in lost])
    assert found(nvda, D1) == [
        (at(2005, 3, 8), at(2005, 3, 9), 2),
        (at(2012, 10, 26), at(2012, 10, 31), 2),  # one gap: between its two days the market was closed
    ]
    assert found(nvda, D1, at(2005, 3, 9), at(2012, 10, 27)) == [
        (at(2005, 3, 9), at(2005, 3, 9), 1),
        (at(2012, 10, 26), at(2012, 10, 26), 1),
    ]
    gaps.audit(series)
    series.refresh_from_db()
    assert (series.expected_count, series.missing_count, series.gap_count) == (len(days), 4, 2)
    assert len(series.coverage_bar) == 60
    assert [sum(column) for column in zip(*series.coverage_bar, strict=True)] == [len(days) - 4, 4, 0, 0]
    assert series.audited_at


def test_what_a_provider_has_not_given_yet_is_missing_and_a_file_has_ended():
    btc, old = coin(), coin("OLD-USDT")
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight - timedelta(days=n) for n in (9, 8, 7)]
    keep(btc, D1, days, source="yahoo")
    keep(old, D1, days)
    assert found(btc, D1) == [(midnight - timedelta(days=6), midnight - timedelta(days=1), 6)]
    assert found(old, D1) == []
    assert found(old, D1, days[0] - timedelta(days=2)) == [
        (days[0] - timedelta(days=2), days[0] - timedelta(days=1), 2)
    ]


def test_two_providers_make_a_day_not_traded_and_one_does_not():
    btc = coin()
    keep(btc, D1, [at(2024, 1, 1), at(2024, 1, 6)])
    answered(btc, D1, "okx", at(2024, 1, 2), at(2024, 1, 5))
    assert found(btc, D1) == [(at(2024, 1, 2), at(2024, 1, 5), 4)]
    answered(btc, D1, "okx", at(2024, 1, 1), at(2024, 1, 6))  # the same one again is no second word
    answered(btc, D1, "yahoo", at(2024, 1, 3), at(2024, 1, 5))
    answered(btc, D1, "twelvedata", at(2024, 1, 1), at(2024, 1, 6), state="failed", settled_until=None)
    assert found(btc, D1) == [(at(2024, 1, 2), at(2024, 1, 2), 1), (at(2024, 1, 5), at(2024, 1, 5), 1)]
    counted = gaps.examine(btc, D1)
    assert [counted.count(kind) for kind in (HAVE, MISSING, UNTRADED, HELD)] == [2, 2, 2, 0]


# --- Hours and minutes ---------------------------------------------------------------------------------------------


def test_one_providers_word_is_enough_for_an_hour_as_far_as_it_was_settled():
    btc = coin()
    first = at(2024, 1, 1)
    keep(btc, H1, hours(first, 24, 3, 4, 10, 20))
    answered(btc, H1, "okx", first, first + timedelta(hours=24), settled_until=first + timedelta(hours=10))
    assert found(btc, H1) == [(at(2024, 1, 1, 10), at(2024, 1, 1, 10), 1), (at(2024, 1, 1, 20), at(2024, 1, 1, 20), 1)]


def test_a_candle_in_quarantine_is_held_until_somebody_decides():
    btc = coin()
    keep(btc, H1, hours(at(2024, 1, 1), 6, 2))
    kept = QuarantinedCandle.objects.create(asset=btc, timeframe=H1, open_time=at(2024, 1, 1, 2), raw={}, reason="odd",
                                            source="okx", fingerprint="a")  # fmt: skip
    assert (found(btc, H1), gaps.examine(btc, H1).count(HELD)) == ([], 1)
    QuarantinedCandle.objects.filter(pk=kept.pk).update(state="rejected")
    assert found(btc, H1) == [(at(2024, 1, 1, 2), at(2024, 1, 1, 2), 1)]


@pytest.mark.parametrize("grid", ["session", "utc"])
def test_a_series_is_judged_by_its_own_way_to_count_hours(grid):
    known("XNYS")
    spy = Asset.objects.create(symbol="SPY", asset_class="etf")
    opens = expected("XNYS", H1, at(2023, 11, 20), at(2023, 12, 1), grid=grid)
    keep(spy, H1, opens[:20] + opens[22:])
    assert found(spy, H1) == [(opens[20], opens[21], 2)]


def test_candles_outside_the_session_are_extra():
    known("XNYS")
    spy = Asset.objects.create(symbol="SPY", asset_class="etf")
    first = at(2024, 3, 8, 9)  # 04:00 in New York
    keep(spy, M1, [first + timedelta(minutes=n) for n in range(16 * 60)])
    counted = gaps.examine(spy, M1)
    assert (counted.gaps, counted.count(HAVE), counted.extra) == ([], 390, 16 * 60 - 390)


def test_currencies_have_the_hours_that_their_source_has():
    """One that opens an hour later on Sundays has no gap there; one that loses a Wednesday has."""
    euro = Asset.objects.create(symbol="EUR-USD", asset_class="fx")
    opens = expected("24/5", H1, at(2024, 1, 7), at(2024, 7, 1))
    late = [one for one in opens if not (one.weekday() == 6 and one.hour < 23)]
    lost = [one for one in late if not at(2024, 5, 15) <= one < at(2024, 5, 16)]
    keep(euro, H1, lost)
    assert found(euro, H1) == [(at(2024, 5, 15), at(2024, 5, 15, 23), 24)]


def test_a_lost_week_of_currencies_is_a_gap():
    euro = Asset.objects.create(symbol="EUR-USD", asset_class="fx")
    opens = expected("24/5", H1, at(2024, 1, 7), at(2024, 3, 3))
    keep(euro, H1, [one for one in opens if not at(2024, 2, 4) <= one < at(2024, 2, 11)])
    assert [gap.candles for gap in gaps.find(euro, H1)] == [120]


# --- Without a calendar --------------------------------------------------------------------------------------------


def test_without_a_calendar_nothing_is_claimed():
    odd = Asset.objects.create(symbol="ODD", exchange="Moon Exchange")
    series = keep(odd, D1, [at(2024, 1, 1), at(2024, 1, 5)])
    with pytest.raises(UnknownCalendar, match=r"which market ODD \(Moon Exchange\) is traded on"):
        gaps.find(odd, D1)
    assert gaps.audit(series) is None
    series.refresh_from_db()
    assert (series.expected_count, series.coverage_bar, bool(series.audited_at)) == (0, [], True)
    Asset.objects.update(calendar="XXXX")
    with pytest.raises(UnknownCalendar, match="The calendar of ODD: 'XXXX' is no calendar"):
        gaps.find(Asset.objects.get(), D1)


def test_nothing_stored_has_no_gaps():
    assert gaps.find(coin(), H1) == []


# --- A second opinion ----------------------------------------------------------------------------------------------


def test_it_agrees_with_looking_at_every_candle():
    first, count = at(2024, 1, 1), 60
    btc = coin()

    @settings(max_examples=25, deadline=None)
    @given(st.sets(st.integers(1, count - 2)), st.integers(0, count), st.integers(0, count))
    def holds(lost: set[int], since: int, until: int) -> None:
        QuarantinedCandle.objects.all().delete()
        FetchWindow.objects.all().delete()
        one = Asset.objects.create(symbol=f"C{Asset.objects.count()}-USDT", asset_class="crypto")
        keep(one, H1, hours(first, count, *lost))
        low, high = sorted((since, until))
        if low < high:
            answered(one, H1, "okx", first + timedelta(hours=low), first + timedelta(hours=high))
        missing = sorted(n for n in lost if not low <= n < high)
        runs: list[list[int]] = []
        for n in missing:
            runs[-1].append(n) if runs and runs[-1][-1] == n - 1 else runs.append([n])
        told = [(first + timedelta(hours=run[0]), first + timedelta(hours=run[-1]), len(run)) for run in runs]
        assert found(one, H1) == told
        counted = gaps.examine(one, H1)
        assert counted.count(HAVE) + counted.count(MISSING) + counted.count(UNTRADED) == count
        assert [sum(span) for span in counted.bar] == [1] * 60

    holds()
    assert btc
