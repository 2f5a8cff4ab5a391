"""The page of one backtest: while it runs, how it failed, and its result."""

from datetime import timedelta
from typing import Any

import orjson
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from chronos.core import activity, figures
from chronos.core.hypermedia import Asked, Signed, page, wants_part
from chronos.core.models import User
from chronos.core.tokens import open_to_tokens
from marketdata.charts import USUAL
from marketdata.models import Series, Timeframe
from signals import backtests, telling, wording
from signals.charts import equity, excursions, price, returns
from signals.loading import backtest_of
from signals.models import Backtest, Trade
from signals.views import result_cells, trades

SOON = 3  # seconds in which a run of some years is done: so long the page looks for itself
SCALES = ("linear", "log")
PARTS = ("equity", "price", "trades")  # that HTMX may ask for alone, by the id of what it fills


@require_safe
def backtest(request: Signed, pk: int) -> HttpResponse:
    """A backtest in whatever state it is. Everything that can be chosen on the page is in its address."""
    found = backtest_of(request, pk)
    state = found.state
    context: dict[str, Any] = {"backtest": found, "state": state, **_head(found)}
    part = request.htmx.target if wants_part(request) else ""
    part = part if part in PARTS else "body"
    if state != "done":
        context |= {"job": activity.row(found.job) if found.job else None, "part": "strip", "soon": _soon(found)}
        return page(request, "signals/backtest.html", context, part="body")
    if part == "body":
        backtests.look_for_stale([found])
        context |= _result(found) | _made(found, request.user)
    if part in ("body", "equity"):
        context |= _equity(request, found)
    if part in ("body", "price"):
        context |= _price(request, found)
    if part in ("body", "trades"):
        context |= trades.table(request, found)
    return page(request, "signals/backtest.html", context, part=part)


@require_safe
def backtest_trades(request: Signed, pk: int) -> HttpResponse:
    """The table of trades as a part; asked for alone, the page that it is on."""
    found = backtest_of(request, pk)
    if not wants_part(request) or found.state != "done":
        return backtest(request, pk)
    return page(request, "signals/backtest.html", {"backtest": found, **trades.table(request, found)}, part="trades")


def _head(found: Backtest) -> dict[str, Any]:
    return {
        "kind": wording.label_of(found.kind),
        "ran_on": telling.ran_on(found),
        "parameters": wording.parameters(found.kind, found.parameters),
        "asked": figures.ago(found.created_at),
        "asked_at": f"{figures.moment(found.created_at)} UTC",
    }


def _soon(found: Backtest) -> bool:
    """Whether it was asked for just now: announcements may have come before the page was listening."""
    return (timezone.now() - found.created_at).total_seconds() < SOON


# --- What came of it ---------------------------------------------------------------------------------------------


def _result(found: Backtest) -> dict[str, Any]:
    first, *rest = telling.verdict(found.metrics, found.asset.symbol)
    return {
        "verdict": first,
        "verdict_more": " ".join(rest),
        "warnings": [one for one in found.warnings if one["level"] == "warning"],
        "remarks": [one for one in found.warnings if one["level"] != "warning"],
        "tiles": result_cells.tiles(found),
        "groups": result_cells.groups(found),
        **_of_trades(found),
    }


def _of_trades(found: Backtest) -> dict[str, Any]:
    dots = excursions.dots(found)
    return {"excursions_say": excursions.says(dots), "has_dots": bool(dots), "by_reason": result_cells.by_reason(found)}


# --- Parts with choices of their own -----------------------------------------------------------------------------


def _equity(request: Signed, found: Backtest) -> dict[str, Any]:
    told = result_cells.of_curve(found)
    asked = request.GET.get("scale", "")
    return told | {
        "best_case": "optimistic_return" in found.metrics,
        "scale": asked if asked in SCALES else told.get("usual_scale", "linear"),
        "unit": "percent" if request.GET.get("unit") == "percent" else "money",
    }


def _price(request: Signed, found: Backtest) -> dict[str, Any]:
    """The trade that is looked at, those before and after it, and what is seen of the others."""
    names = price.ranges(found)
    chosen = _trade(found, request.GET.get("trade", ""))
    asked = request.GET.get("range", "")
    if chosen is None and asked not in {name for name, _ in names}:
        asked = price.usual_range(found)
    since, until = price.limits(found, asked, chosen)
    held, many = price.marked(found, since, until, chosen)
    numbers = _around(found, chosen)
    return {
        "price_says": price.says(held, many, there=price.has_candles(found)),
        "ranges": names,
        "range": "" if chosen else asked,
        "trade": trades.row(found, chosen) if chosen else None,
        "trade_says": _trade_says(found, chosen) if chosen else "",
        **numbers,
    }


def _trade(found: Backtest, text: str) -> Trade | None:
    number = int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else -1
    return Trade.objects.filter(backtest=found, number=number).first() if number >= 0 else None


