"""A second source about doubtful candles: Yahoo, asked by its own client library, about what OKX is said to give."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from marketdata import providers
from marketdata.arbitration import Arbitrated, arbitrate
from marketdata.asking import Foreground
from marketdata.fetching import fetch
from marketdata.ingestion import ingest
from marketdata.models import Asset, AssetClass, Candle, FetchWindow, QuarantinedCandle, Series, Spelling, Timeframe
from tests.loopback.market import Bar, Listing
from tests.loopback.okx import Okx
from tests.loopback.yahoo import Yahoo

pytestmark = pytest.mark.usefixtures("house")

FIRST, DAYS, ODD = date(2024, 3, 1), 60, date(2024, 3, 31)


@pytest.fixture
def coin() -> Asset:
    return Asset.objects.create(symbol="BTC-USD", asset_class=AssetClass.CRYPTO)


def at(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def theirs(yahoo: Yahoo) -> list[dict]:
    """What Yahoo has, as rows."""
    since, until = at(FIRST), at(FIRST + timedelta(days=DAYS))
    rows = providers.named("yahoo").fetch("BTC-USD", Timeframe.D1, since, until).candles.to_pylist()
    yahoo.requests.clear()
    return rows


def put(asset: Asset, rows: list[dict]) -> None:
    import pyarrow as pa

    from marketdata.ingestion import schema

    Series.objects.get_or_create(asset=asset, timeframe="1d")
    ingest(asset, "1d", pa.Table.from_pylist(rows, schema=schema()), source="okx")


def spoiled(rows: list[dict], factor: float = 3.0, days: tuple[date, ...] = (ODD,)) -> list[dict]:
    """The rows, with all prices of some days multiplied and little volume."""
    prices = ("open", "high", "low", "close")
    return [
        row | {name: f"{float(row[name]) * factor:.2f}" for name in prices} | {"volume": "1"}
        if row["open_time"].date() in days
        else row
        for row in rows
    ]


@dataclass
class Jumpy(Listing):
    """A market in which the odd day really was so."""

    factor: float = 3.0

    def daily(self, day: date) -> Bar:
        bar = super().daily(day)
        if day != ODD:
            return bar
        return Bar(bar.at, *(price * self.factor for price in (bar.open, bar.high, bar.low, bar.close)), 1)


def ask(asset: Asset) -> Arbitrated:
    return arbitrate(asset, "1d", "okx", Foreground())


def test_it_is_replaced_when_the_other_has_one_that_fits(coin, yahoo):
    rows = theirs(yahoo)
    put(coin, spoiled(rows))
    held = QuarantinedCandle.objects.get()
    assert held.kind == "spike"
    found = ask(coin)
    assert (found.asked, found.released, found.rejected) == (1, 0, 1)
    assert found.said[0].startswith("Yahoo Finance has another candle of 2024-03-31 (close ")
    held.refresh_from_db()
    assert (held.state, held.decided_by) == ("rejected", "second source: Yahoo Finance")
    stored = Candle.objects.get(open_time=at(ODD))
    assert (str(stored.close.normalize()), stored.source) == (str(float(rows[30]["close"])), "yahoo")
    assert Candle.objects.filter(source="okx").count() == DAYS - 1
    window = FetchWindow.objects.get()
    assert (window.provider, window.state, window.since, window.until) == (
        "yahoo", "answered", at(ODD - timedelta(days=5)), at(ODD + timedelta(days=6)),
    )  # fmt: skip
    assert window.settled_until is None, "not all of it was stored, so it covers nothing"
    assert len(yahoo.charts("BTC-USD")) == 1
    put(coin, spoiled(rows))
    assert Candle.objects.get(open_time=at(ODD)).source == "yahoo", "the bad one does not come back"
    assert QuarantinedCandle.objects.get().state == "rejected"


def test_it_is_released_when_the_other_has_it_too(coin, yahoo):
    rows = theirs(yahoo)
    fields = vars(yahoo.listings["BTC-USD"])
    yahoo.listings["BTC-USD"] = Jumpy(**fields)
    put(coin, spoiled(rows))
    found = ask(coin)
    assert (found.asked, found.released, found.rejected) == (1, 1, 0)
    held = QuarantinedCandle.objects.get()
    assert (held.state, held.decided_by) == ("released", "second source: Yahoo Finance")
    assert Candle.objects.get(open_time=at(ODD)).source == "okx"
    put(coin, spoiled(rows))
    assert Candle.objects.count() == DAYS, "and it stays"


def test_it_stays_held_when_the_other_doubts_and_is_doubtful_itself(coin, yahoo):
    rows = theirs(yahoo)
    fields = vars(yahoo.listings["BTC-USD"])
    yahoo.listings["BTC-USD"] = Jumpy(**fields, factor=0.2)
    put(coin, spoiled(rows))
    assert ask(coin) == Arbitrated(asked=1)
    held = QuarantinedCandle.objects.get()
    assert held.state == "held"
    assert "; Yahoo Finance has another one that is doubtful, too (close " in held.reason
    assert not Candle.objects.filter(open_time=at(ODD)).exists()


def test_a_source_that_prices_something_else_decides_nothing(coin, yahoo):
    rows = theirs(yahoo)
    put(coin, spoiled(rows))
    yahoo.listings["BTC-USD"] = replace(yahoo.listings["BTC-USD"], level=10_000)
    assert ask(coin) == Arbitrated(asked=1)
    assert QuarantinedCandle.objects.get().reason.endswith("; Yahoo Finance prices it otherwise throughout")


def test_one_that_has_no_such_candle_decides_nothing_and_is_asked_once(coin, yahoo):
    rows = theirs(yahoo)
    yahoo.listings["BTC-USD"].nulls.add(ODD)
    put(coin, spoiled(rows))
    assert ask(coin) == Arbitrated(asked=1)
    assert QuarantinedCandle.objects.get().reason.endswith("; Yahoo Finance has no such candle")
    assert ask(coin) == Arbitrated()
    assert len(yahoo.charts("BTC-USD")) == 1


def test_one_that_does_not_answer_is_asked_again_another_time(coin, yahoo, monkeypatch):
    monkeypatch.setattr("marketdata.asking.ATTEMPTS", 1)
    rows = theirs(yahoo)
    put(coin, spoiled(rows))
    yahoo.fail("*", "503")
    found = ask(coin)
    assert (found.asked, found.rejected) == (0, 0)
    assert found.said[0].startswith("Yahoo Finance could not be asked about doubtful candles: ")
    assert FetchWindow.objects.get().state == "failed"
    assert QuarantinedCandle.objects.get().state == "held"
    yahoo.mend()
    assert ask(coin).rejected == 1


def test_a_stretch_is_one_question(coin, yahoo):
    rows = theirs(yahoo)
    days = tuple(ODD + timedelta(days=number) for number in range(4))
    put(coin, spoiled(rows, 100, days))
    assert set(QuarantinedCandle.objects.values_list("kind", flat=True)) == {"unit"}
    assert ask(coin).rejected == 4
    assert len(yahoo.charts("BTC-USD")) == 1
    assert Candle.objects.count() == DAYS


def test_impossible_candles_and_those_of_others_are_no_matter_of_opinion(coin, yahoo):
    rows = theirs(yahoo)
    put(coin, [*rows[:30], rows[30] | {"high": "1"}, *rows[31:]])
    assert ask(coin) == Arbitrated()
    assert not yahoo.charts()


def test_the_source_itself_is_not_its_judge(coin, yahoo):
    rows = theirs(yahoo)
    put(coin, spoiled(rows))
    QuarantinedCandle.objects.update(source="yahoo")
    arbitrate(coin, "1d", "yahoo", Foreground())
    assert not yahoo.charts()
    assert QuarantinedCandle.objects.get().state == "held"


def test_whoever_fetches_hears_a_second_source(yahoo: Yahoo, okx: Okx):
    coin = Asset.objects.create(symbol="BTC-USDT", asset_class=AssetClass.CRYPTO)
    Spelling.objects.create(asset=coin, provider="yahoo", spelling="BTC-USD")
    bitcoin = okx.coins["BTC-USDT"]
    okx.coins["BTC-USDT"] = replace(bitcoin, listing=Jumpy(**vars(bitcoin.listing)))
    found = fetch(coin, Timeframe.D1, at(FIRST), at(FIRST + timedelta(days=DAYS)), wait=Foreground())
    assert (found.status, found.error) == ("done", "")
    assert (found.counts.inserted, found.counts.quarantined) == (DAYS, 0)
    held = QuarantinedCandle.objects.get()
    assert (held.source, held.state, held.decided_by) == ("okx", "rejected", "second source: Yahoo Finance")
    assert Candle.objects.get(open_time=at(ODD)).source == "yahoo"


def test_but_not_if_only_one_is_to_be_asked(yahoo: Yahoo, okx: Okx):
    coin = Asset.objects.create(symbol="BTC-USDT", asset_class=AssetClass.CRYPTO)
    bitcoin = okx.coins["BTC-USDT"]
    okx.coins["BTC-USDT"] = replace(bitcoin, listing=Jumpy(**vars(bitcoin.listing)))
    until = at(FIRST + timedelta(days=DAYS))
    found = fetch(coin, Timeframe.D1, at(FIRST), until, wait=Foreground(), provider=providers.named("okx"))
    assert (found.status, found.counts.quarantined) == ("partial", 1)
    assert "1 of 60 candles were quarantined: 2024-03-31: its close" in found.error
    assert not yahoo.charts()
