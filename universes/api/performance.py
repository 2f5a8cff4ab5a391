"""How members did beside each other, and the portfolio of all of them in equal parts."""

from datetime import date
from typing import Any, Literal

from ninja import Query, Router, Schema
from pydantic import Field

from chronos.core import figures, moments
from chronos.core.envelope import answers, said, then
from chronos.core.hypermedia import Signed
from universes import performance
from universes.api.common import Id
from universes.loading import seen

router = Router()


class LineOut(Schema):
    symbol: str = Field(description="Empty for the line of the universe itself.")
    change: float = Field(description="From its first day to its last; 0.25 is +25 %.")
    values: list[float | None] = Field(description="By `days`, its first value 100; None where it has no candle.")


class ComparisonOut(Schema):
    """Closes rebased to 100 at the begin of the span."""

    days: list[date]
    lines: list[LineOut]
    universe: LineOut | None = Field(description="Of all members in equal parts; None if it was not asked for.")
    left_out: list[str] = Field(description="Asked for, and without daily candles in the span.")


class ComparisonWanted(Schema):
    symbols: str = Field("", max_length=500, description="With commas between; empty: the first members with candles.")
    span: Literal["1mo", "3mo", "6mo", "ytd", "1y", "5y", "max"] = "1y"
    as_of: date | None = Field(None, description="The members of that day, and the span that ends with it.")
    weigh: Literal["dated", "now", "off"] = Field(
        "dated", description="The universe's line: of the members of each day, of today's, or none. Today's members"
        " over the past flatter: they are those that did well.",
    )  # fmt: skip
    points: int = Field(60, ge=2, le=5000, description="At most so many days, evenly out of all; the last is kept.")


@router.get("/universes/{universe_id}/performance", response=answers(ComparisonOut), tags=["history"])
def compare_members(request: Signed, universe_id: Id, wanted: Query[ComparisonWanted]) -> Any:
    """How members did beside each other over a span, and beside the universe as a whole."""
    found = seen(request, universe_id)
    symbols = [part.strip()[:60] for part in wanted.symbols.split(",") if part.strip()]
    told = performance.compare(
        found, symbols, wanted.span, at=moments.end(wanted.as_of, "query.as_of"), weigh=wanted.weigh
    )
    kept = _evenly(len(told.days), wanted.points)
    data = {
        "days": [told.days[place] for place in kept],
        "lines": [_line(line, kept) for line in told.lines],
        "universe": _line(told.universe, kept) if told.universe else None,
        "left_out": told.left_out,
    }
    best = max(told.lines, key=lambda line: line.change, default=None)
    none = f"No member of {found.name} has candles in the span."
    words = f"Of {found.name} {best.symbol} did best: {figures.percent(best.change)} %." if best else none
    return said(data, words, [then("list_universe_assets", "See all members.", universe_id=found.pk)])


def _evenly(many: int, most: int) -> list[int]:
    """At most so many places out of these, the first and the last among them."""
    if many <= most:
        return list(range(many))
    return sorted({round(step * (many - 1) / (most - 1)) for step in range(most)})


def _line(line: performance.Line, kept: list[int]) -> dict[str, Any]:
    return {"symbol": line.symbol, "change": line.change, "values": [line.values[place] for place in kept]}
