"""The universe page as a person uses it: columns, filters, order, notes, choosing, comparing."""

import re

import pytest
from playwright.sync_api import expect

from chronos.core import tenancy
from tests import cast
from tests.browser.conftest import PHONE
from tests.prices import stored, walk
from universes import catalogue, membership

pytestmark = pytest.mark.browser


@pytest.fixture
def alice(house):
    return cast.alice()


@pytest.fixture
def universe(alice):
    for symbol, start, sector in (("AAA", 100, "Energy"), ("BBB", 50, "Finance"), ("CCC", 9, "")):
        stored(symbol, walk(300, start), sector=sector)
    with tenancy.acting_as(alice):
        made = catalogue.create(alice, "Chips")
        membership.add(made, alice, ["AAA", "BBB", "CCC", "NEWCO"])
    return made


@pytest.fixture
def visitor(alice, universe, visit):
    visitor = visit(alice)
    visitor.open(universe.get_absolute_url())
    expect(visitor.page.locator(".plot polyline")).to_have_count(3)
    return visitor


def symbols(page):
    return page.locator("#rows tbody .sym a")


def order(alice, universe):
    with tenancy.acting_as(alice):
        return [stay.asset.symbol for stay in membership.members(universe)]


def test_columns_filters_and_their_address(visitor):
    page = visitor.page
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Sector", exact=True).check()
    expect(page.locator("td.words", has_text="Energy")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("details.menu[open]")).to_have_count(0)
    page.get_by_label("Find members").press_sequentially("a", delay=20)
    page.get_by_label("Find members").press_sequentially("a")
    expect(symbols(page)).to_have_text(["AAA"])
    assert "q=aa" in page.url
    page.get_by_role("link", name="“aa”").click()
    expect(symbols(page)).to_have_count(4)
    expect(page.get_by_label("Find members")).to_have_value("")
    page.locator("summary", has_text="Filter").click()
    page.locator(".facets").get_by_label("Finance").check()
    expect(symbols(page)).to_have_text(["BBB"])
    page.reload()
    expect(symbols(page)).to_have_text(["BBB"])
    expect(page.locator("td.words", has_text="Finance")).to_be_visible()
    page.get_by_role("link", name="Sector: Finance").click()
    expect(symbols(page)).to_have_count(4)
    page.get_by_role("link", name="1 Y, %").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("1 Y, %")
    expect(page.locator(".grip")).to_have_count(0)  # moved is only what stands in its own order
    page.go_back()
    expect(page.locator("th[aria-sort=descending]")).to_have_count(0)
    assert visitor.quiet() == []


def test_rows_are_moved_by_pointer_and_by_keyboard(alice, universe, visitor):
    page = visitor.page
    grip = page.get_by_role("button", name="Move CCC")
    grip.scroll_into_view_if_needed()
    start, end = grip.bounding_box(), page.locator("tr[data-symbol=AAA]").bounding_box()
    page.mouse.move(start["x"] + 15, start["y"] + 10)
    page.mouse.down()
    page.mouse.move(start["x"] + 15, start["y"] - 20, steps=3)
    page.mouse.move(start["x"] + 15, end["y"] + 4, steps=5)
    with page.expect_response("**/move/"):
        page.mouse.up()
    expect(page.get_by_role("button", name="Move CCC, now at 1")).to_be_focused()
    expect(symbols(page)).to_have_text(["CCC", "AAA", "BBB", "NEWCO"])
    assert order(alice, universe) == ["CCC", "AAA", "BBB", "NEWCO"]
    for key in ("Space", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator("#said")).to_have_text("Place 3 of 4.")
    page.keyboard.press("Escape")
    expect(symbols(page)).to_have_text(["CCC", "AAA", "BBB", "NEWCO"])
    for key in ("Space", "ArrowDown"):
        page.keyboard.press(key)
    with page.expect_response("**/move/"):
        page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("CCC is put at place 2 of 4.")
    expect(page.get_by_role("button", name="Move CCC, now at 2")).to_be_focused()
    assert order(alice, universe) == ["AAA", "CCC", "BBB", "NEWCO"]
    assert visitor.quiet() == []


