"""A list while it is looked at: its rows in groups, and what is decided about each."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

import orjson
from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.models import User
from marketdata.models import Asset
from universes import membership
from universes.catalogue import Malformed, must_own
from universes.lists import verdicts
from universes.lists.parsing import Parsed, bare
from universes.models import SymbolList, SymbolListRow, Universe

KEPT = timedelta(days=7)
Group, Decision = SymbolListRow.Group, SymbolListRow.Decision

# What goes in unless somebody says otherwise. Nobody could be asked for some of it, which says nothing against it.
WELCOME = (Group.NEW, Group.PENDING, Group.UNVERIFIED)
_LOST = (Group.PENDING, Group.UNKNOWN, Group.UNVERIFIED)
SUGGESTED_AT_ONCE = 100  # rows for which one waits; of more a job looks for what was meant
DECIDABLE = (*WELCOME, Group.UNKNOWN, Group.DELISTED)


class Gone(Exception):
    """The list is not a draft any more; nothing was changed."""


# --- Keeping it --------------------------------------------------------------------------------------------------


@transaction.atomic
def keep(universe: Universe, user: User, parsed: Parsed, source: str) -> SymbolList:
    """Store a list that was read, its rows in groups as far as that is known without asking anybody."""
    must_own(universe, user)
    found = SymbolList.objects.create(
        universe=universe, owner=user, source=" ".join(source.split())[:100], remarks=parsed.remarks[:50],
        beyond=parsed.beyond, dated=parsed.dated,
    )  # fmt: skip
    rows = [
        SymbolListRow(
            symbol_list=found,
            owner=user,
            number=number,
            line=entry.line,
            written=entry.written,
            symbol=(entry.symbol if entry.malformed else entry.text)[:60],
            name=entry.name,
            joined_at=entry.joined,
            left_at=entry.left,
            note=entry.note,
            tags=entry.tags,
            position=entry.position,
            reason=entry.reason[:300],
            group=Group.MALFORMED if entry.malformed else Group.PENDING,
        )
        for number, entry in enumerate(parsed.entries, start=1)
    ]
    settle(found, [row for row in rows if row.group == Group.PENDING])
    insert(rows)
    return found


def settle(found: SymbolList, rows: Sequence[SymbolListRow]) -> None:
    """Put these rows, in memory, into their groups by what is known here of their symbols and who is a member."""
    answers = verdicts.check([row.symbol for row in rows])
    _apply(found, list(zip(rows, answers, strict=True)))
    lost = [row for row in rows if row.group in _LOST and not row.suggestions]
    if len(lost) <= SUGGESTED_AT_ONCE:
        _suggest(lost)


def _apply(found: SymbolList, pairs: Sequence[tuple[SymbolListRow, verdicts.Answer]]) -> None:
    for row, answer in pairs:
        row.group = Group.NEW if answer.verdict == verdicts.Verdict.VALID else Group(answer.verdict)
        row.symbol = answer.symbol[:60]
        row.name = answer.name[:200] or row.name
        row.suggestions = [text[:60] for text in answer.suggestions] or (
            [] if row.group == Group.NEW else row.suggestions
        )
        row.reason = (answer.reason or row.reason)[:300]
    _place([row for row, _ in pairs if row.group != Group.MALFORMED], found)


def _suggest(rows: Sequence[SymbolListRow]) -> None:
    found = verdicts.near({row.symbol for row in rows})
    for row in rows:
        row.suggestions = [text for text in found[row.symbol] if len(text) <= 60]


def _place(rows: Sequence[SymbolListRow], found: SymbolList) -> None:
    """Those who are members already, and those that another row of the list says, are groups of their own."""
    stored = membership.stored({row.symbol for row in rows})
    stays = _stays(found.universe, stored.values())
    numbers = [row.number for row in rows]
    seen = {
        _key(other, other.symbol)
        for other in found.rows.exclude(number__in=numbers).exclude(group__in=(Group.MALFORMED, Group.DUPLICATE))
    }
    for row in sorted(rows, key=lambda row: row.number):
        symbol = stored[row.symbol].symbol if row.symbol in stored else row.symbol
        if _is_there(row, stays[symbol]):
            row.group, row.suggestions = Group.ALREADY, []
        elif _key(row, symbol) in seen:
            row.group, row.suggestions = Group.DUPLICATE, []
        seen.add(_key(row, symbol))


def look_again(found: SymbolList) -> None:
    """Who was a member when the list was looked at may have left since, and then is one to be added."""
    rows = list(found.rows.filter(group=Group.ALREADY))
    stored = membership.stored({row.symbol for row in rows})
    stays = _stays(found.universe, stored.values())
    gone = [row for row in rows if row.symbol in stored and not _is_there(row, stays[stored[row.symbol].symbol])]
    settle(found, gone)
    _write(gone)


def _key(row: SymbolListRow, symbol: str) -> tuple[object, ...]:
    return symbol, row.joined_at, row.left_at


def _stays(universe: Universe, assets: Iterable[Asset]) -> defaultdict[str, list[tuple[object, object]]]:
    found: defaultdict[str, list[tuple[object, object]]] = defaultdict(list)
    stays = universe.memberships.filter(asset__in=[asset.pk for asset in assets])
    for symbol, joined, left in stays.values_list("asset__symbol", "joined_at", "left_at"):
        found[symbol].append((joined, left))
    return found


def _is_there(row: SymbolListRow, stays: list[tuple[object, object]]) -> bool:
    """Whether the row says nothing new: a member, since then or before; or that very stay of the past."""
    if row.left_at is not None:
        return (row.joined_at, row.left_at) in stays
    return any(left is None and (row.joined_at is None or joined <= row.joined_at) for joined, left in stays)  # type: ignore[operator]


# --- Looking at it -----------------------------------------------------------------------------------------------


def counts(found: SymbolList) -> dict[str, int]:
    """How many rows there are in each group."""
    return dict(found.rows.order_by().values_list("group").annotate(many=Count("pk")))


def chosen(found: SymbolList) -> QuerySet[SymbolListRow]:
    """The rows that confirming adds."""
    return found.rows.filter(CHOSEN).exclude(symbol="")


# A past stay of something that is traded no more is what a list of the past is about.
CHOSEN = (
    Q(decision__in=("", Decision.MEND), group__in=WELCOME)
    | Q(decision__in=("", Decision.MEND), group=Group.DELISTED, left_at__isnull=False)
    | Q(decision=Decision.KEEP, group__in=DECIDABLE)
)


def is_chosen(row: SymbolListRow) -> bool:
    """As `CHOSEN`, of a row in hand."""
    if row.decision == Decision.KEEP:
        return row.group in DECIDABLE
    past = row.group == Group.DELISTED and row.left_at is not None
    return row.decision != Decision.SKIP and (row.group in WELCOME or past)


# --- Deciding ----------------------------------------------------------------------------------------------------


def decide(found: SymbolList, user: User, number: int, decision: str) -> SymbolListRow:
    """Keep a row as it is, leave it out, or (with nothing) take back what was decided. Raises `Gone`, `Malformed`."""
    row = _row(found, user, number)
    if decision == Decision.KEEP and row.group not in DECIDABLE:
        raise Malformed(f"{row.written[:60]} can't be kept as it is. {row.reason}")
    if not decision and row.decision == Decision.MEND:
        row.symbol, row.reason, row.name, row.suggestions = bare(row.written)[:60], "", "", []
        settle(found, [row])
    row.decision = decision
    row.save()
    return row


def mend(found: SymbolList, user: User, number: int, symbol: str) -> SymbolListRow:
    """Take another symbol in place of what was written. Raises `Gone`, and `Malformed` if that is none either."""
    row = _row(found, user, number)
    if row.symbol and row.group == Group.MALFORMED:
        raise Malformed(f"Its symbol is not what is wrong: {row.reason} Mend the file and import it again.")
    if not _mended(found, [(row, symbol)]):
        raise Malformed(f"{symbol[:60]!r} is no symbol. {row.reason}")
    return row


def mend_all(found: SymbolList, user: User, group: str) -> int:
    """Take the first suggestion for all of a group that have one and about which nothing is decided; how many.

    A suggestion that is itself no symbol is dropped, and its row waits for the next one.
    """
    _draft(found, user)
    rows = found.rows.filter(group=group, decision="").exclude(suggestions=[])
    suggested = {row.number: row.suggestions for row in rows}
    taken = _mended(found, [(row, row.suggestions[0]) for row in rows])
    useless = suggested.keys() - {row.number for row in taken}
    for row in (left := list(found.rows.filter(number__in=useless))):
        row.suggestions = suggested[row.number][1:]
    write(left, "suggestions")
    return len(taken)


def decide_all(found: SymbolList, user: User, group: str, decision: str) -> int:
    """Keep or leave out all of a group about which nothing is decided; how many."""
    _draft(found, user)
    rows = found.rows.filter(group=group, decision="")
    return rows.filter(group__in=DECIDABLE).update(decision=decision)


def _mended(found: SymbolList, pairs: Sequence[tuple[SymbolListRow, str]]) -> list[SymbolListRow]:
    """Those of the rows for which another symbol was taken; where that is none either, nothing is stored."""
    rows = []
    for row, symbol in pairs:
        row.symbol, row.reason, row.suggestions = symbol[:60], "", []
        rows.append(row)
    settle(found, rows)
    taken = [row for row in rows if row.group != Group.MALFORMED]
    for row in taken:
        row.decision = Decision.MEND
    _write(taken)
    _settle_twins(found)
    return taken


def _settle_twins(found: SymbolList) -> None:
    """A row that repeated one which means something else now repeats nothing, and must not be lost."""
    twins = list(found.rows.filter(group=Group.DUPLICATE))
    settle(found, twins)
    _write(twins)


def _write(rows: Sequence[SymbolListRow]) -> None:
    write(rows, "symbol", "name", "group", "reason", "suggestions", "decision")


def _row(found: SymbolList, user: User, number: int) -> SymbolListRow:
    _draft(found, user)
    return found.rows.select_for_update().get(number=number)


def _draft(found: SymbolList, user: User) -> None:
    """Whoever decides holds the list, so that it can't be confirmed meanwhile."""
    must_own(found.universe, user)
    if not SymbolList.objects.select_for_update().filter(pk=found.pk, state=SymbolList.State.DRAFT).exists():
        raise Gone("This list has been added meanwhile: it is shown as it is now.")


