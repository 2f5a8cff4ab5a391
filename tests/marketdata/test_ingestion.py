"""Storing candles: what is kept, what is put aside, what is left alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from marketdata.ingestion import BATCH, Ingested, ingest
from marketdata.models import Asset, Candle, CandleRevision, QuarantinedCandle, Series
from tests.marketdata.candles import closes, day, row, stored, table

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def acme() -> Asset:
    return Asset.objects.create(symbol="ACME")


def put(asset: Asset, rows: list[dict], timeframe: str = "1d", **options) -> Ingested:
    return ingest(asset, timeframe, table(rows), **{"source": "test", "origin": "a.csv", **options})


def counts(result: Ingested) -> tuple[int, int, int, int, int]:
    return result.received, result.inserted, result.updated, result.unchanged, result.quarantined


def reasons(asset: Asset) -> list[str]:
    return list(QuarantinedCandle.objects.filter(asset=asset).order_by("pk").values_list("reason", flat=True))


def days(first: int, last: int, **numbers) -> list[dict]:
    return [row(day(number), **numbers) for number in range(first, last)]


def test_it_works(acme):
    result = put(acme, [row(day(1), adj_close="10.5", quote_volume="1100"), row(day(2), close="10")])
    assert result == Ingested(received=2, inserted=2, first=day(1), last=day(2))
    number = Decimal
    assert stored(acme) == [
        (day(1), number(10), number(12), number(9), number(11), number("10.5"), number(100), number(1100)),
        (day(2), number(10), number(12), number(9), number(10), None, number(100), None),
    ]
    series = Series.objects.get()
    assert (series.candle_count, series.first_open, series.last_open) == (2, day(1), day(2))
    assert (series.source, series.revision) == ("test", 0)
    assert series.changed_at == Candle.objects.first().known_at


def test_the_same_again_changes_nothing_and_writes_nothing(acme):
    def everything():
        with connection.cursor() as cursor:
            cursor.execute("SELECT open_time, ctid::text, xmin::text FROM marketdata_candle ORDER BY 1")
            rows = cursor.fetchall()
            cursor.execute("SELECT ctid::text, xmin::text FROM marketdata_series")
            series = cursor.fetchall()
            cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
            return rows, series, int(cursor.fetchone()[0])

    rows = days(0, 2000, open="10.1234567891")
    begin = everything()[2]
    put(acme, rows)
    *before, after_first = everything()
    assert counts(put(acme, rows)) == (2000, 0, 0, 2000, 0)
    *after, after_second = everything()
    assert before == after
    assert after_second - after_first < (after_first - begin) / 50


def test_a_correction_replaces_the_candle_and_keeps_what_it_was(acme):
    put(acme, days(0, 3))
    first = Candle.objects.get(open_time=day(1)).known_at
    assert counts(put(acme, [row(day(1), close="11.5")], source="other")) == (1, 0, 1, 0, 0)
    now = Candle.objects.get(open_time=day(1))
    was = CandleRevision.objects.get()
    assert (now.close, now.source) == (Decimal("11.5"), "other")
    assert (was.open_time, was.close, was.source) == (day(1), Decimal(11), "test")
    assert (was.known_at, was.superseded_at) == (first, now.known_at)
    assert now.known_at > first


def test_the_revision_rises_when_the_past_changes_and_not_when_candles_are_appended(acme):
    def revision() -> int:
        return Series.objects.get().revision

    put(acme, days(10, 20))
    put(acme, days(20, 25))
    assert revision() == 0
    put(acme, [row(day(15), close="10")])
    assert revision() == 1
    put(acme, days(5, 7))  # earlier than the first is the past too
    assert revision() == 2
    put(acme, days(5, 25)[:3])
    series = Series.objects.get()
    assert (series.candle_count, series.first_open, series.last_open) == (18, day(5), day(24))


def test_the_source_is_that_of_the_newest_candle(acme):
    put(acme, days(10, 20), source="one")
    put(acme, days(0, 5), source="two")
    assert Series.objects.get().source == "one"
    put(acme, days(20, 21), source="two")
    assert Series.objects.get().source == "two"


def test_what_a_source_does_not_say_stays_while_what_it_belongs_to_does(acme):
    put(acme, [row(day(1), adj_close="5", quote_volume="7"), row(day(2), adj_close="5", quote_volume="7")])
    assert put(acme, [row(day(1))]).unchanged == 1
    put(acme, [row(day(2), close="10", volume="99")])
    assert [(found[5], found[7]) for found in stored(acme)] == [(5, 7), (None, None)]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"high": "1"}, "its high 1 is below its low 9"),
        ({"low": "10.5"}, "its low 10.5 is above its open 10"),
        ({"low": "10", "close": "9.5"}, "its low 10 is above its close 9.5"),
        ({"high": "11", "open": "11.5"}, "its high 11 is below its open 11.5"),
        ({"high": "10.5", "low": "9"}, "its high 10.5 is below its close 11"),
        ({"low": "-1"}, "its low -1 is negative"),
        ({"volume": "-5"}, "its volume -5 is negative"),
        ({"quote_volume": "-5"}, "its quote_volume -5 is negative"),
        ({"adj_close": "-5"}, "its adj_close -5 is negative"),
        ({"open": "abc"}, "its open is 'abc', which is not a number"),
        ({"open": "NaN"}, "its open is 'NaN', which is not a number"),
        ({"high": "Infinity"}, "its high is 'Infinity', which is not a number"),
        ({"volume": "1_000"}, "its volume is '1_000', which is not a number"),
        ({"close": "1,5"}, "its close is '1,5', which is not a number"),
        ({"close": "11\n"}, "its close is '11\\n', which is not a number"),
        ({"close": "1\0"}, "its close is '1\\x00', which is not a number"),
        ({"adj_close": ""}, "its adj_close is '', which is not a number"),
        ({"close": None}, "it has no close"),
        ({"high": "12345678901"}, "its high '12345678901' does not fit: at most 10 digits before the point"),
        ({"high": "9999999999.99999999995"}, "its high '9999999999.99999999995' does not fit"),
        ({"volume": "1e21"}, "its volume '1e21' does not fit: at most 20 digits before the point"),
        ({"volume": "1e999"}, "its volume '1e999' does not fit"),
        ({"volume": "1e-999"}, "its volume '1e-999' does not fit"),
    ],
)
def test_a_candle_that_can_not_be_is_quarantined_and_the_others_are_stored(acme, wrong, reason):
    rows = [row(day(1)), row(day(2), **wrong) | {"row": 3}, row(day(3))]
    result = put(acme, rows)
    assert counts(result) == (3, 2, 0, 0, 1)
    held = QuarantinedCandle.objects.get()
    assert held.reason.startswith(reason)
    assert (held.open_time, held.source, held.origin, held.state) == (day(2), "test", "a.csv row 3", "held")
    given = {name: text for name, text in row(day(2), **wrong).items() if text is not None}
    given = {name: text.replace("\0", "�") for name, text in given.items() if name != "open_time"}
    assert held.raw == given | {"open_time": "2020-01-03T00:00:00Z"}
    assert result.problems == (f"row 3: {held.reason}",)
    assert sorted(closes(acme)) == [day(1), day(3)]


@pytest.mark.parametrize(
    ("timeframe", "at", "reason"),
    [
        ("1d", datetime(2024, 1, 2, 5, tzinfo=UTC), "a 1d candle is named by its date at 00:00Z, and this one opens"),
        (
            "1h",
            datetime(2024, 1, 2, 5, 0, 7, tzinfo=UTC),
            "it opens at 2024-01-02 05:00:07.000000Z, which is not a whole",
        ),
        ("1m", datetime(2200, 1, 1, tzinfo=UTC), "it opens at 2200-01-01 00:00Z, in the future"),
        ("1d", datetime(1599, 1, 1, tzinfo=UTC), "its time lies before 1600"),
        ("1d", None, "it has no time"),
    ],
)
def test_a_time_that_is_none_of_a_candle_is_quarantined(acme, timeframe, at, reason):
    assert put(acme, [row(at)], timeframe).quarantined == 1
    assert reasons(acme)[0].startswith(reason)


def test_hours_may_begin_at_any_minute_because_sessions_do(acme):
    assert put(acme, [row(datetime(2024, 1, 2, 14, 30, tzinfo=UTC))], "1h").inserted == 1


def test_times_beyond_every_calendar_are_refused_too(acme):
    import pyarrow as pa

    candles = table([row(day(1)), row(day(2))])
    at = pa.array([2**62, -(2**62)], pa.int64()).cast(pa.timestamp("us", "UTC"))
    assert ingest(acme, "1m", candles.set_column(0, "open_time", at), source="test").quarantined == 2


def test_a_candle_that_is_not_over_is_history_only_if_its_source_says_so(acme):
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    assert put(acme, [row(today)], final=False).quarantined == 1
    assert reasons(acme) == [f"the 1d candle of {today:%Y-%m-%d} 00:00Z is not over yet"]
    assert put(acme, [row(today)]).inserted == 1
    assert put(acme, [row(today - timedelta(days=1))], final=False).inserted == 1


def test_a_month_is_over_when_the_next_begins(acme):
    this = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last = (this - timedelta(days=1)).replace(day=1)
    assert counts(put(acme, [row(last), row(this)], "1mo", final=False)) == (2, 1, 0, 0, 1)


def test_of_two_candles_for_one_time_the_first_is_kept(acme):
    rows = [row(day(1)) | {"row": 2}, row(day(1), close="10") | {"row": 3}, row(day(1), close="11.0") | {"row": 4}]
    for again in (False, True):
        result = put(acme, rows)
        assert counts(result) == ((3, 0, 0, 2, 1) if again else (3, 1, 0, 1, 1))
        assert closes(acme) == {day(1): 11}
    assert reasons(acme) == ["row 2 has the same time and came first (close 11 there, 10 here)"]


def test_the_first_is_the_first_that_can_be(acme):
    put(acme, [row(day(1), high="1"), row(day(1), close="10"), row(day(1), close="9")])
    assert closes(acme) == {day(1): 10}


def test_twins_are_found_across_batches_and_out_of_order(acme):
    start = datetime(2020, 1, 1, tzinfo=UTC)
    rows = [row(start + timedelta(minutes=minute)) for minute in range(BATCH + 10)]
    twins = [row(start + timedelta(minutes=minute), close="10") for minute in (BATCH - 2, 3)]  # one on the border
    result = put(acme, rows + twins, "1m")
    assert counts(result) == (BATCH + 12, BATCH + 10, 0, 0, 2)
    assert counts(put(acme, rows + twins, "1m")) == (BATCH + 12, 0, 0, BATCH + 10, 2)
    assert QuarantinedCandle.objects.count() == 2
    assert Series.objects.get().revision == 0


def test_the_same_bad_row_is_kept_once(acme):
    for _ in range(2):
        assert put(acme, [row(day(1), high="1"), row(day(1), high="1")]).quarantined == 2
    assert QuarantinedCandle.objects.count() == 1


def test_more_decimals_than_are_kept_are_rounded_before_they_are_compared(acme):
    put(acme, [row(day(1), close="10.12345678905")])
    assert closes(acme) == {day(1): Decimal("10.1234567891")}
    assert put(acme, [row(day(1), close="10.12345678906")]).unchanged == 1


def test_numbers_may_be_written_as_programs_do(acme):
    put(acme, [row(day(1), open="1e1", high="+12", low="9.", close="11.0", volume="5.5E-7")])
    assert [float(number) for number in stored(acme)[0][1:5]] == [10, 12, 9, 11]


def test_nothing_is_nothing(acme):
    assert put(acme, []) == Ingested()
    assert not Series.objects.exists()


def test_a_table_of_another_shape_is_refused(acme):
    with pytest.raises(ValueError, match="candles need a column close"):
        ingest(acme, "1d", table([row(day(1))]).drop_columns(["close"]), source="test")
    with pytest.raises(ValueError, match="2d"):
        put(acme, [row(day(1))], "2d")


def test_inside_a_larger_transaction_it_takes_part_in_it(acme):
    with transaction.atomic():
        put(acme, days(0, 5))
        put(acme, days(3, 8))
        transaction.set_rollback(True)
    assert not Candle.objects.exists()
    put(acme, days(0, 5))
    assert Series.objects.get().candle_count == 5


# --- The guard: is it the same series at all? --------------------------------------------------------------------


def split(first: int, last: int) -> list[dict]:
    return days(first, last, open="20", high="24", low="18", close="22")


def test_another_price_basis_is_kept_apart(acme):
    put(acme, days(0, 30))
    for _ in range(2):
        result = put(acme, [*split(0, 28), *days(28, 30), *split(30, 40)], guard=True)
        assert counts(result) == (40, 0, 0, 2, 38)
    assert set(closes(acme).values()) == {Decimal(11)}
    assert QuarantinedCandle.objects.count() == 38
    assert set(reasons(acme)) == {
        "differs from the stored ACME 1d on 28 of 30 common candles (median factor 2): another source or price basis?"
        " Import it under its own symbol (--symbol ACME-RAW) or replace what is stored (--replace)"
    }
    assert result.problems[0].startswith("2020-01-01 and 37 more: differs")


def test_without_the_guard_it_replaces(acme):
    put(acme, days(0, 30))
    assert counts(put(acme, split(0, 30))) == (30, 0, 30, 0, 0)


def test_a_correction_of_some_and_too_few_to_tell_pass_the_guard(acme):
    put(acme, days(0, 40))
    assert put(acme, [*split(0, 20), *days(20, 40)], guard=True).updated == 20
    assert put(acme, split(30, 40), guard=True).updated == 10


def test_a_table_of_many_batches_is_judged_before_any_of_it_is_stored(acme):
    start = datetime(2020, 1, 1, tzinfo=UTC)
    put(acme, [row(start + timedelta(minutes=minute)) for minute in range(BATCH, BATCH + 500)], "1m")
    split = {"open": "20", "high": "24", "low": "18", "close": "22"}
    other = [row(start + timedelta(minutes=minute), **split) for minute in range(BATCH + 500)]
    assert counts(put(acme, other, "1m", guard=True)) == (BATCH + 500, 0, 0, 0, BATCH + 500)
    assert Series.objects.get().candle_count == 500
