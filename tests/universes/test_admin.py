"""A universe's stays in the admin: one open stay an asset, said on the form before the database has to."""

from datetime import UTC, datetime

import pytest
from django.test import Client

from chronos.core import tenancy
from marketdata.models import Asset
from tests import cast
from universes import catalogue
from universes.lists import drafts, parsing
from universes.models import Membership, Universe

pytestmark = pytest.mark.usefixtures("house")

OPEN = "was in this universe at that time already"
MEMBER = "is a member already at that time"


def on(month: int) -> datetime:
    return datetime(2024, month, 1, tzinfo=UTC)


@pytest.fixture
def page():
    client = Client()
    client.force_login(cast.stella())
    return client


@pytest.fixture
def nvda() -> Asset:
    return Asset.objects.create(symbol="NVDA")


@pytest.fixture
def chips() -> Universe:
    with tenancy.as_system("tests"):
        return Universe.objects.create(name="Chips", visibility="public")


def stay(universe, asset, joined, left=None) -> Membership:
    with tenancy.as_system("tests"):
        return Membership.objects.create(
            universe=universe, asset=asset, joined_at=on(joined), left_at=on(left) if left else None
        )


def rows(prefix, initial, found):
    form = {f"{prefix}-TOTAL_FORMS": len(found), f"{prefix}-INITIAL_FORMS": initial}
    for n, row in enumerate(found):
        for name, value in row.items():
            if name in ("joined_at", "left_at"):
                form[f"{prefix}-{n}-{name}_0"] = f"{value:%Y-%m-%d}" if value else ""
                form[f"{prefix}-{n}-{name}_1"] = "00:00:00" if value else ""
            else:
                form[f"{prefix}-{n}-{name}"] = value
    return form


def save(page, universe, *, stays=(), new=()):
    """The whole form: every stay as (row, left_at) or (row, left_at, True to delete); the assets that join in June."""
    shown = [
        {"id": kept.pk, "universe": universe.pk, "joined_at": kept.joined_at, "left_at": left}
        | ({"DELETE": "on"} if delete else {})
        for kept, left, *delete in stays
    ]
    form = {"name": "Chips", "visibility": "public", "owner": ""}
    form |= rows("memberships", len(shown), shown)
    form |= rows("memberships-2", 0, [{"asset": asset.pk, "joined_at": on(6)} for asset in new])
    return page.post(f"/admin/universes/universe/{universe.pk}/change/", form, follow=True)


def open_stays(universe) -> int:
    with tenancy.as_system("tests"):
        return universe.memberships.current().count()


def test_a_member_does_not_join_again(page, chips, nvda):
    here = stay(chips, nvda, 1)
    answer = save(page, chips, stays=[(here, None)], new=[nvda])
    assert answer.status_code == 200
    assert f"NVDA {MEMBER}" in answer.text
    assert open_stays(chips) == 1


def test_a_member_that_the_form_did_not_show_does_not_join_again(page, chips, nvda):
    stay(chips, nvda, 1)
    assert f"NVDA {MEMBER}" in save(page, chips, new=[nvda]).text


def test_one_asset_does_not_join_twice_at_once(page, chips, nvda):
    assert MEMBER in save(page, chips, new=[nvda, nvda]).text
    assert open_stays(chips) == 0


def test_nor_in_a_new_universe(page, nvda):
    form = {"name": "Chips", "visibility": "public", "owner": ""} | rows("memberships", 0, [])
    form |= rows("memberships-2", 0, [{"asset": nvda.pk, "joined_at": on(6)}] * 2)
    assert MEMBER in page.post("/admin/universes/universe/add/", form).text
    form["memberships-2-1-asset"] = Asset.objects.create(symbol="AMD").pk
    assert "was added successfully" in page.post("/admin/universes/universe/add/", form, follow=True).text


def test_an_ended_stay_is_not_opened_beside_an_open_one(page, chips, nvda):
    past, here = stay(chips, nvda, 1, 2), stay(chips, nvda, 3)
    answer = save(page, chips, stays=[(past, None), (here, None)])
    assert answer.status_code == 200
    assert f"NVDA {OPEN}" in answer.text
    assert open_stays(chips) == 1


