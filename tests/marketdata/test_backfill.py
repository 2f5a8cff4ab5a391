"""Backfill from the loopback OKX and Yahoo: windows backwards, each once, as far as there is history."""

import json
import threading
import time
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job, JobLine
from marketdata import asking, backfill, coverage
from marketdata.asking import Foreground
from marketdata.chains import set_chain
from marketdata.fetching import refresh
from marketdata.jobs import backfill_asset, fill_gaps
from marketdata.models import Asset, Candle, FetchWindow, ProviderState, Series, Timeframe
from tests import cast
from tests.house import owner
from tests.loopback.okx import Okx
from tests.loopback.yahoo import Yahoo
from universes.jobs import backfill as backfill_universe
from universes.models import Membership, Universe, Visibility

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
H1, D1 = Timeframe.H1, Timeframe.D1
NOW = datetime(2026, 11, 1, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch, okx: Okx) -> None:
    monkeypatch.setattr(asking, "_pause", lambda state: 0.01)
    set_chain("crypto", ["okx"], "a test")


class Quiet(Foreground):
    def __init__(self) -> None:
        self.said: list[str] = []
        super().__init__(self.said.append)


def coin(symbol: str = "BTC-USDT") -> Asset:
    return Asset.objects.create(symbol=symbol, asset_class="crypto")


def run(*assets: Asset, days: float = 50, until: datetime = NOW, timeframe: Timeframe = H1, **more):
    return backfill.backfill(assets, timeframe, until - timedelta(days=days), Quiet(), until=until, **more)


def stored(asset: Asset, timeframe: Timeframe = H1) -> list[tuple]:
    found = Candle.objects.filter(asset=asset, timeframe=timeframe).order_by("open_time")
    return list(found.values_list("open_time", "open", "high", "low", "close", "volume"))


def truth(okx: Okx, symbol: str, since: datetime, until: datetime, bar: str = "1H") -> list[tuple]:
    from decimal import Decimal

    return [
        (datetime.fromtimestamp(int(row[0]) / 1000, UTC), *map(Decimal, row[1:6]))
        for row in okx.truth(symbol, bar, since, until)
    ]


def windows(asset: Asset, **such) -> list[FetchWindow]:
    return list(FetchWindow.objects.filter(asset=asset, **such).order_by("pk"))


class TestWalk:
    def test_it_works(self, okx: Okx) -> None:
        bitcoin = coin()
        (done,) = run(bitcoin)
        assert (done.status, done.error) == ("done", "")
        assert stored(bitcoin) == truth(okx, "BTC-USDT", NOW - timedelta(days=50), NOW)
        assert done.counts.inserted == done.counts.received == 50 * 24
        assert (done.counts.first, done.counts.last) == (stored(bitcoin)[0][0], stored(bitcoin)[-1][0])
        lines = windows(bitcoin)
        assert done.windows == len(lines) == len(okx.candles())
        assert {line.state for line in lines} == {"answered"}
        assert sum(line.inserted for line in lines) == 50 * 24

    def test_newest_first_in_the_providers_windows_and_each_once(self, okx: Okx) -> None:
        run(coin())
        spans = [(int(seen.params["before"]), int(seen.params["after"])) for seen in okx.candles()]
        assert spans == sorted(spans, reverse=True)
        assert len(spans) == len(set(spans))
        assert max(after - before for before, after in spans) <= 100 * 3_600_000 + 2

    def test_again_costs_no_request(self, okx: Okx) -> None:
        bitcoin = coin()
        run(bitcoin)
        before = len(okx.candles())
        (again,) = run(bitcoin)
        assert (again.status, again.windows, again.requests, len(okx.candles())) == ("done", 0, 0, before)
        assert again.saved == len(windows(bitcoin))

    def test_unless_it_is_said(self, okx: Okx) -> None:
        bitcoin = coin()
        run(bitcoin, days=10)
        before = len(okx.candles())
        (again,) = run(bitcoin, days=10, again=True)
        assert len(okx.candles()) == 2 * before
        assert again.counts.unchanged == 240

    def test_further_back_asks_only_for_what_is_older(self, okx: Okx) -> None:
        bitcoin = coin()
        run(bitcoin, days=20)
        before = len(okx.candles())
        (more,) = run(bitcoin, days=40)
        assert more.counts.inserted == 20 * 24
        assert len(okx.candles()) - before <= 6
        assert stored(bitcoin) == truth(okx, "BTC-USDT", NOW - timedelta(days=40), NOW)

    def test_until_now_the_newest_are_asked_for_again_later(self, okx: Okx) -> None:
        bitcoin = coin()
        okx.now = lambda: datetime.now(UTC) - timedelta(hours=5)
        (first,) = run(bitcoin, days=30, until=timezone.now())
        okx.now = lambda: datetime.now(UTC)
        (more,) = run(bitcoin, days=30, until=timezone.now())
        assert more.counts.inserted == 5
        # The windows lie on a fixed grid: one of its lines may fall into the five hours.
        assert more.windows <= 2 < first.windows

    def test_the_usual_depth(self, okx: Okx, settings) -> None:
        settings.BACKFILL_DAYS = {"days": 300, "hours": 12, "minutes": 1}
        bitcoin = coin()
        for timeframe, many in ((D1, 300), (H1, 12 * 24), (Timeframe.M15, 96)):
            (done,) = backfill.backfill([bitcoin], timeframe, None, Quiet())
            assert done.status == "done"
            assert done.counts.inserted == pytest.approx(many, abs=24)


