"""Sessions and the candles that follow from them. The dates are facts that anybody can look up."""

import sys
import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata import calendars, markets
from marketdata.calendars import Book, UnknownCalendar
from marketdata.models import Asset, Timeframe, TradingCalendar, TradingSession
from tests.sessions import known

pytestmark = pytest.mark.usefixtures("house")
NEW_YORK = "XNYS"


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def opens(code: str, timeframe: str, since: datetime, until: datetime, **options) -> list[str]:
    found = calendars.expected(code, Timeframe(timeframe), since, until, **options)
    form = "%Y-%m-%d" if Timeframe(timeframe).is_daily else "%d %H:%M"
    return [moment.strftime(form) for moment in found.tolist()]


# --- Sessions against what is known --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "closed"),
    [
        (NEW_YORK, "2001-09-11 2001-09-12 2001-09-13 2001-09-14"),  # the attacks
        (NEW_YORK, "2012-10-29 2012-10-30"),  # hurricane Sandy
        (NEW_YORK, "2007-01-02 2018-12-05 2025-01-09"),  # mourning: Ford, Bush, Carter
        (NEW_YORK, "2024-03-29 2024-06-19 2024-07-04 2024-11-28 2024-12-25"),
        ("XLON", "2011-04-29 2022-06-03 2022-09-19 2023-05-08 2024-12-26"),  # weddings, jubilee, funeral, coronation
        ("XTKS", "2019-04-30 2019-05-01 2020-07-23 2024-01-03"),  # abdication, Olympics
        ("XHKG", "2024-02-12 2024-02-13 2024-12-25 2023-07-17"),
    ],
)
def test_days_without_a_session(code, closed):
    known(code)
    days = [date.fromisoformat(day) for day in closed.split()]
    assert not TradingSession.objects.filter(calendar=code, date__in=days).exists()
    around = TradingSession.objects.filter(calendar=code, date__range=(days[0] - timedelta(days=7), days[0]))
    assert around.count() >= 2


@pytest.mark.parametrize(
    ("code", "day", "opened", "closed"),
    [
        (NEW_YORK, "2024-03-08", "14:30", "21:00"),
        (NEW_YORK, "2024-03-11", "13:30", "20:00"),  # after summer time began
        (NEW_YORK, "2023-11-24", "14:30", "18:00"),  # after Thanksgiving
        (NEW_YORK, "2024-12-24", "14:30", "18:00"),
        ("XLON", "2024-12-24", "08:00", "12:30"),
        ("XHKG", "2024-02-09", "01:30", "04:00"),  # the Lunar New Year's eve
        ("XTKS", "2024-11-01", "00:00", "06:00"),
        ("XTKS", "2024-11-05", "00:00", "06:30"),  # Tokyo's longer day
    ],
)
def test_hours_of_a_session(code, day, opened, closed):
    known(code)
    found = TradingSession.objects.get(calendar=code, date=day)
    assert (f"{found.opens_at:%H:%M}", f"{found.closes_at:%H:%M}") == (opened, closed)


def test_breaks_are_kept():
    known("XTKS")
    found = TradingSession.objects.get(calendar="XTKS", date="2024-03-08")
    assert (f"{found.break_from:%H:%M}", f"{found.break_until:%H:%M}") == ("02:30", "03:30")


# --- Loading -------------------------------------------------------------------------------------------------------


def test_loading_again_changes_nothing_and_reaches_a_year_ahead():
    calendars.load(NEW_YORK)
    row, count = TradingCalendar.objects.get(), TradingSession.objects.count()
    assert (row.code, row.zone, row.covers_from) == (NEW_YORK, "America/New_York", date(1970, 1, 1))
    assert row.covers_until > datetime.now(UTC).date() + timedelta(days=300)
    calendars.load("NASDAQ")  # the same market
    assert TradingCalendar.objects.get().loaded_at == row.loaded_at
    assert TradingSession.objects.count() == count


@pytest.mark.parametrize(
    "stale",
    [{"version": "4.0"}, {"covers_until": date(2024, 1, 1), "loaded_at": at(2023, 1, 1)}],
    ids=["another version", "about to end"],
)
def test_what_is_out_of_date_is_loaded_again(stale):
    calendars.load("XHKG")
    TradingSession.objects.filter(date__year=2020).delete()
    TradingCalendar.objects.update(**stale)
    calendars.load("XHKG")
    assert TradingSession.objects.filter(date__year=2020).count() > 240
    assert TradingCalendar.objects.get().version != "4.0"


