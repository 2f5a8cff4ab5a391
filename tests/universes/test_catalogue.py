"""Universes as wholes: edited without losing updates, copied, put away, deleted and taken back."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from chronos.core import accounts, tenancy
from marketdata.models import Asset
from tests import cast
from universes import catalogue, membership, scheduling
from universes.models import Membership, Share, Universe, Visibility

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def bob():
    return cast.bob()


@pytest.fixture
def chips(alice):
    with tenancy.acting_as(alice):
        made = catalogue.create(alice, "Chips", "Makers of chips")
        membership.add(made, alice, ["NVDA", "AMD"])
    return made


def names(user, **which):
    with tenancy.acting_as(user):
        return [universe.name for universe in catalogue.visible(user, **which)]


class TestEditing:
    def test_the_later_of_two_is_told(self, alice, chips):
        with tenancy.acting_as(alice):
            here, there = (Universe.objects.get(pk=chips.pk) for _ in range(2))
            catalogue.edit(here, alice, "Chips and tools", "x", version=here.version)
            with pytest.raises(catalogue.Outdated, match="changed elsewhere"):
                catalogue.edit(there, alice, "Chips only", "y", version=there.version)
            assert Universe.objects.get(pk=chips.pk).name == "Chips and tools"

    def test_adding_members_meanwhile_is_no_conflict(self, alice, chips):
        with tenancy.acting_as(alice):
            membership.add(chips, alice, ["TSM"])
            assert catalogue.edit(chips, alice, "Chips 2", "", version=1).version == 2

    def test_a_deleted_one_is_not_edited(self, alice, chips):
        with tenancy.acting_as(alice):
            catalogue.delete(Universe.objects.get(pk=chips.pk), alice)
            with pytest.raises(catalogue.Outdated):
                catalogue.edit(chips, alice, "Ghost")

    def test_nobody_else_edits_it(self, bob, chips):
        with tenancy.acting_as(bob), pytest.raises(PermissionDenied, match="Duplicate it"):
            catalogue.edit(chips, bob, "Mine")


class TestDuplicating:
    def test_the_copy_has_the_past_the_order_and_the_notes(self, alice, chips):
        with tenancy.acting_as(alice):
            membership.remove(chips, alice, ["NVDA"], now=timezone.now() + timedelta(hours=1))
            membership.annotate(chips, alice, "AMD", "the second source", ["cpu"])
            copy = catalogue.duplicate(chips, alice)
            columns = ("asset__symbol", "joined_at", "left_at", "position", "note", "tags")
            assert list(copy.memberships.order_by("pk").values_list(*columns)) == list(
                chips.memberships.order_by("pk").values_list(*columns)
            )
        assert (copy.name, copy.description, copy.visibility) == ("Chips (copy)", "Makers of chips", "private")

    def test_a_reader_gets_one_of_their_own(self, alice, bob, chips):
        with tenancy.acting_as(alice):
            catalogue.share(chips, alice, ["bob"])
        with tenancy.acting_as(bob):
            copy = catalogue.duplicate(Universe.objects.get(pk=chips.pk), bob, "Bob's chips")
            assert copy.owner == bob
            assert copy.memberships.count() == 2
            assert copy.shares.count() == 0

    def test_a_copy_that_can_not_be_leaves_nothing(self, alice, chips):
        with tenancy.acting_as(alice), pytest.raises(catalogue.Malformed):
            catalogue.duplicate(chips, alice, "x" * 101)
        assert names(alice) == ["Chips"]


class TestPuttingAway:
    def test_it_is_neither_listed_nor_refreshed_until_it_is_back(self, alice, chips):
        def due():
            with tenancy.as_system("tests"):
                return {asset.symbol for asset, _ in scheduling.due_series(timezone.now())}

        assert due() == {"AMD", "NVDA"}
        with tenancy.acting_as(alice):
            catalogue.archive(chips, alice)
        assert (names(alice), names(alice, archived=True), due()) == ([], ["Chips"], set())
        with tenancy.acting_as(alice):
            catalogue.archive(chips, alice, away=False)
        assert (names(alice), due()) == (["Chips"], {"AMD", "NVDA"})


class TestDeleting:
    def test_it_says_what_goes(self, alice, bob, chips):
        with tenancy.acting_as(alice):
            membership.remove(chips, alice, ["AMD"], now=timezone.now() + timedelta(hours=1))
            membership.annotate(chips, alice, "NVDA", "", ["gpu"])
            catalogue.share(chips, alice, ["bob"])
            found = catalogue.dependents(chips, alice)
        assert found == catalogue.Dependents(members=1, past=1, noted=1, readers=["bob"], unfinished=0)

    def test_it_is_gone_for_all_and_comes_back_whole(self, alice, bob, chips):
        with tenancy.acting_as(alice):
            catalogue.share(chips, alice, ["bob"])
            catalogue.delete(chips, alice)
        assert names(alice) == names(bob) == []
        with tenancy.as_system("tests"):
            assert scheduling.due_series(timezone.now()) == []
        with tenancy.acting_as(bob):
            assert catalogue.undelete(chips.pk, bob) is None
        with tenancy.acting_as(alice):
            back = catalogue.undelete(chips.pk, alice)
            assert back is not None
            assert back.memberships.count() == 2
            assert catalogue.undelete(chips.pk, alice) is None
        assert names(alice) == names(bob) == ["Chips"]

    def test_after_an_hour_it_is_purged(self, alice, chips):
        with tenancy.acting_as(alice):
            catalogue.delete(chips, alice)
        assert catalogue.purge() == 0
        with tenancy.as_system("tests"):
            Universe.objects.update(deleted_at=timezone.now() - catalogue.PURGE - timedelta(seconds=1))
        assert catalogue.purge() == 1
        with tenancy.as_system("tests"):
            assert Membership.objects.count() == Universe.objects.count() == 0
        assert Asset.objects.count() == 2


class TestSharing:
    def test_a_reader_sees_it_and_changes_nothing(self, alice, bob, chips):
        with tenancy.acting_as(alice):
            assert catalogue.share(chips, alice, ["bob", " bob "]) == [bob]
            assert catalogue.share(chips, alice, ["bob"]) == []
        assert names(bob) == ["Chips"]
        with tenancy.acting_as(bob):
            seen = Universe.objects.get(pk=chips.pk)
            assert [stay.asset.symbol for stay in membership.members(seen)] == ["NVDA", "AMD"]
            for forbidden in (
                lambda: membership.add(seen, bob, ["TSM"]),
                lambda: membership.remove(seen, bob, ["AMD"]),
                lambda: membership.move(seen, bob, "AMD", "NVDA"),
                lambda: membership.annotate(seen, bob, "AMD", "x", []),
                lambda: catalogue.share(seen, bob, ["alice"]),
                lambda: catalogue.archive(seen, bob),
                lambda: catalogue.delete(seen, bob),
            ):
                with pytest.raises(PermissionDenied):
                    forbidden()
            assert Universe.objects.filter(pk=chips.pk).update(name="Stolen") == 0
            assert seen.memberships.update(note="x") == 0

    def test_it_is_closed_again_by_either(self, alice, bob, chips):
        rita = cast.rita()
        with tenancy.acting_as(alice):
            catalogue.share(chips, alice, ["bob", "rita"])
            assert catalogue.unshare(chips, alice, bob.pk) == bob
            assert catalogue.unshare(chips, alice, bob.pk) is None
        with tenancy.acting_as(bob), pytest.raises(PermissionDenied):
            catalogue.unshare(chips, bob, rita.pk)
        with tenancy.acting_as(rita):
            assert catalogue.unshare(chips, rita, rita.pk) == rita
        assert names(bob) == names(rita) == []

    @pytest.mark.parametrize("whom", ["nobody", "", "alice", "'; DROP TABLE core_user; --", "b" * 3000])
    def test_who_is_not_known_is_named_and_nobody_is_let_in(self, alice, bob, chips, whom):
        with tenancy.acting_as(alice):
            with pytest.raises(catalogue.Malformed):
                catalogue.share(chips, alice, ["bob", whom])
            assert not chips.shares.exists()

    def test_an_address_counts_once_its_owner_has_confirmed_it(self, alice, bob, chips):
        """Else whoever writes another's address into their profile would be let in instead."""
        with tenancy.acting_as(alice), pytest.raises(catalogue.Malformed, match="Nobody here"):
            catalogue.share(chips, alice, [bob.email])
        accounts.use(bob, bob.email, confirmed=True)
        with tenancy.acting_as(alice):
            assert catalogue.share(chips, alice, [bob.email.upper()]) == [bob]

    def test_a_reader_who_leaves_the_house_leaves_it(self, alice, bob, chips):
        with tenancy.acting_as(alice):
            catalogue.share(chips, alice, ["bob"])
        with tenancy.as_system("tests"):
            bob.delete()
            assert Share.objects.count() == 0

    def test_a_new_owner_takes_the_readers_along(self, alice, bob, chips):
        cast.rita()
        with tenancy.acting_as(alice):
            catalogue.share(chips, alice, ["rita"])
        with tenancy.as_system("tests"):
            Universe.objects.filter(pk=chips.pk).update(owner=bob)
            assert Share.objects.get().owner_id == bob.pk

    def test_only_staff_publish(self, alice, bob, chips):
        with tenancy.acting_as(alice):
            with pytest.raises(PermissionDenied, match="Only staff"):
                catalogue.publish(chips, alice, True)
            with pytest.raises(DatabaseError), transaction.atomic():
                Universe.objects.filter(pk=chips.pk).update(visibility=Visibility.PUBLIC)
        stella = cast.stella()
        with tenancy.acting_as(stella):
            hers = catalogue.create(stella, "Everybody's")
            catalogue.publish(hers, stella, True)
        assert names(bob) == ["Everybody's"]
        with tenancy.acting_as(stella):
            catalogue.publish(hers, stella, False)
        assert names(bob) == []


