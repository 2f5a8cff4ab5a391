"""Two to four backtests side by side: what was different about them, whose figures are better, and on what days.

Figures are of each one's own range; only the chart is of the days that all of them have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from chronos.core import figures
from chronos.core.models import User
from marketdata.charts import USUAL
from marketdata.checks import moment
from marketdata.models import Timeframe
from signals import backtests, cells, telling, wording
from signals.charts import axes
from signals.charts.equity import read as curve_of
from signals.charts.equity import sampled
from signals.measures import GROUPS, MEASURES, Measure
from signals.models import Backtest

if TYPE_CHECKING:
    from signals.engine.terms import Floats, Whole

MOST = 4
US = timedelta(microseconds=1)
BASE = 100.0
ROWS = 20  # of the chart's table


def chosen(user: User, pks: Iterable[int]) -> list[Backtest]:
    """A person's backtests of these numbers, in that order, looked at for what is stale."""
    wanted = list(dict.fromkeys(pks))[:MOST]
    rows = Backtest.objects.of(user).select_related("asset", "benchmark", "strategy", "job").in_bulk(wanted)
    found = [rows[pk] for pk in wanted if pk in rows]
    backtests.look_for_stale(found)
    return found


def candidates(user: User, beside: Sequence[Backtest], most: int = 8) -> list[Backtest]:
    """What one could compare with: the newest results, those of the same asset and timeframe first."""
    done = Backtest.objects.of(user).finished().exclude(pk__in=[one.pk for one in beside]).select_related("asset")
    rows = done.defer("metrics", "warnings", "terms", "parameters").order_by("-created_at", "-pk")
    alike = []
    if beside:
        alike = list(rows.filter(asset=beside[0].asset_id, timeframe=beside[0].timeframe)[:most])
    others = rows.exclude(pk__in=[one.pk for one in alike])[: most - len(alike)]
    return [*alike, *others]


def has_result(one: Backtest) -> bool:
    return one.finished_at is not None and not one.failure


# --- What was asked for ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One thing of each, as text; `best` marks those that are better than the rest."""

    label: str
    values: tuple[str, ...]
    note: str = ""
    best: tuple[bool, ...] = ()

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1

    @property
    def marked(self) -> list[tuple[str, bool]]:
        return list(zip(self.values, self.best or (False,) * len(self.values), strict=True))


def inputs(found: Sequence[Backtest]) -> list[Row]:
    """Everything that they were made of, in one order; what one of them has not is an en dash."""
    return _rows(
        [
            ("Strategy", one.strategy_name),
            ("Kind", wording.label_of(one.kind)),
            *_parameters(one),
            ("Asset", one.asset.symbol),
            ("Candles", one.timeframe),
            ("Time range", _range(one)),
            ("Bars", figures.integer(one.bars)),
            *telling.terms(one.terms),
            ("Benchmark", one.benchmark.symbol if one.benchmark else "none"),
            ("Candles’ fingerprint", _short(one.fingerprint)),
            ("Splits and dividends", _short(one.actions_digest) if one.actions_digest else "none"),
            ("Code", one.code_version or figures.NOTHING),
        ]
        for one in found
    )


def _parameters(one: Backtest) -> list[tuple[str, str]]:
    told = wording.parameters(one.kind, one.parameters)
    return [(each.label, f"{each.value} {each.unit}".rstrip()) for each in told]


def _rows(columns: Iterable[list[tuple[str, str]]]) -> list[Row]:
    """Rows of all names that any column has, in the order in which they come first."""
    told = [dict(column) for column in columns]
    names: list[str] = []
    for column in told:
        place = 0
        for name in column:
            if name in names:
                place = names.index(name) + 1
            else:
                names.insert(place, name)
                place += 1
    return [Row(name, tuple(column.get(name, figures.NOTHING) for column in told)) for name in names]


def _range(one: Backtest) -> str:
    if one.first_open and one.last_open:
        return f"{figures.day(one.first_open)} – {figures.day(one.last_open)}"
    return figures.NOTHING


def _short(text: str) -> str:
    """Enough of a digest to see whether it is another; without the count of revisions, which tells nothing of it."""
    return text.rpartition(":")[2][:12] or figures.NOTHING


# --- What came out -----------------------------------------------------------------------------------------------


def measured(found: Sequence[Backtest]) -> list[tuple[str, list[Row]]]:
    """All figures by group, the better ones marked; what none of them has is left out."""
    told = []
    for group in GROUPS:
        rows = [of_measure(measure, found) for measure in group.measures]
        if rows := [row for row in rows if any(value != figures.NOTHING for value in row.values)]:
            told.append((group.label, rows))
    return told


def of_measure(measure: Measure, found: Sequence[Backtest]) -> Row:
    """One figure of each, the better ones marked."""
    values = [one.metrics.get(measure.name) for one in found]
    texts = tuple(cells.written(value, measure.kind) for value in values)
    return Row(measure.label, texts, measure.explanation, _best(measure, values, texts))


