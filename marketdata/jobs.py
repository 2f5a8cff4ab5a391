"""The long work of this floor: an asset brought up to date, its history, its gaps; the facts of all."""

import logging
from collections import Counter
from datetime import datetime
from typing import Any, Literal

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from pydantic import AwareDatetime, BaseModel, Field

from chronos.core import jobs
from chronos.core.figures import counted, moment
from chronos.core.jobs import Outcome, Run, job
from chronos.core.models import Job, JobLine, User
from marketdata import fundamentals, gaps, validation
from marketdata.backfill import backfill
from marketdata.backfill import fill_gaps as fill
from marketdata.calendars import UnknownCalendar
from marketdata.fetching import Refreshed, refresh
from marketdata.models import Asset, Series, Timeframe
from marketdata.reporting import Row, iso
from marketdata.verdicts import Answer, Verdict

log = logging.getLogger(__name__)

GAPS_KEPT = 100  # of one series in a job's result


class RefreshAsset(BaseModel):
    asset_id: int
    timeframe: Timeframe = Timeframe.D1


@job("refresh-asset", RefreshAsset)
def run_refresh_asset(params: RefreshAsset, run: Run) -> Outcome:
    """Ask the asset's provider for what is new in one timeframe."""
    asset = Asset.objects.filter(pk=params.asset_id).first()
    if asset is None:
        return Outcome("The asset is not there any more.", "failed")
    run.step(0, 1, asset.symbol)
    found = refresh(asset, params.timeframe, run)
    run.step(1, 1, asset.symbol)
    return _outcome(found)


def refresh_asset(asset: Asset, user: User, timeframe: Timeframe = Timeframe.D1) -> Job:
    """Start the refresh of one asset for a person; the one that is already under way if there is one."""
    return jobs.start(
        "refresh-asset",
        RefreshAsset(asset_id=asset.pk, timeframe=timeframe),
        owner=user,
        subject=f"{asset.symbol} {timeframe}",
        subject_url=asset.get_absolute_url(),
        key=f"asset:{asset.pk}:{timeframe}",
    )


class BackfillAsset(BaseModel):
    asset_id: int
    timeframe: Timeframe = Timeframe.D1
    since: AwareDatetime | None = None


@job("backfill-asset", BackfillAsset)
def run_backfill_asset(params: BackfillAsset, run: Run) -> Outcome:
    """Fetch the asset's history in one timeframe, the newest first, as far back as asked for or as there is any."""
    asset = Asset.objects.filter(pk=params.asset_id).first()
    if asset is None:
        return Outcome("The asset is not there any more.", "failed")
    (found,) = backfill([asset], params.timeframe, params.since, run, show=run.step)
    return _outcome(found)


def backfill_asset(asset: Asset, user: User, timeframe: Timeframe = Timeframe.D1, since: datetime | None = None) -> Job:
    """Start fetching the history of one asset for a person; the job that is already under way if there is one."""
    return jobs.start(
        "backfill-asset",
        BackfillAsset(asset_id=asset.pk, timeframe=timeframe, since=since),
        owner=user,
        subject=f"{asset.symbol} {Timeframe(timeframe)}",
        subject_url=asset.get_absolute_url(),
        key=f"asset:{asset.pk}:{Timeframe(timeframe)}",
    )


class FillGaps(BaseModel):
    asset_id: int
    timeframe: Timeframe = Timeframe.D1


@job("fill-gaps", FillGaps)
def run_fill_gaps(params: FillGaps, run: Run) -> Outcome:
    """Ask the providers again for exactly the candles of a series that are missing."""
    asset = Asset.objects.filter(pk=params.asset_id).first()
    if asset is None:
        return Outcome("The asset is not there any more.", "failed")
    try:
        return _outcome(fill(asset, params.timeframe, run, show=run.step))
    except UnknownCalendar as error:
        return Outcome(f"{asset} {params.timeframe}: {error}", "failed")


def fill_gaps(asset: Asset, user: User, timeframe: Timeframe = Timeframe.D1) -> Job:
    """Start filling the gaps of one series for a person; the job that is already under way if there is one."""
    return jobs.start(
        "fill-gaps",
        FillGaps(asset_id=asset.pk, timeframe=timeframe),
        owner=user,
        subject=f"{asset.symbol} {Timeframe(timeframe)}",
        subject_url=asset.get_absolute_url(),
        key=f"asset:{asset.pk}:{Timeframe(timeframe)}",
    )