class TestOrder:
    def order(self, alice, universe):
        with tenancy.acting_as(alice):
            return [stay.asset.symbol for stay in membership.members(universe)]

    def test_whoever_joins_stands_last_and_is_moved(self, alice, chips):
        with tenancy.acting_as(alice):
            membership.add(chips, alice, ["TSM", "INTC"])
            assert membership.move(chips, alice, "intc", "AMD")
        assert self.order(alice, chips) == ["NVDA", "INTC", "AMD", "TSM"]
        with tenancy.acting_as(alice):
            assert membership.move(chips, alice, "NVDA")
            assert membership.move(chips, alice, "AMD", "AMD")
            assert not membership.move(chips, alice, "AMD", "IBM")
            assert not membership.move(chips, alice, "IBM", "AMD")
        assert self.order(alice, chips) == ["INTC", "AMD", "TSM", "NVDA"]

    def test_some_are_put_first(self, alice, chips):
        with tenancy.acting_as(alice):
            membership.add(chips, alice, ["TSM", "INTC"])
            membership.arrange(chips, alice, ["TSM", "IBM", "tsm", "AMD"])
        assert self.order(alice, chips) == ["TSM", "AMD", "NVDA", "INTC"]


class TestNotes:
    def test_the_later_of_two_is_told(self, alice, chips):
        with tenancy.acting_as(alice):
            stay = membership.annotate(
                chips, alice, "nvda", " the leader ", ["GPU", " gpu", "", "AI  chips"], version=1
            )
            assert (stay.note, stay.tags, stay.version) == ("the leader", ["GPU", "AI chips"], 2)
            with pytest.raises(catalogue.Outdated, match="changed elsewhere"):
                membership.annotate(chips, alice, "NVDA", "the follower", [], version=1)

    @pytest.mark.parametrize(
        ("note", "tags"), [("x" * 1001, []), ("", ["x" * 41]), ("", [str(n) for n in range(21)]), ("", ["a\x07b"])]
    )
    def test_what_does_not_fit_is_said(self, alice, chips, note, tags):
        with tenancy.acting_as(alice), pytest.raises(catalogue.Malformed, match="at most"):
            membership.annotate(chips, alice, "NVDA", note, tags)


def test_the_database_refuses_stays_that_overlap(alice, chips):
    march, june = datetime(2020, 3, 1, tzinfo=UTC), datetime(2020, 6, 1, tzinfo=UTC)
    with tenancy.acting_as(alice):
        asset = Asset.objects.get(symbol="NVDA")

        def stay(joined, left):
            with transaction.atomic():
                Membership.objects.create(universe=chips, owner=alice, asset=asset, joined_at=joined, left_at=left)

        stay(march, june)
        for joined, left in ((march, june), (march - timedelta(days=9), june), (june - timedelta(days=1), june)):
            with pytest.raises(IntegrityError, match="no_overlapping_stays"):
                stay(joined, left)
        stay(june, june + timedelta(days=1))
