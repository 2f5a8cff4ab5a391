"""The page of one backtest: while it runs, how it failed, and its result."""

from datetime import timedelta
from typing import Any

import orjson
from django.db.models import Count, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from chronos.core import activity, figures
from chronos.core.hypermedia import Asked, Signed, page, wants_part
from chronos.core.tokens import open_to_tokens
from marketdata.charts import USUAL
from marketdata.models import Series, Timeframe
from signals import backtests, cells, measures, telling, wording
from signals.charts import equity, excursions, price, returns
from signals.loading import backtest_of
from signals.models import Backtest, Trade
from signals.views import trades

SOON = 3  # seconds in which a run of some years is done: so long the page looks for itself
STEPS = 5  # of a colour, by how large a return is
PARTS = ("equity", "price", "trades")  # that HTMX may ask for alone, by the id of what it fills
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# The figures that matter first, each with what holding came to.
TILES = (
    ("total_return", "hold_return"), ("cagr", "hold_cagr"), ("max_drawdown", "hold_max_drawdown"),
    ("sharpe_ratio", "hold_sharpe_ratio"), ("win_rate", ""), ("psr", ""),
)  # fmt: skip


@require_safe
def backtest(request: Signed, pk: int) -> HttpResponse:
    """A backtest in whatever state it is. Everything that can be chosen on the page is in its address."""
    found = backtest_of(request, pk)
    state = backtests.state_of(found)
    context: dict[str, Any] = {"backtest": found, "state": state, **_head(found)}
    part = request.htmx.target if wants_part(request) else ""
    part = part if part in PARTS else "body"
    if state != "done":
        context |= {"job": activity.row(found.job) if found.job else None, "part": "strip", "soon": _soon(found)}
        return page(request, "signals/backtest.html", context, part="body")
    if part == "body":
        backtests.look_for_stale([found])
        context |= _result(found) | _made(found)
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
    if not wants_part(request) or backtests.state_of(found) != "done":
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
    curve = equity.read(found, "equity", "gross")
    first, *rest = telling.verdict(found.metrics, found.asset.symbol)
    return {
        "verdict": first,
        "verdict_more": " ".join(rest),
        "warnings": [one for one in found.warnings if one["level"] == "warning"],
        "remarks": [one for one in found.warnings if one["level"] != "warning"],
        "tiles": _tiles(found),
        "groups": _groups(found),
        **(_of_curve(found, curve) if curve else {}),
        **_of_trades(found),
    }


def _tiles(found: Backtest) -> list[dict[str, str]]:
    had = found.metrics
    held = had | {"hold_cagr": telling.yearly(had.get("hold_return"), had.get("years") or 0.0)}
    tiles = []
    for name, beside in TILES:
        measure = measures.MEASURES[name]
        value = had.get(name)
        tiles.append(
            {
                "label": measure.label,
                "value": cells.written(value, measure.kind),
                "way": figures.direction(value) if measure.kind == "change" else "",
                "beside": f"Holding {cells.written(held.get(beside), measure.kind)}"
                if beside
                else _beside(found, name),
                "says": measure.explanation,
            }
        )
    return tiles


def _beside(found: Backtest, name: str) -> str:
    """What stands under a figure that holding has none of."""
    had = found.metrics
    if name == "win_rate":
        factor = cells.written(had.get("profit_factor"), "ratio")
        return f"{figures.counted(had.get('trade_count') or 0, 'trade')}, profit factor {factor}"
    needed = had.get("min_track_record_length")
    if needed is None:
        return "" if had.get("psr") is None else "No length would make it sure"
    return f"Sure after {figures.counted(needed, 'bar')}; it has {figures.integer(found.bars)}"