@transaction.atomic
def reopen(found: SymbolList, user: User) -> bool:
    """A list that was undone becomes a draft again, with what was decided about it; False if it is none."""
    must_own(found.universe, user)
    undone = SymbolList.objects.filter(pk=found.pk, state=SymbolList.State.UNDONE)
    if not undone.update(state=SymbolList.State.DRAFT, undone_at=None, added_at=None):
        return False
    found.refresh_from_db()
    found.rows.update(outcome="", trace=None)
    rows = list(found.rows.exclude(group=Group.MALFORMED))
    settle(found, rows)
    _write(rows)
    return True


# --- Asking ------------------------------------------------------------------------------------------------------


def waiting(found: SymbolList) -> QuerySet[SymbolListRow]:
    """The rows that nobody has been asked about yet."""
    return found.rows.filter(group=Group.PENDING)


def symbols_waiting(found: SymbolList) -> list[str]:
    """Their symbols, each once, in the order of the list."""
    return list(dict.fromkeys(waiting(found).order_by("number").values_list("symbol", flat=True)))


@transaction.atomic
def suggest(found: SymbolList, symbols: Sequence[str]) -> None:
    """Look for what may have been meant by these, of rows that wait: that need not wait for any provider."""
    rows = list(waiting(found).select_for_update().filter(symbol__in=symbols, suggestions=[]))
    _suggest(rows)
    write(rows, "suggestions")


