"""How far trades went against and in favour of their entry while they were held."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from chronos.core import figures
from chronos.core.figures import counted
from marketdata.charts import numbers
from signals.charts.axes import AXIS, BARE, HOVER, title
from signals.models import Backtest, Trade

DOTS = 2000  # drawn; of more as many, spread evenly
FAR = 2.5  # times as far as nearly all others: drawn at the edge


@dataclass(frozen=True)
class Dot:
    number: int
    mae: float
    mfe: float
    change: float


def dots(backtest: Backtest) -> list[Dot]:
    """Closed trades, in their order."""
    rows = Trade.objects.filter(backtest=backtest, is_open=False).order_by("number")
    return [Dot(*row) for row in rows.values_list("number", "mae", "mfe", "profit_percent")]


def figure(found: list[Dot], exits: dict[str, Any]) -> dict[str, Any]:
    """Across how far each trade went against its entry, upwards how far in favour; stops and targets as lines."""
    drawn = _spread_out(found)
    across, upwards = _reach([-dot.mae for dot in drawn]), _reach([dot.mfe for dot in drawn])
    data = []
    for won, name, colour, symbol in ((True, "Won", "--gain-mark", "circle"), (False, "Lost", "--loss-mark", "x-thin")):
        some = [dot for dot in drawn if (dot.change > 0) == won]
        data.append(
            {"type": "scatter", "mode": "markers", "name": name,
             "x": numbers([round(min(-dot.mae, across) * 100, 4) for dot in some]),
             "y": numbers([round(min(dot.mfe, upwards) * 100, 4) for dot in some]),
             "customdata": [dot.number for dot in some],
             "text": [_told(dot) for dot in some],
             "hovertemplate": "%{text}<extra></extra>",
             "hoverlabel": HOVER,
             "marker": {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.75,
                        "line": {"color": colour, "width": 1.5 if symbol == "x-thin" else 0}}}
        )  # fmt: skip
    layout = BARE | {
        "margin": {"l": 8, "r": 64, "t": 8, "b": 40},
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": AXIS | {"ticksuffix": " %", "nticks": 7, "title": title("Against it at worst")} | _from_zero(across),
        "yaxis": AXIS
        | {"side": "right", "ticksuffix": " %", "nticks": 6, "title": title("In favour at best")}
        | _from_zero(upwards),
        "shapes": [
            *[_rule("x", exits[name]) for name in ("stop_loss",) if exits.get(name)],
            *[_rule("y", exits[name]) for name in ("take_profit_1", "take_profit_2") if exits.get(name)],
        ],
    }
    return {"data": data, "layout": layout, "meta": {"bars": len(drawn), "joined": False}}


def _told(dot: Dot) -> str:
    against, favour = (figures.percent(abs(move)).lstrip("+") for move in (dot.mae, dot.mfe))
    return (
        f"Trade {dot.number + 1}: {figures.percent(dot.change)} %<br>{against} % against it, {favour} % in its favour"
    )


def _reach(moves: list[float]) -> float:
    """How far an axis goes: to the largest, unless a few lie so far out that all others would be a spot."""
    ordered = sorted(moves)
    usual = ordered[int(len(ordered) * 0.97)] if ordered else 0.0
    return usual * 1.3 if usual and ordered[-1] > usual * FAR else max(ordered, default=0.0)


def _from_zero(most: float) -> dict[str, Any]:
    """A range of per cent with room for marks that lie on 0."""
    return {"range": [-3 * (most or 0.01), 105 * (most or 0.01)]}


def _rule(axis: str, fraction: float) -> dict[str, Any]:
    """A stop or a target, right across."""
    other, at = ("y" if axis == "x" else "x"), fraction * 100
    line = {"color": "--ink-faint", "width": 1, "dash": "dot"}
    return {"type": "line", f"{axis}0": at, f"{axis}1": at, f"{axis}ref": axis, f"{other}0": 0, f"{other}1": 1,
            f"{other}ref": "paper", "line": line}  # fmt: skip


def _spread_out(found: list[Dot]) -> list[Dot]:
    """No more than can be drawn: each so-manieth, and the outermost."""
    if len(found) <= DOTS:
        return found
    kept = {dot.number: dot for dot in found[:: -(-len(found) // DOTS)]}
    for measure in ("mae", "mfe", "change"):
        for edge in (min, max):
            dot = edge(found, key=attrgetter(measure))
            kept[dot.number] = dot
    return list(kept.values())


def says(found: list[Dot]) -> str:
    """What winners had to bear, what losers gave back, and what is not drawn where it is."""
    won, lost = [dot for dot in found if dot.change > 0], [dot for dot in found if dot.change <= 0]
    across, upwards = _reach([-dot.mae for dot in found]), _reach([dot.mfe for dot in found])
    said = ""
    if won:
        said = f"Half of the {counted(len(won), 'winner')} never were more than {_middle(-dot.mae for dot in won)}"
        said += " % against their entry. "
    if lost:
        said += f"Half of the {counted(len(lost), 'loser')} had been up by {_middle(dot.mfe for dot in lost)}"
        said += " % or more before they lost. "
    beyond = [dot for dot in found if -dot.mae > across or dot.mfe > upwards]
    if beyond:
        said += f"{counted(len(beyond), 'trade')} went further than the axes and {'is' if len(beyond) == 1 else 'are'}"
        said += " at their edge. "
    if len(found) > DOTS:
        said += f"About {figures.integer(DOTS)} of {figures.integer(len(found))} are drawn. "
    return said.strip()


def _middle(values: Any) -> str:
    from statistics import median

    return f"{median(values) * 100:.1f}"