class TestTheEndOfHistory:
    def test_as_the_provider_says(self, okx: Okx) -> None:
        """SOL is there since 2020-09-29: windows before that are not asked for."""
        sol, until = coin("SOL-USDT"), datetime(2020, 11, 1, tzinfo=UTC)
        (done,) = run(sol, days=365, until=until)
        assert (done.status, done.error) == ("done", "")
        assert stored(sol)[0][0] == datetime(2020, 9, 29, tzinfo=UTC)
        asked = len(okx.candles())
        assert asked < 15
        run(sol, days=700, until=until)
        assert len(okx.candles()) == asked  # remembered

    def test_or_when_nothing_comes_for_long_enough(self, okx: Okx) -> None:
        sol, until = coin("SOL-USDT"), datetime(2020, 11, 1, tzinfo=UTC)
        okx.coins["SOL-USDT"].list_time = datetime(2010, 1, 1, tzinfo=UTC)  # it does not know
        (done,) = run(sol, days=365, until=until)
        assert (done.status, done.error) == ("done", "")
        empty = windows(sol, state="empty")
        assert 2 <= len(empty) <= 4
        assert [line.exhausted for line in empty][-1]
        asked = len(okx.candles())
        run(sol, days=700, until=until)
        assert len(okx.candles()) == asked

    def test_a_market_that_stopped_weeks_ago_still_has_its_history(self, okx: Okx) -> None:
        """Delisted, or halted: the newest windows are empty, and nothing has come yet that they could be older than."""
        bitcoin, stopped = coin(), NOW.replace(minute=0) - timedelta(days=30)
        okx.now = lambda: stopped
        (done,) = run(bitcoin, days=60)
        assert (done.status, done.error) == ("done", "")
        assert stored(bitcoin) == truth(okx, "BTC-USDT", NOW - timedelta(days=60), stopped)

    def test_a_quiet_hour_or_two_is_not_the_end(self, okx: Okx) -> None:
        """Two empty windows of 100 minutes are an exchange's maintenance."""
        bitcoin, until = coin(), datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
        calm = (until - timedelta(hours=6), until - timedelta(hours=1))

        def hide(seen) -> None:
            inside = (
                int(seen.params.get("after", 0)) / 1000 > calm[0].timestamp()
                and int(seen.params.get("before", 0)) / 1000 < calm[1].timestamp()
            )
            okx.fail("BTC-USDT", "nothing") if inside else okx.mend()

        okx.on_candles = hide
        run(bitcoin, days=1, until=until, timeframe=Timeframe.M1)
        assert stored(bitcoin, Timeframe.M1)[0][0] == until - timedelta(days=1)
        assert not any(line.exhausted for line in windows(bitcoin))