def test_an_older_series_has_older_sessions_loaded():
    calendars.load(NEW_YORK)
    calendars.load(NEW_YORK, date(1962, 1, 2))
    assert opens(NEW_YORK, "1d", at(1963, 11, 21), at(1963, 11, 28)) == ["1963-11-21", "1963-11-22", "1963-11-26",
                                                                         "1963-11-27"]  # fmt: skip


def test_a_calendar_that_begins_late_is_not_loaded_for_ever():
    calendars.load("XTKS")
    before = TradingCalendar.objects.get().loaded_at
    calendars.load("XTKS", date(1980, 1, 1))
    assert (TradingCalendar.objects.get().loaded_at, TradingCalendar.objects.get().covers_from.year) == (before, 1997)
    assert opens("XTKS", "1d", at(1980, 1, 1), at(1990, 1, 1)) == []


def test_several_at_once_store_it_once():
    errors: list[Exception] = []

    def work() -> None:
        try:
            calendars.load("XHKG")
        except Exception as error:  # noqa: BLE001 — whatever it is, the test shows it
            errors.append(error)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert TradingCalendar.objects.count() == 1
    assert TradingSession.objects.filter(date="2024-03-08").count() == 1


def test_a_name_that_is_none():
    with pytest.raises(UnknownCalendar, match="'XXXX' is no calendar"):
        calendars.load("XXXX")
    with pytest.raises(ValidationError, match="no calendar"):
        calendars.check_code("nonsense")
    for good in ("", "XNYS", "xnys", "NASDAQ", "24/7", "24/5", "us_futures", "CMES"):
        calendars.check_code(good)
    with pytest.raises(UnknownCalendar, match="are not stored"):
        opens("XPAR", "1d", at(2024, 1, 1), at(2024, 2, 1))


def test_the_names_are_the_packages_own():
    known = markets.codes()
    import exchange_calendars

    assert known == set(exchange_calendars.get_calendar_names(include_aliases=False))
    mapped = set(markets._BY_NAME.values()) | set(markets._BY_SUFFIX.values()) | set(markets._INDICES.values())
    assert mapped <= known


# --- Whose calendar ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbol": "NVDA"}, "XNYS"),
        ({"symbol": "NVDA", "exchange": "NasdaqGS", "currency": "USD"}, "XNYS"),
        ({"symbol": "SPY", "asset_class": "etf", "exchange": "NYSEArca"}, "XNYS"),
        ({"symbol": "BRK.B"}, "XNYS"),
        ({"symbol": "AAPL.SAMPLE", "is_sample": True}, "XNYS"),
        ({"symbol": "NVDA", "calendar": "XETR"}, "XETR"),
        ({"symbol": "NVDA", "calendar": "nasdaq"}, "XNYS"),
        ({"symbol": "VOD.L"}, "XLON"),
        ({"symbol": "SAP.DE", "exchange": "XETRA"}, "XETR"),
        ({"symbol": "7203.T"}, "XTKS"),
        ({"symbol": "0700.HK"}, "XHKG"),
        ({"symbol": "SHOP.TO"}, "XTSE"),
        ({"symbol": "RELIANCE.NS", "exchange": "NSE"}, "XBOM"),
        ({"symbol": "^GSPC", "asset_class": "index"}, "XNYS"),
        ({"symbol": "^N225", "asset_class": "index"}, "XTKS"),
        ({"symbol": "^ODD", "asset_class": "index"}, ""),
        ({"symbol": "BTC-USDT", "asset_class": "crypto"}, "24/7"),
        ({"symbol": "EUR-USD", "asset_class": "fx"}, "24/5"),
        ({"symbol": "XAU-USD", "asset_class": "commodity"}, "24/5"),
        ({"symbol": "GC=F", "asset_class": "commodity", "exchange": "COMEX"}, "CMES"),
        ({"symbol": "CL=F", "asset_class": "commodity"}, "CMES"),
        ({"symbol": "SAP", "exchange": "Moon Exchange"}, ""),
        ({"symbol": "SAP", "currency": "EUR"}, ""),
        ({"symbol": "SAP.XX"}, ""),
    ],
)
def test_whose_calendar(fields, code):
    assert calendars.calendar_of(Asset(**fields)) == code


# --- Expected candles ----------------------------------------------------------------------------------------------


def test_the_hours_of_a_half_day_and_a_whole_one():
    known(NEW_YORK)
    assert opens(NEW_YORK, "1h", at(2023, 11, 23), at(2023, 11, 25)) == ["24 14:30", "24 15:30", "24 16:30", "24 17:30"]
    whole = ["27 14:30", "27 15:30", "27 16:30", "27 17:30", "27 18:30", "27 19:30", "27 20:30"]
    assert opens(NEW_YORK, "1h", at(2023, 11, 25), at(2023, 11, 28)) == whole
    assert opens(NEW_YORK, "4h", at(2023, 11, 25), at(2023, 11, 28)) == ["27 14:30", "27 18:30"]
    assert len(opens(NEW_YORK, "1m", at(2023, 11, 24), at(2023, 11, 28))) == 210 + 390


