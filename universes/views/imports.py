"""Lists brought to a universe: pasted or uploaded, looked at, added, taken back."""

from datetime import datetime, time
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chronos.core import activity, figures
from chronos.core.hypermedia import Signed, page, wants_part
from chronos.core.models import Job
from marketdata.views import paged, searched
from universes import jobs
from universes.catalogue import UNDO, Malformed
from universes.lists import adding, drafts, parsing, reading
from universes.loading import owned
from universes.models import SymbolList, SymbolListRow, Universe

A_PAGE = 50
SHOWN_BEFORE = 10  # lists brought before
State, Group, Outcome, Decision = SymbolList.State, SymbolListRow.Group, SymbolListRow.Outcome, SymbolListRow.Decision

_EXAMPLE = "NVDA, MSFT, BTC-USDT\n\nor with columns:\nsymbol,joined,left\nAAPL,2015-03-19,\nGE,1907-11-07,2018-06-26"
# The tabs of a draft: first what wants a decision.
_GROUPS = (Group.UNKNOWN, Group.DELISTED, Group.MALFORMED, Group.PENDING, Group.UNVERIFIED, Group.NEW, Group.ALREADY,
           Group.DUPLICATE)  # fmt: skip
_TO_MEND = (Group.UNKNOWN, Group.UNVERIFIED)  # all at once; one by one also what is being looked up
_DOUBTFUL = (Group.UNKNOWN, Group.UNVERIFIED, Group.PENDING)
_SAYS = {
    Group.NEW: "Symbols that a provider, the symbol master or this house knows. They are added.",
    Group.UNKNOWN: "Nobody knows these. They are left out, unless you take a suggestion, write them right, or keep"
    " them as they are.",
    Group.DELISTED: "Once traded, and known to providers no more. They are left out, unless you keep them or the list"
    " tells when they left.",
    Group.MALFORMED: "What stands here can't be a symbol, or its dates can't be. Write it right, or leave it out.",
    Group.PENDING: "Providers are being asked. You need not wait: they are added, and settle by themselves.",
    Group.UNVERIFIED: "No provider could be asked about these. They are added, and the next refresh finds out.",
    Group.ALREADY: "Members of this universe already. Nothing changes for them.",
    Group.DUPLICATE: "Said by another line of the list, too.",
}


# --- Bringing one ------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def import_list(request: Signed, pk: int) -> HttpResponse:
    """Paste or upload a list. What can't be read is said beside what was written, which stays."""
    found = owned(request, pk)
    if request.method != "POST":
        return _form(request, found)
    text, file = request.POST.get("text", ""), request.FILES.get("file")
    try:
        parsed, source = _read(text, file)
    except reading.Unreadable as error:
        return _form(request, found, text=text, error=str(error), of_file=file is not None)
    brought = drafts.keep(found, request.user, parsed, source)
    _tell(request, _ask(request, brought))
    return redirect(brought)


def _ask(request: Signed, found: SymbolList) -> str:
    """Have providers asked for what nobody here knows, if there is anything; or why they are not."""
    if drafts.waiting(found).exists() and (seconds := jobs.validate_list(found, request.user)):
        most = figures.counted(settings.VALIDATION_REQUESTS_PER_MINUTE, "request")
        return f"Providers are not asked yet: {most} a minute are looked up. Ask again in {seconds} s."
    return ""


def _tell(request: Signed, words: str) -> None:
    """On the whole page that comes next; a part says it itself, or some later page would."""
    if words:
        messages.info(request, words)


def _read(text: str, file: "UploadedFile[Any] | None") -> tuple[parsing.Parsed, str]:
    if file is not None and text.strip():
        raise reading.Unreadable("There is a file, and something is pasted as well. Take one of them out.")
    if file is not None:
        name = " ".join((file.name or "The file").split())[:60]
        return parsing.parse_file(name, file.size or 0, file), name
    return parsing.parse_text(text), "Pasted list"


