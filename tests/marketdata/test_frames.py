"""History as aligned arrays: what a frame holds, how it is adjusted, and what is refused."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata import columns, frames, shelf
from marketdata.ingestion import ingest
from marketdata.models import Asset, Basis, Candle, CorporateAction, Series, TradingCalendar, TradingSession
from tests.marketdata.candles import day, row, table

pytestmark = pytest.mark.usefixtures("house")
fresh = count(1)
every_time = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def keep(symbol: str, days, timeframe: str = "1d", **numbers) -> Asset:
    """An asset with a candle on each of the days (numbers or moments); the close is 11 plus the day's number."""
    asset, _ = Asset.objects.get_or_create(symbol=symbol)
    rows = [
        row(at if isinstance(at, datetime) else day(at), close=f"11.{n:04d}", **numbers) for n, at in enumerate(days)
    ]
    ingest(asset, timeframe, table(rows), source="test")
    return asset


def opens(frame: frames.Frame) -> list[int]:
    return [(at - np.datetime64("2020-01-01")) // np.timedelta64(1, "D") for at in frame.times]


def test_one_asset():
    keep("ACME", range(5))
    frame = frames.read("ACME", "1d")
    assert frame.symbols == ("ACME",)
    assert frame.times.dtype == "datetime64[us]"
    assert opens(frame) == [0, 1, 2, 3, 4]
    assert list(frame.columns) == ["open", "high", "low", "close", "volume"]
    assert frame["close"].tolist() == [[11.0, 11.0001, 11.0002, 11.0003, 11.0004]]
    assert frame["volume"].shape == (1, 5)
    assert frame.complete.all()
    (part,) = frame.parts
    assert (part.candles, part.revision, part.source) == (5, 0, "test")
    assert (part.first, part.last) == (day(0), day(4))


def test_one_asset_is_a_view_of_the_file_that_nobody_can_write_to():
    keep("ACME", range(5))
    for _ in range(2):  # just built, and found
        frame = frames.read("ACME", "1d", start=day(1), columns=("close", "volume"))
        for values in (frame.times, *frame.columns.values()):
            assert not values.flags.writeable
            assert not values.flags.owndata
        assert frame["close"].flags.c_contiguous


def test_a_range_is_half_open():
    keep("ACME", range(5))
    assert opens(frames.read("ACME", "1d", start=day(1), end=day(3))) == [1, 2]
    assert opens(frames.read("ACME", "1d", start=day(1) + timedelta(hours=1), end=day(3) + timedelta(hours=1))) == [
        2,
        3,
    ]
    assert opens(frames.read("ACME", "1d", start=day(9))) == []
    assert opens(frames.read("ACME", "1d", end=day(0))) == []


def test_assets_are_aligned_by_their_opens():
    keep("LONG", [0, 1, 2, 4, 5, 7])
    keep("SAME", [0, 1, 2, 4, 5, 7])
    keep("LATE", [4, 5, 7])
    keep("ODD", [1, 3, 9])
    Asset.objects.create(symbol="NONE")
    frame = frames.read(["ODD", "LATE", "NONE", "LONG", "SAME"], "1d", columns=["close"])
    assert opens(frame) == [0, 1, 2, 3, 4, 5, 7, 9]
    nan = float("nan")
    long = [11.0, 11.0001, 11.0002, nan, 11.0003, 11.0004, 11.0005, nan]
    expected = [
        [nan, 11.0, nan, 11.0001, nan, nan, nan, 11.0002],
        [nan, nan, nan, nan, 11.0, 11.0001, 11.0002, nan],
        [nan] * 8,
        long,
        long,
    ]
    np.testing.assert_array_equal(frame["close"], expected)
    assert frame["close"].flags.c_contiguous
    assert [part.candles for part in frame.parts] == [3, 3, 0, 6, 6]


@every_time
@given(data=st.data())
def test_whatever_the_opens_alignment_is_an_outer_join(data):
    unit = data.draw(st.sampled_from(["1d", "1m"]))
    step = timedelta(days=1) if unit == "1d" else timedelta(minutes=1)
    kept = {}
    for places in data.draw(st.lists(st.sets(st.integers(0, 12)), min_size=1, max_size=4)):
        symbol = f"A{next(fresh)}"
        kept[symbol] = {day(0) + step * place for place in places}
        keep(symbol, sorted(kept[symbol]), unit)
    frame = frames.read(list(kept), unit, columns=["close"])
    union = sorted(set().union(*kept.values()))
    assert [at.replace(tzinfo=UTC) for at in frame.times.tolist()] == union
    for symbol, closes in zip(frame.symbols, frame["close"], strict=True):
        assert [at for at, value in zip(union, closes, strict=True) if value == value] == sorted(kept[symbol])


numbers = st.decimals(min_value=0, max_value=Decimal("9999999999.9999999999"), places=10)


@every_time
@given(values=st.lists(st.tuples(numbers, st.none() | numbers, numbers), min_size=1, max_size=8))
def test_numbers_are_the_nearest_doubles_of_what_is_stored(values):
    asset = Asset.objects.create(symbol=f"A{next(fresh)}")
    rows = [
        row(
            day(n),
            *(f"{price:f}",) * 4,
            volume=f"{volume:.8f}",
            adj_close=None if adjusted is None else f"{adjusted:f}",
        )
        for n, (price, adjusted, volume) in enumerate(values)
    ]
    ingest(asset, "1d", table(rows), source="test")
    frame = frames.read(asset, "1d", columns=columns.NUMBERS)
    stored = Candle.objects.filter(asset=asset).order_by("open_time")
    for name in columns.NUMBERS:
        exact = [getattr(candle, name) for candle in stored]
        np.testing.assert_array_equal(frame[name][0], [float("nan") if x is None else float(x) for x in exact])


def test_what_is_appended_extends_the_file_and_a_changed_past_makes_a_new_one():
    acme = keep("ACME", range(5))
    before = frames.read("ACME", "1d")
    path = shelf.root() / "1d" / f"{acme.pk}.columns"
    inode = path.stat().st_ino
    ingest(acme, "1d", table([row(day(5)), row(day(6), adj_close="10")]), source="test")
    frame = frames.read("ACME", "1d", columns=("close", "adj_close"))
    assert opens(frame) == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(frame["adj_close"][0], [np.nan] * 6 + [10])
    assert path.stat().st_ino == inode
    ingest(acme, "1d", table([row(day(2), close="9.5")]), source="test")
    assert frames.read("ACME", "1d")["close"][0, 2] == 9.5
    assert path.stat().st_ino != inode
    assert before["close"][0].tolist() == [11.0, 11.0001, 11.0002, 11.0003, 11.0004]  # as it was


def test_a_file_that_is_full_is_copied_into_a_larger_one():
    acme, rooms = Asset.objects.create(symbol="ACME"), set()
    for first in range(0, 3000, 600):
        rows = [row(day(0) + timedelta(minutes=n), close="10.5") for n in range(first, first + 600)]
        ingest(acme, "1m", table(rows), source="test")
        assert len(frames.read("ACME", "1m")) == first + 600
        rooms.add((shelf.root() / "1m" / f"{acme.pk}.columns").stat().st_ino)
    assert 2 <= len(rooms) < 5
    assert columns.intact(shelf.take(shelf.wanted([(acme.pk, "1m")])[acme.pk, "1m"]))


# --- Fingerprints ------------------------------------------------------------------------------------------------


def test_the_fingerprint_tells_the_range_and_changes_with_the_data():
    acme = keep("ACME", range(5))
    whole, part = frames.fingerprint("ACME", "1d"), frames.fingerprint("ACME", "1d", day(1), day(3))
    assert whole.startswith("1d:r0:20200101T0000-20200105T0000:5:")
    assert part.startswith("1d:r0:20200102T0000-20200103T0000:2:")
    assert frames.read(acme, "1d", day(1), day(3)).parts[0].fingerprint == part
    ingest(acme, "1d", table([row(day(5))]), source="test")
    assert frames.fingerprint("ACME", "1d", end=day(5)) == whole
    ingest(acme, "1d", table([row(day(0), volume="101")]), source="test")
    assert frames.fingerprint("ACME", "1d", end=day(5)) != whole
    assert frames.fingerprint("ACME", "1d", day(1), day(3)) == part.replace("r0", "r1")


def test_the_checksum_is_the_sum_of_the_stated_hash():
    keep("ACME", range(3), adj_close="10.5")
    frame = frames.read("ACME", "1d", columns=columns.NUMBERS)
    total = 0
    for place, at in enumerate(frame.times.astype(np.int64).tolist()):
        h = at % 2**64
        for name in columns.NUMBERS:
            value = frame[name][0, place]
            bits = 0x7FF8000000000000 if np.isnan(value) else int(np.float64(value).view(np.uint64))
            h = mixed(bits ^ h)
        total += h
    assert frame.parts[0].checksum == total % 2**64


def mixed(x: int) -> int:
    """SplitMix64's output, written a second time in Python."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_the_checksum_grows_as_if_it_had_been_made_at_once():
    acme = keep("ACME", range(3))
    frames.read("ACME", "1d")
    ingest(acme, "1d", table([row(day(3), adj_close="9")]), source="test")
    grown = frames.fingerprint("ACME", "1d")
    (shelf.root() / "1d" / f"{acme.pk}.columns").unlink()
    assert frames.fingerprint("ACME", "1d") == grown


# --- Adjustment --------------------------------------------------------------------------------------------------


def split(asset: Asset, number: int, value: str = "2") -> None:
    CorporateAction.objects.create(
        asset=asset, kind="split", ex_date=day(number).date(), value=Decimal(value), source="test"
    )


def test_prices_as_traded_are_divided_by_later_splits():
    acme = keep("ACME", range(4))
    Series.objects.update(basis=Basis.RAW)
    split(acme, 2)
    raw, adjusted = (frames.read(acme, "1d", adjust=adjust) for adjust in ("raw", "split"))
    assert raw["open"][0].tolist() == [10, 10, 10, 10]
    assert adjusted["open"][0].tolist() == [5, 5, 10, 10]
    assert adjusted["volume"][0].tolist() == [200, 200, 100, 100]
    assert raw.parts[0].fingerprint != adjusted.parts[0].fingerprint
    assert frames.read(acme, "1d", adjust="split", end=day(1))["open"][0].tolist() == [5]


def test_split_adjusted_prices_are_what_they_are_and_were_traded_higher():
    acme = keep("ACME", range(4))
    split(acme, 2)
    assert frames.read(acme, "1d")["open"][0].tolist() == [10, 10, 10, 10]
    assert not frames.read(acme, "1d")["open"].flags.owndata
    raw = frames.read(acme, "1d", adjust="raw", columns=["open", "volume"])
    assert raw["open"][0].tolist() == [20, 20, 10, 10]
    assert raw["volume"][0].tolist() == [50, 50, 100, 100]


def test_total_return_counts_dividends_and_a_part_is_as_the_whole():
    acme = keep("ACME", range(4))
    CorporateAction.objects.create(
        asset=acme, kind="dividend", ex_date=day(2).date(), value=Decimal("1.10001"), source="test"
    )
    whole = frames.read(acme, "1d", adjust="total", columns=["close"])["close"][0]
    np.testing.assert_allclose(whole, [11 * 0.9, 11.0001 * 0.9, 11.0002, 11.0003], rtol=1e-12)
    np.testing.assert_array_equal(frames.read(acme, "1d", day(1), day(2), ["close"], "total")["close"][0], whole[1:2])


def test_a_ratio_of_many_decimals_is_the_fraction_that_was_meant():
    acme = keep("ACME", range(4))
    Series.objects.update(basis=Basis.RAW)
    split(acme, 2, "0.000666666667")
    assert frames.read(acme, "1d", columns="open")["open"][0].tolist() == [15000, 15000, 10, 10]


def test_an_adjusted_close_of_nothing_tells_nothing():
    acme = Asset.objects.create(symbol="ACME")
    ingest(acme, "1d", table([row(day(0), adj_close="0"), row(day(1), adj_close="11")]), source="test")
    assert frames.read(acme, "1d", columns="close", adjust="total")["close"][0].tolist() == [11, 11]


# --- Refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timeframe": "2d"}, "'2d' is no timeframe; choose one of 1m, 5m"),
        ({"columns": ("close", "vwap")}, "'vwap' is no column; choose of open, high"),
        ({"adjust": "all"}, "adjust='all' is not known; choose one of raw, split, total"),
        ({"start": datetime(2020, 1, 1)}, "start=2020-01-01 00:00:00 has no time zone; give it one"),
        ({"as_of": datetime(2020, 1, 1)}, "as_of=2020-01-01 00:00:00 has no time zone"),
        ({"start": day(2), "end": day(1)}, "lies after end"),
        ({"assets": "NOPE"}, "There is no asset called NOPE; fetch or import it first"),
        ({"assets": []}, "There is no asset to read"),
        ({"from_timeframe": "1w"}, "1d bars can't be made of 1w candles"),
    ],
)
def test_what_does_not_exist_is_named(arguments, words):
    keep("ACME", range(2))
    with pytest.raises(ValueError, match=words):
        frames.read(**{"assets": "ACME", "timeframe": "1d"} | arguments)


def test_an_asset_without_candles_is_an_empty_row():
    Asset.objects.create(symbol="NONE")
    frame = frames.read("NONE", "1d")
    assert frame["close"].shape == (1, 0)
    assert frame.parts[0].fingerprint == "1d:r0:empty:0:0000000000000000"


# --- Longer candles from shorter ones ----------------------------------------------------------------------------


def minutes_of(symbol: str, first: datetime, count: int, **fields) -> Asset:
    asset = Asset.objects.create(symbol=symbol, **fields)
    rows = [row(first + timedelta(minutes=n), open="10", close=f"11.{n:04d}", volume="1") for n in range(count)]
    ingest(asset, "1m", table(rows), source="test")
    return asset


@pytest.fixture
def new_york():
    """Two sessions, the second a half-day, as `calendars.load` stores them."""
    TradingCalendar.objects.create(
        code="XNYS", zone="America/New_York", covers_from=date(2024, 6, 1), covers_until=date(2024, 7, 31), version="0"
    )
    for number, close in ((1, 20), (2, 20), (3, 17), (5, 20)):
        day_of = datetime(2024, 7, number, tzinfo=UTC)
        TradingSession.objects.create(
            calendar="XNYS", date=day_of.date(), opens_at=day_of + timedelta(hours=13, minutes=30),
            closes_at=day_of + timedelta(hours=close),
        )  # fmt: skip


@pytest.mark.usefixtures("new_york")
def test_days_and_hours_of_a_market_from_its_minutes():
    minutes_of("ACME", datetime(2024, 7, 2, 8, tzinfo=UTC), 2160, calendar="XNYS")  # to the next evening
    days = frames.read("ACME", "1d", from_timeframe="1m")
    assert days.times.astype(str).tolist() == ["2024-07-02T00:00:00.000000", "2024-07-03T00:00:00.000000"]
    assert days["volume"][0].tolist() == [390, 210]
    assert days["close"][0, 0] == 11.0719  # the minute before the close
    hours = frames.read("ACME", "1h", datetime(2024, 7, 3, tzinfo=UTC), from_timeframe="1m")
    assert hours.times.astype(str).tolist() == [f"2024-07-03T{hour}:30:00.000000" for hour in (13, 14, 15, 16)]
    assert hours["volume"][0].tolist() == [60, 60, 60, 30]
    wide = frames.read("ACME", "1d", from_timeframe="1m", extended=True)
    assert wide["volume"][0].tolist() == [1245]  # to the middle of the night; the second is not over yet


@pytest.mark.usefixtures("new_york")
def test_a_part_of_longer_candles_is_as_the_whole():
    minutes_of("ACME", datetime(2024, 7, 2, 8, tzinfo=UTC), 2160, calendar="XNYS")
    whole = frames.read("ACME", "1h", from_timeframe="1m")
    for first in range(len(whole)):
        start, end = (at.replace(tzinfo=UTC) for at in whole.times[[first, -1]].tolist())
        part = frames.read("ACME", "1h", start, end, from_timeframe="1m")
        np.testing.assert_array_equal(part["close"][0], whole["close"][0, first:-1])
        np.testing.assert_array_equal(part["volume"][0], whole["volume"][0, first:-1])


def test_around_the_clock_bars_lie_on_the_clock_and_the_last_is_left_out_until_it_is_over():
    minutes_of("COIN", datetime(2024, 7, 2, 8, 30, tzinfo=UTC), 100, asset_class="crypto")
    minutes_of("MINT", datetime(2024, 7, 2, 8, 0, tzinfo=UTC), 180, asset_class="crypto")
    frame = frames.read(["COIN", "MINT"], "1h", from_timeframe="1m", columns=["volume"])
    np.testing.assert_array_equal(frame["volume"], [[30, 60, np.nan], [60, 60, 60]])
    marked = frames.read(["COIN", "MINT"], "1h", from_timeframe="1m", columns=["volume"], complete_only=False)
    np.testing.assert_array_equal(marked["volume"], [[30, 60, 10], [60, 60, 60]])
    assert marked.complete.tolist() == [True, True, False]


def test_a_range_may_be_all_of_time():
    minutes_of("COIN", datetime(2024, 7, 2, 8, tzinfo=UTC), 60, asset_class="crypto")
    ever = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    assert len(frames.read("COIN", "1h", *ever, from_timeframe="1m")) == 1
    assert len(frames.read("COIN", "1m", *ever, as_of=ever[1])) == 60


@pytest.mark.usefixtures("new_york")
def test_splits_inside_a_longer_candle_are_taken_out_first():
    acme = Asset.objects.create(symbol="ACME", calendar="XNYS")
    rows = [
        row(datetime(2024, 7, n, tzinfo=UTC), high=high) for n, high in ((1, "24"), (2, "24"), (3, "12"), (5, "12"))
    ]
    ingest(acme, "1d", table(rows), source="test")
    Series.objects.update(basis=Basis.RAW)
    CorporateAction.objects.create(asset=acme, kind="split", ex_date=date(2024, 7, 3), value=Decimal(2), source="test")
    weeks = frames.read(acme, "1w", from_timeframe="1d", columns=["high", "volume"], complete_only=False)
    assert weeks["high"][0].tolist() == [12]
    assert weeks["volume"][0].tolist() == [600]


def test_a_market_that_is_not_known_is_named():
    minutes_of("ODD", datetime(2024, 7, 2, 8, tzinfo=UTC), 10, asset_class="fund", exchange="Nowhere")
    with pytest.raises(ValueError, match="The calendar of ODD is not known, so its 1d bars can't be told"):
        frames.read("ODD", "1d", from_timeframe="1m")
