"""Home: what is worth knowing this morning, composed from all floors."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from chronos.core import activity, figures, tokens
from chronos.core.hypermedia import Signed, page
from chronos.core.models import Job
from marketdata.models import Asset
from marketdata.quotes import Quote, last_closes, preferred
from universes import catalogue
from universes.models import Universe
from universes.views.cards import sketch

LINES = 6  # compared in the large drawing, as many as the palette tells apart
SPANS = (("3mo", "3 months", 92), ("1y", "1 year", 366), ("5y", "5 years", 1827))  # in days
DAY = 86_400
WIDTH, HEIGHT = 720, 260
MOVERS = 4


@require_safe
def home(request: Signed) -> HttpResponse:
    """Universes as cards, the movers, the last jobs, and one universe's members compared."""
    found = list(catalogue.visible(request.user))
    cards = sketch(found)
    every = {quote.asset.pk: quote for card in cards.values() for quote in card["all_quotes"]}
    compared = _compared(request, found, cards)
    context: dict[str, Any] = {
        "cards": [cards[universe.pk] for universe in found],
        "greeting": _greeting(every.values()),
        "movers": _movers(every.values()),
        "jobs": [activity.row(job) for job in Job.objects.of(request.user).select_related("owner").running_first()[:5]],
        **compared,
    }
    part = request.GET.get("as", "")
    return page(request, "home.html", context, part=part if part in ("cards", "recent") else "comparison")


def _greeting(every: Iterable[Quote]) -> str:
    """The state of the house in a sentence."""
    every = list(every)
    if not every:
        return "There are no assets yet. Make a universe and add the first."
    live = [quote for quote in every if not quote.sample]
    with_candles = [quote for quote in live if quote.last is not None]
    if not with_candles:
        return (
            f"{figures.counted(len(live), 'asset')} wait for their first candles; until then the bundled sample shows"
            " what this page does."
            if live
            else "Only the bundled sample is here. Make a universe of your own."
        )
    fresh = sum(quote.freshness.level == "fresh" for quote in with_candles)
    lacking = len(live) - len(with_candles)
    missing = f" {lacking} have no candles yet." if lacking else ""
    return f"{fresh} of {figures.counted(len(live), 'asset')} are up to date.{missing}"


@dataclass(frozen=True)
class Movers:
    title: str
    note: str
    up: list[Quote]
    down: list[Quote]


def _movers(every: Iterable[Quote]) -> Movers | None:
    """Whose newest close differs most from the one before, among assets as fresh as it gets; else among the sample."""
    moved = [quote for quote in every if quote.change]
    live = [quote for quote in moved if not quote.sample and quote.freshness.level in ("fresh", "ageing")]
    chosen = live or [quote for quote in moved if not quote.sample] or moved
    if not chosen:
        return None
    newest = figures.day(max(quote.at for quote in chosen if quote.at))
    chosen.sort(key=lambda quote: quote.change or 0, reverse=True)
    sample = chosen[0].sample
    return Movers(
        title="Movers in the sample" if sample else "Movers",
        note=f"Close of {newest} against the close before",
        up=[quote for quote in chosen if (quote.change or 0) > 0][:MOVERS],
        down=[quote for quote in reversed(chosen) if (quote.change or 0) < 0][:MOVERS],
    )


# --- The comparison ----------------------------------------------------------------------------------------------