def _form(request: Signed, found: Universe, *, text: str = "", error: str = "", of_file: bool = False) -> HttpResponse:
    before = [
        {
            "url": brought.get_absolute_url(),
            "source": brought.source,
            "state": brought.state,
            "label": brought.get_state_display(),
            "when": figures.ago(brought.created_at),
            "at": f"{figures.moment(brought.created_at)} UTC",
        }
        for brought in found.lists.all()[:SHOWN_BEFORE]
    ]
    context = {
        "universe": found,
        "text": text,
        "error": error,
        "of_file": of_file,
        "before": before,
        "example": _EXAMPLE,
        "biggest": reading.BIGGEST,
        "biggest_mb": reading.BIGGEST // 2**20,
        "most": figures.integer(parsing.SYMBOLS),
        "kept_days": drafts.KEPT.days,
    }
    return page(request, "universes/import.html", context, status=422 if error else 200)


# --- Looking at it -----------------------------------------------------------------------------------------------


def _loaded(request: Signed, pk: int, list_pk: int) -> SymbolList:
    """The one loader: a list of one's own, of this universe."""
    found = owned(request, pk)
    brought = found.lists.filter(pk=list_pk).first()
    if brought is None:
        raise Http404(f"There is no list {list_pk} here. Lists are kept for {drafts.KEPT.days} days.")
    brought.universe = found
    return brought


@require_safe
def symbol_list(request: Signed, pk: int, list_pk: int) -> HttpResponse:
    """A list: while it is a draft with what is known of each row, then what became of it."""
    found = _loaded(request, pk, list_pk)
    settling = request.GET.get("part") == "tabs" and found.state == State.DRAFT
    part = "settling" if settling else "list"
    return page(request, "universes/list.html", _context(request, found) | {"settling": settling}, part=part)


def _context(request: Signed, found: SymbolList) -> dict[str, Any]:
    draft = found.state == State.DRAFT
    job = _job(request, found)
    context: dict[str, Any] = {
        "universe": found.universe,
        "list": found,
        "url": found.get_absolute_url(),
        "job": job,
        "draft": draft,
        "total": figures.counted(found.rows.count(), "line"),
        "search": searched(request),
        "remarks": found.remarks,
        "beyond": figures.integer(found.beyond) if found.beyond else "",
        "most": figures.integer(parsing.SYMBOLS),
    }
    if draft:
        return context | _draft(request, found)
    return context | _report(request, found, unfinished=job is not None)


def _job(request: Signed, found: SymbolList) -> dict[str, Any] | None:
    """The job that is at work on the list."""
    about = Job.objects.of(request.user).unfinished().filter(subject_url=found.get_absolute_url())
    job = about.order_by("-pk").first()
    return activity.row(job) if job else None


def _draft(request: Signed, found: SymbolList) -> dict[str, Any]:
    many = drafts.counts(found)
    present = [group for group in _GROUPS if many.get(group)]
    shown = request.GET.get("show", "")
    group = Group(shown) if shown in _GROUPS else (present or [Group.NEW])[0]
    rows = found.rows.filter(group=group)
    return _page_of(request, rows) | _tabs(found, group, many)


def _tabs(found: SymbolList, group: str, many: dict[str, int]) -> dict[str, Any]:
    """The groups with how many rows each has, what can be decided of this one, and how many rows confirming adds."""
    chosen = drafts.chosen(found).count()
    undecided = found.rows.filter(group=group, decision="")
    return {
        "group": group,
        "says": _SAYS[Group(group)],
        "suggested": undecided.exclude(suggestions=[]).count() if group in _TO_MEND else 0,
        "undecided": undecided.count() if group in drafts.DECIDABLE else 0,
        "usually_in": group in drafts.WELCOME,
        "tabs": [
            {"value": each.value, "label": each.label, "count": figures.integer(many[each]), "current": each == group}
            for each in _GROUPS
            if many.get(each)
        ],
        "chosen": chosen,
        "idle": group == Group.PENDING,
        "adds": figures.counted(chosen, "symbol"),
        "stays_out": figures.integer(sum(many.values()) - chosen),
    }


