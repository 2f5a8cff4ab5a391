"""One universe with its members as a table, and adding and removing them."""

import csv
import io
from datetime import UTC, datetime, time
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.text import slugify
from django.views.decorators.http import require_POST, require_safe

from chronos.core import activity, figures
from chronos.core.hypermedia import Signed, page, wants_part
from chronos.core.models import Job
from marketdata.forms import BackfillForm
from marketdata.views import heading
from universes import columns, membership, table
from universes.forms import SymbolsForm
from universes.loading import owned, seen
from universes.models import Universe
from universes.table import Table, Wish
from universes.views import cells

OWN_COLUMNS, LAST_COLUMNS = "chronos_columns_own", "chronos_columns"  # cookies: of this universe, of whichever was last
COMPARED = ("compare", "span", "scale", "weigh")  # what the comparison above the table is made by
FOLDED = "chronos_compare"  # a cookie: whether it is folded away
A_YEAR = 365 * 24 * 3600


@require_safe
def universe(request: Signed, pk: int) -> HttpResponse:
    """A universe and its members, as they are now or were on the day `at`. All that is chosen is in the address."""
    found = seen(request, pk)
    _keep_comparison(request, found)
    at, problem = moment(request)
    if problem:
        messages.error(request, problem)
    response = members_page(request, found, at=at)
    if wants_part(request) and request.htmx.trigger != "rows":  # which asks for itself again when a job has ended
        typed = request.htmx.trigger == "find"
        response.headers["HX-Replace-Url" if typed else "HX-Push-Url"] = address(request, found)
    _remember(request, found, response)
    return response


def moment(request: HttpRequest) -> tuple[datetime | None, str]:
    """The end of the day `at`, by UTC; or what is wrong with it."""
    text = request.GET.get("at", "")
    if not text:
        return None, ""
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        return None, f"{text[:40]} is not a date; write it as 2024-03-08. Members as they are now:"
    return datetime.combine(day, time.max, UTC), ""


# --- What is chosen, and where that is kept ----------------------------------------------------------------------


def _usual(request: HttpRequest) -> list[str]:
    """The columns last chosen here, else those last chosen anywhere, by this browser."""
    kept = request.COOKIES.get(OWN_COLUMNS) or request.COOKIES.get(LAST_COLUMNS) or ""
    return kept[:500].split(".")


def _remember(request: HttpRequest, found: Universe, response: HttpResponse) -> None:
    if "cols" not in request.GET:
        return
    kept = ".".join(column.key for column in table.wish(request.GET).columns)
    for name, path in ((OWN_COLUMNS, found.get_absolute_url()), (LAST_COLUMNS, "/universes/")):
        response.set_cookie(name, kept, max_age=A_YEAR, path=path, samesite="Lax")


def as_on_the_page(request: Signed, found: Universe) -> None:
    """Under HTMX a form was sent from a page whose address may have moved on since: it is that one's that counts."""
    url = urlsplit(request.htmx.current_url or "") if wants_part(request) else None
    if url and url.path == found.get_absolute_url():
        request.GET = QueryDict(url.query)


def _keep_comparison(request: Signed, found: Universe) -> None:
    """What is compared may have changed since the table's links were made; the page's address knows."""
    url = urlsplit(request.htmx.current_url or "") if wants_part(request) else None
    if url and url.path == found.get_absolute_url():
        on_page, asked = QueryDict(url.query), request.GET.copy()
        for key in COMPARED:
            asked.pop(key, None)
            if key in on_page:
                asked[key] = on_page[key]
        request.GET = QueryDict(asked.urlencode())


def chosen(request: HttpRequest) -> str:
    """What the address asks for in its shortest form: without the page, and columns as one word each."""
    asked, wanted = request.GET.copy(), table.wish(request.GET)
    for key in ("page", "cols", *(key for key in asked if not any(value.strip() for value in asked.getlist(key)))):
        asked.pop(key, None)
    if asked.get("sort") == "place":
        asked.pop("sort")
    keys = tuple(column.key for column in wanted.columns)
    if "cols" in request.GET and set(keys) != set(columns.USUAL):
        asked["cols"] = ",".join(keys)
    return asked.urlencode(safe=",")


def address(request: HttpRequest, found: Universe) -> str:
    query = chosen(request)
    if wanted := table.wish(request.GET).page - 1:
        query = f"{query}&page={wanted + 1}" if query else f"page={wanted + 1}"
    return f"{found.get_absolute_url()}?{query}" if query else found.get_absolute_url()


# --- The page ----------------------------------------------------------------------------------------------------


def members_page(
    request: Signed, found: Universe, *, at: datetime | None = None, status: int = 200, **more: Any
) -> HttpResponse:
    """The page, or under HTMX its table of members with the forms above it, or the rows alone."""
    mine = found.owner_id == request.user.pk
    context: dict[str, Any] = {"universe": found, "mine": mine, "at": at, "today": timezone.now().date()}
    context |= _table(request, found, at, editable=mine and at is None)
    context |= {"symbols_form": SymbolsForm(auto_id="add_%s"), "added": None, "removed": []}
    if not wants_part(request):
        context |= {"strip": _unfinished(request, found), "former": _former(found)}
        asked = {key: request.GET[key] for key in (*COMPARED, "at") if request.GET.get(key)}
        context |= {"compared": urlencode(asked, safe=","), "folded": request.COOKIES.get(FOLDED) == "folded"}
        context["backfill_form"] = BackfillForm(auto_id="backfill_%s")
    part = "rows" if request.htmx.target == "rows" else "members"
    return page(request, "universes/universe.html", context | more, part=part, status=status)


