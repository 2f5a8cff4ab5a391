"""Backtests side by side."""

from typing import Any

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from marketdata.charts import USUAL
from marketdata.models import Timeframe
from signals import comparing, listing
from signals.models import Backtest
from signals.numerals import whole


@require_http_methods(["GET", "HEAD", "POST"])
def compare(request: Signed) -> HttpResponse:
    """Those that `ids` of the address names, two to four; of one alone what it could be compared with.

    The list's form sends its choice as `id`, and is led to the address that says it.
    """
    if request.method == "POST":
        return redirect(_address([whole(text) for text in request.POST.getlist("id")[: comparing.MOST]]))
    found = comparing.chosen(request.user, _asked(request))
    names = comparing.labels(found)
    context: dict[str, Any] = {
        "sides": _sides(found, names),
        "names": names,
        "most": comparing.MOST,
        "scale": "log" if request.GET.get("scale") == "log" else "linear",
        "ids": ",".join(str(one.pk) for one in found),
        "others": _others(request, found) if len(found) < comparing.MOST else [],
    }
    if len(found) > 1:
        context |= _compared(found, names)
    return page(request, "signals/compare.html", context)


def _compared(found: list[Backtest], names: list[str]) -> dict[str, Any]:
    inputs = comparing.inputs(found)
    done = [one for one in found if comparing.has_result(one)]
    told: dict[str, Any] = {
        "different": [row for row in inputs if row.differs],
        "same": [row for row in inputs if not row.differs],
        "doubts": comparing.doubts(found, names),
        "verdict": comparing.verdict(found, names),
        "groups": comparing.measured(found),
    }
    drawn = comparing.together(done)
    if drawn is not None:
        lines = _lines(found, names)
        ends = [figures.percent(float(values[-1]) / comparing.BASE - 1, 1) for values in drawn.values]
        told |= {
            "lines": [(name, f"hue-{place}", end) for place, ((name, _), end) in
                      enumerate(zip(lines, ends, strict=True), start=1)],
            "says": comparing.says(drawn, [name for name, _ in lines]),
            "table": comparing.rows(drawn),
        }  # fmt: skip
    return told


def _lines(found: list[Backtest], names: list[str]) -> list[tuple[str, Backtest]]:
    return [(name, one) for name, one in zip(names, found, strict=True) if comparing.has_result(one)]


@require_safe
def compare_chart(request: Signed) -> HttpResponse:
    """Their equity as a figure, for a drawing `width` pixels wide."""
    found = comparing.chosen(request.user, _asked(request))
    lines = _lines(found, comparing.labels(found))
    drawn = comparing.together([one for _, one in lines])
    if drawn is None:
        raise Http404("These backtests have no days in common that could be drawn.")
    daily = all(Timeframe(one.timeframe).is_daily for _, one in lines)
    width = whole(request.GET.get("width", "")[:5]) or USUAL
    told = comparing.figure(
        drawn, [name for name, _ in lines], width=width, logarithmic=request.GET.get("scale") == "log", daily=daily
    )
    headers = {"Cache-Control": "private, no-cache"}
    return HttpResponse(orjson.dumps(told), content_type="application/json", headers=headers)


def _asked(request: HttpRequest) -> list[int]:
    pks = [whole(text) for text in request.GET.get("ids", "")[:200].split(",")]
    return [pk for pk in pks if pk]


def _address(pks: list[int]) -> str:
    return f"{reverse('signals:compare-backtests')}?ids={','.join(str(pk) for pk in pks if pk)}"


def _sides(found: list[Backtest], names: list[str]) -> list[dict[str, Any]]:
    hues = {one.pk: f"hue-{place}" for place, (_, one) in enumerate(_lines(found, names), start=1)}
    return [
        {
            "backtest": one,
            "name": name,
            "hue": hues.get(one.pk, ""),
            "state": one.state,
            "range": listing.span(one),
            "when": figures.ago(one.created_at),
            "gained": figures.percent(one.total_return),
            "direction": figures.direction(one.total_return),
            "without": _address([other.pk for other in found if other is not one]),
        }
        for one, name in zip(found, names, strict=True)
    ]


def _others(request: Signed, found: list[Backtest]) -> list[dict[str, Any]]:
    pks = [one.pk for one in found]
    return [
        {
            "backtest": one,
            "address": _address([*pks, one.pk]),
            "range": listing.months(one),
            "gained": figures.percent(one.total_return),
            "direction": figures.direction(one.total_return),
            "when": figures.ago(one.created_at),
        }
        for one in comparing.candidates(request.user, found)
    ]
