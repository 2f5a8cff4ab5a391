"""Whether a stored asset is known: what providers said, what the symbol master has, what its own candles show."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketdata import chains, recognition
from marketdata.asking import Foreground
from marketdata.fetching import refresh
from marketdata.freshness import judge
from marketdata.models import Asset, Listing, Series, Timeframe
from tests import cast
from tests.loopback.okx import Okx
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]

NOW = timezone.now()
YESTERDAY = NOW - timedelta(days=1)


class Impatient(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


def asset(symbol: str, asset_class: str = "stock", **more) -> Asset:
    return Asset.objects.create(symbol=symbol, asset_class=asset_class, **more)


def listed(symbol: str, name: str = "Something Inc.", exchange: str = "NYQ", asset_class: str = "stock") -> None:
    Listing.objects.create(
        symbol=symbol, spelling=symbol, name=name, exchange=exchange, asset_class=asset_class, source="tests"
    )


def days(of: Asset, last, checked) -> None:
    Series.objects.create(asset=of, timeframe="1d", candle_count=9, last_open=last, checked_at=checked)


def state(of: Asset) -> str:
    return recognition.recognised([of])[of.pk].state


class TestRecognised:
    def test_each_state(self) -> None:
        expected = {
            asset("YES", validated_at=NOW): "confirmed",
            asset("LISTED"): "listed",
            asset("NOBODY"): "unverified",
            asset("TYPO", refuted_at=NOW): "unknown",
            asset("GONE", validated_at=YESTERDAY, refuted_at=NOW): "delisted",
            asset("LEFTOVER", refuted_at=NOW): "delisted",
            asset("ENDED", validated_at=NOW): "delisted",
            asset("QUIET", validated_at=NOW): "confirmed",
            asset("BARE"): "unverified",
            asset("^BARE", "index"): "listed",
            asset("AAPL.SAMPLE", is_sample=True): "sample",
        }
        listed("LISTED"), listed("LEFTOVER"), listed("BARE", "", ""), listed("^BARE", "", "", "index")
        by_name = {one.symbol: one for one in expected}
        days(by_name["ENDED"], NOW - timedelta(days=200), NOW)
        days(by_name["QUIET"], NOW - timedelta(days=200), NOW - timedelta(days=195))
        found = recognition.recognised(expected)
        assert {one.symbol: found[one.pk].state for one in expected} == {
            one.symbol: word for one, word in expected.items()
        }
        assert all(one.word and one.detail.endswith(".") for one in found.values())
        assert "(New York Stock Exchange)" in found[by_name["LISTED"].pk].detail

    def test_one_query_for_five_hundred(self) -> None:
        many = Asset.objects.bulk_create(Asset(symbol=f"A{number}") for number in range(500))
        with CaptureQueriesContext(connection) as seen:
            found = recognition.recognised(many)
        assert (len(found), len(seen)) == (500, 1)


class TestHeard:
    def test_a_provider_that_knows_it_no_more_is_remembered_and_taken_back(self, yahoo: Yahoo) -> None:
        nvda = asset("NVDA")
        refresh(nvda, Timeframe.D1, Impatient())
        listing = yahoo.listings.pop("NVDA")
        refresh(nvda, Timeframe.D1, Impatient(), again=True)
        nvda.refresh_from_db()
        assert nvda.refuted_at > nvda.validated_at
        assert state(nvda) == "delisted"
        fresh = judge(nvda, nvda.series.get(), NOW + timedelta(days=90))
        assert fresh.word.startswith("ends ")
        assert "do not know it any more" in fresh.detail
        yahoo.listings["NVDA"] = listing
        refresh(nvda, Timeframe.D1, Impatient(), again=True)
        nvda.refresh_from_db()
        assert nvda.refuted_at is None
        assert state(nvda) == "confirmed"

    def test_a_typing_error_is_told_from_a_delisting(self, yahoo: Yahoo) -> None:
        odd = asset("NOSUCH")
        refresh(odd, Timeframe.D1, Impatient())
        odd.refresh_from_db()
        assert state(odd) == "unknown"
        fresh = judge(odd, odd.series.get(), NOW)
        assert (fresh.level, fresh.word) == ("failing", "unknown")
        assert "typing error" in fresh.detail

    def test_one_that_does_not_answer_says_nothing(self, yahoo: Yahoo) -> None:
        nvda = asset("NVDA", validated_at=YESTERDAY)
        yahoo.fail("*", "503")
        refresh(nvda, Timeframe.D1, Impatient())
        nvda.refresh_from_db()
        assert nvda.refuted_at is None

    def test_that_one_exchange_does_not_list_a_coin_says_nothing(self, yahoo: Yahoo, okx: Okx) -> None:
        coin = asset("ODD-USDT", "crypto", validated_at=YESTERDAY)
        yahoo.fail("*", "503")
        refresh(coin, Timeframe.D1, Impatient())
        coin.refresh_from_db()
        assert coin.refuted_at is None
        yahoo.mend()
        chains.set_chain("crypto", ["okx"], "tests")  # now there is nobody else to ask
        refresh(coin, Timeframe.D1, Impatient())
        coin.refresh_from_db()
        assert coin.refuted_at

    def test_what_was_confirmed_meanwhile_is_not_refuted(self) -> None:
        nvda = asset("NVDA", validated_at=NOW)
        recognition.refute(nvda, YESTERDAY)
        nvda.refresh_from_db()
        assert nvda.refuted_at is None

    def test_the_asset_s_page_says_so(self) -> None:
        gone = asset("GONE", refuted_at=NOW)
        page = cast.signed_in(cast.alice()).get(gone.get_absolute_url()).content.decode()
        assert "Not known to providers" in page
        assert "typing error" in page
