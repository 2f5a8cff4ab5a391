"""Backtests as rows: asked for, run, stored, repeated, and found stale when their past has been revised.

Everything here is done in the owner's scope (`tenancy.acting_as`), but `perform`, which enters it for short
transactions alone.
"""

import io
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from chronos.core import jobs
from chronos.core.models import Job, User
from marketdata.models import Asset, Candle, CorporateAction, Series, Timeframe
from signals import candles
from signals.engine import checking
from signals.engine.terms import Impossible, Terms
from signals.models import HEADLINES, Backtest, Curve, Strategy, Trade
from signals.strategies import registry
from signals.strategies.declaring import Kind

if TYPE_CHECKING:
    from signals.running import Report

KIND = "backtest"  # of job
US = timedelta(microseconds=1)
ACTIONS = "a split or dividend within it was learnt or corrected"  # what makes a result stale besides its candles
LARGEST = 1e15  # that a column of money or quantities can hold, and then some
DEAREST = 1e10  # price that a column can hold


@dataclass(frozen=True)
class Wish:
    """What somebody wants to be run. `strategy`: theirs, if it is one that they keep."""

    kind: Kind
    parameters: dict[str, Any]
    asset: Asset
    timeframe: Timeframe
    start: datetime | None = None
    end: datetime | None = None
    terms: Terms = field(default_factory=Terms)
    benchmark: Asset | None = None
    strategy: Strategy | None = None


def check(wish: Wish) -> None:
    """Raise `BadParameters` or `Impossible` (its `name` is the field) for what can't be run, as far as can be told
    by counting candles."""
    wish.kind.checked(wish.parameters)
    checking.check(wish.terms, has_stops=True)
    series = Series.objects.filter(asset=wish.asset, timeframe=wish.timeframe, candle_count__gt=0).first()
    candles.check(wish.asset, wish.timeframe, series, wish.start, wish.end)
    _check_length(wish)


def _check_length(wish: Wish) -> None:
    """As the run itself would, but nobody has to wait for it."""
    from signals import remarks
    from signals.strategies.deciding import StrategyFault, warmup_of

    try:
        warmup = warmup_of(wish.kind, wish.kind.checked(wish.parameters))
    except StrategyFault as error:
        raise Impossible("rule", str(error)) from None
    needed = warmup + 2
    every = Candle.objects.filter(asset=wish.asset, timeframe=wish.timeframe)
    within = every.filter(open_time__lt=wish.end) if wish.end else every
    before = 0
    if wish.start:
        before = every.filter(open_time__lt=wish.start)[:warmup].count()
        within = within.filter(open_time__gte=wish.start)
    found = within[:needed].count()
    series = f"{wish.asset} {wish.timeframe.value}"
    if not found:
        raise Impossible("start", f"{series} has no candle within these days: choose others.")
    if before + found < needed:
        field = "start" if wish.start or wish.end else "timeframe"
        raise Impossible(field, remarks.too_short(wish.kind, warmup, series, before + found))


def start(wish: Wish, owner: User, rerun_of: Backtest | None = None) -> Backtest:
    """A backtest and its job, queued. Raises as `check` does, and `jobs.BudgetSpent`."""
    from signals import running

    check(wish)
    made = Backtest.objects.create(
        owner=owner,
        strategy=wish.strategy,
        strategy_name=wish.strategy.name if wish.strategy else wish.kind.label,
        kind=wish.kind.name,
        parameters=wish.kind.checked(wish.parameters),
        asset=wish.asset,
        timeframe=wish.timeframe,
        start=wish.start,
        end=wish.end,
        terms=running.plain(wish.terms),
        benchmark=wish.benchmark,
        rerun_of=rerun_of,
    )
    made.job = jobs.start(
        KIND, {"backtest_id": made.pk}, owner=owner, subject=str(made), subject_url=made.get_absolute_url()
    )
    made.save(update_fields=["job"])
    return made


