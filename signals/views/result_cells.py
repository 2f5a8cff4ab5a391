"""The cells of a result: the figures that matter first and all others, months, falls, the reasons of exits."""

from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q, Sum

from chronos.core import figures
from signals import cells, measures, telling
from signals.charts import equity, returns
from signals.models import Backtest, Trade

MANY = 50_000  # bars from which on what is said of them is kept
KEPT = 3600  # seconds
STEPS = 5  # of a colour, by how large a return is
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# The figures that matter first, each with what holding came to.
TILES = (
    ("total_return", "hold_return"), ("cagr", "hold_cagr"), ("max_drawdown", "hold_max_drawdown"),
    ("sharpe_ratio", "hold_sharpe_ratio"), ("win_rate", ""), ("psr", ""),
)  # fmt: skip


def tiles(found: Backtest) -> list[dict[str, str]]:
    had = found.metrics
    held = had | {"hold_cagr": telling.yearly(had.get("hold_return"), had.get("years") or 0.0)}
    tiles = []
    for name, beside in TILES:
        measure = measures.MEASURES[name]
        value = had.get(name)
        tiles.append(
            {
                "label": measure.label,
                "value": _large(value, measure),
                "way": figures.direction(value) if measure.kind == "change" else "",
                "beside": f"Holding {cells.written(held.get(beside), measure.kind)}"
                if beside
                else _beside(found, name),
                "says": measure.explanation,
            }
        )
    return tiles


def _large(value: float | None, measure: measures.Measure) -> str:
    """Thousands of per cent without decimals: on one line, and none of them says anything."""
    if measure.kind == "change" and value is not None and abs(value) >= 10:
        return f"{figures.percent(value, 0)} %"
    return cells.written(value, measure.kind)


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


def groups(found: Backtest) -> list[dict[str, Any]]:
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


def of_curve(found: Backtest) -> dict[str, Any]:
    """All that is said of the curve, but what is drawn of it. Of very many bars it is kept for a while: a result stays
    as it is, and going through a million bars takes a third of a second."""
    if (found.bars or 0) < MANY:
        return _of_curve(found)
    key = f"result:{found.pk}:{found.checksum[:16]}:{found.code_version}"
    told: dict[str, Any] | None = cache.get(key)
    if told is None:
        told = _of_curve(found)
        cache.set(key, told, KEPT)
    return told


def _of_curve(found: Backtest) -> dict[str, Any]:
    from signals import metrics

    curve = equity.read(found, "equity", "gross", "hold", "benchmark")
    if curve is None:
        return {}
    months = metrics.monthly(curve.moments, curve.equity, curve.cash)
    years = dict(metrics.yearly(curve.moments, curve.equity, curve.cash))
    spread = returns.spread(curve)
    drawn = equity.lines(found, curve)
    last = [figures.percent(float(line.values[-1]) / float(line.values[0]) - 1, 1) for line in drawn]
    return {
        **_calendar(months, years),
        "drawdowns": [_drawdown(curve, fall) for fall in metrics.worst_drawdowns(curve.equity)],
        "spread_says": returns.says(found, spread, curve) if spread else "",
        "bins": returns.bins(spread) if spread else [],
        "equity_says": equity.says(found, curve),
        "equity_rows": equity.rows(found, curve),
        "lines": [(line.name, line.hue.removeprefix("--"), f"{end} %") for line, end in zip(drawn, last, strict=True)],
        "usual_scale": equity.usual_scale(curve),
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


def by_reason(found: Backtest) -> list[dict[str, str]]:
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
