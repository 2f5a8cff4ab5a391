"""40,000 hourly candles through everything at once: the exchange's faults, killed workers, restarts, lost queues."""

import time

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.db.utils import InterfaceError, OperationalError

from chronos.core import embedded, jobs, tenancy
from marketdata.models import Candle, FetchWindow, ProviderState
from tests import cast
from tests.loopback.okx import Okx
from tests.prove.test_backfill_faults import _workers_ask_the_loopback, assert_well, bitcoin, questions, started
from tests.prove.test_jobs_faults import BEAT, WORKER, kill, running, seen, until

__all__ = ["_workers_ask_the_loopback"]
pytestmark = [pytest.mark.prove, pytest.mark.usefixtures("house")]
CANDLES = 40_000
KILLS = 4


def stored() -> int:
    """How many candles there are; 0 while PostgreSQL comes up."""
    try:
        return Candle.objects.count()
    except (OperationalError, InterfaceError):
        connection.close()
        return 0


@pytest.mark.parametrize("seed", [20261121])
def test_forty_thousand_candles_arrive_complete_and_identical(okx: Okx, seed: int):
    coin, alice, days = bitcoin(), cast.alice(), CANDLES / 24
    okx.storm(seed=seed, rate=0.35)
    began = time.monotonic()
    job = started(coin, alice, days)
    for number in range(KILLS):
        goal = (number + 1) * CANDLES // (KILLS + 1)
        with running(WORKER, BEAT) as (worker, _):
            until(lambda goal=goal: stored() >= goal or not seen(job).unfinished, f"{goal} candles", 400)
            if number == 1:
                connection.close()
                embedded.Services(settings.EMBEDDED, settings.KEYS, durable=False).restart_postgres()
            if number == 2:
                redis.Redis.from_url(settings.REDIS_URL).flushall()
                redis.Redis.from_url(settings.CACHE_URL).flushall()
            kill(worker)
        assert stored() == sum(FetchWindow.objects.values_list("inserted", flat=True))
    runs = 1
    with running(WORKER, BEAT):
        until(lambda: not seen(job).unfinished, "the end", 600)
        while seen(job).state != "done":  # a partial end says what lacks; another run brings that alone
            assert seen(job).state == "partial", seen(job).summary
            assert seen(job).result["missing"]
            runs += 1
            assert runs < 10
            ProviderState.objects.update(closed_until=None, failures=0)  # the breaker's pause is over
            with tenancy.acting_as(alice):
                job = jobs.rerun(seen(job))
            until(lambda again=job: not seen(again).unfinished, "the end", 600)
    interrupted = FetchWindow.objects.filter(error_class="Interrupted").count()
    assert_well(okx, coin, job, interrupted=interrupted)
    assert Candle.objects.count() >= CANDLES
    assert interrupted <= KILLS + 1
    failed = FetchWindow.objects.filter(state="failed").count()
    print(
        f"\n{Candle.objects.count():,} candles, {len(okx.candles()):,} requests for {len(questions(okx)):,} windows,"
        f" {sum(bool(one.fault) for one in okx.requests):,} of them answered with a fault; {interrupted} windows"
        f" interrupted, {failed} without an answer, {runs} runs; {time.monotonic() - began:.0f} s"
    )
