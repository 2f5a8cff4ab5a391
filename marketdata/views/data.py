"""The Data page: providers, series, quarantine and the ledger at a glance; and what staff may set about providers."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page, wants_part
from marketdata import chains, credentials, overview, providers, standing
from marketdata.calendars import Book
from marketdata.forms import ChainForm, KeyForm
from marketdata.loading import may_change
from marketdata.models import (
    AssetClass,
    FallbackChain,
    FetchWindow,
    ProviderKey,
    ProviderQuota,
    Series,
    Timeframe,
)
from marketdata.providers.base import Provider
from marketdata.views import heading, only_those_who_may, paged, searched

A_PAGE = 25
WINDOWS = 50
AT_A_GLANCE = 6  # rows of what has a page of its own
MOST = 10_000  # windows that can be paged through; older ones are found by a filter
DAYS = 14  # of a provider's use that its page shows

# Numbers are mostly wanted largest first, names from A.
COLUMNS = {
    "symbol": ("Series", "symbol"),
    "candles": ("Candles", "-candles"),
    "last": ("Newest", "-last"),
    "missing": ("Missing", "-missing"),
    "revision": ("Revision", "-revision"),
    "asked": ("Asked", "-asked"),
}


@require_safe
def data(request: Signed) -> HttpResponse:
    """All of it at a glance; under HTMX the table of series, whose filters, sort and page are in the address."""
    now, book = timezone.now(), Book()
    context = _series(request, now, book)
    if not wants_part(request):
        standings = standing.provider_rows(now)
        context |= {
            "totals": _totals(now, book),
            "providers": standings,
            "failing_providers": sum(row["failing"] for row in standings),
            "chains": standing.chain_rows(),
            "groups": overview.held_groups(AT_A_GLANCE),
            "windows": _newest_windows(),
            "may_chain": may_change(request.user, FallbackChain),
        }
    return page(request, "marketdata/data.html", context, part="series")


def _totals(now: datetime, book: Book) -> dict[str, Any]:
    counts = overview.totals(now, book)
    return {name: figures.compact(count) for name, count in counts.items()} | {
        "counts": counts,
        "gap_words": figures.counted(counts["gaps"], "gap"),
    }


def _series(request: HttpRequest, now: datetime, book: Book) -> dict[str, Any]:
    search, timeframe = searched(request), request.GET.get("timeframe", "")
    state = request.GET.get("state", "all")
    state = state if state in overview.STATES else "all"
    sort = request.GET.get("sort", "symbol")
    backwards, key = sort.startswith("-"), sort.removeprefix("-")
    key = key if key in overview.SORTS else "symbol"
    found = overview.found_series(search, timeframe, state, now)
    total = found.count()
    pager, window = paged(request, total, A_PAGE)
    column = F(overview.SORTS[key])
    order = column.desc(nulls_last=True) if backwards else column.asc(nulls_first=True)
    chosen = found.select_related("asset").order_by(order, "asset__symbol", "timeframe")[window]
    return {
        "rows": overview.series_rows(list(chosen), now, book),
        "total": figures.counted(total, "series", "series"),
        "search": search,
        "timeframe": timeframe if timeframe in Timeframe.values else "",
        "timeframes": Timeframe.choices,
        "state": state,
        "states": list(overview.STATES.items()),
        "columns": {name: heading(request, name, *COLUMNS[name], key, backwards) for name in COLUMNS},
        "anything": total > 0 or Series.objects.exists(),
        **pager,
    }


def _newest_windows() -> list[dict[str, Any]]:
    now = timezone.now()
    found = FetchWindow.objects.select_related("asset").order_by("-asked_at", "-pk")[:AT_A_GLANCE]
    return [_window(window, now) for window in found]


def _window(window: FetchWindow, now: datetime) -> dict[str, Any]:
    return overview.window_row(window, now) | {
        "symbol": window.asset.symbol,
        "url": window.asset.get_absolute_url(),
    }


# --- The ledger --------------------------------------------------------------------------------------------------


@require_safe
def windows(request: Signed) -> HttpResponse:
    """The coverage ledger, newest first: what was asked of whom and what came back. Filters are in the address."""
    search, provider, state = searched(request), request.GET.get("provider", ""), request.GET.get("state", "")
    timeframe = request.GET.get("timeframe", "")
    found = FetchWindow.objects.select_related("asset")
    if search:
        found = found.filter(asset__in=overview.assets_called(search))
    if provider:
        found = found.filter(provider=provider[:40])
    if state in FetchWindow.State.values:
        found = found.filter(state=state)
    if timeframe in Timeframe.values:
        found = found.filter(timeframe=timeframe)
    total = found[: MOST + 1].count()
    pager, window = paged(request, min(total, MOST), WINDOWS)
    now = timezone.now()
    many = f"more than {figures.integer(MOST)} windows" if total > MOST else figures.counted(total, "window")
    context = {
        "rows": [_window(row, now) for row in found.order_by("-asked_at", "-pk")[window]],
        "total": many,
        "search": search,
        "provider": provider,
        "providers": [(name, known.label) for name, known in providers.REGISTRY.items()],
        "state": state,
        "states": FetchWindow.State.choices,
        "timeframe": timeframe,
        "timeframes": Timeframe.choices,
        "filtered": bool(search or provider or state or timeframe),
        **pager,
    }
    return page(request, "marketdata/windows.html", context, part="list")


# --- One provider ------------------------------------------------------------------------------------------------


@require_safe
def provider(request: Signed, provider: str) -> HttpResponse:
    """How one provider stands, in full: its state and last error, its quota day by day, its last windows, its key."""
    return _provider_page(request, _provider(provider), KeyForm())


def _provider(name: str) -> Provider:
    """The one loader."""
    try:
        return providers.named(name)
    except providers.UnknownProvider as error:
        raise Http404(str(error)) from None


def _provider_page(request: Signed, found: Provider, form: KeyForm, *, status: int = 200) -> HttpResponse:
    now = timezone.now()
    days = ProviderQuota.objects.filter(provider=found.name, day__gt=now.date() - timedelta(days=DAYS))
    asked = FetchWindow.objects.filter(provider=found.name).select_related("asset").order_by("-asked_at")
    context = {
        "row": standing.one(found, now),
        "provider": found,
        "offers": _offers(found),
        "days": [
            {
                "day": figures.day(quota.day),
                "used": figures.integer(quota.used),
                "limit": figures.integer(quota.limit),
                "said": figures.moment(quota.exhausted_at) if quota.exhausted_at else "",
            }
            for quota in days.order_by("-day", "key")
        ],
        "windows": [_window(window, now) for window in asked[: AT_A_GLANCE * 2]],
        "form": form,
        "may_key": may_change(request.user, ProviderKey),
        "stored": ProviderKey.objects.filter(pk=found.name).only("set_at", "set_by").first(),
    }
    return page(request, "marketdata/provider.html", context, status=status)


def _offers(found: Provider) -> list[dict[str, str]]:
    """What it has: each timeframe, how much of it one request brings, and how far back it keeps it."""
    return [
        {
            "timeframe": timeframe.label,
            "window": _days(found.windows[timeframe]),
            "reach": _days(found.reach[timeframe]) if timeframe in found.reach else "all there is",
        }
        for timeframe in Timeframe
        if timeframe in found.windows
    ]


def _days(span: timedelta) -> str:
    if span < timedelta(days=2):
        return figures.counted(round(span / timedelta(hours=1)), "hour")
    if span < timedelta(days=3 * 365):
        return figures.counted(span.days, "day")
    return figures.counted(round(span.days / 365), "year")


@sensitive_post_parameters("secret")
@require_POST
def set_key(request: Signed, provider: str) -> HttpResponse:
    """Store a key, for staff. It is shown nowhere again, and a refused one is not kept in the form."""
    found = _provider(provider)
    only_those_who_may(request, ProviderKey, f"Staff set {found.label}’s key.")
    form = KeyForm(request.POST)
    if form.is_valid():
        try:
            credentials.store(found.name, form.cleaned_data["secret"], request.user.get_username())
        except credentials.BadKey as error:
            form.add_error("secret", str(error))
        else:
            messages.success(request, f"{found.label}’s key is stored, encrypted. It is used from the next request on.")
            return redirect("marketdata:provider", found.name)
    return _provider_page(request, found, form, status=422)


@require_POST
def forget_key(request: Signed, provider: str) -> HttpResponse:
    """Delete the stored key, for staff."""
    found = _provider(provider)
    only_those_who_may(request, ProviderKey, f"Staff forget {found.label}’s key.")
    if credentials.forget(found.name):
        messages.success(request, f"{found.label}’s key is forgotten.")
    else:
        messages.info(request, f"No key of {found.label} is stored here, so there was nothing to forget.")
    return redirect("marketdata:provider", found.name)


# --- The chains --------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def chain(request: Signed, asset_class: str) -> HttpResponse:
    """Whom to ask for assets of one class, and in which order; staff change it."""
    if asset_class not in AssetClass.values:
        raise Http404(f"There is no asset class {asset_class}; there are: {', '.join(AssetClass.values)}.")
    kind = AssetClass(asset_class)
    only_those_who_may(request, FallbackChain, "Staff choose whom Chronos asks. The Data page shows the order.")
    current = chains.names(kind)
    if request.method != "POST":
        return _chain_page(request, kind, ChainForm(kind, current))
    if request.POST.get("usual"):
        chains.use_usual(kind)
        messages.success(request, f"{kind.label}: the usual order counts again.")
        return redirect(f"{reverse('marketdata:data')}#chains")
    form = ChainForm(kind, current, request.POST)
    if form.is_valid():
        try:
            chains.set_chain(kind, form.names, request.user.get_username())
        except chains.BadChain as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{kind.label}: the new order counts from the next request on.")
            return redirect(f"{reverse('marketdata:data')}#chains")
    return _chain_page(request, kind, form, status=422)


def _chain_page(request: Signed, kind: AssetClass, form: ChainForm, *, status: int = 200) -> HttpResponse:
    labels = [providers.named(name).label for name in chains.USUAL[kind] if providers.known(name)]
    context = {"kind": kind, "form": form, "usual": " → ".join(labels), "links": chains.explain(kind)}
    return page(request, "marketdata/chain.html", context, status=status)
