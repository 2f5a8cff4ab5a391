"""Twelve Data, over the real httpx, against the loopback server."""

import logging
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketdata import providers
from marketdata.ingestion import ingest
from marketdata.models import Asset, AssetClass, Timeframe
from marketdata.providers import rest
from marketdata.providers import twelvedata as source
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
from tests.loopback import twelvedata as loopback
from tests.loopback.keyed import twelvedata as server_fixture
from tests.loopback.twelvedata import TwelveData

pytestmark = pytest.mark.usefixtures("house")
PROVIDER = providers.named("twelvedata")
twelvedata = server_fixture


def ask(spelling: str = "AAPL", timeframe: str = "1d", since: str = "2025-09-01", until: str = "2025-10-01"):
    first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until))
    return PROVIDER.fetch(spelling, Timeframe(timeframe), first, last)


def refusal(server: TwelveData, kind: str, **how) -> ProviderError:
    server.fail("AAPL", kind, **how)
    with pytest.raises(ProviderError) as caught:
        ask()
    return caught.value


class TestTwelveData(ProviderContract):
    provider = PROVIDER
    symbol, asset_class, unknown = "BTC-USD", AssetClass.CRYPTO, "NOSUCH/USD"
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
    def server(self, twelvedata: TwelveData) -> TwelveData:
        return twelvedata

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rest, "CONNECT_SECONDS", 0.3)
        monkeypatch.setattr(rest, "READ_SECONDS", 0.3)


class TestOddAnswers:
    """What no Twelve Data ever sent: a message, whatever it is, and soon."""

    @pytest.fixture
    def answers(self, twelvedata: TwelveData, monkeypatch: pytest.MonkeyPatch):
        """Changes the metadata, or each value, of what the loopback server answers."""

        def change(where: str, **to) -> None:
            name = {"meta": "_meta", "values": "_value"}[where]
            honest = getattr(loopback, name)
            monkeypatch.setattr(loopback, name, lambda *given: honest(*given) | to)

        return change

    @pytest.mark.parametrize("zone", ["America", "A" * 300, "A\0B", "../UTC", "\ud800", 7, ["UTC"]])
    def test_a_zone_that_is_none(self, answers, zone) -> None:
        answers("meta", exchange_timezone=zone)
        with pytest.raises(MalformedResponse, match="can't be read"):
            ask()

    def test_another_symbol_s_candles(self, answers) -> None:
        answers("meta", symbol="MSFT")
        with pytest.raises(MalformedResponse, match=r"AAPL can't be read \(it is about MSFT"):
            ask()

    def test_a_symbol_comes_back_without_its_exchange(self, answers, twelvedata: TwelveData) -> None:
        twelvedata.listings["AAPL:NASDAQ"] = twelvedata.listings["AAPL"]
        answers("meta", symbol="AAPL")
        assert ask("AAPL:NASDAQ").candles.num_rows

    @pytest.mark.parametrize("label", [7, None, "", "yesterday", "9" * 5000, [], {"at": 1}])
    def test_a_moment_that_is_none(self, answers, label) -> None:
        answers("values", datetime=label)
        with pytest.raises(MalformedResponse, match="can't be read"):
            ask()

    @pytest.mark.parametrize("price", ["\ud800", "1" * 100_000 + "x", "1" * 1_100_000, "Infinity", [], {"a": 1}, True])
    def test_a_price_that_is_none_costs_its_candle_only(self, answers, price) -> None:
        answers("values", close=price)
        asset, began = Asset.objects.create(symbol="AAPL"), time.monotonic()
        found = ingest(asset, "1d", ask().candles, source="twelvedata")
        assert found.received == found.quarantined > 0
        assert time.monotonic() - began < 10

    def test_a_long_refusal_is_read_as_far_as_it_matters(self, twelvedata: TwelveData, monkeypatch) -> None:
        honest = loopback._error
        monkeypatch.setattr(loopback, "_error", lambda door, code, said, *more: honest(door, code, "symbol " * 15_000))
        began = time.monotonic()
        with pytest.raises(ProviderError):
            ask("NOSUCH")
        assert time.monotonic() - began < 5


