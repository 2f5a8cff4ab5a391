"""A result as one HTML file that stands alone: no script, nothing from elsewhere, readable on a phone and on paper."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string

from chronos.core import figures
from marketdata.checks import moment
from marketdata.models import Timeframe
from signals import drawings, exporting, measures, painting, telling, wording
from signals.cells import written
from signals.findings import Findings

# Also in the file itself, so that it holds when it is opened from a disk.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLES = ("static/css/tokens.css", "static/css/report.css")
HEADLINES = ("total_return", "cagr", "max_drawdown", "sharpe_ratio", "win_rate", "trade_count")
MOST = 2_000  # trades of a report; a browser shows more of them slowly, and the JSON has them all
WORST = 5  # drawdowns
STEPS = (0.005, 0.02, 0.05, 0.1)  # from which a month is coloured deeper


def html(found: Findings, now: datetime) -> str:
    """The report, as of now."""
    from signals import metrics

    curves = exporting.curves_of(found)
    beside = found.inputs["benchmark"] or "Benchmark"
    equity = drawings.equity(curves, beside=beside, marks=6)
    returns = metrics.bar_returns(found.equity)
    closed = list(islice(found.trades(False), MOST + 1))
    context = {
        "policy": POLICY,
        "style": _style(),
        "found": found,
        "title": f"{found.name} on {found.symbol}, {found.timeframe}",
        "span": f"{figures.day(found.first)} – {figures.day(found.last)}",
        "verdict": " ".join(telling.verdict(found.metrics, found.symbol)),
        "headlines": [_measured(found, name) for name in HEADLINES],
        "equity": painting.svg(equity, 320),
        "scale": equity.title,
        "beside": beside if found.benchmark is not None else "",
        "drawdown": painting.svg(drawings.drawdown(curves, marks=6), 150),
        "distribution": painting.svg(drawings.distribution(metrics.histogram(returns)), 190),
        "years": _years(metrics.monthly(curves.times, found.equity, found.cash), curves, found),
        "falls": [_fall(fall, found) for fall in metrics.worst_drawdowns(found.equity, WORST)],
        "groups": [group for group in (_group(found, group) for group in measures.GROUPS) if group["measures"]],
        "trades": [_trade(row, found) for row in (*closed[:MOST], *found.trades(True))],
        "left_out": len(closed) > MOST and figures.integer(found.metrics.get("trade_count")),
        "most": figures.integer(MOST),
        "parameters": wording.parameters(found.kind, found.inputs["parameters"]),
        "terms": telling.terms(found.inputs["terms"]),
        "made": _made(found),
        "made_at": f"{figures.moment(now)} UTC",
    }
    return render_to_string("signals/report.html", context)


@cache
def _style() -> str:
    return "\n".join((settings.BASE_DIR / path).read_text() for path in STYLES)


def _measured(found: Findings, name: str) -> dict[str, Any]:
    measure, value = measures.MEASURES[name], found.metrics.get(name)
    return {
        "label": measure.label,
        "value": written(value, measure.kind),
        "direction": figures.direction(value) if measure.kind == "change" else "",
        "explanation": measure.explanation,
    }


def _group(found: Findings, group: measures.Group) -> dict[str, Any]:
    """Without what is not defined at all, as a benchmark's figures without one."""
    there = any(found.metrics.get(measure.name) is not None for measure in group.measures)
    return {
        "label": group.label,
        "measures": [_measured(found, measure.name) for measure in group.measures] if there else [],
    }


def _years(months: list[Any], curves: drawings.Curves, found: Findings) -> list[dict[str, Any]]:
    from signals import metrics

    totals = dict(metrics.yearly(curves.times, found.equity, found.cash))
    cells: dict[int, list[dict[str, str]]] = {year: [{"text": "", "tone": ""}] * 12 for year in totals}
    for year, month, change in months:
        cells[year] = [*cells[year][: month - 1], _cell(change), *cells[year][month:]]
    return [{"year": year, "months": cells[year], "total": _cell(totals[year])} for year in sorted(totals)]


def _cell(change: float | None) -> dict[str, str]:
    way = figures.direction(change)
    depth = sum(abs(change or 0) >= step for step in STEPS)
    return {"text": figures.percent(change, 1), "tone": f"{way} deep-{depth}" if way != "flat" else ""}


def _fall(fall: Any, found: Findings) -> dict[str, str]:
    def day(bar: int | None) -> str:
        return "not yet" if bar is None else figures.day(moment(int(found.times[bar])))

    bars = (len(found.times) - 1 if fall.recovered is None else fall.recovered) - fall.start
    return {
        "depth": f"{figures.percent(fall.depth)} %",
        "start": day(fall.start),
        "bottom": day(fall.bottom),
        "recovered": day(fall.recovered),
        "bars": figures.integer(bars),
    }


def _trade(row: dict[str, Any], found: Findings) -> dict[str, Any]:
    when = figures.day if Timeframe(found.timeframe).is_daily else figures.moment
    return {
        "number": row["number"] + 1,
        "direction": row["direction"],
        "quantity": figures.compact(row["quantity"]),
        "entered": when(row["entry_time"]),
        "entry_price": figures.price(row["entry_price"]),
        "left": when(row["exit_time"]) if row["exit_time"] else "open",
        "exit_price": figures.price(row["exit_price"]),
        "reason": telling.reason(row["exit_reason"]) if row["exit_reason"] else "",
        "ambiguous": row["ambiguous"],
        "fees": figures.money(row["fees"]),
        "profit": figures.money(row["profit"]),
        "percent": figures.percent(row["profit_percent"]),
        "way": figures.direction(row["profit"]),
        "mae": figures.percent(row["mae"]),
        "mfe": figures.percent(row["mfe"]),
    }


# --- How it was made ---------------------------------------------------------------------------------------------


def _made(found: Findings) -> list[tuple[str, str]]:
    made = found.made
    periods = found.metrics.get("periods_per_year")
    said = [
        ("Backtest", made.get("backtest")),
        ("Bars", figures.integer(made["bars"])),
        ("Annualised by", f"{periods:g} bars a year" if periods else ""),
        ("Run at", f"{figures.moment(made['finished_at'])} UTC" if made.get("finished_at") else ""),
        ("It took", f"{made['seconds']:.2f} s" if made.get("seconds") is not None else ""),
        ("Code", made["code_version"]),
        ("Candles", made["fingerprint"]),
        ("Splits and dividends", made["actions_digest"]),
        ("Checksum of trades and equity", made["checksum"]),
    ]
    return [(label, str(value)) for label, value in said if value not in (None, "")]