def test_the_hours_by_the_clock():
    known(NEW_YORK)
    day = (at(2023, 11, 24), at(2023, 11, 25))
    assert opens(NEW_YORK, "1h", *day, grid="utc") == ["24 14:00", "24 15:00", "24 16:00", "24 17:00"]
    assert opens(NEW_YORK, "4h", *day, grid="utc") == ["24 12:00", "24 16:00"]
    assert opens(NEW_YORK, "4h", *day, grid="local") == ["24 13:00", "24 17:00"]  # 08:00 and 12:00 in New York


def test_a_break_is_left_out():
    known("XTKS")
    hours = ["08 00:00", "08 01:00", "08 02:00", "08 03:30", "08 04:30", "08 05:30"]
    assert opens("XTKS", "1h", at(2024, 3, 8), at(2024, 3, 9)) == hours
    assert len(opens("XTKS", "1m", at(2024, 3, 8), at(2024, 3, 9))) == 300


def test_weeks_and_months_with_a_session():
    known(NEW_YORK)
    known("XSHG")
    assert opens(NEW_YORK, "1w", at(2001, 9, 3), at(2001, 9, 24)) == ["2001-09-03", "2001-09-10", "2001-09-17"]
    assert opens("XSHG", "1w", at(2023, 9, 25), at(2023, 10, 16)) == ["2023-09-25", "2023-10-09"]  # the golden week
    assert opens(NEW_YORK, "1mo", at(2024, 1, 1), at(2024, 3, 2)) == ["2024-01-01", "2024-02-01", "2024-03-01"]


def test_round_the_clock():
    assert len(opens("24/7", "1m", at(2024, 2, 28), at(2024, 3, 2))) == 3 * 1440
    assert opens("24/7", "4h", at(2024, 2, 29, 1), at(2024, 3, 1)) == [
        f"29 {hour:02}:00" for hour in (4, 8, 12, 16, 20)
    ]
    assert opens("24/7", "1w", at(2024, 2, 27), at(2024, 3, 5)) == ["2024-03-04"]


def test_the_week_of_currencies():
    winter = opens("24/5", "1h", at(2024, 1, 5, 20), at(2024, 1, 7, 23))
    assert winter == ["05 20:00", "05 21:00", "07 22:00"]
    summer = opens("24/5", "1h", at(2024, 7, 5, 19), at(2024, 7, 7, 23))
    assert summer == ["05 19:00", "05 20:00", "07 21:00", "07 22:00"]
    turn = opens("24/5", "1h", at(2024, 3, 8, 20), at(2024, 3, 10, 23))  # New York changed its clocks that Sunday
    assert turn == ["08 20:00", "08 21:00", "10 21:00", "10 22:00"]
    christmas = opens("24/5", "1d", at(2024, 12, 23), at(2025, 1, 4))
    assert christmas == ["2024-12-23", "2024-12-24", "2024-12-26", "2024-12-27", "2024-12-30", "2024-12-31",
                         "2025-01-02", "2025-01-03"]  # fmt: skip


# --- One after another ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "timeframe", "opened", "complete"),
    [
        (NEW_YORK, "1d", at(2023, 11, 24), at(2023, 11, 24, 18)),
        (NEW_YORK, "1h", at(2023, 11, 27, 20, 30), at(2023, 11, 27, 21)),
        (NEW_YORK, "1h", at(2023, 11, 27, 14), at(2023, 11, 27, 15)),  # by the clock
        (NEW_YORK, "1m", at(2023, 11, 27, 23), at(2023, 11, 27, 23, 1)),  # after hours
        (NEW_YORK, "1w", at(2024, 3, 25), at(2024, 3, 28, 20)),  # Good Friday
        (NEW_YORK, "1mo", at(2024, 3, 1), at(2024, 3, 28, 20)),
        ("XTKS", "1h", at(2024, 3, 8, 2), at(2024, 3, 8, 2, 30)),
        ("24/7", "1d", at(2024, 3, 8), at(2024, 3, 9)),
        ("24/5", "1d", at(2024, 3, 8), at(2024, 3, 9)),
        ("", "1h", at(2024, 3, 8), at(2024, 3, 8, 1)),
    ],
)
def test_when_a_candle_is_complete(code, timeframe, opened, complete):
    if code and code[0] == "X":
        known(code)
    assert calendars.complete_at(code, Timeframe(timeframe), opened) == complete