def test_a_note_is_written_in_place_and_a_lost_update_shows_both(alice, universe, visitor):
    page = visitor.page
    page.get_by_role("link", name="Note and tags of AAA").click()
    expect(page.locator("#note-dialog textarea")).to_be_focused()
    page.keyboard.type("mine")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Note and tags of AAA").click()
    expect(page.locator("#note-dialog textarea")).to_have_value("mine")
    page.locator("#note-dialog").get_by_label("Tags").fill("core, AI")
    with tenancy.acting_as(alice):
        membership.annotate(universe, alice, "AAA", "theirs", [])
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note-dialog blockquote")).to_contain_text("theirs")
    expect(page.locator("#note-dialog textarea")).to_have_value("mine")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note-dialog")).to_be_hidden()
    expect(page.get_by_role("link", name="Note and tags of AAA")).to_be_focused()
    page.get_by_role("link", name="core", exact=True).click()
    expect(symbols(page)).to_have_text(["AAA"])
    assert [text for text in visitor.quiet() if "422" not in text] == []


def test_the_chosen_are_compared_tagged_and_removed(alice, universe, visitor):
    page = visitor.page
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    expect(page.locator("[data-chosen]")).to_have_text("2 chosen")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".plot polyline")).to_have_count(2)
    expect(page).to_have_url(re.compile("compare=AAA,BBB"))
    page.get_by_label("Log", exact=True).check()
    expect(page).to_have_url(re.compile("compare=AAA,BBB.*scale=log"))
    box = page.locator(".plot .lines").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    expect(page.locator("[data-day]")).to_contain_text("Until")
    page.mouse.move(5, 5)
    expect(page.locator("[data-day]")).to_contain_text("Change over the span")
    page.get_by_label("Tag", exact=True).fill("pair")
    page.keyboard.press("Enter")  # tags, whatever other buttons the form has
    expect(page.locator(".report")).to_contain_text("put on 2 members")
    page.get_by_label("Choose BBB").check()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#toast")).to_contain_text("Removed BBB.")
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(symbols(page)).to_have_text(["AAA", "BBB", "CCC", "NEWCO"])
    expect(page.locator("tr[data-symbol=BBB] .tags")).to_contain_text("pair")
    assert visitor.quiet() == []


def test_the_focus_stays_and_with_a_key_held_a_link_opens_its_own_tab(alice, visitor):
    page = visitor.page
    heading = page.get_by_role("link", name="1 Y, %")
    with page.context.expect_page() as opened:
        heading.click(modifiers=["Control"])
    assert opened.value.url.endswith("?sort=-1y")
    assert "sort" not in page.url
    heading.press("Enter")
    expect(page.locator("th[aria-sort=descending]")).to_have_text("1 Y, %")
    expect(heading).to_be_focused()
    page.locator("summary", has_text="Columns").click()
    page.get_by_role("link", name="The usual ones").press("Enter")
    expect(page.locator("#members")).to_be_focused()


def test_what_one_is_doing_outlives_a_table_that_comes_anew(alice, universe, visitor):
    page = visitor.page
    page.get_by_label("Choose AAA").check()
    page.get_by_label("Tag", exact=True).fill("half wri")
    page.get_by_label("Choose CCC").check()
    page.get_by_label("Choose CCC").focus()
    with page.expect_response("**/universes/*/"):
        page.evaluate("htmx.trigger(document.body, 'job-finished')")
    expect(page.get_by_label("Choose CCC")).to_be_focused()
    expect(page.locator("[data-chosen]")).to_have_text("2 chosen")
    expect(page.get_by_label("Tag", exact=True)).to_have_value("half wri")
    page.get_by_role("button", name="Move CCC").focus()
    page.keyboard.press("Space")
    with page.expect_response("**/universes/*/"):
        page.evaluate("htmx.trigger(document.body, 'job-finished')")
    expect(page.locator("#said")).to_have_text("CCC is back at place 3.")
    expect(page.get_by_role("button", name="Move CCC")).to_be_focused()
    page.get_by_label("Tag", exact=True).fill(",".join(f"t{n}" for n in range(20))[:40])
    page.get_by_label("Choose AAA").uncheck()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#toast")).to_contain_text("Removed CCC.")
    page.get_by_label("Choose BBB").check()
    page.get_by_role("button", name="Untag", exact=True).click()  # without a tag: refused
    expect(page.locator(".report.error")).to_contain_text("write a tag")
    expect(page.get_by_label("Choose BBB")).to_be_checked()
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(symbols(page)).to_have_text(["AAA", "BBB", "CCC", "NEWCO"])