class TestAsked:
    def test_the_key_goes_in_a_header_and_all_digits_are_asked_for(self, twelvedata: TwelveData) -> None:
        ask()
        seen = twelvedata.requests[-1]
        assert seen.headers["Authorization"] == f"apikey {twelvedata.key}"
        assert twelvedata.key not in str(seen.params)
        assert seen.params == {
            "symbol": "AAPL", "interval": "1day", "start_date": "2025-09-01 00:00:00",
            "end_date": "2025-09-30 23:59:59", "timezone": "UTC", "order": "ASC", "outputsize": "5000", "dp": "10",
            "format": "JSON",
        }  # fmt: skip

    def test_single_precision_prices_get_the_digits_that_were_meant(self, twelvedata: TwelveData) -> None:
        whole = twelvedata.listings["AAPL"]
        for row in ask().candles.to_pylist():
            bar = whole.daily(row["open_time"].date())
            assert Decimal(row["close"]) == Decimal(str(round(bar.close, 2)))
            assert row["volume"] == str(bar.volume)

    def test_first_in_last_out(self, twelvedata: TwelveData) -> None:
        opens = ask(since="2025-09-02", until="2025-09-09").candles["open_time"].to_pylist()
        assert [at.date() for at in opens] == [date(2025, 9, day) for day in (2, 3, 4, 5, 8)]

    def test_weeks_are_named_by_monday_and_months_by_the_first(self, twelvedata: TwelveData) -> None:
        weeks = ask(timeframe="1w").candles["open_time"].to_pylist()
        assert [at.day for at in weeks] == [1, 8, 15, 22, 29]
        months = ask(timeframe="1mo", since="2025-06-15", until="2025-10-01").candles["open_time"].to_pylist()
        assert [(at.month, at.day) for at in months] == [(7, 1), (8, 1), (9, 1)]

    def test_days_candle_is_left_out_until_its_exchanges_midnight(self, twelvedata: TwelveData, monkeypatch) -> None:
        closed = datetime(2025, 9, 12, 21, tzinfo=UTC)  # 17:00 in New York: late trades may still come
        monkeypatch.setattr(source.timezone, "now", lambda: closed)
        twelvedata.now = lambda: closed
        found = ask(until="2025-09-13")
        assert (found.candles["open_time"].to_pylist()[-1].day, found.unfinished) == (11, 1)
        monkeypatch.setattr(source.timezone, "now", lambda: datetime(2025, 9, 13, 4, 1, tzinfo=UTC))
        assert ask(until="2025-09-13").candles["open_time"].to_pylist()[-1].day == 12

    def test_facts_come_with_the_candles(self, twelvedata: TwelveData) -> None:
        facts = ask().facts
        assert (facts.asset_class, facts.exchange, facts.currency) == (AssetClass.STOCK, "NASDAQ", "USD")
        assert facts.metadata["timezone"] == "America/New_York"
        pair = ask("EUR/USD").facts
        assert (pair.name, pair.asset_class, pair.currency) == ("Euro / US Dollar", AssetClass.FX, "USD")
        assert ask("XAU/USD").facts.asset_class == AssetClass.COMMODITY

    def test_a_page_that_is_whole_costs_one_request(self, twelvedata: TwelveData) -> None:
        ask(since="2024-01-01")
        assert len(twelvedata.requests) == 1

    def test_once_a_page_was_cut_short_the_last_candle_is_looked_for_too(self, twelvedata: TwelveData) -> None:
        whole = ask().candles["open_time"].to_pylist()
        twelvedata.fail("AAPL", "capped")  # ten, ten, and two that lie within a hole as markets have
        assert ask().candles["open_time"].to_pylist() == whole
        assert len(whole) == 22

    def test_before_a_listing_nothing_is_missing_and_one_request_more_is_asked(self, twelvedata: TwelveData) -> None:
        found = ask("RIVN", since="2021-01-01", until="2022-01-01")
        assert found.candles["open_time"][0].as_py().date() == date(2021, 11, 10)
        assert len(twelvedata.requests) == 2

    @pytest.mark.parametrize(
        ("symbol", "asset_class", "written"),
        [
            ("AAPL", "stock", "AAPL"), ("BRK-B", "stock", "BRK.B"), ("BRK.B", "stock", "BRK.B"),
            ("VOD.L", "stock", "VOD:LSE"), ("^GSPC", "index", "SPX"), ("^FTSE", "index", "FTSE"),
            ("EUR-USD", "fx", "EUR/USD"), ("XAU-USD", "commodity", "XAU/USD"), ("BTC-USDT", "crypto", "BTC/USDT"),
        ],
    )  # fmt: skip
    def test_spellings(self, symbol: str, asset_class: str, written: str) -> None:
        assert PROVIDER.spelling(symbol, AssetClass(asset_class)) == written