def wish_of(backtest: Backtest) -> Wish:
    """What a backtest was asked for, to be asked again. Raises `registry.UnknownKind` if its kind is gone."""
    from signals import running

    return Wish(
        registry.kind_named(backtest.kind), backtest.parameters, backtest.asset, Timeframe(backtest.timeframe),
        backtest.start, backtest.end, running.terms_of(backtest.terms), backtest.benchmark, backtest.strategy,
    )  # fmt: skip


def rerun(backtest: Backtest, owner: User) -> Backtest:
    """The same once more on what is stored now, as a new backtest that names this one. Raises as `start`."""
    return start(wish_of(backtest), owner, rerun_of=backtest)


def taken_over(backtest: Backtest, job: Job) -> Backtest:
    """What a job that is not its first one works on: itself if it has no end yet, else a new one like it."""
    if backtest.finished_at:
        backtest = Backtest(
            owner_id=backtest.owner_id, strategy=backtest.strategy, strategy_name=backtest.strategy_name,
            kind=backtest.kind, parameters=backtest.parameters, asset=backtest.asset, timeframe=backtest.timeframe,
            start=backtest.start, end=backtest.end, terms=backtest.terms, benchmark=backtest.benchmark,
            rerun_of=backtest, job=job,
        )  # fmt: skip
        backtest.save()
    else:
        backtest.job = job
        backtest.save(update_fields=["job"])
    Job.objects.filter(pk=job.pk).update(subject_url=backtest.get_absolute_url())
    return backtest


# --- Running: inside a worker ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How it ended, in a sentence."""

    backtest: Backtest
    summary: str
    failed: bool = False


def perform(
    backtest: Backtest, acting: Callable[[], AbstractContextManager[None]], step: Callable[[int, int, str], None]
) -> Ended:
    """Run a stored backtest and store what came out, or why nothing did.

    Safe to be called again: what an earlier attempt stored is replaced, and the same data give the same result.
    """
    from signals import running
    from signals.strategies.deciding import StrategyFault, warmup_of

    began = time.perf_counter()
    try:
        step(0, 3, "Reading candles")
        kind = registry.kind_named(backtest.kind)
        params = kind.checked(backtest.parameters)
        found = candles.stored(
            backtest.asset, Timeframe(backtest.timeframe), backtest.start, backtest.end, warmup_of(kind, params)
        )
        step(1, 3, f"Simulating {len(found.times):,} bars".replace(",", " "))
        report = running.run(
            kind, params, found, running.terms_of(backtest.terms), asset=backtest.asset, benchmark=backtest.benchmark
        )
        _check_size(report)
    except (Impossible, StrategyFault, registry.UnknownKind, ValueError) as error:
        with acting():
            backtest.failure, backtest.finished_at = str(error).replace("\0", "")[:2000], timezone.now()
            backtest.seconds = time.perf_counter() - began
            written = {name: getattr(backtest, name) for name in ("failure", "finished_at", "seconds")}
            Backtest.objects.filter(pk=backtest.pk).update(**written)
        return Ended(backtest, str(error), failed=True)
    step(2, 3, "Storing the result")
    with acting():
        there = store(backtest, report, kind, time.perf_counter() - began)
    if not there:
        return Ended(backtest, "It was deleted while it ran, so nothing is kept.", failed=True)
    return Ended(backtest, said(backtest))


def _check_size(report: "Report") -> None:
    """Whether the columns of trades can hold all of it."""
    import numpy as np

    parts = (report.result.trades, report.result.open)
    sums = ("quantity", "fees", "dividends", "profit", "risk")
    columns = [report.result.equity, *(getattr(trades, name) for trades in parts for name in sums)]
    prices = [getattr(trades, name) for trades in parts for name in ("entry_price", "exit_price")]
    for values, most in (*((column, LARGEST) for column in columns), *((column, DEAREST) for column in prices)):
        known = np.abs(values[~np.isnan(values)])
        if len(known) and float(known.max()) > most:
            told = "10¹⁵" if most == LARGEST else "prices up to 10¹⁰"
            raise Impossible(
                "cash", f"The result grows beyond what can be stored ({told}): choose less cash or fewer years."
            )
    if np.isnan(report.result.equity).any():
        raise Impossible("terms", "The result came to no number: choose sizes and costs that are less extreme.")


