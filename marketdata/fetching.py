"""One series brought up to date, or a range of it fetched: who is asked, and how it is remembered.

Nothing here holds a transaction while it waits. Sources are asked in the order of `marketdata.chains`.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from marketdata import calendars, chains, coverage, gaps, recognition
from marketdata.arbitration import arbitrate
from marketdata.asking import Waits
from marketdata.checks import short
from marketdata.coverage import floor
from marketdata.gaps import Gap
from marketdata.ingestion import Ingested
from marketdata.models import Asset, Candle, Series, Timeframe
from marketdata.providers.base import NoData, Provider, ProviderError, SymbolNotFound
from marketdata.walks import Lack, TooFarBack, Walk, alone, depth, nothing_there, pieces, reach, sources
from marketdata.windows import PastChanged, Questions, learn

if TYPE_CHECKING:
    import pyarrow as pa

GAPS_NAMED = 3  # in a sentence
OVERLAP = 3  # candles asked for again each time, because the last ones are still corrected

Status = Literal["done", "partial", "failed"]


@dataclass(frozen=True)
class Refreshed:
    """What became of one series. `error` is a sentence for people; `skipped` if it had been fetched already.

    `windows` were asked for, in so many `requests`; `saved` windows were covered, so nobody was asked. `next_at`: when
    the next candle comes, if nobody was asked because there can be none before that.
    """

    asset: Asset
    timeframe: Timeframe
    counts: Ingested = field(default_factory=Ingested)
    status: Status = "done"
    error: str = ""
    unfinished: int = 0
    skipped: bool = False
    unanswered: bool = False  # it failed because a provider did not answer, not because of the asset
    windows: int = 0
    requests: int = 0
    saved: int = 0
    next_at: datetime | None = None
    gaps: tuple[Gap, ...] = ()  # of the range that was asked for, afterwards


# --- The verbs ---------------------------------------------------------------------------------------------------


def refresh(asset: Asset, timeframe: Timeframe, wait: Waits, *, again: bool = False) -> Refreshed:
    """Bring a series up to now: its last candles again and what came after them, or the usual depth if there are none.

    Nobody is asked before its market can have made a new candle, unless `again`. If the adjustment of its stored past
    has changed (a split, a dividend), all of it is fetched again. Whoever comes while it is being fetched waits, and
    finds it done. Bundled samples are never fetched.
    """
    timeframe = Timeframe(timeframe)
    if asset.is_sample:
        return Refreshed(asset, timeframe, skipped=True)
    know_calendar(asset)
    with alone(asset, timeframe, wait):
        coverage.close_interrupted(asset.pk, timeframe)
        coverage.tidy(asset.pk, timeframe)
        series, _ = Series.objects.get_or_create(asset=asset, timeframe=timeframe)
        if series.checked_at and series.checked_at >= wait.since:
            status: Status = "failed" if series.failure else "done"
            return Refreshed(asset, timeframe, status=status, error=series.failure, skipped=True)
        if not again and (coming := _nothing_before(series)):
            return Refreshed(asset, timeframe, saved=1, next_at=coming)
        walk = Walk(asset, timeframe, wait, again=True)
        return finish(walk, _resume_from(series), timezone.now())


def fetch(
    asset: Asset,
    timeframe: Timeframe,
    since: datetime | None,
    until: datetime,
    *,
    wait: Waits,
    provider: Provider | None = None,
    limit: int | None = None,
    again: bool = False,
) -> Refreshed:
    """Store the candles of a range (since ≤ open < until, aware UTC; without `since` the usual depth).

    What is covered already is not asked for, unless `again`. An asset that is not stored yet is, once the provider
    confirms it. With `limit` only that many, the newest; then all of the range is asked for.
    """
    know_calendar(asset)
    with alone(asset, timeframe, wait):
        coverage.close_interrupted(asset.pk, timeframe)
        walk = Walk(asset, timeframe, wait, again=again, only=provider)
        if limit is None:
            return finish(walk, since, until)
        try:
            candles, source = _looked_at(asset, timeframe, since, until, wait, provider, limit)
        except ProviderError as error:
            return remembered(walk, [Lack(since or until, until, error)], until)
        return _store_newest(walk, candles, source, until)


def look(
    asset: Asset,
    timeframe: Timeframe,
    since: datetime | None,
    until: datetime,
    *,
    wait: Waits,
    provider: Provider | None = None,
    limit: int | None = None,
) -> "pa.Table":
    """The candles that `fetch` would store, without storing anything. Raises `ProviderError`."""
    return _looked_at(asset, timeframe, since, until, wait, provider, limit)[0]


def _looked_at(
    asset: Asset,
    timeframe: Timeframe,
    since: datetime | None,
    until: datetime,
    wait: Waits,
    provider: Provider | None,
    limit: int | None,
) -> tuple["pa.Table", Questions]:
    """The newest `limit` candles of the range (or all) of the first provider that has any, and the questions to it.

    Raises the first provider's `ProviderError` if nobody has any.
    """
    first: ProviderError | None = None
    start = since or floor(timezone.now() - depth(timeframe), timeframe)
    for place, source in enumerate([provider] if provider else sources(asset)):
        questions = Questions(asset, timeframe, source, wait, is_fallback=place > 0)
        try:
            return _newest(questions, start, until, limit), questions
        except ProviderError as error:
            questions.blame(error)
            first = first or error
    raise first or NoData(f"Nobody was asked for {asset}.")


def _newest(questions: Questions, since: datetime, until: datetime, limit: int | None) -> "pa.Table":
    """The newest window first, until there are enough candles. Raises `ProviderError`."""
    import pyarrow as pa

    asset, timeframe, source = questions.asset, questions.timeframe, questions.source
    earliest = reach(source, timeframe)
    found: list[pa.Table] = []
    for window in reversed(pieces(source, timeframe, max(since, earliest) if earliest else since, until)):
        with suppress(NoData):
            found.insert(0, questions.peek(*window).candles)
        if limit is not None and sum(table.num_rows for table in found) >= limit:
            break
    if not found:
        raise NoData(nothing_there(asset, timeframe, source))
    candles = pa.concat_tables(found)
    return candles.slice(max(0, candles.num_rows - limit)) if limit else candles


def _store_newest(walk: Walk, candles: "pa.Table", asked: Questions, until: datetime) -> Refreshed:
    """Store what was looked at: too little to vouch for any window."""
    if asked.facts:
        learn(walk.asset, asked.facts)
    walk.questions[asked.source.name] = asked
    lacks: list[Lack] = []
    try:
        walk.counts = asked.keep(candles)
    except PastChanged as changed:
        lacks = walk.anew(changed, None, until)
    asked.praise()
    return remembered(walk, lacks, until)


# --- How it ended ------------------------------------------------------------------------------------------------


def finish(walk: Walk, since: datetime | None, until: datetime) -> Refreshed:
    """Walk, and remember with the series how that went."""
    try:
        lacks = walk.bring(since, until)
    except ProviderError as error:
        lacks = [Lack(until, until, error)]
    _hear_others(walk)
    return remembered(walk, lacks, until, gaps_left(walk, since, until))


def _hear_others(walk: Walk) -> None:
    """Ask a second source about the candles that were held for a doubt, unless only one was to be asked."""
    if walk.only or not (walk.counts.quarantined or walk.counts.withdrawn):
        return
    for name in list(walk.questions):
        found = arbitrate(walk.asset, walk.timeframe, name, walk.wait)
        settled = min(found.released + found.rejected, walk.counts.quarantined)  # stored now, one or the other
        walk.counts = replace(
            walk.counts,
            quarantined=walk.counts.quarantined - settled,
            inserted=walk.counts.inserted + settled,
        )


def gaps_left(walk: Walk, since: datetime | None, until: datetime) -> tuple[Gap, ...]:
    """What is missing of the range that was asked for; the series' own counts are made anew if anything changed."""
    series = Series.objects.filter(asset_id=walk.asset.pk, timeframe=walk.timeframe, candle_count__gt=0).first()
    if series is None:
        return ()
    if walk.windows:
        gaps.audit(series)
    first = series.first_open
    try:
        return tuple(gaps.find(walk.asset, walk.timeframe, max(since, first) if since and first else since, until))
    except calendars.UnknownCalendar:
        return ()