class TestOutage:
    def test_a_window_that_failed_is_asked_for_again_at_the_end(self, okx: Okx) -> None:
        bitcoin = coin()

        def break_one(seen) -> None:
            okx.fail("BTC-USDT", "503", times=4) if len(okx.candles()) == 3 else None

        okx.on_candles = break_one
        (done,) = run(bitcoin)
        assert (done.status, done.error) == ("done", "")
        assert stored(bitcoin) == truth(okx, "BTC-USDT", NOW - timedelta(days=50), NOW)
        assert [line.error_class for line in windows(bitcoin, state="failed")] == ["Unavailable"]

    def test_a_long_one_ends_partial_and_the_next_completes_it(self, okx: Okx) -> None:
        bitcoin = coin()
        okx.on_candles = lambda seen: okx.fail("BTC-USDT", "503") if len(okx.candles()) == 5 else None
        (done,) = run(bitcoin)
        assert (done.status, done.unanswered) == ("partial", True)
        assert "OKX" in done.error
        kept = len(stored(bitcoin))
        assert 0 < kept < 1200
        assert len(okx.candles()) < 20  # it gave up after three windows
        okx.mend()
        okx.on_candles = lambda seen: None
        ProviderState.objects.update(closed_until=None, failures=0)
        (rest,) = run(bitcoin)
        assert (rest.status, rest.counts.inserted) == ("done", 1200 - kept)
        assert stored(bitcoin) == truth(okx, "BTC-USDT", NOW - timedelta(days=50), NOW)
        answered = [line.since for line in windows(bitcoin, state="answered")]
        assert len(answered) == len(set(answered))

    def test_the_next_provider_fills_in_and_says_so(self, okx: Okx, yahoo: Yahoo) -> None:
        set_chain("crypto", ["okx", "yahoo"], "a test")
        bitcoin = coin()
        run(bitcoin, days=10)
        okx.fail("*", "503")
        wait = Quiet()
        (done,) = backfill.backfill([bitcoin], H1, NOW - timedelta(days=20), wait, until=NOW)
        assert (done.status, done.error) == ("done", "")
        sources = dict.fromkeys(
            Candle.objects.filter(asset=bitcoin).order_by("open_time").values_list("source", flat=True)
        )
        assert list(sources) == ["yahoo", "okx"]
        assert Candle.objects.filter(asset=bitcoin).count() == 480
        assert any("Yahoo Finance is asked for BTC-USDT instead" in text for text in wait.said)
        okx.mend()
        asked = len(okx.candles())
        assert run(bitcoin, days=20)[0].windows == 0  # what the other gave is not thrown away
        assert len(okx.candles()) == asked

    def test_a_fallback_that_prices_something_else_is_not_mixed_in(self, okx: Okx, yahoo: Yahoo) -> None:
        set_chain("crypto", ["okx", "yahoo"], "a test")
        bitcoin = coin()
        run(bitcoin, days=10)
        yahoo.listings["BTC-USD"].level *= 7  # another currency
        okx.fail("*", "503")
        (done,) = run(bitcoin, days=12, again=True)
        assert done.status == "partial"
        assert "another currency or basis" in done.error
        assert set(Candle.objects.filter(asset=bitcoin).values_list("source", flat=True)) == {"okx"}
        assert bitcoin.quarantined.count() > 0

    def test_nobody_knows_it(self, okx: Okx) -> None:
        odd = coin("NOPE-USDT")
        (done,) = run(odd)
        assert (done.status, done.unanswered) == ("failed", False)
        assert len(okx.candles()) == 0
        assert [line.error_class for line in windows(odd)] == ["SymbolNotFound"]


