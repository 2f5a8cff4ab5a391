"""How candles are kept, over the API: coverage, gaps, actions, the ledger, quarantine, providers and chains."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from marketdata import gaps
from marketdata.models import Candle, CorporateAction, FallbackChain, FetchWindow, QuarantinedCandle, Series, Timeframe
from tests import cast
from tests.api.program import Program
from tests.api.test_assets import works
from tests.marketdata.test_quarantine_page import held
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")
NEWEST = datetime(2024, 3, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def coin():
    """Forty days of a market that never closes, two runs of them missing, counted."""
    asset = stored("BTC-USDT", walk(20), last=NEWEST, asset_class="crypto", calendar="24/7")
    stored("BTC-USDT", walk(10), last=NEWEST - 22 * DAY)
    stored("BTC-USDT", walk(5), last=NEWEST - 35 * DAY)
    series = Series.objects.get(asset=asset)
    gaps.audit(series)
    return asset


@pytest.fixture
def staff():
    return Program.of(cast.stella())


def pages(program: Program, operation: str, **wanted) -> list:
    found, cursor = [], ""
    while True:
        told = program(operation, cursor=cursor, **wanted).json()
        found += told["data"]
        if not (cursor := told["metadata"]["next_cursor"]):
            return found


def window(asset, number: int, **more) -> FetchWindow:
    at = NEWEST - number * DAY
    given = {"timeframe": "1d", "provider": "okx", "since": at, "until": at + DAY, "asked_at": at, "state": "answered"}
    return FetchWindow.objects.create(asset=asset, **(given | more))


def test_coverage(hers, coin):
    window(coin, 1, received=9)
    window(coin, 2, state="failed", error_class="RateLimited", error="Too many.")
    stored("BTC-USDT", walk(3), timeframe=Timeframe.H1, last=NEWEST)
    answer = hers("get_coverage", symbol="btc-usdt")
    hours, days = answer.json()["data"]
    assert (hours["timeframe"], hours["candles"], hours["expected"], hours["missing"]) == ("1h", 3, None, None)
    assert (days["candles"], days["gaps"]) == (35, Series.objects.get(timeframe="1d").gap_count)
    assert days["missing"] >= 5
    assert days["missing"] + 35 == days["expected"]
    (asked,) = days["asked"]
    assert (asked["provider"], asked["windows"], asked["failures"], asked["received"]) == ("okx", 2, 1, 9)
    assert works(hers, answer) == ["list_gaps", "list_windows"]


def test_gaps_in_pages(hers, coin):
    answer = hers("list_gaps", symbol="BTC-USDT")
    whole = answer.json()["data"]
    assert len(whole) >= 2
    assert answer.json()["metadata"]["total"] == len(whole)
    assert [gap["start"] for gap in whole] == sorted({gap["start"] for gap in whole})
    assert sum(gap["candles"] for gap in whole) == Series.objects.get().missing_count
    assert pages(hers, "list_gaps", symbol="BTC-USDT", limit=1) == whole
    assert works(hers, answer) == ["fill_gaps"]
    assert hers.refused("list_gaps", symbol="BTC-USDT", cursor="x") == (422, "bad_cursor")
    assert hers.refused("list_gaps", symbol="BTC-USDT", timeframe="1h") == (404, "not_found")
    stored("NVDA", walk(3))
    uncounted = hers("list_gaps", symbol="NVDA")
    assert uncounted.json()["data"] == []
    assert "Nobody has counted" in uncounted.json()["message"]
    assert uncounted.json()["metadata"]["total"] is None
    assert works(hers, uncounted) == ["backfill_asset"]


def test_splits_and_dividends(hers):
    asset = stored("NVDA", walk(5), currency="USD")
    for number, (kind, value) in enumerate([("split", "10"), ("dividend", "0.01"), ("split", "0.1")]):
        CorporateAction.objects.create(
            asset=asset, kind=kind, ex_date=date(2024, 1, 1) + number * DAY, value=Decimal(value), source="yahoo"
        )
    CorporateAction.objects.create(
        asset=asset, kind="split", ex_date=date(2020, 1, 1), value=3, source="x", superseded_at=NEWEST
    )
    answer = hers("list_corporate_actions", symbol="NVDA")
    told = answer.json()["data"]
    assert [(one["kind"], one["value"], one["ratio"]) for one in told] == [
        ("split", 0.1, "1:10"), ("dividend", 0.01, ""), ("split", 10.0, "10:1"),
    ]  # fmt: skip
    assert works(hers, answer) == ["get_candles"]
    assert len(hers.ask("list_corporate_actions", symbol="NVDA", kind="split")) == 2
    for order in ("ex_date", "-ex_date"):
        assert pages(hers, "list_corporate_actions", symbol="NVDA", limit=1, order=order) == hers.ask(
            "list_corporate_actions", symbol="NVDA", order=order
        )


def test_the_ledger(hers, coin):
    for number in range(5):
        window(coin, number, provider="okx" if number % 2 else "yahoo", state="failed" if number == 3 else "answered")
    window(coin, 2, timeframe="1h")
    answer = hers("list_windows", symbol="BTC-USDT")
    whole = answer.json()["data"]
    assert len(whole) == 6
    assert whole[0]["asked_at"] > whole[-1]["asked_at"]
    assert works(hers, answer) == ["get_coverage"]
    assert pages(hers, "list_windows", symbol="BTC-USDT", limit=2) == whole
    assert [one["state"] for one in hers.ask("list_windows", symbol="BTC-USDT", state="failed")] == ["failed"]
    assert len(hers.ask("list_windows", symbol="BTC-USDT", provider="yahoo", timeframe="1d")) == 3
    assert hers.refused("list_windows", symbol="BTC-USDT", state="lost") == (422, "invalid")


def test_quarantine_is_decided_by_staff(hers, staff):
    nvda = stored("NVDA", [100, 110, 120], last=NEWEST)
    one = held(nvda, NEWEST - DAY)
    two = held(nvda, NEWEST - 2 * DAY, close="1200")
    other = held(stored("AMD", [100, 110, 120], last=NEWEST))
    answer = hers("list_held", symbol="NVDA")
    first, second = answer.json()["data"]
    assert [first["id"], second["id"]] == [one.pk, two.pk]
    assert (first["kind"], first["numbers"]["close"]) == ("spike", "1234.5")
    assert [Decimal(first[place]["close"]) for place in ("before", "instead", "after")] == [100, 110, 120]
    assert second["before"] is None
    assert answer.json()["next_actions"] == []
    assert hers.refused("decide_held", symbol="NVDA", decision="release", ids=[one.pk]) == (403, "forbidden")
    assert works(staff, staff("list_held", symbol="NVDA")) == ["decide_held"]
    told = staff.ask("decide_held", symbol="NVDA", decision="release", ids=[one.pk, other.pk], dry_run=True)
    assert told == {"chosen": 1, "replaced": 1, "decided": 0, "problems": []}
    assert Candle.objects.get(asset=nvda, open_time=NEWEST - DAY).close == 110
    done = staff("decide_held", symbol="NVDA", decision="release", ids=[one.pk, other.pk])
    assert done.json()["data"]["decided"] == 1
    assert works(staff, done) == ["list_held"]
    assert Candle.objects.get(asset=nvda, open_time=NEWEST - DAY).close == Decimal("1234.5")
    assert staff.ask("decide_held", symbol="NVDA", decision="reject", ids=[two.pk])["decided"] == 1
    again = staff.ask("decide_held", symbol="NVDA", decision="reject", ids=[one.pk])
    assert again["decided"] == 0
    assert "was released by stella" in again["problems"][0]
    states = {row["id"]: (row["state"], row["decided_by"]) for row in hers.ask("list_held", symbol="NVDA", state="all")}
    assert states == {one.pk: ("released", "stella"), two.pk: ("rejected", "stella")}
    assert QuarantinedCandle.objects.get(pk=other.pk).state == "held"
    assert staff.refused("decide_held", symbol="NVDA", decision="release", ids=[other.pk]) == (404, "not_found")
    assert staff.refused("decide_held", symbol="NVDA", decision="release", ids=[]) == (422, "invalid")
    assert staff.refused("decide_held", symbol="NVDA", decision="keep", ids=[1]) == (422, "invalid")


def test_a_held_candle_of_strange_words_is_shown(hers):
    nvda = stored("NVDA", [100, 110, 120], last=NEWEST)
    held(nvda, None, raw={"time": "yesterday", "open": "<b>", "close": "1" * 90}, kind="unreadable")
    held(nvda, NEWEST, raw=["a", "list"], kind="", fingerprint="list")
    odd, listed = hers.ask("list_held", symbol="NVDA")
    assert odd["numbers"] == {"open": "<b>", "close": "1" * 60}
    assert (odd["open_time"], odd["before"], listed["numbers"]) == (None, None, {})


def test_all_data(hers, coin):
    stored("NVDA", walk(3))
    Series.objects.filter(asset__symbol="NVDA").update(failed_at=NEWEST, failure="Nobody answers.")
    answer = hers("get_data")
    told = answer.json()["data"]
    assert (told["series"], told["candles"], told["failing"], told["unaudited"]) == (2, 38, 1, 1)
    assert told["gaps"] == 2
    assert set(works(hers, answer)) == {"list_providers", "list_series"}
    assert [one["symbol"] for one in hers.ask("list_series")] == ["BTC-USDT", "NVDA"]
    (failing,) = hers.ask("list_series", state="failing")
    assert (failing["symbol"], failing["failure"]) == ("NVDA", "Nobody answers.")
    assert [one["symbol"] for one in hers.ask("list_series", q="btc", timeframe="1d")] == ["BTC-USDT"]
    for order in ("symbol", "-missing", "-candles"):
        assert pages(hers, "list_series", limit=1, order=order) == hers.ask("list_series", order=order)


def test_who_gives_it(hers, staff):
    answer = hers("list_providers")
    found = {one["name"]: one for one in answer.json()["data"]}
    assert found["yahoo"]["asset_classes"] == sorted(found["yahoo"]["asset_classes"])
    assert "1d" in found["yahoo"]["timeframes"]
    assert (found["twelvedata"]["needs_key"], found["twelvedata"]["key"]) == (True, "")
    assert works(hers, answer) == ["list_chains"]
    usual = {one["asset_class"]: one["providers"] for one in hers.ask("list_chains")}
    assert [(one["provider"], one["usable"]) for one in usual["crypto"]] == [("okx", True), ("yahoo", True)]
    assert hers.refused("set_chain", asset_class="crypto", providers=["yahoo"]) == (403, "forbidden")
    done = staff("set_chain", asset_class="crypto", providers=["yahoo", "okx"])
    assert [one["provider"] for one in done.json()["data"]["providers"]] == ["yahoo", "okx"]
    assert works(staff, done) == ["list_chains"]
    assert FallbackChain.objects.get().changed_by == "stella"
    for bad in (["nobody"], ["okx", "okx"]):
        assert staff.refused("set_chain", asset_class="crypto", providers=bad) == (422, "invalid")
    assert staff.refused("set_chain", asset_class="bond", providers=["yahoo"]) == (422, "invalid")
    staff.ask("set_chain", asset_class="crypto", providers=[])
    assert {one["asset_class"]: one["providers"] for one in hers.ask("list_chains")} == usual
