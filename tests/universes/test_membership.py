"""Universes and their members, by the verbs that every door uses."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from chronos.core import tenancy
from marketdata.models import Asset, AssetClass, Spelling
from marketdata.symbols import likely_class
from tests import cast
from universes import catalogue, membership
from universes.models import Universe

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def mine(alice):
    with tenancy.as_system("tests"):
        return Universe.objects.create(owner=alice, name="Chips")


def symbols(universe, at=None):
    return [stay.asset.symbol for stay in membership.members(universe, at)]


def test_it_creates_renames_and_deletes(alice):
    with tenancy.acting_as(alice):
        first = catalogue.create(alice, "  Chips   and tools ", "Makers")
        second = catalogue.create(alice, "Chips and tools")
        assert first.name == second.name == "Chips and tools"
        assert catalogue.edit(second, alice, "Tools", "").name == "Tools"
        membership.add(first, alice, ["NVDA", "AMD"])
        catalogue.delete(first, alice)
        assert [universe.name for universe in catalogue.visible(alice)] == ["Tools"]
    assert set(Asset.objects.values_list("symbol", flat=True)) == {"NVDA", "AMD"}


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_it_refuses_names_that_are_none(alice, name):
    with tenancy.acting_as(alice), pytest.raises(catalogue.Malformed, match="1 to 100"):
        catalogue.create(alice, name)


def test_it_adds_what_is_well_formed_and_lists_the_rest(alice, mine):
    known = Asset.objects.create(symbol="BTC-USDT", asset_class=AssetClass.CRYPTO)
    Spelling.objects.create(asset=known, provider="yahoo", spelling="BTC-USD")
    with tenancy.acting_as(alice):
        report = membership.add(mine, alice, ["nvda", "btc/usdt", "BTC-USD", "no$good", "NVDA", "^gspc", "x" * 41])
    assert report.added == ["NVDA", "BTC-USDT", "^GSPC"]
    assert report.created == ["NVDA", "^GSPC"]
    assert [written for written, _ in report.malformed] == ["no$good", "x" * 41]
    assert "1 to 40" in report.malformed[0][1]
    assert Asset.objects.get(symbol="NVDA").validated_at is None
    assert Asset.objects.get(symbol="^GSPC").asset_class == AssetClass.INDEX


def test_adding_again_changes_nothing(alice, mine):
    with tenancy.acting_as(alice):
        membership.add(mine, alice, ["NVDA"])
        report = membership.add(mine, alice, ["NVDA"])
        assert (report.added, report.already) == ([], ["NVDA"])
        assert mine.memberships.count() == 1


def test_two_who_add_the_same_new_symbols_in_different_order_both_succeed():
    people = [cast.alice(), cast.bob()]
    ready = Barrier(2, timeout=20)

    def add(user, universe, symbols):
        try:
            with tenancy.acting_as(user):
                ready.wait()
                return membership.add(universe, user, symbols)
        finally:
            connection.close()

    for turn in range(5):
        new = [f"T{turn}N{number:04}" for number in range(800)]
        mine = []
        for user in people:
            with tenancy.acting_as(user):
                mine.append(catalogue.create(user, f"Turn {turn}"))
        with ThreadPoolExecutor(2) as pool:
            reports = list(pool.map(add, people, mine, (new, new[::-1])))
        assert [report.added for report in reports] == [new, new[::-1]]


def test_membership_is_dated(alice, mine):
    march, april, may = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))
    with tenancy.acting_as(alice):
        membership.add(mine, alice, ["AMD", "NVDA"], now=march)
        assert membership.remove(mine, alice, ["amd", "TSLA"], now=april) == ["AMD"]
        membership.add(mine, alice, ["AMD"], now=may)
        day = timedelta(days=1)
        assert symbols(mine, march - day) == []
        assert symbols(mine, march) == ["AMD", "NVDA"]
        assert symbols(mine, april) == ["NVDA"]
        assert symbols(mine, may) == symbols(mine) == ["NVDA", "AMD"]
        assert mine.memberships.count() == 3


def test_what_was_removed_a_moment_ago_comes_back_without_a_trace(alice, mine):
    with tenancy.acting_as(alice):
        membership.add(mine, alice, ["NVDA"])
        membership.remove(mine, alice, ["NVDA"])
        membership.add(mine, alice, ["NVDA"], now=timezone.now() + timedelta(seconds=5))
        assert mine.memberships.count() == 1
        assert symbols(mine) == ["NVDA"]


def test_it_refuses_to_change_what_is_not_ones_own(alice):
    with tenancy.as_system("tests"):
        public = Universe.objects.create(owner=None, name="Domain", visibility="public")
    with tenancy.acting_as(alice):
        for verb, arguments in (
            (membership.add, (["NVDA"],)),
            (membership.remove, (["NVDA"],)),
            (catalogue.edit, ("Mine now",)),
            (catalogue.delete, ()),
        ):
            with pytest.raises(PermissionDenied, match="not yours"):
                verb(public, alice, *arguments)


def test_an_unconfirmed_symbol_is_guessed_by_its_shape():
    kinds = {"NVDA": "stock", "^GSPC": "index", "BTC-USDT": "crypto", "EUR-USD": "fx", "EURUSD=X": "fx",
             "GC=F": "commodity", "BRK-B": "stock"}  # fmt: skip
    assert {symbol: likely_class(symbol).value for symbol in kinds} == kinds


def test_pasted_text_is_split_at_anything_people_use():
    assert membership.split_symbols(" NVDA,MSFT;\nTSLA\tBTC/USDT  ") == ["NVDA", "MSFT", "TSLA", "BTC/USDT"]
