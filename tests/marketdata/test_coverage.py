"""The coverage ledger: what an answer vouches for, and what has still to be asked."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata import coverage
from marketdata.asking import Foreground
from marketdata.fetching import refresh
from marketdata.models import Asset, FetchWindow, Timeframe
from tests.house import owner
from tests.loopback.okx import Okx

pytestmark = pytest.mark.usefixtures("house")
H1, D1, DAY = Timeframe.H1, Timeframe.D1, timedelta(days=1)
START = datetime(2024, 3, 4, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def asset() -> Asset:
    return Asset.objects.get_or_create(symbol="BTC-USDT", asset_class="crypto")[0]


def asked(since: float, until: float, provider: str = "okx", **how) -> FetchWindow:
    window = coverage.begin(asset().pk, how.pop("timeframe", H1), provider, at(since), at(until))
    coverage.answered(window, **({"received": 3} | how))
    return window


def hours(ranges: list[coverage.Range]) -> list[tuple[float, float]]:
    hour = timedelta(hours=1)
    return [((since - START) / hour, (until - START) / hour) for since, until in ranges]


def needed(since: float, until: float, provider: str = "okx") -> list[tuple[float, float]]:
    return hours(coverage.needed(asset(), H1, at(since), at(until), provider))


class TestNeeded:
    def test_it_works(self) -> None:
        asked(2, 4)
        asked(6, 8)
        assert needed(0, 10) == [(0, 2), (4, 6), (8, 10)]
        assert needed(2, 4) == []
        assert needed(3, 7) == [(4, 6)]

    def test_without_a_ledger_all_of_it(self) -> None:
        assert needed(0, 10) == [(0, 10)]
        assert needed(5, 5) == []

    def test_an_asset_that_is_not_stored_has_no_ledger(self) -> None:
        assert coverage.needed(Asset(symbol="NEW"), H1, at(0), at(1), "okx") == [(at(0), at(1))]
        assert coverage.exhausted_at(Asset(symbol="NEW"), H1, "okx") is None

    def test_what_was_not_answered_covers_nothing(self) -> None:
        coverage.begin(asset().pk, H1, "okx", at(0), at(4))
        coverage.failed(coverage.begin(asset().pk, H1, "okx", at(4), at(8)), ValueError("no"))
        asked(8, 12, vouches=False)
        assert needed(0, 12) == [(0, 12)]

    def test_another_timeframe_and_another_asset_cover_nothing(self) -> None:
        asked(0, 4, timeframe=Timeframe.M1)
        other = Asset.objects.create(symbol="ETH-USDT")
        coverage.answered(coverage.begin(other.pk, H1, "okx", at(0), at(4)), received=1)
        assert needed(0, 4) == [(0, 4)]

    def test_what_another_brought_need_not_be_asked(self) -> None:
        asked(0, 4)
        asked(4, 8, "yahoo")
        assert needed(0, 8) == []

    def test_that_one_has_none_says_nothing_of_another(self) -> None:
        asked(0, 4, "yahoo", received=0)
        asked(4, 8, "yahoo")
        assert hours(coverage.needed(asset(), H1, at(0), at(8), "okx")) == [(0, 4)]
        assert coverage.needed(asset(), H1, at(0), at(8), "yahoo") == []

    @settings(max_examples=60, deadline=None)
    @given(
        windows=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12), st.booleans()), max_size=12),
        since=st.integers(0, 40),
        length=st.integers(0, 30),
    )
    def test_it_is_what_a_set_of_hours_says(self, windows, since, length) -> None:
        FetchWindow.objects.all().delete()
        covered: set[int] = set()
        for start, long, vouches in windows:
            asked(start, start + long, vouches=vouches)
            covered |= set(range(start, start + long)) if vouches else set()
        found = {hour for first, last in needed(since, since + length) for hour in range(round(first), round(last))}
        assert found == set(range(since, since + length)) - covered

    def test_it_is_one_statement_by_the_index(self) -> None:
        """However long the ledger, only the series' own lines are read."""
        asset()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO marketdata_fetchwindow (asset_id, timeframe, provider, since, until, settled_until, state,"
                " received, inserted, updated, quarantined, exhausted, error_class, error, asked_at)"
                " SELECT %s, CASE WHEN n %% 500 = 0 THEN '1h' ELSE '1m' END, 'okx', %s + n * interval '1 hour',"
                " %s + (n + 1) * interval '1 hour', %s + (n + 1) * interval '1 hour', 'answered', 1, 1, 0, 0, false,"
                " '', '', now() FROM generate_series(0, 19999) AS n",
                [asset().pk, START, START, START],
            )
            with owner() as house:  # the program's role may not, and would plan by what an earlier test left
                house.execute("ANALYZE marketdata_fetchwindow")
            plain = coverage._NEEDED % {
                "since": "'2024-03-04Z'", "until": "'2027-03-04Z'", "asset": asset().pk, "timeframe": "'1h'",
                "provider": "'okx'", "brought": "'answered'", "own": "'{answered,empty}'",
            }  # fmt: skip
            cursor.execute(f"EXPLAIN {plain}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Seq Scan on marketdata_fetchwindow" not in plan, plan


class TestVouching:
    """Now is 2024-03-04 12:30 UTC for the question."""

    def until(self, window: FetchWindow, newest: datetime | None) -> datetime | None:
        window.asked_at = at(12.5)
        return coverage.settled_until(window, newest)

    def window(self, since: float, until: float, timeframe: Timeframe = H1) -> FetchWindow:
        return FetchWindow(asset=asset(), timeframe=timeframe, provider="okx", since=at(since), until=at(until))

    def test_a_window_of_the_past_wholly(self) -> None:
        assert self.until(self.window(0, 5), at(4)) == at(5)
        assert self.until(self.window(-9, -5), None) == at(-5)

    def test_what_came_and_not_what_may_still_come(self) -> None:
        assert self.until(self.window(0, 20), at(11)) == at(12)
        assert self.until(self.window(-20, 20), at(-9)) == at(-0.5)  # 23:00 was over for half a day
        assert self.until(self.window(-20, 20), None) == at(-0.5)

    def test_nothing_of_what_has_only_begun(self) -> None:
        assert self.until(self.window(12, 20), None) is None

    def test_days_weeks_and_months(self) -> None:
        assert self.until(self.window(-72, 20, D1), at(-24)) == at(0)
        assert self.until(self.window(-240, 20, D1), None) == at(-72)  # the day before was over for three days
        assert self.until(self.window(-240, 20, D1), at(-120)) == at(-72)
        week = self.window(-24 * 21, 20, Timeframe.W1)
        assert self.until(week, at(-24 * 7)) == at(0)
        month = self.window(-24 * 90, 20, Timeframe.MO1)
        assert self.until(month, datetime(2024, 2, 1, tzinfo=UTC)) == datetime(2024, 3, 1, tzinfo=UTC)


class TestTheEnd:
    def test_the_line_says_what_came(self) -> None:
        window = coverage.begin(asset().pk, H1, "okx", at(0), at(4), job_id=7)
        assert FetchWindow.objects.get().state == "asking"
        coverage.answered(window, received=4, inserted=2, updated=1, quarantined=1)
        line = FetchWindow.objects.get()
        assert (line.state, line.received, line.inserted, line.updated, line.quarantined, line.job_id) == (
            "answered", 4, 2, 1, 1, 7,
        )  # fmt: skip
        assert line.seconds is not None
        assert line.answered_at
        assert line.seconds >= 0

    def test_a_failure_is_named(self) -> None:
        coverage.failed(coverage.begin(asset().pk, H1, "okx", at(0), at(4)), TimeoutError("x" * 500))
        line = FetchWindow.objects.get()
        assert (line.state, line.error_class, len(line.error), line.settled_until) == (
            "failed", "TimeoutError", 300, None,
        )  # fmt: skip

    def test_what_was_interrupted_is_said_of_that_series_only(self) -> None:
        coverage.begin(asset().pk, H1, "okx", at(0), at(4))
        coverage.begin(asset().pk, D1, "okx", at(0), at(4))
        assert coverage.close_interrupted(asset().pk, H1) == 1
        assert list(FetchWindow.objects.order_by("pk").values_list("state", "error_class")) == [
            ("failed", "Interrupted"), ("asking", ""),
        ]  # fmt: skip

    def test_the_end_of_history_is_remembered_until_something_older_comes(self) -> None:
        asked(0, 4, received=0)
        coverage.exhaust(asset().pk, H1, "okx", at(0))
        assert coverage.exhausted_at(asset(), H1, "okx") == at(0)
        assert coverage.exhausted_at(asset(), H1, "yahoo") is None
        asked(-10, -6)
        assert coverage.exhausted_at(asset(), H1, "okx") is None

    def test_the_summary_is_one_query(self, django_assert_num_queries) -> None:
        asked(0, 4)
        asked(4, 8, received=5)
        coverage.failed(coverage.begin(asset().pk, D1, "yahoo", at(0), at(4)), ValueError("no"))
        known = asset()
        with django_assert_num_queries(1):
            daily, hourly = coverage.summary(known)
        assert (daily.provider, daily.windows, daily.failures, daily.received) == ("yahoo", 1, 1, 0)
        assert (hourly.provider, hourly.windows, hourly.failures, hourly.received) == ("okx", 2, 0, 8)


class TestGrid:
    def test_every_run_cuts_the_same(self) -> None:
        step = timedelta(hours=100)
        now, later = at(1000.2), at(1003.7)
        first, second = coverage.cut([(at(0), now)], step), coverage.cut([(at(0), later)], step)
        assert [since for since, _ in first] == [since for since, _ in second]
        assert first[-1][1] == now
        assert all((since - coverage._EPOCH) % step == timedelta(0) for since, _ in first[1:])

    @given(
        parts=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=6),
        step=st.integers(1, 50),
    )
    def test_all_that_is_wanted_is_in_one_window_of_at_most_that_size(self, parts, step) -> None:
        wanted = {hour for since, long in parts for hour in range(since, since + long)}
        cells = hours(coverage.cut([(at(since), at(since + long)) for since, long in parts], timedelta(hours=step)))
        inside = [hour for since, until in cells for hour in range(round(since), round(until))]
        assert len(inside) == len(set(inside))
        assert wanted <= set(inside)
        assert all(until - since <= step for since, until in cells)
        assert cells == sorted(cells)


