"""What is stored and how it is kept, at a glance: the cells of the Data page and of an asset's panel.

However many series a page shows, each function here asks the database a fixed number of questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from chronos.core import figures
from marketdata import calendars, freshness, gaps, sources
from marketdata.calendars import Book, UnknownCalendar
from marketdata.models import Asset, FetchWindow, QuarantinedCandle, Series, Timeframe, canonical

INTERRUPTED = timedelta(minutes=15)  # a window still being asked after so long lost its worker
HELD = Q(state=QuarantinedCandle.State.HELD)

# --- Which series ------------------------------------------------------------------------------------------------

STATES = {
    "all": "All",
    "gaps": "With gaps",
    "behind": "Behind",
    "failing": "Failing",
    "unaudited": "Never audited",
}
SORTS = {
    "symbol": "asset__symbol",
    "candles": "candle_count",
    "last": "last_open",
    "missing": "missing_count",
    "revision": "revision",
    "asked": "checked_at",
}


def in_state(state: str, now: datetime) -> Q:
    """Behind: the market has produced a candle that is not stored. A sample never is."""
    if state == "behind":
        return Q(pk__in=behind(now))
    return {
        "gaps": Q(missing_count__gt=0),
        "failing": Q(failed_at__isnull=False),
        "unaudited": Q(audited_at=None),
    }.get(state, Q())


def behind(now: datetime) -> list[int]:
    """The keys of the series that lack their market's newest candle."""
    lags = _lagging(now, Book())
    return [series.pk for series in _every_series() if lags(series)]


def _every_series() -> QuerySet[Series]:
    return Series.objects.select_related("asset").defer("asset__metadata").order_by()


def _lagging(now: datetime, book: Book) -> Callable[[Series], bool]:
    """Whether a series lacks its market's newest candle, by the rule of `freshness`; looked up once a market."""
    newest: dict[tuple[str, str], datetime | None] = {}

    def lags(series: Series) -> bool:
        if series.last_open is None or series.asset.is_sample:
            return not series.asset.is_sample
        code, timeframe = calendars.calendar_of(series.asset), Timeframe(series.timeframe)
        if (code, timeframe) not in newest:
            newest[code, timeframe] = calendars.last_complete(code, timeframe, now - calendars.settle(code), book=book)
        last = newest[code, timeframe]
        if last is None:
            return freshness.judge(series.asset, series, now, book).level != "fresh"
        return series.last_open < last

    return lags


def found_series(search: str, timeframe: str, state: str, now: datetime) -> QuerySet[Series]:
    """Series whose asset is called so or spelt so, of a timeframe, in a state of `STATES`; unknown words count not."""
    found = Series.objects.filter(in_state(state, now))
    if timeframe in Timeframe.values:
        found = found.filter(timeframe=timeframe)
    return found.filter(asset__in=assets_called(search)) if search else found


def assets_called(search: str) -> QuerySet[Asset, Any]:
    """The keys of the assets whose symbol or name has this in it, or that a provider spells so."""
    named = Q(symbol__contains=canonical(search)) | Q(name__icontains=search)
    return Asset.objects.filter(named | Q(spellings__spelling__iexact=search)).values("pk")


def totals(now: datetime, book: Book) -> dict[str, int]:
    """Over all series: what the top of the Data page says. All are read: thousands take milliseconds."""
    every, lags = list(_every_series()), _lagging(now, book)
    return {
        "series": len(every),
        "candles": sum(series.candle_count for series in every),
        "missing": sum(series.missing_count for series in every),
        "gaps": sum(series.gap_count for series in every),
        "behind": sum(lags(series) for series in every),
        "failing": sum(series.failed_at is not None for series in every),
        "unaudited": sum(series.audited_at is None for series in every),
        "held": QuarantinedCandle.objects.filter(HELD).count(),
    }


# --- A series as cells -------------------------------------------------------------------------------------------


