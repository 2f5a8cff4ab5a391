"""Universes as people meet them: by pages, whole or in part."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chronos.core import tenancy
from chronos.core.models import Job
from marketdata.models import Asset, ProviderState
from tests import cast
from tests.prices import stored, walk
from universes import catalogue, membership
from universes.models import Membership, Universe

pytestmark = pytest.mark.usefixtures("house")
HTMX = {"HX-Request": "true"}


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    client = Client()
    client.force_login(alice)
    return client


def made(alice, *symbols):
    with tenancy.acting_as(alice):
        universe = catalogue.create(alice, "Chips", "Makers of chips")
        membership.add(universe, alice, symbols)
    return universe


def public(*symbols):
    with tenancy.as_system("tests"):
        universe = Universe.objects.create(owner=None, name="Domain", visibility="public")
        for symbol in symbols:
            asset, _ = Asset.objects.get_or_create(symbol=symbol)
            Membership.objects.create(universe=universe, asset=asset)
    return universe


def members_of(alice, universe):
    with tenancy.acting_as(alice):
        return [stay.asset.symbol for stay in membership.members(universe)]


def test_it_shows_prices_changes_and_freshness(alice, page):
    stored("NVDA", [100, 110, 121])
    universe = made(alice, "NVDA", "NEWCO")
    text = page.get(universe.get_absolute_url()).text
    assert "121.00" in text
    assert "+10.00" in text
    assert "no candles" in text
    assert "not confirmed" in text
    assert text.count("<polyline") == 1


def test_a_new_one_with_symbols(alice, page):
    answer = page.post("/universes/new/", {"name": "Chips", "symbols": "NVDA\nAMD no$good"}, follow=True)
    assert "Chips is there, with 2 assets" in answer.text
    assert "no$good was not added" in answer.text
    with tenancy.acting_as(alice):
        assert members_of(alice, Universe.objects.get(name="Chips")) == ["NVDA", "AMD"]


def test_a_new_one_without_a_name_keeps_what_was_typed(page):
    answer = page.post("/universes/new/", {"name": "", "symbols": "NVDA AMD"})
    assert answer.status_code == 422
    assert "This field is required" in answer.text
    assert "NVDA AMD" in answer.text


def test_adding_in_place_answers_with_the_table(alice, page):
    universe = made(alice)
    answer = page.post(f"/universes/{universe.pk}/add/", {"symbols": "nvda, bad$"}, headers=HTMX)
    assert "<html" not in answer.text
    assert "Added NVDA." in answer.text
    assert "bad$" in answer.text.split("</textarea>")[0]  # kept in the field, to be mended
    assert members_of(alice, universe) == ["NVDA"]


def test_adding_nothing_says_so(alice, page):
    universe = made(alice)
    answer = page.post(f"/universes/{universe.pk}/add/", {"symbols": " "}, headers=HTMX)
    assert answer.status_code == 422
    assert "Write at least one symbol" in answer.text


def test_removing_offers_to_take_it_back(alice, page):
    universe = made(alice, "NVDA", "AMD")
    answer = page.post(f"/universes/{universe.pk}/remove/", {"symbol": ["NVDA"]}, headers=HTMX)
    assert "Removed NVDA" in answer.text
    assert "Undo" in answer.text
    assert members_of(alice, universe) == ["AMD"]
    page.post(f"/universes/{universe.pk}/add/", {"symbols": "NVDA"}, headers=HTMX)
    assert members_of(alice, universe) == ["NVDA", "AMD"]


def test_without_htmx_the_same_forms_lead_back_to_the_page(alice, page):
    universe = made(alice, "NVDA")
    answer = page.post(f"/universes/{universe.pk}/add/", {"symbols": "AMD"}, follow=True)
    assert "Added AMD." in answer.text
    answer = page.post(f"/universes/{universe.pk}/remove/", {"symbol": ["AMD"]}, follow=True)
    assert "Removed AMD." in answer.text


def test_renaming(alice, page):
    universe = made(alice)
    assert page.post(f"/universes/{universe.pk}/edit/", {"name": " "}).status_code == 422
    answer = page.post(f"/universes/{universe.pk}/edit/", {"name": "Fabs", "version": 1}, follow=True)
    assert "<title>Fabs · Chronos</title>" in answer.text


def test_another_persons_universe_does_not_exist(alice):
    universe = made(alice, "NVDA")
    bob = Client()
    bob.force_login(cast.bob())
    for path in ("", "edit/", "delete/"):
        assert bob.get(f"/universes/{universe.pk}/{path}").status_code == 404
    for path in ("add/", "remove/", "edit/", "delete/", "refresh/"):
        assert bob.post(f"/universes/{universe.pk}/{path}", {"symbols": "X", "name": "X"}).status_code == 404
    assert members_of(alice, universe) == ["NVDA"]


def test_a_public_one_is_for_reading_and_refreshing(alice, page):
    universe = public("NVDA")
    text = page.get(universe.get_absolute_url()).text
    assert "tag-chosen" not in text
    assert "Delete" not in text
    for path in ("add/", "remove/", "edit/", "delete/"):
        answer = page.post(f"/universes/{universe.pk}/{path}", {"symbols": "X", "name": "X"})
        assert answer.status_code == 403
        assert "Domain is public" in answer.text
    answer = page.post(f"/universes/{universe.pk}/refresh/", headers=HTMX)
    assert "Waiting" in answer.text
    with tenancy.acting_as(alice):
        job = Job.objects.get()
    assert f"job-{job.pk} from:body" in answer.text
    assert (
        f"job-{job.pk} from:body" in page.get(universe.get_absolute_url()).text
    )  # a page opened again goes on showing it


def test_the_past_can_be_asked_for(alice, page):
    universe = made(alice, "NVDA")
    answer = page.get(f"{universe.get_absolute_url()}?at=2001-01-01")
    assert "No members then" in answer.text
    assert "is not a date" in page.get(f"{universe.get_absolute_url()}?at=yesterday").text
    assert page.get(f"{universe.get_absolute_url()}?at=2024-02-31").status_code == 200


@pytest.mark.parametrize(
    ("sort", "first"), [("symbol", "AAA"), ("-symbol", "CCC"), ("-change", "CCC"), ("price", "BBB")]
)
def test_it_sorts_by_what_the_address_says(alice, page, sort, first):
    stored("AAA", [10, 10]), stored("BBB", [4, 2]), stored("CCC", [10, 20])
    universe = made(alice, "AAA", "BBB", "CCC")
    text = page.get(f"{universe.get_absolute_url()}?sort={sort}", headers=HTMX).text
    assert text.index(f'value="{first}"') == min(text.index(f'value="{name}"') for name in ("AAA", "BBB", "CCC"))


@pytest.mark.parametrize("query", ["sort=nonsense", "page=9999999999", "page=-1", "at=%01", "sort=%01&page=x"])
def test_a_strange_address_is_read_as_the_usual_one(alice, page, query):
    assert page.get(f"{made(alice, 'NVDA').get_absolute_url()}?{query}").status_code == 200


def queries(page, url):
    page.get(url)
    with CaptureQueriesContext(
        connection,
    ) as found:
        assert page.get(url).status_code == 200
    return [query["sql"] for query in found.captured_queries]


@pytest.mark.parametrize("url", ["/", "/universes/", "{universe}", "{universe}?sort=-change", "/assets/"])
def test_the_number_of_queries_does_not_grow_with_the_members(alice, page, url):
    universe = made(alice, "NVDA")
    stored("NVDA", [1, 2])
    url = url.format(universe=universe.get_absolute_url())
    few = queries(page, url)
    names = [f"S{n}" for n in range(40)]
    for name in names[:8]:
        stored(name, walk(3))
    with tenancy.acting_as(alice):
        membership.add(universe, alice, names)
        for n in range(5):
            membership.add(catalogue.create(alice, f"More {n}"), alice, names[:10])
    many = queries(page, url)
    assert len(many) == len(few), "\n".join(many)
    assert len(many) <= 20


def test_a_silent_provider_is_named_with_since_when(page):
    ProviderState.objects.create(
        provider="yahoo", failing_since="2026-11-20T14:30:00Z", failure="No connection to the proxy."
    )
    text = page.get("/universes/").text
    assert "Yahoo Finance has not answered since 20 Nov 2026 14:30 UTC." in text
    assert "last candles that were stored" in text


def test_a_card_shows_members_with_candles_in_their_owners_order(alice, page):
    for symbol in ("SILENTA", "SILENTB"):
        Asset.objects.create(symbol=symbol, asset_class="stock")
    stored("ZED", walk(3)), stored("MID", walk(3))
    made(alice, "SILENTA", "ZED", "SILENTB", "MID")
    card = page.get("/universes/").text.partition("<article")[2].partition("</article>")[0]
    assert re.findall(r">(ZED|MID|SILENT[AB])<", card) == ["ZED", "MID", "SILENTA", "SILENTB"]


def test_several_silent_providers_are_one_line_and_told_apart_below(page):
    for provider, why in (("yahoo", "No connection to the proxy."), ("okx", "Name or service not known.")):
        ProviderState.objects.create(provider=provider, failing_since="2026-11-20T14:30:00Z", failure=why)
    text = page.get("/universes/").text
    assert text.count('class="notice warn"') == 1
    assert "<strong>OKX and Yahoo Finance do not answer.</strong>" in text
    assert "<strong>OKX has not answered since 20 Nov 2026 14:30 UTC.</strong> Name or service not known." in text
    assert "<strong>Yahoo Finance has not answered since 20 Nov 2026 14:30 UTC.</strong> No connection" in text


def test_home_is_worth_a_look_with_the_sample_alone(page):
    from datetime import UTC, datetime

    end = datetime(2013, 3, 1, tzinfo=UTC)
    for symbol in ("AAPL.SAMPLE", "IBM.SAMPLE"):
        stored(symbol, walk(300), last=end, source="sample", is_sample=True)
    public("AAPL.SAMPLE", "IBM.SAMPLE")
    text = page.get("/").text
    assert "Movers in the sample" in text
    assert "sample, ends 1 Mar 2013" in text
    assert text.count('class="hue-') >= 4
    assert "bundled history" in text


def test_what_ended_years_ago_is_not_compared_with_what_is_live(alice, page):
    from datetime import UTC, datetime

    stored("OLD", walk(300), last=datetime(2013, 3, 1, tzinfo=UTC))
    stored("LIVE", [100] * 100 + [200] * 298 + [300] * 3)  # a last step alone would be doubted
    made(alice, "OLD", "LIVE")
    text = page.get("/?span=1y").text.split("compare-body")[1].split("</section>")[0]
    assert "LIVE gained 50.0 %" in text or "LIVE gained 200.0 %" in text
    assert "OLD" not in text
    assert "LIVE gained 50.0 %" in page.get("/?span=3mo").text
