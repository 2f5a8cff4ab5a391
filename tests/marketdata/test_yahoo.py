"""Yahoo, through the unmodified yfinance, against the loopback server."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from marketdata import providers
from marketdata.models import AssetClass, Timeframe
from marketdata.providers.base import (
    BadRequest,
    MalformedResponse,
    NoData,
    ProviderTimeout,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)
from marketdata.ratelimit import Bucket
from tests.contracts.provider import ProviderContract
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
PROVIDER = providers.named("yahoo")


def ask(symbol: str = "NVDA", timeframe: str = "1d", since: str = "2025-09-01", until: str = "2025-10-01"):
    first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until))
    return PROVIDER.fetch(symbol, Timeframe(timeframe), first, last)


class TestYahoo(ProviderContract):
    provider = PROVIDER
    symbol, asset_class, unknown = "BTC-USDT", AssetClass.CRYPTO, "NOSUCH"
    faults = {
        RateLimited: ("429",),
        ProviderTimeout: ("slow",),
        MalformedResponse: ("garbage", "empty", "missing"),
        Unavailable: ("500", "503", "back", "truncated", "reset", "401", "html"),
        SymbolNotFound: ("404",),
        NoData: ("nothing",),
        BadRequest: ("rejected",),
    }

    @pytest.fixture
    def server(self, yahoo: Yahoo) -> Yahoo:
        return yahoo

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from marketdata.providers import yahoo_client

        monkeypatch.setattr(yahoo_client, "CONNECT_SECONDS", 0.3)
        monkeypatch.setattr(yahoo_client, "READ_SECONDS", 0.3)


class TestAsked:
    def test_unadjusted_prices_with_the_adjusted_close_beside(self, yahoo: Yahoo) -> None:
        yahoo.listings["NVDA"].dividends = {date(2025, 9, 10): 1.0}
        first, *_, last = ask().candles.to_pylist()
        assert first["adj_close"] < first["close"]
        assert last["adj_close"] == last["close"]
        asked = yahoo.charts("NVDA")[-1].params
        assert asked["interval"] == "1d"
        assert asked["events"] == "div,splits,capitalGains"
        assert datetime.fromtimestamp(int(asked["period1"]), UTC) == datetime(2025, 9, 1, 4, tzinfo=UTC)  # New York

    def test_prices_before_a_split_are_on_the_basis_after_it(self, yahoo: Yahoo) -> None:
        assert date(2024, 6, 10) in yahoo.listings["NVDA"].splits
        closes = [float(row["close"]) for row in ask(since="2024-05-01", until="2024-07-01").candles.to_pylist()]
        assert all(0.8 < one / other < 1.25 for one, other in pairwise(closes))

    def test_single_precision_prices_get_the_digits_that_were_meant(self, yahoo: Yahoo) -> None:
        for row in ask().candles.to_pylist():
            assert all(len(row[name].partition(".")[2]) <= 2 for name in ("open", "high", "low", "close"))

    def test_null_bars_are_no_candles(self, yahoo: Yahoo) -> None:
        yahoo.listings["NVDA"].nulls = {date(2025, 9, 9), date(2025, 9, 30)}
        found = {at.date() for at in ask().candles["open_time"].to_pylist()}
        assert date(2025, 9, 8) in found
        assert not found & yahoo.listings["NVDA"].nulls

    def test_intraday_candles_are_named_by_their_moment(self, yahoo: Yahoo) -> None:
        day = _last_weekday()
        found = ask("NVDA", "1h", f"{day}", f"{day + timedelta(days=1)}").candles["open_time"].to_pylist()
        opens = yahoo.listings["NVDA"].hours(day)[0]
        assert found == [opens + timedelta(hours=number) for number in range(7)]

    def test_dates_of_tokyo_are_tokyos(self, yahoo: Yahoo) -> None:
        found = ask("7203.T", since="2025-09-08", until="2025-09-13").candles["open_time"].to_pylist()
        assert [at.date() for at in found] == [date(2025, 9, day) for day in range(8, 13)]

    def test_weeks_are_named_by_monday_and_months_by_the_first(self, yahoo: Yahoo) -> None:
        weeks = ask(timeframe="1w").candles["open_time"].to_pylist()
        assert [at.day for at in weeks] == [1, 8, 15, 22, 29]
        months = ask(timeframe="1mo", since="2025-06-15", until="2025-10-01").candles["open_time"].to_pylist()
        assert [(at.month, at.day) for at in months] == [(7, 1), (8, 1), (9, 1)]

    def test_the_past_is_asked_for_anew_each_time(self, yahoo: Yahoo) -> None:
        """yfinance keeps answers about the past, wrong ones too."""
        yahoo.fail("NVDA", "garbage")
        with pytest.raises(MalformedResponse):
            ask()
        yahoo.mend()
        before = ask().candles["close"][0].as_py()
        yahoo.listings["NVDA"].level *= 2
        assert float(ask().candles["close"][0].as_py()) == pytest.approx(2 * float(before), rel=0.01)

    def test_facts_come_with_the_candles(self, yahoo: Yahoo) -> None:
        facts = ask("SPY").facts
        assert (facts.name, facts.asset_class) == ("SPDR S&P 500 ETF Trust", AssetClass.ETF)
        assert (facts.exchange, facts.currency) == ("NYSEArca", "USD")
        assert facts.metadata["timezone"] == "America/New_York"


class TestForming:
    """The day's candle while the market is open is never returned."""

    def listing(self, server: Yahoo, opened: timedelta, lasts: timedelta) -> date:
        """NVDA on a market whose session began so long ago, in a zone where it is about noon now."""
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        shift = 12 - now.hour
        zone = f"Etc/GMT{-shift:+d}" if shift else "Etc/GMT"
        listing = server.listings["NVDA"] = replace(server.listings["NVDA"], zone=zone)
        local = now.astimezone(listing.tz)
        start = (local - opened).time()
        listing.session = (start, (local - opened + lasts).time())
        listing.trades = lambda day: True  # type: ignore[method-assign]  # weekends too
        return local.date()

    def days(self) -> tuple[list[date], int]:
        until = datetime.now(UTC) + timedelta(days=2)
        found = PROVIDER.fetch("NVDA", Timeframe.D1, until - timedelta(days=9), until)
        return [at.date() for at in found.candles["open_time"].to_pylist()], found.unfinished

    @pytest.fixture(autouse=True)
    def _own_zone(self, yahoo: Yahoo) -> None:
        """yfinance keeps the zone of each symbol it has met; these tests move NVDA to another."""
        from yfinance.cache import get_tz_cache

        from marketdata.providers import yahoo_client

        yahoo_client._session()
        get_tz_cache().store("NVDA", None)
        yield
        get_tz_cache().store("NVDA", None)

    def test_in_the_session(self, yahoo: Yahoo) -> None:
        today = self.listing(yahoo, timedelta(hours=2), timedelta(hours=5))
        days, unfinished = self.days()
        assert (days[-1], unfinished) == (today - timedelta(days=1), 1)

    def test_just_after_it(self, yahoo: Yahoo) -> None:
        today = self.listing(yahoo, timedelta(hours=2), timedelta(hours=1, minutes=50))
        days, unfinished = self.days()
        assert (days[-1], unfinished) == (today - timedelta(days=1), 1)

    def test_a_quarter_of_an_hour_after_it(self, yahoo: Yahoo) -> None:
        today = self.listing(yahoo, timedelta(hours=2), timedelta(hours=1, minutes=40))
        days, unfinished = self.days()
        assert (days[-1], unfinished) == (today, 0)

    def test_coins_are_final_when_the_utc_day_is_over(self, yahoo: Yahoo) -> None:
        now = datetime.now(UTC)
        found = PROVIDER.fetch("BTC-USD", Timeframe.D1, now - timedelta(days=5), now)
        assert found.candles["open_time"].to_pylist()[-1].date() == now.date() - timedelta(days=1)
        assert found.unfinished == 1