class Audit(BaseModel):
    """Without parameters: every series that has changed since it was counted."""


@job("audit", Audit)
def run_audit(params: Audit, run: Run) -> Outcome:
    """The house's own: count what is missing of series that came another way than by a refresh, such as from a file."""
    waiting = list(gaps.unaudited(timezone.now()).select_related("asset"))
    missing_of: list[str] = []
    for number, series in enumerate(waiting):
        run.step(number, len(waiting), f"{number + 1} of {len(waiting)} · {series}")
        try:
            found = gaps.audit(series)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            log.exception("the audit of a series failed", extra={"series": str(series)})
            run.say(f"{series}: could not be counted; the worker's log has the details.", JobLine.Level.ERROR)
            Series.objects.filter(pk=series.pk).update(audited_at=timezone.now())  # else it would come up every minute
            continue
        if found and series.missing_count:
            missing_of.append(str(series))
    run.step(len(waiting), len(waiting), f"{len(waiting)} of {len(waiting)}")
    lacking = f"; candles are missing of {', '.join(missing_of[:5])}" if missing_of else ""
    more = f" and {len(missing_of) - 5} more" if len(missing_of) > 5 else ""
    return Outcome(f"{counted(len(waiting), 'series', 'series')} counted{lacking}{more}.")


# --- What assets are worth ---------------------------------------------------------------------------------------


class RefreshFacts(BaseModel):
    """Without parameters: what is a week old."""


@job("refresh-facts", RefreshFacts)
def run_refresh_facts(params: RefreshFacts, run: Run) -> Outcome:
    """The house's own: market cap, P/E, yield, sector and industry of the assets whose facts are a week old.

    One request each at the provider's pace; what an earlier attempt has stored is not due any more. When nobody
    answers, the rest is left for the next time.
    """
    waiting = list(fundamentals.due())
    lacking: list[fundamentals.Known] = []
    for number, asset in enumerate(waiting):
        run.step(number, len(waiting), f"{number + 1} of {len(waiting)} · {asset.symbol}")
        found = fundamentals.refresh(asset, run)
        if found.status == "failed":
            run.say(f"{asset}: {found.error}", JobLine.Level.WARNING)
            lacking.append(found)
        if found.unasked:
            return _facts_outcome(len(waiting), number + 1, lacking)
    run.step(len(waiting), len(waiting))
    return _facts_outcome(len(waiting), len(waiting), lacking)


def _facts_outcome(many: int, asked: int, lacking: list[fundamentals.Known]) -> Outcome:
    if not many:
        return Outcome("All facts are less than a week old.")
    had = f"Facts of {asked - len(lacking)} of {many} assets refreshed"
    if asked < many:
        had += f", {many - asked} left for the next time"
    if not lacking:
        return Outcome(f"{had}.")
    result = {"missing": [{"symbol": one.asset.symbol, "reason": one.error} for one in lacking]}
    names = ", ".join(one.asset.symbol for one in lacking[:5]) + (" and others" if len(lacking) > 5 else "")
    state: Literal["partial", "failed"] = "failed" if len(lacking) == asked else "partial"
    return Outcome(f"{had}; not of {names}: {lacking[0].error}", state, result)


# --- Whether symbols are real ------------------------------------------------------------------------------------

STALE_AT_ONCE = 500  # assets that one run of the schedule asks about
NAMED = 5  # symbols in a job's sentence
TOLD = 200  # of those that are not valid, in its log, and of those that were not asked about


class ValidateSymbols(BaseModel):
    symbols: list[str] = Field(max_length=validation.AT_ONCE)


@job(validation.KIND, ValidateSymbols)
def run_validate_symbols(params: ValidateSymbols, run: Run) -> Outcome:
    """Ask providers about symbols that are not known here. Each answer is kept as it comes, for everybody."""
    return _validate(params.symbols, run, again=False)


class ValidateAssets(BaseModel):
    """Without parameters: those of which no provider has said anything for long."""


@job("validate-assets", ValidateAssets)
def run_validate_assets(params: ValidateAssets, run: Run) -> Outcome:
    """The house's own: ask again whether providers know the assets of which nothing was heard for VALIDATION_DAYS.

    What an earlier attempt has learnt is not due any more.
    """
    waiting = [asset.symbol for asset in validation.stale(STALE_AT_ONCE)]
    if not waiting:
        return Outcome(f"Something was heard of every asset in the last {settings.VALIDATION_DAYS} days.")
    return _validate(waiting, run, again=True)


