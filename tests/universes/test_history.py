"""The past of a universe: its days of change, its turnover against a slow count, and past stays from a list."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronos.core import tenancy
from marketdata.models import Asset
from tests import cast
from universes import catalogue, history, membership
from universes.history import Stay
from universes.models import Membership

pytestmark = pytest.mark.usefixtures("house")
START = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("AMD", "IBM", "NVDA", "TSM")


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def chips(alice):
    with tenancy.acting_as(alice):
        yield catalogue.create(alice, "Chips")


def stays(universe):
    found = universe.memberships.order_by("asset__symbol", "joined_at")
    return [
        (symbol, (joined - START).days, left and (left - START).days)
        for symbol, joined, left in found.values_list("asset__symbol", "joined_at", "left_at")
    ]


def record(universe, alice, *wanted):
    return history.record(
        universe, alice, [Stay(s, day(j), None if left is None else day(left)) for s, j, left in wanted]
    )


class TestRecording:
    def test_past_and_present_stays(self, alice, chips):
        found = record(chips, alice, ("amd", 0, 10), ("AMD", 20, None), ("NVDA", 5, None))
        assert (found.recorded, found.created, found.refused) == (["AMD", "NVDA", "AMD"], ["AMD", "NVDA"], [])
        assert stays(chips) == [("AMD", 0, 10), ("AMD", 20, None), ("NVDA", 5, None)]
        assert [stay.asset.symbol for stay in membership.members(chips, day(12))] == ["NVDA"]

    def test_twice_is_once(self, alice, chips):
        record(chips, alice, ("AMD", 0, 10), ("AMD", 20, None))
        assert record(chips, alice, ("AMD", 0, 10), ("AMD", 20, None)).already == ["AMD", "AMD"]
        assert len(stays(chips)) == 2

    def test_a_member_has_joined_earlier_than_was_known(self, alice, chips):
        membership.add(chips, alice, ["AMD"])
        found = history.record(chips, alice, [Stay("AMD", day(3), None, "since the start", ["cpu"])])
        assert found.extended == ["AMD"]
        assert stays(chips) == [("AMD", 3, None)]
        stay = chips.memberships.get()
        assert (stay.note, stay.tags) == ("since the start", ["cpu"])

    @pytest.mark.parametrize(
        ("stay", "why"),
        [
            (("AMD", 5, 15), "overlaps a stay that is here: joined 2024-01-01 until 2024-01-11"),
            (("AMD", 9, None), "overlaps"),
            (("AMD", 4, 4), "left before it joined"),
            (("AMD", 4, 3), "left before it joined"),
            (("AMD", -60_000, 3), "can't have joined on 1859"),
            (("AMD", 40_000, None), "can't have joined"),
            (("AMD", 100, 40_000), "can't have left"),
            (("no$good", 0, 1), "1 to 40"),
        ],
    )
    def test_what_can_not_be_is_refused_singly(self, alice, chips, stay, why):
        record(chips, alice, ("AMD", 0, 10))
        found = record(chips, alice, stay, ("NVDA", 0, 1))
        assert [text for _, text in found.refused if why in text]
        assert found.recorded == ["NVDA"]
        assert stays(chips) == [("AMD", 0, 10), ("NVDA", 0, 1)]

    def test_two_rows_of_one_list_that_overlap(self, alice, chips):
        found = record(chips, alice, ("AMD", 0, 10), ("AMD", 5, 20))
        assert (found.recorded, len(found.refused)) == (["AMD"], 1)

    def test_it_is_the_owners(self, alice, chips):
        bob = cast.bob()
        with pytest.raises(PermissionDenied):
            history.record(chips, bob, [])

    def test_five_thousand_rows(self, alice, chips, django_assert_max_num_queries):
        wanted = [(f"S{n}", n % 300, n % 300 + 5) for n in range(5000)]
        with django_assert_max_num_queries(25):
            assert len(record(chips, alice, *wanted).recorded) == 5000
        assert chips.memberships.count() == 5000


def test_the_timeline_names_each_day(alice, chips):
    record(chips, alice, ("AMD", 0, 10), ("NVDA", 0, None), ("TSM", 10, None))
    assert history.timeline(chips) == [
        history.Change(day(10), ["TSM"], ["AMD"], 2),
        history.Change(day(0), ["AMD", "NVDA"], [], 2),
    ]


class TestTurnover:
    def test_by_hand(self, alice, chips):
        """Two founders; at half of the window one leaves and one joins: (1 + 1) / 2 / 2."""
        record(chips, alice, ("AMD", 0, 10), ("NVDA", 0, None), ("TSM", 10, None))
        found = history.turnover(chips, day(0), day(20))
        assert (found.joins, found.leaves, found.average_size, found.turnover) == (1, 1, 2.0, 0.5)

    def test_founding_is_no_turnover_and_the_window_begins_with_it(self, alice, chips):
        record(chips, alice, ("AMD", 10, None), ("NVDA", 15, None))
        found = history.turnover(chips, day(0), day(20))
        assert (found.since, found.joins, found.average_size) == (day(10), 1, 1.5)
        assert history.turnover(chips, day(-9), day(0)).turnover is None

    def test_a_window_the_wrong_way_round(self, chips):
        with pytest.raises(catalogue.Malformed, match="begin before"):
            history.turnover(chips, day(1), day(1))

    def test_a_universe_that_was_never_used(self, chips):
        found = history.turnover(chips, day(0), day(1))
        assert (found.joins, found.average_size, found.turnover) == (0, 0.0, None)
        assert history.timeline(chips) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 20), st.integers(1, 12) | st.none()), max_size=10),
    since=st.integers(-3, 22),
    length=st.integers(1, 25),
)
def test_it_is_what_a_slow_count_says(alice, chips, wanted, since, length):
    """Day by day: who is in it each day, from the rows that were accepted."""
    Membership.objects.all().delete()
    record(chips, alice, *((name, joined, None if long is None else joined + long) for name, joined, long in wanted))
    kept = stays(chips)

    def then(number):
        return {name for name, joined, left in kept if joined <= number and (left is None or number < left)}

    for number in range(-1, 35):
        assert {stay.asset.symbol for stay in membership.members(chips, day(number))} == then(number)
    sizes = {change.day: change.size for change in history.timeline(chips)}
    assert all(len(then((at - START).days)) == size for at, size in sizes.items())

    founded = min((joined for _, joined, _ in kept), default=None)
    until, found = since + length, history.turnover(chips, day(since), day(since + length))
    begin = until if founded is None else min(max(since, founded), until)
    days = [len(then(number)) for number in range(begin, until)]
    joins = sum(since <= joined < until and joined != founded for _, joined, _ in kept)
    leaves = sum(left is not None and since <= left < until for _, _, left in kept)
    assert (found.joins, found.leaves) == (joins, leaves)
    assert found.average_size == pytest.approx(sum(days) / len(days) if days else 0)
    assert Asset.objects.count() <= len(NAMES)