def _around(found: Backtest, chosen: Trade | None) -> dict[str, Any]:
    """Where stepping leads: through the trades in their order, from the first when none is looked at."""
    many = (found.trade_count or 0) + Trade.objects.filter(backtest=found, is_open=True).count()
    if chosen is None:
        return {"before": None, "after": 0 if many else None, "many": many}
    before, after = chosen.number - 1, chosen.number + 1
    return {"before": before if before >= 0 else None, "after": after if after < many else None, "many": many}


def _trade_says(found: Backtest, one: Trade) -> str:
    cell = trades.row(found, one)
    said = f"{cell['side']} {cell['quantity']} at {cell['entry_price']} on {cell['entered']}"
    if one.is_open:
        said += f", still open at the end at {cell['profit']} ({cell['change']} %)"
    else:
        said += f"; left by {cell['reason'].lower()} at {cell['exit_price']} on {cell['left']}"
        said += f" after {figures.counted((one.exit_bar or 0) - one.entry_bar, 'bar')}: {cell['profit']}"
        said += f" ({cell['change']} %)"
    said += f". On the way it was {cell['mae']} % at worst and {cell['mfe']} % at best."
    return said + (
        " What came first inside its last candle is not known: the worse was taken." if one.ambiguous else ""
    )


# --- How it was made ---------------------------------------------------------------------------------------------


def _made(found: Backtest, user: User) -> dict[str, Any]:
    source = (
        Series.objects.filter(asset=found.asset, timeframe=found.timeframe).values_list("source", flat=True).first()
    )
    data = [
        ("Candles", f"{found.asset.symbol}, {Timeframe(found.timeframe).label}"),
        ("Range", f"{telling.moment(found, found.first_open)} to {telling.moment(found, found.last_open)}"),
        ("Read from", telling.moment(found, found.read_from)),
        ("Bars", figures.integer(found.bars)),
        ("A year has", f"{found.metrics.get('periods_per_year', 0):,.6g} bars".replace(",", "\u202f")),
        ("Source", source or figures.NOTHING),
        ("Revision", figures.integer(found.revision)),
        ("Fingerprint", found.fingerprint),
    ]
    seconds = found.seconds or 0.0
    made = [
        ("Run", f"{figures.moment(found.finished_at)} UTC"),
        ("Took", figures.lasted(timedelta(seconds=seconds)) if seconds >= 1 else f"{seconds * 1000:.0f} ms"),
        ("Code", found.code_version),
        ("Checksum", found.checksum),
    ]
    reruns = [one.pk for one in Backtest.objects.of(user).filter(rerun_of=found).order_by("pk").only("pk")[:20]]
    terms = telling.terms(found.terms)
    if found.benchmark:
        terms.append(("Benchmark", found.benchmark.symbol))
    return {"terms": terms, "data": data, "made": made, "reruns": reruns}


# --- Figures -----------------------------------------------------------------------------------------------------


@open_to_tokens
@require_safe
def chart(request: Signed, pk: int, name: str) -> HttpResponse:
    """A chart as JSON, for a drawing `width` pixels wide. Parameters as the page's."""
    if name not in FIGURES:
        raise Http404(f"A backtest has the charts {', '.join(FIGURES)}, and none called {name[:40]}.")
    found = backtest_of(request, pk)
    if found.state != "done":
        raise Http404(f"Backtest {pk} has no result that could be drawn.")
    text = request.GET.get("width", "")
    width = int(text) if text.isdecimal() and text.isascii() and len(text) < 6 else USUAL
    body = orjson.dumps(FIGURES[name](request, found, width))
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "private, no-cache"})


def _equity_figure(request: Asked, found: Backtest, width: int) -> dict[str, Any]:
    curve = _there(equity.read(found, "equity", "hold", "benchmark", "optimistic"), found)
    asked, percent = request.GET.get("scale", ""), request.GET.get("unit") == "percent"
    scale = asked if asked in SCALES else equity.usual_scale(curve)
    return equity.figure(found, curve, width=width, logarithmic=scale == "log", percent=percent)


def _price_figure(request: Asked, found: Backtest, width: int) -> dict[str, Any]:
    chosen = _trade(found, request.GET.get("trade", ""))
    since, until = price.limits(found, request.GET.get("range", ""), chosen)
    shown = _there(price.candles(found, since, until, width), found)
    held, _ = price.marked(found, since, until, chosen)
    return price.figure(shown, held, chosen, found.terms.get("exits") or {})


def _returns_figure(request: Asked, found: Backtest, width: int) -> dict[str, Any]:
    return returns.figure(_there(returns.spread(_there(equity.read(found, "equity", "gross"), found)), found))


def _excursions_figure(request: Asked, found: Backtest, width: int) -> dict[str, Any]:
    return excursions.figure(excursions.dots(found), found.terms.get("exits") or {})


def _there(what: Any, found: Backtest) -> Any:
    if what is None:
        raise Http404(f"There is nothing to draw of backtest {found.pk}.")
    return what


FIGURES = {
    "equity": _equity_figure, "price": _price_figure, "returns": _returns_figure, "excursions": _excursions_figure,
}  # fmt: skip
