"""Backtests: run, looked at, listed, noted, run again, deleted and taken back; their equity and trades."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import Q, QuerySet
from django.http.response import HttpResponseBase
from ninja import Path, Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures, moments
from chronos.core.api import Cost, JobOut, told
from chronos.core.envelope import REFUSALS, Answer, NextAction, Refusal, Refused, answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.models import Job
from chronos.core.moments import When
from chronos.core.paging import Paged, page_of
from marketdata.api.asked import SymbolIn, stored
from marketdata.models import Asset, Series, Timeframe
from signals import backtests, exporting, findings, keeping, measures, thinning, wishes, wording
from signals.api.strategies import Values
from signals.backtests import Wish
from signals.engine.terms import Costs, Exits, Sizing, Terms
from signals.findings import OF_TRADE, Findings
from signals.findings import told as trade_told
from signals.loading import backtest_of, strategy_of
from signals.models import CANCELLED, DONE, FAILED, HEADLINES, OPEN, Backtest, Trade
from signals.strategies import registry

router = Router()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
MOST = 100_000  # points of a curve as JSON
SECONDS, SECONDS_A_BAR = 0.1, 1e-6  # about what a run takes: to be fetched and stored, and for each bar


class TermsIn(Schema):
    """Everything of a run that is neither market nor strategy. Rates and levels are fractions: 0.05 is 5 %."""

    cash: float = Field(10_000, description="At the start, in the asset's currency. More than 0.")
    fee_rate: float = Field(0, description="Of each side's notional: 0.001 is 0.1 %.")
    fee_minimum: float = Field(0, description="Of each order, in currency.")
    slippage_bps: float = Field(0, description="Basis points by which market orders fill worse than the price.")
    sizing: Literal["fraction", "amount", "risk"] = Field(
        "fraction", description="`fraction`: of equity; `amount`: of currency; `risk`: so much that the stop-loss costs"
        " that fraction of equity.",
    )  # fmt: skip
    size: float = Field(1, description="By `sizing`: 1 is all equity, 1000 an amount, 0.01 a risk of 1 %.")
    lot: float | None = Field(
        None, description="The smallest quantity; 0: any fraction. Left out: 0 for crypto and currencies, else 1."
    )
    direction: Literal["long", "short", "both"] = "long"
    stop_loss: float | None = Field(None, description="From the entry price, against it.")
    take_profit_1: float | None = Field(None, description="From the entry price, in favour.")
    take_profit_1_share: float | None = Field(
        None, description="How much of the position it closes. Left out: half if there is a second target, else all."
    )
    take_profit_2: float | None = Field(None, description="Closes the rest.")
    trailing_stop: float | None = Field(None, description="From the best price of completed candles.")
    max_bars: int | None = Field(None, le=2**31 - 1, description="After so many bars a position is closed.")
    close_at_end: bool = Field(False, description="Whether what is held is closed at the last bar's open.")


class TermsOut(TermsIn):
    lot: float = Field(description="The smallest quantity; 0: any fraction.")


class BacktestIn(TermsIn):
    strategy_id: int | None = Field(
        None, ge=1, le=2**63 - 1, description="One of your strategies; `parameters` then changes its own for this run."
    )
    kind: str = Field("", max_length=100, description="In place of a strategy: a kind's `name` of list_strategy_kinds.",
                      examples=["sma-cross"])  # fmt: skip
    parameters: Values = Field(default_factory=dict)
    symbol: SymbolIn
    timeframe: Timeframe = Field(Timeframe.D1, description="Length of a candle. There must be stored ones.")
    start: When | None = Field(None, description="First open that is traded: a moment, or a day (its begin, UTC). Left"
                               " out: from the first. Candles before it warm the indicators up.")  # fmt: skip
    end: When | None = Field(None, description="First open that is not traded any more. Left out: to the newest.")
    benchmark: str | None = Field(None, min_length=1, max_length=60, description="Symbol of an asset to compare with.")
    dry_run: bool = Field(False, description="True: say whether it can be run and what it takes, and start nothing.")


class Warned(Schema):
    code: str = Field(examples=["few_trades"])
    level: Literal["warning", "note"] = Field(description="`warning`: it makes the result doubtful.")
    text: str


class BacktestLine(Schema):
    """One run, with the figures that lists have. Returns and shares are fractions: 0.31 is 31 %."""

    id: int
    strategy: str = Field(description="Its name when it ran, or the kind's.")
    strategy_id: int | None = Field(description="None: of a bare kind, or the strategy is gone.")
    kind: str
    symbol: str
    timeframe: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    job_id: int | None = Field(description="The job that runs it, for get_job, wait and cancel_job.")
    first_open: AwareDatetime | None = Field(description="Open of the first bar that it could trade on.")
    last_open: AwareDatetime | None
    total_return: float | None
    cagr: float | None
    sharpe_ratio: float | None
    max_drawdown: float | None = Field(description="At most 0.")
    win_rate: float | None
    profit_factor: float | None
    trade_count: int | None
    warnings: list[Warned]
    stale: str = Field(description="What was revised of its candles since it ran; run it again then. Empty: nothing.")
    note: str
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


class BacktestOut(BacktestLine):
    """One run: what was asked for, what it used, what came out."""

    parameters: dict[str, Any] = Field(description="As they were when it ran.")
    in_words: str = Field(examples=["Fast average 20 bars, Slow average 50 bars"])
    start: AwareDatetime | None = Field(description="Asked for; None: from the first candle.")
    end: AwareDatetime | None = Field(description="Asked for; None: to the newest candle.")
    terms: TermsOut
    benchmark: str | None
    failure: str = Field(description="Why there is no result, in words; empty if there is one, or none yet.")
    metrics: dict[str, int | float | None] = Field(
        description="All figures by name, which list_measures explains. None: not defined. Empty until it has ended."
        " Beside them `periods_per_year`, by which it is annualised; `ambiguous_count` and `resolved_count`, exits"
        " whose order within a bar is not known, or is by finer candles; `optimistic_return`, had every such order been"
        " the better one."
    )
    bars: int | None
    seconds: float | None = Field(description="How long it took.")
    code_version: str
    fingerprint: str = Field(description="Of the candles used: revision, range, checksum.")
    checksum: str = Field(description="Of the bytes of trades and equity: equal for equal inputs.")
    rerun_of: int | None = Field(description="The backtest that it repeats.")


class BacktestStarted(Schema):
    """A backtest that was started; or with `dry_run`, only what it would take."""

    backtest: BacktestOut | None = Field(description="None after a dry run.")
    job: JobOut | None = Field(description="None after a dry run.")
    cost: Cost


STARTED: dict[Any, Any] = answers(BacktestStarted, 202) | {200: answers(BacktestStarted)[200]}


# --- Running -----------------------------------------------------------------------------------------------------


@router.post("/backtests", response=STARTED, tags=["backtests"])
def run_backtest(request: Signed, given: BacktestIn) -> Any:
    """Run a strategy on an asset's stored candles, as a job of seconds; get_backtest has the result when it has ended.

    Decisions are made on completed candles and filled at the next one's open. When a stop and a target fall into one
    candle the worse order is taken, unless finer stored candles tell; warnings say how much that matters.
    """
    wish = _wish(request, given)
    backtests.check(wish)
    cost = _cost(wish)
    what = f"{wish.strategy.name if wish.strategy else wish.kind.label} on {wish.asset}"
    if given.dry_run:
        data = {"backtest": None, "job": None, "cost": cost}
        return said(data, f"{what} would be run. It was not: this is a dry run.")
    return _started(backtests.start(wish, request.user), cost)


def _wish(request: Signed, given: BacktestIn) -> Wish:
    strategy = strategy_of(request, given.strategy_id) if given.strategy_id else None
    if bool(strategy) == bool(given.kind):
        raise Refused(
            "invalid", "Name either strategy_id, one of your strategies, or kind.", "Name one of the two.",
            field="body.kind", next_actions=[then("list_strategy_kinds", "See which kinds there are.")],
        )  # fmt: skip
    kind = registry.kind_named(strategy.kind if strategy else given.kind)
    own = strategy.parameters if strategy else {}
    parameters = kind.checked(own | given.parameters)
    if strategy and parameters != kind.checked(own):  # it is not that strategy any more
        strategy = None
    asset = _asset(given.symbol, "body.symbol")
    return Wish(
        kind, parameters, asset, given.timeframe, moments.begin(given.start, "body.start"),
        moments.begin(given.end, "body.end"), _terms(given, asset),
        _asset(given.benchmark, "body.benchmark") if given.benchmark else None, strategy,
    )  # fmt: skip


def _asset(symbol: str, field: str) -> Asset:
    try:
        return stored(symbol)
    except Refused as refused:
        refused.field = field
        raise


def _terms(given: TermsIn, asset: Asset) -> Terms:
    return Terms(
        cash=given.cash,
        costs=Costs(given.fee_rate, given.fee_minimum, given.slippage_bps),
        sizing=Sizing(given.sizing, given.size),
        exits=Exits(**{name: getattr(given, name) for name in Exits.__dataclass_fields__}),
        lot=float(wishes.usual_lot(asset)) if given.lot is None else given.lot,
        direction=given.direction,
        close_at_end=given.close_at_end,
    )


def _cost(wish: Wish) -> dict[str, Any]:
    """No provider is asked, so that only bars count."""
    series = Series.objects.filter(asset=wish.asset, timeframe=wish.timeframe).first()
    bars = series.candle_count if series else 0
    return {"series": 1, "requests": 0, "seconds": SECONDS + SECONDS_A_BAR * bars}


def _started(made: Backtest, cost: dict[str, Any]) -> Any:
    actions = _next(made)
    data = {"backtest": _whole(made), "job": told(made.job) if made.job else None, "cost": cost}
    return said(data, f"{made} is backtest {made.pk}.", actions, status=202)


@router.post("/backtests/{int:backtest_id}/rerun", response=STARTED, tags=["backtests"])
def rerun_backtest(request: Signed, backtest_id: Id) -> Any:
    """The same once more on what is stored now, as a new backtest; the old one stays. For one that is stale."""
    found = backtest_of(request, backtest_id)
    wish = backtests.wish_of(found)
    return _started(backtests.rerun(found, request.user), _cost(wish))


# --- Looking -----------------------------------------------------------------------------------------------------


class BacktestsWanted(Paged):
    q: str = Field("", max_length=100, description="Only those with these words in strategy, symbol or note.")
    strategy_id: int | None = Field(None, ge=1, le=2**63 - 1, description="Only those of this strategy.")
    kind: str = Field("", max_length=100, description="Only those of this kind.")
    symbol: str = Field("", max_length=60, description="Only those on this asset.")
    timeframe: Timeframe | None = Field(None, description="Only those on candles of this length.")
    state: Literal["", "done", "failed", "cancelled", "unfinished"] = Field("", description="Only these.")
    min_trades: int | None = Field(None, ge=0, le=2**31 - 1, description="Only those with as many closed trades.")
    order: Literal[
        "-id", "id", "-total_return", "-cagr", "-sharpe_ratio", "-max_drawdown", "-win_rate", "-profit_factor",
        "-trade_count",
    ] = Field("-id", description="`-id`: the newest first. By a figure: the highest first, and only those that have"
              " it.")  # fmt: skip


_ORDERS = {"-id": ("-id",), "id": ("id",), **{f"-{name}": (f"-{name}", "-id") for name in HEADLINES}}


@router.get("/backtests", response=answers(list[BacktestLine]), tags=["backtests"])
def list_backtests(request: Signed, wanted: Query[BacktestsWanted]) -> Any:
    """Your backtests, with their main figures; nobody else sees them."""
    found = _wanted(Backtest.objects.of(request.user), wanted)
    if (figure := wanted.order.removeprefix("-")) in HEADLINES:
        found = found.filter(**{f"{figure}__isnull": False})
    page = page_of(found.select_related("asset", "job").defer("metrics"), wanted, wanted.order, _ORDERS)
    backtests.look_for_stale(page.rows)
    actions = [then("get_backtest", "Look at one.", backtest_id=page.rows[0].pk)] if page.rows else []
    if not page.rows:
        actions.append(then("list_strategy_kinds", "See what can be run, by run_backtest."))
    words = f"{page.counted('backtest')}."
    return said([line(row) for row in page.rows], words, actions, next_cursor=page.next_cursor)


def _wanted(found: QuerySet[Backtest], wanted: BacktestsWanted) -> QuerySet[Backtest]:
    for word in wanted.q.split():
        texts = ("strategy_name", "kind", "asset__symbol", "note")
        found = found.filter(Q(*((f"{name}__icontains", word) for name in texts), _connector=Q.OR))
    if wanted.symbol:
        found = found.filter(asset=stored(wanted.symbol))
    given = {"strategy": wanted.strategy_id, "kind": wanted.kind, "timeframe": wanted.timeframe,
             "trade_count__gte": wanted.min_trades}  # fmt: skip
    found = found.filter(**{name: value for name, value in given.items() if value not in (None, "")})
    states = {"done": DONE, "failed": FAILED, "unfinished": OPEN, "cancelled": CANCELLED}
    return found.filter(states[wanted.state]) if wanted.state else found


@router.get("/backtests/{int:backtest_id}", response=answers(BacktestOut), tags=["backtests"])
def get_backtest(request: Signed, backtest_id: Id) -> Any:
    """One backtest: its state, and once it is done all its figures, warnings, and what it was made of."""
    found = backtest_of(request, backtest_id)
    backtests.look_for_stale([found])
    return said(_whole(found), _sentence(found), _next(found))


def _sentence(found: Backtest) -> str:
    state = found.state
    if state == "done":
        stale = f" It is stale: {found.stale}." if found.stale else ""
        return f"{found}: {backtests.said(found)}{stale}"
    if state == "failed":
        return f"{found} could not be run: {found.failure}"
    words = {"queued": "waits for a worker", "running": "is running"}
    return f"{found} {words.get(state, 'was stopped before its end')}."


def _next(found: Backtest) -> list[NextAction]:
    """What fits: one under way is waited for, a stale one run again, a good one looked into."""
    state, same = found.state, {"backtest_id": found.pk}
    if state in Job.UNFINISHED and found.job:
        return [
            then("get_job", "See how far it is.", job_id=found.job.pk),
            then("get_backtest", "Read the result when it has ended.", **same),
            then("cancel_job", "Stop it.", job_id=found.job.pk),
        ]
    again = then("rerun_backtest", "Run it again on what is stored now.", **same)
    actions = [again] if _runs(found) else []
    if state == "done":
        looks = [then("list_backtest_trades", "See its trades.", **same),
                 then("get_backtest_equity", "See its equity.", **same)]  # fmt: skip
        actions = [*actions, *looks] if found.stale else [*looks, *actions]
    return [*actions, then("delete_backtest", "Delete it.", **same)]


def _runs(found: Backtest) -> bool:
    """Whether the same could be run again: its kind may be gone, and what it lacked may still be lacking."""
    return not wording.trouble(found.kind, found.parameters) and not found.failure


def line(found: Backtest) -> dict[str, Any]:
    own = ("kind", "timeframe", "first_open", "last_open", "warnings", "stale", "note", "created_at", "finished_at",
           "strategy_id", "job_id", *HEADLINES)  # fmt: skip
    return {name: getattr(found, name) for name in own} | {
        "id": found.pk,
        "strategy": found.strategy_name,
        "symbol": found.asset.symbol,
        "state": found.state,
    }


def _whole(found: Backtest) -> dict[str, Any]:
    own = ("parameters", "start", "end", "failure", "metrics", "bars", "seconds", "code_version", "fingerprint",
           "checksum")  # fmt: skip
    return line(found) | {name: getattr(found, name) for name in own} | {
        "in_words": wording.sentence(found.kind, found.parameters),
        "terms": _flat(found.terms),
        "benchmark": found.benchmark.symbol if found.benchmark else None,
        "rerun_of": found.rerun_of_id,
    }  # fmt: skip


def _flat(terms: dict[str, Any]) -> dict[str, Any]:
    """Stored terms as run_backtest takes them."""
    from signals import running

    read = running.terms_of(terms)
    return vars(read.costs) | vars(read.exits) | {
        "cash": read.cash, "sizing": read.sizing.kind, "size": read.sizing.value, "lot": read.lot,
        "direction": read.direction, "close_at_end": read.close_at_end,
    }  # fmt: skip


class MeasureOut(Schema):
    name: str = Field(examples=["sharpe_ratio"])
    label: str
    group: str
    kind: Literal["change", "share", "ratio", "currency", "count", "bars", "days", "years"] = Field(
        description="`change` and `share` are fractions."
    )
    better: Literal["higher", "lower"] | None = Field(description="None: neither is.")
    explanation: str = Field(description="What it is, and its trap.")


@router.get("/measures", response=answers(list[MeasureOut]), tags=["backtests"])
def list_measures(request: Signed) -> Any:
    """What the figures of a backtest mean, a line each, with the trap that each has."""
    own = ("name", "label", "kind", "better", "explanation")
    found = [
        {name: getattr(one, name) for name in own} | {"group": group.label}
        for group in measures.GROUPS
        for one in group.measures
    ]
    return said(found, f"{figures.counted(len(found), 'figure')}.", total=len(found))


# --- Its equity and trades ---------------------------------------------------------------------------------------


class EquityOut(Schema):
    """Columns of equal length, a value for each bar that is told, oldest first."""

    bars: int = Field(description="How many there are in all.")
    open_time: list[datetime] = Field(description="UTC.")
    equity: list[float] = Field(description="Cash and positions at the bar's close.")
    gross: list[float] = Field(description="What is held, at its close; short positions count as much as long ones.")
    hold: list[float] = Field(description="What the same cash had been worth in the asset, bought and held.")
    benchmark: list[float] | None = Field(description="The same in the benchmark. None: there is none.")
    drawdown: list[float] = Field(description="Below the highest close so far, as a fraction of it: at most 0.")


class EquityWanted(Schema):
    points: int = Field(500, ge=4, le=MOST, description="At most so many bars: the first, the last, and highs and lows"
                        " of equity in between, so that none is lost.")  # fmt: skip
    form: Literal["json", "csv"] = Field("json", alias="format", description="`csv`: every bar, whatever `points`.")


@router.get(
    "/backtests/{int:backtest_id}/equity", response={200: Answer[EquityOut], REFUSALS: Refusal}, tags=["backtests"],
    openapi_extra={"responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}},
)  # fmt: skip
def get_backtest_equity(request: Signed, backtest_id: Id, wanted: Query[EquityWanted]) -> Any:
    """The equity of a backtest by bar, beside holding and the benchmark: thinned as JSON, or every bar as CSV."""
    found = _finished(request, backtest_id)
    result = findings.stored(found)
    if wanted.form == "csv":
        sent: HttpResponseBase = exporting.equity_download(result)
        return sent
    data = _thinned(result, wanted.points)
    many = len(data["open_time"])
    words = f"{figures.counted(many, 'point')} of {figures.counted(data['bars'], 'bar')} of {found}."
    return said(data, words, [then("list_backtest_trades", "See its trades.", backtest_id=found.pk)])


def _thinned(result: Findings, points: int) -> dict[str, Any]:
    from marketdata import history
    from signals import metrics

    places = thinning.extremes(result.equity, points)
    curves = {"equity": result.equity, "gross": result.gross, "hold": result.hold, "benchmark": result.benchmark,
              "drawdown": metrics.drawdowns(result.equity)}  # fmt: skip
    columns = {name: None if values is None else values[places].tolist() for name, values in curves.items()}
    times = [history.moment(micros) for micros in result.times[places].tolist()]
    return {"bars": len(result.times), "open_time": times, **columns}


class TradeOut(Schema):
    """One part of a position, closed or still held. Numbers are float64."""

    number: int = Field(description="Its place in the backtest, from 0, in the order of exits.")
    position: int = Field(description="Which position it is a part of.")
    direction: Literal["long", "short"]
    quantity: float
    entry_bar: int = Field(description="From 0.")
    entry_time: AwareDatetime
    entry_price: float = Field(description="With slippage, in shares of the exit's day.")
    exit_bar: int | None = Field(description="None: still held at the end.")
    exit_time: AwareDatetime | None
    exit_price: float | None = Field(description="Of one still held the last close.")
    exit_reason: str | None = Field(description="`signal`, `reversal`, `stop_loss`, `trailing_stop`, `take_profit_1`,"
                                    " `take_profit_2`, `max_bars`, `end`, `ruin`.")  # fmt: skip
    fees: float
    dividends: float
    profit: float = Field(description="Fees and dividends included, in currency.")
    profit_percent: float = Field(description="As a fraction of what was paid at its entry: 0.05 is 5 %.")
    mae: float = Field(description="Worst price while held, as a fraction of the entry's: at most 0.")
    mfe: float = Field(description="Best price while held, as a fraction of the entry's: at least 0.")
    risk: float | None = Field(description="Between entry and first stop, in currency. None: there was no stop.")
    ambiguous: bool = Field(description="Whether an unknown order of events within a bar decided it.")


class TradesWanted(Paged):
    direction: Literal["", "long", "short"] = Field("", description="Only these.")
    exit_reason: str = Field("", max_length=20, description="Only those left for this reason.")
    outcome: Literal["", "won", "lost", "open"] = Field("", description="Only these; `open`: still held at the end.")
    order: Literal["number", "-number", "profit", "-profit"] = Field(
        "number", description="`number`: as they ended; `-profit`: the best first."
    )


_TRADE_ORDERS = {"number": ("number",), "-number": ("-number",), "profit": ("profit", "number"),
                 "-profit": ("-profit", "number")}  # fmt: skip


@router.get("/backtests/{int:backtest_id}/trades", response=answers(list[TradeOut]), tags=["backtests"])
def list_backtest_trades(request: Signed, backtest_id: Id, wanted: Query[TradesWanted]) -> Any:
    """The trades of a backtest, what is still held at its end among them."""
    found = _finished(request, backtest_id)
    rows = Trade.objects.filter(backtest=found)
    for name, value in (("direction", wanted.direction), ("exit_reason", wanted.exit_reason)):
        if value:
            rows = rows.filter(**{name: value})
    outcomes = {"won": Q(profit__gt=0, is_open=False), "lost": Q(profit__lt=0, is_open=False), "open": Q(is_open=True)}
    if wanted.outcome:
        rows = rows.filter(outcomes[wanted.outcome])
    page = page_of(rows, wanted, wanted.order, _TRADE_ORDERS)
    data = [trade_told({name: getattr(row, name) for name in OF_TRADE}) for row in page.rows]
    actions = [then("get_backtest", "See what they come to.", backtest_id=found.pk)]
    return said(data, f"{page.counted('trade')} of {found}.", actions, next_cursor=page.next_cursor)


def _finished(request: Signed, pk: int) -> Backtest:
    found = backtest_of(request, pk)
    if found.unfinished or found.failed:
        raise Refused("no_result", f"There is no result: {_sentence(found)}", "Wait for its end, or mend what it says"
                      " and run it anew.", status=409, next_actions=_next(found))  # fmt: skip
    return found


# --- Keeping -----------------------------------------------------------------------------------------------------


class BacktestChange(Schema):
    note: str = Field(max_length=10_000, description="Replaces the one that it has; empty: none.")


@router.patch("/backtests/{int:backtest_id}", response=answers(BacktestOut), tags=["backtests"])
def annotate_backtest(request: Signed, backtest_id: Id, given: BacktestChange) -> Any:
    """Write a backtest's note, the one thing of it that changes."""
    found = backtest_of(request, backtest_id)
    try:
        keeping.annotate(found, given.note)
    except ValueError as error:
        raise Refused("invalid", str(error), "Write it anew.", field="body.note") from None
    return said(_whole(found), f"The note of {found} is {'written' if found.note else 'gone'}.", _next(found))


@router.delete("/backtests/{int:backtest_id}", response=answers(None), tags=["backtests"])
def delete_backtest(request: Signed, backtest_id: Id) -> Any:
    """Delete it with its trades; stopped first if it is running. For an hour you can take that back."""
    found = backtest_of(request, backtest_id)
    keeping.delete([found.pk], request.user)
    return said(None, f"{found} is deleted.",
                [then("undelete_backtest", "Take that back, within the hour.", backtest_id=found.pk)])  # fmt: skip


@router.post("/backtests/{int:backtest_id}/undelete", response=answers(BacktestOut), tags=["backtests"])
def undelete_backtest(request: Signed, backtest_id: Id) -> Any:
    """Take a deletion back; possible for an hour."""
    if not keeping.undelete([backtest_id], request.user):
        raise missing(f"You have no deleted backtest {backtest_id}; after an hour they are gone for good.",
                      "Look at list_backtests.")  # fmt: skip
    found = backtest_of(request, backtest_id)
    return said(_whole(found), f"{found} is back.", _next(found))
