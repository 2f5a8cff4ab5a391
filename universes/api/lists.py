"""Long lists with typing errors: brought, looked at, mended, added, taken back. The same verbs as on the pages."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from django.conf import settings
from django.db.models import Count, QuerySet
from ninja import Path, Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.envelope import NextAction, Refused, answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.jobs import BudgetSpent
from chronos.core.models import Job
from chronos.core.paging import Paged, page_of
from universes import jobs
from universes.api.common import Id
from universes.lists import adding, drafts, parsing, reading
from universes.loading import owned
from universes.models import SymbolList, SymbolListRow

router = Router()
ListId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="The line's place in the list, from 1.")]
State, Group, Decision = SymbolList.State, SymbolListRow.Group, SymbolListRow.Decision
_GROUPS = Literal["new", "unknown", "delisted", "malformed", "pending", "unverified", "already", "duplicate"]
_MENDABLE = (Group.UNKNOWN, Group.UNVERIFIED)


class ListOut(Schema):
    """A list that was brought to a universe: a draft until it is confirmed, kept for a week for its undo."""

    id: int
    universe_id: int
    source: str
    state: Literal["draft", "adding", "done", "undone"]
    lines: int
    groups: dict[str, int] = Field(
        description="Of a draft, lines by what is known of them: `new`, `already` (a member), `duplicate`, `unknown`,"
        " `delisted`, `malformed`, `pending` (being looked up), `unverified` (nobody could be asked)."
    )
    outcomes: dict[str, int] = Field(description="Once added: lines by what became of them.")
    would_add: int = Field(description="Lines that confirming adds, as things stand.")
    remarks: list[str] = Field(description="What was remarkable about the text.")
    beyond: int = Field(description=f"Lines passed over, because a list has at most {parsing.SYMBOLS}.")
    job_id: int | None = Field(description="The job that is at work on it.")
    created_at: AwareDatetime
    added_at: AwareDatetime | None
    undone_at: AwareDatetime | None


class ListRow(Schema):
    """One line of a list."""

    number: int = Field(description="Its place in the list, from 1.")
    line: int = Field(description="The line of the text that it stands in.")
    written: str
    symbol: str = Field(description="What it is taken for.")
    name: str
    joined_at: AwareDatetime | None
    left_at: AwareDatetime | None
    note: str
    tags: list[str]
    group: str
    decision: Literal["", "keep", "skip", "mend"] = Field(description="What you decided about it; empty: nothing.")
    outcome: str = Field(description="What became of it, once the list is added.")
    reason: str
    suggestions: list[str] = Field(description="What may have been meant, the likeliest first.")
    would_be_added: bool


class ListIn(Schema):
    text: str = Field(
        min_length=1, max_length=5_000_000, examples=["NVDA, MSFTT\nGOGL", "symbol,joined\nGE,2015-01-01"],
        description="Symbols separated by anything, or CSV with a heading (symbol, joined, left, note, tags).",
    )  # fmt: skip
    source: str = Field("", max_length=100, description="What to call it.")


@router.post("/universes/{universe_id}/lists", response=answers(ListOut, 201), tags=["lists"])
def create_list(request: Signed, universe_id: Id, given: ListIn) -> Any:
    """Bring a long list: it is read and looked at, and nothing is added before you confirm it.

    What nobody here knows is looked up by a job; meanwhile mend or leave out the others.
    """
    user, found = request.user, owned(request, universe_id)
    brought = drafts.keep(found, user, parsing.parse_text(given.text), given.source or "Sent by a program")
    return _answer(request, brought, _asked(request, brought), status=201)


def _asked(request: Signed, found: SymbolList) -> str:
    """Have providers asked for what nobody here knows; why they are not, if so."""
    if not drafts.waiting(found).exists():
        return ""
    try:
        seconds = jobs.validate_list(found, request.user)
        why = f"{figures.counted(settings.VALIDATION_REQUESTS_PER_MINUTE, 'request')} a minute are looked up."
    except BudgetSpent as spent:  # what is known here can be looked at and added all the same
        seconds, why = spent.seconds, str(spent)
    return f" Providers are not asked yet: {why} Use ask_list in {seconds} s." if seconds else ""


def _answer(request: Signed, found: SymbolList, more: str = "", *, status: int = 200) -> Any:
    told = _told(request, found)
    if found.state == State.DRAFT:
        lines = figures.counted(told["lines"], "line")
        words = f"{figures.counted(told['would_add'], 'symbol')} of {lines} would be added."
    elif found.state == State.DONE:
        words = adding.sentence(told["outcomes"])
    else:
        words = "It is being added." if found.state == State.ADDING else "What it added was taken back."
    return said(told, words + more, _next(found, told), status=status)


def _told(request: Signed, found: SymbolList) -> dict[str, Any]:
    return _all_told(request, [found])[0]


def _all_told(request: Signed, lists: Sequence[SymbolList]) -> list[dict[str, Any]]:
    """Lists as the API shows them: a handful of queries, however many they are."""
    rows = SymbolListRow.objects.filter(symbol_list__in=[found.pk for found in lists]).order_by()
    lines = dict(rows.values_list("symbol_list").annotate(many=Count("pk")))
    groups, outcomes = _by_list(rows, "group"), _by_list(rows.exclude(outcome=""), "outcome")
    chosen = dict(rows.filter(drafts.CHOSEN).exclude(symbol="").values_list("symbol_list").annotate(many=Count("pk")))
    about = Job.objects.of(request.user).unfinished().order_by("pk")
    working = about.filter(subject_url__in=[found.get_absolute_url() for found in lists])
    at_work = dict(working.values_list("subject_url", "pk"))  # of several the newest
    own = ("universe_id", "source", "state", "remarks", "beyond", "created_at", "added_at", "undone_at")
    return [
        {name: getattr(found, name) for name in own}
        | {
            "id": found.pk,
            "lines": lines.get(found.pk, 0),
            "groups": groups[found.pk] if found.state == State.DRAFT else {},
            "outcomes": outcomes[found.pk],
            "would_add": chosen.get(found.pk, 0) if found.state == State.DRAFT else 0,
            "job_id": at_work.get(found.get_absolute_url()),
        }
        for found in lists
    ]


def _by_list(rows: QuerySet[SymbolListRow], column: str) -> defaultdict[int, dict[str, int]]:
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for pk, value, many in rows.values_list("symbol_list", column).annotate(many=Count("pk")):
        found[pk][value] = many
    return found


def _next(found: SymbolList, told: dict[str, Any]) -> list[NextAction]:
    """What fits the state it is in; of a draft first what wants a decision."""
    names = {"universe_id": found.universe_id, "list_id": found.pk}
    if told["job_id"]:
        return [then("get_job", "See how far it is.", job_id=told["job_id"]), then("get_list", "Look again.", **names)]
    if found.state == State.DONE:
        return [
            then("undo_list", "Take back what it added, and nothing else.", **names),
            then("backfill_universe", "Fetch the members' history.", universe_id=found.universe_id, timeframe="1d"),
        ]
    if found.state == State.UNDONE:
        return [then("reopen_list", "Make it a draft again.", **names)]
    if found.state == State.ADDING:
        return [then("confirm_list", "Add the rest: it was broken off.", **names)]
    doubtful = [group for group in (Group.UNKNOWN, Group.DELISTED, Group.MALFORMED) if told["groups"].get(group)]
    actions = [then("list_rows", f"See the lines that are {group}.", group=group.value, **names) for group in doubtful]
    actions += [
        then(
            "decide_list",
            f"Take the first suggestion for each that is {group}.",
            group=group.value,
            decision="mend",
            **names,
        )
        for group in _MENDABLE
        if told["groups"].get(group)
    ]
    return [*actions, then("confirm_list", "Add it as it stands.", **names)]


def _loaded(request: Signed, universe_id: int, list_id: int) -> SymbolList:
    """The one loader: a list of one's own, of this universe."""
    universe = owned(request, universe_id)
    found = universe.lists.filter(pk=list_id).first()
    if found is None:
        raise missing(f"There is no list {list_id} in {universe.name}; lists are kept for {drafts.KEPT.days} days.",
                      "Look at list_lists.")  # fmt: skip
    found.universe = universe
    return found


