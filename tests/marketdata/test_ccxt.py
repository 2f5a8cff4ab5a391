"""Exchanges by ccxt's names: Kraken and Binance through the unmodified ccxt, against loopback servers."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

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
from tests.contracts.provider import ProviderContract
from tests.loopback.exchanges import KEPT, Exchanges
from tests.loopback.fixtures import CA_VARIABLES, PROXY_VARIABLES

pytestmark = pytest.mark.usefixtures("house")
KRAKEN, BINANCE = providers.named("kraken"), providers.named("binance")


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchanges]:
    for name in (*PROXY_VARIABLES, *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    from marketdata.providers import ccxt_client

    ccxt_client._markets.clear()
    with Exchanges() as server:
        monkeypatch.setenv("HTTPS_PROXY", server.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
        yield server


class Contract(ProviderContract):
    faults = {
        RateLimited: ("429", "418"),
        ProviderTimeout: ("slow",),
        MalformedResponse: ("garbage", "html"),
        Unavailable: ("500", "503", "truncated", "reset", "403", "451"),
        SymbolNotFound: ("gone",),
        NoData: ("nothing",),
        BadRequest: ("rejected",),
    }
    told_to_wait = ("429", "418")

    @pytest.fixture
    def server(self, exchanges: Exchanges) -> Exchanges:
        return exchanges

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from marketdata.providers import ccxt_client

        monkeypatch.setattr(ccxt_client, "SECONDS", 0.8)


class TestKraken(Contract):
    provider = KRAKEN
    symbol, asset_class, unknown = "BTC-USD", AssetClass.CRYPTO, "NOSUCH/USD"
    faults = Contract.faults | {
        RateLimited: ("429", "418", "limit"),
        Unavailable: (*Contract.faults[Unavailable], "busy"),
    }


class TestBinance(Contract):
    provider = BINANCE
    symbol, asset_class, unknown = "BTC-USDT", AssetClass.CRYPTO, "NOSUCH/USDT"


class TestHabits:
    def test_kraken_keeps_the_last_candles_only_and_says_so(self, exchanges: Exchanges) -> None:
        now = datetime.now(UTC)
        assert KRAKEN.reach[Timeframe.H1] == timedelta(hours=KEPT)
        found = KRAKEN.fetch("BTC/USD", Timeframe.H1, now - timedelta(hours=900), now)
        opens = found.candles["open_time"].to_pylist()
        assert len(opens) == KEPT - 1
        assert found.begins == opens[0]

    def test_what_kraken_no_longer_has_is_not_taken_for_asked_for(self, exchanges: Exchanges) -> None:
        """It answers with its newest candles, which are not those of the range."""
        since = datetime(2024, 3, 1, tzinfo=UTC)
        with pytest.raises(NoData, match="2024-03-01"):
            KRAKEN.fetch("BTC/USD", Timeframe.H1, since, since + timedelta(hours=100))

    def test_a_market_without_trades_for_a_while_is_asked_once(self, exchanges: Exchanges) -> None:
        now = datetime.now(UTC)
        exchanges.listings["BTC/USD"].nulls = {now.date() - timedelta(days=4), now.date() - timedelta(days=6)}
        exchanges.requests.clear()
        found = KRAKEN.fetch("BTC/USD", Timeframe.H1, now - timedelta(days=8), now).candles
        assert found.num_rows == (8 - 2) * 24 - 1  # the last one forms
        assert [seen.path for seen in exchanges.requests] == ["/0/public/AssetPairs", "/0/public/OHLC"]

    def test_what_formed_in_one_answer_is_not_over_by_a_later_one(self, exchanges: Exchanges) -> None:
        def ask() -> dict[datetime, dict]:
            rows = BINANCE.fetch("BTC/USDT", Timeframe.M5, now - timedelta(hours=2), now).candles.to_pylist()
            return {row["open_time"]: row for row in rows}

        now = datetime.now(UTC)
        whole = ask()
        exchanges.requests.clear()  # the list of markets is known by now
        exchanges.now = lambda: now - timedelta(minutes=12) if len(exchanges.requests) <= 1 else now
        found = ask()
        assert len(exchanges.requests) > 1
        assert len(found) == len(whole) - 1
        assert found.items() <= whole.items()

    def test_binance_gives_all_of_a_window_with_its_quote_volume(self, exchanges: Exchanges) -> None:
        since = datetime(2024, 1, 1, tzinfo=UTC)
        found = BINANCE.fetch("BTC/USDT", Timeframe.H1, since, since + BINANCE.windows[Timeframe.H1]).candles
        assert found.num_rows == 1000
        assert all(float(row["quote_volume"]) > 0 for row in found.slice(0, 5).to_pylist())
        assert [seen.path for seen in exchanges.requests] == ["/api/v3/exchangeInfo", "/api/v3/klines"]

    def test_longer_than_a_page(self, exchanges: Exchanges) -> None:
        since = datetime(2024, 1, 1, tzinfo=UTC)
        assert BINANCE.fetch("BTC/USDT", Timeframe.H1, since, since + timedelta(hours=2500)).candles.num_rows == 2500

    def test_a_candle_that_no_other_follows_yet_may_still_form(self, exchanges: Exchanges) -> None:
        now = datetime.now(UTC)
        exchanges.now = lambda: now.replace(second=0) - timedelta(minutes=6)  # their clock is late
        found = BINANCE.fetch("BTC/USDT", Timeframe.M1, now - timedelta(minutes=30), now)
        assert found.unfinished == 1
        assert found.candles["open_time"][-1].as_py() < exchanges.now() - timedelta(minutes=1)

    def test_the_last_whole_candle_before_now_is_not_held_back(self, exchanges: Exchanges) -> None:
        until = datetime.now(UTC).replace(second=0, microsecond=0)
        for provider, symbol in ((BINANCE, "BTC/USDT"), (KRAKEN, "BTC/USD")):
            found = provider.fetch(symbol, Timeframe.M1, until - timedelta(minutes=30), until)
            assert found.candles.num_rows == 30
            assert found.unfinished == 0

    def test_days_of_another_zone_are_refused(self, exchanges: Exchanges, monkeypatch: pytest.MonkeyPatch) -> None:
        from tests.loopback import exchanges as theirs

        monkeypatch.setitem(theirs.BINANCES, "1d", "1D")  # as some exchanges do, from midnight in Hong Kong
        since = datetime(2024, 1, 1, tzinfo=UTC)
        with pytest.raises(BadRequest, match="16:00 UTC"):
            BINANCE.fetch("BTC/USDT", Timeframe.D1, since, since + timedelta(days=9))

    def test_months(self, exchanges: Exchanges) -> None:
        since = datetime(2023, 1, 1, tzinfo=UTC)
        found = BINANCE.fetch("BTC/USDT", Timeframe.MO1, since, since + timedelta(days=100)).candles["open_time"]
        assert [at.date() for at in found.to_pylist()] == [date(2023, month, 1) for month in (1, 2, 3, 4)]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "label"), [("kraken", "Kraken"), ("Binance ", "Binance"), ("coinbase", "Coinbase Advanced")]
    )
    def test_exchanges_are_called_as_in_ccxt(self, name: str, label: str) -> None:
        assert providers.named(name).label == label

    def test_labels_agree_with_ccxt(self) -> None:
        import ccxt

        from marketdata.providers import ccxt_exchange

        for name in ccxt.exchanges[::12]:
            assert ccxt_exchange.called(name).label == getattr(ccxt, name)().name

    @pytest.mark.parametrize("name", ["yahu", "base", "", "../okx", "__init__", "async_support"])
    def test_what_is_no_exchange_is_no_provider(self, name: str) -> None:
        with pytest.raises(providers.UnknownProvider, match="kraken"):
            providers.named(name)

    def test_okx_is_ours(self) -> None:
        assert type(providers.named("okx")).__name__ == "Okx"

    def test_a_timeframe_whose_candles_are_other_than_ours_is_not_offered(self) -> None:
        assert Timeframe.W1 not in KRAKEN.windows  # from Thursday
        assert Timeframe.W1 not in providers.named("bitstamp").windows  # ccxt asks for three days
        assert Timeframe.W1 in BINANCE.windows