class TestPolite:
    """What each answer costs in requests, and what stays behind."""

    def test_a_refusal_costs_one_request_and_says_how_long_to_wait(self, yahoo: Yahoo) -> None:
        ask()
        before = len(yahoo.requests)
        yahoo.fail("NVDA", "429", retry_after=7)
        with pytest.raises(RateLimited) as caught:
            ask()
        assert (caught.value.retry_after, len(yahoo.requests) - before) == (7, 1)

    def test_a_date_is_understood_too(self, yahoo: Yahoo) -> None:
        at = datetime.now(UTC) + timedelta(seconds=90)
        yahoo.fail("NVDA", "429", retry_after=f"{at:%a, %d %b %Y %H:%M:%S} GMT")
        with pytest.raises(RateLimited) as caught:
            ask()
        assert 80 < caught.value.retry_after <= 90

    def test_an_unknown_symbol_costs_one_request(self, yahoo: Yahoo) -> None:
        ask()
        before = len(yahoo.requests)
        with pytest.raises(SymbolNotFound, match="NOSUCH"):
            ask("NOSUCH")
        assert len(yahoo.requests) - before == 1

    def test_a_refused_crumb_is_neither_used_nor_fatal(self, yahoo: Yahoo) -> None:
        from yfinance.data import YfData

        ask()
        YfData()._crumb = None
        yahoo.fail("getcrumb", "429")
        assert ask().candles.num_rows > 15
        assert "crumb" not in yahoo.charts("NVDA")[-1].params
        yahoo.mend()
        assert ask().candles.num_rows > 15
        assert yahoo.charts("NVDA")[-1].params["crumb"] == "lOoPbAcK.01"

    def test_requests_beyond_the_callers_turn_are_charged(self, yahoo: Yahoo, settings) -> None:
        settings.YAHOO_REQUESTS_PER_SECOND = 0.5
        yahoo.fail("NVDA", "401")
        before = len(yahoo.requests)
        with pytest.raises(Unavailable, match="401"):
            ask()
        spent = len(yahoo.requests) - before
        assert spent > 1
        assert Bucket("yahoo", 0.5).take() == pytest.approx(2 * (spent - 1), abs=0.5)

    def test_its_files_are_in_the_state_directory(self, yahoo: Yahoo) -> None:
        ask()
        assert (Path(django_settings.CHRONOS_VAR) / "cache" / "yfinance" / "tkr-tz.db").is_file()

    def test_a_broken_cookie_file_heals(self, yahoo: Yahoo) -> None:
        from yfinance.cache import get_cookie_cache
        from yfinance.data import YfData

        ask()
        get_cookie_cache().store("curlCffi", {".yahoo.com": {"/": {}}})
        YfData()._crumb = YfData()._cookie = None
        with pytest.raises(MalformedResponse):
            ask()
        assert ask().candles.num_rows > 15


