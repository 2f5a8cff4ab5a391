"""Whom to ask for which kind of asset, and in which order."""

from dataclasses import replace

import pytest

from marketdata import chains, credentials, sources
from marketdata.asking import Foreground
from marketdata.fetching import refresh
from marketdata.models import Asset, AssetClass, Candle, CandleRevision, FallbackChain, Spelling, Timeframe, canonical
from marketdata.providers import named
from marketdata.symbols import likely_class
from tests.loopback.keyed import twelvedata as twelvedata_fixture
from tests.loopback.market import Listing
from tests.loopback.twelvedata import TwelveData
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
twelvedata = twelvedata_fixture


class Impatient(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


def order(asset_class: str) -> list[str]:
    return [provider.name for provider in chains.chain(asset_class)]


@pytest.fixture
def keys(settings) -> None:
    settings.TWELVEDATA_API_KEY = settings.ALPHAVANTAGE_API_KEY = "akey"


@pytest.mark.usefixtures("keys")
def test_the_usual_order() -> None:
    for listed in ("stock", "etf", "index", "fund"):
        assert order(listed) == ["yahoo", "twelvedata", "alphavantage"]
    assert order("crypto") == ["okx", "yahoo"]
    for quoted in ("fx", "commodity"):
        assert order(quoted) == ["twelvedata", "yahoo"]
    assert set(chains.USUAL) == set(AssetClass)


def test_who_lacks_a_key_is_passed_over_and_the_reason_is_told() -> None:
    assert order("stock") == ["yahoo"]
    why = {link.provider.name: link.why for link in chains.explain("stock") if not link.usable}
    assert "TWELVEDATA_API_KEY" in why["twelvedata"]
    assert "Data page" in why["alphavantage"]
    credentials.store("twelvedata", "akey", "alice")
    assert order("stock") == ["yahoo", "twelvedata"]


@pytest.mark.usefixtures("keys")
def test_another_order_can_be_set_and_forgotten() -> None:
    chains.set_chain("stock", [" TwelveData", "yahoo"], "alice")
    assert order("stock") == ["twelvedata", "yahoo"]
    assert FallbackChain.objects.get().changed_by == "alice"
    assert order("etf")[0] == "yahoo"
    chains.use_usual("stock")
    assert order("stock")[0] == "yahoo"


def test_any_exchange_of_ccxts_can_be_in_it() -> None:
    chains.set_chain("crypto", ["kraken", "okx"], "alice")
    assert order("crypto") == ["kraken", "okx"]
    assert [sources.label(name) for name in ("kraken", "okx", "gone")] == ["Kraken", "OKX", "gone"]


@pytest.mark.parametrize(
    ("asset_class", "names", "words"),
    [
        ("stock", [], "at least one"),
        ("stock", ["yahoo", "Yahoo"], "yahoo is named twice"),
        ("stock", ["yahu"], "no provider called 'yahu'"),
        ("stock", [""], "no provider called ''"),
        ("stock", ["okx"], "OKX has no assets of the class Stock"),
        ("fx", ["alphavantage"], "Alpha Vantage has no assets of the class Currency pair"),
    ],
)
def test_a_chain_that_can_not_be_is_refused_and_the_old_one_stays(asset_class: str, names: list, words: str) -> None:
    before = chains.names(asset_class)
    with pytest.raises(chains.BadChain, match=words):
        chains.set_chain(asset_class, names, "alice")
    assert chains.names(asset_class) == before


def test_a_provider_that_is_gone_is_left_out(keys: None) -> None:
    FallbackChain.objects.create(asset_class="stock", providers=["gone", "yahoo"])
    assert order("stock") == ["yahoo"]
    assert [link.provider.name for link in chains.every()[AssetClass.STOCK]] == ["yahoo"]


def test_nobody_left_is_told_with_the_remedy() -> None:
    chains.set_chain("fx", ["twelvedata"], "alice")
    assert chains.chain("fx") == []
    done = refresh(Asset.objects.create(symbol="EUR-USD", asset_class="fx"), Timeframe.D1, Foreground())
    assert done.status == "failed"
    assert "TWELVEDATA_API_KEY" in done.error


def test_the_second_is_asked_when_the_first_has_used_its_day_up(twelvedata: TwelveData, yahoo: Yahoo) -> None:
    twelvedata.credits = 0
    asset = Asset.objects.create(symbol="EUR-USD", asset_class="fx")
    said: list[str] = []
    done = refresh(asset, Timeframe.D1, Foreground(said.append))
    assert done.counts.inserted > 1000
    assert set(Candle.objects.values_list("source", flat=True)) == {"yahoo"}
    assert len(twelvedata.requests) == 1
    refresh(Asset.objects.create(symbol="XAU-USD", asset_class="commodity"), Timeframe.D1, Foreground(said.append))
    assert len(twelvedata.requests) == 1  # it said that it was enough for today


def test_who_stands_in_for_one_that_lost_its_key_only_fills_what_lacks(
    twelvedata: TwelveData, yahoo: Yahoo, settings
) -> None:
    asset = Asset.objects.create(symbol="EUR-USD", asset_class="fx")
    assert refresh(asset, Timeframe.D1, Foreground()).counts.inserted > 1000
    workdays = Candle.objects.exclude(open_time__week_day__in=(1, 7)).order_by("-open_time")  # Yahoo has no others
    newest, before = workdays[0].open_time, workdays[1]
    Candle.objects.filter(open_time__gte=newest).delete()
    yahoo.listings["EURUSD=X"] = replace(yahoo.listings["EURUSD=X"], level=1.19)
    settings.TWELVEDATA_API_KEY = ""
    done = refresh(asset, Timeframe.D1, Foreground(), again=True)
    assert (done.counts.inserted, done.counts.updated) == (1, 0)
    assert Candle.objects.get(open_time=newest).source == "yahoo"
    assert Candle.objects.get(open_time=before.open_time).close == before.close
    assert not CandleRevision.objects.exists()


def test_another_currency_is_not_stored_as_ours(twelvedata: TwelveData, yahoo: Yahoo) -> None:
    """A listing of the same symbol elsewhere: nothing stored tells the difference when all is new."""
    yahoo.fail("NVDA", "503")
    twelvedata.listings["NVDA"] = replace(twelvedata.listings["NVDA"], currency="EUR")
    asset = Asset.objects.create(symbol="NVDA", asset_class="stock", currency="USD")
    done = refresh(asset, Timeframe.D1, Impatient())
    assert not Candle.objects.exists()
    assert done.counts.quarantined > 1000
    assert "Twelve Data gives NVDA in EUR, and it is kept in USD" in done.error


def test_yahoos_gold_says_that_it_is_a_future(yahoo: Yahoo) -> None:
    yahoo.listings["GC=F"] = Listing("GC=F", "Gold Dec 26", 4_100, kind="FUTURE", exchange="CMX")
    gold = Asset.objects.create(symbol="XAU-USD", asset_class="commodity")
    assert refresh(gold, Timeframe.D1, Foreground()).status == "done"
    gold.refresh_from_db()
    assert gold.metadata["proxy"] == "GC=F, the next future: not the spot price"


class TestSpellings:
    @pytest.mark.parametrize(
        ("written", "symbol"),
        [
            ("EURUSD=X", "EUR-USD"), ("jpy=x", "USD-JPY"), ("EUR/USD", "EUR-USD"), ("XAU/USD", "XAU-USD"),
            ("GC=F", "XAU-USD"), ("si=f", "XAG-USD"), ("PL=F", "XPT-USD"), ("PA=F", "XPD-USD"), ("CL=F", "CL=F"),
            ("^GSPC", "^GSPC"), ("BTC/USDT", "BTC-USDT"), ("BRK.B", "BRK.B"),
        ],
    )  # fmt: skip
    def test_people_may_write_what_a_provider_does(self, written: str, symbol: str) -> None:
        assert canonical(written) == symbol

    def test_metals_are_commodities(self) -> None:
        assert [likely_class(metal) for metal in ("XAU-USD", "XAG-EUR", "XPT-USD", "XPD-USD")] == ["commodity"] * 4

    @pytest.mark.parametrize(
        ("symbol", "kind", "twelvedata", "yahoo"),
        [("EUR-USD", "fx", "EUR/USD", "EURUSD=X"), ("XAU-USD", "commodity", "XAU/USD", "GC=F"),
         ("XAG-USD", "commodity", "XAG/USD", "SI=F"), ("XPT-USD", "commodity", "XPT/USD", "PL=F"),
         ("XPD-USD", "commodity", "XPD/USD", "PA=F")],
    )  # fmt: skip
    def test_each_provider_gets_its_own(self, symbol: str, kind: str, twelvedata: str, yahoo: str) -> None:
        assert named("twelvedata").spelling(symbol, AssetClass(kind)) == twelvedata
        assert named("yahoo").spelling(symbol, AssetClass(kind)) == yahoo

    def test_an_asset_is_found_by_any_of_them(self) -> None:
        euro = Asset.objects.create(symbol="EUR-USD", asset_class="fx")
        gold = Asset.objects.create(symbol="XAU-USD", asset_class="commodity")
        Spelling.objects.create(asset=gold, provider="other", spelling="GOLD.SPOT")
        for written in ("EURUSD=X", "eur/usd", "EUR-USD"):
            assert Asset.objects.called(written).get() == euro
        for written in ("GC=F", "XAU/USD", "gold.spot"):
            assert Asset.objects.called(written).get() == gold
        kept = Asset.objects.create(symbol="GBPUSD=X", asset_class="fx")  # stored before spellings were mapped
        assert Asset.objects.called("GBPUSD=X").get() == kept
