"""Alpha Vantage, over the real httpx, against the loopback server."""

import logging
from datetime import UTC, date, datetime, timedelta

import pytest

from marketdata import providers
from marketdata.models import AssetClass, Basis, Timeframe
from marketdata.providers import alphavantage as source
from marketdata.providers import rest
from marketdata.providers.base import (
    AuthError,
    BadRequest,
    MalformedResponse,
    NoData,
    PlanLimit,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)
from tests.contracts.provider import ProviderContract
from tests.loopback import alphavantage as loopback
from tests.loopback.alphavantage import MINUTE, AlphaVantage
from tests.loopback.keyed import alphavantage as server_fixture

pytestmark = pytest.mark.usefixtures("house")
PROVIDER = providers.named("alphavantage")
alphavantage = server_fixture


def ask(spelling: str = "AAPL", days: int = 40, until: datetime | None = None):
    until = until or datetime.now(UTC)
    return PROVIDER.fetch(spelling, Timeframe.D1, until - timedelta(days=days), until)


def refusal(server: AlphaVantage, kind: str) -> ProviderError:
    server.fail("AAPL", kind)
    with pytest.raises(ProviderError) as caught:
        ask()
    return caught.value


class TestAlphaVantage(ProviderContract):
    provider = PROVIDER
    symbol, asset_class, unknown = "AAPL", AssetClass.STOCK, "NOSUCH"
    faults = {
        RateLimited: ("429", "429text"),
        ProviderTimeout: ("slow",),
        MalformedResponse: ("garbage", "empty", "missing"),
        Unavailable: ("500", "503", "truncated", "reset", "html"),
        SymbolNotFound: ("404",),
        NoData: ("nothing",),
        BadRequest: ("rejected", "longwinded", "echo"),
    }
    told_to_wait = ("429", "429text")

    @pytest.fixture
    def server(self, alphavantage: AlphaVantage) -> AlphaVantage:
        return alphavantage

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rest, "CONNECT_SECONDS", 0.3)
        monkeypatch.setattr(rest, "READ_SECONDS", 0.3)

    def test_it_confirms_what_the_asset_is(self, server: AlphaVantage) -> None:
        """Its candles do not tell, so it must not guess."""
        assert self.ask().facts.asset_class is None

    def test_a_range_before_there_was_anything_has_no_data(self, server: AlphaVantage) -> None:
        """Its plan does not give what is older: that is not the same as nothing there."""
        with pytest.raises(PlanLimit, match="AAPL"):
            self.ask(until=datetime(1990, 1, 1, tzinfo=UTC))

    def test_a_page_cut_short_loses_no_candle(self, server: AlphaVantage) -> None:
        """It can't be told from a young listing, so nothing is claimed of what is not in it."""
        healthy = self.prices(self.ask())
        self.play_capped_pages(server)
        cut = self.ask()
        assert self.prices(cut).items() < healthy.items()
        assert cut.begins is None


def test_another_symbol_s_candles_are_not_this_ones(alphavantage: AlphaVantage, monkeypatch) -> None:
    honest = loopback._meta
    monkeypatch.setattr(loopback, "_meta", lambda symbol: honest("MSFT"))
    with pytest.raises(MalformedResponse, match=r"AAPL can't be read \(it is about MSFT"):
        ask()


@pytest.mark.parametrize("zone", ["America", "A" * 300, "../UTC", 7, ["UTC"]])
def test_a_zone_that_is_none_is_an_answer_that_cannot_be_read(alphavantage: AlphaVantage, monkeypatch, zone) -> None:
    honest = loopback._meta
    monkeypatch.setattr(loopback, "_meta", lambda symbol: honest(symbol) | {"5. Time Zone": zone})
    with pytest.raises(MalformedResponse, match="can't be read"):
        ask()


class TestAsked:
    def test_one_compact_page_whatever_the_range(self, alphavantage: AlphaVantage) -> None:
        found = ask(days=10)
        assert 5 <= found.candles.num_rows <= 8
        assert alphavantage.requests[-1].params["outputsize"] == "compact"
        assert len(alphavantage.requests) == 1

    def test_it_says_where_its_history_begins(self, alphavantage: AlphaVantage) -> None:
        found = ask(days=400)
        assert found.begins == found.candles["open_time"][0].as_py()
        assert found.candles.num_rows + found.unfinished == 100

    def test_its_reach_is_within_its_page(self, alphavantage: AlphaVantage) -> None:
        now = datetime.now(UTC)
        assert ask(days=400).begins < now - PROVIDER.reach[Timeframe.D1]

    def test_prices_are_as_they_were_traded(self) -> None:
        assert PROVIDER.basis == Basis.RAW

    def test_the_days_candle_is_left_out_until_new_yorks_midnight(self, alphavantage, monkeypatch) -> None:
        evening = datetime(2025, 9, 13, 3, 59, tzinfo=UTC)  # Friday the 12th, 23:59 in New York
        alphavantage.now = lambda: evening
        monkeypatch.setattr(source.timezone, "now", lambda: evening)
        found = ask(until=datetime(2025, 9, 14, tzinfo=UTC))
        assert (found.candles["open_time"].to_pylist()[-1].date(), found.unfinished) == (date(2025, 9, 11), 1)
        monkeypatch.setattr(source.timezone, "now", lambda: evening + timedelta(minutes=1))
        found = ask(until=datetime(2025, 9, 14, tzinfo=UTC))
        assert (found.candles["open_time"].to_pylist()[-1].date(), found.unfinished) == (date(2025, 9, 12), 0)

    @pytest.mark.parametrize(
        ("symbol", "asset_class", "written"),
        [
            ("AAPL", "stock", "AAPL"),
            ("BRK.B", "stock", "BRK-B"),
            ("VOD.L", "stock", "VOD.LON"),
            ("^GSPC", "index", "GSPC"),
        ],
    )
    def test_spellings(self, symbol: str, asset_class: str, written: str) -> None:
        assert PROVIDER.spelling(symbol, AssetClass(asset_class)) == written


class TestRefused:
    def test_its_wordings(self, alphavantage: AlphaVantage) -> None:
        assert type(refusal(alphavantage, "429")) is RateLimited  # it names the daily limit and premium plans too
        assert type(refusal(alphavantage, "day")) is QuotaExhausted
        assert type(refusal(alphavantage, "plan")) is PlanLimit
        assert type(refusal(alphavantage, "401")) is AuthError

    def test_five_a_minute_and_500_a_day_is_a_matter_of_pace(self, alphavantage: AlphaVantage) -> None:
        question = source._question("AAPL", {})
        assert type(source._refusal(question, {"Note": MINUTE}, 200, None)) is RateLimited

    def test_the_key_is_in_no_message_chain_or_log_line(self, alphavantage: AlphaVantage, caplog) -> None:
        caplog.set_level(logging.DEBUG)
        for kind in ("echo", "day", "401", "reset", "garbage", "slow", "truncated"):
            rest_seconds, rest.READ_SECONDS = rest.READ_SECONDS, 0.3
            error: BaseException | None = refusal(alphavantage, kind)
            rest.READ_SECONDS = rest_seconds
            while error:
                assert alphavantage.key.lower() not in f"{error!r} {vars(error)}".lower(), kind
                error = error.__cause__ or error.__context__
        ask("MSFT")
        assert alphavantage.key.lower() not in caplog.text.lower()
        assert alphavantage.key not in repr(source._question("AAPL", {}))