def _listed(found: tuple[Gap, ...]) -> list[str]:
    """The gaps in a sentence: a few, the longest first, and how many more."""
    if not found:
        return []
    named = [
        f"{gap.candles:,} of {short(gap.start)}" + (f" to {short(gap.end)}" if gap.candles > 1 else "")
        for gap in sorted(found, key=lambda gap: -gap.candles)[:GAPS_NAMED]
    ]
    more = f", and {len(found) - GAPS_NAMED:,} more gaps" if len(found) > GAPS_NAMED else ""
    many = sum(gap.candles for gap in found)
    return [f"{many:,} candle{' is' if many == 1 else 's are'} missing: {', '.join(named)}{more}."]


def remembered(walk: Walk, lacks: list[Lack], until: datetime, missing: tuple[Gap, ...] = ()) -> Refreshed:
    """The end of a walk as it is told, and kept with the series: what is lacking, and the first reason for it."""
    refused = [lack for lack in lacks if not isinstance(lack.why, TooFarBack)]
    clipped = [str(lack.why) for lack in lacks if isinstance(lack.why, TooFarBack)]
    error = _told_of(walk, refused[0]) if refused else None
    if not walk.asset._state.adding:  # else nobody has confirmed it, so there is nothing to keep
        _remember_denial(walk)
        if error and _is_of_the_newest(walk, refused):
            _remember_failure(walk, error)
        elif not error or until > max(lack.until for lack in refused):
            _remember_success(walk, until)
    text = " ".join(
        [*([str(error)] if error else clipped[:1]), *walk.notes, *_quarantined(walk.counts), *_listed(missing)]
    )
    status: Status = "partial" if text else "done"
    if error and not walk.counts.received and not walk.saved:
        status = "failed"
    return Refreshed(
        walk.asset,
        walk.timeframe,
        walk.counts,
        status,
        text,
        walk.unfinished,
        unanswered=bool(error and not error.answered),
        windows=walk.windows,
        requests=walk.requests,
        saved=walk.saved,
        gaps=missing,
    )