def said(backtest: Backtest) -> str:
    """The result in a sentence."""
    from chronos.core import figures

    gained = figures.percent(backtest.total_return, 1)
    bars = figures.counted(backtest.bars or 0, "bar")
    return f"{gained} % in {bars}, {figures.counted(backtest.trade_count or 0, 'trade')}."


# What a run writes of its row. All else may have changed while it ran: its note, its strategy, that it is deleted.
_RESULT = (
    "read_from", "first_open", "last_open", "bars", "code_version", "fingerprint", "revision", "checked_revision",
    "stale", "actions_digest", "checksum", "warnings", "metrics", *HEADLINES, "seconds", "finished_at", "failure",
)  # fmt: skip


def store(backtest: Backtest, report: "Report", kind: Kind, seconds: float) -> bool:
    """Write a result in the caller's scope, in one transaction; False if the backtest is not there any more."""
    from signals import running
    from signals.curves import packed, packed_times

    found = report.candles
    backtest.read_from, backtest.first_open, backtest.last_open = found.since, found.first, found.last
    backtest.bars = len(found.times)
    backtest.code_version = running.code_version(kind)
    backtest.fingerprint, backtest.revision = found.fingerprint, found.revision
    backtest.checked_revision, backtest.stale = found.revision, ""
    backtest.actions_digest, backtest.checksum = found.actions, report.checksum
    backtest.warnings = [remark.plain() for remark in report.remarks]
    backtest.metrics = report.metrics
    for name in HEADLINES:
        setattr(backtest, name, report.metrics.get(name))
    backtest.seconds, backtest.finished_at, backtest.failure = seconds, timezone.now(), ""
    with transaction.atomic():
        if not Backtest.objects.select_for_update().filter(pk=backtest.pk).values_list("pk"):
            return False
        Trade.objects.filter(backtest=backtest).delete()
        Curve.objects.filter(backtest=backtest).delete()
        Curve.objects.create(
            backtest=backtest,
            owner_id=backtest.owner_id,
            bars=backtest.bars,
            times=packed_times(found.times),
            equity=packed(report.result.equity),
            gross=packed(report.result.gross),
            hold=packed(report.hold),
            benchmark=None if report.benchmark is None else packed(report.benchmark),
            optimistic=None if report.best is None else packed(report.best.equity),
        )
        _copy(backtest, [*running.trade_rows(report), *running.open_rows(report)])
        backtest.save(update_fields=_RESULT)
    return True


