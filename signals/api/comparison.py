"""Backtests side by side."""

import re
from collections.abc import Sequence
from typing import Any

from ninja import Query, Router, Schema
from pydantic import Field

from chronos.core.envelope import Refused, answers, missing, said, then
from chronos.core.hypermedia import Signed
from signals import comparing
from signals.api.backtests import BacktestLine
from signals.api.backtests import line as told
from signals.measures import MEASURES, Measure
from signals.models import Backtest

router = Router()
LEAST = 2


class DifferenceOut(Schema):
    """One thing that they were made of, or were asked for, and that is not the same for all."""

    label: str = Field(examples=["Fast average"])
    values: list[str] = Field(description="In words, in the order of `backtests`.")


class FigureOut(Schema):
    name: str = Field(examples=["sharpe_ratio"])
    label: str
    values: list[int | float | None] = Field(description="In the order of `backtests`. None: not defined.")
    best: list[bool] = Field(description="Which are better than the rest. None is, where neither way is better.")


class SideBySide(Schema):
    names: list[str] = Field(description="What each is called here, so that they can be told apart.")
    backtests: list[BacktestLine]
    doubts: list[str] = Field(description="What stands against comparing them, the gravest first: read it first.")
    verdict: str = Field(description="Who leads in what counts first; empty if nobody does.")
    different: list[DifferenceOut]
    figures: list[FigureOut]


class CompareWanted(Schema):
    ids: str = Field(
        max_length=100, pattern=r"^ *[0-9]{1,18}( *, *[0-9]{1,18})* *$", examples=["3,7"],
        description="Two to four backtests, with commas between.",
    )  # fmt: skip


@router.get("/backtests/compare", response=answers(SideBySide), tags=["backtests"])
def compare_backtests(request: Signed, wanted: Query[CompareWanted]) -> Any:
    """Two to four backtests side by side: what was different about them, their figures, and which are better.

    Each has the figures of its own range; `doubts` says when these are not of the same thing.
    """
    ids = list(dict.fromkeys(int(number) for number in re.findall(r"[0-9]+", wanted.ids)))
    if not LEAST <= len(ids) <= comparing.MOST:
        raise Refused("invalid", f"Two to {comparing.MOST} different backtests can be compared; these are {len(ids)}.",
                      "Choose others of list_backtests.", field="query.ids",
                      next_actions=[then("list_backtests", "See which there are.")])  # fmt: skip
    found = comparing.chosen(request.user, ids)
    if absent := set(ids) - {one.pk for one in found}:
        raise missing(f"You have no backtest {min(absent)}.", "Look at list_backtests.",
                      next_actions=[then("list_backtests", "See which there are.")])  # fmt: skip
    names = comparing.labels(found)
    data: dict[str, Any] = {
        "names": names,
        "backtests": [told(one) for one in found],
        "doubts": comparing.doubts(found, names),
        "verdict": comparing.verdict(found, names),
        "different": [{"label": row.label, "values": row.values} for row in comparing.inputs(found) if row.differs],
        "figures": [one for one in (_figure(measure, found) for measure in MEASURES.values()) if _is_known(one)],
    }
    words = data["verdict"] or "None of them leads in return, drawdown or Sharpe ratio alone."
    return said(data, words, [then("get_backtest", "Look at the first.", backtest_id=found[0].pk)])


def _figure(measure: Measure, found: Sequence[Backtest]) -> dict[str, Any]:
    values = [one.metrics.get(measure.name) for one in found]
    best = comparing.of_measure(measure, found).best
    return {"name": measure.name, "label": measure.label, "values": values, "best": best}


def _is_known(figure: dict[str, Any]) -> bool:
    return any(value is not None for value in figure["values"])