@pytest.mark.parametrize(
    ("timeframe", "last", "now", "due"),
    [
        ("1d", at(2024, 3, 7), at(2024, 3, 8, 12), at(2024, 3, 8, 21, 15)),
        ("1d", at(2024, 3, 8), at(2024, 3, 8, 22), at(2024, 3, 11, 20, 15)),  # over the weekend, to summer time
        ("1d", at(2024, 3, 7), at(2024, 3, 8, 21, 20), at(2024, 3, 8, 21, 35)),  # late: again in a quarter of an hour
        ("1d", at(2024, 3, 7), at(2024, 3, 8, 23, 15), at(2024, 3, 9, 1, 15)),  # later: longer
        ("1d", at(2024, 3, 7), at(2024, 3, 10, 12), at(2024, 3, 11, 20, 15)),  # for days: when there is another
        ("1h", at(2024, 3, 8, 20, 30), at(2024, 3, 9), at(2024, 3, 11, 14, 45)),
        ("1m", at(2024, 3, 8, 15), at(2024, 3, 8, 15, 1), at(2024, 3, 8, 15, 17)),
        ("1m", at(2024, 3, 8, 15), at(2024, 3, 8, 16), at(2024, 3, 8, 16, 1)),
        ("1w", at(2024, 3, 4), at(2024, 3, 11), at(2024, 3, 15, 20, 15)),
        ("1w", at(2024, 2, 26), at(2024, 3, 8, 21, 20), at(2024, 3, 11, 6)),  # forming to sources until Monday
        ("1w", at(2024, 2, 26), at(2024, 3, 11, 6, 5), at(2024, 3, 11, 6, 20)),
        ("1mo", at(2024, 2, 1), at(2024, 3, 28, 20, 20), at(2024, 4, 1, 6)),  # the last session is before Good Friday
        ("1mo", at(2024, 2, 1), at(2024, 4, 3), at(2024, 4, 30, 20, 15)),
    ],
)
def test_when_a_series_is_due(timeframe, last, now, due):
    known(NEW_YORK)
    assert calendars.next_due(NEW_YORK, Timeframe(timeframe), last, now) == due


def test_a_week_around_the_clock_is_over_with_its_last_day():
    monday = at(2024, 3, 11)
    due = calendars.next_due("24/7", Timeframe.W1, at(2024, 2, 26), monday + timedelta(minutes=1))
    assert due == monday + timedelta(minutes=16)


CODES = (NEW_YORK, "XTKS", "24/7", "24/5")


def test_the_verbs_agree():
    """For any moment: the newest complete candle, the next one, and how many are behind, against the whole list."""
    for code in CODES:
        known(code)
    book = Book()

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(CODES),
        st.sampled_from(list(Timeframe)),
        st.datetimes(datetime(2023, 1, 1), datetime(2025, 12, 1), timezones=st.just(UTC)),
        st.integers(1, 12),
    )
    def holds(code: str, timeframe: Timeframe, now: datetime, back: int) -> None:
        around = timeframe.length * 15 + timedelta(days=12)
        every = [at.replace(tzinfo=UTC) for at in
                 calendars.expected(code, timeframe, now - around, now + around, book=book).tolist()]  # fmt: skip
        ends = [calendars.complete_at(code, timeframe, one, book=book) for one in every]
        assert ends == sorted(ends)
        over = sum(end <= now for end in ends)
        assert calendars.last_complete(code, timeframe, now, book=book) == every[over - 1]
        back = min(back, over - 1)
        last = every[over - 1 - back]
        assert calendars.behind(code, timeframe, last, now, book=book) == back
        assert calendars.next_complete(code, timeframe, last, book=book) == ends[over - back]
        due = calendars.next_due(code, timeframe, every[over - 1], now, book=book)
        assert due == max(due, ends[over])
        assert calendars.next_due(code, timeframe, last, now, book=book) > now

    holds()


def test_the_web_process_needs_no_pandas():
    """What pages use must not import it: in a process of its own, for this one has it already."""
    import subprocess

    code = (
        "import django; django.setup()\n"
        "import sys, datetime as d\n"
        "from marketdata import calendars, freshness, quotes, models\n"
        "now = d.datetime(2026, 3, 9, tzinfo=d.UTC)\n"
        "calendars.next_due('24/5', '1h', now, now); calendars.check_code('XNYS')\n"
        "print([name for name in ('pandas', 'numpy', 'exchange_calendars') if name in sys.modules])"
    )
    from django.conf import settings as ours

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ours.BASE_DIR, check=False,
                          timeout=60)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr
