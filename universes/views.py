"""Universes: the list, one of them with its members, and everything that can be done to it."""

import math
from datetime import UTC, datetime, time
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chronos.core import activity, figures
from chronos.core.hypermedia import Signed, page, wants_part
from chronos.core.models import Job
from marketdata.forms import BackfillForm
from marketdata.freshness import Freshness
from marketdata.models import Timeframe
from marketdata.quotes import Quote, quotes
from marketdata.views import page_number
from marketdata.views.upkeep import form_again, started
from universes import jobs, membership
from universes.forms import DeleteForm, NewUniverseForm, SymbolsForm, UniverseForm
from universes.models import Membership, Universe

A_PAGE = 200
SORTS = {"symbol": "Symbol", "price": "Last", "change": "Change", "age": "Freshness", "joined": "Joined"}
NOWHERE = float("-inf")


# --- The list, and a new one -------------------------------------------------------------------------------------


@require_safe
def universes(request: Signed) -> HttpResponse:
    """One's own universes, then the public ones, each with what its members did last."""
    found = list(membership.visible(request.user))
    sketches = sketch(found)
    mine = [sketches[universe.pk] for universe in found if universe.owner_id == request.user.pk]
    public = [sketches[universe.pk] for universe in found if universe.owner_id != request.user.pk]
    return page(request, "universes/universes.html", {"mine": mine, "public": public})


def sketch(found: list[Universe], shown: int = 5) -> dict[int, dict[str, Any]]:
    """By universe id, what a card of it says: its size, the first members' quotes, how many rose and fell."""
    stays = Membership.objects.current().filter(universe__in=[universe.pk for universe in found])
    by_universe: dict[int, list[Membership]] = {universe.pk: [] for universe in found}
    for stay in stays.select_related("asset").order_by("asset__symbol"):
        by_universe[stay.universe_id].append(stay)
    assets = {stay.asset_id: stay.asset for members in by_universe.values() for stay in members}
    quoted = quotes(list(assets.values()))
    return {
        universe.pk: _card(universe, [quoted[stay.asset_id] for stay in by_universe[universe.pk]], shown)
        for universe in found
    }


def _card(universe: Universe, quoted: list[Quote], shown: int) -> dict[str, Any]:
    changes = [quote.change for quote in quoted if quote.change is not None]
    mean = sum(changes) / len(changes) if changes else None
    newest = max((quote.at for quote in quoted if quote.at), default=None)
    return {
        "universe": universe,
        "url": universe.get_absolute_url(),
        "size": figures.counted(len(quoted), "asset"),
        "quotes": quoted[:shown],
        "all_quotes": quoted,
        "more": max(0, len(quoted) - shown),
        "mean": figures.percent(mean),
        "direction": figures.direction(mean),
        "rose": sum(change > 0 for change in changes),
        "fell": sum(change < 0 for change in changes),
        "silent": sum(quote.last is None for quote in quoted),
        "count": len(quoted),
        "trouble": next((quote.freshness.detail for quote in quoted if quote.freshness.level == "failing"), ""),
        "newest": newest,
        "freshness": min((quote.freshness for quote in quoted), key=_goodness, default=None),
        "sample": bool(quoted) and all(quote.sample for quote in quoted),
    }


def _goodness(fresh: Freshness) -> int:
    """The worst first: a card is as fresh as its stalest member."""
    return ("failing", "empty", "stale", "ageing", "sample", "fresh").index(fresh.level)


@require_http_methods(["GET", "HEAD", "POST"])
def new_universe(request: Signed) -> HttpResponse:
    form = NewUniverseForm(request.POST or None)
    if request.method != "POST":
        return page(request, "universes/new.html", {"form": form})
    if not form.is_valid():
        return page(request, "universes/new.html", {"form": form}, status=422)
    given = form.cleaned_data
    symbols = membership.split_symbols(given["symbols"])
    try:
        universe = membership.create(request.user, given["name"], given["description"])
    except membership.Malformed as error:
        form.add_error("name", str(error))
        return page(request, "universes/new.html", {"form": form}, status=422)
    report = membership.add(universe, request.user, symbols)
    for written, why in report.malformed:
        messages.error(request, f"{written} was not added. {why}")
    messages.success(request, f"{universe.name} is there, with {figures.counted(len(report.added), 'asset')}.")
    return redirect(universe)