class ListsWanted(Paged):
    order: Literal["-id", "id"] = Field("-id", description="`-id`: the newest first.")


@router.get("/universes/{universe_id}/lists", response=answers(list[ListOut]), tags=["lists"])
def list_lists(request: Signed, universe_id: Id, wanted: Query[ListsWanted]) -> Any:
    """The lists that you brought to a universe within the last week."""
    found = owned(request, universe_id)
    page = page_of(found.lists.all(), wanted, wanted.order, {"-id": ("-id",), "id": ("id",)})
    for brought in page.rows:
        brought.universe = found
    actions = [then("get_list", "Look at one.", universe_id=found.pk, list_id=page.rows[0].pk)] if page.rows else []
    words = f"{page.counted('list')} of {found.name}."
    return said(_all_told(request, page.rows), words, actions, next_cursor=page.next_cursor)


@router.get("/universes/{universe_id}/lists/{list_id}", response=answers(ListOut), tags=["lists"])
def get_list(request: Signed, universe_id: Id, list_id: ListId) -> Any:
    """One list: what is known of its lines, or what became of them."""
    return _answer(request, _loaded(request, universe_id, list_id))


class RowsWanted(Paged):
    group: _GROUPS | Literal[""] = Field("", description="Only lines of this group.")
    outcome: str = Field("", max_length=9, description="Only lines that became this.")
    order: Literal["number", "-number"] = "number"


