"""One universe with its members, and adding and removing them."""

import math
from datetime import UTC, datetime, time
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_POST, require_safe

from chronos.core import activity, figures
from chronos.core.hypermedia import Signed, page, wants_part
from chronos.core.models import Job
from marketdata.forms import BackfillForm
from marketdata.quotes import Quote, quotes
from marketdata.views import page_number
from universes import membership
from universes.forms import DeleteForm, SymbolsForm
from universes.models import Membership, Universe
from universes.views.loading import owned, seen

A_PAGE = 200
SORTS = {"symbol": "Symbol", "price": "Last", "change": "Change", "age": "Freshness", "joined": "Joined"}
NOWHERE = float("-inf")


@require_safe
def universe(request: Signed, pk: int) -> HttpResponse:
    """A universe and its members, as they are now or were on the day `at`."""
    found = seen(request, pk)
    at, problem = _moment(request)
    if problem:
        messages.error(request, problem)
    return _page(request, found, at=at)


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


@require_POST
def add_members(request: Signed, pk: int) -> HttpResponse:
    """Add what was pasted. What is malformed stays in the field, with the reason."""
    found = owned(request, pk)
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
    found = owned(request, pk)
    removed = membership.remove(found, request.user, request.POST.getlist("symbol"))
    if wants_part(request):
        return _page(request, found, removed=removed)
    messages.success(
        request, f"Removed {', '.join(removed)}." if removed else "Nothing was chosen, so nothing was removed."
    )
    return redirect(found)
