"""Refreshing a universe: the job, as the runner runs it, against the loopback Yahoo."""

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import OperationalError, connections
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job, JobLine, User
from marketdata import asking, providers
from marketdata.fetching import refresh as refresh_series
from marketdata.jobs import refresh_asset
from marketdata.models import Asset, Candle, Series, Timeframe
from marketdata.providers.base import Fetched, SymbolNotFound
from tests import cast
from tests.loopback.yahoo import Yahoo
from universes.jobs import refresh
from universes.models import Membership, Universe, Visibility

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch, yahoo: Yahoo) -> None:
    """A real `Run` really sleeps, so the pauses between attempts are short here."""
    monkeypatch.setattr(asking, "_pause", lambda state: 0.01)


def universe(owner: User | None, *symbols: str, name: str = "Mine") -> Universe:
    visibility = Visibility.PRIVATE if owner else Visibility.PUBLIC
    with tenancy.acting_as(owner) if owner else tenancy.as_system("a public universe for a test"):
        made = Universe.objects.create(owner=owner, name=name, visibility=visibility)
        for symbol in symbols:
            asset, _ = Asset.objects.get_or_create(symbol=symbol, is_sample=symbol.endswith(".SAMPLE"))
            Membership.objects.create(universe=made, owner=owner, asset=asset)
    return made


def started(user: User, what: Universe | Asset) -> Job:
    with tenancy.acting_as(user):
        return refresh(what, user) if isinstance(what, Universe) else refresh_asset(what, user)


def ran(user: User, what: Universe | Asset) -> Job:
    return finished(started(user, what))


def finished(job: Job) -> Job:
    jobs.run_job(job.pk)
    return seen(job)


def seen(job: Job) -> Job:
    with tenancy.as_system("look at a job"):
        return Job.objects.get(pk=job.pk)


def lines(job: Job) -> list[tuple[str, str]]:
    with tenancy.as_system("look at a job"):
        return list(JobLine.objects.filter(job=job).values_list("level", "text"))


def test_it_works():
    alice = cast.alice()
    done = ran(alice, universe(alice, "NVDA", "MSFT", "GOOGL"))
    total = Candle.objects.count()
    assert total > 3 * 1250
    assert (done.state, done.summary) == ("done", f"3 assets up to date: {total:,} new candles.")
    assert (done.subject, done.progress_done, done.progress_total) == ("Mine", 3, 3)
    row = done.result["assets"][0]
    assert set(row) == {
        "symbol", "timeframe", "received", "inserted", "updated", "unchanged", "quarantined", "first", "last",
        "status", "error", "windows", "requests",
    }  # fmt: skip
    assert (row["symbol"], row["timeframe"], row["status"], row["error"]) == ("GOOGL", "1d", "done", None)
    assert row["last"].endswith("T00:00:00Z")
    assert "missing" not in done.result
    assert [text.partition(":")[0] for _, text in lines(done)][:3] == ["GOOGL 1d", "MSFT 1d", "NVDA 1d"]


def test_again_finds_nothing_new():
    alice = cast.alice()
    mine = universe(alice, "NVDA")
    ran(alice, mine)
    assert ran(alice, mine).summary == "1 asset up to date: nothing new."


def test_one_failure_does_not_stop_the_others_and_is_named():
    alice = cast.alice()
    done = ran(alice, universe(alice, "NVDA", "NOSUCH", "MSFT"))
    assert done.state == "partial"
    assert done.summary.startswith("1 of 3 assets lack candles (NOSUCH); ")
    assert [(one["symbol"], one["timeframe"]) for one in done.result["missing"]] == [("NOSUCH", "1d")]
    assert "does not know the symbol" in done.result["missing"][0]["reason"]
    assert {one["symbol"]: one["status"] for one in done.result["assets"]} == {
        "MSFT": "done", "NOSUCH": "failed", "NVDA": "done",
    }  # fmt: skip
    assert "error" in [level for level, _ in lines(done)]