# --- One universe ------------------------------------------------------------------------------------------------


@require_safe
def universe(request: Signed, pk: int) -> HttpResponse:
    """A universe and its members, as they are now or were on the day `at`."""
    found = _universe(request, pk)
    at, problem = _moment(request)
    if problem:
        messages.error(request, problem)
    return _page(request, found, at=at)


def _universe(request: Signed, pk: int) -> Universe:
    """The one loader: what a person may not see does not exist."""
    try:
        return Universe.objects.visible_to(request.user).select_related("owner").get(pk=pk)
    except Universe.DoesNotExist:
        raise Http404(f"There is no universe {pk}.") from None


def _own(request: Signed, pk: int) -> Universe:
    """A universe this person may change. Public ones can be looked at by everybody and are kept in the admin."""
    found = _universe(request, pk)
    if found.owner_id != request.user.pk:
        raise PermissionDenied(f"{found.name} is public: everybody sees it, and staff keep it in the admin.")
    return found


def _moment(request: HttpRequest) -> tuple[datetime | None, str]:
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


def _page(
    request: Signed, found: Universe, *, at: datetime | None = None, status: int = 200, **more: Any
) -> HttpResponse:
    """The page, or under HTMX its table of members with the form above it."""
    mine = found.owner_id == request.user.pk
    context: dict[str, Any] = {"universe": found, "mine": mine, "at": at, "today": timezone.now().date()}
    context |= _members(request, found, at)
    context |= {"symbols_form": SymbolsForm(auto_id="add_%s"), "added": None, "removed": []}
    if not wants_part(request):
        context |= {"strip": _unfinished(request, found), "former": _former(found), "delete_form": DeleteForm(found)}
        context["backfill_form"] = BackfillForm(auto_id="backfill_%s")
    return page(request, "universes/universe.html", context | more, part="members", status=status)


def _members(request: Signed, found: Universe, at: datetime | None) -> dict[str, Any]:
    """A page of members. Only a sort by what a quote says needs every member's quote."""
    sort = request.GET.get("sort", "symbol")
    backwards, key = sort.startswith("-"), sort.removeprefix("-")
    key = key if key in SORTS else "symbol"
    stays = membership.members(found, at)
    total = stays.count()
    pages = max(1, math.ceil(total / A_PAGE))
    number = min(page_number(request), pages)
    window = slice((number - 1) * A_PAGE, number * A_PAGE)
    if key in ("symbol", "joined"):
        column = "asset__symbol" if key == "symbol" else "joined_at"
        chosen = list(stays.order_by(f"{'-' if backwards else ''}{column}", "asset__symbol")[window])
        quoted = quotes([stay.asset for stay in chosen])
    else:
        every = list(stays)
        quoted = quotes([stay.asset for stay in every])
        every.sort(key=lambda stay: _sort_key(quoted[stay.asset_id], key), reverse=backwards)
        chosen = every[window]
    rows = [_row(stay, quoted[stay.asset_id]) for stay in chosen]
    return {
        "rows": rows,
        "total": figures.counted(total, "asset"),
        "empty": total == 0,
        "without": sum(row["silent"] for row in rows),
        "columns": {name: _column(request, name, key, backwards) for name in SORTS},
        "sort": sort,
        "page": number,
        "pages": pages,
    }


def _sort_key(quote: Quote, key: str) -> float:
    value = {"price": quote.last, "change": quote.change, "age": -quote.at.timestamp() if quote.at else None}[key]
    return NOWHERE if value is None else value


def _column(request: HttpRequest, name: str, key: str, backwards: bool) -> dict[str, str]:
    """A heading that sorts: once more turns the order round."""
    query = request.GET.copy()
    query.pop("page", None)
    current = name == key
    # Numbers are mostly wanted largest first, names from A.
    first = name if name == "symbol" else f"-{name}"
    other = f"-{name}" if first == name else name
    query["sort"] = (other if (backwards == first.startswith("-")) else first) if current else first
    state = ("descending" if backwards else "ascending") if current else "none"
    return {"label": SORTS[name], "query": f"?{query.urlencode()}", "state": state}