def _table(request: Signed, found: Universe, at: datetime | None, *, editable: bool) -> dict[str, Any]:
    wanted = table.wish(request.GET, _usual(request))
    told = table.read(found, wanted, at)
    shown = tuple(column for column in wanted.columns if column.key not in ("place", "symbol"))
    keys = {column.key for column in wanted.columns}
    placed, state = "place" in keys, request.GET.urlencode()
    movable = editable and wanted.arranged and placed
    layout = cells.Layout(shown, wanted.sort.key, found.get_absolute_url(), state, placed, editable, movable)
    return {
        "rows": cells.rows(told.rows, layout),
        "count": _count(told),
        "empty": told.total == 0,
        "total": figures.counted(told.total, "asset"),
        "wish": wanted,
        "placed": placed,
        "editable": editable,
        "movable": movable,
        "following": told.following,
        "headings": {column.key: _heading(request, column, wanted) for column in wanted.columns},
        "shown": shown,
        "choices": [(column, column.key in keys) for column in columns.COLUMNS if column.key not in columns.ALWAYS],
        "facets": [(one, told.facets[one.key]) for one in table.FILTERS if one.key in told.facets],
        "tags": [facet.value for facet in told.facets.get("tag", ()) if facet.value != table.UNKNOWN],
        "chips": _chips(request, wanted),
        "state": state,
        "query": chosen(request),
        "doubtful": told.doubtful,
        "facts_shown": bool(keys & {"cap", "pe", "yield"}),
        "page": told.page,
        "pages": told.pages,
    }


def _count(told: Table) -> str:
    words = figures.counted(told.total, "asset")
    if told.matching != told.total or told.wish.filtered:
        words = f"{figures.integer(told.matching)} of {words}"
    without = sum(member.past is None for member in told.rows)
    return f"{words}, {without} {'shown ' if told.pages > 1 else ''}without candles" if without else words


def _heading(request: HttpRequest, column: columns.Column, wanted: Wish) -> dict[str, Any]:
    first = f"-{column.key}" if column.largest_first else column.key
    found = heading(request, column.key, column.short or column.label, first, wanted.sort.key, wanted.backwards)
    return {**found, "kind": column.kind, "unit": column.unit, "note": column.note, "sortable": column.sortable}


def _chips(request: HttpRequest, wanted: Wish) -> list[dict[str, str]]:
    """The filters that are on, each with the address that it is off in."""
    chips = []
    if wanted.text:
        chips.append({"words": f"“{wanted.text}”", "query": _without(request, "q", None)})
    for one in table.FILTERS:
        chips += [
            {"words": f"{one.label}: {one.called(value)}", "query": _without(request, one.key, value)}
            for value in wanted.filters.get(one.key, ())
        ]
    return chips


def _without(request: HttpRequest, key: str, value: str | None) -> str:
    query: QueryDict = request.GET.copy()
    query.pop("page", None)
    query.setlist(key, [kept for kept in query.getlist(key) if value is not None and kept.strip() != value])
    return f"?{query.urlencode()}"


def _former(found: Universe) -> list[dict[str, str]]:
    return [
        {
            "symbol": stay.asset.symbol,
            "url": stay.asset.get_absolute_url(),
            "joined": figures.day(stay.joined_at),
            "left": figures.day(stay.left_at),
        }
        for stay in membership.former(found)[:50]
    ]


def _unfinished(request: Signed, found: Universe) -> dict[str, Any] | None:
    """The job that is just refreshing it, so that a page opened again goes on showing it."""
    job = Job.objects.of(request.user).unfinished().filter(subject_url=found.get_absolute_url()).order_by("-pk").first()
    return activity.row(job) if job else None


@require_safe
def members_csv(request: Signed, pk: int) -> HttpResponse:
    """The table as it is shown, all its pages, with the chosen columns in full."""
    found = seen(request, pk)
    at, _ = moment(request)
    wanted = table.wish(request.GET, _usual(request))
    told = table.read(found, wanted, at, whole=True)
    shown = [column for column in wanted.columns if column.key != "trend"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.key for column in shown])
    writer.writerows([columns.in_file(member, column) for column in shown] for member in told.rows)
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    day = f"{at or timezone.now():%Y%m%d}"
    response.headers["Content-Disposition"] = f'attachment; filename="{slugify(found.name) or "universe"}_{day}.csv"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


# --- Coming and going --------------------------------------------------------------------------------------------


@require_POST
def add_members(request: Signed, pk: int) -> HttpResponse:
    """Add what was pasted. What is malformed stays in the field, with the reason."""
    found = owned(request, pk)
    as_on_the_page(request, found)
    form = SymbolsForm(request.POST, auto_id="add_%s")
    if not form.is_valid():
        return members_page(request, found, symbols_form=form, status=422)
    report = membership.add(found, request.user, membership.split_symbols(form.cleaned_data["symbols"]))
    if not wants_part(request):
        for written, why in report.malformed:
            messages.error(request, f"{written} was not added. {why}")
        if report.added:
            messages.success(request, f"Added {', '.join(report.added)}.")
        return redirect(address(request, found))
    left = SymbolsForm(initial={"symbols": " ".join(written for written, _ in report.malformed)}, auto_id="add_%s")
    return members_page(request, found, symbols_form=left, added=report)


@require_POST
def remove_members(request: Signed, pk: int) -> HttpResponse:
    """End the chosen members' stays; the answer offers to take that back."""
    found = owned(request, pk)
    as_on_the_page(request, found)
    removed = membership.remove(found, request.user, request.POST.getlist("symbol"))
    if wants_part(request):
        return members_page(request, found, removed=removed)
    messages.success(
        request, f"Removed {', '.join(removed)}." if removed else "Nothing was chosen, so nothing was removed."
    )
    return redirect(address(request, found))