@router.get("/universes/{universe_id}/lists/{list_id}/rows", response=answers(list[ListRow]), tags=["lists"])
def list_rows(request: Signed, universe_id: Id, list_id: ListId, wanted: Query[RowsWanted]) -> Any:
    """The lines of a list, with what they are taken for and what may have been meant."""
    found = _loaded(request, universe_id, list_id)
    rows = found.rows.all()
    if wanted.group:
        rows = rows.filter(group=wanted.group)
    if wanted.outcome:
        rows = rows.filter(outcome=wanted.outcome)
    page = page_of(rows, wanted, wanted.order, {"number": ("number",), "-number": ("-number",)})
    names = {"universe_id": found.universe_id, "list_id": found.pk}
    actions = [
        then("decide_row", f"Take {row.suggestions[0]} for {row.written[:60]}.", number=row.number,
             symbol=row.suggestions[0], **names)
        for row in page.rows if found.state == State.DRAFT and _is_to_mend(row)
    ][:5]  # fmt: skip
    words = f"{page.counted('line')} of the list."
    return said([_row(row) for row in page.rows], words, actions or [then("get_list", "See it whole.", **names)],
                next_cursor=page.next_cursor)  # fmt: skip


def _is_to_mend(row: SymbolListRow) -> bool:
    return bool(row.suggestions) and not row.decision and row.group in _MENDABLE


def _row(row: SymbolListRow) -> dict[str, Any]:
    own = ("number", "line", "written", "symbol", "name", "joined_at", "left_at", "note", "tags", "group", "decision",
           "outcome", "reason", "suggestions")  # fmt: skip
    return {name: getattr(row, name) for name in own} | {
        "would_be_added": not row.outcome and bool(row.symbol) and drafts.is_chosen(row)
    }


class RowDecision(Schema):
    decision: Literal["keep", "skip", ""] | None = Field(
        None, description="`keep`: add it as it is; `skip`: leave it out; empty: take back what was decided."
    )
    symbol: str = Field("", max_length=200, description="Or the symbol that is meant instead.")


