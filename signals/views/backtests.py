"""The list of backtests, and what is done to them there: run again, stopped, noted, deleted and taken back."""

import csv
import io
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chronos.core import figures, jobs
from chronos.core.hypermedia import Signed, page, wants_part
from marketdata.views import heading
from signals import backtests as verbs
from signals import comparing, keeping, listing, numerals
from signals.engine.terms import Impossible
from signals.listing import Column, Facet, Table, Wish
from signals.loading import backtest_of
from signals.models import Backtest
from signals.strategies.declaring import BadParameters
from signals.strategies.registry import UnknownKind
from signals.views import cells, strategies

COOKIE = "chronos_columns_backtests"  # those that this browser last chose
A_YEAR = 365 * 24 * 3600
UNDO = timedelta(seconds=10)  # how long a page offers to take a deletion back
LATEST = 5  # on the home page
AT_ONCE = 100  # backtests that one act is about
KEPT = ("deleted", "row", "filters", "page")  # of an address, what a link to another order or filter leaves out
Refusal = (Impossible, BadParameters, UnknownKind)


@require_safe
def backtests(request: Signed) -> HttpResponse:
    """A person's backtests. All that is chosen is in the address; `row` is one of them alone, under HTMX."""
    wanted, chose_columns = listing.wish(request.GET, _usual(request)), "cols" in request.GET
    request.GET = QueryDict(_tidy(request.GET, wanted).urlencode())
    if wants_part(request) and "row" in request.GET:
        found = listing.one(request.user, numerals.whole(request.GET["row"]), wanted)
        if found is None:
            return HttpResponse("")
        return HttpResponse(
            cells.rows([found], _layout(request, wanted)), headers={"Cache-Control": "private, no-store"}
        )
    if wants_part(request) and request.htmx.target == "facets":
        facets = _facets(listing.facets_of(request.user, wanted))
        return page(request, "signals/backtests.html", {"facets": facets}, part="facets")
    # Counting the values of each filter takes as long as the rest; the menu asks for them when it is opened.
    faceted = not wants_part(request) and (bool(wanted.filters) or "filters" in request.GET)
    told = listing.read(request.user, wanted, faceted=faceted)
    response = page(request, "signals/backtests.html", _context(request, told), part="rows")
    if wants_part(request):
        typed = request.htmx.trigger == "find"
        response.headers["HX-Replace-Url" if typed else "HX-Push-Url"] = _address(request, wanted)
    if chose_columns:
        kept = ".".join(column.key for column in wanted.columns)
        response.set_cookie(COOKIE, kept, max_age=A_YEAR, path=reverse("signals:backtests"), samesite="Lax")
    return response


def _usual(request: HttpRequest) -> list[str]:
    return request.COOKIES.get(COOKIE, "")[:500].split(".")


def _tidy(given: QueryDict, wanted: Wish) -> QueryDict:
    """An address in its shortest form: without what is empty or usual, and columns as one word."""
    asked = given.copy()
    empty = [key for key in asked if not any(value.strip() for value in asked.getlist(key))]
    for key in ("cols", *empty):
        asked.pop(key, None)
    if asked.get("sort") == "-run":
        asked.pop("sort")
    keys = [column.key for column in wanted.columns]
    if "cols" in given and set(keys) != set(listing.USUAL):
        asked["cols"] = ",".join(keys)
    return asked


def _query(request: HttpRequest) -> str:
    """What the address chooses, without what passes: the page, what was deleted."""
    asked: QueryDict = request.GET.copy()
    for key in KEPT:
        asked.pop(key, None)
    return asked.urlencode(safe=",")


def _address(request: HttpRequest, wanted: Wish) -> str:
    query = _query(request)
    if wanted.page > 1:
        query = f"{query}&page={wanted.page}" if query else f"page={wanted.page}"
    return f"{reverse('signals:backtests')}{'?' if query else ''}{query}"


def _layout(request: HttpRequest, wanted: Wish) -> cells.Layout:
    shown = tuple(column for column in wanted.columns if column.key != "strategy")
    asked = request.GET.copy()
    for key in KEPT:
        asked.pop(key, None)
    asked["cols"] = ",".join(column.key for column in wanted.columns)
    return cells.Layout(shown, wanted.sort.key, asked.urlencode(safe=","), timezone.now())


