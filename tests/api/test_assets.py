"""Assets over the API: found, looked at, kept, checked, and the work that brings their candles."""

from urllib.parse import quote

import pytest
from django.test import override_settings
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.models import Job
from marketdata import recognition
from marketdata.models import Asset, CorporateAction, FallbackChain, Series, Spelling, Timeframe
from tests.api.program import Program
from tests.marketdata import directory
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def reads(alice):
    """Alice's program, which may only read."""
    return Program.of(alice, may_write=False)


def works(program: Program, answer) -> list[str]:
    """Do whatever the answer says can be done next; the operations by name."""
    actions = answer.json()["next_actions"]
    for one in actions:
        done = program(one["operation"], **one["parameters"])
        assert done.status_code < 300, (one, done.content)
    return [one["operation"] for one in actions]


def test_one_asset(hers):
    asset = stored("NVDA", walk(30), exchange="NMS", currency="USD", sector="Technology", market_cap=5_000_000)
    stored("NVDA", walk(5), timeframe=Timeframe.H1)
    Spelling.objects.create(asset=asset, provider="twelvedata", spelling="NVDA:NASDAQ")
    answer = hers("get_asset", symbol="nvda")
    told = answer.json()["data"]
    assert (told["symbol"], told["stored"], told["sector"], told["market_cap"]) == ("NVDA", True, "Technology", 5e6)
    assert (told["exchange"], told["exchange_name"], told["calendar"]) == ("NMS", "Nasdaq Global Select", "XNYS")
    assert told["recognition"] == "unverified"
    assert told["providers"] == ["yahoo"]
    assert told["spellings"] == [{"provider": "twelvedata", "spelling": "NVDA:NASDAQ"}]
    hours, days = told["series"]
    assert (hours["timeframe"], hours["candles"], days["timeframe"], days["candles"]) == ("1h", 5, "1d", 30)
    assert (days["source"], days["basis"], days["missing"]) == ("file", "split", None)
    assert days["freshness"] in ("fresh", "ageing")
    assert days["first_open"] < days["last_open"]
    assert works(hers, answer) == ["get_candles", "refresh_asset", "backfill_asset"]
    assert hers.ask("get_asset", symbol="nvda:nasdaq")["symbol"] == "NVDA"
    Series.objects.filter(timeframe="1d").update(
        audited_at=timezone.now(), expected_count=32, missing_count=2, gap_count=1
    )
    assert [hers.ask("get_asset", symbol="NVDA")["series"][1][name] for name in ("missing", "gaps")] == [2, 1]


def test_who_is_asked_for_it_is_who_can_be(hers):
    from marketdata import chains, credentials

    stored("NVDA", walk(3))
    directory.load()

    def asked(symbol: str = "NVDA") -> list[str]:
        return hers.ask("get_asset", symbol=symbol)["providers"]

    assert asked() == asked("MSFT") == ["yahoo"] == [one.name for one in chains.chain("stock")]
    credentials.store("alphavantage", "a-key", "stella")
    assert asked() == asked("MSFT") == ["yahoo", "alphavantage"] == [one.name for one in chains.chain("stock")]
    chains.set_chain("stock", ["alphavantage", "twelvedata", "yahoo"], "stella")
    assert asked() == asked("MSFT") == ["alphavantage", "yahoo"] == [one.name for one in chains.chain("stock")]
    with override_settings(SECRET_KEY="another"):  # the stored key can't be read any more
        assert [one.name for one in chains.chain("stock")] == ["yahoo"]
    with override_settings(TWELVEDATA_API_KEY="given"):
        assert asked() == ["alphavantage", "twelvedata", "yahoo"]
    FallbackChain.objects.update(providers=[])
    assert asked() == [one.name for one in chains.chain("stock")] == []


def test_it_is_recognised_as_on_its_page(hers):
    """By the asset at hand as by the query for many."""
    directory.load()
    now = timezone.now()
    for symbol, fields in (
        ("AAPL", {}), ("NVDA", {"validated_at": now}), ("ZZQX", {}), ("MSFT", {"refuted_at": now}),
        ("QQZZ", {"refuted_at": now}),
        ("TSLA", {"validated_at": now, "metadata": {"last traded": "2020-01-01T00:00Z"}}),
        ("META", {"validated_at": now, "metadata": {"last traded": 7}}), ("GOOG", {"is_sample": True}),
    ):  # fmt: skip
        asset = stored(symbol, walk(3), **fields)
        told = hers.ask("get_asset", symbol=symbol)
        stands = recognition.recognised([asset])[asset.pk]
        assert (told["recognition"], told["recognition_detail"]) == (stands.state, stands.detail), symbol


def test_one_that_is_only_listed(hers):
    directory.load()
    answer = hers("get_asset", symbol="nvda")
    told = answer.json()["data"]
    assert (told["stored"], told["name"], told["series"]) == (False, "NVIDIA Corporation", [])
    assert works(hers, answer) == ["keep_asset"]
    assert hers.ask("get_asset", symbol="NVDA")["stored"] is True
    refused = hers("get_candles", symbol="MSFT")
    assert (refused.status_code, refused.json()["data"]["code"]) == (404, "not_kept")
    assert works(hers, refused) == ["keep_asset", "get_asset"]


