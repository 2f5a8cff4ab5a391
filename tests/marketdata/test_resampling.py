"""Longer candles from shorter ones: against a loop in plain Python, and on the days that go wrong elsewhere."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.resampling import DAY, LENGTHS, Sessions, resample

MINUTE = 60_000_000
NAMES = ("open", "high", "low", "close", "volume")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
every_time = settings(max_examples=100, deadline=None, derandomize=True)


def at(text: str, zone: str = "UTC") -> int:
    """Microseconds since 1970 of a wall clock's time."""
    return (datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)) - EPOCH) // timedelta(microseconds=1)


def text(micros: int) -> str:
    return f"{EPOCH + timedelta(microseconds=int(micros)):%Y-%m-%d %H:%M}"


def sessions(*rows: tuple[str, str, str] | tuple[str, str, str, str, str], zone: str) -> Sessions:
    """(date, open, close) or with a break before the close's, by the market's clock; an open after the close's hour is
    of the day before."""
    found = []
    for date, opens, closes, *pause in rows:
        end = at(f"{date} {closes}", zone)
        start = at(f"{date} {opens}", zone)
        start -= DAY if start >= end else 0
        found.append((at(date) // DAY, start, end, *([at(f"{date} {time}", zone) for time in pause] or (0, 0))))
    return Sessions(*np.array(sorted(found), np.int64).T.copy())


def every(minutes: int, first: int, last: int):
    return np.arange(first, last, minutes * MINUTE)


def numbers_for(times) -> dict:
    chance = np.random.default_rng(len(times))
    return {name: chance.normal(100, 5, len(times)).round(2) for name in NAMES}


def made(times, source, target, found=None, **options):
    return resample(np.asarray(times), numbers_for(times), source, target, found, **options)


def names(result) -> list[str]:
    return [text(name) for name in result.times.view(np.int64)]


# --- The loop ----------------------------------------------------------------------------------------------------


def naive(times, numbers, source: str, target: str, found: Sessions | None, until: int) -> list[tuple]:
    """A dictionary of bars, candle by candle: (name, open, high, low, close, volume, candles, complete)."""
    bars: dict = {}
    for place, moment in enumerate(times):
        name, over = place_of(int(moment), LENGTHS[source], target, found)
        if name is not None:
            bars.setdefault(name, (over, []))[1].append(place)
    rows = []
    for name, (over, places) in sorted(bars.items()):
        o, h, low, c, v = ([numbers[column][place] for place in places] for column in NAMES)
        volume = np.add.reduceat(np.array(v), [0])[0]
        rows.append((name, o[0], max(h), min(low), c[-1], volume, len(places), over <= until))
    return rows


def place_of(moment: int, source: int, target: str, found: Sessions | None) -> tuple[int | None, int]:
    """The bar of one candle and when that is over."""
    length, by_day = LENGTHS[target], source >= DAY
    if found is None or by_day:
        if length < DAY:
            return moment // length * length, (moment // length + 1) * length
        return period(moment // DAY, target, found, by_day)
    ended = None
    for day, opens, closes, paused, again in zip(*(column.tolist() for column in found), strict=True):
        stretches = [(opens, paused), (again, closes)] if paused and length < DAY else [(opens, closes)]
        for start, end in stretches:
            if moment + source > start and moment < end and (ended is None or moment >= ended):
                if length >= DAY:
                    return period(day, target, found, by_day) if target != "1d" else (day * DAY, closes)
                number = max(moment - start, 0) // length
                return start + number * length, min(start + (number + 1) * length, end)
            ended = end
    return None, 0


def period(day: int, target: str, found: Sessions | None, by_day: bool) -> tuple[int, int]:
    if target == "1d":
        return day * DAY, (day + 1) * DAY
    date = EPOCH + timedelta(days=day)
    if target == "1w":
        first = date - timedelta(days=date.weekday())
        after = first + timedelta(days=7)
    else:
        first = date.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
    first_day, after_day = (first - EPOCH).days, (after - EPOCH).days
    if found is not None and found.days[-1] >= after_day:
        inside = [n for n, d in enumerate(found.days) if first_day <= d < after_day]
        if inside:
            return first_day * DAY, (int(found.days[inside[-1]]) + 1) * DAY if by_day else int(found.closes[inside[-1]])
    return first_day * DAY, after_day * DAY


def is_the_loop(times, source: str, target: str, found: Sessions | None) -> None:
    times = np.asarray(times, np.int64)
    numbers = numbers_for(times)
    until = int(times[-1]) + LENGTHS[source] if len(times) else 0
    for complete_only in (False, True):
        result = resample(times, numbers, source, target, found, complete_only=complete_only)
        expected = naive(times, numbers, source, target, found, until)
        if complete_only:
            expected = [row for row in expected if row[-1]]
        columns = [result.times.view(np.int64), *(result.numbers[name] for name in NAMES)]
        rows = list(zip(*(column.tolist() for column in [*columns, result.candles, result.complete]), strict=True))
        assert rows == [pytest.approx(row, rel=1e-12, abs=0) for row in expected]


offsets = st.lists(st.integers(0, 12_000), min_size=0, max_size=120, unique=True).map(sorted)


@every_time
@given(offsets, st.sampled_from(["1m", "5m", "30m", "1h"]), st.sampled_from(["1h", "4h", "1d", "1w", "1mo"]))
def test_around_the_clock_it_is_the_loop(places, source, target):
    if LENGTHS[source] < LENGTHS[target]:
        start = at("2024-02-26 00:00")
        is_the_loop([start + place * LENGTHS[source] for place in places], source, target, None)


@st.composite
def markets(draw) -> Sessions:
    """Some days of a market of any hours, with or without breaks, holidays between them."""
    rows, day = [], at("2024-02-26") // DAY
    opens = draw(st.integers(-300, 700))
    for _ in range(draw(st.integers(1, 12))):
        day += draw(st.sampled_from([1, 1, 1, 2, 4]))
        length = draw(st.sampled_from([1440, 390, 210, 395]))
        start = day * DAY + opens * MINUTE
        pause = draw(st.sampled_from([None, 60, 95])) if length < 1440 else None
        end = start + length * MINUTE
        broken = (start + pause * MINUTE, start + (pause + 60) * MINUTE) if pause else (0, 0)
        rows.append((day, start, end, *broken))
    return Sessions(*np.array(rows, np.int64).T.copy())


@every_time
@given(
    markets(),
    offsets,
    st.sampled_from(["1m", "5m", "30m", "1h"]),
    st.sampled_from(["30m", "1h", "4h", "1d", "1w", "1mo"]),
)
def test_in_any_market_it_is_the_loop(market, places, source, target):
    if LENGTHS[source] < LENGTHS[target]:
        start = at("2024-02-26 12:00")
        is_the_loop([start + place * LENGTHS["1m"] for place in places], source, target, market)


@every_time
@given(
    st.none() | markets(),
    st.lists(st.integers(0, 70), max_size=40, unique=True).map(sorted),
    st.sampled_from(["1w", "1mo"]),
)
def test_of_days_it_is_the_loop(market, places, target):
    is_the_loop([at("2024-02-20") + place * DAY for place in places], "1d", target, market)


# --- Days that go wrong elsewhere --------------------------------------------------------------------------------


def test_the_hours_of_new_york_follow_its_summer_time():
    days = ("2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04")
    found = sessions(*((day, "09:30", "16:00") for day in days), zone="America/New_York")
    times = np.concatenate(
        [every(1, at(f"{day} 04:00", "America/New_York"), at(f"{day} 20:00", "America/New_York")) for day in days]
    )
    hours = made(times, "1m", "1h", found)
    assert names(hours)[:8] == [f"2024-03-08 {hour}:30" for hour in range(14, 21)] + ["2024-03-11 13:30"]
    assert names(hours)[14:22] == [f"2024-11-01 {hour}:30" for hour in range(13, 20)] + ["2024-11-04 14:30"]
    assert hours.candles.tolist() == [60, 60, 60, 60, 60, 60, 30] * 4
    daily = made(times, "1m", "1d", found)
    assert names(daily) == [f"{day} 00:00" for day in days]
    assert daily.candles.tolist() == [390] * 4


def test_a_day_is_what_trades_in_its_session_and_more_only_if_asked_for():
    found = sessions(("2024-07-02", "09:30", "16:00"), ("2024-07-03", "09:30", "13:00"), zone="America/New_York")
    times = np.concatenate(
        [
            every(1, at(f"{day} 04:00", "America/New_York"), at(f"{day} 20:00", "America/New_York"))
            for day in ("2024-07-02", "2024-07-03")
        ]
    )
    assert made(times, "1m", "1d", found).candles.tolist() == [390, 210]  # the second is a half-day
    wide = made(times, "1m", "1d", found, extended=True, complete_only=False)
    assert wide.candles.tolist() == [960, 960]
    hours = made(times, "1m", "1h", found, extended=True, complete_only=False)
    assert names(hours)[0] == "2024-07-02 07:30"  # half an hour before the open's grid: 03:30 in New York
    assert hours.candles[:3].tolist() == [30, 60, 60]
    assert sum(hours.candles.tolist()) == len(times)


def test_london_in_the_week_its_clocks_change():
    found = sessions(("2024-03-28", "08:00", "16:30"), ("2024-04-02", "08:00", "16:30"), zone="Europe/London")
    times = np.concatenate(
        [
            every(5, at(f"{day} 08:00", "Europe/London"), at(f"{day} 16:30", "Europe/London"))
            for day in ("2024-03-28", "2024-04-02")
        ]
    )
    hours = made(times, "5m", "1h", found)
    assert (names(hours)[0], names(hours)[9], len(hours.times)) == ("2024-03-28 08:00", "2024-04-02 07:00", 18)
    assert hours.candles.tolist() == [12] * 8 + [6] + [12] * 8 + [6]


def test_the_afternoon_of_tokyo_is_counted_from_the_end_of_lunch():
    found = sessions(("2024-06-03", "09:00", "15:00", "11:30", "12:30"), zone="Asia/Tokyo")
    times = every(1, at("2024-06-03 09:00", "Asia/Tokyo"), at("2024-06-03 15:00", "Asia/Tokyo"))
    hours = made(times, "1m", "1h", found)
    assert names(hours) == [f"2024-06-03 0{hour}" for hour in ("0:00", "1:00", "2:00", "3:30", "4:30", "5:30")]
    assert hours.candles.tolist() == [60, 60, 30, 60, 60, 30]  # nothing of the break
    assert made(times, "1m", "1d", found).candles.tolist() == [360]  # a day does not know of it


def test_monday_in_foreign_exchange_begins_on_sunday_evening():
    days = ("2024-03-08", "2024-03-11", "2024-03-12")
    found = sessions(*((day, "17:00", "17:00") for day in days), zone="America/New_York")
    times = every(60, at("2024-03-07 22:00"), at("2024-03-12 21:00"))
    times = times[(times < at("2024-03-08 22:00")) | (times >= at("2024-03-10 21:00"))]
    daily = made(times, "1h", "1d", found)
    assert names(daily) == [f"{day} 00:00" for day in days]
    assert daily.candles.tolist() == [24, 24, 24]  # Sunday 21:00, for New York has summer time by then
    assert names(made(times, "1h", "1w", found, complete_only=False)) == ["2024-03-04 00:00", "2024-03-11 00:00"]


def test_clock_hours_belong_to_the_session_that_they_reach_into():
    found = sessions(("2024-07-02", "09:30", "16:00"), zone="America/New_York")
    times = every(60, at("2024-07-02 08:00", "America/New_York"), at("2024-07-02 18:00", "America/New_York"))
    assert made(times, "1h", "1d", found).candles.tolist() == [7]  # 09:00 to 15:00


def test_a_bar_that_is_not_over_is_left_out_or_marked():
    times = every(1, at("2024-07-02 00:00"), at("2024-07-02 01:30"))
    assert names(made(times, "1m", "1h")) == ["2024-07-02 00:00"]
    both = made(times, "1m", "1h", complete_only=False)
    assert both.complete.tolist() == [True, False]
    assert made(times, "1m", "1h", until=at("2024-07-02 02:00")).candles.tolist() == [60, 30]


def test_a_week_is_over_with_its_last_session():
    found = sessions(*((f"2024-07-0{n}", "09:30", "16:00") for n in (1, 2, 3, 5, 8)), zone="America/New_York")
    days = [at(f"2024-07-0{n}") for n in (1, 2, 3, 5)]
    assert names(made(days[:3], "1d", "1w", found)) == []
    assert names(made(days, "1d", "1w", found)) == ["2024-07-01 00:00"]
    assert names(made(days, "1d", "1w")) == []  # nobody said that nothing follows
    minutes = every(1, at("2024-07-05 09:30", "America/New_York"), at("2024-07-05 16:00", "America/New_York"))
    assert names(made(minutes, "1m", "1w", found)) == ["2024-07-01 00:00"]


def test_with_what_trades_after_the_close_a_week_is_not_over_with_it():
    zone = "America/New_York"
    found = sessions(*((f"2024-07-{n:02}", "09:30", "16:00") for n in (1, 2, 3, 5, 8)), zone=zone)
    minutes = every(1, at("2024-07-05 09:30", zone), at("2024-07-05 20:00", zone))
    early = made(minutes[: 6 * 60 + 30], "1m", "1w", found, extended=True, complete_only=False)
    assert early.complete.tolist() == [False]
    assert made(minutes, "1m", "1w", found, extended=True, until=at("2024-07-07 12:45", zone)).candles.tolist() == [630]


def test_a_month_is_named_by_its_first_day():
    days = every(1440, at("2024-01-15"), at("2024-03-03"))
    months = made(days, "1d", "1mo")
    assert names(months) == ["2024-01-01 00:00", "2024-02-01 00:00"]
    assert months.candles.tolist() == [17, 29]


def test_a_million_lonely_candles_far_apart():
    times = np.arange(0, 3000) * 400 * 60 * MINUTE
    hours = made(times, "1m", "1h", complete_only=False)
    assert len(hours.times) == 3000
    assert all(later - earlier == 400 * 60 * MINUTE for earlier, later in pairwise(hours.times.view(np.int64).tolist()))


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("1d", "1h", "1h bars can't be made of 1d candles"),
        ("1h", "1h", "read a shorter timeframe than 1h"),
        ("1w", "1mo", "Months can't be made of weeks"),
        ("2h", "1d", "'2h' is no timeframe"),
    ],
)
def test_what_can_not_be_made_is_said(source, target, words):
    with pytest.raises(ValueError, match=words):
        made([0], source, target)


def test_nothing_of_nothing():
    assert not len(made(np.empty(0, np.int64), "1m", "1h").times)
    found = sessions(("2024-07-02", "09:30", "16:00"), zone="America/New_York")
    assert not len(made([at("2030-01-01")], "1m", "1d", found).times)