def _context(request: Signed, told: Table) -> dict[str, Any]:
    wanted = told.wish
    layout = _layout(request, wanted)
    return {
        "rows": cells.rows(told.rows, layout),
        "anything": told.total > 0,
        "count": _count(told),
        "total": figures.counted(told.total, "backtest"),
        "wish": wanted,
        "sort": f"{'-' if wanted.falling else ''}{wanted.sort.key}",
        "headings": [_heading(request, column, wanted) for column in wanted.columns],
        "choices": [(one, one in wanted.columns) for one in listing.COLUMNS if one.key not in listing.ALWAYS],
        "facets": _facets(told.facets),
        "narrowed": sum(map(len, wanted.filters.values())) + sum(
            map(bool, (wanted.stale, wanted.since, wanted.until, wanted.trades is not None))
        ),
        "chips": _chips(request, told),
        "state": request.GET.urlencode(),
        "query": _query(request),
        "page": told.page,
        "pages": told.pages,
        "deleted": _deleted(request),
        "most_compared": comparing.MOST,
    }  # fmt: skip


@require_safe
def latest_backtests(request: Signed) -> HttpResponse:
    """The newest few as a piece of another page, which asks for it by its address."""
    if not wants_part(request):
        return redirect("signals:backtests")
    now = timezone.now()
    newest = Backtest.objects.of(request.user).order_by("-created_at", "-pk").values(*strategies.COLUMNS)[:LATEST]
    context = {"runs": [strategies.run(row, now) for row in newest], "named": True}
    return page(request, "signals/latest.html", context)


def _facets(found: dict[str, list[Facet]]) -> list[tuple[str, str, list[Facet]]]:
    return [(key, label, found[key]) for key, label in listing.FILTERS.items() if key in found]


def _count(told: Table) -> str:
    words = figures.counted(told.total, "backtest")
    return f"{figures.integer(told.matching)} of {words}" if told.wish.filtered else words


def _heading(request: HttpRequest, column: Column, wanted: Wish) -> dict[str, Any]:
    first = f"-{column.key}" if column.falling else column.key
    found = heading(request, column.key, column.heading, first, wanted.sort.key, wanted.falling)
    query = QueryDict(found["query"].removeprefix("?"), mutable=True)
    for key in KEPT:
        query.pop(key, None)
    return {**found, "query": f"?{query.urlencode(safe=',')}", "kind": column.kind, "note": column.note}


def _chips(request: HttpRequest, told: Table) -> list[dict[str, str]]:
    """The filters that are on, each with the address that it is off in."""
    wanted = told.wish
    chips: list[tuple[str, str | None, str]] = [("q", None, f"“{wanted.text}”")] if wanted.text else []
    for key, label in listing.FILTERS.items():
        chips += [(key, value, f"{label}: {told.words[key, value]}") for value in wanted.filters.get(key, ())]
    if wanted.stale:
        chips.append(("stale", None, "stale"))
    if wanted.since:
        chips.append(("since", None, f"run since {figures.day(wanted.since)}"))
    if wanted.until:
        chips.append(("until", None, f"run until {figures.day(wanted.until)}"))
    if wanted.trades is not None:
        chips.append(("trades", None, f"at least {figures.counted(wanted.trades, 'trade')}"))
    return [{"words": words, "query": _without(request, key, value)} for key, value, words in chips]


def _without(request: HttpRequest, key: str, value: str | None) -> str:
    query: QueryDict = request.GET.copy()
    for each in KEPT:
        query.pop(each, None)
    query.setlist(key, [kept for kept in query.getlist(key) if value is not None and kept.strip() != value])
    return f"?{query.urlencode(safe=',')}"