def _best(measure: Measure, values: Sequence[float | None], texts: Sequence[str]) -> tuple[bool, ...]:
    """Which read as the best, if there is such a thing and not all do."""
    known = [value for value in values if value is not None]
    if measure.better is None or len(known) < 2:
        return (False,) * len(values)
    top = max(known) if measure.better == "higher" else min(known)
    text = texts[values.index(top)]
    best = tuple(each == text for each in texts)
    return best if sum(best) < len(known) else (False,) * len(values)


def verdict(found: Sequence[Backtest], names: Sequence[str]) -> str:
    """Who leads in what counts first, in a sentence."""
    leads: dict[str, list[str]] = {}
    for name, says in (("cagr", "earned the most a year"), ("max_drawdown", "fell the least"),
                       ("sharpe_ratio", "has the best Sharpe ratio")):  # fmt: skip
        row = of_measure(MEASURES[name], found)
        if sum(row.best) == 1:
            place = row.best.index(True)
            lost = name == "cagr" and found[place].metrics[name] < 0
            says = f"{'lost the least a year' if lost else says} ({row.values[place]})"
            leads.setdefault(names[place], []).append(says)
    told = "; ".join(f"{who} {_and(parts)}" for who, parts in leads.items())
    return f"{told}." if told else ""


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


# --- What stands against comparing them --------------------------------------------------------------------------


def doubts(found: Sequence[Backtest], names: Sequence[str]) -> list[str]:
    """Why their figures are not of the same thing, in words; the gravest first."""
    said = []
    for one, name in zip(found, names, strict=True):
        if not has_result(one):
            said.append(f"{name} has no result{f': {one.failure}' if one.failure else ' yet'}.")
        elif one.stale:
            said.append(f"{name} is stale: {one.stale}. Run it again before you rely on the comparison.")
    done = [one for one in found if has_result(one)]
    if len(done) < 2:
        return said
    if others := _different(done, lambda one: one.asset.symbol):
        said.append(f"They ran on different assets ({', '.join(others)}): compare each with holding its own first.")
    if others := _different(done, lambda one: one.timeframe):
        lengths = ", ".join(others)
        said.append(f"Their candles are of different lengths ({lengths}): falls inside the longer ones are not seen.")
    if spread := _apart(done):
        said.append(spread)
    costs = {repr(sorted((one.terms.get("costs") or {}).items())) for one in done}
    if len(costs) > 1:
        said.append("They paid different costs, which alone can decide who is ahead.")
    if len({one.terms.get("cash") for one in done}) > 1:
        said.append("They began with different cash: least fees and whole lots weigh more on the smaller account.")
    same_data = {(one.asset_id, one.timeframe, one.read_from, one.last_open) for one in done}
    if len(same_data) == 1 and len({_short(one.fingerprint) for one in done}) > 1:
        said.append("The candles were revised between them: run the older one again.")
    if len({one.code_version for one in done}) > 1:
        said.append("They were made by different versions of the code: a difference may come from there.")
    return said


def _different(found: Sequence[Backtest], of: Callable[[Backtest], str]) -> list[str]:
    told = list(dict.fromkeys(map(of, found)))
    return told if len(told) > 1 else []


def _apart(done: Sequence[Backtest]) -> str:
    """Ranges that differ by more than a hundredth: one that was run a day later is no other."""
    firsts = [one.first_open for one in done if one.first_open]
    lasts = [one.last_open for one in done if one.last_open]
    if len(firsts) < 2:
        return ""
    begins, ends = max(firsts), min(lasts)
    whole = max(lasts) - min(firsts)
    if ends <= begins:
        return "Their time ranges have no day in common, so nothing about them is of the same market."
    if whole - (ends - begins) <= max(whole / 100, timedelta(days=3)):
        return ""
    return (
        f"Their time ranges differ: figures are of each one’s own, the chart of the days that all have,"
        f" {figures.day(begins)} to {figures.day(ends)}."
    )


# --- Their equity on common days ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Together:
    """Equity of each, 100 at the start of the days that all have. `times`: when bars closed, in microseconds."""

    times: Whole
    values: list[Floats]

    def at(self, place: int) -> datetime:
        return moment(int(self.times[place]))


