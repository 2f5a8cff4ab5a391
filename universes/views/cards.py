"""Universes as cards: on home and in the list."""

from typing import Any

from chronos.core import figures
from marketdata.freshness import Freshness
from marketdata.quotes import Quote, quotes
from universes.models import Membership, Universe


def sketch(found: list[Universe], shown: int = 5) -> dict[int, dict[str, Any]]:
    """By universe id, what a card of it says: its size, quotes of the first members that have candles, how many rose
    and fell. Members stand in their owner's order, as on the universe's page."""
    stays = Membership.objects.current().filter(universe__in=[universe.pk for universe in found])
    by_universe: dict[int, list[Membership]] = {universe.pk: [] for universe in found}
    for stay in stays.select_related("asset").order_by("position", "asset__symbol"):
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
        "quotes": sorted(quoted, key=lambda quote: quote.last is None)[:shown],
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