def _report(request: Signed, found: SymbolList, *, unfinished: bool) -> dict[str, Any]:
    many = adding.report(found)
    present = [outcome for outcome in Outcome if many.get(outcome)]
    shown = request.GET.get("show", "")
    outcome = Outcome(shown) if shown in many else (present or [Outcome.ADDED])[0]
    rows = found.rows.filter(outcome=outcome)
    kept = found.rows.filter(trace__isnull=False).count() if found.state == State.UNDONE else 0
    recent = found.added_at is not None and timezone.now() - found.added_at < UNDO
    return _page_of(request, rows) | {
        "tabs": [
            {
                "value": each.value,
                "label": _label(found, each),
                "count": figures.integer(many[each]),
                "current": each == outcome,
            }
            for each in present
        ],
        "headline": _headline(found, many, kept),
        "running": found.state == State.ADDING and unfinished,
        "goes_in": figures.counted(drafts.chosen(found).count(), "symbol"),
        "in_short": f"{figures.counted(many.get(Outcome.ADDED, 0), 'symbol')} added.",
        "stopped": found.state == State.ADDING and not unfinished,
        "remaining": figures.integer(adding.remaining(found).count()) if found.state == State.ADDING else "",
        "undoable": found.state == State.DONE or (found.state == State.ADDING and not unfinished),
        "just_now": recent
        and found.state == State.DONE
        and bool(many.get(Outcome.ADDED) or many.get(Outcome.EXTENDED)),
        "when": figures.ago(found.undone_at or found.added_at) if found.undone_at or found.added_at else "",
        "kept": figures.counted(kept, "member") if kept else "",
    }


def _label(found: SymbolList, outcome: SymbolListRow.Outcome) -> str:
    """What an undo took back was once added."""
    return "Taken back" if outcome == Outcome.ADDED and found.state == State.UNDONE else outcome.label


def _headline(found: SymbolList, many: dict[str, int], kept: int) -> str:
    if found.state == State.UNDONE:
        taken = figures.counted(many.get(Outcome.ADDED, 0) + many.get(Outcome.EXTENDED, 0) - kept, "addition")
        return f"{taken} taken back."
    return adding.sentence(many)


def _page_of(request: Signed, rows: QuerySet[SymbolListRow]) -> dict[str, Any]:
    if text := searched(request):
        rows = rows.filter(Q(written__icontains=text) | Q(symbol__icontains=text) | Q(name__icontains=text))
    pager, window = paged(request, rows.count(), A_PAGE)
    return {"rows": [_row(row) for row in rows.order_by("number")[window]], **pager}


def _row(row: SymbolListRow) -> dict[str, Any]:
    """A row as it is shown: what was written, what it is taken for, what happens to it, what can be done."""
    malformed = row.group == Group.MALFORMED
    return {
        "number": row.number,
        "line": row.line,
        "written": row.written,
        "long": len(row.written) > 60,
        "symbol": row.symbol if row.symbol and row.symbol != row.written.upper() else "",
        "name": row.name,
        "joined": _day(row.joined_at),
        "left": _day(row.left_at),
        "note": row.note,
        "tags": row.tags,
        "reason": row.reason,
        "suggestions": row.suggestions[:3] if row.decision == "" else [],
        "decision": row.decision,
        "decided": row.get_decision_display() if row.decision else "",
        "chosen": not row.outcome and drafts.is_chosen(row),
        "can_keep": row.group in (Group.UNKNOWN, Group.DELISTED) and row.decision == "",
        "can_skip": not malformed and row.decision == "" and drafts.is_chosen(row),
        "can_mend": row.decision == "" and (row.group in _DOUBTFUL or (malformed and not row.symbol)),
        "group": row.group,
        "fate": _fate(row),
    }


def _fate(row: SymbolListRow) -> str:
    if drafts.is_chosen(row):
        return "is added, unverified" if row.group in (Group.UNKNOWN, Group.UNVERIFIED) else "is added"
    return {Group.ALREADY: "is in already", Group.DUPLICATE: "stands twice"}.get(Group(row.group), "is left out")


