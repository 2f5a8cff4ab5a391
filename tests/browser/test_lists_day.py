"""Whoever has 5,000 symbols pastes them, mends typos by suggestion, adds, takes back; and looks at an earlier day."""

import random
import re

import pytest
from playwright.sync_api import expect

from chronos.core import tenancy
from marketdata.models import Asset, Listing
from tests import cast
from tests.browser.conftest import PHONE, worker
from universes import catalogue, membership
from universes.lists import drafts
from universes.lists.parsing import parse_text
from universes.models import Membership

pytestmark = pytest.mark.browser

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def generated(count):
    """Symbols of four letters, no two of which are one slip apart but by chance; always the same."""
    rng = random.Random(7)
    found = dict.fromkeys("".join(rng.choices(LETTERS, k=4)) for _ in range(count * 2))
    return list(found)[:count]


@pytest.mark.prove
def test_5000_symbols_with_typos_become_members_and_go_again(visit, yahoo):
    alice = cast.alice()
    symbols = generated(4_990)
    Listing.objects.bulk_create(
        Listing(
            symbol=symbol, spelling=symbol, name=f"{symbol} Inc.", asset_class="stock", exchange="NMS", source="test"
        )
        for symbol in symbols
    )
    typos = [symbol + symbol[-1] for symbol in symbols[:5]]
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Everything")
    visitor = visit(alice, permissions=["clipboard-read", "clipboard-write"])
    page = visitor.page
    proxy = {"HTTPS_PROXY": yahoo.address, "SSL_CERT_FILE": str(yahoo.ca), "YAHOO_REQUESTS_PER_SECOND": "50"}
    with worker(**proxy):
        visitor.open(f"/universes/{mine.pk}/")
        page.get_by_role("link", name="Import a list").first.click()
        pasted = "\n".join([*typos, "n$ne", *symbols[5:], symbols[9], "QQZX9", "03/04/2024"])
        page.evaluate("text => navigator.clipboard.writeText(text)", pasted)
        page.get_by_label("Symbols", exact=True).press("Control+V")
        page.get_by_role("button", name="Look at the list").click()
        expect(page.get_by_role("heading", name="Pasted list")).to_be_visible()
        unknown = page.get_by_role("link", name="Unknown")
        expect(unknown).to_contain_text("6", timeout=20_000)  # providers were asked, and the page settled by itself
        first = page.locator(f".lines-of-list li:has-text('{typos[0]}')").first
        first.get_by_role("button", name=symbols[0], exact=True).click()
        expect(first).to_contain_text("Mended")
        page.get_by_role("button", name="Use all 4 first suggestions").click()
        expect(page.get_by_text("4 first suggestions taken.")).to_be_visible()
        expect(unknown).to_contain_text("1")
        page.get_by_role("button", name="Add 4").click()
        expect(page.locator(".report-card")).to_contain_text("symbols added", timeout=20_000)
    expect(page.locator(".report-card")).to_contain_text("Not added: 1 duplicate, 1 unknown, 2 malformed.")
    with tenancy.as_system("look"):
        assert Membership.objects.filter(universe=mine, left_at=None).count() == 4_990
    page.locator(".toast.offer").get_by_role("button", name="Undo").click()
    expect(page.get_by_text("4 990 additions taken back.".replace(" ", "\u202f", 1))).to_be_visible()
    with tenancy.as_system("look"):
        assert not Membership.objects.filter(universe=mine).exists()
    past = "symbol,joined,left\n" + "\n".join([f"{symbols[0]},2019-01-01,", f"{symbols[1]},2019-01-01,2021-01-01"])
    visitor.open(f"/universes/{mine.pk}/import/")
    page.get_by_label("Symbols", exact=True).fill(past)
    page.get_by_role("button", name="Look at the list").click()
    page.get_by_role("button", name="Add 2 symbols").click()
    visitor.open(f"/universes/{mine.pk}/?at=2020-06-01")
    expect(page.locator("#members")).to_contain_text(symbols[1])
    visitor.open(f"/universes/{mine.pk}/")
    expect(page.locator("#members")).to_contain_text(symbols[0])
    expect(page.locator("#members")).not_to_contain_text(symbols[1])
    assert visitor.quiet() == []


def test_a_file_is_dropped_and_one_too_large_is_refused_before_it_is_sent(visit):
    alice = cast.alice()
    Asset.objects.create(symbol="NVDA")
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Mine")
    visitor = visit(alice, PHONE)
    page = visitor.page
    visitor.open(f"/universes/{mine.pk}/import/")
    drop = """([name, size]) => {
      const data = new DataTransfer();
      data.items.add(new File(["NVDA " + "x".repeat(size)], name, {type: "text/csv"}));
      const form = document.querySelector(".bring");
      for (const kind of ["dragenter", "dragover", "drop"]) {
        form.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
      }
    }"""
    page.evaluate(drop, ["huge.csv", 11 * 2**20])
    expect(page.locator("#import-error")).to_contain_text("huge.csv has 12 MB; a list has at most 10 MB.")
    page.evaluate(drop, ["good.csv", 0])
    expect(page.get_by_role("heading", name="good.csv")).to_be_visible()
    assert visitor.quiet() == []


def test_what_is_being_written_stays_while_the_list_settles(visit):
    alice = cast.alice()
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Mine")
        found = drafts.keep(mine, alice, parse_text("QQZX9 QQZX8 ZZZZ7"), "Pasted list")
    visitor = visit(alice)
    page = visitor.page
    visitor.open(found.get_absolute_url())
    visited = page.evaluate("history.length")
    page.get_by_label("Find in this group").press_sequentially("q")
    expect(page).to_have_url(re.compile("q=q$"))
    page.get_by_label("Find in this group").press_sequentially("q")
    expect(page).to_have_url(re.compile("q=qq$"))
    expect(page.locator(".lines-of-list li")).to_have_count(2)
    assert page.evaluate("history.length") == visited  # or back would spell it out
    field = page.get_by_label("The symbol that QQZX8 means")
    field.press_sequentially("NVD")
    with page.expect_response("**/lists/*/**"):
        page.evaluate("htmx.trigger(document.body, 'job-finished')")
    expect(page.locator(".lines-of-list li")).to_have_count(2)
    expect(field).to_have_value("NVD")
    expect(field).to_be_focused()
    page.keyboard.type("$")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="is no symbol")).to_be_visible()
    expect(field).to_have_value("NVD$")
    expect(field).to_be_focused()


def test_without_javascript(visit):
    alice = cast.alice()
    Listing.objects.create(symbol="GOOGL", spelling="GOOGL", name="Alphabet", asset_class="stock", exchange="NMS")
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Mine")
        found = drafts.keep(mine, alice, parse_text("GOGL"), "Pasted list")
    visitor = visit(alice, java_script_enabled=False)
    page = visitor.page
    visitor.open(found.get_absolute_url())
    page.get_by_role("button", name="GOOGL").click()
    page.get_by_role("link", name="New").click()
    expect(page.locator(".lines-of-list")).to_contain_text("GOGL → GOOGL")
    page.get_by_role("button", name="Add 1 symbol").click()
    page.locator(".report-card").get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 addition taken back.")).to_be_visible()
    with tenancy.acting_as(alice):
        assert not membership.members(mine).exists()