def _compared(request: Signed, found: list[Universe], cards: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """One universe's members, each rebased to 100 at the start of the span; both are in the address."""
    candidates = [universe for universe in found if any(quote.last for quote in cards[universe.pk]["all_quotes"])]
    if not candidates:
        return {"comparison": None}
    wanted = request.GET.get("universe", "")
    chosen = next((u for u in candidates if str(u.pk) == wanted), None) or _liveliest(candidates, cards)
    span = next((span for span in SPANS if span[0] == request.GET.get("span")), SPANS[1])
    assets = [quote.asset for quote in cards[chosen.pk]["all_quotes"] if quote.last is not None]
    return {
        "comparison": _drawing(assets, span[2]),
        "compared": chosen,
        "candidates": candidates,
        "span": span[0],
        "spans": [(name, label) for name, label, _ in SPANS],
        "compared_sample": cards[chosen.pk]["sample"],
    }


def _liveliest(candidates: list[Universe], cards: dict[int, dict[str, Any]]) -> Universe:
    """The universe with the newest candles; real before sample, one's own before public."""
    return max(
        candidates,
        key=lambda u: (not cards[u.pk]["sample"], u.owner_id is not None, cards[u.pk]["newest"] or timezone.now()),
    )


def _rebased(assets: list[Asset], days: int) -> dict[int, tuple[list[float], list[float]]]:
    """By asset id, opens and closes of the `days` before the newest candle of them all, the first close made 100.

    An asset whose candles ended before that, a sample beside live ones, has no part in the comparison.
    """
    closes = last_closes(preferred(assets), days)
    start = max((opens[-1] for opens, _ in closes.values()), default=0.0) - days * DAY
    rebased = {}
    for pk, (opens, values) in closes.items():
        first = bisect_left(opens, start)
        opens, values = opens[first:], values[first:]
        if len(values) > 1 and values[0]:
            rebased[pk] = (opens, [100 * value / values[0] for value in values])
    return rebased


def _drawing(assets: list[Asset], days: int) -> dict[str, Any]:
    """Lines of an SVG `WIDTH` by `HEIGHT`, on one time axis, with the grid and a row a line for the legend."""
    known = {asset.pk: asset for asset in assets}
    rebased = _rebased(assets, days)
    ranked = sorted(rebased, key=lambda pk: rebased[pk][1][-1], reverse=True)
    kept = ranked if len(ranked) <= LINES else ranked[: LINES // 2] + ranked[-(LINES - LINES // 2) :]
    if not kept:
        return {}
    start = min(rebased[pk][0][0] for pk in kept)
    end = max(rebased[pk][0][-1] for pk in kept)
    low = min(min(rebased[pk][1]) for pk in kept)
    high = max(max(rebased[pk][1]) for pk in kept)
    seconds = max(end - start, 1.0)

    def across(moment: float) -> float:
        return (moment - start) / seconds * WIDTH

    def down(value: float) -> float:
        return HEIGHT - 6 - (value - low) / max(high - low, 1e-9) * (HEIGHT - 12)

    lines: list[dict[str, Any]] = []
    for place, pk in enumerate(sorted(kept, key=lambda pk: known[pk].symbol), start=1):
        opens, values = rebased[pk]
        step = max(1, len(values) // 360)  # more points than pixels say nothing more
        picked = [*range(0, len(values) - 1, step), len(values) - 1]
        lines.append(
            {
                "asset": known[pk],
                "hue": place,
                "points": " ".join(f"{across(opens[n]):.1f},{down(values[n]):.1f}" for n in picked),
                "end": down(values[-1]),
                "change": figures.percent(values[-1] / 100 - 1, 1),
                "direction": figures.direction(values[-1] / 100 - 1),
                "value": values[-1],
            }
        )
    lines.sort(key=lambda line: line["value"], reverse=True)
    from_day, to_day = (figures.day(datetime.fromtimestamp(moment, UTC)) for moment in (start, end))
    return {
        "lines": lines,
        "grid": [{"y": f"{down(level):.1f}", "label": figures.integer(level)} for level in _levels(low, high)],
        "left_out": len(ranked) - len(kept),
        "start": from_day,
        "end": to_day,
        "says": _comparison_sentence(lines, from_day, to_day),
    }


def _levels(low: float, high: float) -> list[int]:
    """Round numbers between two values, four or so."""
    step = next(
        (s for s in (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2500, 10_000) if (high - low) / s <= 5), 50_000
    )
    return [level for level in range(int(low // step) * step, int(high) + step, step) if low <= level <= high]


def _comparison_sentence(lines: list[dict[str, Any]], start: str, end: str) -> str:
    best, worst = lines[0], lines[-1]
    best_text = f"{best['asset'].symbol} {'gained' if best['value'] >= 100 else 'lost'} {_size(best)} %"
    if len(lines) == 1:
        return f"{best_text} from {start} to {end}."
    worst_text = f"{worst['asset'].symbol} {'gained' if worst['value'] >= 100 else 'lost'} {_size(worst)} %"
    return f"From {start} to {end} {best_text}, the most of these; {worst_text}, the least."


def _size(line: dict[str, Any]) -> str:
    return figures.percent(abs(line["value"] / 100 - 1), 1).lstrip("+")


# --- Refusals ----------------------------------------------------------------------------------------------------


def _refused(request: HttpRequest, exception: Exception, *, status: int) -> HttpResponse:
    """The page of a 400, 403 or 404, with the words of whoever refused; for programs the words alone.

    An ASGI server has these made in another thread, outside the request's transaction and so outside its tenant: the
    page must not ask the database for anything, neither the frame's count of jobs nor its banner.
    """
    said = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    if hasattr(request, "api_token") or request.path.startswith("/api/"):
        return tokens.refused(status, said)
    context = {"said": said, "unfinished_jobs": 0, "provider_faults": ()}
    return render(request, f"{status}.html", context, status=status)


bad_request = partial(_refused, status=400)
forbidden = partial(_refused, status=403)
not_found = partial(_refused, status=404)