class TestTheWayThere:
    """Proxy and certificates are the operator's standard variables."""

    def test_everything_goes_through_the_proxy(self, yahoo: Yahoo) -> None:
        ask()
        assert {seen.host for seen in yahoo.requests} <= set(yahoo.hosts)
        assert "Chrome" in yahoo.requests[-1].user_agent

    def test_all_proxy_counts_too(self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HTTPS_PROXY")
        monkeypatch.setenv("ALL_PROXY", yahoo.address)
        assert ask().candles.num_rows > 15

    def test_no_proxy_is_obeyed(self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_PROXY", "yahoo.com")
        with pytest.raises(Unavailable, match="can't be reached"):  # there is no way out of here without the proxy
            ask()
        assert not yahoo.requests

    @pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_each_certificate_variable_counts(self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv(name, str(yahoo.ca))
        assert ask().candles.num_rows > 15

    def test_an_unknown_authority_is_refused_with_the_remedy(
        self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(Unavailable, match="SSL_CERT_FILE"):
            ask()

    def test_a_bundle_that_is_not_there_is_named(self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
        with pytest.raises(Unavailable, match="names /nowhere/ca"):
            ask()

    def test_a_proxy_that_is_not_there(self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with pytest.raises(Unavailable, match="HTTPS_PROXY"):
            ask()


@pytest.mark.parametrize(
    ("symbol", "asset_class", "theirs"),
    [
        ("NVDA", AssetClass.STOCK, "NVDA"),
        ("BRK.B", AssetClass.STOCK, "BRK-B"),
        ("VOD.L", AssetClass.STOCK, "VOD.L"),
        ("7203.T", AssetClass.STOCK, "7203.T"),
        ("RY.TO", AssetClass.STOCK, "RY.TO"),
        ("BTC-USDT", AssetClass.CRYPTO, "BTC-USD"),
        ("ETH-BTC", AssetClass.CRYPTO, "ETH-BTC"),
        ("EUR-USD", AssetClass.FX, "EURUSD=X"),
        ("^GSPC", AssetClass.INDEX, "^GSPC"),
    ],
)
def test_spellings(symbol: str, asset_class: AssetClass, theirs: str) -> None:
    assert PROVIDER.spelling(symbol, asset_class) == theirs


def test_an_index_and_a_currency_pair_can_be_had(yahoo: Yahoo) -> None:
    assert ask("^GSPC").facts.asset_class == AssetClass.INDEX
    assert ask("EURUSD=X").facts.asset_class == AssetClass.FX


def test_an_unknown_provider_is_refused_with_those_there_are() -> None:
    with pytest.raises(providers.UnknownProvider, match="yahoo"):
        providers.named("yahu")


def _last_weekday() -> date:
    day = datetime.now(UTC).date() - timedelta(days=1)
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return day