def test_one_that_nobody_knows(hers):
    stored("NVDA", walk(2))
    for operation in ("get_asset", "get_candles", "keep_asset"):
        answer = hers(operation, symbol="NVDAA")
        assert (answer.status_code, answer.json()["data"]["code"]) == (404, "not_found")
        assert "NVDA?" in answer.json()["message"]
        assert works(hers, answer) == ["get_asset", "search_assets"]


@pytest.mark.parametrize("symbol", ["BTC/USDT", "Ünïcödé", "✈", "A" * 41, "A" * 61, "..", "a b", "'; DROP", "%", "\t"])
def test_symbols_that_are_none(hers, symbol):
    for rest in ("", "/candles"):
        answer = hers.client.get(f"/api/v1/assets/{quote(symbol, safe='/')}{rest}")
        assert answer.status_code in (404, 422), symbol
        assert answer.json()["success"] is False
    assert hers("keep_asset", symbol=quote(symbol, safe="")).status_code in (404, 422)
    assert not Asset.objects.exists()


def test_found_by_words_and_by_facts(hers):
    directory.load()
    stored("NVDA", walk(3), asset_class="stock", sector=directory.IT)
    answer = hers("search_assets", q="nvidia")
    (found,) = answer.json()["data"]
    assert (found["symbol"], found["stored"], found["asset_class"], found["is_near_miss"]) == (
        "NVDA", True, "stock", False,
    )  # fmt: skip
    assert works(hers, answer) == ["get_asset"]
    everything = {one["symbol"] for one in hers.ask("search_assets", limit=500)}
    assert len(everything) > 30
    funds = hers.ask("search_assets", **{"class": "etf"})
    assert {one["symbol"] for one in funds} == {"SPY", "VTI", "VXUS", "IS3N.DE"}
    german = hers.ask("search_assets", country="Germany", exchange="GER")
    assert [one["symbol"] for one in german] == ["SIE.DE"]
    assert [one["symbol"] for one in hers.ask("search_assets", stored=True)] == ["NVDA"]
    near = hers("search_assets", q="microsotf").json()
    assert near["data"][0]["symbol"] == "MSFT"
    assert near["data"][0]["is_near_miss"]
    nothing = hers("search_assets", q="nvidia", sector="Energy")
    assert nothing.json()["data"] == []
    assert works(hers, nothing) == ["search_assets", "list_sectors"]
    for bad in ({"class": "bond"}, {"limit": 0}, {"limit": 501}, {"cap_class": "huge"}, {"q": "a" * 101}):
        assert hers.refused("search_assets", **bad) == (422, "invalid")


def test_pages_of_a_search_are_the_whole(hers):
    directory.load()
    whole = [one["symbol"] for one in hers.ask("search_assets", limit=500)]
    assert len(whole) > 30
    seen, cursor = [], ""
    while True:
        answer = hers("search_assets", limit=7, cursor=cursor).json()
        seen += [one["symbol"] for one in answer["data"]]
        if not (cursor := answer["metadata"]["next_cursor"]):
            break
    assert seen == whole
    for cursor in ("x", "WzFd", "WyJhc3NldHMiLCJ4Il0", "WyJhc3NldHMiLDFlOTld", "W10", "bnVsbA"):
        assert hers.refused("search_assets", cursor=cursor) == (422, "bad_cursor")
    assert hers.ask("search_assets", cursor="WyJhc3NldHMiLC01XQ")  # -5: from the first


def test_what_the_filters_can_be(hers):
    assert hers.ask("list_sectors")["sector"] == []
    directory.load()
    answer = hers("list_sectors")
    told = answer.json()["data"]
    assert set(told) == {"class", "sector", "industry", "exchange", "country", "cap_class"}
    assert {"value": "stock", "label": "Stock"} in told["class"]
    assert {"value": "LSE", "label": "London"} in told["exchange"]
    assert works(hers, answer) == ["search_assets"]


def test_kept_once(hers, reads, alice):
    directory.load()
    assert reads.refused("keep_asset", symbol="NVDA") == (403, "insufficient_scope")
    first = hers("keep_asset", symbol="nvda")
    told = first.json()["data"]
    assert (told["asset"]["symbol"], told["asset"]["sector"], told["asset"]["stored"]) == ("NVDA", directory.IT, True)
    assert told["job"]["kind"] == "refresh-asset"
    assert works(hers, first) == ["get_job", "get_asset"]
    assert hers.ask("keep_asset", symbol="NVDA")["job"]["id"] == told["job"]["id"]
    stored("NVDA", walk(3))
    assert hers.ask("keep_asset", symbol="NVDA")["job"] is None
    assert Asset.objects.count() == 1