class TestTidy:
    """A series of minutes gets a line a minute: what is old is merged, and vouches for the same."""

    def ledger(self, seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(100):
            since = dice.randrange(100)
            asked(
                since,
                since + dice.randrange(1, 12),
                dice.choice(["okx", "yahoo"]),
                received=dice.choice([0, 3]),
                vouches=dice.random() < 0.9,
            )
        coverage.failed(coverage.begin(asset().pk, H1, "okx", at(0), at(5)), ValueError("no"))
        coverage.exhaust(asset().pk, H1, "okx", FetchWindow.objects.filter(provider="okx").earliest("since").since)
        FetchWindow.objects.update(asked_at=timezone.now() - timedelta(days=31))
        asked(300, 310)
        coverage.begin(asset().pk, H1, "okx", at(500), at(501))

    def told(self) -> tuple:
        span = asset(), H1, at(-5), at(600)
        ours = [coverage.needed(*span, provider) for provider in ("okx", "yahoo", "kraken")]
        return ours, coverage.exhausted_at(*span[:2], "okx")

    @pytest.mark.parametrize("seed", range(5))
    def test_it_vouches_for_the_same(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(coverage, "MANY", 20)
        self.ledger(seed)
        before, lines = self.told(), FetchWindow.objects.count()
        received = sum(FetchWindow.objects.exclude(settled_until=None).values_list("received", flat=True))
        assert coverage.tidy(asset().pk, H1)
        assert self.told() == before
        assert FetchWindow.objects.count() < lines / 2
        assert sum(FetchWindow.objects.values_list("received", flat=True)) == received
        assert not FetchWindow.objects.filter(state="failed").exists()
        assert FetchWindow.objects.filter(state="asking").count() == 1
        assert FetchWindow.objects.filter(since=at(300), until=at(310), asked_at__gte=timezone.now() - DAY).exists()

    def test_few_or_new_lines_stay(self) -> None:
        for n in range(600):
            asked(n, n + 1)
        assert not coverage.tidy(asset().pk, H1)
        FetchWindow.objects.filter(pk__in=FetchWindow.objects.values("pk")[:500]).update(
            asked_at=timezone.now() - timedelta(days=31)
        )
        assert not coverage.tidy(asset().pk, H1)
        assert FetchWindow.objects.count() == 600

    def test_a_refresh_does_it(self, okx: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(coverage, "MANY", 20)
        self.ledger(7)
        refresh(asset(), H1, Foreground())
        assert FetchWindow.objects.filter(asked_at__lte=timezone.now() - timedelta(days=30)).count() < 50