def test_an_ended_stay_is_not_opened_over_a_later_one(page, chips, nvda):
    past, here = stay(chips, nvda, 1, 2), stay(chips, nvda, 3)
    assert f"NVDA {OPEN}" in save(page, chips, stays=[(past, None), (here, on(4))]).text
    with tenancy.as_system("tests"):
        past.refresh_from_db()
    assert past.left_at == on(2)


def test_an_ended_stay_lasts_until_the_next_begins(page, chips, nvda):
    past, here = stay(chips, nvda, 1, 2), stay(chips, nvda, 3)
    assert f"NVDA {OPEN}" in save(page, chips, stays=[(past, on(4)), (here, None)]).text
    assert "was changed successfully" in save(page, chips, stays=[(past, on(3)), (here, None)]).text


def test_an_ended_stay_is_opened_while_the_open_one_is_taken_away(page, chips, nvda):
    past, here = stay(chips, nvda, 1, 2), stay(chips, nvda, 3)
    assert "was changed successfully" in save(page, chips, stays=[(past, None), (here, None, True)]).text


def test_a_member_whose_stay_ends_joins_again(page, chips, nvda):
    here = stay(chips, nvda, 1)
    assert "was changed successfully" in save(page, chips, stays=[(here, on(3))], new=[nvda]).text
    assert open_stays(chips) == 1


def test_nothing_leaves_before_it_joined(page, chips, nvda):
    here = stay(chips, nvda, 3)
    answer = save(page, chips, stays=[(here, on(2))])
    assert "It left before it joined" in answer.text
    assert "violated" not in answer.text
    assert open_stays(chips) == 1


def test_staff_let_a_person_read_what_is_somebodys(page):
    alice, bob = cast.alice(), cast.bob()
    with tenancy.as_system("tests"):
        hers = Universe.objects.create(name="Hers", owner=alice)
    form = {"name": "Hers", "visibility": "private", "owner": alice.pk}
    form |= rows("memberships", 0, []) | rows("memberships-2", 0, []) | rows("shares", 0, [{"reader": bob.pk}])
    answer = page.post(f"/admin/universes/universe/{hers.pk}/change/", form, follow=True)
    assert "was changed successfully" in answer.text
    with tenancy.acting_as(bob):
        assert Universe.objects.visible_to(bob).get().name == "Hers"


@pytest.mark.parametrize("becomes", ["bob's", "the house's"])
def test_a_universe_goes_to_one_of_its_readers_or_to_the_house(page, becomes):
    alice, bob = cast.alice(), cast.bob()
    with tenancy.acting_as(alice):
        hers = catalogue.create(alice, "Hers")
        catalogue.share(hers, alice, ["bob"])
        drafts.keep(hers, alice, parsing.parse_text("NVDA"), "Pasted list")
    with tenancy.as_system("tests"):
        share = hers.shares.get()
    form = {"name": "Hers", "visibility": "public", "owner": bob.pk if becomes == "bob's" else ""}
    form |= rows("memberships", 0, []) | rows("memberships-2", 0, [])
    form |= rows("shares", 1, [{"id": share.pk, "universe": hers.pk, "reader": bob.pk}])
    answer = page.post(f"/admin/universes/universe/{hers.pk}/change/", form, follow=True)
    assert "was changed successfully" in answer.text
    with tenancy.as_system("tests"):
        hers.refresh_from_db()
        assert hers.owner == (bob if becomes == "bob's" else None)
        assert hers.shares.count() == 0


def test_an_owner_is_no_reader(page):
    alice = cast.alice()
    with tenancy.acting_as(alice):
        hers = catalogue.create(alice, "Hers")
    form = {"name": "Hers", "visibility": "private", "owner": alice.pk}
    form |= rows("memberships", 0, []) | rows("memberships-2", 0, []) | rows("shares", 0, [{"reader": alice.pk}])
    answer = page.post(f"/admin/universes/universe/{hers.pk}/change/", form, follow=True)
    assert "was changed successfully" in answer.text
    with tenancy.as_system("tests"):
        assert hers.shares.count() == 0


def test_a_row_of_another_universe_swapped_into_the_form_is_not_touched(page, chips, nvda):
    with tenancy.as_system("tests"):
        other = Universe.objects.create(name="Other", visibility="public")
    theirs = stay(other, nvda, 1)
    save(page, chips, stays=[(theirs, on(2))])
    with tenancy.as_system("tests"):
        theirs.refresh_from_db()
        assert (theirs.universe_id, theirs.left_at, chips.memberships.count()) == (other.pk, None, 0)
