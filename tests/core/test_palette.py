"""The palette's lines: which pages, universes and assets a few letters find, and whose."""

import pytest
from django.test import Client

from chronos.core import tenancy
from tests import cast
from tests.marketdata.directory import load
from tests.prices import stored
from universes import catalogue, membership

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


def lines(user, text="") -> list[str]:
    """What it shows, in its order: names, with each group's before them."""
    answer = cast.signed_in(user).get("/palette/", {"q": text}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    names = []
    for piece in answer.text.split('role="group" aria-label="')[1:]:
        names.append(piece.split('"')[0])
        names += [part.split("</b>")[0] for part in piece.split("<b>")[1:]]
    return names


def test_it_stands_over_every_page_with_pages_before_anything_is_asked(alice):
    text = cast.signed_in(alice).get("/activity/").text
    assert '<dialog id="palette"' in text
    assert 'role="combobox"' in text
    assert "New universe" in text.split('<dialog id="palette"')[1]
    assert '<dialog id="palette"' not in Client().get("/sign-in/").text


def test_before_one_types_there_are_pages_and_ones_own_universes(alice):
    with tenancy.acting_as(alice):
        catalogue.create(alice, "Core holdings")
    assert lines(alice) == ["Go to", "Home", "Universes", "Assets", "Strategies", "Data", "Activity", "New universe",
                            "New strategy", "Universes", "Core holdings"]  # fmt: skip


def test_pages_are_found_by_what_people_call_them(alice):
    for text, page in (
        ("quar", "Quarantine"), ("passkey", "Security"), ("theme", "Appearance"), ("new uni", "New universe"),
        ("api tok", "API tokens"), ("JOBS", "Activity"), ("ledger", "Fetch windows"),
        ("valid", "Check a symbol"),
    ):  # fmt: skip
        assert lines(alice, text)[:2] == ["Go to", page], text
    assert "Curation" not in lines(alice, "curation")
    assert lines(cast.stella(), "curation")[:2] == ["Go to", "Curation"]


def test_universes_are_found_by_their_words_and_only_those_one_may_see(alice):
    bob = cast.bob()
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Société holdings of mine")
        membership.add(mine, alice, ["AAPL"])
    assert lines(alice, "hold soc")[:2] == ["Universes", "Société holdings of mine"]
    assert lines(alice, "holdings soc mine")[:1] == ["Universes"]
    assert "Universes" not in lines(bob, "societe holdings")


def test_assets_that_are_stored_or_listed_are_found(alice):
    load()
    stored("NVDA", [1, 2], name="NVIDIA Corporation")
    assert lines(alice, "nvda")[:2] == ["Assets", "NVDA"]
    assert lines(alice, "apple")[:3] == ["Assets", "AAPL", "APLE"]
    assert lines(alice, "microsft") == ["Near misses", "MSFT"]
    answer = cast.signed_in(alice).get("/palette/?q=nvda", headers={"HX-Request": "true"}).text
    assert 'href="/assets/NVDA/"' in answer
    assert "Listed only" not in answer


def test_a_symbol_in_full_comes_before_pages_and_universes(alice):
    load()
    with tenancy.acting_as(alice):
        catalogue.create(alice, "T for Tuesday")
    assert lines(alice, "t")[:2] == ["Assets", "T"]
    assert lines(alice, "tues")[:2] == ["Universes", "T for Tuesday"]


def test_nothing_and_everything_hostile_is_a_line_of_text(alice):
    page = cast.signed_in(alice)
    answer = page.get("/palette/", {"q": "<script>zz"}, headers={"HX-Request": "true"})
    assert "Nothing fits “&lt;script&gt;zz”" in answer.text
    for text in ("%", "_", "'; drop", "\\", "🙂", "x" * 5000, "=1+1"):
        assert page.get("/palette/", {"q": text}, headers={"HX-Request": "true"}).status_code == 200


def test_without_javascript_the_search_is_the_page_of_assets(alice):
    page = cast.signed_in(alice)
    assert page.get("/palette/?q=s%26p").headers["Location"] == "/assets/?q=s%26p"
    assert page.get("/palette/").headers["Location"] == "/assets/"
    assert Client().get("/palette/?q=x").status_code == 302
    assert page.post("/palette/").status_code == 405


def test_it_costs_few_queries(alice, django_assert_max_num_queries):
    load()
    page = cast.signed_in(alice)
    with django_assert_max_num_queries(22):
        page.get("/palette/?q=apple", headers={"HX-Request": "true"})