def _groups(found: Backtest) -> list[dict[str, Any]]:
    """All figures, each with the line that explains it."""
    had = found.metrics
    groups = []
    for group in measures.GROUPS:
        if group.name == "benchmark" and not found.benchmark:
            continue
        rows = [
            {
                "label": one.label,
                "value": cells.written(had.get(one.name), one.kind),
                "way": figures.direction(had.get(one.name)) if one.kind == "change" else "",
                "says": one.explanation,
            }
            for one in group.measures
        ]
        groups.append({"name": group.name, "label": group.label, "rows": rows})
    return groups


def _of_curve(found: Backtest, curve: equity.Curves) -> dict[str, Any]:
    from signals import metrics

    months = metrics.monthly(curve.moments, curve.equity, curve.cash)
    years = dict(metrics.yearly(curve.moments, curve.equity, curve.cash))
    spread = returns.spread(curve)
    return {
        **_calendar(months, years),
        "drawdowns": [_drawdown(curve, fall) for fall in metrics.worst_drawdowns(curve.equity)],
        "spread_says": returns.says(found, spread, curve) if spread else "",
        "bins": returns.bins(spread) if spread else [],
    }


def _calendar(months: list[Any], years: dict[int, float | None]) -> dict[str, Any]:
    """Years and their months, the newest first, each coloured by how large it is beside the large ones of this run."""
    sizes = sorted(abs(month.change) for month in months if month.change)
    large = sizes[int(len(sizes) * 0.9)] if sizes else 0.0
    by_year: dict[int, dict[int, float | None]] = {}
    for month in months:
        by_year.setdefault(month.year, {})[month.month] = month.change
    rows = [
        {
            "year": year,
            "months": [_heat(given.get(month), large, month in given) for month in range(1, 13)],
            "whole": _heat(years[year], 0, True),
        }
        for year, given in sorted(by_year.items(), reverse=True)
    ]
    known = [month for month in months if month.change is not None]
    return {"calendar": rows, "months": MONTHS, "large": figures.percent(large, 1).lstrip("+"),
            "calendar_says": _months_say(known)}  # fmt: skip


def _heat(change: float | None, large: float, there: bool) -> dict[str, str]:
    if change is None:
        return {"text": figures.NOTHING if there else "", "heat": ""}
    step = min(STEPS, 1 + int(abs(change) / large * (STEPS - 1))) if large and round(change, 4) else 0
    heat = f"{'up' if change > 0 else 'down'}-{step}" if step else figures.direction(change) if not large else ""
    return {"text": figures.percent(change, 1), "heat": heat}


def _months_say(months: list[Any]) -> str:
    if not months:
        return ""
    gained = sum(month.change > 0 for month in months)
    still = sum(month.change == 0 for month in months)
    best, worst = (edge(months, key=lambda month: month.change) for edge in (max, min))
    said = f"{gained} of {figures.counted(len(months), 'month')} gained"
    said += f", {still} saw no change" if still else ""
    if len(months) > 1:
        said += f"; the best was {_month(best)}, the worst {_month(worst)}"
    return f"{said}."


def _month(month: Any) -> str:
    return f"{MONTHS[month.month - 1]} {month.year} ({figures.percent(month.change, 1)} %)"


def _drawdown(curve: equity.Curves, fall: Any) -> dict[str, str]:
    def at(bar: int) -> str:
        return figures.day(equity.when(curve, bar))

    end = len(curve) - 1 if fall.recovered is None else fall.recovered
    lasted = equity.when(curve, end) - equity.when(curve, fall.start)
    return {
        "depth": figures.percent(fall.depth, 1),
        "start": at(fall.start),
        "bottom": at(fall.bottom),
        "recovered": "not yet" if fall.recovered is None else at(fall.recovered),
        "bars": figures.integer(end - fall.start),
        "lasted": figures.counted(max(1, round(lasted.total_seconds() / 86_400)), "day"),
    }


def _of_trades(found: Backtest) -> dict[str, Any]:
    dots = excursions.dots(found)
    return {"excursions_say": excursions.says(dots), "has_dots": bool(dots), "by_reason": _by_reason(found)}


