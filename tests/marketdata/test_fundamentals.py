"""Market cap, P/E, yield, sector and industry, by the verb and by the weekly job."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from marketdata import asking, fundamentals
from marketdata.asking import Foreground
from marketdata.models import Asset, ProviderState
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]


class Impatient(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


def asset(symbol: str = "MSFT", asset_class: str = "stock", **more) -> Asset:
    more.setdefault("validated_at", timezone.now())
    return Asset.objects.create(symbol=symbol, asset_class=asset_class, **more)


def refresh(what: Asset) -> fundamentals.Known:
    return fundamentals.refresh(what, Impatient())


class TestRefresh:
    def test_what_is_told_replaces_what_was_stored(self, yahoo: Yahoo) -> None:
        microsoft = asset(sector="Oil", market_cap=Decimal(5), currency="USD")
        before = timezone.now()
        done = refresh(microsoft)
        assert (done.status, done.error) == ("done", "")
        assert {"sector", "market_cap"} <= set(done.changed)
        assert "currency" not in done.changed
        microsoft.refresh_from_db()
        assert (microsoft.sector, microsoft.industry) == ("Technology", "Software - Infrastructure")
        assert (microsoft.market_cap, microsoft.price_earnings) == (Decimal("3567710961664.00"), Decimal("34.1"))
        assert microsoft.dividend_yield == Decimal("0.0071")
        assert microsoft.facts_at >= before

    def test_what_is_left_out_stays(self, yahoo: Yahoo) -> None:
        yahoo.listings["MSFT"].facts = {"sector": "Technology"}
        microsoft = asset(industry="Software", price_earnings=Decimal(30))
        refresh(microsoft)
        microsoft.refresh_from_db()
        assert (microsoft.sector, microsoft.industry, microsoft.price_earnings) == ("Technology", "Software", 30)

    def test_the_same_again_changes_nothing(self, yahoo: Yahoo) -> None:
        microsoft = asset()
        refresh(microsoft)
        assert refresh(microsoft).changed == ()

    def test_nobody_elses_change_is_undone(self, yahoo: Yahoo) -> None:
        microsoft = asset()
        Asset.objects.update(calendar="XNAS", metadata={"ours": "1"})
        refresh(microsoft)
        microsoft.refresh_from_db()
        assert (microsoft.calendar, microsoft.metadata) == ("XNAS", {"ours": "1"})

    def test_long_and_odd_words_are_stored_as_they_fit(self, yahoo: Yahoo) -> None:
        yahoo.listings["MSFT"].facts = {"sector": "Tech\x00nology\u2028 " + "x" * 300}
        microsoft = asset()
        assert refresh(microsoft).status == "done"
        microsoft.refresh_from_db()
        assert microsoft.sector.startswith("Tech nology xxx")
        assert len(microsoft.sector) == 100

    def test_an_unknown_symbol_is_not_asked_again_this_week(self, yahoo: Yahoo) -> None:
        odd = asset("NOSUCH")
        done = refresh(odd)
        assert (done.status, done.unanswered) == ("failed", False)
        assert "does not know the symbol NOSUCH" in done.error
        assert not fundamentals.due().exists()

    def test_a_provider_that_does_not_answer_is_asked_again_soon(self, yahoo: Yahoo) -> None:
        yahoo.fail("facts MSFT", "503")
        done = refresh(asset())
        assert (done.status, done.unanswered) == ("failed", True)
        assert "answered 503" in done.error
        assert fundamentals.due().exists()

    def test_a_short_failure_is_asked_again_at_once(self, yahoo: Yahoo) -> None:
        yahoo.fail("facts MSFT", "503", times=2)
        assert refresh(asset()).status == "done"

    def test_without_anybody_who_knows_the_remedy_is_named(self, yahoo: Yahoo) -> None:
        from marketdata import chains

        chains.set_chain("stock", ["alphavantage"], "tests")
        done = refresh(asset())
        assert done.status == "failed"
        assert "chain" in done.error


class TestDue:
    def test_stocks_funds_and_etfs_that_are_confirmed_and_a_week_old(self) -> None:
        now = timezone.now()
        asset("NEVER")
        asset("OLD", "etf", facts_at=now - timedelta(days=8))
        asset("FRESH", facts_at=now - timedelta(days=6))
        asset("BTC-USD", "crypto")
        asset("UNSEEN", validated_at=None)
        asset("AAPL.SAMPLE", is_sample=True)
        assert {one.symbol for one in fundamentals.due()} == {"NEVER", "OLD"}


class TestJob:
    def run(self) -> Job:
        with tenancy.as_system("tests"):
            job = jobs.start("refresh-facts", {}, owner=None, subject="Fundamentals")
        jobs.run_job(job.pk)
        with tenancy.as_system("tests"):
            job.refresh_from_db()
        return job

    @pytest.fixture(autouse=True)
    def _no_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asking, "_pause", lambda state: 0.0)

    def test_it_works_and_asks_only_for_what_is_due(self, yahoo: Yahoo) -> None:
        asset("MSFT"), asset("NVDA"), asset("BTC-USD", "crypto")
        done = self.run()
        assert (done.state, done.summary) == ("done", "Facts of 2 of 2 assets refreshed.")
        assert {one.sector for one in Asset.objects.filter(asset_class="stock")} == {"Technology"}
        before = len(yahoo.requests)
        assert self.run().summary == "All facts are less than a week old."
        assert len(yahoo.requests) == before

    def test_what_is_missing_is_listed(self, yahoo: Yahoo) -> None:
        asset("MSFT"), asset("NOSUCH")
        done = self.run()
        assert done.state == "partial"
        assert [one["symbol"] for one in done.result["missing"]] == ["NOSUCH"]
        assert "NOSUCH" in done.summary

    def test_a_provider_that_is_down_is_not_asked_for_everybody(self, yahoo: Yahoo) -> None:
        names = ["MSFT", "NVDA", "AAPL", "TSLA", "JPM", "BAC"]
        for name in names:
            asset(name)
            yahoo.fail(f"facts {name}", "503")
        done = self.run()
        assert done.state == "failed"
        assert "2 left for the next time" in done.summary
        assert len({seen.symbol for seen in yahoo.requests if "quoteSummary" in seen.path}) == 3
        assert len(done.result["missing"]) == 4
        yahoo.mend()
        ProviderState.objects.update(closed_until=timezone.now(), failures=0)
        assert self.run().state == "done"