def series_rows(found: Sequence[Series], now: datetime | None = None, book: Book | None = None) -> list[dict[str, Any]]:
    """A row for each, its `asset` being loaded; a fixed number of queries for all of them together."""
    now = now or timezone.now()
    keys = [(series.asset_id, series.timeframe) for series in found]
    superseded, windows, book = _superseded(keys), _last_windows(keys), book or Book()
    return [
        _row(series, superseded.get(key, 0), windows.get(key), now, book)
        for series, key in zip(found, keys, strict=True)
    ]


def _row(series: Series, superseded: int, window: FetchWindow | None, now: datetime, book: Book) -> dict[str, Any]:
    daily = Timeframe(series.timeframe).is_daily
    when = figures.day if daily else figures.moment
    fresh = freshness.judge(series.asset, series, now, book)
    return {
        "pk": series.pk,
        "symbol": series.asset.symbol,
        "url": series.asset.get_absolute_url(),
        "sample": series.asset.is_sample,
        "timeframe": series.timeframe,
        "label": Timeframe(series.timeframe).label,
        "count": figures.integer(series.candle_count),
        "first": when(series.first_open),
        "last": when(series.last_open),
        "source": sources.label(series.source),
        "level": fresh.level,
        "word": fresh.word,
        "detail": fresh.detail,
        "freshness": fresh,
        "revision": figures.integer(series.revision),
        "superseded": figures.counted(superseded, "older version") if superseded else "",
        "basis": series.get_basis_display(),
        "checked": figures.ago(series.checked_at, now),
        "changed": figures.ago(series.changed_at, now),
        "due": _due(series, now),
        "coverage": coverage(series),
        "gaps": series.gap_count,
        "gap_words": figures.counted(series.gap_count, "gap") if series.gap_count else "",
        "missing": figures.integer(series.missing_count) if series.missing_count else "",
        "audited": figures.ago(series.audited_at, now) if series.audited_at else "",
        "window": window_row(window, now) if window else None,
    }


def _due(series: Series, now: datetime) -> str:
    if series.due_at is None or series.asset.is_sample:
        return ""
    return "now" if series.due_at <= now else f"{figures.moment(series.due_at)} UTC"


# `timeframe` arrives with each series, so that one statement serves them all and each looks into one index.
_SUPERSEDED = """
SELECT wanted.asset_id, wanted.timeframe, count(*)
FROM unnest(%s::bigint[], %s::text[]) AS wanted (asset_id, timeframe)
JOIN marketdata_candlerevision r ON r.asset_id = wanted.asset_id AND r.timeframe = wanted.timeframe
GROUP BY 1, 2
"""
_LAST_WINDOWS = """
SELECT latest.*
FROM unnest(%s::bigint[], %s::text[]) AS wanted (asset_id, timeframe)
CROSS JOIN LATERAL (
    SELECT * FROM marketdata_fetchwindow w
    WHERE w.asset_id = wanted.asset_id AND w.timeframe = wanted.timeframe
    ORDER BY asked_at DESC LIMIT 1
) AS latest
"""
Key = tuple[int, str]


def _superseded(keys: Sequence[Key]) -> dict[Key, int]:
    """How many older versions of candles are kept of each."""
    if not keys:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_SUPERSEDED, _columns(keys))
        return {(asset, timeframe): count for asset, timeframe, count in cursor.fetchall()}


def _last_windows(keys: Sequence[Key]) -> dict[Key, FetchWindow]:
    if not keys:
        return {}
    found = FetchWindow.objects.raw(_LAST_WINDOWS, _columns(keys))
    return {(window.asset_id, window.timeframe): window for window in found}


def _columns(keys: Sequence[Key]) -> list[list[Any]]:
    return [[asset for asset, _ in keys], [timeframe for _, timeframe in keys]]


# --- The coverage bar --------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 240, 16  # of the bar's view box
LEAST = 5  # height of the smallest mark: one candle of thousands must be seen
CATEGORIES = ("have", "missing", "untraded", "held")


