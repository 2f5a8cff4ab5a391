"""The pages that change a universe as a whole, and the page of its past."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from chronos.core import tenancy
from tests import cast
from tests.cast import signed_in
from universes import catalogue, membership
from universes.models import Membership, Share, Universe

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def bob():
    return cast.bob()


@pytest.fixture
def page(alice):
    return signed_in(alice)


@pytest.fixture
def chips(alice):
    with tenancy.acting_as(alice):
        made = catalogue.create(alice, "Chips", "Makers of chips")
        membership.add(made, alice, ["NVDA", "AMD"])
    return made


def shared_with(person, universe):
    with tenancy.acting_as(universe.owner):
        catalogue.share(universe, universe.owner, [person.username])


def stored(universe) -> Universe:
    with tenancy.as_system("tests"):
        return Universe.objects.get(pk=universe.pk)


class TestEdit:
    def test_the_later_is_told_sees_both_and_decides(self, page, chips):
        url = f"/universes/{chips.pk}/edit/"
        assert 'name="version" value="1"' in page.get(url).text
        page.post(url, {"name": "Chips and tools", "description": "Theirs", "version": "1"})
        answer = page.post(url, {"name": "Mine", "description": "Hers", "version": "1"})
        assert answer.status_code == 409
        for text in ("changed elsewhere", "Chips and tools", "Theirs", 'value="Mine"', 'name="version" value="2"'):
            assert text in answer.text
        assert stored(chips).name == "Chips and tools"
        for _ in range(2):  # pressed twice: the second is no conflict with the first
            assert page.post(url, {"name": "Mine", "description": "Hers", "version": "2"}).status_code == 302
        assert stored(chips).name == "Mine"

    @pytest.mark.parametrize("version", ["", "x", "0", "-1", "9" * 40])
    def test_a_version_that_is_none(self, page, chips, version):
        answer = page.post(f"/universes/{chips.pk}/edit/", {"name": "Mine", "description": "", "version": version})
        assert answer.status_code in (409, 422)
        assert stored(chips).name == "Chips"


class TestDuplicate:
    def test_a_reader_makes_it_their_own(self, bob, chips):
        shared_with(bob, chips)
        answer = signed_in(bob).post(f"/universes/{chips.pk}/duplicate/", follow=True)
        assert "your copy of Chips" in answer.text
        with tenancy.acting_as(bob):
            assert Universe.objects.get(owner=bob).memberships.count() == 2


class TestArchive:
    def test_away_and_back(self, page, chips):
        answer = page.post(f"/universes/{chips.pk}/archive/", follow=True)
        assert "is put away" in answer.text
        assert "None of your own yet" in answer.text
        assert "Chips" in page.get("/universes/?archived=1").text
        page.post(f"/universes/{chips.pk}/archive/", {"back": "1"})
        assert "None of your own yet" not in page.get("/universes/").text


class TestDelete:
    def test_it_says_what_goes_and_can_be_taken_back(self, page, bob, chips):
        shared_with(bob, chips)
        asked = page.get(f"/universes/{chips.pk}/delete/").text
        assert "2 members" in asked
        assert "the view that bob has of it" in asked
        answer = page.post(f"/universes/{chips.pk}/delete/", follow=True)
        assert "Chips is deleted" in answer.text
        assert page.get(f"/universes/{chips.pk}/").status_code == 404
        assert signed_in(bob).post(f"/universes/{chips.pk}/undelete/").status_code == 404
        assert "back as it was" in page.post(f"/universes/{chips.pk}/undelete/", follow=True).text
        assert page.post(f"/universes/{chips.pk}/undelete/").url == f"/universes/{chips.pk}/"  # pressed twice
        assert signed_in(bob).get(f"/universes/{chips.pk}/").status_code == 200

    def test_the_offer_ends_after_ten_seconds(self, page, chips):
        page.post(f"/universes/{chips.pk}/delete/")
        with tenancy.as_system("tests"):
            Universe.objects.update(deleted_at=timezone.now() - timedelta(seconds=11))
        assert "is deleted" not in page.get(f"/universes/?deleted={chips.pk}").text

    @pytest.mark.parametrize("given", ["x", "-1", "9" * 30, "0", "1' OR 1=1", "²"])
    def test_an_address_that_names_none(self, page, given):
        assert page.get("/universes/", {"deleted": given}).status_code == 200


@pytest.mark.parametrize(("change", "answered"), [("delete", 302), ("archive", 404)])
def test_what_is_deleted_at_the_same_moment_is_no_fault(page, chips, change, answered):
    answers = []

    def send():
        answers.append(page.post(f"/universes/{chips.pk}/{change}/").status_code)
        connection.close()

    sent = threading.Thread(target=send)
    with tenancy.as_system("tests"):
        Universe.objects.update(deleted_at=timezone.now())
        sent.start()
        time.sleep(0.5)  # it has seen the universe, and waits for its row
    sent.join()
    assert answers == [answered]
    assert stored(chips).archived_at is None


class TestShare:
    def test_by_name_and_closed_again(self, page, bob, chips):
        url = f"/universes/{chips.pk}/share/"
        assert "bob can read Chips now" in page.post(url, {"people": " bob ,\nbob"}, follow=True).text
        theirs = signed_in(bob)
        assert "Shared with you" in theirs.get("/universes/").text
        assert theirs.get(f"/universes/{chips.pk}/").status_code == 200
        for forbidden in ("share", "edit", "delete"):
            assert theirs.get(f"/universes/{chips.pk}/{forbidden}/").status_code == 403
        page.post(f"/universes/{chips.pk}/unshare/", {"reader": bob.pk})
        assert theirs.get(f"/universes/{chips.pk}/").status_code == 404

    def test_a_reader_leaves(self, page, bob, chips):
        rita = cast.rita()
        shared_with(bob, chips)
        shared_with(rita, chips)
        signed_in(bob).post(f"/universes/{chips.pk}/unshare/", {"reader": rita.pk})
        with tenancy.as_system("tests"):
            assert [share.reader for share in Share.objects.all()] == [rita]

    def test_who_is_not_known_is_named_and_what_was_typed_is_kept(self, page, chips):
        answer = page.post(f"/universes/{chips.pk}/share/", {"people": "bob, <b>zoe</b>"})
        assert answer.status_code == 422
        assert "Nobody here is called" in answer.text
        assert "<b>zoe" not in answer.text

    @pytest.mark.parametrize("reader", ["", "x", "9" * 30, "²"])
    def test_an_id_that_is_none(self, page, chips, reader):
        assert page.post(f"/universes/{chips.pk}/unshare/", {"reader": reader}).status_code == 302

    def test_staff_publish(self, page, chips, bob):
        assert page.post(f"/universes/{chips.pk}/publish/").status_code == 403
        stella = cast.stella()
        with tenancy.acting_as(stella):
            hers = catalogue.create(stella, "Everybody's")
        staff = signed_in(stella)
        assert "public: everybody here sees it" in staff.post(f"/universes/{hers.pk}/publish/", follow=True).text
        assert "Everybody&#x27;s" in signed_in(bob).get("/universes/").text
        staff.post(f"/universes/{hers.pk}/publish/", {"private": "1"})
        assert "Everybody&#x27;s" not in signed_in(bob).get("/universes/").text


class TestNoStaffAnyMore:
    """Who made a universe public as staff, and is none any more: only staff change what is public."""

    @pytest.fixture
    def theirs(self):
        stella = cast.stella()
        with tenancy.acting_as(stella):
            made = catalogue.publish(catalogue.create(stella, "Watched"), stella, public=True)
        stella.is_staff = stella.is_superuser = False
        stella.save()
        return signed_in(stella), made

    @pytest.mark.parametrize("change", ["edit", "archive", "delete"])
    def test_is_refused_in_words(self, theirs, change):
        page, made = theirs
        answer = page.post(f"/universes/{made.pk}/{change}/", {"name": "Mine", "version": stored(made).version})
        assert (answer.status_code, "Make it private first" in answer.text) == (403, True)
        assert (stored(made).name, stored(made).archived_at, stored(made).deleted_at) == ("Watched", None, None)

    def test_makes_it_private(self, theirs):
        page, made = theirs
        assert "Make it private again" in page.get(f"/universes/{made.pk}/share/").text
        page.post(f"/universes/{made.pk}/publish/", {"private": "1"})
        assert not stored(made).is_public
        assert "Make it public" not in page.get(f"/universes/{made.pk}/share/").text
        assert page.post(f"/universes/{made.pk}/publish/").status_code == 403


class TestHistory:
    @pytest.fixture
    def old(self, alice, chips):
        with tenancy.acting_as(alice):
            long_ago = timezone.now() - timedelta(days=400)
            Membership.objects.update(joined_at=long_ago)
            membership.remove(chips, alice, ["AMD"], now=long_ago + timedelta(days=200))
            membership.add(chips, alice, ["TSM"], now=long_ago + timedelta(days=200))
        return chips

    def test_it_shows_who_joined_and_left_and_the_turnover(self, page, old):
        text = page.get(f"/universes/{old.pk}/history/").text
        assert "a turnover of 50.0 %" in text
        assert text.count("<li>") >= 2
        assert "AMD" in text
        assert "TSM" in text
        rows = page.get(f"/universes/{old.pk}/history.csv?by=year").text.splitlines()
        assert rows[0] == "since,until,joins,leaves,average_size,turnover"
        assert sum(int(row.split(",")[2]) for row in rows[1:]) == 1

    def test_a_window_of_ones_own(self, page, old):
        today = timezone.now().date()
        query = {"since": today - timedelta(days=30), "until": today, "by": "month"}
        assert "Nobody joined or left" in page.get(f"/universes/{old.pk}/history/", query).text

    def test_one_that_was_never_used(self, alice, page):
        with tenancy.acting_as(alice):
            empty = catalogue.create(alice, "Empty")
        assert "It has no past yet" in page.get(f"/universes/{empty.pk}/history/").text
        assert page.get(f"/universes/{empty.pk}/history.csv").status_code == 200

    @pytest.mark.parametrize(
        ("query", "file"),
        [
            ({"since": "x"}, 400), ({"since": "2024-13-01"}, 400), ({"since": "2030-01-01"}, 400),
            ({"until": "1800-01-01"}, 400), ({"since": "0001-01-01", "by": "month"}, 200),
            ({"since": "9999-12-31", "until": "9999-12-31"}, 400), ({"by": "'; --"}, 200), ({"range": "9" * 30}, 200),
            ({"page": "9" * 30}, 200), ({"since": "2024-01-02", "until": "2024-01-01"}, 400),
        ],
    )  # fmt: skip
    def test_an_address_that_says_nonsense(self, page, old, query, file):
        """The page shows the whole past and says so; a file of another window than was asked for is refused."""
        assert page.get(f"/universes/{old.pk}/history/", query).status_code == 200
        answer = page.get(f"/universes/{old.pk}/history.csv", query)
        assert answer.status_code == file
        assert file == 200 or "Write both dates" in answer.text or "must begin before" in answer.text

    def test_the_number_of_queries_does_not_grow(self, alice, page, old, django_assert_num_queries):
        url = f"/universes/{old.pk}/history/?by=month"
        page.get(url)
        with django_assert_num_queries(9) as before:
            page.get(url)
        with tenancy.acting_as(alice):
            membership.add(old, alice, [f"S{n}" for n in range(300)])
        with django_assert_num_queries(len(before.captured_queries)):
            page.get(url)
