"""A result as one HTML file that stands alone: no script, nothing from elsewhere, readable on a phone and on paper."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string

from chronos.core import figures
from marketdata import history
from marketdata.models import Timeframe
from signals import drawings, exporting, measures, painting, wording
from signals.cells import written
from signals.findings import Findings

# Also in the file itself, so that it holds when it is opened from a disk.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLES = ("static/css/tokens.css", "static/css/report.css")
HEADLINES = ("total_return", "cagr", "max_drawdown", "sharpe_ratio", "win_rate", "trade_count")
MOST = 2_000  # trades of a report; a browser shows more of them slowly, and the JSON has them all
WORST = 5  # drawdowns
STEPS = (0.005, 0.02, 0.05, 0.1)  # from which a month is coloured deeper
REASONS = {
    "signal": "Signal", "reversal": "Reversal", "stop_loss": "Stop-loss", "trailing_stop": "Trailing stop",
    "take_profit_1": "First target", "take_profit_2": "Second target", "max_bars": "Time stop", "end": "End",
    "ruin": "Ruin",
}  # fmt: skip


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
        "verdict": verdict(found.metrics),
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
        "terms": terms_in_words(found.inputs["terms"]),
        "made": _made(found),
        "made_at": f"{figures.moment(now)} UTC",
    }
    return render_to_string("signals/report.html", context)


@cache
def _style() -> str:
    return "\n".join((settings.BASE_DIR / path).read_text() for path in STYLES)


def verdict(found: dict[str, Any]) -> str:
    """What came of it in a sentence."""
    total, held, worst = found.get("total_return"), found.get("hold_return"), found.get("max_drawdown")
    way = "gained" if (total or 0) >= 0 else "lost"
    says = f"It {way} {_size(total)}"
    if (yearly := found.get("cagr")) is not None and (found.get("years") or 0) >= 1:
        says += f", {_size(yearly)} a year"
    if held is not None:
        says += f", while holding the asset {'gained' if held >= 0 else 'lost'} {_size(held)}"
    if worst:
        says += f"; at worst it was {_size(worst)} below its high"
    return f"{says}. It closed {figures.counted(found.get('trade_count') or 0, 'trade')}."


def _size(fraction: float | None) -> str:
    return figures.NOTHING if fraction is None else f"{figures.percent(abs(fraction), 1).lstrip('+')} %"


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
        return "not yet" if bar is None else figures.day(history.moment(int(found.times[bar])))

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
        "reason": REASONS.get(row["exit_reason"], row["exit_reason"] or ""),
        "ambiguous": row["ambiguous"],
        "fees": figures.money(row["fees"]),
        "profit": figures.money(row["profit"]),
        "percent": figures.percent(row["profit_percent"]),
        "way": figures.direction(row["profit"]),
        "mae": figures.percent(row["mae"]),
        "mfe": figures.percent(row["mfe"]),
    }


# --- How it was made ---------------------------------------------------------------------------------------------


def terms_in_words(terms: dict[str, Any]) -> list[tuple[str, str]]:
    """Cash, costs, size and exits, each with its unit; without what there is none of."""
    costs, sizing, exits = terms.get("costs", {}), terms.get("sizing", {}), terms.get("exits", {})
    size = sizing.get("value", 1)
    sizes = {
        "fraction": f"{_share(size)} of equity",
        "amount": f"{figures.money(size)} of currency",
        "risk": f"so much that the stop-loss costs {_share(size)} of equity",
    }
    lot = terms.get("lot", 1)
    lots = {0: "any fraction", 1: "whole"}
    said = [
        ("Cash", figures.money(terms.get("cash", 10_000))),
        ("Fees", f"{_share(costs.get('fee_rate', 0))} of each side"),
        ("Least fee", figures.money(costs["fee_minimum"]) if costs.get("fee_minimum") else ""),
        ("Slippage", f"{costs.get('slippage_bps', 0):g} basis points of market orders"),
        ("Size", sizes.get(sizing.get("kind", "fraction"), "")),
        ("Quantities", lots.get(lot, f"multiples of {lot:g}")),
        ("Direction", {"both": "long and short"}.get(terms.get("direction", "long"), terms.get("direction", "long"))),
    ]
    for name, label in (
        ("stop_loss", "Stop-loss"), ("take_profit_1", "First target"), ("take_profit_1_share", "It closes"),
        ("take_profit_2", "Second target"), ("trailing_stop", "Trailing stop"),
    ):  # fmt: skip
        if (value := exits.get(name)) is not None:
            of = "of the position" if name.endswith("share") else "from the entry price"
            said.append((label, f"{_share(value)} {'from the best price' if name == 'trailing_stop' else of}"))
    if exits.get("max_bars"):
        said.append(("Time stop", figures.counted(exits["max_bars"], "bar")))
    said.append(("At the end", "all is sold" if terms.get("close_at_end") else "what is held stays open"))
    return [(label, text) for label, text in said if text]


def _share(fraction: float) -> str:
    return f"{fraction * 100:.6g} %"


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
