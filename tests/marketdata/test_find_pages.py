"""Assets found on their page, symbols that are only listed, and keeping one of those."""

import pytest
from django.test import Client

from chronos.core import tenancy
from chronos.core.models import Job
from marketdata.models import Asset, AssetClass, Spelling
from tests import cast
from tests.marketdata.directory import REAL, load, made_up
from tests.prices import stored

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return cast.signed_in(alice)


def rows(text: str) -> list[str]:
    """The symbols of the rows, in their order."""
    return [piece.split("</a>")[0].rpartition(">")[2] for piece in text.split("data-hit")[1:]]


def test_the_list_finds_by_symbol_name_and_spelling(page):
    Asset.objects.create(symbol="NVDA", name="NVIDIA Corporation")
    bitcoin = Asset.objects.create(symbol="BTC-USDT", name="Bitcoin", asset_class=AssetClass.CRYPTO)
    Spelling.objects.create(asset=bitcoin, provider="yahoo", spelling="BTC-USD")
    for query, found in (
        ("q=nvd", "NVDA"),
        ("q=bitcoin", "BTC-USDT"),
        ("q=btc-usd", "BTC-USDT"),
        ("class=crypto", "BTC-USDT"),
    ):
        text = page.get(f"/assets/?{query}", headers={"HX-Request": "true"}).text
        assert rows(text) == [found]
        assert "1 result" in text
        assert "<html" not in text
    assert 'href="/assets/validate/"' in page.get("/assets/").text
    assert 'href="/assets/validate/?symbol=zzz%26%22"' in page.get("/assets/?q=zzz%26%22").text
    assert "No asset fits" in page.get("/assets/?q=zzz").text
    assert page.get("/assets/?q=%01%25_&class=nonsense&page=99").status_code == 200
    assert page.get("/assets/?q=%ff&sector=%ff&page=-1").status_code == 200


def test_kept_and_listed_ones_are_found_together_and_told_apart(page):
    load()
    stored("APLE", [10, 11], name="Apple Hospitality")
    text = page.get("/assets/?q=apple").text
    assert rows(text) == ["AAPL", "APLE", "APC.DE", "AAPL.MX"]
    assert text.count("Listed only") == 3
    assert "11.00" in text
    assert "Mega cap" in text
    assert "Nasdaq Global Select" in text
    assert rows(page.get("/assets/?q=apple&kept=yes").text) == ["APLE"]


def test_filters_are_in_the_address_and_shown_as_chosen(page):
    load()
    text = page.get("/assets/?class=etf&exchange=PCX").text
    assert rows(text) == ["SPY", "VTI"]
    assert '<option value="PCX" selected>NYSE Arca</option>' in text
    assert '<option value="etf" selected>ETF</option>' in text
    assert rows(page.get("/assets/?q=toyota&country=Japan&cap=mega&sector=Consumer+Discretionary").text) == [
        "TM",
        "7203.T",
    ]
    odd = page.get("/assets/?sector=<script>&q=x").text
    assert '<option value="&lt;script&gt;" selected>' in odd
    assert "Clear the filters" in odd


def test_typing_leaves_a_clean_address_behind(page):
    typed = page.get("/assets/?q=app&class=&sector=&page=3", headers={"HX-Request": "true", "HX-Trigger": "find"})
    assert typed.headers["HX-Replace-Url"] == "/assets/?q=app"
    turned = page.get("/assets/?q=app&page=2", headers={"HX-Request": "true"})
    assert "HX-Replace-Url" not in turned.headers


def test_it_pages_and_keeps_the_search(page):
    load(REAL + made_up(3000))
    first, second = page.get("/assets/?q=n").text, page.get("/assets/?q=n&page=2").text
    assert "1–50, more follow" in first
    assert "?q=n&amp;page=2" in first
    assert "Previous" in second
    assert len(rows(first)) == 50
    assert not set(rows(first)) & set(rows(second))


def test_the_last_page_that_can_be_turned_to_does_not_say_that_it_is_all(page):
    load(REAL + made_up(1500))
    for number in (10, 99):
        text = page.get(f"/assets/?page={number}").text
        assert "451–500; more fit than are listed" in text
        assert "page=11" not in text
        assert len(rows(text)) == 50


def test_near_misses_are_called_so(page):
    load()
    text = page.get("/assets/?q=microsft").text
    assert "Nothing is called “microsft”" in text
    assert rows(text) == ["MSFT"]


def test_a_listed_symbol_has_a_page_that_says_what_is_known(page):
    load()
    text = page.get("/assets/7203.T/").text
    for part in (
        "Toyota Motor Corporation",
        "Tokyo",
        "Japan",
        "Mega cap",
        "Keep this asset",
        "Directory A",
    ):
        assert part in text
    assert page.get("/assets/brk.b/").status_code == 404
    assert page.get("/assets/aapl/").headers["Location"] == "/assets/AAPL/"
    assert page.get("/assets/EURUSD%3DX/").headers["Location"] == "/assets/EUR-USD/"
    assert page.get("/assets/M&M.NS/").status_code == 200
    assert page.get("/assets/AAPL/candles.csv").status_code == 404


def test_an_unknown_symbol_is_answered_with_what_may_be_meant(page):
    load()
    answer = page.get("/assets/GOGL/")
    assert answer.status_code == 404
    assert "No asset is called GOGL. Did you mean GOOGL" in answer.text
    assert page.get("/assets/%ff/").status_code == 404


def test_keeping_a_listed_symbol_stores_it_and_asks_for_its_candles(page, alice):
    load()
    assert page.get("/assets/7203.T/keep/").status_code == 405
    answer = page.post("/assets/7203.T/keep/", follow=True)
    assert "7203.T is kept from now on" in answer.text
    asset = Asset.objects.get(symbol="7203.T")
    assert (asset.name, asset.calendar, asset.cap_class) == ("Toyota Motor Corporation", "XTKS", "mega")
    page.post("/assets/7203.T/keep/")
    with tenancy.acting_as(alice):
        jobs = list(Job.objects.filter(kind="refresh-asset"))
    assert [job.subject for job in jobs] == ["7203.T 1d"]
    assert rows(page.get("/assets/?q=toyota").text)[0] == "7203.T"


def test_what_no_directory_lists_cannot_be_kept_so(page):
    assert page.post("/assets/NOBODY/keep/").status_code == 404
    assert not Asset.objects.exists()
    assert Client().post("/assets/NOBODY/keep/").status_code == 302
