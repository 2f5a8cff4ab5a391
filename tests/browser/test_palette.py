"""Finding things by keyboard: the palette over every page, and the search of the assets page."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from chronos.core import tenancy
from chronos.core.models import SignInLink
from tests import cast
from tests.browser.conftest import PHONE
from tests.marketdata.directory import load
from tests.prices import stored, walk
from universes import catalogue

pytestmark = pytest.mark.browser


def test_everything_is_reached_by_keyboard_alone(visit):
    load()
    stored("NVDA", walk(40), name="NVIDIA Corporation")
    alice = cast.alice()
    with tenancy.acting_as(alice):
        catalogue.create(alice, "Core holdings")
    visitor = visit(alice)
    page = visitor.page
    dialog = page.locator("#palette")
    field = page.get_by_role("combobox", name="Find assets, universes, strategies and pages")
    active = page.locator("#palette [role=option][aria-selected=true]")

    page.keyboard.press("Control+k")
    expect(dialog).to_be_visible()
    expect(field).to_be_focused()
    expect(active).to_have_text("Home")
    expect(dialog.get_by_role("option", name="Core holdings")).to_be_visible()
    page.keyboard.press("End")
    expect(active).to_contain_text("Core holdings")
    page.keyboard.press("ArrowDown")
    expect(active).to_have_text("Home")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    page.keyboard.press("Control+k")
    page.keyboard.type("appl")
    expect(active).to_contain_text("AAPL")
    assert field.get_attribute("aria-activedescendant") == active.get_attribute("id")
    page.keyboard.press("ArrowDown")
    expect(active).to_contain_text("APLE")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_url("**/assets/AAPL/")
    expect(page.get_by_role("button", name="Keep this asset")).to_be_visible()

    page.keyboard.press("/")
    expect(active).to_have_text("Home")
    page.keyboard.type("nvda")
    expect(active).to_contain_text("NVIDIA")
    page.keyboard.press("Enter")
    page.wait_for_url("**/assets/NVDA/")
    page.keyboard.press("Control+k")
    expect(dialog.get_by_role("group", name="Recent").get_by_role("option")).to_have_text(["AAPL"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/assets/AAPL/")
    assert visitor.quiet() == []


def test_enter_waits_for_the_lines_of_what_is_typed(visit):
    load()
    page = visit(cast.alice()).page
    page.keyboard.press("Control+k")
    expect(page.locator("#palette [role=option][aria-selected=true]")).to_have_text("Home")
    page.keyboard.type("TSLA")
    page.keyboard.press("Enter")
    page.wait_for_url("**/assets/TSLA/")


def test_the_same_text_is_asked_for_again_and_no_answer_is_said_where_one_looks(visit):
    load()
    page = visit(cast.alice()).page
    field = page.get_by_role("combobox", name="Find assets, universes, strategies and pages")
    for _ in range(2):
        page.keyboard.press("Control+k")
        expect(page.get_by_role("option", name="Home")).to_be_visible()
        field.fill("TSLA")  # at once, as if pasted
        expect(page.get_by_role("option", name="TSLA").first).to_be_visible()
        page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option", name="Home")).to_be_visible()
    page.context.set_offline(True)
    field.fill("AAPL")
    page.keyboard.press("Enter")
    expect(page.locator("#palette-lines")).to_contain_text("did not answer")
    expect(page.get_by_role("option")).to_have_count(0)
    page.context.set_offline(False)
    field.fill("AAPL ")
    expect(page.get_by_role("option", name="AAPL").first).to_be_visible()


def test_who_signs_in_next_in_the_same_tab_does_not_see_where_one_was(visit):
    alice, bob = cast.alice(), cast.bob()
    with tenancy.acting_as(alice):
        hers = catalogue.create(alice, "Secret takeover targets")
    visitor = visit(alice)
    visitor.open(hers.get_absolute_url())
    for entering in ("/", urlsplit(SignInLink.issue(bob)).path):
        if entering != "/":
            visitor.page.request.get(visitor.origin + entering)  # the same browser is Bob's from here on
        visitor.open("/")
        visitor.page.keyboard.press("Control+k")
        expect(visitor.page.locator("#palette [role=option]").first).to_be_visible()
        recent = visitor.page.get_by_role("group", name="Recent")
        expect(recent).to_have_count(1 if entering == "/" else 0)
    visitor.open("/universes/")
    assert "Secret" not in visitor.page.evaluate("JSON.stringify(sessionStorage)")


def test_assets_are_found_as_one_types_and_opened_by_arrows(visit):
    load()
    visitor = visit(cast.alice())
    page = visitor.page
    visitor.open("/assets/")
    page.keyboard.type("apple")
    expect(page.locator("#assets a[data-hit]").first).to_have_text("AAPL")
    expect(page.locator("#assets tbody tr")).to_have_count(4)
    assert page.url.endswith("/assets/?q=apple")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="APLE")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#assets-q")).to_be_focused()
    page.get_by_label("Market cap").select_option("mid")
    expect(page.locator("#assets tbody tr")).to_have_count(1)
    assert page.url.endswith("q=apple&cap=mid")
    page.locator("#assets-q").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/assets/APLE/")
    page.go_back()
    expect(page.get_by_label("Market cap")).to_have_value("mid")
    assert visitor.quiet() == []


def test_on_a_phone_it_fills_the_screen_and_without_javascript_the_search_leads_on(visit):
    load()
    alice = cast.alice()
    visitor = visit(alice, PHONE)
    visitor.page.get_by_label("Find an asset by symbol or name").click()
    box = visitor.page.locator("#palette").bounding_box()
    assert (box["width"], box["height"]) == (PHONE["width"], PHONE["height"])
    visitor.page.get_by_role("button", name="Close").click()
    expect(visitor.page.locator("#palette")).to_be_hidden()
    plain = visit(alice, java_script_enabled=False)
    plain.page.get_by_label("Find an asset by symbol or name").fill("tesla")
    plain.page.keyboard.press("Enter")
    expect(plain.page.get_by_role("link", name="TSLA")).to_be_visible()
