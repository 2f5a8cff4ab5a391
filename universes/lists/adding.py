"""A list confirmed: its rows added batch by batch, what became of each, and all of it taken back."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, Count, QuerySet, Value, When
from django.utils import timezone

from chronos.core import figures
from chronos.core.models import User
from marketdata.models import Asset
from universes import history, membership
from universes.catalogue import must_own
from universes.lists import drafts
from universes.models import Membership, SymbolList, SymbolListRow, Universe

IN_A_REQUEST = 500  # rows that are added while one waits; more are a job
BATCH = 1000
State, Outcome, Group = SymbolList.State, SymbolListRow.Outcome, SymbolListRow.Group

_BECAME = {
    "recorded": Outcome.ADDED,
    "extended": Outcome.EXTENDED,
    "already": Outcome.ALREADY,
    "refused": Outcome.REFUSED,
}
_LEFT_OUT = {
    Group.ALREADY: Outcome.ALREADY, Group.DUPLICATE: Outcome.DUPLICATE, Group.MALFORMED: Outcome.MALFORMED,
    Group.UNKNOWN: Outcome.UNKNOWN, Group.DELISTED: Outcome.DELISTED,
}  # fmt: skip
_MADE = (Outcome.ADDED, Outcome.EXTENDED)


@dataclass
class Undone:
    """What an undo did, by symbol; `kept` were changed since they were added, and stay."""

    removed: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


# --- Adding ------------------------------------------------------------------------------------------------------


@transaction.atomic
def confirm(found: SymbolList, user: User) -> bool:
    """Begin to add a draft; False if somebody has before. Whoever got True goes on with `add_some` and `finish`."""
    must_own(found.universe, user)
    base = membership.last_place(found.universe)
    begun = SymbolList.objects.filter(pk=found.pk, state=State.DRAFT).update(state=State.ADDING, base=base)
    found.refresh_from_db()
    if begun:
        drafts.look_again(found)
    return bool(begun)


def add_all(found: SymbolList, user: User) -> None:
    """Add what is left to be added, at once."""
    while add_some(found, user):
        pass
    finish(found)


@transaction.atomic
def add_some(found: SymbolList, user: User) -> int:
    """Add the next rows, and note what became of each; how many those were. Nothing if nothing is left.

    1. Hold the list, so that an undo waits, and the universe, as whoever changes it does.
    2. Look at the stays of these assets before and after; the difference is what an undo takes back.
    3. Write the outcomes in the same transaction: who comes again after a worker's death begins with what is left.
    """
    if not SymbolList.objects.select_for_update().filter(pk=found.pk, state=State.ADDING).exists():
        return 0
    universe = Universe.objects.select_for_update().get(pk=found.universe_id)
    rows = list(remaining(found).order_by("number")[:BATCH])
    now = timezone.now()
    symbols = [row.symbol for row in rows]
    before = _stays(universe, membership.stored(symbols).values())
    plain, dated = [row for row in rows if not row.joined_at], [row for row in rows if row.joined_at]
    added = membership.add(universe, user, [row.symbol for row in plain], now)
    stays = [history.Stay(row.symbol, row.joined_at, row.left_at, row.note, row.tags) for row in dated if row.joined_at]
    recorded = history.record(universe, user, stays, now) if stays else history.Recorded()
    for row, (became, why) in zip(dated, recorded.each, strict=True):
        row.outcome, row.reason = _BECAME[became], (why or row.reason)[:300]
    assets = membership.stored(symbols)
    _outcomes(plain, assets, added)
    made = _made(rows, assets, before, _stays(universe, assets.values()))
    _annotate(found, made)
    for row, stay in made:
        row.trace = {"stay": stay.pk, "before": before.get(stay.pk), "after": _state(stay)}
    drafts.write(rows, "outcome", "reason", "trace")
    return len(rows)


def remaining(found: SymbolList) -> QuerySet[SymbolListRow]:
    """The chosen rows that have not been added yet."""
    return drafts.chosen(found).filter(outcome="")


def _outcomes(rows: Sequence[SymbolListRow], assets: dict[str, Asset], added: membership.Added) -> None:
    """What became of rows without dates: of two that mean the same asset the first was added."""
    joined, malformed = set(added.added), dict(added.malformed)
    for row in rows:
        asset = assets.get(row.symbol)
        if asset is None:
            row.outcome, row.reason = Outcome.REFUSED, malformed.get(row.symbol[:60], "It can't be a symbol.")[:300]
        else:
            row.outcome = Outcome.ADDED if asset.symbol in joined else Outcome.ALREADY
            joined.discard(asset.symbol)


def _stays(universe: Universe, assets: Iterable[Asset]) -> dict[int, dict[str, Any]]:
    """By their ids, the stays of these assets as they are."""
    found = universe.memberships.filter(asset__in=[asset.pk for asset in assets])
    return {stay.pk: _state(stay) for stay in found}


def _state(stay: Membership) -> dict[str, Any]:
    """A stay, as far as an undo must know it, in JSON."""
    return {
        "asset": stay.asset_id,
        "joined": stay.joined_at.isoformat(),
        "left": stay.left_at.isoformat() if stay.left_at else None,
        "note": stay.note,
        "tags": stay.tags,
        "version": stay.version,
    }


def _made(
    rows: Sequence[SymbolListRow], assets: dict[str, Asset], before: dict[int, dict[str, Any]],
    after: dict[int, dict[str, Any]],
) -> list[tuple[SymbolListRow, Membership]]:  # fmt: skip
    """The stays that were made or changed, each with a row of the list that made it."""
    changed = [pk for pk, state in after.items() if before.get(pk) != state]
    stays: defaultdict[int, list[Membership]] = defaultdict(list)
    for stay in Membership.objects.filter(pk__in=changed).order_by("joined_at"):
        stays[stay.asset_id].append(stay)
    mine = sorted((row for row in rows if row.outcome in _MADE), key=lambda row: row.joined_at or timezone.now())
    return [(row, of.pop(0)) for row in mine if (of := stays[assets[row.symbol].pk])]


def _annotate(found: SymbolList, made: Sequence[tuple[SymbolListRow, Membership]]) -> None:
    """Notes and tags where the stay has none yet, and the places that the list tells, behind those who were there."""
    noted = []
    for row, stay in made:
        if (row.note and not stay.note) or (row.tags and not stay.tags):
            stay.note, stay.tags = stay.note or row.note, stay.tags or row.tags
            noted.append(stay)
    Membership.objects.bulk_update(noted, ["note", "tags"], batch_size=500)
    placed = [(stay.pk, found.base + row.position) for row, stay in made if row.position]
    if placed:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE universes_membership m SET position = o.place"
                " FROM unnest(%s::bigint[], %s::int[]) AS o (id, place) WHERE m.id = o.id",
                [[pk for pk, _ in placed], [place for _, place in placed]],
            )


@transaction.atomic
def finish(found: SymbolList) -> None:
    """Note what became of the rows that were not to be added, once all others are."""
    if not SymbolList.objects.filter(pk=found.pk, state=State.ADDING).update(state=State.DONE, added_at=timezone.now()):
        return
    became = [When(decision=drafts.Decision.SKIP, then=Value(Outcome.SKIPPED))]
    became += [When(group=group, then=Value(outcome)) for group, outcome in _LEFT_OUT.items()]
    found.rows.filter(outcome="").update(outcome=Case(*became, default=Value(Outcome.REFUSED)))
    found.refresh_from_db()


def report(found: SymbolList) -> dict[str, int]:
    """How many rows became what; together they are all."""
    return dict(found.rows.order_by().exclude(outcome="").values_list("outcome").annotate(many=Count("pk")))


def sentence(became: dict[str, int]) -> str:
    """The report in words: "3 symbols added, 1 already in. Not added: 2 unknown, 1 malformed." """

    def told(outcomes: Iterable[SymbolListRow.Outcome]) -> str:
        many = ((outcome, became.get(outcome, 0)) for outcome in outcomes)
        return ", ".join(f"{figures.integer(count)} {outcome.label.lower()}" for outcome, count in many if count)

    done = told((Outcome.EXTENDED, Outcome.ALREADY))
    rest = told(outcome for outcome in Outcome if outcome not in (*_MADE, Outcome.ALREADY))
    added = f"{figures.counted(became.get(Outcome.ADDED, 0), 'symbol')} added"
    return (f"{added}, {done}." if done else f"{added}.") + (f" Not added: {rest}." if rest else "")


# --- Taking it back ----------------------------------------------------------------------------------------------


@transaction.atomic
def undo(found: SymbolList, user: User) -> Undone | None:
    """Take back exactly what this list did to the universe; None if that has been done, or there is nothing.

    A stay that it began is deleted, one that it took up again or extended is as it was. What was changed since, by
    hand or by another list, is left as it is.
    """
    must_own(found.universe, user)
    begun = SymbolList.objects.filter(pk=found.pk, state__in=(State.ADDING, State.DONE))
    if not begun.update(state=State.UNDONE, undone_at=timezone.now()):
        return None
    universe = Universe.objects.select_for_update().get(pk=found.universe_id)
    rows = list(found.rows.filter(trace__isnull=False).order_by("-number"))
    stays = universe.memberships.select_for_update().in_bulk([row.trace["stay"] for row in rows if row.trace])
    report, gone, kept = Undone(), [], []
    changed: dict[int, Membership] = {}
    for row in rows:
        trace = row.trace or {}
        stay = stays.get(trace["stay"])
        if stay is None or _state(stay) != trace["after"]:
            report.kept.append(row.symbol)
            kept.append(row.pk)
        elif trace["before"] is None:
            gone.append(stay.pk)
            report.removed.append(row.symbol)
            changed.pop(stay.pk, None)
        else:
            _restore(stay, trace["before"])
            changed[stay.pk] = stay
            report.restored.append(row.symbol)
    Membership.objects.bulk_update(
        changed.values(), ["joined_at", "left_at", "note", "tags", "version"], batch_size=500
    )
    universe.memberships.filter(pk__in=gone).delete()
    found.rows.filter(trace__isnull=False).exclude(pk__in=kept).update(trace=None)  # what keeps its trace is still in
    found.refresh_from_db()
    return report


def _restore(stay: Membership, state: dict[str, Any]) -> None:
    stay.joined_at = datetime.fromisoformat(state["joined"])
    stay.left_at = datetime.fromisoformat(state["left"]) if state["left"] else None
    stay.note, stay.tags, stay.version = state["note"], state["tags"], state["version"]