@dataclass(frozen=True)
class Coverage:
    """How complete a series is. `paths` draws it: one SVG path a category, stacked from below in each span."""

    audited: bool
    percent: str
    says: str
    paths: dict[str, str]


def coverage(series: Series) -> Coverage:
    """Of the candles that were to be expected and traded, how many are stored; nothing is claimed before an audit."""
    if series.audited_at is None:
        return Coverage(False, "", "Not audited yet: nobody has counted what is missing.", {})
    if not series.expected_count:
        return Coverage(True, "", "No calendar says which candles to expect, so what is missing is not known.", {})
    absent = series.missing_count + series.untraded_count + series.held_count
    have, traded = series.expected_count - absent, series.expected_count - series.untraded_count
    parts = [
        figures.counted(have, "candle") + " stored",
        f"{figures.integer(series.missing_count)} missing in {figures.counted(series.gap_count, 'gap')}"
        if series.missing_count
        else "none missing",
        f"{figures.integer(series.untraded_count)} not traded" if series.untraded_count else "",
        f"{figures.integer(series.held_count)} in quarantine" if series.held_count else "",
    ]
    says = f"Of {figures.integer(series.expected_count)} expected: {', '.join(part for part in parts if part)}."
    if (beside := series.candle_count - have) > 0:
        says += f" {figures.integer(beside)} more stored: outside the market's hours, or since the count."
    return Coverage(True, share(have, traded), says, paths(series.coverage_bar))


def share(part: int, whole: int) -> str:
    """A share in per cent: 100 only if it is all of it."""
    if whole <= 0:
        return figures.NOTHING
    return "100" if part >= whole else f"{int(part * 1000 / whole) / 10:.1f}"


def paths(bar: Sequence[Sequence[int]]) -> dict[str, str]:
    """SVG paths of [have, missing, not traded, quarantined] spans, each span as high as the whole.

    From below: have, not traded, quarantined, missing. What is there at all is at least `LEAST` high.
    """
    drawn: dict[str, list[str]] = {name: [] for name in CATEGORIES}
    stacks = [_stack(span) for span in bar if len(span) == len(CATEGORIES)]
    across = WIDTH / len(stacks) if stacks else 0
    at = 0
    while at < len(stacks):
        run = 1
        while at + run < len(stacks) and stacks[at + run] == stacks[at]:
            run += 1
        for name, bottom, top in stacks[at]:
            left, right = at * across, (at + run) * across
            drawn[name].append(f"M{left:.1f} {HEIGHT - bottom:.1f}H{right:.1f}V{HEIGHT - top:.1f}H{left:.1f}Z")
        at += run
    return {name: "".join(pieces) for name, pieces in drawn.items() if pieces}


def _stack(span: Sequence[int]) -> list[tuple[str, float, float]]:
    """(category, bottom, top) of the categories that the span has any of."""
    have, missing, untraded, held = (max(0, int(count)) for count in span)
    there = [(n, c) for n, c in (("have", have), ("untraded", untraded), ("held", held), ("missing", missing)) if c]
    total = sum(count for _, count in there)
    least = LEAST if len(there) > 1 else 0
    free = HEIGHT - least * len(there)
    stacked, bottom = [], 0.0
    for name, count in there:
        top = bottom + least + free * count / total
        stacked.append((name, round(bottom, 1), round(top, 1)))
        bottom = top
    return stacked


# --- Gaps --------------------------------------------------------------------------------------------------------

REMEMBERED = 600  # seconds that a list of gaps is kept for; a new audit or candle makes a new list


