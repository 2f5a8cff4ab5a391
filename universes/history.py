"""The past of a universe: who joined and left when, how much it turned over, and past stays brought in from a list."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

from django.db import transaction
from django.utils import timezone

from chronos.core.models import User
from marketdata.models import Asset, canonical
from universes import membership
from universes.catalogue import Malformed, must_own
from universes.models import Membership, Universe

FIRST = datetime(1900, 1, 1, tzinfo=UTC)  # no stay begins before
Span = tuple[datetime, datetime | None]  # joined, left


# --- Reading it --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """Who joined and left on one day (UTC), and how many members there were at its end."""

    day: datetime
    joined: list[str]
    left: list[str]
    size: int


@dataclass(frozen=True)
class Turnover:
    """Of a window of time: (joins + leaves) / 2 / average size. None where there was never a member.

    `since` is the window's begin, or the moment at which the universe got its first members if that is later: those
    who founded it are not counted as joins. The average size is weighted by time.
    """

    since: datetime
    until: datetime
    joins: int
    leaves: int
    average_size: float
    turnover: float | None


class Past:
    """All that happened in a universe, read once."""

    def __init__(self, universe: Universe) -> None:
        self._events = _events(universe)

    def timeline(self) -> list[Change]:
        """Every day on which somebody joined or left, the newest first. A stay without length is passed over."""
        changes: list[Change] = []
        size = 0
        for day, events in groupby(self._events, key=lambda event: _day(event[0])):
            happened = list(events)
            size += sum(step for _, step, _ in happened)
            joined = sorted(symbol for _, step, symbol in happened if step > 0)
            left = sorted(symbol for _, step, symbol in happened if step < 0)
            changes.append(Change(day, joined, left, size))
        return changes[::-1]

    def turnover(self, since: datetime, until: datetime) -> Turnover:
        """The turnover in since ≤ moment < until. Raises `Malformed` unless since < until."""
        return _turnover(self._events, since, until)

    def turnovers(self, marks: Sequence[datetime]) -> list[Turnover]:
        """Of each window between two neighbouring marks, which ascend."""
        return [self.turnover(since, until) for since, until in pairwise(marks)]


def timeline(universe: Universe) -> list[Change]:
    return Past(universe).timeline()


def turnover(universe: Universe, since: datetime, until: datetime) -> Turnover:
    return Past(universe).turnover(since, until)


def _turnover(events: Sequence[tuple[datetime, int, str]], since: datetime, until: datetime) -> Turnover:
    if since >= until:
        raise Malformed("The window must begin before it ends.")
    founded = events[0][0] if events else until
    begin = min(max(since, founded), until)
    size, at, weight = 0, begin, 0.0  # members; since when so many; members × seconds
    joins = leaves = 0
    for moment, step, _ in events:
        if moment >= until:
            break
        if moment >= begin:
            weight += size * (moment - at).total_seconds()
            at = moment
        size += step
        if moment >= since and moment != founded:
            joins, leaves = joins + (step > 0), leaves + (step < 0)
    weight += size * (until - at).total_seconds()
    length = (until - begin).total_seconds()
    average = weight / length if length else 0.0
    return Turnover(begin, until, joins, leaves, average, (joins + leaves) / 2 / average if average else None)


def _events(universe: Universe) -> list[tuple[datetime, int, str]]:
    """(moment, +1 or −1, symbol), oldest first; at one moment those who leave go first."""
    stays = universe.memberships.order_by().values_list("joined_at", "left_at", "asset__symbol")
    found = []
    for joined, left, symbol in stays:
        if left is None or left > joined:
            found.append((joined, 1, symbol))
            if left is not None:
                found.append((left, -1, symbol))
    return sorted(found)


def _day(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


# --- Bringing it in ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stay:
    """One stay as a list tells it. `left` is the first moment at which it was a member no more; None if it still is."""

    symbol: str
    joined: datetime
    left: datetime | None = None
    note: str = ""
    tags: Sequence[str] = ()


@dataclass
class Recorded:
    """What became of each stay: its symbol, or with why not, what was written."""

    recorded: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)  # joined earlier than was known
    already: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    created: list[str] = field(default_factory=list)  # assets that were not stored before
    each: list[tuple[str, str]] = field(default_factory=list)  # by place in the list given: one of these names, and why


def record(universe: Universe, user: User, stays: Iterable[Stay], now: datetime | None = None) -> Recorded:
    """Store past and present stays beside those that are there; what can't be is refused with the reason, singly.

    No stay may overlap another of the same asset. One that has not ended extends a stay that has not ended either to
    its earlier beginning, with its note and tags where that one has none. Recording the same again changes nothing.
    """
    must_own(universe, user)
    now = now or timezone.now()
    report = Recorded()
    wanted = list(_possible(stays, report, now))
    added = membership.Added()
    known = membership.assets_of([stay.symbol for _, stay in wanted], added)
    with transaction.atomic():
        Universe.objects.select_for_update().get(pk=universe.pk)
        there = _there(universe, known.values())
        place = membership.last_place(universe)
        new: list[Membership] = []
        for index, stay in sorted(wanted, key=lambda one: one[1].joined):
            if asset := known.get(canonical(stay.symbol)):
                report.each[index] = _put(stay, asset, there[asset.pk], report)
        changed = [kept for kept in _flat(there) if getattr(kept, "earlier", False)]
        Membership.objects.bulk_update(changed, ["joined_at", "note", "tags"], batch_size=500)
        for kept in _flat(there):
            if kept._state.adding:
                place += 1
                kept.universe, kept.owner_id, kept.position = universe, universe.owner_id, place
                new.append(kept)
        Membership.objects.bulk_create(new, batch_size=2000)
    report.refused += added.malformed
    report.created = added.created
    return report


def impossible(stay: Stay, now: datetime) -> str:
    """Why its dates can't be; empty if they can."""
    if not FIRST <= stay.joined <= now + timedelta(days=1):
        return f"It can't have joined on {stay.joined:%Y-%m-%d}: give a day from 1900 until today."
    if stay.left is not None and stay.left <= stay.joined:
        return "It left before it joined, or at the same moment."
    if stay.left is not None and stay.left > now + timedelta(days=1):
        return f"It can't have left on {stay.left:%Y-%m-%d} already: leave that empty while it is a member."
    return ""