def test_moves_in_quick_succession_are_all_kept_and_one_that_fails_goes_back(alice, universe, visitor):
    page = visitor.page
    grip = page.get_by_role("button", name="Move AAA")
    page.evaluate("""() => {
      const grip = (symbol) => document.querySelector(`tr[data-symbol="${symbol}"] .grip`);
      const press = (symbol, ...keys) => keys.forEach((key) => grip(symbol).dispatchEvent(
        new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
      press("BBB", " ", "ArrowUp", " ");
      press("CCC", " ", "ArrowUp", "ArrowUp", " ");
      press("NEWCO", " ", "ArrowUp", "ArrowUp", "ArrowUp", " ");
    }""")
    expect(page.get_by_role("button", name="Move NEWCO, now at 1")).to_be_focused()
    assert order(alice, universe) == ["NEWCO", "CCC", "BBB", "AAA"]
    grip.press("Space")
    page.locator("h1").click()  # who looks elsewhere has put it back
    expect(page.locator("#said")).to_have_text("AAA is back at place 4.")
    page.keyboard.press("j")
    expect(symbols(page).first).to_be_focused()
    page.context.set_offline(True)
    for key in ("Space", "ArrowUp", "Space"):
        grip.press(key)
    expect(page.locator("#said")).to_have_text("AAA could not be moved and is back at place 4.")
    expect(symbols(page)).to_have_text(["NEWCO", "CCC", "BBB", "AAA"])


def test_what_is_compared_is_shown_though_it_was_folded(universe, visitor):
    page = visitor.page
    page.locator(".comparing > summary").click()
    expect(page.locator(".comparing .plot")).to_be_hidden()
    page.wait_for_function("document.cookie.includes('chronos_compare=folded')")
    page.reload()
    expect(page.locator(".comparing[open]")).to_have_count(0)
    page.get_by_label("Choose BBB").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".plot polyline")).to_have_count(1)
    expect(page.locator(".plot")).to_be_visible()


def test_what_is_pressed_twice_is_sent_once(visitor):
    heard = visitor.page.evaluate("""() => {
      const heard = [], button = document.querySelector('form[action$="/duplicate/"] button');
      addEventListener("submit", (event) => { heard.push(!event.defaultPrevented); event.preventDefault(); });
      for (let press = 0; press < 2; press += 1) button.click();
      return heard;
    }""")
    assert heard == [True, False]


def test_on_a_phone_rows_have_two_lines_and_menus_are_sheets(alice, universe, visit):
    visitor = visit(alice, PHONE)
    page = visitor.page
    visitor.open(f"{universe.get_absolute_url()}?sort=-1y")
    row = page.locator("tr[data-symbol=AAA]")
    assert row.bounding_box()["height"] < 66
    expect(row.locator(".sorted")).to_be_visible()
    row.scroll_into_view_if_needed()
    expect(row.locator(".price")).to_be_in_viewport(ratio=1)
    row.get_by_role("link", name="Note and tags of AAA").click()
    expect(page.locator("#note-dialog textarea")).to_be_focused()
    page.keyboard.type("on the way")
    page.get_by_role("button", name="Save").click()
    expect(row.locator(".edit.on")).to_be_in_viewport(ratio=1)
    assert row.bounding_box()["height"] < 66
    page.locator("summary", has_text="Columns").click()
    panel = page.locator(".choices").bounding_box()
    assert panel["x"] == 0
    assert panel["width"] == PHONE["width"]
    assert visitor.quiet() == []
