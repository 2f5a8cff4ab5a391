"""One series from the loopback Yahoo into the database."""

import threading
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from marketdata import asking, fetching, providers
from marketdata.asking import Foreground
from marketdata.chains import set_chain
from marketdata.models import Asset, AssetClass, Candle, ProviderState, Series, Spelling, Timeframe
from tests.house import owner
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
D1 = Timeframe.D1


class Impatient(Foreground):
    """Notes how long it was to wait, and does not."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.slept: list[float] = []
        super().__init__(self.said.append)

    def sleep(self, seconds: float) -> None:
        if seconds > 0.2:  # turns of the bucket are shorter here
            self.slept.append(seconds)


@pytest.fixture(autouse=True)
def _no_jitter_to_zero(yahoo: Yahoo) -> None:
    """Every test here has a Yahoo."""


def asset(symbol: str = "NVDA", asset_class: str = "stock", *, only: str = "", **more) -> Asset:
    if only:
        set_chain(asset_class, [only], "a test")
    return Asset.objects.create(symbol=symbol, asset_class=asset_class, **more)


def refresh(
    what: Asset, timeframe: Timeframe = D1, wait: Foreground | None = None, *, again: bool = False
) -> fetching.Refreshed:
    return fetching.refresh(what, timeframe, wait or Impatient(), again=again)


def series(what: Asset, timeframe: Timeframe = D1) -> Series:
    return Series.objects.get(asset=what, timeframe=timeframe)


def closes(what: Asset) -> dict[date, float]:
    found = Candle.objects.filter(asset=what, timeframe=D1).order_by("open_time")
    return {at.date(): float(close) for at, close in found.values_list("open_time", "close")}


def days_ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


class TestRefresh:
    def test_it_works(self) -> None:
        nvda = asset()
        done = refresh(nvda)
        assert (done.status, done.error) == ("done", "")
        assert done.counts.inserted == done.counts.received == Candle.objects.count() > 1250
        assert done.counts.first.date() < (datetime.now(UTC) - timedelta(days=5 * 365 - 7)).date()
        kept = series(nvda)
        assert (kept.candle_count, kept.source, kept.failure, kept.failed_at) == (
            done.counts.inserted,
            "yahoo",
            "",
            None,
        )
        assert kept.checked_at
        state = ProviderState.objects.get(provider="yahoo")
        assert state.answered_at
        assert state.failing_since is None

    def test_what_was_not_known_of_the_asset_is_filled_in(self) -> None:
        nvda = asset(exchange="Ours")
        refresh(nvda)
        nvda.refresh_from_db()
        assert (nvda.name, nvda.exchange, nvda.currency) == ("NVIDIA Corporation", "Ours", "USD")
        assert nvda.validated_at

    def test_an_asset_class_that_was_guessed_is_put_right_once(self) -> None:
        spy = asset("SPY")
        refresh(spy)
        spy.refresh_from_db()
        assert spy.asset_class == AssetClass.ETF
        Asset.objects.filter(pk=spy.pk).update(asset_class=AssetClass.FUND)
        refresh(Asset.objects.get(pk=spy.pk))
        spy.refresh_from_db()
        assert spy.asset_class == AssetClass.FUND  # an admin's word counts more

    def test_again_asks_for_the_last_three_candles_and_changes_nothing(self, yahoo: Yahoo) -> None:
        nvda = asset()
        refresh(nvda)
        before = series(nvda)
        again = refresh(nvda, again=True)
        assert (again.counts.received, again.counts.unchanged) == (3, 3)
        asked = datetime.fromtimestamp(int(yahoo.charts("NVDA")[-1].params["period1"]), UTC)
        assert asked.date() == sorted(closes(nvda))[-3]
        assert series(nvda).revision == before.revision

    def test_what_came_since_is_added(self, yahoo: Yahoo) -> None:
        nvda, now = asset(), yahoo.now
        yahoo.now = lambda: days_ago(20)
        refresh(nvda)
        stored = len(closes(nvda))
        yahoo.now = now
        done = refresh(nvda)
        assert done.counts.inserted == done.counts.received - 3 >= 12
        assert len(closes(nvda)) == stored + done.counts.inserted
        assert series(nvda).revision == 0

    def test_a_split_brings_the_whole_past_anew(self, yahoo: Yahoo) -> None:
        nvda = asset()
        refresh(nvda)
        before = closes(nvda)
        yahoo.listings["NVDA"].split(max(before), 4, 1)
        done = refresh(nvda, again=True)
        assert done.counts.updated == len(before)
        assert all(close == pytest.approx(before[day] / 4, rel=0.01) for day, close in closes(nvda).items())
        assert series(nvda).revision == 1
        assert refresh(nvda, again=True).counts.received == 3

    def test_a_dividend_too(self, yahoo: Yahoo) -> None:
        nvda = asset()
        refresh(nvda)
        before = closes(nvda)
        yahoo.listings["NVDA"].dividends[max(before)] = 0.05
        done = refresh(nvda, again=True)
        assert done.counts.received == len(before)
        assert done.counts.updated == len(before) - 1
        assert closes(nvda) == before

    def test_providers_spellings_are_used_the_stored_one_first(self, yahoo: Yahoo) -> None:
        refresh(asset("BTC-USDT", "crypto"))
        assert yahoo.charts()[-1].symbol == "BTC-USD"
        odd = asset("BERKSHIRE")
        Spelling.objects.create(asset=odd, provider="yahoo", spelling="BRK-B")
        assert refresh(odd).status == "done"
        assert yahoo.charts()[-1].symbol == "BRK-B"

    def test_minutes_are_walked_in_windows_as_far_as_yahoo_reaches(self, yahoo: Yahoo, settings) -> None:
        settings.BACKFILL_DAYS = {**settings.BACKFILL_DAYS, "minutes": 60}
        bitcoin = asset("BTC-USD", "crypto", only="yahoo")
        done = refresh(bitcoin, Timeframe.M1)
        spans = [
            int(seen.params["period2"]) - int(seen.params["period1"])
            for seen in yahoo.charts("BTC-USD")
            if "period1" in seen.params
        ]
        assert len(spans) == 5
        assert max(spans) <= 7 * 86400
        assert (done.status, done.counts.received) == ("done", done.counts.inserted)
        assert done.counts.inserted == pytest.approx(29 * 1439, abs=3)  # yfinance drops 23:59, see yahoo_client

    def test_a_sample_is_never_asked_for(self, yahoo: Yahoo) -> None:
        done = refresh(asset("AAPL.SAMPLE", is_sample=True))
        assert (done.status, done.skipped) == ("done", True)
        assert not yahoo.requests

    def test_a_timeframe_that_yahoo_lacks(self) -> None:
        done = refresh(asset(), Timeframe.H4)
        assert done.status == "failed"
        assert "no 4h candles" in done.error


class TestOnce:
    def test_what_was_fetched_after_the_work_was_asked_for_is_not_again(self, yahoo: Yahoo) -> None:
        nvda, wait = asset(), Impatient()
        refresh(nvda, wait=wait)
        before = len(yahoo.requests)
        again = refresh(nvda, wait=wait)
        assert (again.status, again.skipped, len(yahoo.requests)) == ("done", True, before)

    def test_nor_is_a_no(self, yahoo: Yahoo) -> None:
        odd, wait = asset("NOSUCH"), Impatient()
        refresh(odd, wait=wait)
        before = len(yahoo.requests)
        again = refresh(odd, wait=wait)
        assert (again.status, len(yahoo.requests)) == ("failed", before)
        assert "NOSUCH" in again.error

    def test_two_at_once_ask_once(self, yahoo: Yahoo) -> None:
        nvda = asset()
        asked, go_on, results = threading.Event(), threading.Event(), {}

        def hold(_: object) -> None:
            asked.set()
            go_on.wait(5)

        def work(wait: Impatient) -> None:
            try:
                results[waits.index(wait)] = fetching.refresh(nvda, D1, wait)
            finally:
                connections.close_all()

        yahoo.on_chart = hold
        waits = [Impatient(), Impatient()]
        threads = [threading.Thread(target=work, args=(wait,)) for wait in waits]
        threads[0].start()
        assert asked.wait(5)
        threads[1].start()
        deadline = time.monotonic() + 5
        while not waits[1].said and time.monotonic() < deadline:
            threads[1].join(0.01)
        go_on.set()
        for thread in threads:
            thread.join()
        assert [results[number].skipped for number in (0, 1)] == [False, True]
        assert waits[1].said == ["NVDA is being fetched by another job; waiting for it."]
        assert Candle.objects.count() == results[0].counts.inserted

    def test_no_transaction_is_open_while_yahoo_is_asked(self, yahoo: Yahoo) -> None:
        states: list[str] = []

        sql = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

        def look(_: object) -> None:
            with owner() as other:
                states.extend(row[0] for row in other.execute(sql))

        yahoo.on_chart = look
        refresh(asset())
        assert states
        assert "idle in transaction" not in states
        assert not connection.in_atomic_block


class TestFailures:
    def test_an_unknown_symbol_stays_unconfirmed_and_blames_nobody_else(self) -> None:
        odd = asset("NOSUCH")
        done = refresh(odd)
        assert done.status == "failed"
        assert "does not know the symbol NOSUCH" in done.error
        odd.refresh_from_db()
        assert odd.validated_at is None
        kept = series(odd)
        assert kept.failed_at
        assert kept.failure == done.error
        assert ProviderState.objects.get().failing_since is None

    def test_a_short_failure_is_asked_again(self, yahoo: Yahoo) -> None:
        wait = Impatient()
        yahoo.fail("NVDA", "503", times=2)
        assert refresh(asset(), wait=wait).status == "done"
        assert len(wait.said) == 2
        assert "Attempt 2 of 4" in wait.said[0]

    def test_a_long_one_is_given_up_and_remembered_since_when(self, yahoo: Yahoo) -> None:
        nvda = asset()
        yahoo.fail("*", "503")
        before = timezone.now()
        done = refresh(nvda)
        assert (done.status, done.unanswered) == ("failed", True)
        assert len(yahoo.charts("NVDA")) == 4
        state = ProviderState.objects.get()
        assert before <= state.failing_since <= timezone.now()
        assert "answered 503" in state.failure
        refresh(nvda)
        assert ProviderState.objects.get().failing_since == state.failing_since  # since when, not when last
        yahoo.mend()
        assert refresh(nvda).status == "done"
        state.refresh_from_db()
        assert (state.failing_since, state.failure) == (None, "")
        assert (series(nvda).failed_at, series(nvda).failure) == (None, "")

    def test_the_banner_does_not_wait_for_the_last_attempt(self, yahoo: Yahoo) -> None:
        seen: list[str] = []

        class Watching(Impatient):
            def sleep(self, seconds: float) -> None:
                seen.extend(ProviderState.objects.exclude(failing_since=None).values_list("failure", flat=True))

        yahoo.fail("NVDA", "503", times=3)
        assert refresh(asset(), wait=Watching()).status == "done"
        assert any("answered 503" in failure for failure in seen)
        assert ProviderState.objects.get().failing_since is None

    def test_a_limit_is_waited_out_as_long_as_told(self, yahoo: Yahoo) -> None:
        wait = Impatient()
        yahoo.fail("NVDA", "429", times=2, retry_after=3)
        assert refresh(asset(), wait=wait).status == "done"
        assert wait.slept.count(3) == 2
        assert "asks to wait 3 s" in wait.said[0]

    def test_a_minute_if_untold_and_two_minutes_in_all(self, yahoo: Yahoo) -> None:
        wait = Impatient()
        yahoo.fail("NVDA", "429")
        done = refresh(asset(), wait=wait)
        assert done.status == "failed"
        assert wait.slept.count(60) == 2
        assert len(yahoo.charts("NVDA")) == 3
        assert "FETCH_INTERVAL_MINUTES" in done.error

    def test_a_long_pause_is_everybodys_and_nobody_sits_it_out(self, yahoo: Yahoo) -> None:
        yahoo.fail("NVDA", "429", retry_after=900)
        wait = Impatient()
        assert refresh(asset(), wait=wait).status == "failed"
        assert not wait.slept
        yahoo.mend()
        before = len(yahoo.requests)
        other = refresh(asset("MSFT"))
        assert (other.status, len(yahoo.requests)) == ("failed", before)
        assert "takes no question about MSFT before" in other.error

    def test_garbage_is_asked_for_once_more(self, yahoo: Yahoo) -> None:
        yahoo.fail("NVDA", "garbage")
        assert refresh(asset()).status == "failed"
        assert len(yahoo.charts("NVDA")) == 2

    def test_what_came_before_a_failure_is_kept_and_the_next_goes_on_from_there(self, yahoo: Yahoo, settings) -> None:
        settings.BACKFILL_DAYS = {**settings.BACKFILL_DAYS, "minutes": 60}
        bitcoin = asset("BTC-USDT", "crypto", only="yahoo")

        def break_later(_: object) -> None:
            if len(yahoo.charts("BTC-USD")) == 3:
                yahoo.fail("BTC-USD", "503")

        yahoo.on_chart = break_later
        refresh(asset("BTC-USD", "crypto"))  # so that yfinance knows the zone
        yahoo.requests.clear()
        done = refresh(bitcoin, Timeframe.M1)
        assert (done.status, done.unanswered) == ("partial", True)
        assert 0 < done.counts.inserted == Candle.objects.filter(asset=bitcoin).count() < 29 * 1440
        assert series(bitcoin, Timeframe.M1).checked_at is None
        yahoo.mend()
        yahoo.requests.clear()
        yahoo.on_chart = lambda seen: None
        rest = refresh(bitcoin, Timeframe.M1)
        assert rest.status == "done"
        assert rest.counts.unchanged == 3
        assert Candle.objects.filter(asset=bitcoin).count() == done.counts.inserted + rest.counts.inserted

    def test_a_silent_provider_is_not_asked_for_all_the_others(self, yahoo: Yahoo) -> None:
        yahoo.fail("*", "reset")
        wait = Impatient()
        found = [refresh(asset(symbol), wait=wait) for symbol in ("NVDA", "MSFT", "GOOGL", "TSLA")]
        assert [len(yahoo.charts(one.asset.symbol)) for one in found] == [4, 4, 4, 0]
        assert "so TSLA was not asked for" in found[-1].error
        assert all(one.unanswered for one in found)
        yahoo.mend()
        ProviderState.objects.update(closed_until=timezone.now())  # the minute is over
        assert refresh(found[-1].asset).status == "done"

    def test_a_day_that_is_impossible_is_quarantined_and_the_rest_kept(self, yahoo: Yahoo) -> None:
        listing = yahoo.listings["NVDA"]
        whole, bad = listing.daily, date(2025, 9, 9)

        def upside_down(day: date):
            bar = whole(day)
            return type(bar)(bar.at, bar.open, bar.low, bar.high, bar.close, bar.volume) if day == bad else bar

        listing.daily = upside_down
        done = refresh(asset())
        assert (done.status, done.counts.quarantined) == ("partial", 1)
        assert "quarantined" in done.error
        assert bad not in closes(done.asset)


class TestRange:
    def fetch(self, what: Asset, since: datetime | None, until: datetime, timeframe: Timeframe = D1, **more):
        return fetching.fetch(what, timeframe, since, until, wait=Impatient(), **more)

    def test_first_in_last_out(self) -> None:
        done = self.fetch(asset(), datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC))
        assert sorted(closes(done.asset)) == [date(2024, 1, day) for day in (2, 3, 4, 5, 8)]

    def test_an_asset_comes_to_be_once_it_is_confirmed(self) -> None:
        since, until = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC)
        refused = self.fetch(Asset(symbol="NOSUCH"), since, until)
        assert (refused.status, Asset.objects.count(), Series.objects.count()) == ("failed", 0, 0)
        self.fetch(Asset(symbol="JPM"), since, until)
        stored = Asset.objects.get()
        assert (stored.symbol, stored.name, stored.exchange) == ("JPM", "JPMorgan Chase & Co.", "NYSE")
        assert Candle.objects.filter(asset=stored).count() == 5

    def test_nothing_in_the_range_is_said(self) -> None:
        done = self.fetch(asset("RIVN"), datetime(2018, 1, 2, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC))
        assert done.status == "failed"
        assert "RIVN" in done.error

    def test_before_what_yahoo_keeps_it_begins_later_and_says_so(self) -> None:
        done = self.fetch(asset("BTC-USDT", "crypto", only="yahoo"), days_ago(60), timezone.now(), Timeframe.M5)
        assert done.status == "partial"
        assert "keeps 5m candles for 59 days" in done.error
        assert done.counts.inserted > 16_000

    def test_a_limit_keeps_the_newest(self) -> None:
        done = self.fetch(asset(), datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC), limit=2)
        assert sorted(closes(done.asset)) == [date(2024, 1, 5), date(2024, 1, 8)]

    def test_looking_stores_nothing(self) -> None:
        found = fetching.look(
            Asset(symbol="JPM"),
            D1,
            datetime(2024, 1, 2, tzinfo=UTC),
            datetime(2024, 1, 9, tzinfo=UTC),
            wait=Impatient(),
        )
        assert found.num_rows == 5
        assert (Asset.objects.count(), Series.objects.count(), Candle.objects.count()) == (0, 0, 0)


def test_a_run_and_a_command_wait_in_the_same_way() -> None:
    """What fetching asks of its `wait`, both have."""
    from chronos.core.jobs import Run

    for name in ("since", "wait_for", "sleep", "say"):
        assert hasattr(Run, name)
        assert hasattr(Foreground(), name)


def test_jitter_is_full_and_grows() -> None:
    """Anything from nothing to 1, 2, 4 … seconds, at most a minute."""
    from tenacity import Future, RetryCallState, Retrying

    state = RetryCallState(Retrying(), None, (), {})
    for attempt, most in ((1, 1), (2, 2), (3, 4), (10, 60)):
        state.attempt_number = attempt
        state.outcome = Future.construct(attempt, providers.base.Unavailable("x"), has_exception=True)
        waits = [asking._pause(state) for _ in range(200)]
        assert 0 <= min(waits) < 0.2 * most
        assert 0.8 * most < max(waits) <= most