def _row(stay: Membership, quote: Quote) -> dict[str, Any]:
    asset, fresh = stay.asset, quote.freshness
    return {
        "of": quote.of,
        "price": quote.price,
        "percent": quote.percent,
        "direction": quote.direction,
        "spark": quote.spark,
        "trend": quote.trend,
        "level": fresh.level,
        "detail": fresh.detail,
        "age": fresh.word,
        "source": quote.source,
        "sample": quote.sample,
        "silent": quote.last is None,
        "symbol": asset.symbol,
        "name": asset.name,
        "url": asset.get_absolute_url(),
        "joined": figures.day(stay.joined_at),
        "unverified": asset.validated_at is None and not asset.is_sample and quote.last is None,
    }


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


# --- Changing it -------------------------------------------------------------------------------------------------


@require_POST
def add_members(request: Signed, pk: int) -> HttpResponse:
    """Add what was pasted. What is malformed stays in the field, with the reason."""
    found = _own(request, pk)
    form = SymbolsForm(request.POST, auto_id="add_%s")
    if not form.is_valid():
        return _page(request, found, symbols_form=form, status=422)
    report = membership.add(found, request.user, membership.split_symbols(form.cleaned_data["symbols"]))
    if not wants_part(request):
        for written, why in report.malformed:
            messages.error(request, f"{written} was not added. {why}")
        if report.added:
            messages.success(request, f"Added {', '.join(report.added)}.")
        return redirect(found)
    left = SymbolsForm(initial={"symbols": " ".join(written for written, _ in report.malformed)}, auto_id="add_%s")
    return _page(request, found, symbols_form=left, added=report)


@require_POST
def remove_members(request: Signed, pk: int) -> HttpResponse:
    """End the chosen members' stays; the answer offers to take that back."""
    found = _own(request, pk)
    removed = membership.remove(found, request.user, request.POST.getlist("symbol"))
    if wants_part(request):
        return _page(request, found, removed=removed)
    messages.success(
        request, f"Removed {', '.join(removed)}." if removed else "Nothing was chosen, so nothing was removed."
    )
    return redirect(found)


@require_http_methods(["GET", "HEAD", "POST"])
def edit_universe(request: Signed, pk: int) -> HttpResponse:
    """Rename it, or say better what it is."""
    found = _own(request, pk)
    form = UniverseForm(request.POST or None, initial={"name": found.name, "description": found.description})
    if request.method != "POST":
        return page(request, "universes/edit.html", {"form": form, "universe": found})
    if form.is_valid():
        try:
            membership.rename(found, request.user, form.cleaned_data["name"], form.cleaned_data["description"])
            return redirect(found)
        except membership.Malformed as error:
            form.add_error("name", str(error))
    return page(request, "universes/edit.html", {"form": form, "universe": found}, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
def delete_universe(request: Signed, pk: int) -> HttpResponse:
    """Says what goes and asks for the name: a dialog on the universe's page, a page of its own without JavaScript."""
    found = _own(request, pk)
    form = DeleteForm(found, request.POST or None)
    context = {
        "universe": found,
        "delete_form": form,
        "total": figures.counted(found.memberships.current().count(), "asset"),
    }
    if request.method != "POST":
        return page(request, "universes/delete.html", context)
    if not form.is_valid():
        return page(request, "universes/delete.html", context, part="form", status=422)
    membership.delete(found, request.user)
    messages.success(request, f"{found.name} is deleted. Its assets and their candles are still here.")
    if wants_part(request):
        return HttpResponse(headers={"HX-Redirect": reverse("universes:universes")})
    return redirect("universes:universes")


@require_POST
def refresh_universe(request: Signed, pk: int) -> HttpResponse:
    """Ask for what is new of every member: a job, whose progress is shown in place."""
    return started(request, jobs.refresh(_universe(request, pk), request.user))


@require_http_methods(["GET", "HEAD", "POST"])
def backfill_universe(request: Signed, pk: int) -> HttpResponse:
    """Fetch older candles of every member: a dialog on the universe's page, a page of its own without it."""
    found = _universe(request, pk)
    form = BackfillForm(auto_id="backfill_%s")
    if request.method == "POST":
        form = BackfillForm(request.POST, auto_id="backfill_%s")
        if form.is_valid():
            timeframe, since = Timeframe(form.cleaned_data["timeframe"]), form.cleaned_data["since"]
            return started(request, jobs.backfill(found, request.user, timeframe, since))
    context = {"universe": found, "backfill_form": form, "dialog": wants_part(request)}
    return form_again(request, "universes/backfill.html", context)
