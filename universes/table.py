"""A universe's members as a table: which columns, which of them by what filters, in what order, and which page.

What is wanted is read from an address (`Wish`), whatever is written there; what is known of a member is fetched for all
of them only where the order or a filter needs it, else for the rows of one page, and always in the same few queries.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.http import QueryDict
from django.utils import timezone

from marketdata import freshness, quotes, recognition, returns
from marketdata.calendars import Book
from marketdata.directory import exchanges
from marketdata.models import Series
from universes import columns, membership
from universes.columns import BY_KEY, Column, Member
from universes.models import Universe

A_PAGE = 200
LONGEST, MOST = 100, 20  # characters of a filter's value, values of one filter
UNKNOWN = "–"  # the value of a filter for what is not known


@dataclass(frozen=True)
class Filter:
    """One that an address may hold several times; a member passes with any of its values."""

    key: str
    label: str
    values: Callable[[Member], Iterable[str]]
    needs: tuple[str, ...] = ()
    words: Callable[[str], str] = str
    nothing: str = "not known"

    def called(self, value: str) -> str:
        return self.nothing if value == UNKNOWN else self.words(value)


def _one(read: Callable[[Member], str]) -> Callable[[Member], tuple[str, ...]]:
    return lambda member: (read(member) or UNKNOWN,)


LEVELS = {
    "fresh": "up to date", "ageing": "ageing", "stale": "stale", "failing": "not answered", "empty": "no candles",
    "sample": "sample",
}  # fmt: skip
FILTERS: tuple[Filter, ...] = (
    Filter("class", "Class", _one(lambda member: member.asset.asset_class), words=lambda v: columns.CLASSES.get(v, v)),
    Filter("sector", "Sector", _one(lambda member: member.asset.sector)),
    Filter("exchange", "Exchange", _one(lambda member: member.asset.exchange), words=exchanges.name),
    Filter("tag", "Tag", lambda member: member.stay.tags or (UNKNOWN,), nothing="no tag"),
    Filter("state", "Symbol is", _one(lambda member: member.state), ("state",), lambda v: columns.STATES.get(v, v)),
    Filter("fresh", "Freshness", _one(lambda member: member.fresh.level if member.fresh else ""), ("past", "fresh"),
           lambda v: LEVELS.get(v, v)),
)  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """What an address asks for; whatever in it is nothing we know is passed over."""

    columns: tuple[Column, ...]
    sort: Column
    backwards: bool
    text: str
    filters: dict[str, tuple[str, ...]]
    page: int

    @property
    def filtered(self) -> bool:
        return bool(self.text or self.filters)

    @property
    def arranged(self) -> bool:
        """Whether all members are shown in the owner's own order, so that they can be moved."""
        return self.sort.key == "place" and not self.backwards and not self.filtered


def wish(asked: QueryDict, usual: Sequence[str] = ()) -> Wish:
    """Read an address; `usual` are the columns where it names none."""
    named = [key for part in asked.getlist("cols")[:50] for key in part[:500].split(",")]
    sort = asked.get("sort", "")[:LONGEST]
    column = BY_KEY.get(sort.removeprefix("-"))
    if column is None or not column.sortable:
        column, sort = BY_KEY["place"], "place"
    filters = {}
    for one in FILTERS:
        wanted = (value.strip()[:LONGEST] for value in asked.getlist(one.key)[:MOST])
        if values := tuple(dict.fromkeys(value for value in wanted if value)):
            filters[one.key] = values
    number = asked.get("page", "")
    return Wish(
        columns=columns.chosen(named or usual),
        sort=column,
        backwards=sort.startswith("-"),
        text=" ".join(asked.get("q", "").split())[:LONGEST],
        filters=filters,
        page=max(1, int(number)) if number.isascii() and number.isdecimal() and len(number) < 7 else 1,
    )


@dataclass(frozen=True)
class Facet:
    """A value that a filter can have here, and how many members have it."""

    value: str
    words: str
    count: int
    active: bool


@dataclass
class Table:
    """`rows` are those of one page; `matching` counts all that pass, `total` all members."""

    wish: Wish
    rows: list[Member]
    total: int
    matching: int
    page: int
    pages: int
    following: str = ""  # the symbol after the last row, on the next page
    facets: dict[str, list[Facet]] = field(default_factory=dict)
    doubtful: int = 0  # members that no provider has confirmed and no directory lists


def read(universe: Universe, wanted: Wish, at: datetime | None = None, *, whole: bool = False) -> Table:
    """The table as of `at`, or now; with `whole` all rows that match rather than a page of them."""
    stays = membership.members(universe, at).defer("asset__metadata")
    every = [Member(stay, place) for place, stay in enumerate(stays, start=1)]
    knower = _Knower(every, at)
    needed = set(wanted.sort.needs).union(*(one.needs for one in FILTERS if one.key in wanted.filters), ("state",))
    knower.learn(every, needed)
    found = [member for member in every if _passes(member, wanted)]
    _sort(found, wanted)
    pages = max(1, math.ceil(len(found) / A_PAGE))
    number = min(wanted.page, pages)
    window = slice(None) if whole else slice((number - 1) * A_PAGE, number * A_PAGE)
    rows = found[window]
    knower.learn(rows, {need for column in wanted.columns for need in column.needs} | {"past", "fresh"})
    after = found[window.stop] if not whole and window.stop < len(found) else None
    following, facets = after.symbol if after else "", _facets(every, wanted)
    doubtful = sum(member.state == "unverified" for member in every)
    return Table(wanted, rows, len(every), len(found), number, pages, following, facets, doubtful)