def gaps_of(series: Series) -> tuple[list[tuple[datetime, datetime, int]], str]:
    """The gaps as (first open, last open, candles), oldest first; or none, and why there are none to tell.

    Only of an audited series: before that a calendar may have to be loaded, which is a worker's to do.
    """
    if series.audited_at is None:
        return [], "Nobody has counted yet what is missing. A refresh or a backfill does."
    key = f"gaps:{series.pk}:{series.revision}:{series.candle_count}:{series.audited_at.timestamp()}"
    kept: list[tuple[datetime, datetime, int]] | None = cache.get(key)
    if kept is None:
        try:
            listed = gaps.find(series.asset, Timeframe(series.timeframe)) if series.expected_count else []
        except UnknownCalendar as error:
            return [], str(error)
        kept = [(gap.start, gap.end, gap.candles) for gap in listed]
        cache.set(key, kept, REMEMBERED)
    return kept, ""


# --- The ledger --------------------------------------------------------------------------------------------------

# What the errors of `marketdata.providers.base` are called in a cell; the sentence beside it says more.
FAILURES = {
    "RateLimited": "rate limited",
    "QuotaExhausted": "quota used up",
    "ProviderTimeout": "timed out",
    "MalformedResponse": "unreadable answer",
    "Unavailable": "unavailable",
    "SymbolNotFound": "symbol unknown",
    "NoData": "nothing there",
    "BadRequest": "request refused",
    "AuthError": "key refused",
    "PlanLimit": "not in the plan",
    "Unasked": "not asked",
    "Interrupted": "interrupted",
}


def window_row(window: FetchWindow, now: datetime) -> dict[str, Any]:
    """What was asked of whom and what came back, in cells and in a word with its sentence."""
    when = figures.day if window.until - window.since > timedelta(days=3) else figures.moment
    level, word, detail = _became(window, now)
    return {
        "pk": window.pk,
        "timeframe": window.timeframe,
        "provider": sources.label(window.provider),
        "since": when(window.since),
        "until": when(window.until),
        "asked": figures.ago(window.asked_at, now),
        "asked_at": f"{figures.moment(window.asked_at)} UTC",
        "level": level,
        "word": word,
        "detail": detail,
        "rows": figures.integer(window.received),
        "new": figures.integer(window.inserted),
        "changed": figures.integer(window.updated),
        "held": figures.integer(window.quarantined),
        "took": figures.lasted(timedelta(seconds=window.seconds)) if window.seconds is not None else figures.NOTHING,
        "job": window.job_id,
    }


def _became(window: FetchWindow, now: datetime) -> tuple[str, str, str]:
    match window.state:
        case FetchWindow.State.ANSWERED:
            news = f"{figures.counted(window.received, 'candle')}, {figures.integer(window.inserted)} new"
            return "done", figures.counted(window.received, "candle"), f"{news}."
        case FetchWindow.State.EMPTY:
            older = " The provider has nothing older." if window.exhausted else ""
            return "done", "nothing there", f"The provider answered that there is nothing in this window.{older}"
        case FetchWindow.State.FAILED:
            word = FAILURES.get(window.error_class, window.error_class or "failed")
            return "failed", word, window.error or "The provider did not answer."
    if now - window.asked_at > INTERRUPTED:
        return "cancelled", "interrupted", "Its worker was lost before the answer came; the next fetch asks again."
    return "running", "being asked", "The answer has not come yet."


# --- Quarantine --------------------------------------------------------------------------------------------------


def held_groups(most: int) -> list[dict[str, Any]]:
    """Where candles are held: by series and kind of doubt, the largest groups first."""
    found = QuarantinedCandle.objects.filter(HELD).order_by().values("asset__symbol", "timeframe", "kind")
    counted = found.annotate(count=Count("pk"), newest=Max("received_at")).order_by("-count", "asset__symbol")
    return [
        {
            "symbol": group["asset__symbol"],
            "timeframe": group["timeframe"],
            "kind": group["kind"],
            "label": kind_label(group["kind"]),
            "count": figures.integer(group["count"]),
            "newest": figures.ago(group["newest"]),
        }
        for group in counted[:most]
    ]


def kind_label(kind: str) -> str:
    """A kind of doubt in words; rows from before there were kinds have none."""
    return QuarantinedCandle.Kind(kind).label if kind in QuarantinedCandle.Kind.values else "Other"