class TestRefused:
    def test_the_minutes_credits_come_back_and_the_days_do_not(self, twelvedata: TwelveData) -> None:
        assert type(refusal(twelvedata, "429")) is RateLimited
        assert type(refusal(twelvedata, "day")) is QuotaExhausted

    def test_a_plan_that_is_too_small_is_not_an_unknown_symbol(self, twelvedata: TwelveData) -> None:
        for kind in ("403", "plan"):
            assert type(refusal(twelvedata, kind)) is PlanLimit

    def test_a_refused_key_is_the_operators(self, twelvedata: TwelveData) -> None:
        error = refusal(twelvedata, "401")
        assert type(error) is AuthError
        assert "Set another one" in str(error)

    def test_without_a_key_nobody_is_asked(self, twelvedata: TwelveData, settings) -> None:
        settings.TWELVEDATA_API_KEY = ""
        with pytest.raises(AuthError, match="TWELVEDATA_API_KEY"):
            ask()
        assert not twelvedata.requests

    def test_an_answer_without_end_is_given_up(self, twelvedata: TwelveData, monkeypatch) -> None:
        monkeypatch.setattr(rest, "LARGEST", 2**20)
        assert type(refusal(twelvedata, "endless")) is Unavailable

    def test_the_key_is_in_no_message_chain_or_log_line(self, twelvedata: TwelveData, caplog) -> None:
        caplog.set_level(logging.DEBUG)
        for kind in ("echo", "401", "reset", "garbage", "day", "longwinded", "missing"):
            error: BaseException | None = refusal(twelvedata, kind)
            while error:
                assert twelvedata.key.lower() not in f"{error!r} {vars(error)}".lower(), kind
                error = error.__cause__ or error.__context__
        ask("MSFT")
        assert twelvedata.key.lower() not in caplog.text.lower()
        question = source._question("AAPL", Timeframe.D1, datetime(2025, 1, 1, tzinfo=UTC), datetime.now(UTC))
        assert twelvedata.key not in repr(question)

    @pytest.mark.parametrize("proxy", ["socks9://nowhere:1", "http://127.0.0.1:9", "nonsense"])
    def test_a_proxy_that_makes_no_sense_is_named(self, twelvedata: TwelveData, monkeypatch, proxy: str) -> None:
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("ALL_PROXY", proxy)
        monkeypatch.setenv("HTTP_PROXY", proxy)
        with pytest.raises(Unavailable, match="HTTPS_PROXY"):
            ask()

    def test_a_certificate_file_that_is_not_there_is_named(self, twelvedata: TwelveData, monkeypatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
        with pytest.raises(Unavailable, match="SSL_CERT_FILE"):
            ask()


@given(st.decimals("0.0001", "99999", places=2))
def test_prices_with_two_places_survive_single_precision(price: Decimal) -> None:
    """Up to 99,999 single precision has more than seven digits, so two places can always be found again."""
    import numpy as np

    assert Decimal(source._meant(f"{float(np.float32(str(price))):.10f}") or "") == price


@given(st.decimals("0.0000000001", "9999999", places=10))
@example(Decimal("0.0010404621"))
def test_no_price_is_moved_by_more_than_single_precision_is_wide(price: Decimal) -> None:
    """And by half of the last of the ten places, to which it was rounded when it was written out."""
    meant = Decimal(source._meant(f"{price:.10f}") or "")
    assert abs(meant - price) <= price * Decimal(2) ** -24 + Decimal("5e-11")


def test_windows_hold_what_one_answer_may_have() -> None:
    for timeframe, window in PROVIDER.windows.items():
        assert window <= 5_000 * timeframe.length
        assert window % timedelta(days=1) == timedelta(0)