class Odd(type(providers.REGISTRY["yahoo"])):
    """Yahoo with a bad day: MSFT brings it to its knees, and what it says of GOOGL can't be stored as it is."""

    trouble: Exception = KeyError("unforeseen\0")

    def fetch(self, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
        if spelling == "MSFT":
            raise self.trouble
        if spelling == "GOOGL":
            raise SymbolNotFound("No G\0OOGL\ud800\x1b here.\r\nTry another.")
        found = super().fetch(spelling, timeframe, since, until)
        return replace(found, facts=replace(found.facts, name="NVI\0DIA", metadata={"in\0dustry": "chips\0"}))


def test_what_a_provider_should_never_do_stops_only_its_asset(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(providers.REGISTRY, "yahoo", Odd())
    alice = cast.alice()
    done = ran(alice, universe(alice, "GOOGL", "MSFT", "NVDA"))
    assert (done.state, done.progress_done) == ("partial", 3)
    assert {one["symbol"]: one["reason"] for one in done.result["missing"]} == {
        "GOOGL": "No GOOGL here. Try another.",
        "MSFT": "An unexpected fault (KeyError) stopped its refresh. The worker's log has the details.",
    }
    assert Series.objects.get(asset__symbol="GOOGL").failure == "No GOOGL here. Try another."
    nvda = Asset.objects.get(symbol="NVDA")
    assert (nvda.name, nvda.metadata) == ("NVIDIA", {"industry": "chips"})
    assert Candle.objects.filter(asset=nvda).count() > 1250


def test_a_database_that_goes_away_is_not_an_assets_failure(monkeypatch: pytest.MonkeyPatch):
    odd = Odd()
    odd.trouble = OperationalError("gone")
    monkeypatch.setitem(providers.REGISTRY, "yahoo", odd)
    alice = cast.alice()
    assert ran(alice, universe(alice, "MSFT")).state == "running"  # given back: the next attempt resumes it


def test_all_failures_are_a_failure(yahoo: Yahoo):
    alice = cast.alice()
    yahoo.fail("*", "503")
    done = ran(alice, universe(alice, "NVDA", "MSFT", "GOOGL", "AAPL.SAMPLE"))
    assert done.state == "failed"
    assert done.summary.startswith("Nothing came for GOOGL, MSFT, NVDA. Yahoo Finance is down")
    assert len(done.result["missing"]) == 3
    assert len(yahoo.charts()) == 12  # four attempts for each of three; a fourth asset would not be asked for


def test_samples_are_left_alone(yahoo: Yahoo):
    alice = cast.alice()
    done = ran(alice, universe(alice, "AAPL.SAMPLE"))
    assert (done.state, yahoo.requests) == ("done", [])
    assert done.summary == "1 asset, all bundled samples: nothing to refresh."
    assert ("info", "AAPL.SAMPLE 1d: a bundled sample, nothing to refresh.") in lines(done)


def test_an_empty_universe_says_what_to_do():
    alice = cast.alice()
    done = ran(alice, universe(alice))
    assert done.state == "done"
    assert "add some" in done.summary


def test_who_left_is_not_asked_for(yahoo: Yahoo):
    alice = cast.alice()
    mine = universe(alice, "NVDA", "MSFT")
    with tenancy.acting_as(alice):
        Membership.objects.filter(universe=mine, asset__symbol="MSFT").update(left_at=timezone.now())
    ran(alice, mine)
    assert not yahoo.charts("MSFT")


def test_a_public_universe_may_be_refreshed_by_anybody_and_a_private_one_by_its_owner_only(yahoo: Yahoo):
    alice, eve = cast.alice(), cast.eve()
    assert ran(eve, universe(None, "NVDA")).state == "done"
    before = len(yahoo.requests)
    sneaked = ran(eve, universe(alice, "MSFT"))
    assert (sneaked.state, len(yahoo.requests)) == ("failed", before)
    assert "not yours to see" in sneaked.summary


def test_asking_twice_gives_the_job_that_is_under_way():
    alice = cast.alice()
    mine = universe(alice, "NVDA")
    assert started(alice, mine).pk == started(alice, mine).pk


def test_an_asset_in_two_universes_asked_for_by_two_people_is_fetched_once(yahoo: Yahoo):
    alice, bob = cast.alice(), cast.bob()
    waiting = [started(alice, universe(alice, "NVDA", "MSFT")), started(bob, universe(bob, "MSFT", "NVDA"))]
    first, second = (finished(job) for job in waiting)
    assert (first.state, second.state) == ("done", "done")
    assert [len([seen for seen in yahoo.charts(one) if "period1" in seen.params]) for one in ("NVDA", "MSFT")] == [1, 1]
    assert ("info", "NVDA 1d: was fetched a moment ago.") in lines(second)


def test_two_workers_at_once_fetch_each_asset_once(yahoo: Yahoo):
    alice, bob = cast.alice(), cast.bob()
    symbols = ("NVDA", "MSFT", "GOOGL", "TSLA")
    waiting = [started(alice, universe(alice, *symbols)), started(bob, universe(bob, *symbols))]

    def work(job: Job) -> None:
        try:
            jobs.run_job.run(job.pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(job,)) for job in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [seen(job).state for job in waiting] == ["done", "done"]
    asked = [seen.symbol for seen in yahoo.charts() if "period1" in seen.params]
    assert sorted(asked) == sorted(symbols)
    assert Series.objects.count() == 4


def test_a_job_that_lost_its_worker_goes_on_where_it_was(yahoo: Yahoo):
    """The second attempt does not ask again for what the first has finished."""
    alice = cast.alice()
    job = started(alice, universe(alice, "NVDA", "MSFT"))
    with tenancy.as_system("a worker takes the job, fetches MSFT, and dies"):
        Job.objects.filter(pk=job.pk).update(
            state="running", attempt=1, lease="00000000-0000-0000-0000-000000000001", lease_until=timezone.now()
        )
    dead = asking.Foreground()
    dead.since = job.created_at
    refresh_series(Asset.objects.get(symbol="MSFT"), Timeframe.D1, dead)
    yahoo.requests.clear()
    done = finished(job)
    assert (done.state, done.attempt) == ("done", 2)
    assert not yahoo.charts("MSFT")
    assert yahoo.charts("NVDA")


def test_cancel_takes_effect_while_yahoo_keeps_us_waiting(yahoo: Yahoo):
    alice = cast.alice()
    job = started(alice, universe(alice, "GOOGL", "NVDA"))
    yahoo.fail("NVDA", "slow", seconds=20)

    def cancel() -> None:
        try:
            deadline = time.monotonic() + 10
            while not yahoo.charts("NVDA") and time.monotonic() < deadline:
                time.sleep(0.05)
            with tenancy.acting_as(alice):
                jobs.cancel(Job.objects.get(pk=job.pk))
        finally:
            connections.close_all()

    thread = threading.Thread(target=cancel)
    thread.start()
    done = finished(job)
    ended = timezone.now()
    thread.join()
    yahoo._closing.set()  # lets the abandoned question end
    assert done.state == "cancelled"
    assert ended - done.cancel_requested_at < timedelta(seconds=5)
    assert Candle.objects.filter(asset__symbol="GOOGL").exists()  # what was stored is kept


def test_one_asset_alone(yahoo: Yahoo):
    alice = cast.alice()
    done = ran(alice, Asset.objects.create(symbol="NVDA"))
    assert done.state == "done"
    assert done.summary.startswith("NVDA 1d: ")
    assert done.result["assets"][0]["inserted"] == Candle.objects.count()
    odd = ran(alice, Asset.objects.create(symbol="NOSUCH"))
    assert odd.state == "failed"
    assert odd.result["missing"][0]["symbol"] == "NOSUCH"


def test_the_houses_own_refreshes_each_member_of_any_universe_once(yahoo: Yahoo):
    alice, bob = cast.alice(), cast.bob()
    universe(alice, "NVDA", "MSFT")
    universe(bob, "NVDA", "AAPL.SAMPLE")
    Asset.objects.create(symbol="TSLA")  # nobody's member
    jobs.start_scheduled("refresh-all", "All universes")
    with tenancy.as_system("look at a job"):
        job = Job.objects.get(owner=None)
    done = finished(job)
    assert done.state == "done"
    assert [one["symbol"] for one in done.result["assets"]] == ["MSFT", "NVDA"]
    assert not yahoo.charts("TSLA")


def test_the_houses_own_has_nothing_to_do():
    jobs.start_scheduled("refresh-all", "All universes")
    with tenancy.as_system("look at a job"):
        job = Job.objects.get(owner=None)
    assert finished(job).state == "done"