class TestTogether:
    def test_several_at_once_each_window_once(self, okx: Okx) -> None:
        assets = [coin(symbol) for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT")]
        told, ended = [], []
        found = run(*assets, show=lambda *words: told.append(words), done=ended.append)
        assert [one.status for one in found] == ["done"] * 3
        assert sorted(one.asset.symbol for one in ended) == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
        for asset in assets:
            assert stored(asset) == truth(okx, asset.symbol, NOW - timedelta(days=50), NOW)
        questions = [(seen.symbol, seen.params["before"]) for seen in okx.candles()]
        assert len(questions) == len(set(questions))
        dones, totals = [done for done, _, _ in told], [total for _, total, _ in told]
        assert dones == list(range(1, len(dones) + 1))
        assert set(totals) == {dones[-1]}  # known from the start
        assert told[-1][2].startswith(f"{dones[-1]} of {dones[-1]} windows · 3\u202f600 candles")

    def test_two_workers_on_one_series_share_the_windows(self, okx: Okx) -> None:
        bitcoin, found = coin(), []
        okx.on_candles = lambda seen: time.sleep(0.02)

        def work() -> None:
            try:
                found.extend(run(bitcoin))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.status for one in found] == ["done", "done"]
        questions = [seen.params["before"] for seen in okx.candles()]
        assert len(questions) == len(set(questions))
        assert stored(bitcoin) == truth(okx, "BTC-USDT", NOW - timedelta(days=50), NOW)
        assert sum(one.counts.inserted for one in found) == 1200
        assert all(one.counts.inserted for one in found)

    def test_what_nobody_foresaw_is_one_assets_failure(self, okx: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
        good, bad = coin("ETH-USDT"), coin("BTC-USDT")
        finish = backfill.finish

        def fall(walk, *rest):
            if walk.asset.pk == bad.pk:
                raise KeyError("unforeseen")
            return finish(walk, *rest)

        monkeypatch.setattr(backfill, "finish", fall)
        found = run(bad, good, days=5)
        assert [one.status for one in found] == ["failed", "done"]
        assert "KeyError" in found[0].error


class TestJob:
    def started(self, start, *arguments) -> Job:
        with tenancy.acting_as(arguments[1]):
            return start(*arguments)

    def finished(self, job: Job) -> Job:
        jobs.run_job(job.pk)
        with tenancy.as_system("look at a job"):
            return Job.objects.get(pk=job.pk)

    def test_of_an_asset(self, okx: Okx) -> None:
        alice, bitcoin = cast.alice(), coin()
        job = self.started(backfill_asset, bitcoin, alice, H1, timezone.now() - timedelta(days=30))
        assert self.started(backfill_asset, bitcoin, alice, H1).pk == job.pk
        done = self.finished(job)
        assert done.state == "done", done.summary
        assert (done.progress_done, done.progress_total) == (done.progress_total, len(okx.candles()))
        assert done.progress_note.endswith("windows · 719 candles")
        row = done.result["assets"][0]
        assert (row["inserted"], row["windows"]) == (719, len(okx.candles()))  # the hour that we are in is not over
        assert {line.job_id for line in windows(bitcoin)} == {job.pk}

    def test_of_a_universe(self, okx: Okx) -> None:
        alice = cast.alice()
        with tenancy.acting_as(alice):
            mine = Universe.objects.create(owner=alice, name="Coins", visibility=Visibility.PRIVATE)
            for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT", "NOPE-USDT"):
                Membership.objects.create(universe=mine, owner=alice, asset=coin(symbol))
        job = self.started(backfill_universe, mine, alice, H1, timezone.now() - timedelta(days=9))
        done = self.finished(job)
        assert done.state == "partial"
        assert [one["symbol"] for one in done.result["missing"]] == ["NOPE-USDT"]
        assert [one["inserted"] for one in done.result["assets"]] == [215, 215, 0, 215]
        with tenancy.as_system("look at a job"):
            texts = list(JobLine.objects.filter(job=job).values_list("text", flat=True))
        assert "BTC-USDT 1h: 215 new of 215 candles." in texts
        assert self.finished(self.started(backfill_universe, mine, cast.eve(), H1)).state == "failed"

    def test_cancel_takes_effect_at_once_and_keeps_what_came(self, okx: Okx, settings) -> None:
        settings.OKX_REQUESTS_PER_SECOND = 4.0  # so it would last
        alice, bitcoin = cast.alice(), coin()
        job = self.started(backfill_asset, bitcoin, alice, H1, timezone.now() - timedelta(days=300))

        def cancel() -> None:
            try:
                while len(okx.candles()) < 3:
                    time.sleep(0.05)
                with tenancy.acting_as(alice):
                    jobs.cancel(Job.objects.get(pk=job.pk))
            finally:
                connections.close_all()

        thread = threading.Thread(target=cancel)
        thread.start()
        done = self.finished(job)
        ended = timezone.now()
        thread.join()
        assert done.state == "cancelled"
        assert ended - done.cancel_requested_at < timedelta(seconds=5)
        assert len(stored(bitcoin)) == sum(line.inserted for line in windows(bitcoin, state="answered")) > 0

    def test_what_a_dead_worker_has_done_is_not_done_again(self, okx: Okx) -> None:
        """The worker of before got ten windows, and died while it asked for the eleventh."""
        bitcoin = coin()
        run(bitcoin, days=30, until=NOW)
        coverage.begin(bitcoin.pk, H1, "okx", NOW - timedelta(days=34), NOW - timedelta(days=30))
        before = len(okx.candles())
        (done,) = run(bitcoin, days=50)
        assert done.counts.inserted == 20 * 24
        assert len(okx.candles()) - before <= 6
        assert [line.error_class for line in windows(bitcoin, state="failed")] == ["Interrupted"]
        assert not windows(bitcoin, state="asking")


def test_history_that_cannot_be_had_makes_no_series_a_failing_one(okx: Okx) -> None:
    """Its newest candles are there, and it is due when its market makes the next."""
    bitcoin, now = coin(), timezone.now()
    run(bitcoin, days=10, until=now)
    due = Series.objects.get().due_at
    okx.fail("BTC-USDT", "503")
    done = run(bitcoin, days=10, until=now - timedelta(days=20))[0]
    assert (done.status, "OKX" in done.error) == ("failed", True)
    series = Series.objects.get()
    assert (series.failed_at, series.failure, series.due_at) == (None, "", due)
    assert run(bitcoin, days=10, until=now, again=True)[0].status == "failed"
    assert Series.objects.get().failed_at


class TestNothingStaysOpen:
    """A question whose end is known is never told as one that is being asked."""

    def test_when_its_job_is_stopped(self, okx: Okx) -> None:
        class Stopped(Quiet):
            def wait_for(self, call):
                if len(okx.candles()) >= 2:
                    raise KeyboardInterrupt
                return call()

        bitcoin = coin()
        with pytest.raises(KeyboardInterrupt):
            backfill.backfill([bitcoin], H1, NOW - timedelta(days=50), Stopped(), until=NOW)
        assert [(line.state, line.error_class) for line in windows(bitcoin)] == [
            ("answered", ""), ("answered", ""), ("failed", "Interrupted"),
        ]  # fmt: skip

    def test_when_what_came_cannot_be_stored(self, okx: Okx) -> None:
        bitcoin = coin()
        with owner() as database:
            database.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more'; END $$;"
                "CREATE TRIGGER refuse BEFORE INSERT ON marketdata_candle FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        try:
            done = run(bitcoin, days=3)[0]
        finally:
            with owner() as database:
                database.execute("DROP FUNCTION refuse CASCADE")
        assert done.status == "failed"
        (line,) = windows(bitcoin)
        assert (line.state, line.inserted, line.settled_until) == ("failed", 0, None)
        assert "no more" in line.error
        assert run(bitcoin, days=3)[0].counts.inserted == 72


class TestGaps:
    def hole(self, asset: Asset, first: datetime, many: int) -> None:
        """As if they had never come, nor been asked for."""
        last = first + timedelta(hours=many)
        Candle.objects.filter(asset=asset, timeframe=H1, open_time__gte=first, open_time__lt=last).delete()
        FetchWindow.objects.all().delete()

    def test_are_filled_by_exactly_their_questions(self, okx: Okx) -> None:
        alice, bitcoin = cast.alice(), coin()
        until = timezone.now()
        run(bitcoin, days=10, until=until)
        whole = stored(bitcoin)
        self.hole(bitcoin, whole[50][0], 5)
        self.hole(bitcoin, whole[120][0], 1)
        okx.requests.clear()
        with tenancy.acting_as(alice):
            job = fill_gaps(bitcoin, alice, H1)
        jobs.run_job(job.pk)
        with tenancy.as_system("look at a job"):
            job.refresh_from_db()
        assert (job.state, job.summary) == ("done", "BTC-USDT 1h: 6 new of 6 candles.")
        assert stored(bitcoin)[: len(whole)] == whole
        asked = [(line.since, line.until) for line in windows(bitcoin)]
        hour = timedelta(hours=1)
        assert asked == [(whole[120][0], whole[120][0] + hour), (whole[50][0], whole[50][0] + 5 * hour)]
        assert Series.objects.get().missing_count == 0

    def test_their_progress_ends_at_its_end(self, okx: Okx) -> None:
        bitcoin, until = coin(), timezone.now()
        run(bitcoin, days=10, until=until)
        whole = stored(bitcoin)
        for place in (50, 90, 120):
            self.hole(bitcoin, whole[place][0], 2)
        shown: list[tuple[int, int]] = []
        backfill.fill_gaps(bitcoin, H1, Quiet(), show=lambda done, total, words: shown.append((done, total)))
        assert shown == [(1, 3), (2, 3), (3, 3)]

    def test_filling_an_old_one_says_nothing_of_the_newest_candles(self, okx: Okx) -> None:
        """A refresh that waits for it meanwhile has still to ask."""
        bitcoin, until = coin(), timezone.now()
        run(bitcoin, days=10, until=until)
        self.hole(bitcoin, stored(bitcoin)[50][0], 2)
        waiting = Quiet()
        backfill.fill_gaps(bitcoin, H1, Quiet())
        done = refresh(bitcoin, H1, waiting, again=True)
        assert (done.skipped, done.counts.received) == (False, 3)

    def test_what_nobody_has_was_not_traded(self, okx: Okx) -> None:
        bitcoin, until = coin(), timezone.now()
        run(bitcoin, days=10, until=until)
        at = stored(bitcoin)[50][0]
        self.hole(bitcoin, at, 2)
        okx.fail("BTC-USDT", "nothing")
        done = backfill.fill_gaps(bitcoin, H1, Quiet())
        assert (done.status, done.gaps) == ("done", ())
        series = Series.objects.get()
        assert (series.missing_count, series.untraded_count) == (0, 2)

    def test_without_an_answer_they_stay(self, okx: Okx) -> None:
        bitcoin, until = coin(), timezone.now()
        run(bitcoin, days=10, until=until)
        self.hole(bitcoin, stored(bitcoin)[50][0], 2)
        okx.fail("BTC-USDT", "503")
        done = backfill.fill_gaps(bitcoin, H1, Quiet())
        assert [gap.candles for gap in done.gaps] == [2]
        assert "2 candles are missing" in done.error
        assert done.status in ("partial", "failed")


class TestCommand:
    def command(self, *arguments: str) -> tuple[int, list[str]]:
        out = StringIO()
        try:
            call_command("backfill", *arguments, stdout=out)
        except SystemExit as end:
            return int(end.code or 0), out.getvalue().splitlines()
        return 0, out.getvalue().splitlines()

    def test_it_works(self, okx: Okx) -> None:
        since = ("--timeframe", "1h", "--since", "2026-09-01", "--until", "2026-10-01", "--json")
        status, lines = self.command("BTC-USDT", "ETH/USDT", *since)
        assert status == 0
        rows = json.loads(lines[-1])["assets"]
        assert {row["symbol"]: (row["inserted"], row["status"], row["error"]) for row in rows} == {
            "BTC-USDT": (720, "done", None), "ETH-USDT": (720, "done", None),
        }  # fmt: skip
        assert all(row["windows"] == row["requests"] == 8 for row in rows)
        assert rows[0]["first"] == "2026-09-01T00:00:00Z"
        status, lines = self.command("BTC-USDT", *since)
        assert status == 0
        assert lines[0] == "BTC-USDT 1h: 8 windows are covered already; nobody was asked."

    @pytest.mark.parametrize("command", ["backfill", "fetch_candles"])
    def test_what_is_to_come_is_not_asked_for(self, okx: Okx, command: str) -> None:
        since = timezone.now() - timedelta(days=5)
        call_command(command, "BTC-USDT", "--since", f"{since:%Y-%m-%d}", "--until", "9999-12-31", stdout=StringIO())
        assert max(line.until for line in windows(Asset.objects.get())) <= timezone.now()

    def test_one_unknown_symbol_among_others_is_partial(self, okx: Okx) -> None:
        status, lines = self.command("BTC-USDT", "NOPE-USDT", "N$DA", "--timeframe", "1h", "--since", "2026-10-20",
                                     "--until", "2026-10-22", "--json")  # fmt: skip
        assert status == 3
        rows = {row["symbol"]: row for row in json.loads(lines[-1])["assets"]}
        assert {name: row["status"] for name, row in rows.items()} == {
            "BTC-USDT": "done", "NOPE-USDT": "failed", "N$DA": "failed",
        }  # fmt: skip
        assert not Asset.objects.filter(symbol="NOPE-USDT").exists()

    def test_nothing_at_all_is_a_failure(self, okx: Okx) -> None:
        okx.fail("*", "503")
        status, lines = self.command("BTC-USDT", "--timeframe", "1h", "--since", "2026-10-20")
        assert status == 1
        assert "OKX" in lines[-1]

    def test_by_a_provider_that_is_named(self, okx: Okx, yahoo: Yahoo) -> None:
        status, _ = self.command("BTC-USDT", "--provider", "yahoo", "--since", "2026-01-01", "--until", "2026-02-01")
        assert status == 0
        assert set(Candle.objects.values_list("source", flat=True)) == {"yahoo"}
        assert not okx.candles()

    def test_a_sample_has_no_provider(self) -> None:
        Asset.objects.create(symbol="AAPL.SAMPLE", is_sample=True)
        status, lines = self.command("AAPL.SAMPLE")
        assert status == 1
        assert "bundled sample" in lines[0]

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("--since", "yesterday"), "write 2024-01-31"),
            (("--since", "2024-02-01", "--until", "2024-01-01"), "exchange the two"),
            (("--since", "9999-01-01"), "not before now"),
            (("--since", "0001-01-01", "--timeframe", "1m"), "choose a day after 1900"),
            (("--provider", "yahu"), "there are"),
            (("--timeframe", "2d"), "invalid choice"),
        ],
    )
    def test_wrong_usage_is_said_plainly(self, arguments: tuple[str, ...], text: str) -> None:
        with pytest.raises(CommandError, match=text):
            self.command("BTC-USDT", *arguments)


def test_the_estimate_is_in_words() -> None:
    assert [backfill._left(seconds) for seconds in (5, 130, 7300)] == [
        "less than a minute left", "about 2 min left", "about 2 h left",
    ]  # fmt: skip


def test_stocks_by_days_are_one_window(yahoo: Yahoo) -> None:
    rivian = Asset.objects.create(symbol="RIVN")
    (done,) = run(rivian, days=365 * 20, until=NOW, timeframe=D1)
    assert (done.status, done.error) == ("done", "")
    first = Candle.objects.filter(asset=rivian).order_by("open_time").values_list("open_time", flat=True)[0]
    assert first.date() == date(2021, 11, 10)
    asked = len(yahoo.charts("RIVN"))
    run(rivian, days=365 * 20, until=NOW, timeframe=D1)
    assert len(yahoo.charts("RIVN")) == asked
