"""Assets found by symbol, name and facts, whether kept here or only listed in a directory; and keeping a listed one."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.text import capfirst
from django.views.decorators.http import require_POST, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page, wants_part
from marketdata.directory import exchanges, listings, search
from marketdata.directory.nearness import suggestions
from marketdata.directory.search import Found, Hit
from marketdata.jobs import refresh_asset
from marketdata.models import Asset, Listing, canonical
from marketdata.quotes import quotes
from marketdata.views import page_number, searched

A_PAGE = 50
NEAREST = 3  # symbols that are named when one is unknown

# A filter's name in the address, its field, what it is called, and what is chosen by nothing.
FILTERS = (
    ("class", "asset_class", "Class", "All classes"),
    ("sector", "sector", "Sector", "All sectors"),
    ("industry", "industry", "Industry", "All industries"),
    ("exchange", "exchange", "Exchange", "All exchanges"),
    ("country", "country", "Country", "All countries"),
    ("cap", "cap_class", "Market cap", "Any size"),
)


@require_safe
def assets(request: Signed) -> HttpResponse:
    """The search: as one types, filtered, everything in the address. Without a text, what is kept comes first."""
    text, kept = searched(request), request.GET.get("kept") == "yes"
    chosen = {field: request.GET.get(name, "")[:150] for name, field, _, _ in FILTERS}
    number = min(page_number(request), search.DEEPEST // A_PAGE)
    found = search.find(text, **chosen, stored=kept, limit=A_PAGE, offset=(number - 1) * A_PAGE)
    context = {
        "search": text,
        "kept": kept,
        "filters": _filters(chosen),
        "chosen": sum(map(bool, chosen.values())) + kept,
        "rows": _rows(found),
        "quoted": any(hit.stored for hit in found.hits),
        "near": found.near,
        "says": _says(found, number),
        "page": number,
        "newer": number - 1,
        "older": number + 1 if found.more else 0,
        "listed": listings.any_loaded(),
    }
    headers = {}
    if request.headers.get("HX-Trigger") == "find":  # as one types: the address is replaced, or back would spell it out
        headers["HX-Replace-Url"] = _address(request)
    return page(request, "marketdata/assets.html", context, part="list", headers=headers)


def _filters(chosen: dict[str, str]) -> list[dict[str, Any]]:
    """The selects, each with what there is; a value of the address that there is not stays visible."""
    choices = search.choices()
    return [
        {
            "name": name,
            "label": label,
            "all": every,
            "value": chosen[field],
            "options": choices[field],
            "unknown": chosen[field] if chosen[field] not in dict(choices[field]) else "",
        }
        for name, field, label, every in FILTERS
    ]


def _rows(found: Found) -> list[dict[str, Any]]:
    stored = [hit.asset for hit in found.hits if hit.asset]
    quoted = quotes(stored) if stored else {}
    return [
        {"hit": hit, "quote": quoted[hit.asset.pk] if hit.asset else None, "size": _size(hit)} for hit in found.hits
    ]


def _size(hit: Hit) -> str:
    """The market cap as a figure where a provider has told it, else its class."""
    if hit.asset and hit.asset.market_cap is not None:
        return f"{figures.compact(hit.asset.market_cap)} {hit.asset.currency}".strip()
    return hit.cap_class


def _says(found: Found, number: int) -> str:
    first = (number - 1) * A_PAGE + 1
    last = first + len(found.hits) - 1
    if not found.hits:
        return ""
    if found.more or number > 1:
        rest = ", more follow" if found.more else "; more fit than are listed" if found.cut else f" of {last}"
        return f"{first}–{last}{rest}"
    return figures.counted(last, "result")


def _address(request: Signed) -> str:
    """The page's address without the fields that are empty."""
    told = request.GET.copy()
    for name in [name for name in told if not told[name] or name == "page"]:
        del told[name]
    return f"{request.path}?{told.urlencode()}" if told else request.path


# --- A symbol that is not kept -----------------------------------------------------------------------------------


def listing(request: Signed, symbol: str) -> HttpResponse:
    """What the directory says of a symbol that nobody keeps, with one button to keep it. Raises `Http404`."""
    found = listings.listed([canonical(symbol)]).get(canonical(symbol))
    if found is None:
        raise Http404(unknown(symbol))
    if found.symbol != symbol and not wants_part(request):
        return redirect("marketdata:asset", symbol=found.symbol)
    context = {"listing": found, "exchange": exchanges.name(found.exchange), "facts": _facts(found)}
    return page(request, "marketdata/listing.html", context)


def unknown(symbol: str) -> str:
    """The sentence for a symbol that is neither kept nor listed."""
    near = suggestions(symbol, NEAREST)
    meant = f" Did you mean {' or '.join(', '.join(near).rsplit(', ', 1))}?" if near else ""
    return f"No asset is called {symbol[:60]}.{meant} Add it to a universe, or import its candles."


def _facts(found: Listing) -> list[tuple[str, str]]:
    facts = [
        ("Class", found.get_asset_class_display()),
        ("Exchange", exchanges.name(found.exchange)),
        ("Currency", found.currency),
        ("Country", found.country),
        ("Sector", found.sector),
        ("Industry", found.industry),
        ("Market cap", found.get_cap_class_display()),
        ("ISIN", found.isin),
        ("Spelt", found.spelling if found.spelling != found.symbol else ""),
        ("Directory", capfirst(found.source)),
    ]
    return [(name, value) for name, value in facts if value]


@require_POST
def keep(request: Signed, symbol: str) -> HttpResponse:
    """Store a listed symbol as an asset and fetch its first candles, as a job. Twice is once."""
    symbol = canonical(symbol)
    if not Asset.objects.filter(symbol=symbol).exists():
        if not listings.listed([symbol]):
            raise Http404(unknown(symbol))
        Asset.objects.bulk_create(listings.unsaved([symbol]), ignore_conflicts=True)
        messages.success(request, f"{symbol} is kept from now on. Its candles are being fetched.")
    asset = Asset.objects.get(symbol=symbol)
    if not asset.is_sample and not asset.series.exists():
        refresh_asset(asset, request.user)
    return redirect(asset)