_COLUMNS = (
    "number", "position", "direction", "quantity", "entry_bar", "entry_time", "entry_price", "exit_bar", "exit_time",
    "exit_price", "exit_reason", "fees", "dividends", "profit", "profit_percent", "mae", "mfe", "risk", "ambiguous",
    "is_open",
)  # fmt: skip
_STAGE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS trade_stage ON COMMIT DELETE ROWS AS
SELECT {", ".join(_COLUMNS)} FROM signals_trade WITH NO DATA
"""  # noqa: S608
_INSERT = f"""
INSERT INTO signals_trade (backtest_id, owner_id, {", ".join(_COLUMNS)})
SELECT %s, %s, {", ".join(_COLUMNS)} FROM trade_stage
"""  # noqa: S608


def _copy(backtest: Backtest, rows: list[dict[str, Any]]) -> None:
    """All trades at once: a table with row security takes no COPY, a temporary one does."""
    text = io.StringIO()
    for number, row in enumerate(rows):
        text.write(_line(number, row))
    with connection.cursor() as cursor:
        cursor.execute(_STAGE)
        cursor.execute("DELETE FROM trade_stage")
        with cursor.copy("COPY trade_stage FROM STDIN (FORMAT csv)") as stream:
            stream.write(text.getvalue())
        cursor.execute(_INSERT, [backtest.pk, backtest.owner_id])


def _line(number: int, row: dict[str, Any]) -> str:
    """A trade as CSV: money and prices rounded to what their columns hold, an empty field for none."""
    notional = row["quantity"] * row["entry_price"]
    exit_bar = "" if row["exit_bar"] is None else row["exit_bar"]
    left = "" if row["exit_time"] is None else row["exit_time"].isoformat()
    risk = "" if row["risk"] is None else f"{row['risk']:.8f}"
    return (
        f"{number},{row['position']},{row['direction']},{row['quantity']:.10f},{row['entry_bar']},"
        f"{row['entry_time'].isoformat()},{row['entry_price']:.10f},{exit_bar},{left},{row['exit_price']:.10f},"
        f'"{row["exit_reason"] or ""}",{row["fees"]:.8f},{row["dividends"]:.8f},{row["profit"]:.8f},'
        f"{row['profit'] / notional if notional else 0!r},{row['mae']!r},{row['mfe']!r},{risk},{row['ambiguous']},"
        f"{row['exit_bar'] is None}\n"
    )


# --- Stale results -----------------------------------------------------------------------------------------------


def look_for_stale(backtests: Iterable[Backtest]) -> None:
    """Set `stale` of finished backtests whose candles, splits or dividends were revised since they ran.

    A series' revision tells for nearly all that nothing was; what it does not is compared once for each revision, and
    remembered in the row.
    """
    finished = [one for one in backtests if one.finished_at and not one.failure and one.read_from and one.last_open]
    keys = {(one.asset_id, one.timeframe) for one in finished}
    assets = {asset for asset, _ in keys}
    revisions = {
        (asset, timeframe): revision
        for asset, timeframe, revision in Series.objects.filter(asset__in=assets).values_list(
            "asset_id", "timeframe", "revision"
        )
    }
    actions = _believed(assets)
    for one in finished:
        assert one.read_from
        assert one.last_open
        revision = revisions.get((one.asset_id, one.timeframe))
        stale = one.stale
        if revision is None:
            stale = "its candles are not here any more"
        elif revision != one.checked_revision:
            stale = _revised(one)
        if not stale or stale == ACTIONS:
            stale = ACTIONS if _acted(one, actions.get(one.asset_id, [])) else ""
        if (stale, revision) != (one.stale, one.checked_revision):
            one.stale, one.checked_revision = stale, revision
            Backtest.objects.filter(pk=one.pk).update(stale=stale, checked_revision=revision)


def look_for_actions(finished: QuerySet[Backtest]) -> None:
    """The same of splits and dividends alone, of any number of finished ones: none of their candles is read."""
    every = list(finished.only("asset_id", "timeframe", "read_from", "last_open", "actions_digest"))
    actions = _believed({one.asset_id for one in every})
    found = [one.pk for one in every if _acted(one, actions.get(one.asset_id, []))]
    Backtest.objects.filter(pk__in=found).update(stale=ACTIONS)


def _believed(assets: Iterable[int]) -> dict[int, list[CorporateAction]]:
    """Splits and dividends by asset."""
    found: dict[int, list[CorporateAction]] = {}
    for action in CorporateAction.objects.filter(asset__in=assets, superseded_at=None).order_by("ex_date", "kind"):
        found.setdefault(action.asset_id, []).append(action)
    return found


def _acted(one: Backtest, actions: list[CorporateAction]) -> bool:
    """Whether the splits and dividends that matter to it are others now."""
    if not (one.read_from and one.last_open):
        return False
    return candles.digest(actions, Timeframe(one.timeframe), one.read_from, one.last_open + US) != one.actions_digest


def _revised(one: Backtest) -> str:
    """Whether the candles that it read are others now."""
    assert one.read_from
    assert one.last_open
    frame, until = Timeframe(one.timeframe), one.last_open + US
    same = candles.are_as(one.fingerprint, one.asset, frame, one.read_from, until)
    return "" if same else "candles that it used were revised"