def _possible(stays: Iterable[Stay], report: Recorded, now: datetime) -> Iterator[tuple[int, Stay]]:
    """Those whose dates and texts can be, with their places; the others are refused."""
    for index, stay in enumerate(stays):
        why, note, tags = impossible(stay, now), "", list[str]()
        try:
            tags = membership.clean_tags(stay.tags)
            note = membership.clean_note(stay.note)
        except Malformed as error:
            why = str(error)
        report.each.append(("refused", why or "It can't be a symbol."))
        if why:
            report.refused.append((stay.symbol[:60], why))
        else:
            yield index, Stay(stay.symbol, stay.joined, stay.left, note, tags)


def _there(universe: Universe, assets: Iterable[Asset]) -> defaultdict[int, list[Membership]]:
    """The stays of these assets that are stored."""
    found: defaultdict[int, list[Membership]] = defaultdict(list)
    for kept in universe.memberships.filter(asset__in=[asset.pk for asset in assets]):
        found[kept.asset_id].append(kept)
    return found


def _put(stay: Stay, asset: Asset, there: list[Membership], report: Recorded) -> tuple[str, str]:
    """Add the stay to those of its asset, or extend one; else say why neither."""
    if any((kept.joined_at, kept.left_at) == (stay.joined, stay.left) for kept in there):
        report.already.append(asset.symbol)
        return "already", ""
    over = [kept for kept in there if _overlap((kept.joined_at, kept.left_at), (stay.joined, stay.left))]
    if not over:
        there.append(
            Membership(asset=asset, joined_at=stay.joined, left_at=stay.left, note=stay.note, tags=list(stay.tags))
        )
        report.recorded.append(asset.symbol)
        return "recorded", ""
    if len(over) == 1 and over[0].left_at is None and stay.left is None and stay.joined < over[0].joined_at:
        kept = over[0]
        kept.joined_at, kept.note, kept.tags = stay.joined, kept.note or stay.note, kept.tags or list(stay.tags)
        kept.earlier = True  # type: ignore[attr-defined]
        report.extended.append(asset.symbol)
        return "extended", ""
    first = min(over, key=lambda kept: kept.joined_at)
    until = f"until {first.left_at:%Y-%m-%d}" if first.left_at else "and is a member still"
    why = f"It overlaps a stay that is here: joined {first.joined_at:%Y-%m-%d} {until}."
    report.refused.append((asset.symbol, why))
    return "refused", why


def _overlap(one: Span, other: Span) -> bool:
    """Whether two half-open spans share a moment; a stay without length shares none."""
    return (
        (other[1] is None or one[0] < other[1])
        and (one[1] is None or other[0] < one[1])
        and one[0] != one[1]
        and other[0] != other[1]
    )


def _flat(there: defaultdict[int, list[Membership]]) -> Iterator[Membership]:
    return (kept for stays in there.values() for kept in stays)
