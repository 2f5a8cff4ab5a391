"""Is this symbol real? By the verb, with providers that know, don't know, and don't answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
import redis
from django.core.cache import cache
from django.core.cache.backends.redis import RedisCache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from marketdata import asking, chains, validation, verdicts
from marketdata.asking import Foreground
from marketdata.models import Asset, Listing, ProviderState, Spelling
from marketdata.ratelimit import valkey
from marketdata.validation import Answer, Verdict, check
from tests import cast
from tests.loopback.alphavantage import AlphaVantage
from tests.loopback.keyed import alphavantage as alphavantage_fixture
from tests.loopback.keyed import twelvedata as twelvedata_fixture
from tests.loopback.okx import Okx
from tests.loopback.twelvedata import TwelveData
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
twelvedata, alphavantage = twelvedata_fixture, alphavantage_fixture

NOW = timezone.now()


class Impatient(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


def one(symbol: str, **how) -> Answer:
    how.setdefault("wait", Impatient())
    return check([symbol], **how)[0]


def asset(symbol: str, **more) -> Asset:
    return Asset.objects.create(symbol=symbol, **more)


def listed(*symbols: str, name: str = "Something Inc.", asset_class: str = "stock") -> None:
    Listing.objects.bulk_create(
        Listing(symbol=symbol, spelling=symbol, name=name, exchange="NYQ", asset_class=asset_class, source="tests")
        for symbol in symbols
    )


class TestKnownHere:
    def test_stored_and_listed_symbols_need_nobody(self) -> None:
        asset("NVDA", name="NVIDIA", validated_at=NOW)
        asset("AAPL.SAMPLE", is_sample=True)
        listed("VOD.L", name="Vodafone")
        found = check(["nvda", "VOD.L", "AAPL.SAMPLE"], asks=False)
        assert [(answer.verdict, answer.source) for answer in found] == [
            ("valid", "stored"),
            ("valid", "directory"),
            ("valid", "sample"),
        ]
        assert (found[0].written, found[0].symbol, found[0].name) == ("nvda", "NVDA", "NVIDIA")
        assert "(New York Stock Exchange)" in found[1].reason

    def test_by_a_provider_s_spelling(self) -> None:
        Spelling.objects.create(asset=asset("BRK.B", validated_at=NOW), provider="yahoo", spelling="BRK-B")
        answer = one("BRK-B", asks=False)
        assert (answer.verdict, answer.symbol) == ("valid", "BRK.B")
        assert answer.reason.startswith("It is kept here as BRK.B.")

    def test_what_is_not_known_is_not_verified_rather_than_unknown(self) -> None:
        listed("NVDA")
        assert one("NVDX", asks=False).verdict == "unverified"

    def test_a_line_without_name_and_exchange_does_not_vouch(self) -> None:
        Listing.objects.create(symbol="TIF", spelling="TIF", asset_class="stock", source="tests")
        assert one("TIF", asks=False).verdict == "unverified"

    def test_each_text_has_its_answer_in_order(self) -> None:
        listed("A", "B")
        found = check(["B", "A", "b", "", "A", "=X"], asks=False)
        assert [answer.symbol for answer in found] == ["B", "A", "B", "", "A", ""]

    def test_five_thousand_take_few_queries_and_more_are_refused(self) -> None:
        names = [f"S{number}" for number in range(5000)]
        listed(*names)
        with CaptureQueriesContext(connection) as seen:
            found = check(names)
        assert {answer.verdict for answer in found} == {"valid"}
        assert len(seen) <= 4
        assert check(names[:7]) == found[:7]
        with CaptureQueriesContext(connection) as seen:
            assert check(names[:7]) == found[:7]
        assert len(seen) == 0
        with pytest.raises(validation.TooMany, match="5,001"):
            check([*names, "ONE-MORE"])


class TestAsked:
    def test_a_provider_confirms_it_and_is_not_asked_again(self, yahoo: Yahoo) -> None:
        answer = one("NVDA")
        assert (answer.verdict, answer.source, answer.name) == ("valid", "yahoo", "NVIDIA Corporation")
        before = len(yahoo.requests)
        assert one("NVDA") == answer
        assert len(yahoo.requests) == before
        assert not Asset.objects.exists()  # only looked at

    def test_one_that_nobody_knows(self, yahoo: Yahoo) -> None:
        answer = one("NVDX")
        assert (answer.verdict, answer.source) == ("unknown", "yahoo")
        assert "does not know it" in answer.reason
        before = len(yahoo.requests)
        assert one("NVDX").verdict == "unknown"
        assert len(yahoo.requests) == before

    def test_every_class_is_asked_of_its_own_providers(self, yahoo: Yahoo, okx: Okx) -> None:
        for symbol in ("^GSPC", "EUR-USD", "BTC-USDT", "7203.T", "BRK.B", "SPY"):
            assert one(symbol).verdict == "valid", symbol
        assert one("SPY").asset_class == "etf"
        assert one("BTC-USDT").source == "okx"
        assert one("NOSUCH-USDT").verdict == "unknown"

    def test_a_remembered_no_does_not_outlive_what_is_learnt_here(self, yahoo: Yahoo) -> None:
        assert one("ACME").verdict == "unknown"
        listed("ACME")
        assert one("ACME").verdict == "valid"

    def test_a_remembered_yes_does_not_outlive_a_no(self, yahoo: Yahoo) -> None:
        from marketdata.fetching import refresh

        nvda = asset("NVDA", validated_at=NOW - timedelta(days=1))
        assert one("NVDA").verdict == "valid"
        del yahoo.listings["NVDA"]
        refresh(nvda, "1d", Impatient())
        answer = one("NVDA")
        assert (answer.verdict, answer.source) == ("delisted", "stored")

    def test_a_stored_asset_learns_the_answer(self, yahoo: Yahoo) -> None:
        good, odd = asset("NVDA"), asset("NVDX")
        assert [answer.verdict for answer in check(["NVDA", "NVDX"], wait=Impatient())] == ["valid", "unknown"]
        good.refresh_from_db(), odd.refresh_from_db()
        assert good.validated_at
        assert good.name == "NVIDIA Corporation"
        assert odd.refuted_at

    def test_one_that_was_confirmed_once_is_delisted(self, yahoo: Yahoo) -> None:
        long_ago = NOW - timedelta(days=400)
        asset("LEH", validated_at=long_ago, refuted_at=NOW - timedelta(days=40))
        assert (one("LEH", asks=False).verdict, one("LEH", asks=False).source) == ("delisted", "stored")
        answer = one("LEH")
        assert (answer.verdict, answer.source) == ("delisted", "yahoo")

    def test_one_that_stopped_trading_is_delisted(self, yahoo: Yahoo) -> None:
        yahoo.listings["NVDA"].until = date(2024, 3, 8)
        answer = one("NVDA")
        assert answer.verdict == "delisted"
        assert "last traded on 8 Mar 2024" in answer.reason

    def test_a_stored_one_that_stopped_trading_stays_delisted_when_it_is_looked_at_again(self, yahoo: Yahoo) -> None:
        asset("NVDA")
        yahoo.listings["NVDA"].until = date(2024, 3, 8)
        assert one("NVDA").verdict == "delisted"
        answer = one("NVDA", asks=False)
        assert (answer.verdict, answer.source) == ("delisted", "stored")
        assert "last traded on 8 Mar 2024" in answer.reason

    def test_one_that_is_rarely_traded_is_not(self, yahoo: Yahoo) -> None:
        yahoo.listings["NVDA"].until = (NOW - timedelta(days=100)).date()
        assert one("NVDA").verdict == "valid"

    def test_no_transaction_is_open_while_a_provider_is_asked(self, yahoo: Yahoo) -> None:
        states: list[bool] = []
        yahoo.on_chart = lambda seen: states.append(connection.in_atomic_block)
        one("NVDA")
        assert states == [False]
        with transaction.atomic():
            assert one("NVDX").verdict == "unverified"
        assert len(states) == 1


class TestSuggested:
    def test_near_misses_are_suggested_while_it_is_asked_and_afterwards(self, yahoo: Yahoo) -> None:
        listed("GOOGL", name="Alphabet Inc.")
        asset("GOLD.TO", validated_at=NOW)
        assert check(["GOGL"], user=cast.alice())[0].suggestions[0] == "GOOGL"
        assert one("GOGL").verdict == "unknown"
        assert one("GOGL").suggestions[0] == "GOOGL"
        assert verdicts.recall(["GOGL"])["GOGL"].suggestions[0] == "GOOGL"

    def test_a_former_symbol_that_is_still_listed_does_not_vouch(self, yahoo: Yahoo) -> None:
        listed("FLT", "CPAY")
        answer = one("FLT")
        assert (answer.verdict, answer.suggestions[0]) == ("delisted", "CPAY")

    def test_a_company_s_name_finds_its_symbol(self) -> None:
        listed("AAPL", name="Apple Inc.")
        Listing.objects.update(importance=20_000)
        answer = one("apple inc", asks=False)
        assert (answer.verdict, answer.suggestions) == ("malformed", ("AAPL",))

    def test_what_is_valid_has_none(self) -> None:
        listed("AAPL", "AAPB")
        assert one("AAPL").suggestions == ()


class TestNobodyAnswers:
    @pytest.mark.parametrize("fault", ["429", "500", "503", "garbage", "empty", "missing", "html", "reset", "nothing"])
    def test_no_fault_makes_a_symbol_unknown(self, yahoo: Yahoo, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
        yahoo.fail("*", fault, **({"retry_after": 1} if fault == "429" else {}))
        monkeypatch.setattr(asking, "_pause", lambda state: 0.0)
        monkeypatch.setattr(asking.Bucket, "pause", lambda self, seconds: None)
        found = check(["NVDA", "NVDX"], wait=Impatient())
        assert {answer.verdict for answer in found} == {"unverified"}, found
        assert all(answer.reason for answer in found)

    def test_one_exchange_that_does_not_list_it_is_not_enough(self, yahoo: Yahoo, okx: Okx) -> None:
        yahoo.fail("*", "503")
        answer = one("NOSUCH-USDT")
        assert answer.verdict == "unverified"
        assert "OKX does not have it" in answer.reason

    def test_the_next_is_asked_and_may_know(self, yahoo: Yahoo, twelvedata: TwelveData) -> None:
        yahoo.fail("*", "503")
        assert (one("NVDA").verdict, one("NVDA").source) == ("valid", "twelvedata")
        assert one("NVDX").verdict == "unverified"  # its no alone does not count for stocks

    def test_the_next_is_asked_after_a_no(self, yahoo: Yahoo, twelvedata: TwelveData) -> None:
        del yahoo.listings["NVDA"]
        assert (one("NVDA").verdict, one("NVDA").source) == ("valid", "twelvedata")

    def test_few_requests_are_not_spent_on_long_lists(self, yahoo: Yahoo, alphavantage: AlphaVantage) -> None:
        names = [f"NOSUCH{number}" for number in range(validation.FEW + 1)]
        assert {answer.verdict for answer in check(names, wait=Impatient())} == {"unknown"}
        assert not alphavantage.requests
        assert one("NOSUCH").verdict == "unknown"
        assert len(alphavantage.requests) == 1

    def test_without_anybody_to_ask_the_remedy_is_named(self) -> None:
        chains.set_chain("stock", ["alphavantage"], "tests")
        answer = one("NVDA")
        assert answer.verdict == "unverified"
        assert "nobody to ask" in answer.reason

    def test_a_provider_that_is_down_is_not_asked_for_all(self, yahoo: Yahoo) -> None:
        yahoo.fail("*", "503")
        found = check([f"NVDA{number}" for number in range(50)], wait=Impatient())
        assert {answer.verdict for answer in found} == {"unverified"}
        assert len({seen.symbol for seen in yahoo.charts()}) == validation.GIVEN_UP

    def test_it_is_asked_again_after_a_minute(self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
        yahoo.fail("*", "503")
        assert one("NVDA").verdict == "unverified"
        yahoo.mend()
        assert one("NVDA").verdict == "unverified"
        assert 0 < valkey().pttl("chronos:1:verdict:1:NVDA") <= 60_000
        verdicts.forget(["NVDA"])
        assert one("NVDA").verdict == "valid"


class TestBudget:
    def test_a_slow_provider_takes_no_longer_than_the_budget(self, yahoo: Yahoo) -> None:
        yahoo.fail("*", "slow", seconds=20)
        started = time.monotonic()
        found = check(["NVDA", "MSFT"], budget=0.5)
        assert time.monotonic() - started < 1.5
        assert [answer.verdict for answer in found] == ["unverified", "unverified"]
        assert not ProviderState.objects.exclude(failures=0).exists()  # that we are in a hurry is not its fault

    def test_what_there_is_no_time_for_becomes_a_job(self, yahoo: Yahoo) -> None:
        alice = cast.alice()
        yahoo.fail("MSFT", "slow", seconds=20)
        found = check(["NVDA", "MSFT", "AAPL"], user=alice, budget=3)
        assert [answer.verdict for answer in found] == ["valid", "pending", "pending"]
        with tenancy.as_system("tests"):
            job = Job.objects.get()
        assert job.params == {"symbols": ["MSFT", "AAPL"]}
        assert (job.owner, job.pk) == (alice, found[1].job)

    def test_a_pause_that_is_too_long_is_not_waited_for(self, yahoo: Yahoo) -> None:
        yahoo.fail("*", "429", retry_after=30)
        started = time.monotonic()
        assert one("NVDA", budget=2, wait=None).verdict == "unverified"
        assert time.monotonic() - started < 3


class TestTogether:
    def test_two_who_ask_the_same_cost_one_question(self, yahoo: Yahoo) -> None:
        both = threading.Barrier(2)

        def ask() -> Verdict:
            both.wait()
            try:
                return one("NVDA", wait=Foreground()).verdict
            finally:
                connection.close()

        yahoo.on_chart = lambda seen: time.sleep(0.5)
        with ThreadPoolExecutor(2) as pool:
            assert [done.result() for done in [pool.submit(ask), pool.submit(ask)]] == ["valid", "valid"]
        assert len(yahoo.charts("NVDA")) == 1

    def test_a_dead_valkey_only_costs_time(self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = []

        def dead(*_: object, **__: object) -> None:
            tried.append(1)
            raise redis.ConnectionError("gone")

        for name in ("get_many", "set_many", "delete_many"):
            monkeypatch.setattr(RedisCache, name, dead)
        monkeypatch.setattr(verdicts, "_away_until", 0.0)
        listed(*(f"S{number}" for number in range(50)))
        found = check([*(f"S{number}" for number in range(50)), "NVDA", "NVDX"], wait=Impatient())
        assert [answer.verdict for answer in found[-2:]] == ["valid", "unknown"]
        assert len(tried) == 1  # then it is left alone for a while

    def test_valkey_flushed_in_the_middle(self, yahoo: Yahoo) -> None:
        yahoo.on_chart = lambda seen: cache.clear()
        assert [a.verdict for a in check(["NVDA", "MSFT", "NVDX"], wait=Impatient())] == ["valid", "valid", "unknown"]


class TestThrottle:
    def test_five_requests_a_minute_and_person(self) -> None:
        alice, bob = cast.alice(), cast.bob()
        for number in range(5):
            answer = check([f"NOSUCH{number}"], user=alice)[0]
            assert (answer.verdict, answer.wait) == ("pending", 0)
            assert answer.job
        refused = check(["NOSUCH5"], user=alice)[0]
        assert (refused.verdict, refused.job) == ("pending", None)
        assert 0 < refused.wait <= 60
        assert check(["NOSUCH5"], user=bob)[0].job
        assert check(["NOSUCH0"], user=alice)[0].job  # under way already: that is no request
        listed("KNOWN")
        assert check(["KNOWN"], user=alice)[0].verdict == "valid"

    def test_a_list_is_one_request(self, settings) -> None:
        settings.VALIDATION_REQUESTS_PER_MINUTE = 1
        alice = cast.alice()
        found = check([f"NOSUCH{number}" for number in range(300)], user=alice)
        assert len({answer.job for answer in found}) == 1
        assert check(["NOSUCH7", "NOSUCH9"], user=alice)[0].job == found[0].job
        assert check(["OTHER"], user=alice)[0].wait

    def test_it_holds_for_many_at_once(self) -> None:
        from marketdata.validation import throttle

        alice = cast.alice()
        with ThreadPoolExecutor(8) as pool:
            waits = list(pool.map(lambda _: throttle.seconds_until_turn(alice), range(40)))
        assert waits.count(0) == 5

    def test_without_valkey_each_process_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from marketdata.validation import throttle

        def dead() -> None:
            raise redis.ConnectionError("gone")

        monkeypatch.setattr(throttle, "valkey", dead)
        monkeypatch.setattr(throttle, "_here", {})
        alice = cast.alice()
        waits = [throttle.seconds_until_turn(alice) for _ in range(6)]
        assert waits[:5] == [0] * 5
        assert 0 < waits[5] <= 60


class TestJob:
    @pytest.fixture(autouse=True)
    def _no_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asking, "_pause", lambda state: 0.0)

    def run(self, job: Job) -> Job:
        jobs.run_job(job.pk)
        with tenancy.as_system("tests"):
            return Job.objects.get(pk=job.pk)

    def started(self, *symbols: str, user=None) -> Job:
        user = user or cast.alice()
        found = check(symbols, user=user)
        with tenancy.as_system("tests"):
            return Job.objects.get(pk=next(answer.job for answer in found if answer.job))

    def test_what_was_pending_settles(self, yahoo: Yahoo) -> None:
        alice = cast.alice()
        done = self.run(self.started("NVDA", "MSFT", "NVDX", user=alice))
        assert (done.state, done.result) == ("done", {"answers": {"valid": 2, "unknown": 1}})
        assert done.summary == "3 symbols: 2 valid, 1 unknown."
        assert [answer.verdict for answer in check(["NVDA", "MSFT", "NVDX"], user=alice)] == [
            "valid",
            "valid",
            "unknown",
        ]

    def test_a_long_list_is_told_in_short(self, yahoo: Yahoo) -> None:
        yahoo.fail("*", "503")
        alice = cast.alice()
        done = self.run(self.started(*(f"NOSUCH{number}" for number in range(250)), user=alice))
        assert done.state == "failed"
        assert len(done.result["missing"]) == 201
        assert done.result["missing"][-1] == "and 50 more"
        page = cast.signed_in(alice).get(done.get_absolute_url()).content.decode()
        assert "NOSUCH0, NOSUCH1, NOSUCH2" in page
        assert "and 240 more" in page

    def test_what_could_not_be_asked_is_listed(self, yahoo: Yahoo) -> None:
        yahoo.fail("MSFT", "503")
        done = self.run(self.started("NVDA", "MSFT"))
        assert done.state == "partial"
        assert [one.partition(":")[0] for one in done.result["missing"]] == ["MSFT"]
        assert "nobody could be asked about MSFT" in done.summary

    def test_after_its_worker_s_death_it_asks_only_for_what_is_left(
        self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job, step = self.started("NVDA", "MSFT", "NVDX"), jobs.Run.step

        def die(run: jobs.Run, done: int, *more) -> None:
            step(run, done, *more)
            if done == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(jobs.Run, "step", die)
        with pytest.raises(KeyboardInterrupt):
            jobs.run_job(job.pk)
        monkeypatch.setattr(jobs.Run, "step", step)
        with tenancy.as_system("tests"):
            Job.objects.filter(pk=job.pk).update(lease_until=timezone.now())
        done = self.run(job)
        assert (done.attempt, done.state, done.result["answers"]) == (2, "done", {"valid": 2, "unknown": 1})
        assert [len(yahoo.charts(symbol)) for symbol in ("NVDA", "MSFT", "NVDX")] == [1, 1, 1]


class TestStale:
    def test_who_is_asked_again_and_in_which_order(self, settings) -> None:
        settings.VALIDATION_DAYS = 30
        ago = {days: NOW - timedelta(days=days) for days in (1, 40, 50, 60)}
        asset("FRESH", validated_at=ago[1])
        asset("OLD", validated_at=ago[40])
        asset("OLDER", validated_at=ago[60])
        asset("NEVER")
        asset("NO", refuted_at=ago[50])
        asset("NO-TODAY", validated_at=ago[60], refuted_at=ago[1])
        asset("AAPL.SAMPLE", is_sample=True)
        assert {one.symbol for one in validation.stale(10)} == {"NEVER", "OLDER", "NO", "OLD"}
        assert len(validation.stale(2)) == 2

    def test_the_house_s_job(self, yahoo: Yahoo) -> None:
        old = NOW - timedelta(days=100)
        asset("NVDA", validated_at=old), asset("GONE", validated_at=old), asset("NEW")
        with tenancy.as_system("tests"):
            job = jobs.start("validate-assets", {}, owner=None, subject="Stale")
        jobs.run_job(job.pk)
        with tenancy.as_system("tests"):
            job.refresh_from_db()
        assert (job.state, job.result["answers"]) == ("done", {"valid": 1, "delisted": 1, "unknown": 1})
        assert {one.symbol for one in validation.stale(10)} == set()
        assert Asset.objects.get(symbol="NVDA").validated_at > old
        assert Asset.objects.get(symbol="GONE").refuted_at