def _told_of(walk: Walk, lack: Lack) -> ProviderError:
    """Why it lacks, and what that means for candles of the same provider that are there already."""
    error = lack.why or NoData(f"Nobody was asked for {walk.asset}.")
    if not isinstance(error, SymbolNotFound) or walk.asset._state.adding or lack.source is None:
        return error
    series = Series.objects.filter(asset=walk.asset, timeframe=walk.timeframe, source=lack.source.name).first()
    if series is None or series.last_open is None:
        return error
    return SymbolNotFound(
        f"{error} It knew it until now: delisted or renamed? The {series.candle_count:,} candles"
        f" until {series.last_open:%Y-%m-%d} are kept."
    )


def _remember_denial(walk: Walk) -> None:
    """Those who were asked do not know the asset, and nobody else of its chain does."""
    denied = [name for name, asked in walk.questions.items() if asked.denied]
    knew = any(asked.knew for asked in walk.questions.values())
    if denied and not knew and chains.surely_unknown(walk.asset.asset_class, denied):
        recognition.refute(walk.asset, walk.wait.since)


def _is_of_the_newest(walk: Walk, lacks: list[Lack]) -> bool:
    """Whether the newest candles are among what lacks, or there are none yet. What lacks of the past alone makes no
    series a failing one, which would be asked for at other times than when its market has made a candle.
    """
    newest = timezone.now() - walk.timeframe.length
    stored = Series.objects.filter(asset=walk.asset, timeframe=walk.timeframe, candle_count__gt=0)
    return any(lack.until >= newest for lack in lacks) or not stored.exists()


def _remember_success(walk: Walk, until: datetime) -> None:
    """An answer for a range of the past says nothing of the newest candles."""
    if not walk.windows:
        return
    now = timezone.now()
    marks: dict[str, Any] = {"failed_at": None, "failure": ""}
    if until >= now - walk.timeframe.length:
        marks["checked_at"] = now
    Series.objects.filter(asset=walk.asset, timeframe=walk.timeframe).update(**marks)
    calendars.reschedule(walk.asset, walk.timeframe)


def _remember_failure(walk: Walk, error: ProviderError) -> None:
    now, text = timezone.now(), str(error)[:300]
    series, _ = Series.objects.get_or_create(asset=walk.asset, timeframe=walk.timeframe)
    marks: dict[str, Any] = {"failed_at": Coalesce(F("failed_at"), now), "failure": text}
    if error.answered:
        marks["checked_at"] = now
    Series.objects.filter(pk=series.pk).update(**marks)
    calendars.reschedule(walk.asset, walk.timeframe)


def _quarantined(counts: Ingested) -> list[str]:
    if not counts.quarantined:
        return []
    why = "; ".join(counts.problems)
    return [f"{counts.quarantined:,} of {counts.received:,} candles were quarantined: {why.removesuffix('?')}."]


# --- From where, and whether at all ------------------------------------------------------------------------------


def know_calendar(asset: Asset) -> None:
    """Make sure that the sessions of the asset's market are stored; without a calendar nothing is claimed."""
    code = calendars.calendar_of(asset)
    if code:
        with suppress(calendars.UnknownCalendar):  # said where the asset is edited, and by `find_gaps`
            calendars.load(code)


def _nothing_before(series: Series) -> datetime | None:
    """When the next candle of a series can be had, if that is still to come; None if there may be a new one now."""
    if series.last_open is None:
        return None
    code, timeframe = calendars.calendar_of(series.asset), Timeframe(series.timeframe)
    complete = calendars.next_complete(code, timeframe, series.last_open) if code else None
    if complete is None or complete + calendars.settle(code) <= timezone.now():
        return None
    return complete + calendars.settle(code)


def _resume_from(series: Series) -> datetime | None:
    """The open of the last but two stored candle, or None if there are none."""
    stored = Candle.objects.filter(asset=series.asset, timeframe=series.timeframe).order_by("-open_time")
    last = list(stored.values_list("open_time", flat=True)[:OVERLAP])
    return last[-1] if last else None
