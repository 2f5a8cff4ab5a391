"""The pages of this floor, a module a noun; here what several of them need."""

import math
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest
from django.utils.functional import SimpleLazyObject

from chronos.core import figures
from chronos.core.hypermedia import Signed
from marketdata import sources
from marketdata.loading import may_change, stored_asset
from marketdata.models import Asset, ProviderState


def frame(request: HttpRequest) -> dict[str, Any]:
    """A context processor: the providers that do not answer, for the banner of every page."""
    user = getattr(request, "user", None)  # a request refused early (a wrong host) has none
    return {"provider_faults": SimpleLazyObject(_faults) if user and user.is_authenticated else ()}


def _faults() -> list[dict[str, str]]:
    return [
        {
            "name": sources.label(state.provider),
            "since": f"{figures.moment(state.failing_since)} UTC",
            "why": state.failure,
        }
        for state in ProviderState.objects.exclude(failing_since=None).order_by("provider")
    ]


def page_number(request: HttpRequest) -> int:
    """The page that the address asks for; whatever is no number is the first."""
    text = request.GET.get("page", "")
    return max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1


def paged(request: HttpRequest, total: int, size: int) -> tuple[dict[str, int], slice]:
    """What the pager needs and which rows it is about; beyond the last page is the last."""
    pages = max(1, math.ceil(total / size))
    number = min(page_number(request), pages)
    return {"page": number, "pages": pages}, slice((number - 1) * size, number * size)


def searched(request: HttpRequest, name: str = "q") -> str:
    """What was typed into a search field, at most 100 characters of it."""
    return request.GET.get(name, "").strip()[:100]


def heading(request: HttpRequest, name: str, label: str, first: str, key: str, backwards: bool) -> dict[str, str]:
    """A column's heading that sorts: `first` is its usual order, and once more turns it round."""
    query = request.GET.copy()
    query.pop("page", None)
    turned = first.removeprefix("-") if first.startswith("-") else f"-{first}"
    usual_now = name == key and backwards == first.startswith("-")
    query["sort"] = turned if usual_now else first
    state = ("descending" if backwards else "ascending") if name == key else "none"
    return {"name": name, "label": label, "query": f"?{query.urlencode()}", "state": state}


def only_those_who_may(request: Signed, model: type[Model], says: str) -> None:
    """Raise `PermissionDenied`, with these words for the page, for everybody else."""
    if not may_change(request.user, model):
        raise PermissionDenied(says)


def asset_called(symbol: str) -> Asset:
    """The one loader: a stored asset, or a 404 that says what to do."""
    found = stored_asset(symbol)
    if found is None:
        raise Http404(f"No asset is called {symbol}. Add it to a universe, or import its candles.")
    return found