def _validate(symbols: list[str], run: Run, *, again: bool) -> Outcome:
    found: list[Answer] = []
    for number, answer in enumerate(validation.settle_each(symbols, run, again=again), start=1):
        found.append(answer)
        run.step(number, len(symbols), f"{number} of {len(symbols)} · {answer.symbol}")
    found = validation.suggested(found)
    for answer in [one for one in found if one.verdict in (Verdict.UNKNOWN, Verdict.DELISTED)][:TOLD]:
        near = f" Did you mean {' or '.join(answer.suggestions)}?" if answer.suggestions else ""
        run.say(f"{answer.symbol}: {answer.verdict}. {answer.reason}{near}")
    return _verdicts(found)


def _verdicts(found: list[Answer]) -> Outcome:
    """How many are what, and which could not be asked about."""
    counts = Counter(answer.verdict.value for answer in found)
    open_ones = [answer for answer in found if not answer.is_settled]
    told = ", ".join(f"{many:,} {verdict}" for verdict, many in counts.most_common() if verdict != Verdict.UNVERIFIED)
    result: dict[str, Any] = {"answers": dict(counts)}
    if not open_ones:
        return Outcome(f"{counted(len(found), 'symbol')}: {told or 'none'}.", "done", result)
    result["missing"] = [f"{answer.symbol}: {answer.reason}" for answer in open_ones[:TOLD]]
    if len(open_ones) > TOLD:
        result["missing"].append(f"and {len(open_ones) - TOLD:,} more")
    names = ", ".join(answer.symbol for answer in open_ones[:NAMED]) + (" and others" if len(open_ones) > NAMED else "")
    state: Literal["partial", "failed"] = "failed" if len(open_ones) == len(found) else "partial"
    had = f"{counted(len(found), 'symbol')}: {told}; " if told else ""
    return Outcome(f"{had}nobody could be asked about {names}: {open_ones[0].reason}", state, result)


# --- How it is told ----------------------------------------------------------------------------------------------


def _outcome(found: Refreshed) -> Outcome:
    result: dict[str, Any] = {"assets": [row(found).for_programs()]}
    if found.status != "done":
        result["missing"] = [missing(found)]
    return Outcome(sentence(found), found.status, result)


def row(found: Refreshed) -> Row:
    """The series as commands print it and jobs keep it in their result."""
    return Row.of(
        found.asset.symbol,
        found.timeframe.value,
        found.counts,
        found.status,
        found.error or None,
        windows=found.windows,
        requests=found.requests,
        note=_nothing_came(found),
    )


def missing(found: Refreshed) -> dict[str, Any]:
    """An entry of a job's `missing`: which candles did not come and why."""
    entry: dict[str, Any] = {"symbol": found.asset.symbol, "timeframe": found.timeframe.value, "reason": found.error}
    if found.gaps:
        entry["gaps"] = [
            {"start": iso(gap.start), "end": iso(gap.end), "candles": gap.candles} for gap in found.gaps[:GAPS_KEPT]
        ]
    return entry


def sentence(found: Refreshed) -> str:
    """What became of a series, in one line of a job's log."""
    if found.status == "failed":
        return f"{found.asset}: {found.error}"
    counts, name = found.counts, f"{found.asset} {found.timeframe}"
    if counts.inserted or counts.updated:
        news = ((counts.inserted, "new"), (counts.updated, "changed"))
        changes = ", ".join(f"{many:,} {what}" for many, what in news if many)
        text = f"{name}: {changes} of {counts.received:,} candles."
    else:
        text = f"{name}: {_nothing_came(found) or 'nothing new.'}"
    return f"{text} {found.error}" if found.error else text


def _nothing_came(found: Refreshed) -> str:
    """Why no candle came, although nothing failed; '' if some did."""
    if found.asset.is_sample:
        return "a bundled sample, nothing to refresh."
    if found.skipped:
        return "was fetched a moment ago."
    if found.next_at:
        return f"up to date; next candle {moment(found.next_at)} UTC."
    if found.saved and not found.windows:
        windows = "1 window is" if found.saved == 1 else f"{found.saved:,} windows are"
        return f"{windows} covered already; nobody was asked."
    return ""
