"""The comparison of members: a drawing of lines, its legend, its table, its file. A part of the universe's page, and a
page of its own."""

import csv
import io
from datetime import date
from itertools import count
from math import log10
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page, wants_part
from universes import performance as compared
from universes.loading import seen
from universes.models import Universe
from universes.performance import Comparison, Line
from universes.views.universe import COMPARED, as_on_the_page, moment

WIDTH, HEIGHT = 1000, 1000  # of the drawing's view box; the page stretches it
POINTS = 400  # more than pixels say nothing more
APART = 10  # days without a candle after which a line is broken
ROWS = 24  # of the table
SCALES, WEIGHS = ("linear", "log"), (compared.DATED, compared.NOW, compared.OFF)
WHOSE = {compared.DATED: "Members of each day", compared.NOW: "Today’s members", compared.OFF: "Off"}


@require_http_methods(["GET", "HEAD", "POST"])
def performance(request: Signed, pk: int) -> HttpResponse:
    """Chosen members (`compare=A,B`) over a span. A POST names them by the boxes of the table."""
    found = seen(request, pk)
    if request.method == "POST":
        as_on_the_page(request, found)
        asked = request.GET.copy()
        asked["compare"] = ",".join(symbol[:40] for symbol in request.POST.getlist("symbol")[: compared.MOST])
        request.GET = QueryDict(asked.urlencode())
        if not wants_part(request):
            return redirect(f"{reverse('universes:performance', args=[pk])}?{_query(request)}")
    told, context = _told(request, found)
    context |= {"universe": found, "says": _says(told, context["weigh"]), "drawing": _drawing(told, context["scale"])}
    context |= {"left_out": told.left_out, "has_universe": told.universe is not None}
    context |= {"table": _table(told), "alone": not wants_part(request), "query": _query(request)}
    response = page(request, "universes/performance.html", context, part="comparison")
    on_page = request.htmx.current_url_abs_path or ""
    if (
        wants_part(request)
        and on_page.partition("?")[0] == found.get_absolute_url()
        and request.htmx.trigger != "performance"
    ):
        response.headers["HX-Replace-Url"] = _beside_the_table(request, found)
    return response


@require_safe
def performance_csv(request: Signed, pk: int) -> HttpResponse:
    """Every day of the comparison, each line as a share of 100."""
    found = seen(request, pk)
    told, context = _told(request, found)
    text = io.StringIO()
    csv.writer(text).writerows(compared.exact(told))
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    name = f"{slugify(found.name) or 'universe'}_performance_{context['span']}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


@require_safe
def performance_json(request: Signed, pk: int) -> HttpResponse:
    """What the drawing reads out under the pointer: the drawn days and each line's values on them, as words."""
    told, _ = _told(request, seen(request, pk))
    places = _picked(len(told.days))
    body = {
        "days": [figures.day(told.days[place]) for place in places],
        "at": [_across(place, len(told.days)) / WIDTH for place in places],
        "lines": {line.symbol: [_percent(_near(line, place)) for place in places] for line in _every(told)},
    }
    headers = {"Cache-Control": "private, no-store"}
    return HttpResponse(orjson.dumps(body), content_type="application/json", headers=headers)


def _told(request: HttpRequest, found: Universe) -> tuple[Comparison, dict[str, Any]]:
    """The comparison that the address asks for, and the choices it is made by."""
    asked = request.GET
    span = next((name for name, _ in compared.SPANS if name == asked.get("span")), "1y")
    scale = asked.get("scale") if asked.get("scale") in SCALES else "linear"
    weigh = asked.get("weigh", "")
    weigh = weigh if weigh in WEIGHS else compared.DATED
    at, _ = moment(request)
    symbols = [part[:40] for part in asked.get("compare", "")[:500].split(",") if part.strip()]
    told = compared.compare(found, symbols[: 2 * compared.MOST], span, at=at, weigh=weigh)
    return told, {
        "span": span,
        "spans": compared.SPANS,
        "scale": scale,
        "weigh": weigh,
        "whose": list(WHOSE.items()),
        "at": at,
    }


def _query(request: HttpRequest) -> str:
    asked = QueryDict(mutable=True)
    for key in (*COMPARED, "at"):
        if value := request.GET.get(key, ""):
            asked[key] = value[:500]
    return asked.urlencode(safe=",")


def _beside_the_table(request: Signed, found: Universe) -> str:
    """The universe's address as it is, with what is compared now."""
    on_page = QueryDict((request.htmx.current_url or "").partition("?")[2], mutable=True)
    for key in COMPARED:
        on_page.pop(key, None)
        if value := request.GET.get(key, ""):
            on_page[key] = value[:500]
    query = on_page.urlencode(safe=",")
    return f"{found.get_absolute_url()}?{query}" if query else found.get_absolute_url()


# --- Words -------------------------------------------------------------------------------------------------------


def _says(told: Comparison, weigh: str) -> str:
    """What to see, in sentences."""
    if not told.lines:
        return ""
    ranked = sorted(told.lines, key=lambda line: line.change, reverse=True)
    best, worst = ranked[0], ranked[-1]
    says = f"From {figures.day(told.days[0])} to {figures.day(told.days[-1])} {best.symbol} {_moved(best)}"
    says += f", the most of these; {worst.symbol} {_moved(worst)}, the least." if len(ranked) > 1 else "."
    if told.universe is None:
        return says
    begins = told.days[told.universe.ends()[0]]
    since = f" since {figures.day(begins)}, when it got its first members," if begins > told.days[0] else ""
    whose = "its members of each day" if weigh == compared.DATED else "today’s members throughout, which is hindsight"
    return f"{says} The universe,{since} {whose}, all with the same weight, {_moved(told.universe)}."


