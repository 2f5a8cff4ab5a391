"""Real workers in the middle of a backfill, and what befalls them: every candle once, and a ledger that is true."""

import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection

from chronos.core import embedded, jobs, tenancy
from chronos.core.models import Job, User
from marketdata.chains import set_chain
from marketdata.jobs import backfill_asset
from marketdata.models import Asset, Candle, FetchWindow, ProviderState, Timeframe
from tests import cast
from tests.house import owner
from tests.loopback.okx import Okx
from tests.marketdata.storms import assert_identical, assert_ledger_is_true
from tests.prove.test_jobs_faults import BEAT, WORKER, kill, running, seen, until

pytestmark = [pytest.mark.prove, pytest.mark.usefixtures("house"), pytest.mark.processes]
H1 = Timeframe.H1
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _workers_ask_the_loopback(monkeypatch: pytest.MonkeyPatch, okx: Okx) -> None:
    monkeypatch.setenv("OKX_BASE_URL", okx.address)
    monkeypatch.setenv("OKX_REQUESTS_PER_SECOND", "50")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    set_chain("crypto", ["okx"], "a test")


def bitcoin() -> Asset:
    return Asset.objects.create(symbol="BTC-USDT", asset_class="crypto")


def started(asset: Asset, who: User, days: float) -> Job:
    with tenancy.acting_as(who):
        return backfill_asset(asset, who, H1, _hour(datetime.now(UTC)) - timedelta(days=days))


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def questions(okx: Okx) -> Counter[str]:
    return Counter(seen.params["before"] for seen in okx.candles())


def assert_well(okx: Okx, asset: Asset, job: Job, *, interrupted: int = 0) -> None:
    """All from the job's first hour until it was started; the clock goes on meanwhile."""
    done = seen(job)
    assert done.state == "done", done.summary
    until = asset.series.get(timeframe=H1).last_open + HOUR
    assert until >= _hour(done.created_at)
    assert_identical(okx, asset, H1, datetime.fromisoformat(done.params["since"]), until)
    assert_ledger_is_true(asset, interrupted)


class Held:
    """A server that keeps one question waiting until it is let go."""

    def __init__(self, okx: Okx, number: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._okx, self._number = okx, number
        okx.on_candles = self._hold

    def _hold(self, _: object) -> None:
        if len(self._okx.candles()) == self._number:
            self.reached.set()
            self.go_on.wait(30)


def test_a_worker_is_killed_in_mid_window(okx: Okx):
    coin, held = bitcoin(), Held(okx, 6)
    job = started(coin, cast.alice(), 60)
    with running(WORKER) as (worker,):
        assert held.reached.wait(40)
        kill(worker)
    held.go_on.set()
    assert FetchWindow.objects.filter(state="asking").count() == 1
    assert Candle.objects.count() == sum(FetchWindow.objects.values_list("inserted", flat=True))
    with running(WORKER, BEAT):
        until(lambda: not seen(job).unfinished, "the end")
    assert_well(okx, coin, job, interrupted=1)
    assert seen(job).attempt == 2
    assert [times for times in questions(okx).values() if times > 1] == [2]  # the one that was under way


def test_postgres_is_restarted_in_mid_merge(okx: Okx):
    coin, held = bitcoin(), Held(okx, 6)
    job = started(coin, cast.alice(), 60)
    with running(WORKER, BEAT):
        assert held.reached.wait(40)
        with suppress(psycopg.errors.AdminShutdown), owner() as blocker:
            blocker.execute("BEGIN; LOCK TABLE marketdata_candle IN SHARE MODE")
            held.go_on.set()
            until(lambda: _is_merging(blocker), "a merge that waits")
            stored = Candle.objects.count()
            connection.close()
            embedded.Services(settings.EMBEDDED, settings.KEYS, durable=False).restart_postgres()
        assert Candle.objects.count() == stored == sum(FetchWindow.objects.values_list("inserted", flat=True))
        assert FetchWindow.objects.filter(state="asking").count() == 1  # neither its candles nor its answer
        until(lambda: not seen(job).unfinished, "the end")
    assert_well(okx, coin, job, interrupted=1)
    assert [times for times in questions(okx).values() if times > 1] == [2]


def _is_merging(looker) -> bool:
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation::regclass::text LIKE 'marketdata_candle%'"
    return looker.execute(sql).fetchone()[0] > 0


def test_valkey_is_flushed_under_two_workers_and_two_beats(okx: Okx):
    coin, ether = bitcoin(), Asset.objects.create(symbol="ETH-USDT", asset_class="crypto")
    okx.on_candles = lambda seen: time.sleep(0.02)
    alice = cast.alice()
    work = [(coin, started(coin, alice, 60)), (ether, started(ether, alice, 60))]
    with running(WORKER + " -n one@%h", WORKER + " -n two@%h", BEAT, BEAT):
        for _ in range(4):
            until(lambda: len(okx.candles()) >= 3, "the first questions")
            redis.Redis.from_url(settings.REDIS_URL).flushall()
            redis.Redis.from_url(settings.CACHE_URL).flushall()
            time.sleep(0.3)
        until(lambda: not any(seen(job).unfinished for _, job in work), "the end")
    for asset, job in work:
        assert_well(okx, asset, job)
        assert seen(job).attempt == 1
    assert max(Counter((one.symbol, one.params["before"]) for one in okx.candles()).values()) == 1


def test_an_outage_and_a_storm_and_it_arrives_complete(okx: Okx):
    """4,000 candles; `make prove` brings ten times as many."""
    coin, alice, days = bitcoin(), cast.alice(), 4000 / 24
    okx.storm(seed=7, rate=0.25)
    with running(WORKER, BEAT):
        job = started(coin, alice, days)
        until(lambda: Candle.objects.count() >= 1000, "the first candles", 60)
        okx.fail("*", "503")
        until(lambda: not seen(job).unfinished, "the end of the outage's job", 60)
        assert seen(job).state == "partial"
        assert "OKX" in seen(job).summary
        assert seen(job).result["missing"][0]["symbol"] == "BTC-USDT"
        assert_ledger_is_true(coin)
        okx.faults.clear()
        for _ in range(6):
            ProviderState.objects.update(closed_until=None, failures=0)  # the minute is over
            with tenancy.acting_as(alice):
                job = jobs.rerun(seen(job))
            until(lambda again=job: not seen(again).unfinished, "the end", 60)
            if seen(job).state == "done":
                break
    assert_well(okx, coin, job)