def _passes(member: Member, wanted: Wish) -> bool:
    if wanted.text:
        sought = f"{member.symbol}\n{member.asset.name}\n{member.stay.note}".casefold()
        if not all(word in sought for word in wanted.text.casefold().split()):
            return False
    return all(
        any(value in wanted.filters[one.key] for value in one.values(member))
        for one in FILTERS
        if one.key in wanted.filters
    )


def _sort(found: list[Member], wanted: Wish) -> None:
    """By the column, what is not known last whichever way round; equal ones in the owner's order."""
    value = wanted.sort.value
    known = [member for member in found if value(member) is not None]
    rest = [member for member in found if value(member) is None]
    known.sort(key=lambda member: value(member), reverse=wanted.backwards)  # type: ignore[arg-type,return-value]
    found[:] = known + rest


def _facets(every: Sequence[Member], wanted: Wish) -> dict[str, list[Facet]]:
    """The values of each filter among all members, the commonest first, and those asked for that nobody has."""
    facets = {}
    for one in FILTERS:
        active = wanted.filters.get(one.key, ())
        known = "fresh" not in one.needs or all(member.fresh for member in every)
        counts = Counter(value for member in every for value in one.values(member)) if known else Counter(LEVELS)
        counts.update(dict.fromkeys(active, 0))
        if len(counts) > 1 or active:
            values = sorted(counts, key=lambda value: (-counts[value] if known else 0, one.called(value)))
            facets[one.key] = [
                Facet(value, one.called(value), counts[value] if known else -1, value in active) for value in values
            ]
    return facets


# --- What is known of a member -----------------------------------------------------------------------------------


class _Knower:
    """Fetches what members need, each thing for each of them once."""

    def __init__(self, every: Sequence[Member], at: datetime | None) -> None:
        self.at, self.now, self.book = at, timezone.now(), Book()
        self.series: dict[int, Series] = {}
        self.known: dict[str, set[int]] = {}

    def learn(self, members: Sequence[Member], needs: set[str]) -> None:
        if needs - {"state"} and (lacking := self._lacking(members, {"series"})):
            self.series |= quotes.preferred([member.asset for member in lacking])
        self._prices(members, needs & {"past", "year", *returns.WINDOWS})
        if "closes" in needs and (lacking := self._lacking(members, {"closes"})):
            self._closes(lacking)
        if "fresh" in needs and self.at is None:
            for member in self._lacking(members, {"fresh"}):
                member.fresh = freshness.judge(member.asset, self._judged(member), self.now, self.book)
        if "state" in needs:
            lacking = self._lacking(members, {"state"})
            states = recognition.recognised([member.asset for member in lacking]) if lacking else {}
            for member in lacking:
                member.recognition = states[member.asset.pk]

    def _lacking(self, members: Sequence[Member], needs: set[str]) -> list[Member]:
        """Those of which something is not known yet; from now on it is."""
        lacking = [m for m in members if any(m.stay.pk not in self.known.get(need, ()) for need in needs)]
        for need in needs:
            self.known.setdefault(need, set()).update(member.stay.pk for member in members)
        return lacking

    def _prices(self, members: Sequence[Member], needs: set[str]) -> None:
        """What of these is not known yet, in one query (two with the year's ends)."""
        needs = {need for need in needs if self._lacking(members, {need})}
        if not needs:
            return
        series = {m.asset.pk: self.series[m.asset.pk] for m in members if m.asset.pk in self.series}
        windows = [window for window in returns.WINDOWS if window in needs]
        told = returns.past(series, windows, until=self.at, year="year" in needs)
        for member in members:
            before, found = member.past, told.get(member.asset.pk)
            member.series, member.past = series.get(member.asset.pk), found
            if before and found:
                found.changes = before.changes | found.changes
                found.low, found.high = (before.low, before.high) if found.low is None else (found.low, found.high)

    def _closes(self, members: Sequence[Member]) -> None:
        wanted = {m.asset.pk: self.series[m.asset.pk] for m in members if m.asset.pk in self.series}
        closes = quotes.last_closes(wanted, quotes.POINTS, self.at)
        for member in members:
            member.closes = closes.get(member.asset.pk, ([], []))[1]

    def _judged(self, member: Member) -> Series | None:
        """A series whose candles are gone must not be judged by the count it kept of them."""
        series = self.series.get(member.asset.pk)
        if series is not None and member.past is None:
            series.last_open = None
        return series