def together(found: Sequence[Backtest]) -> Together | None:
    """None if fewer than two have a curve, or there is no such day."""
    import numpy as np

    read = [(one, curve_of(one, "equity")) for one in found]
    curves = [(one, curve) for one, curve in read if curve is not None and len(curve)]
    if len(curves) < 2:
        return None
    closes = [curve.times + Timeframe(one.timeframe).length // US for one, curve in curves]
    since, until = max(int(times[0]) for times in closes), min(int(times[-1]) for times in closes)
    if since >= until:
        return None
    every = closes[0]
    for times in closes[1:]:
        if not np.array_equal(times, every):
            every = np.union1d(every, times)
    every = every[(every >= since) & (every <= until)]
    values = []
    for times, (_, curve) in zip(closes, curves, strict=True):
        equity = curve.equity[np.searchsorted(times, every, "right") - 1]
        values.append(BASE * equity / equity[0] if equity[0] else equity)
    return Together(every, values)


def figure(
    found: Together, names: Sequence[str], *, width: int = USUAL, logarithmic: bool = False, daily: bool = True
) -> dict[str, Any]:
    """The lines as a Plotly figure: in the order of the page's colours, at the resolution of the screen that asks."""
    import numpy as np

    places = sampled(found.values, width)
    x = axes.packed(places, "u4")
    shown = [np.where(values > 0, values, np.nan) if logarithmic else values for values in found.values]
    low = min(float(np.nanmin(values)) for values in shown)
    high = max(float(np.nanmax(values)) for values in shown)
    data = [
        {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": axes.packed(values[places], "f4"),
         "hoverinfo": "none", "line": {"color": f"--hue-{place}", "width": 1.6}}
        for place, (name, values) in enumerate(zip(names, shown, strict=True), start=1)
    ]  # fmt: skip
    at = axes.ticks(low, high, logarithmic=logarithmic)
    span = np.log10([low, high]) if logarithmic else np.array([low, high])
    room = (float(span[1] - span[0]) or 1.0) * 0.04
    return {
        "data": data[::-1],
        "layout": axes.BARE
        | {
            "margin": {"l": 8, "r": 56, "t": 8, "b": 38},
            "hovermode": "x",
            "dragmode": False,
            "xaxis": axes.AXIS
            | {"type": "linear", "range": [0, max(len(found.times) - 1, 1)], "showspikes": True, "spikemode": "across",
               "spikesnap": "data", "spikethickness": 1, "spikedash": "dot", "spikecolor": "--ink-faint",
               "tickangle": 0},
            "yaxis": axes.AXIS
            | {"side": "right", "type": "log" if logarithmic else "linear",
               "range": [float(span[0]) - room, float(span[1]) + room], "tickmode": "array", "tickvals": at,
               "ticktext": [figures.compact(value) for value in at]},
            "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": BASE, "y1": BASE, "layer": "below",
                        "line": {"color": "--line-strong", "width": 1, "dash": "dot"}}],
        },
        "meta": {
            "bars": len(places), "of": len(found.times), "joined": False, "x": x, "daily": daily, "percent": False,
            "legend": list(names),
            "factor": False, "times": axes.packed((found.times[places] - daily) // 1_000_000, "f8"),
        },
    }  # fmt: skip


def says(found: Together, names: Sequence[str]) -> str:
    """What to see: who ended where, and when the lead changed hands last."""
    ends = sorted(zip(names, (float(values[-1]) for values in found.values), strict=True), key=lambda one: -one[1])
    told = ", ".join(f"{name} {figures.percent(end / BASE - 1, 1)} %" for name, end in ends)
    leader = ends[0][0]
    since = _leads_since(found, names.index(leader))
    lead = f" {leader} has led since {_day(found, since)}." if since else f" {leader} led from the start."
    return f"From {_day(found, 0)} to {_day(found, -1)}: {told}.{lead}"


def _day(found: Together, place: int) -> str:
    """The day whose close it is: that of a day is the first moment of the next."""
    return figures.day(found.at(place) - US)


def _leads_since(found: Together, leader: int) -> int:
    """The bar from which on the last one ahead was ahead without a break."""
    import numpy as np

    own = found.values[leader]
    behind = np.zeros(len(own), bool)
    for place, values in enumerate(found.values):
        if place != leader:
            behind |= values > own
    last = np.flatnonzero(behind)
    return int(last[-1]) + 1 if len(last) else 0


def rows(found: Together) -> list[tuple[str, list[str]]]:
    """Some days of it, the newest first."""
    import numpy as np

    places = np.unique(np.linspace(0, len(found.times) - 1, min(ROWS, len(found.times))).astype(int))[::-1]
    days = [_day(found, int(place)) for place in places]
    return [(day, [f"{values[place]:.1f}" for values in found.values]) for day, place in zip(days, places, strict=True)]


def labels(found: Sequence[Backtest]) -> list[str]:
    """What each is called: by its strategy, with what tells it from the others; numbered if nothing does."""
    names = [one.strategy_name for one in found]
    for more in (lambda one: one.asset.symbol, lambda one: one.timeframe, _values, lambda one: f"#{one.pk}"):
        if len(set(names)) == len(names):
            break
        told = [more(one) for one in found]
        if len(set(told)) > 1:
            names = [f"{name} {text}".strip() for name, text in zip(names, told, strict=True)]
    return names


def _values(one: Backtest) -> str:
    values = [told.value for told in wording.parameters(one.kind, one.parameters)]
    return f"({', '.join(values)})" if values and len(values) <= 4 else ""
