"""OKX, through the unmodified ccxt, against the loopback server."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command

from marketdata import providers
from marketdata.models import Asset, AssetClass, Candle, Timeframe
from marketdata.providers.base import (
    BadRequest,
    MalformedResponse,
    NoData,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)
from marketdata.ratelimit import Bucket
from tests.contracts.provider import ProviderContract
from tests.loopback.okx import Coin, Okx

pytestmark = pytest.mark.usefixtures("house")
PROVIDER = providers.named("okx")
LONG_AGO = datetime(2024, 3, 1, tzinfo=UTC)


def ask(timeframe: str = "1h", since: datetime = LONG_AGO, hours: float = 100, spelling: str = "BTC-USDT"):
    return PROVIDER.fetch(spelling, Timeframe(timeframe), since, since + timedelta(hours=hours))


def told(fetched) -> list[tuple[str, ...]]:
    """Rows as the server writes them: ms, open, high, low, close, volume, quote volume."""
    return [
        (f"{row['open_time'].timestamp() * 1000:.0f}", row["open"], row["high"], row["low"], row["close"],
         row["volume"], row["quote_volume"])
        for row in fetched.candles.to_pylist()
    ]  # fmt: skip


def truth(okx: Okx, bar: str = "1H", since: datetime = LONG_AGO, hours: float = 100) -> list[tuple[str, ...]]:
    return [(*row[:6], row[7]) for row in okx.truth("BTC-USDT", bar, since, since + timedelta(hours=hours))]


class TestOkx(ProviderContract):
    provider = PROVIDER
    symbol, asset_class, unknown = "BTC-USDT", AssetClass.CRYPTO, "NOSUCH-USDT"
    faults = {
        RateLimited: ("429", "429text"),
        ProviderTimeout: ("slow",),
        MalformedResponse: ("garbage", "html", "blank", "missing"),
        Unavailable: ("500", "503", "maintenance", "busy", "truncated", "reset", "403", "404"),
        SymbolNotFound: ("gone",),
        NoData: ("nothing",),
        BadRequest: ("rejected",),
    }
    told_to_wait = ("429", "429text")
    symbols_at = "instruments"

    @pytest.fixture
    def server(self, okx: Okx) -> Okx:
        return okx

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from marketdata.providers import ccxt_client

        monkeypatch.setattr(ccxt_client, "SECONDS", 0.3)

    def play_a_delisting(self, server: Okx) -> None:
        del server.coins[self.spelling]


class TestAsked:
    def test_the_numbers_are_the_text_that_okx_sent(self, okx: Okx) -> None:
        found = told(ask())
        assert found == truth(okx)
        assert len(found) == 100

    def test_tiny_prices_have_no_exponent(self, okx: Okx) -> None:
        pepe = replace(okx.coins["BTC-USDT"].listing, symbol="PEPE", level=0.000012)
        okx.coins["PEPE-USDT"] = Coin(pepe, "PEPE")
        for row in ask(spelling="PEPE-USDT").candles.to_pylist():
            assert 0 < Decimal(row["close"]) < Decimal("0.0001")
            assert "e" not in row["close"].lower()

    @pytest.mark.parametrize("timeframe", list(Timeframe))
    def test_a_window_is_one_request(self, okx: Okx, timeframe: Timeframe) -> None:
        ask()
        okx.requests.clear()
        since = datetime(2019, 1, 7, tzinfo=UTC)
        length = PROVIDER.windows[timeframe]
        found = PROVIDER.fetch("BTC-USDT", timeframe, since, since + length).candles
        assert found.num_rows == (92 if timeframe == Timeframe.MO1 else 100)
        assert len(okx.requests) == 1

    @pytest.mark.parametrize(("timeframe", "bar"), [("4h", "4H"), ("1d", "1Dutc"), ("1w", "1Wutc"), ("1mo", "1Mutc")])
    def test_days_and_longer_are_those_of_utc(self, okx: Okx, timeframe: str, bar: str) -> None:
        found = ask(timeframe, datetime(2024, 1, 1, tzinfo=UTC), 24 * 90).candles["open_time"].to_pylist()
        assert okx.candles()[-1].params["bar"] == bar
        if timeframe == "1w":
            assert {at.weekday() for at in found} == {0}
        if timeframe == "1mo":
            assert [at.date() for at in found] == [date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)]

    def test_what_is_old_is_asked_of_the_history(self, okx: Okx) -> None:
        ask()
        assert okx.candles()[-1].path == "/api/v5/market/history-candles"
        ask(since=datetime.now(UTC) - timedelta(hours=50), hours=50)
        assert okx.candles()[-1].path == "/api/v5/market/candles"

    def test_across_the_border_between_recent_and_old(self, okx: Okx) -> None:
        since = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1490)
        assert told(ask(since=since)) == truth(okx, since=since)

    def test_nothing_outside_the_range(self, okx: Okx) -> None:
        since = LONG_AGO + timedelta(minutes=7)
        opens = ask(since=since, hours=5).candles["open_time"].to_pylist()
        assert opens == [LONG_AGO + timedelta(hours=number) for number in range(1, 6)]

    def test_more_than_a_window_comes_in_pages(self, okx: Okx) -> None:
        assert told(ask(hours=950)) == truth(okx, hours=950)

    def test_a_candle_that_forms_by_either_clock_is_left_out(self, okx: Okx) -> None:
        now = datetime.now(UTC)
        fresh = ask(since=now - timedelta(hours=5), hours=5)
        assert fresh.unfinished == 1
        okx.now = lambda: now - timedelta(hours=2)  # what we take for final they still trade, and say so
        late = ask(since=now - timedelta(hours=5), hours=5)
        assert late.unfinished == 1
        assert late.candles.num_rows == fresh.candles.num_rows - 2

    def test_facts(self, okx: Okx) -> None:
        facts = ask().facts
        assert (facts.name, facts.asset_class) == ("BTC / USDT", AssetClass.CRYPTO)
        assert (facts.exchange, facts.currency) == ("OKX", "USDT")
        assert facts.metadata == {"base": "BTC", "quote": "USDT", "listed": "2018-01-11"}

    def test_a_pair_against_dollars_that_okx_lacks_is_named(self, okx: Okx) -> None:
        with pytest.raises(SymbolNotFound, match=r"BTC-USD\."):
            ask(spelling="BTC-USD")


class TestWholeness:
    @pytest.mark.parametrize("times", [1, 2])
    @pytest.mark.parametrize("kind", ["nothing", "nulls", "capped"])
    def test_an_answer_that_lacks_candles_is_not_believed_at_once(self, okx: Okx, kind: str, times: int) -> None:
        ask()
        okx.fail("BTC-USDT", kind, times=times)
        assert told(ask()) == truth(okx)

    def test_a_page_that_is_always_capped(self, okx: Okx) -> None:
        okx.fail("BTC-USDT", "capped")
        assert told(ask()) == truth(okx)

    def test_a_pause_of_the_exchange_is_believed_after_three_answers(self, okx: Okx) -> None:
        ask()
        okx.coins["BTC-USDT"].listing.nulls = {date(2024, 3, 3)}
        okx.requests.clear()
        assert told(ask()) == truth(okx)
        assert len(okx.requests) == 4  # with the first, which brought the others

    def test_pieces_too_small_are_refused(self, okx: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
        from marketdata.providers import ccxt_client

        monkeypatch.setattr(ccxt_client, "PIECES", 1)
        okx.fail("BTC-USDT", "capped")
        with pytest.raises(MalformedResponse, match="pieces"):
            ask()

    def test_a_storm_loses_nothing(self, okx: Okx) -> None:
        okx.storm(seed=3, rate=0.4)
        got, faults = [], 0
        for number in range(60):
            since = LONG_AGO + number * timedelta(hours=100)
            for _ in range(40):
                try:
                    got += told(ask(since=since))
                    break
                except ProviderError as error:
                    assert error.retried, repr(error)
                    faults += 1
        okx.mend()
        assert faults > 20
        assert len({seen.fault for seen in okx.requests}) > 12
        assert got == truth(okx, hours=6000)


class TestBeginning:
    def test_the_first_candle_is_known_and_costs_no_second_request(self, okx: Okx) -> None:
        ask()
        okx.requests.clear()
        found = ask(since=datetime(2018, 1, 9, tzinfo=UTC))
        assert found.begins == datetime(2018, 1, 11, tzinfo=UTC)
        assert len(okx.requests) == 1

    def test_before_it_there_is_nothing(self, okx: Okx) -> None:
        with pytest.raises(NoData, match="2017-12-01"):
            ask(since=datetime(2017, 12, 1, tzinfo=UTC))

    def test_in_the_middle_nothing_begins(self, okx: Okx) -> None:
        assert ask().begins is None

    def test_a_pause_is_no_beginning(self, okx: Okx) -> None:
        okx.coins["BTC-USDT"].listing.nulls = {date(2024, 3, 1), date(2024, 3, 2)}
        found = ask()
        assert found.candles.num_rows == 52
        assert found.begins is None

    def test_candles_from_before_the_listing_that_okx_tells_are_not_lost(self, okx: Okx) -> None:
        """BTC-USDT itself: its listTime is a year later than its first candles."""
        okx.coins["BTC-USDT"].list_time = LONG_AGO + timedelta(hours=80)
        okx.fail("BTC-USDT", "capped")
        found = ask()
        assert told(found) == truth(okx)
        assert found.begins is None


class TestMarkets:
    def test_they_are_read_once(self, okx: Okx) -> None:
        for _ in range(3):
            ask()
        assert [seen.path for seen in okx.requests].count("/api/v5/public/instruments") == 1
        assert okx.requests[0].params["instType"] == "SPOT"

    def test_a_new_coin_is_noticed(self, okx: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
        from marketdata.providers import ccxt_client

        with pytest.raises(SymbolNotFound):
            ask(spelling="NEW-USDT")
        okx.coins["NEW-USDT"] = Coin(replace(okx.coins["SOL-USDT"].listing, symbol="NEW"), "NEW")
        with pytest.raises(SymbolNotFound):
            ask(spelling="NEW-USDT")
        monkeypatch.setattr(ccxt_client, "MARKETS_YOUNG", 0.0)
        assert ask(spelling="NEW-USDT").candles.num_rows == 100

    def test_a_coin_with_a_new_name_is_had_under_it_at_once(self, okx: Okx) -> None:
        ask()
        okx.coins["WBTC-USDT"] = replace(okx.coins.pop("BTC-USDT"), base="WBTC")
        with pytest.raises(SymbolNotFound, match="new name"):
            ask()
        assert ask(spelling="WBTC-USDT").candles.num_rows == 100

    def test_a_suspended_coin(self, okx: Okx) -> None:
        okx.coins["BTC-USDT"].state = "suspend"
        assert ask().candles.num_rows == 100  # of before
        okx.fail("BTC-USDT", "nothing")
        with pytest.raises(SymbolNotFound, match="suspended BTC-USDT"):
            ask()

    @pytest.mark.parametrize(
        ("kind", "expected"), [("429", RateLimited), ("503", Unavailable), ("garbage", MalformedResponse)]
    )
    def test_a_list_that_can_t_be_had(self, okx: Okx, kind: str, expected: type[ProviderError]) -> None:
        okx.fail("instruments", kind, times=1)
        with pytest.raises(expected, match="BTC-USDT"):
            ask()
        assert ask().candles.num_rows == 100


class TestTheWayThere:
    def test_requests_beyond_the_callers_turn_are_charged(self, okx: Okx, settings) -> None:
        settings.OKX_REQUESTS_PER_SECOND = 0.5
        ask()
        assert len(okx.requests) == 2
        assert Bucket("okx", 0.5).take() == pytest.approx(2.0, abs=0.5)

    def test_a_host_that_is_not_there(self, okx: Okx, settings) -> None:
        settings.OKX_BASE_URL = "http://127.0.0.1:9"
        with pytest.raises(Unavailable, match="HTTPS_PROXY"):
            ask()

    def test_a_bundle_that_is_not_there_is_named(self, okx: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
        with pytest.raises(Unavailable, match="names /nowhere/ca"):
            ask()

    def test_several_at_once(self, okx: Okx) -> None:
        from concurrent.futures import ThreadPoolExecutor

        windows = [LONG_AGO + number * timedelta(hours=100) for number in range(24)]
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda since: told(ask(since=since)), windows))
        assert [row for rows in found for row in rows] == truth(okx, hours=2400)
        assert [seen.path for seen in okx.requests].count("/api/v5/public/instruments") == 1


class TestCommand:
    def run(self, *arguments: str) -> list[str]:
        out = StringIO()
        call_command("fetch_candles", "BTC-USDT", "--provider", "okx", "--timeframe", "1h", *arguments, stdout=out)
        return out.getvalue().splitlines()

    def test_candles_are_stored_as_they_were_sent(self, okx: Okx) -> None:
        self.run("--since", "2024-03-01", "--until", "2024-03-11")
        stored = Candle.objects.order_by("open_time").values_list("open", "high", "low", "close", "volume", "source")
        sent = [tuple(map(Decimal, row[1:6])) for row in truth(okx, hours=240)]
        assert [row[:5] for row in stored] == sent
        assert {row[5] for row in stored} == {"okx"}
        asset = Asset.objects.get()
        assert (asset.name, asset.asset_class, asset.currency) == ("BTC / USDT", AssetClass.CRYPTO, "USDT")

    def test_three_windows_are_three_requests_and_none_a_second_time(self, okx: Okx) -> None:
        self.run("--since", "2024-03-01", "--until", "2024-03-11")
        assert len(okx.candles()) == 3
        self.run("--since", "2024-03-01", "--until", "2024-03-11")
        assert len(okx.candles()) == 3