def test_whether_symbols_are_real(hers, alice):
    directory.load()
    answer = hers("validate_assets", symbols=["nvda", "APPL", "b$d", "TSLA", "nvda"], ask=False)
    found = answer.json()["data"]
    assert [one["verdict"] for one in found] == ["valid", "unverified", "malformed", "valid", "valid"]
    assert found[1]["suggestions"][0] == "AAPL"
    assert answer.json()["message"] == "3 valid, 1 unverified, 1 malformed."
    assert works(hers, answer) == ["validate_assets", "get_asset"]
    asked = hers("validate_assets", symbols=["ZZQX"])
    assert asked.json()["data"][0]["verdict"] == "pending"
    assert asked.json()["next_actions"][0]["operation"] == "get_job"
    with tenancy.acting_as(alice):
        assert Job.objects.get().pk == asked.json()["data"][0]["job"]
    assert hers.refused("validate_assets", symbols=[]) == (422, "invalid")
    assert hers.refused("validate_assets", symbols=["A"] * 5001) == (422, "invalid")
    assert len(hers.ask("validate_assets", symbols=["NVDA"] * 5000, ask=False)) == 5000


def test_a_token_that_may_only_read_checks_symbols_and_asks_nobody(reads, alice):
    (found,) = reads.ask("validate_assets", symbols=["ZZQX"])
    assert (found["verdict"], found["job"]) == ("unverified", None)
    with tenancy.acting_as(alice):
        assert not Job.objects.exists()
    for operation in ("refresh_asset", "backfill_asset", "fill_gaps"):
        assert reads.refused(operation, symbol="NVDA") == (403, "insufficient_scope")


def test_long_work_says_what_it_takes_before_it_is_begun(hers, alice):
    stored("NVDA", walk(5))
    for operation, more in (
        ("refresh_asset", {}), ("backfill_asset", {"since": "2020-01-01", "timeframe": "1h"}), ("fill_gaps", {}),
    ):  # fmt: skip
        dry = hers(operation, symbol="nvda", dry_run=True, **more)
        assert dry.status_code == 200
        assert dry.json()["data"]["job"] is None
        assert dry.json()["data"]["cost"]["series"] == 1
    with tenancy.acting_as(alice):
        assert not Job.objects.exists()
    begun = hers("backfill_asset", symbol="nvda", since="2020-01-01", timeframe="1h")
    job = begun.json()["data"]["job"]
    assert (begun.status_code, job["kind"], job["subject"]) == (202, "backfill-asset", "NVDA 1h")
    assert job["params"]["since"] == "2020-01-01T00:00:00Z"
    assert begun.json()["data"]["cost"]["requests"] >= 1
    assert works(hers, begun) == ["get_job", "cancel_job"]
    assert hers("refresh_asset", symbol="NVDA").status_code == 202
    assert hers.refused("fill_gaps", symbol="NVDA", timeframe="1m") == (404, "not_found")
    assert hers.refused("refresh_asset", symbol="NVDA", timeframe="2h") == (422, "invalid")
    assert hers.refused("backfill_asset", symbol="NVDA", since="yesterday") == (422, "invalid")
    assert hers.refused("refresh_asset", symbol="NOBODY") == (404, "not_found")


def test_filling_gaps_says_how_many_requests(hers):
    from marketdata import gaps

    asset = stored("BTC-USDT", walk(40), asset_class="crypto", calendar="24/7")
    assert hers.ask("fill_gaps", symbol="BTC-USDT", dry_run=True)["cost"]["requests"] is None
    series = Series.objects.get(asset=asset)
    gaps.audit(series)
    assert hers.ask("fill_gaps", symbol="BTC-USDT", dry_run=True)["cost"] == {
        "series": 1, "requests": 0, "seconds": 0.0,
    }  # fmt: skip
    stored("BTC-USDT", walk(3), last=series.first_open - 5 * Timeframe.D1.length)
    gaps.audit(Series.objects.get(asset=asset))
    assert hers.ask("fill_gaps", symbol="BTC-USDT", dry_run=True)["cost"]["requests"] == 1


def test_a_sample_is_left_alone(hers):
    stored("AAPL", walk(5), is_sample=True)
    assert works(hers, hers("get_asset", symbol="AAPL")) == ["get_candles"]
    for operation in ("refresh_asset", "backfill_asset", "fill_gaps"):
        assert hers.refused(operation, symbol="AAPL") == (422, "sample")


def test_an_asset_takes_as_many_queries_for_many_series_as_for_few(hers):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def queries():
        with CaptureQueriesContext(connection) as seen:
            hers.ask("get_asset", symbol="NVDA")
        return len(seen)

    asset = stored("NVDA", walk(5), exchange="NMS")
    queries()  # the first looks what there is of its market's calendar
    few = queries()
    for timeframe in (Timeframe.H1, Timeframe.W1, Timeframe.M5):
        stored("NVDA", walk(5), timeframe=timeframe)
    CorporateAction.objects.create(asset=asset, kind="split", ex_date="2024-01-01", value=2, source="test")
    assert queries() == few <= 11