@router.patch("/universes/{universe_id}/lists/{list_id}/rows/{number}", response=answers(ListRow), tags=["lists"])
def decide_row(request: Signed, universe_id: Id, list_id: ListId, number: Number, given: RowDecision) -> Any:
    """Decide about one line of a draft: the symbol that is meant, kept as it is, or left out."""
    found = _loaded(request, universe_id, list_id)
    if not found.rows.filter(number=number).exists():
        raise missing(f"The list has no line {number}.", "Look at list_rows.")
    if given.symbol.strip():
        row = drafts.mend(found, request.user, number, given.symbol.strip())
    elif given.decision is not None:
        row = drafts.decide(found, request.user, number, given.decision)
    else:
        raise Refused("invalid", "Neither a decision nor a symbol is given.", "Give one of the two.", field="body")
    waits = _asked(request, found) if row.group == Group.PENDING else ""
    names = {"universe_id": found.universe_id, "list_id": found.pk}
    fate = "would be added" if drafts.is_chosen(row) else "is left out"
    return said(_row(row), f"{row.written[:60]} is taken for {row.symbol or 'nothing'}, and {fate}.{waits}",
                [then("get_list", "See the list now.", **names), then("confirm_list", "Add it.", **names)])  # fmt: skip


class GroupDecision(Schema):
    group: _GROUPS
    decision: Literal["mend", "keep", "skip"] = Field(
        description="About all lines of the group that have none: `mend`: their first suggestion; `keep`; `skip`."
    )


@router.post("/universes/{universe_id}/lists/{list_id}/decide", response=answers(ListOut), tags=["lists"])
def decide_list(request: Signed, universe_id: Id, list_id: ListId, given: GroupDecision) -> Any:
    """One decision about all lines of a group that have none."""
    found = _loaded(request, universe_id, list_id)
    if given.decision == "mend":
        many = drafts.mend_all(found, request.user, given.group)
        words = f" {figures.counted(many, 'first suggestion')} taken."
    else:
        many = drafts.decide_all(found, request.user, given.group, given.decision)
        words = f" {figures.counted(many, 'line')} {'kept as written' if given.decision == 'keep' else 'left out'}."
    return _answer(request, found, words + _asked(request, found))


@router.post("/universes/{universe_id}/lists/{list_id}/ask", response=answers(ListOut), tags=["lists"])
def ask_list(request: Signed, universe_id: Id, list_id: ListId) -> Any:
    """Have providers asked for what is left, after that was stopped, or was too often at first."""
    found = _loaded(request, universe_id, list_id)
    return _answer(request, found, _asked(request, found))


@router.post("/universes/{universe_id}/lists/{list_id}/confirm", response=answers(ListOut), tags=["lists"])
def confirm_list(request: Signed, universe_id: Id, list_id: ListId) -> Any:
    """Add it: at once if it is short, else as a job. Sent twice it is added once."""
    found, user = _loaded(request, universe_id, list_id), request.user
    begun = adding.confirm(found, user)
    if found.state == State.ADDING:  # begun now, or broken off before: either way the rest is to be added
        if begun and adding.remaining(found).count() <= adding.IN_A_REQUEST:
            adding.add_all(found, user)
        else:
            jobs.add_list(found, user)
    return _answer(request, found)


@router.post("/universes/{universe_id}/lists/{list_id}/undo", response=answers(ListOut), tags=["lists"])
def undo_list(request: Signed, universe_id: Id, list_id: ListId) -> Any:
    """Take back what it added, and nothing else: what was changed since stays."""
    found = _loaded(request, universe_id, list_id)
    undone = adding.undo(found, request.user)
    if undone is None:
        return _answer(request, found, " There is nothing to take back: it was not added, or was taken back before.")
    kept = f" {figures.counted(len(undone.kept), 'member')} changed since, and stay." if undone.kept else ""
    return _answer(request, found, kept)


@router.post("/universes/{universe_id}/lists/{list_id}/reopen", response=answers(ListOut), tags=["lists"])
def reopen_list(request: Signed, universe_id: Id, list_id: ListId) -> Any:
    """Make a list that was taken back a draft again, with what was decided about it."""
    found = _loaded(request, universe_id, list_id)
    if not drafts.reopen(found, request.user):
        raise Refused("not_undone", "Only a list that was taken back can be opened again.", "Use undo_list first.",
                      status=409)  # fmt: skip
    return _answer(request, found, _asked(request, found))


REFUSED: dict[type[Exception], tuple[int, str, str]] = {
    reading.Unreadable: (422, "invalid", "Send text with symbols, or CSV with a heading."),
    drafts.Gone: (409, "added_already", "Look at the list with get_list."),
}