def _day(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return f"{moment:%Y-%m-%d}" if moment.time() == time() else f"{moment:%Y-%m-%d %H:%M}"


# --- Deciding ----------------------------------------------------------------------------------------------------


@require_POST
def decide_row(request: Signed, pk: int, list_pk: int, row: int) -> HttpResponse:
    """Take another symbol for a row, keep it, leave it out, or take that back. The answer is the row as it is now."""
    found = _loaded(request, pk, list_pk)
    before = found.rows.filter(number=row).first()
    if before is None:
        raise Http404(f"The list has no row {row}.")
    problem, symbol = "", request.POST.get("use") or request.POST.get("symbol", "").strip()
    decision = request.POST.get("decision", "")
    try:
        if "decision" in request.POST and decision in ("", Decision.KEEP, Decision.SKIP):
            after = drafts.decide(found, request.user, row, decision)
        elif symbol:
            after = drafts.mend(found, request.user, row, symbol[:200])
        else:
            raise Malformed("Write the symbol that is meant.")
    except Malformed as error:
        after, problem = before, str(error)
        after.refresh_from_db()
    except drafts.Gone as error:
        return _gone(request, found, error)
    waits = _ask(request, found) if after.group == Group.PENDING else ""
    if not wants_part(request):
        _tell(request, waits)
        if problem:
            messages.error(request, problem)
        return redirect(f"{found.get_absolute_url()}?show={before.group}")
    said = {"reason": waits or after.reason, "problem": problem, "tried": symbol[:60] if problem else ""}
    context = {
        "row": _row(after) | said,
        "draft": True,
        "list": found,
        "universe": found.universe,
        "url": found.get_absolute_url(),
        "job": _job(request, found),
        "changed": True,
    }
    context |= _tabs(found, before.group, drafts.counts(found))
    return page(request, "universes/list.html", context, part="decided", status=422 if problem else 200)


@require_POST
def decide_group(request: Signed, pk: int, list_pk: int) -> HttpResponse:
    """One decision about all rows of a group that have none: their first suggestions, kept, or left out."""
    found = _loaded(request, pk, list_pk)
    decision, group = request.POST.get("decision", ""), request.POST.get("group", "")
    try:
        if decision == Decision.MEND and group in Group.values:
            many = drafts.mend_all(found, request.user, group)
            told = f"{figures.counted(many, 'first suggestion')} taken."
        elif decision in (Decision.KEEP, Decision.SKIP) and group in Group.values:
            many = drafts.decide_all(found, request.user, group, decision)
            told = f"{figures.counted(many, 'line')} {'kept as written' if decision == Decision.KEEP else 'left out'}."
        else:
            told = "Nothing was chosen, so nothing has changed."
    except drafts.Gone as error:
        return _gone(request, found, error)
    waits = _ask(request, found)
    if not wants_part(request):
        _tell(request, waits)
        messages.success(request, told)
        return redirect(f"{found.get_absolute_url()}?show={group}" if group in Group.values else found)
    found.refresh_from_db()
    context = _context(request, found) | {"told": f"{told} {waits}".strip()}
    return page(request, "universes/list.html", context, part="list")


def _gone(request: Signed, found: SymbolList, error: drafts.Gone) -> HttpResponse:
    """The list was added in the meantime, in another window: it is shown as it is."""
    messages.info(request, str(error))
    if wants_part(request):
        return HttpResponse(headers={"HX-Redirect": found.get_absolute_url()})
    return redirect(found)


# --- Adding and taking back --------------------------------------------------------------------------------------


@require_POST
def ask_list(request: Signed, pk: int, list_pk: int) -> HttpResponse:
    """Have providers asked for what is left, after that was stopped, or was too often at first."""
    found = _loaded(request, pk, list_pk)
    _tell(request, _ask(request, found))
    return redirect(f"{found.get_absolute_url()}?show={Group.PENDING.value}")


@require_POST
def confirm_list(request: Signed, pk: int, list_pk: int) -> HttpResponse:
    """Add it: at once if it is short, else as a job. Whoever sends this twice adds once."""
    found = _loaded(request, pk, list_pk)
    begun = adding.confirm(found, request.user)
    if found.state == State.ADDING:  # begun now, or broken off before: either way the rest is to be added
        if begun and adding.remaining(found).count() <= adding.IN_A_REQUEST:
            adding.add_all(found, request.user)
        else:
            jobs.add_list(found, request.user)
    return redirect(found)


@require_POST
def undo_list(request: Signed, pk: int, list_pk: int) -> HttpResponse:
    """Take back what it added, and nothing else."""
    found = _loaded(request, pk, list_pk)
    undone = adding.undo(found, request.user)
    if undone is None:
        messages.info(request, "There is nothing to take back: it has not been added, or was taken back before.")
    return redirect(found)


@require_POST
def reopen_list(request: Signed, pk: int, list_pk: int) -> HttpResponse:
    """Look at a list again that was taken back, with all that was decided about it."""
    found = _loaded(request, pk, list_pk)
    if not drafts.reopen(found, request.user):
        messages.info(request, "Only a list that was taken back can be looked at again.")
    return redirect(found)