@transaction.atomic
def told(found: SymbolList, answers: Iterable[verdicts.Answer]) -> None:
    """Store what was found out, of rows that still wait for it: somebody may have decided meanwhile."""
    by_symbol = {answer.written: answer for answer in answers}
    rows = list(waiting(found).select_for_update().filter(symbol__in=by_symbol))
    _apply(found, [(row, by_symbol[row.symbol]) for row in rows])
    _write(rows)


def purge() -> int:
    """Remove the lists of more than a week ago, whatever became of them; how many."""
    with tenancy.as_system("purge old lists"):
        old = SymbolList.objects.filter(created_at__lt=timezone.now() - KEPT)
        count = old.count()
        old.delete()
    return count


# --- Many rows in one statement ----------------------------------------------------------------------------------

# With one JSON parameter, thousands of rows take a tenth of what `bulk_create` and `bulk_update` do with one a value.
_KINDS = {
    "number": "int", "line": "int", "written": "text", "symbol": "text", "name": "text", "joined_at": "timestamptz",
    "left_at": "timestamptz", "note": "text", "tags": "text[]", "position": "int", "group": "text", "reason": "text",
    "suggestions": "text[]", "decision": "text", "outcome": "text", "trace": "jsonb",
}  # fmt: skip


def insert(rows: Sequence[SymbolListRow]) -> None:
    """Store new rows, all of one list."""
    if rows:
        columns = ", ".join(f'"{name}"' for name in _KINDS)
        statement = f"""
            INSERT INTO universes_symbollistrow (symbol_list_id, owner_id, {columns})
            SELECT %s, %s, {columns} FROM json_to_recordset(%s) AS given ({_kinds(_KINDS)})
        """  # noqa: S608
        _execute(statement, [rows[0].symbol_list_id, rows[0].owner_id, _json(rows, _KINDS)])


def write(rows: Sequence[SymbolListRow], *names: str) -> None:
    """Store these fields of rows that are stored, all of one list."""
    if rows:
        told = ", ".join(f'"{name}" = given."{name}"' for name in names)
        statement = f"""
            UPDATE universes_symbollistrow kept SET {told}
            FROM json_to_recordset(%s) AS given ({_kinds(("number", *names))})
            WHERE kept.symbol_list_id = %s AND kept.number = given.number
        """  # noqa: S608
        _execute(statement, [_json(rows, ("number", *names)), rows[0].symbol_list_id])


def _kinds(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}" {_KINDS[name]}' for name in names)


def _json(rows: Sequence[SymbolListRow], names: Iterable[str]) -> str:
    wanted = tuple(names)
    return orjson.dumps([{name: getattr(row, name) for name in wanted} for row in rows]).decode()


def _execute(statement: str, values: list[str | int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