def _by_reason(found: Backtest) -> list[dict[str, str]]:
    rows = (
        Trade.objects.filter(backtest=found, is_open=False)
        .values("exit_reason")
        .annotate(
            many=Count("pk"),
            won=Count("pk", filter=Q(profit__gt=0)),
            sum=Sum("profit"),
            gained=Sum("profit", filter=Q(profit__gt=0)),
            lost=Sum("profit", filter=Q(profit__lt=0)),
            unsure=Count("pk", filter=Q(ambiguous=True)),
        )
    )
    order = list(telling.REASONS)
    return [
        {
            "reason": row["exit_reason"],
            "label": telling.reason(row["exit_reason"]),
            "many": figures.integer(row["many"]),
            "won": f"{row['won'] / row['many'] * 100:.0f}",
            "profit": figures.money(row["sum"]),
            "way": figures.direction(row["sum"]),
            "average": figures.money(row["sum"] / row["many"]),
            "factor": cells.written(float(row["gained"] or 0) / -float(row["lost"]), "ratio") if row["lost"] else "–",
            "unsure": figures.integer(row["unsure"]),
        }
        for row in sorted(rows, key=lambda row: order.index(row["exit_reason"]) if row["exit_reason"] in order else 99)
    ]


# --- Parts with choices of their own -----------------------------------------------------------------------------


def _equity(request: Signed, found: Backtest) -> dict[str, Any]:
    curve = equity.read(found, "equity", "hold", "benchmark")
    if curve is None:
        return {"equity_says": ""}
    drawn = equity.lines(found, curve)
    last = [figures.percent(float(line.values[-1]) / float(line.values[0]) - 1, 1) for line in drawn]
    return {
        "equity_says": equity.says(found, curve),
        "lines": [(line.name, line.hue.removeprefix("--"), f"{end} %") for line, end in zip(drawn, last, strict=True)],
        "best_case": "optimistic_return" in found.metrics,
        "equity_rows": equity.rows(found, curve),
        "scale": _scale(request, curve),
        "unit": "percent" if request.GET.get("unit") == "percent" else "money",
    }


def _scale(request: HttpRequest, curve: equity.Curves) -> str:
    asked = request.GET.get("scale", "")
    return asked if asked in ("linear", "log") else equity.usual_scale(curve)


def _price(request: Signed, found: Backtest) -> dict[str, Any]:
    """The trade that is looked at, those before and after it, and what is seen of the others."""
    names = price.ranges(found)
    chosen = _trade(found, request.GET.get("trade", ""))
    asked = request.GET.get("range", "")
    if chosen is None and asked not in {name for name, _ in names}:
        asked = price.usual_range(found)
    since, until = price.limits(found, asked, chosen)
    shown = price.candles(found, since, until)
    held, many = price.marked(found, since, until, chosen)
    numbers = _around(found, chosen)
    return {
        "price_says": price.says(shown, held, many),
        "ranges": names,
        "range": "" if chosen else asked,
        "wide": shown is not None and price.is_wide(shown),
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


def _made(found: Backtest) -> dict[str, Any]:
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
    reruns = [one.pk for one in Backtest.objects.of(found.owner).filter(rerun_of=found).order_by("pk").only("pk")[:20]]
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
    if backtests.state_of(found) != "done":
        raise Http404(f"Backtest {pk} has no result that could be drawn.")
    text = request.GET.get("width", "")
    width = int(text) if text.isdecimal() and text.isascii() and len(text) < 6 else USUAL
    body = orjson.dumps(FIGURES[name](request, found, width))
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "private, no-cache"})


def _equity_figure(request: Asked, found: Backtest, width: int) -> dict[str, Any]:
    curve = _there(equity.read(found, "equity", "hold", "benchmark", "optimistic"), found)
    logarithmic, percent = _scale(request, curve) == "log", request.GET.get("unit") == "percent"
    return equity.figure(found, curve, width=width, logarithmic=logarithmic, percent=percent)


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