def _moved(line: Line) -> str:
    way = "gained" if line.change >= 0 else "lost"
    return f"{way} {figures.percent(abs(line.change), 1).lstrip('+')} %"


def _percent(value: float | None) -> str:
    return figures.NOTHING if value is None else figures.percent(value / 100 - 1, 1)


def _every(told: Comparison) -> list[Line]:
    return [*told.lines, *([told.universe] if told.universe else [])]


def _table(told: Comparison) -> dict[str, Any]:
    """Some days of the comparison, the newest first: the file has them all."""
    step = max(1, -(-len(told.days) // ROWS))
    places = list(range(len(told.days) - 1, -1, -step))
    lines = _every(told)
    rows = [(figures.day(told.days[place]), [_level(_near(line, place)) for line in lines]) for place in places]
    return {"head": [line.symbol or "Universe" for line in lines], "rows": rows}


def _level(value: float | None) -> str:
    return figures.NOTHING if value is None else f"{value:.1f}"


def _near(line: Line, place: int) -> float | None:
    """The value on a day, or the last one before if that is not long ago: markets have different days."""
    for at in range(place, max(-1, place - APART), -1):
        if line.values[at] is not None:
            return line.values[at]
    return None


# --- The drawing: coordinates in a box that the page stretches ---------------------------------------------------


def _drawing(told: Comparison, scale: str) -> dict[str, Any]:
    lines = _every(told)
    values = [value for line in lines for value in line.values if value is not None]
    if not values:
        return {}
    logarithmic = scale == "log"
    low, high = min(values), max(values)

    def down(value: float) -> float:
        bottom, top, at = (log10(v) if logarithmic else v for v in (low, high, value))
        return HEIGHT * (0.97 - 0.94 * (at - bottom) / max(top - bottom, 1e-9))

    drawn: list[dict[str, Any]] = [
        {
            "symbol": line.symbol,
            "asset": line.asset,
            "hue": line.hue,
            "paths": _paths(line, told.days, down),
            "change": figures.percent(line.change, 1),
            "direction": figures.direction(line.change),
            "since": figures.day(told.days[line.ends()[0]]) if line.ends()[0] else "",
            "by": line.change,
        }
        for line in lines
    ]
    drawn.sort(key=lambda line: (line["asset"] is None, -line["by"]))
    return {
        "lines": drawn,
        "levels": [(f"{down(level) / HEIGHT:.2%}", figures.integer(level), level == 100) for level in
                   _levels(low, high, logarithmic)],
        "days": _marks(told.days),
        "base": f"{down(100) / HEIGHT:.2%}" if low <= 100 <= high else "",
    }  # fmt: skip


def _picked(count: int) -> list[int]:
    step = max(1, -(-count // POINTS))
    return [*range(0, count - 1, step), count - 1] if count else []


def _across(place: int, count: int) -> float:
    return WIDTH * place / max(count - 1, 1)


def _paths(line: Line, days: list[date], down: Any) -> list[str]:
    """Polylines: one, or several where the line is broken."""
    found: list[list[str]] = []
    last: date | None = None
    for place in _picked(len(days)):
        value = line.values[place]
        if value is None and len(days) > POINTS:
            value = _near(line, place)
        if value is None or value <= 0:
            continue
        if last is None or (days[place] - last).days > max(APART, 3 * len(days) // POINTS):
            found.append([])
        found[-1].append(f"{_across(place, len(days)):.1f},{down(value):.1f}")
        last = days[place]
    return [" ".join(points) for points in found if len(points) > 1]


def _levels(low: float, high: float, logarithmic: bool) -> list[int]:
    """Round numbers between two values, four or so."""
    if logarithmic and high / max(low, 1e-9) > 8:
        steps = [m * 10**e for e in range(0, 7) for m in (1, 2, 5)]
        inside = [step for step in steps if low <= step <= high]
        return inside if len(inside) <= 8 else [step for step in inside if str(step)[0] == "1"]
    step = next(step for e in count() for m in (1, 2, 5) if (high - low) / (step := m * 10**e) <= 5)
    return [level for level in range(int(low // step) * step, int(high) + step, step) if low <= level <= high]


def _marks(days: list[date]) -> list[tuple[str, str, str]]:
    """Where the axis of days is labelled: at the first day of some months or years, or at some days."""
    count = len(days)
    span = (days[-1] - days[0]).days
    words = "{:%Y}" if span > 6 * 365 else "{:%b %Y}" if span > 100 else "{0.day} {0:%b}"
    begins = [place for place in range(1, count) if _period(days[place], span) != _period(days[place - 1], span)]
    step = max(1, -(-len(begins) // 7))
    return [
        (f"{place / max(count - 1, 1):.2%}", words.format(days[place]), "wide" if n % 2 else "")
        for n, place in enumerate(begins[::step])
        if 0.03 < place / max(count - 1, 1) < 0.97
    ]


def _period(day: date, span: int) -> Any:
    return day.year if span > 6 * 365 else (day.year, day.month) if span > 100 else day.isocalendar()[:2]