@require_safe
def backtests_csv(request: Signed) -> HttpResponse:
    """The table as it is shown, all its pages, figures in full; fractions, not percents."""
    wanted = listing.wish(request.GET, _usual(request))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["backtest", *(column.measure.name if column.measure else column.key for column in wanted.columns)])
    for one in listing.whole(request.user, wanted):
        writer.writerow([one.pk, *(_in_file(column.value(one)) for column in wanted.columns)])
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="backtests_{timezone.now():%Y%m%d}.csv"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _in_file(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula is kept text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# --- What is done to them ----------------------------------------------------------------------------------------


@require_POST
def rerun_backtest(request: Signed, pk: int) -> HttpResponse:
    """The same once more on what is stored now, whose page is shown."""
    found = backtest_of(request, pk)
    try:
        return redirect(verbs.rerun(found, request.user))
    except Refusal as error:
        messages.error(request, f"It can’t be run again as it is: {error}")
        return redirect(f"{reverse('signals:new-backtest')}?again={found.pk}")


@require_POST
def rerun_backtests(request: Signed) -> HttpResponse:
    """Those of the list that were chosen, each once more."""
    chosen, refused = _chosen(request), []
    for one in chosen:
        try:
            verbs.rerun(one, request.user)
        except Refusal as error:
            refused.append(f"{one}: {error}")
    if refused:
        more = f" And {len(refused) - 3} more." if len(refused) > 3 else ""
        messages.error(request, f"Not run again: {' '.join(refused[:3])}{more}")
    if began := len(chosen) - len(refused):
        verb = "runs" if began == 1 else "run"
        messages.success(request, f"{figures.counted(began, 'backtest')} {verb} again, as the newest of the list.")
    if not chosen:
        messages.info(request, "Nothing was chosen, so nothing was run.")
    return redirect("signals:backtests")


@require_POST
def cancel_backtest(request: Signed, pk: int) -> HttpResponse:
    found = backtest_of(request, pk)
    if found.job is None or not jobs.cancel(found.job):
        messages.info(request, "It had already ended, or was asked to stop before.")
    return redirect(_back(request, found.get_absolute_url()))


@require_http_methods(["GET", "HEAD", "POST"])
def note_backtest(request: Signed, pk: int) -> HttpResponse:
    """Its note: why it was run, what was learnt. The form, and under HTMX its inside alone."""
    found = backtest_of(request, pk)
    context: dict[str, Any] = {"backtest": found, "note": found.note, "error": ""}
    if request.method == "POST":
        context["note"] = request.POST.get("note", "")
        try:
            keeping.annotate(found, context["note"])
        except ValueError as error:
            context["error"] = str(error)
        else:
            messages.success(request, "The note is kept." if found.note else "It has no note any more.")
            return redirect(_back(request, found.get_absolute_url()))
    return page(request, "signals/note.html", context, part="form", status=422 if context["error"] else 200)


@require_POST
def delete_backtest(request: Signed, pk: int) -> HttpResponse:
    """Gone; the list, where one is next, offers to take it back."""
    found = backtest_of(request, pk)
    return _after_deletion(request, keeping.delete([found.pk], request.user))


@require_POST
def delete_backtests(request: Signed) -> HttpResponse:
    """Those of the list that were chosen; it comes back as it was, and offers to take that back."""
    return _after_deletion(request, keeping.delete([one.pk for one in _chosen(request)], request.user))


def _after_deletion(request: Signed, gone: list[int]) -> HttpResponse:
    if not gone:
        messages.info(request, "Nothing was chosen, so nothing was deleted.")
    return redirect(_list_as_it_was(request, ",".join(map(str, gone))))


@require_POST
def undelete_backtests(request: Signed) -> HttpResponse:
    asked = [numerals.whole(text) for text in request.POST.getlist("id")[:AT_ONCE]]
    back = keeping.undelete([pk for pk in asked if pk], request.user)
    kept = Backtest.objects.of(request.user).filter(pk__in=asked).count()
    if not kept:
        raise Http404("These backtests are not there any more, so they can’t be taken back.")
    if back:
        messages.success(request, f"{figures.counted(len(back), 'backtest')} {'is' if len(back) == 1 else 'are'} back.")
    return redirect(_list_as_it_was(request))


def _chosen(request: Signed) -> list[Backtest]:
    pks = [numerals.whole(text) for text in request.POST.getlist("id")[:AT_ONCE]]
    rows = Backtest.objects.of(request.user).filter(pk__in=[pk for pk in pks if pk])
    return list(rows.select_related("asset", "benchmark", "strategy").order_by("pk"))


def _list_as_it_was(request: HttpRequest, deleted: str = "") -> str:
    """The list's address with what it was narrowed and sorted by, which the form's own address carries."""
    query = request.GET.copy()
    for key in KEPT[:3]:
        query.pop(key, None)
    if deleted:
        query["deleted"] = deleted
    told = query.urlencode(safe=",")
    return f"{reverse('signals:backtests')}{'?' if told else ''}{told}"


def _back(request: HttpRequest, usual: str) -> str:
    """Where the form says that one comes from, if that is here."""
    wanted = request.POST.get("back", "")
    return wanted if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure()) else usual


def _deleted(request: Signed) -> list[Backtest]:
    """Those that the address says were just deleted, while that is recent enough to offer them back."""
    pks = [numerals.whole(text) for text in request.GET.get("deleted", "")[:2000].split(",")][:AT_ONCE]
    if not any(pks):
        return []
    recent = timezone.now() - UNDO
    gone = Backtest.objects.filter(pk__in=[pk for pk in pks if pk], owner=request.user, deleted_at__gt=recent)
    return list(gone.select_related("asset").only("pk", "strategy_name", "timeframe", "asset__symbol"))
