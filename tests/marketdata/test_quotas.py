"""A day's requests: counted before each is sent, by all workers together, and never forgotten."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connections

from marketdata import asking, credentials, providers
from marketdata.asking import Foreground, answer, quota_left
from marketdata.models import ProviderQuota, Timeframe
from marketdata.providers.base import AuthError, QuotaExhausted
from marketdata.ratelimit import Quota
from tests.house import owner
from tests.loopback.keyed import twelvedata as twelvedata_fixture
from tests.loopback.twelvedata import TwelveData

pytestmark = pytest.mark.usefixtures("house")
twelvedata = twelvedata_fixture
PROVIDER = providers.named("twelvedata")


class Quick(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


def question(symbol: str = "AAPL"):
    since, until = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 10, 1, tzinfo=UTC)
    return answer(
        PROVIDER, symbol, lambda: PROVIDER.fetch(symbol, Timeframe.D1, since, until), Quick(), lambda error: None
    )


def test_each_request_is_counted_before_it_is_sent(twelvedata: TwelveData) -> None:
    counts: list[int] = []

    def look(_: object) -> None:
        with owner() as database:
            counts.append(database.execute("SELECT used FROM marketdata_providerquota").fetchone()[0])

    twelvedata.on_request = look
    twelvedata.fail("AAPL", "503", times=2)
    question()
    assert counts == [1, 2, 3]
    assert quota_left(PROVIDER)[:2] == (3, 800)


def test_when_the_day_is_used_up_nobody_is_asked(twelvedata: TwelveData, settings) -> None:
    settings.TWELVEDATA_REQUESTS_PER_DAY = 2
    question()
    question()
    with pytest.raises(QuotaExhausted, match=r"all 2 of today's requests are used.*00:00 UTC"):
        question()
    assert len(twelvedata.requests) == 2
    assert quota_left(PROVIDER) == (2, 2, True)


def test_when_the_provider_says_so_it_counts_more_than_our_count(twelvedata: TwelveData) -> None:
    twelvedata.fail("*", "day", times=1)
    with pytest.raises(QuotaExhausted, match="daily credits are used up"):
        question()
    with pytest.raises(QuotaExhausted, match="it said so today"):
        question("MSFT")
    assert len(twelvedata.requests) == 1
    assert quota_left(PROVIDER).over


def test_enough_said_after_midnight_is_of_the_day_of_the_question(twelvedata: TwelveData) -> None:
    """The request was sent on the day before; the new day's requests are all there."""

    def midnight(_: object) -> None:
        with owner() as database:
            database.execute("UPDATE marketdata_providerquota SET day = day - 1")

    twelvedata.on_request = midnight
    twelvedata.fail("*", "day", times=1)
    with pytest.raises(QuotaExhausted):
        question()
    twelvedata.on_request = lambda seen: None
    assert quota_left(PROVIDER) == (0, 800, False)
    question()
    assert ProviderQuota.objects.exclude(exhausted_at=None).count() == 1


def test_every_request_of_an_answer_that_came_in_pieces_is_counted(twelvedata: TwelveData) -> None:
    twelvedata.fail("AAPL", "capped")
    question()
    assert len(twelvedata.requests) > 1
    assert quota_left(PROVIDER).used == len(twelvedata.requests)


def test_a_limit_that_was_lowered_is_called_used_up(twelvedata: TwelveData, settings) -> None:
    question()
    question()
    settings.TWELVEDATA_REQUESTS_PER_DAY = 1
    with pytest.raises(QuotaExhausted, match="all 1 of today's requests are used"):
        question()


def test_the_next_day_begins_anew(twelvedata: TwelveData, settings) -> None:
    settings.TWELVEDATA_REQUESTS_PER_DAY = 1
    question()
    ProviderQuota.objects.update(day=ProviderQuota.objects.get().day - timedelta(days=1))
    question()
    assert len(twelvedata.requests) == 2
    assert ProviderQuota.objects.count() == 2


def test_another_key_has_its_own(twelvedata: TwelveData, settings) -> None:
    settings.TWELVEDATA_REQUESTS_PER_DAY = 1
    question()
    twelvedata.key = settings.TWELVEDATA_API_KEY = "anotherkey"
    question()
    assert len(twelvedata.requests) == 2
    assert all(row.key and "anotherkey" not in row.key for row in ProviderQuota.objects.all())


def test_an_emptied_cache_forgets_nothing(twelvedata: TwelveData, settings) -> None:
    settings.TWELVEDATA_REQUESTS_PER_DAY = 1
    question()
    cache.clear()
    with pytest.raises(QuotaExhausted):
        question()


def test_raising_the_limit_helps_at_once_and_zero_means_none(settings) -> None:
    assert Quota("test", 1).spend()
    assert not Quota("test", 1).spend()
    assert Quota("test", 2).spend()
    assert not Quota("other", 0).spend()


def test_without_a_limit_they_are_counted_all_the_same() -> None:
    quota = Quota("free", None)
    assert all(quota.spend() for _ in range(5))
    assert quota.today() == (5, None, False)


def test_without_a_key_nothing_is_counted(twelvedata: TwelveData, settings) -> None:
    settings.TWELVEDATA_API_KEY = ""
    with pytest.raises(AuthError, match=r"AAPL was not asked for\. Twelve Data has no key"):
        question()
    assert not ProviderQuota.objects.exists()


def test_threads_and_processes_never_spend_one_too_many() -> None:
    granted: list[bool] = []

    def spend() -> None:
        try:
            granted.extend(bool(Quota("test", 40).spend()) for _ in range(10))
        finally:
            connections.close_all()

    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'chronos.settings'; import django; django.setup();"
        "from marketdata.ratelimit import Quota; print(sum(bool(Quota('test', 40).spend()) for _ in range(10)))"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    threads = [threading.Thread(target=spend) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    theirs = int(other.communicate(timeout=60)[0])
    assert sum(granted) + theirs == 40
    assert Quota("test", 40).today() == (40, 40, True)


def test_turns_go_by_key(twelvedata: TwelveData, settings) -> None:
    """The minute's limit is a key's, too."""
    one = credentials.account("twelvedata")
    settings.TWELVEDATA_API_KEY = "anotherkey"
    assert one != credentials.account("twelvedata")
    assert credentials.account("yahoo") == "yahoo"


def test_calls_to_the_outside_touch_no_database(twelvedata: TwelveData, settings, django_assert_num_queries) -> None:
    """They run in a helper thread of a job, where a connection would never be closed."""
    settings.TWELVEDATA_API_KEY = ""
    credentials.store("twelvedata", twelvedata.key, "alice")

    class Apart(Quick):
        def wait_for(self, call):
            with django_assert_num_queries(0):
                return call()

    since = datetime(2025, 9, 1, tzinfo=UTC)
    found = answer(
        PROVIDER,
        "AAPL",
        lambda: PROVIDER.fetch("AAPL", Timeframe.D1, since, since + timedelta(days=9)),
        Apart(),
        lambda error: None,
    )
    assert found.candles.num_rows == 7
    assert asking.ATTEMPTS == 4
