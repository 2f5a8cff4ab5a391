"""What a person does on the first day, in a real browser, with a real worker and a Yahoo of our own."""

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from chronos.core import tenancy
from chronos.core.models import SignInLink
from tests import cast
from tests.browser.conftest import DESK, PHONE, worker
from tests.prices import stored, walk
from universes import catalogue
from universes.models import Membership, Universe

pytestmark = pytest.mark.browser


@pytest.fixture
def alice(house):
    return cast.alice()


def public(name, *symbols):
    with tenancy.as_system("tests"):
        universe = Universe.objects.create(owner=None, name=name, visibility="public")
        for symbol in symbols:
            asset = stored(symbol, [])
            Membership.objects.create(universe=universe, asset=asset)
    return universe


def test_from_the_printed_link_to_a_refreshed_universe_and_a_chart(alice, visit, yahoo):
    public("AI/Tech", "NVDA", "MSFT")
    visitor = visit(None)
    page = visitor.page
    with worker(YAHOO_REQUESTS_PER_SECOND="40"):
        visitor.open(urlsplit(SignInLink.issue(alice)).path)
        assert urlsplit(page.url).path == "/"
        page.get_by_role("link", name="AI/Tech").first.click()
        page.get_by_role("button", name="Refresh").click()
        expect(page.locator("#refreshing .state.done")).to_be_visible(timeout=30_000)  # by itself, as it happens
        expect(page.locator("tr", has_text="NVDA").locator(".spark polyline")).to_have_count(1)
        page.get_by_role("link", name="NVDA", exact=True).click()
        expect(page.locator(".chart .main-svg").first).to_be_visible()
        expect(page.locator(".readout .at")).to_be_visible()
        page.get_by_role("link", name="Activity").first.click()
        expect(page.locator(".jobs li").first).to_contain_text("Done")
        expect(page.locator("#live")).to_have_text("Live.")
    assert visitor.quiet() == []


@pytest.fixture
def chart(alice, visit):
    stored("NVDA", walk(400))
    visitor = visit(alice)
    visitor.open("/assets/NVDA/")
    expect(visitor.page.locator(".readout .at")).to_be_visible()
    return visitor


def test_the_charts_state_is_in_the_address_and_back_works(chart):
    page = chart.page
    for name, state in (("1 M", "range=1mo"), ("Log", "scale=log")):
        page.get_by_role("link", name=name, exact=True).click()
        page.wait_for_url(f"**{state}**")
        expect(page.locator(".readout .at")).to_be_visible()
    assert "range=1mo" in page.url
    page.go_back()
    page.wait_for_function("!location.search.includes('log')")
    expect(page.get_by_role("link", name="1 M", exact=True)).to_have_attribute("aria-current", "true")
    expect(page.locator("h1")).to_be_visible()  # a whole page, not the part that the address once answered with
    expect(page.locator(".chart .main-svg").first).to_be_visible()
    assert chart.quiet() == []


def test_a_bar_is_read_out_and_the_picture_saved(chart):
    page = chart.page
    last = page.locator(".readout").inner_text()
    box = page.locator(".chart").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4)
    expect(page.locator(".readout")).not_to_have_text(last)
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    assert saved.value.suggested_filename == "NVDA_1d_1y.png"
    with page.expect_download() as saved:
        page.get_by_role("link", name="CSV").click()
    assert saved.value.suggested_filename.startswith("NVDA_1d_")
    assert chart.quiet() == []


def test_the_theme_is_kept_and_the_chart_follows(chart):
    page = chart.page
    before = page.locator(".chart .xtick text").first.evaluate("e => getComputedStyle(e).fill")
    page.get_by_role("button", name="Light or dark").first.click()
    page.wait_for_function(
        f"getComputedStyle(document.querySelector('.chart .xtick text')).fill !== {json.dumps(before)}"
    )
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"  # from the server, before anything is painted
    page.get_by_role("button", name="Narrow").click()
    page.reload()
    assert page.locator("html").get_attribute("data-rail") == "narrow"
    assert page.locator(".rail").bounding_box()["width"] == 56


@pytest.mark.prove
def test_a_universe_is_made_filled_emptied_and_deleted(alice, visit):
    visitor = visit(alice)
    page = visitor.page
    visitor.open("/universes/new/")
    page.get_by_label("Name", exact=True).fill("Chips")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Symbols to add").fill("NVDA\nAMD, bad$")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".report")).to_contain_text("Added NVDA, AMD.")
    expect(page.get_by_label("Symbols to add")).to_have_value("bad$")
    page.get_by_label("Choose AMD").check()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator(".report")).to_contain_text("Removed AMD")
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_text("More", exact=True).first.click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete the universe").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".notice")).to_contain_text("Chips is back as it was")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_text("More", exact=True).first.click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete the universe").click()
    expect(page.locator(".notice")).to_contain_text("Chips is deleted")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0, timeout=15_000)
    assert visitor.quiet() == []


def test_the_same_without_javascript(alice, visit):
    stored("NVDA", walk(30))
    visitor = visit(alice, DESK, java_script_enabled=False)
    page = visitor.page
    visitor.open("/universes/new/")
    page.get_by_label("Name", exact=True).fill("Chips")
    page.get_by_label("Symbols").fill("NVDA")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Symbols to add").fill("AMD")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".notice")).to_contain_text("Added AMD")
    page.get_by_role("link", name="Last").click()
    assert "sort=-price" in page.url
    page.get_by_text("More", exact=True).first.click()
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("button", name="Delete the universe").click()
    expect(page.locator(".notice")).to_contain_text("Chips is deleted")
    visitor.open("/assets/NVDA/")
    expect(page.locator("main")).to_contain_text("NVDA closed at")
    expect(page.locator(".candles tbody tr")).to_have_count(20)


def test_a_phone_has_a_bar_and_a_sheet(alice, visit):
    visitor = visit(alice, PHONE)
    page = visitor.page
    with tenancy.acting_as(alice):
        catalogue.create(alice, "Chips")
    page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Universes").click()
    expect(page.locator("h1")).to_have_text("Universes")
    page.get_by_role("button", name="More").click()
    page.locator("#sheet").get_by_role("link", name="Settings").click()
    expect(page.locator("h1")).to_have_text("Profile")


def test_it_says_so_when_the_server_does_not_answer(alice, visit):
    stored("NVDA", walk(30))
    visitor = visit(alice)
    visitor.open("/assets/NVDA/")
    visitor.page.route("**/*range=1mo*", lambda route: route.abort())
    visitor.page.get_by_role("link", name="1 M", exact=True).click()
    expect(visitor.page.locator("#toast")).to_contain_text("Chronos did not answer")
