"""The palette over every page: pages, universes, strategies and assets by a few letters.

Composed here, where all floors meet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page, wants_part
from marketdata.directory import search
from marketdata.directory.folding import words
from marketdata.directory.search import Hit
from signals import wording
from signals.models import Strategy
from universes.catalogue import visible

ASSETS, UNIVERSES, STRATEGIES, PAGES = 8, 5, 5, 4  # lines of each, once something is typed
LOOKED_THROUGH = 500  # universes, and strategies


@dataclass(frozen=True)
class Line:
    """One thing to go to. `also`: other words that find it."""

    name: str
    url: str
    icon: str
    detail: str = ""
    kind: str = ""
    also: str = ""

    def fits(self, asked: Sequence[str]) -> bool:
        """Whether every word is the beginning of one of its own."""
        own = words(f"{self.name} {self.also}")
        return all(any(word.startswith(typed) for word in own) for typed in asked)


@dataclass(frozen=True)
class Group:
    name: str
    lines: list[Line]


# Name of the route, what it is called, its icon, other words for it; the first ones are shown before one types.
_PAGES = (
    ("home", "Home", "home", "start dashboard comparison"),
    ("universes:universes", "Universes", "universes", "lists portfolios watchlists"),
    ("marketdata:assets", "Assets", "assets", "symbols tickers stocks search directory"),
    ("signals:strategies", "Strategies", "strategies", "rules systems parameters"),
    ("marketdata:data", "Data", "data", "candles freshness gaps coverage providers keys"),
    ("core:activity", "Activity", "activity", "jobs running log progress"),
    ("universes:new", "New universe", "plus", "create add make list"),
    ("signals:new-strategy", "New strategy", "plus", "create add make rule"),
    ("core:settings", "Settings", "settings", "profile account e-mail email name"),
    ("marketdata:validate", "Check a symbol", "search", "validate verify real ticker ask providers"),
    ("marketdata:quarantine", "Quarantine", "data", "held candles doubtful spikes release"),
    ("marketdata:windows", "Fetch windows", "data", "ledger coverage asked requests providers"),
    ("core:security", "Security", "key", "password two-step totp passkeys recovery codes"),
    ("core:sessions", "Sessions", "settings", "devices signed in sign out elsewhere"),
    ("core:tokens", "API tokens", "key", "keys programs access rest mcp"),
    ("swagger", "API reference", "key", "openapi swagger rest documentation programs try"),
    ("core:appearance", "Appearance", "theme", "theme light dark"),
)
FIRST = 8


def frame(request: HttpRequest) -> dict[str, Any]:
    """A context processor: the pages that the palette shows at once, before it has asked for anything."""
    user = getattr(request, "user", None)
    if not user or not user.is_authenticated:
        return {}
    return {"palette": SimpleLazyObject(lambda: [Group("Go to", _pages(user.is_staff)[:FIRST])])}


@require_safe
def palette(request: Signed) -> HttpResponse:
    """The lines that fit what is typed; under HTMX only, since without it the search is a page of its own."""
    text = request.GET.get("q", "").strip()[: search.LONGEST]
    if not wants_part(request):
        return redirect(f"{reverse('marketdata:assets')}?{urlencode({'q': text})}" if text else "marketdata:assets")
    groups = _found(request, text) if text else _likely(request)
    return page(request, "ui/palette.html", {"palette": groups, "asked": text}, part="lines")


def _likely(request: Signed) -> list[Group]:
    """Before one types: pages, and the person's own universes."""
    own = [line for line in _universes(request, ()) if line.kind == ""][:UNIVERSES]
    groups = [Group("Go to", _pages(request.user.is_staff)[:FIRST]), Group("Universes", own)]
    return [group for group in groups if group.lines]


def _found(request: Signed, text: str) -> list[Group]:
    """A symbol that is typed in full comes first; else what is the person's own, which is less."""
    asked = words(text)
    found = search.find(text, limit=ASSETS)
    everywhere = f"{reverse('marketdata:assets')}?{urlencode({'q': text})}"
    more = [Line(f"All assets for “{text}”", everywhere, "search")] if found.more else []
    assets = Group("Assets" if not found.near else "Near misses", [*map(_asset, found.hits), *more])
    pages = [line for line in _pages(request.user.is_staff) if asked and line.fits(asked)][:PAGES]
    own = [Group("Universes", _universes(request, asked)[:UNIVERSES]), Group("Strategies", _strategies(request, asked))]
    groups = [*(own if asked else []), Group("Go to", pages)]
    exact = found.hits and found.hits[0].step == search.EXACT
    groups = [assets, *groups] if exact else [*groups, assets]
    return [group for group in groups if group.lines]


def _pages(staff: bool) -> list[Line]:
    lines = [Line(name, reverse(route), icon, also=also) for route, name, icon, also in _PAGES]
    return [*lines, Line("Curation", reverse("admin:index"), "shield", also="admin staff users")] if staff else lines


def _universes(request: Signed, asked: Iterable[str]) -> list[Line]:
    lines = (
        Line(
            universe.name,
            universe.get_absolute_url(),
            "universes",
            figures.counted(universe.size, "member"),  # type: ignore[attr-defined]
            "" if universe.owner_id == request.user.pk else "Public" if universe.owner_id is None else "Shared",
        )
        for universe in visible(request.user)[:LOOKED_THROUGH]
    )
    asked = list(asked)
    return [line for line in lines if line.fits(asked)]


def _strategies(request: Signed, asked: Sequence[str]) -> list[Line]:
    found = Strategy.objects.of(request.user).filter(archived_at=None).only("pk", "name", "kind")
    lines = (
        Line(strategy.name, strategy.get_absolute_url(), "strategies", wording.label_of(strategy.kind))
        for strategy in found[:LOOKED_THROUGH]
    )
    return [line for line in lines if line.fits(asked)][:STRATEGIES]


def _asset(hit: Hit) -> Line:
    where = ", ".join(part for part in (hit.exchange, hit.asset_class) if part)
    name = f"{hit.name} · {where}" if hit.name else where
    return Line(hit.symbol, hit.url, "assets", name, "" if hit.stored else "Listed only")
