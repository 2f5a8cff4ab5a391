"""The circuit breaker: a provider that does not answer is left alone, then tried by one question at a time."""

import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.core.cache import cache
from django.db import connections
from django.utils import timezone

from marketdata import providers
from marketdata.asking import (
    BREAKS_AFTER,
    LONGEST_PAUSE_SECONDS,
    PATIENCE,
    TRIAL_SECONDS,
    Foreground,
    Unasked,
    answer,
)
from marketdata.models import ProviderState, Timeframe
from marketdata.providers.base import ProviderError, Unavailable
from tests.loopback.keyed import twelvedata as twelvedata_fixture
from tests.loopback.twelvedata import TwelveData

pytestmark = pytest.mark.usefixtures("house")
twelvedata = twelvedata_fixture
PROVIDER = providers.named("twelvedata")


class Quick(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


def question(symbol: str = "AAPL", wait: Foreground | None = None):
    since, until = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 10, 1, tzinfo=UTC)
    fetch = partial(PROVIDER.fetch, symbol, Timeframe.D1, since, until)
    return answer(PROVIDER, symbol, fetch, wait or Quick(), lambda error: None)


def fail(times: int = 1, kind: type[ProviderError] = Unavailable) -> None:
    for _ in range(times):
        with pytest.raises(kind) as caught:
            question()
        assert type(caught.value) is kind


def state() -> ProviderState:
    return ProviderState.objects.get(provider="twelvedata")


def pause() -> float:
    closed = state().closed_until
    assert closed
    return (closed - timezone.now()).total_seconds()


def let_the_pause_pass() -> None:
    ProviderState.objects.update(closed_until=timezone.now() - timedelta(seconds=1))


def test_after_some_questions_without_an_answer_nobody_asks(twelvedata: TwelveData) -> None:
    twelvedata.fail("*", "503")
    fail(BREAKS_AFTER)
    asked = len(twelvedata.requests)
    assert asked == 4 * BREAKS_AFTER
    with pytest.raises(Unasked) as caught:
        question("MSFT")
    assert len(twelvedata.requests) == asked
    assert f"Twelve Data has not answered {BREAKS_AFTER} times in a row, so MSFT was not asked for" in str(caught.value)
    assert caught.value.until
    assert abs((caught.value.until - timezone.now()).total_seconds() - 60) < 10
    assert pause() == pytest.approx(60, abs=10)


def test_an_answer_in_between_starts_the_count_anew(twelvedata: TwelveData) -> None:
    for _ in range(2):
        twelvedata.fail("*", "503")
        fail(BREAKS_AFTER - 1)
        twelvedata.mend()
        question()
    assert (state().failures, state().closed_until) == (0, None)


def test_an_answer_closes_it_and_no_is_one_too(twelvedata: TwelveData) -> None:
    for kind in ("", "404", "nothing"):
        twelvedata.fail("*", "503")
        fail(BREAKS_AFTER)
        let_the_pause_pass()
        twelvedata.mend()
        if kind:
            twelvedata.fail("*", kind)
            with pytest.raises(ProviderError):
                question()
        else:
            question()
        assert (state().failures, state().closed_until) == (0, None), kind


def test_each_trial_that_fails_doubles_the_pause_up_to_a_quarter_of_an_hour(twelvedata: TwelveData) -> None:
    twelvedata.fail("*", "503")
    fail(BREAKS_AFTER)
    pauses = []
    for _ in range(6):
        let_the_pause_pass()
        fail()
        pauses.append(round(pause(), -1))
    assert pauses == pytest.approx([120, 240, 480, 900, 900, 900], abs=10)
    assert LONGEST_PAUSE_SECONDS == 900


def test_one_question_tries_it_and_the_others_do_not_wait(twelvedata: TwelveData) -> None:
    twelvedata.fail("*", "503")
    fail(BREAKS_AFTER)
    let_the_pause_pass()
    twelvedata.mend()
    twelvedata.requests.clear()
    under_way, go_on, results = threading.Event(), threading.Event(), []

    def hold(_: object) -> None:
        under_way.set()
        go_on.wait(10)

    twelvedata.on_request = hold

    def ask() -> None:
        try:
            results.append(question())
        except ProviderError as error:
            results.append(error)
        finally:
            connections.close_all()

    trial = threading.Thread(target=ask)
    trial.start()
    assert under_way.wait(10)
    others = [threading.Thread(target=ask) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert [type(result) for result in results] == [Unasked] * 4
    go_on.set()
    trial.join()
    assert len(twelvedata.requests) == 1
    assert results[-1].candles.num_rows > 15
    assert state().closed_until is None


def test_many_that_fail_at_once_open_it_for_a_minute_not_longer(twelvedata: TwelveData) -> None:
    """They report one outage."""
    twelvedata.fail("*", "503")
    barrier = threading.Barrier(8)
    twelvedata.on_request = lambda _: barrier.wait(10) if not barrier.broken else None

    def ask() -> None:
        try:
            question()
        except (ProviderError, threading.BrokenBarrierError):
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state().failures == BREAKS_AFTER
    assert pause() <= 60


def test_neither_an_emptied_cache_nor_a_restart_forgets_it(twelvedata: TwelveData) -> None:
    twelvedata.fail("*", "503")
    fail(BREAKS_AFTER)
    cache.clear()
    connections.close_all()
    twelvedata.mend()
    with pytest.raises(Unasked):
        question()


@pytest.mark.parametrize("kind", ["day", "401", "403", "429"])
def test_keys_plans_quotas_and_limits_do_not_open_it(twelvedata: TwelveData, kind: str) -> None:
    twelvedata.fail("*", kind)
    for _ in range(BREAKS_AFTER + 1):
        with pytest.raises(ProviderError) as caught:
            question()
        assert not isinstance(caught.value, Unasked)
        cache.clear()
    assert not ProviderState.objects.exclude(closed_until=None).exists()


def test_a_trial_that_was_stopped_lets_the_next_one_try(twelvedata: TwelveData) -> None:
    twelvedata.fail("*", "503")
    fail(BREAKS_AFTER)
    let_the_pause_pass()
    twelvedata.mend()

    class Stopped(Exception):
        pass

    class Impatient(Quick):
        def wait_for(self, call):
            raise Stopped

    with pytest.raises(Stopped):
        question(wait=Impatient())
    assert question().candles.num_rows > 15


def test_a_trial_whose_worker_dies_keeps_it_shut_for_minutes_only(twelvedata: TwelveData) -> None:
    twelvedata.fail("*", "503")
    fail(BREAKS_AFTER)
    let_the_pause_pass()
    leases: list[float] = []

    def look(_: object) -> None:
        leases.append(pause())
        connections.close_all()

    twelvedata.on_request = look
    fail()
    assert all(PATIENCE < lease <= TRIAL_SECONDS for lease in leases)
    assert TRIAL_SECONDS <= 300
