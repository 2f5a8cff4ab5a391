"""The API's operations on how an asset's candles are kept: what is there and missing, what was asked, what is held."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.envelope import NextAction, answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.paging import Paged, cursor_at, page_of, place_in
from marketdata import actions, coverage, overview, quarantine
from marketdata.api.asked import Symbol, for_staff, stored
from marketdata.loading import may_change
from marketdata.models import CorporateAction, FetchWindow, QuarantinedCandle, Series, Timeframe

router = Router()
PLACES = {timeframe.value: place for place, timeframe in enumerate(Timeframe)}
AT_ONCE = 1000  # candles decided about in one go
NUMBERS = ("open", "high", "low", "close", "adj_close", "volume", "quote_volume")


# --- What is there -----------------------------------------------------------------------------------------------


class AskedOut(Schema):
    """What one provider was asked about a series, in sum."""

    provider: str
    windows: int = Field(description="Questions.")
    failures: int = Field(description="Of those, without an answer.")
    received: int = Field(description="Candles that came.")
    last_asked_at: AwareDatetime | None


class CoverageOut(Schema):
    """How complete one series is."""

    timeframe: str
    candles: int = Field(description="Stored.")
    expected: int | None = Field(
        description="Candles that its market had between the first and the last. None: not counted, or no calendar."
    )
    missing: int | None = Field(description="Of those, neither here nor known not to have traded. None: as above.")
    not_traded: int | None = Field(description="Of those, asked for and not there.")
    held: int | None = Field(description="Of those, only in quarantine.")
    gaps: int | None = Field(description="Runs of missing candles.")
    says: str = Field(description="The same in a sentence.")
    audited_at: AwareDatetime | None = Field(description="When it was counted.")
    asked: list[AskedOut] = Field(description="By provider.")


@router.get("/assets/{symbol}/coverage", response=answers(list[CoverageOut]), tags=["upkeep"])
def get_coverage(request: Signed, symbol: Symbol) -> Any:
    """How complete each series of an asset is by its market's calendar, and who was asked for it: before one relies
    on its candles.
    """
    found = stored(symbol)
    every = sorted(Series.objects.filter(asset=found), key=lambda series: PLACES[series.timeframe])
    asked: dict[str, list[coverage.Asked]] = {}
    for line in coverage.summary(found):
        asked.setdefault(line.timeframe, []).append(line)
    data = [_coverage(series, asked.get(series.timeframe, [])) for series in every]
    lacking = [series.timeframe for series in every if series.gap_count]
    parameters = {"symbol": found.symbol}
    next_actions = [then("list_gaps", "See what is missing.", **parameters, timeframe=one) for one in lacking[:1]]
    next_actions.append(then("list_windows", "See what was asked and what came back.", **parameters))
    words = f"{figures.counted(len(data), 'series', 'series')} of {found.symbol}"
    return said(data, f"{words}; candles are missing of {', '.join(lacking)}." if lacking else f"{words}.",
                next_actions, total=len(data))  # fmt: skip


def _coverage(series: Series, asked: list[coverage.Asked]) -> dict[str, Any]:
    counted = series.audited_at is not None and bool(series.expected_count)
    counts = {"expected": series.expected_count, "missing": series.missing_count, "not_traded": series.untraded_count,
              "held": series.held_count, "gaps": series.gap_count}  # fmt: skip
    return {name: count if counted else None for name, count in counts.items()} | {
        "timeframe": series.timeframe,
        "candles": series.candle_count,
        "says": overview.coverage(series).says,
        "audited_at": series.audited_at,
        "asked": [{name: getattr(one, name) for name in AskedOut.model_fields} for one in asked],
    }


class GapOut(Schema):
    """A run of missing candles."""

    start: AwareDatetime = Field(description="Open of the first that is missing.")
    end: AwareDatetime = Field(description="Open of the last that is missing.")
    candles: int


class GapsWanted(Paged):
    timeframe: Timeframe = Field(Timeframe.D1, description="Length of a candle.")


@router.get("/assets/{symbol}/gaps", response=answers(list[GapOut]), tags=["upkeep"])
def list_gaps(request: Signed, symbol: Symbol, wanted: Query[GapsWanted]) -> Any:
    """Which candles of one series are missing, run by run, oldest first; fill_gaps asks for exactly these."""
    found = stored(symbol)
    name, timeframe = found.symbol, wanted.timeframe.value
    series = Series.objects.filter(asset=found, timeframe=timeframe).select_related("asset").first()
    backfill = then("backfill_asset", "Fetch its history.", symbol=name, timeframe=timeframe)
    if series is None:
        raise missing(f"{name} has no candles of {timeframe}.", "See what it has with get_asset.",
                      next_actions=[then("get_asset", "See what it has.", symbol=name)])  # fmt: skip
    gaps, trouble = overview.gaps_of(series)
    after = place_in(wanted.cursor, "gaps")
    left = [gap for gap in gaps if after is None or _micros(gap[0]) > after]
    page = left[: wanted.limit]
    cursor = cursor_at("gaps", _micros(page[-1][0])) if len(left) > len(page) else ""
    next_actions: list[NextAction] = []
    if gaps and not found.is_sample:
        next_actions.append(then("fill_gaps", "Ask the providers for them.", symbol=name, timeframe=timeframe))
    elif trouble and not found.is_sample:
        next_actions.append(backfill)
    lost = figures.counted(sum(gap[2] for gap in gaps), "candle")
    words = trouble or f"{figures.counted(len(gaps), 'gap')} in {name} {timeframe}, {lost} in all."
    data = [{"start": start, "end": end, "candles": candles} for start, end, candles in page]
    return said(data, words, next_actions, next_cursor=cursor, total=None if trouble else len(gaps))


def _micros(moment: datetime) -> int:
    from marketdata.history import micros  # numpy, which the web process must not pay for as it starts

    return micros(moment) or 0


# --- Splits and dividends ----------------------------------------------------------------------------------------


class ActionOut(Schema):
    """A split, a dividend or a capital gain."""

    kind: Literal["split", "dividend", "capital_gain"]
    ex_date: date = Field(description="First trading day at the new price.")
    value: float = Field(
        description="Of a split new shares per old one: 4 for 4:1, 0.1 for 1:10. Else money per share, in `currency`."
    )
    ratio: str = Field(description="Of a split, as people write it: `4:1`. Else empty.")
    basis: Literal["raw", "split"] = Field(
        description="Whether that money is per share of that day, or divided by all later splits."
    )
    currency: str
    source: str = Field(description="Who told it.")
    is_derived: bool = Field(description="Found in the prices rather than told by the source.")
    known_at: AwareDatetime = Field(description="When it was first stored here.")


class ActionsWanted(Paged):
    kind: Literal["", "split", "dividend", "capital_gain"] = Field("", description="Only these.")
    order: Literal["-ex_date", "ex_date"] = Field("-ex_date", description="`-ex_date`: the newest first.")


_ACTION_ORDERS = {"-ex_date": ("-ex_date", "-id"), "ex_date": ("ex_date", "id")}


@router.get("/assets/{symbol}/actions", response=answers(list[ActionOut]), tags=["upkeep"])
def list_corporate_actions(request: Signed, symbol: Symbol, wanted: Query[ActionsWanted]) -> Any:
    """Splits and dividends of an asset, as they are believed now: what `adjust` of get_candles works with."""
    found = stored(symbol)
    believed = CorporateAction.objects.filter(asset=found, superseded_at=None)
    if wanted.kind:
        believed = believed.filter(kind=wanted.kind)
    page = page_of(believed, wanted, wanted.order, _ACTION_ORDERS)
    data = [_action(one) for one in page.rows]
    next_actions = []
    if data:
        why = "Read candles adjusted for them."
        next_actions.append(then("get_candles", why, symbol=found.symbol, adjust="total"))
    return said(data, f"{page.counted('action')} of {found.symbol}.", next_actions,
                next_cursor=page.next_cursor)  # fmt: skip


def _action(one: CorporateAction) -> dict[str, Any]:
    own = ("kind", "ex_date", "basis", "currency", "source", "known_at")
    return {name: getattr(one, name) for name in own} | {
        "value": float(one.value),
        "ratio": actions.ratio_words(one.value) if one.kind == CorporateAction.Kind.SPLIT else "",
        "is_derived": one.derived,
    }


# --- The ledger --------------------------------------------------------------------------------------------------


class WindowOut(Schema):
    """One window of time that was asked of one provider, and what became of the question."""

    id: int
    timeframe: str
    provider: str
    since: AwareDatetime
    until: AwareDatetime = Field(description="Exclusive.")
    settled_until: AwareDatetime | None = Field(
        description="Until when the answer can be relied on; None: for nothing."
    )
    state: Literal["asking", "answered", "empty", "failed"]
    received: int = Field(description="Candles that came.")
    inserted: int
    updated: int
    quarantined: int
    exhausted: bool = Field(description="The provider has nothing older than this window.")
    error_class: str = Field(description="Of a failure: its kind, such as `RateLimited`.")
    error: str = Field(description="Of a failure: in a sentence.")
    asked_at: AwareDatetime
    answered_at: AwareDatetime | None
    seconds: float | None = Field(description="From the question to the answer, waits included.")


class WindowsWanted(Paged):
    timeframe: Timeframe | None = Field(None, description="Only of this one.")
    provider: str = Field("", max_length=40, description="Only asked of this one.")
    state: Literal["", "asking", "answered", "empty", "failed"] = Field("", description="Only these.")
    order: Literal["-asked_at", "asked_at"] = Field("-asked_at", description="`-asked_at`: the newest first.")


_WINDOW_ORDERS = {"-asked_at": ("-asked_at", "-id"), "asked_at": ("asked_at", "id")}


@router.get("/assets/{symbol}/windows", response=answers(list[WindowOut]), tags=["upkeep"])
def list_windows(request: Signed, symbol: Symbol, wanted: Query[WindowsWanted]) -> Any:
    """The ledger of an asset: what was asked of whom and when, and what came back. Good for finding out why candles
    are missing.
    """
    found = stored(symbol)
    windows = FetchWindow.objects.filter(asset=found)
    for name, value in (("timeframe", wanted.timeframe), ("provider", wanted.provider), ("state", wanted.state)):
        if value:
            windows = windows.filter(**{name: value})
    page = page_of(windows, wanted, wanted.order, _WINDOW_ORDERS)
    data = [{name: getattr(one, name) for name in WindowOut.model_fields} for one in page.rows]
    next_actions = [then("get_coverage", "See what there is in sum.", symbol=found.symbol)]
    words = f"{page.counted('window')} of {found.symbol}."
    return said(data, words, next_actions, next_cursor=page.next_cursor)


# --- Quarantine --------------------------------------------------------------------------------------------------


class NearOut(Schema):
    """A stored candle beside one that is held; numbers as exact text."""

    open_time: AwareDatetime
    open: str
    high: str
    low: str
    close: str
    volume: str
    source: str


class HeldOut(Schema):
    """A candle that failed a check: kept as it came, and not used."""

    id: int
    timeframe: str
    open_time: AwareDatetime | None = Field(description="None: the time itself could not be read.")
    kind: str = Field(description="What is wrong: `spike`, `unit`, `frozen`, `impossible`, `unreadable`, `grid`,"
                      " `unfinished`, `twin`, `foreign`; empty if it is old.")  # fmt: skip
    reason: str = Field(description="The same in a sentence.")
    numbers: dict[str, str] = Field(description="As they came: open, high, low, close, volume…")
    source: str
    state: Literal["held", "released", "rejected"]
    received_at: AwareDatetime
    decided_at: AwareDatetime | None
    decided_by: str = Field(description="User name of who decided, or what did.")
    before: NearOut | None = Field(description="The stored candle before it.")
    instead: NearOut | None = Field(description="The stored candle of its time, which a release would replace.")
    after: NearOut | None = Field(description="The stored candle after it.")


class HeldWanted(Paged):
    timeframe: Timeframe | None = Field(None, description="Only of this one.")
    kind: Literal[
        "", "unreadable", "impossible", "grid", "unfinished", "twin", "foreign", "spike", "unit", "frozen"
    ] = Field("", description="Only these.")
    state: Literal["held", "released", "rejected", "all"] = Field("held", description="Only these.")


@router.get("/assets/{symbol}/held", response=answers(list[HeldOut]), tags=["upkeep"])
def list_held(request: Signed, symbol: Symbol, wanted: Query[HeldWanted]) -> Any:
    """Candles of an asset in quarantine, each beside its stored neighbours; staff decide about them by decide_held."""
    found = stored(symbol)
    rows = QuarantinedCandle.objects.filter(asset=found)
    for name, value in (("timeframe", wanted.timeframe), ("kind", wanted.kind)):
        if value:
            rows = rows.filter(**{name: value})
    if wanted.state != "all":
        rows = rows.filter(state=wanted.state)
    page = page_of(rows, wanted, "id", {"id": ("id",)})
    near = quarantine.neighbours(page.rows)
    data = [_held(row, near.get(row.pk, {})) for row in page.rows]
    open_ones = [row.pk for row in page.rows if row.state == QuarantinedCandle.State.HELD]
    next_actions = []
    if open_ones and may_change(request.user, QuarantinedCandle):
        why = "See what releasing the first would do; decide by its neighbours."
        next_actions.append(
            then("decide_held", why, symbol=found.symbol, decision="release", ids=open_ones[:1], dry_run=True)
        )
    return said(data, f"{page.counted('candle')} of {found.symbol}.", next_actions,
                next_cursor=page.next_cursor)  # fmt: skip


def _held(row: QuarantinedCandle, near: dict[str, list[Any]]) -> dict[str, Any]:
    raw = row.raw if isinstance(row.raw, dict) else {}
    own = ("timeframe", "open_time", "kind", "reason", "source", "state", "received_at", "decided_at", "decided_by")
    return {name: getattr(row, name) for name in own} | {
        "id": row.pk,
        "numbers": {name: str(raw[name])[:60] for name in NUMBERS if raw.get(name) is not None},
        "before": _near(near.get("before")),
        "instead": _near(near.get("stored")),
        "after": _near(near.get("after")),
    }


def _near(candle: list[Any] | None) -> dict[str, Any] | None:
    if candle is None:
        return None
    at, *numbers, source = candle
    texts = zip(("open", "high", "low", "close", "volume"), (f"{number:f}" for number in numbers), strict=True)
    return {"open_time": at, "source": source, **dict(texts)}


class DecisionIn(Schema):
    decision: Literal["release", "reject"] = Field(
        description="`release`: store it as it came, in place of what is stored for its time. `reject`: rightly unused."
    )
    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] = Field(
        min_length=1, max_length=AT_ONCE, description="Of candles of this asset, as list_held has them."
    )
    dry_run: bool = Field(False, description="True: say what it would do, and decide nothing.")


class DecidedOut(Schema):
    chosen: int = Field(description="Candles of this asset among `ids`.")
    replaced: int = Field(description="Of those, with another candle stored for their time, which a release replaces;"
                          " its values are kept as a revision.")  # fmt: skip
    decided: int = Field(description="Candles that were decided about.")
    problems: list[str] = Field(description="Why the others were not, a sentence each.")


_VERBS = {"release": ("released", quarantine.release_many), "reject": ("rejected", quarantine.reject_many)}


@router.post("/assets/{symbol}/held", response=answers(DecidedOut), tags=["upkeep"])
def decide_held(request: Signed, symbol: Symbol, given: DecisionIn) -> Any:
    """Release candles from quarantine into the series, or say that they are rightly unused. For staff."""
    user, found = request.user, stored(symbol)
    if not may_change(user, QuarantinedCandle):
        raise for_staff("Staff release and reject candles; everybody may look at them.")
    chosen = QuarantinedCandle.objects.filter(asset=found, pk__in=given.ids).select_related("asset")
    rows = list(chosen.order_by("timeframe", "open_time", "pk"))
    if not rows:
        raise missing(f"{found.symbol} has no such candles in quarantine.", "Look at list_held.",
                      next_actions=[then("list_held", "See them.", symbol=found.symbol, state="all")])  # fmt: skip
    data = {"chosen": len(rows), "replaced": quarantine.over(rows), "decided": 0, "problems": []}
    again = then("list_held", "See what is held.", symbol=found.symbol)
    past, verb = _VERBS[given.decision]
    if given.dry_run:
        words = f"{figures.counted(len(rows), 'candle')} would be {past}"
        return said(data, f"{words}. Nothing was: this is a dry run.", [again])
    decided = verb(rows, user.get_username())
    data |= {"decided": decided.count, "problems": list(decided.problems)}
    return said(data, f"{figures.counted(decided.count, 'candle')} {past}.", [again])
