"""The long work of this floor: bringing whole universes up to date."""

import logging
import time
from collections import Counter
from datetime import datetime
from typing import Any, Literal

from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.utils import timezone
from pydantic import AwareDatetime, BaseModel

from chronos.core import jobs, tenancy
from chronos.core.figures import counted
from chronos.core.jobs import Outcome, Run, job
from chronos.core.models import Job, JobLine, User
from marketdata import calendars, gaps
from marketdata.backfill import backfill as backfill_series
from marketdata.fetching import Refreshed
from marketdata.fetching import refresh as refresh_series
from marketdata.jobs import missing, row, sentence
from marketdata.models import Asset, Series, Timeframe
from marketdata.validation import throttle
from universes import catalogue, scheduling
from universes.lists import adding, drafts, verdicts
from universes.models import Membership, SymbolList, Universe

log = logging.getLogger(__name__)

SUGGESTED_AT_ONCE = 500  # symbols of a list, between two looks whether the job should end


class RefreshUniverse(BaseModel):
    universe_id: int
    timeframe: Timeframe = Timeframe.D1


class BackfillUniverse(BaseModel):
    universe_id: int
    timeframe: Timeframe = Timeframe.D1
    since: AwareDatetime | None = None


class OfList(BaseModel):
    list_id: int


class RefreshAll(BaseModel):
    timeframe: Timeframe | None = None  # only what is due of this one


@job("refresh-universe", RefreshUniverse)
def run_refresh_universe(params: RefreshUniverse, run: Run) -> Outcome:
    """Ask the providers for what is new of each member."""
    members = _members(params.universe_id, run)
    if isinstance(members, Outcome):
        return members
    return _refresh_each([(asset, params.timeframe) for asset in members], run)


@job("backfill-universe", BackfillUniverse)
def run_backfill_universe(params: BackfillUniverse, run: Run) -> Outcome:
    """Fetch the history of each member, several at once, as far back as asked for or as there is any."""
    members = _members(params.universe_id, run)
    if isinstance(members, Outcome):
        return members

    def done(one: Refreshed) -> None:
        run.say(sentence(one), _LEVELS[one.status])

    return _outcome(backfill_series(members, params.timeframe, params.since, run, show=run.step, done=done))


@job("validate-list", OfList)
def run_validate_list(params: OfList, run: Run) -> Outcome:
    """Ask for the symbols of a list that nobody here knows; what was found out is stored as it comes.

    First what may have been meant by each, which needs nobody's answer.
    """
    with run.acting():
        found = SymbolList.objects.filter(pk=params.list_id).select_related("universe").first()
    if found is None:
        return Outcome("The list is not there any more, or not yours.", "failed")
    symbols: list[str] = []
    counts = Counter[str]()
    while more := _waiting(found, symbols, run):  # somebody may write another symbol meanwhile
        symbols += more
        _ask(found, more, counts, run)
    said = ", ".join(f"{many:,} {verdict}" for verdict, many in counts.most_common())
    unasked = counts[verdicts.Verdict.UNVERIFIED.value]
    state: Literal["done", "partial"] = "partial" if unasked else "done"
    result: dict[str, Any] = {"answers": dict(counts)}
    if unasked:
        result["missing"] = [f"Nobody could be asked about {counted(unasked, 'symbol')}."]
    return Outcome(f"{counted(len(symbols), 'symbol')} looked up: {said or 'none'}.", state, result)


def _waiting(found: SymbolList, asked: list[str], run: Run) -> list[str]:
    with run.acting():
        waiting = drafts.symbols_waiting(found)
    known = set(asked)
    return [symbol for symbol in waiting if symbol not in known]


def _ask(found: SymbolList, symbols: list[str], counts: Counter[str], run: Run) -> None:
    for start in range(0, len(symbols), SUGGESTED_AT_ONCE):
        run.step(0, len(symbols), "Looking for what may have been meant")
        with run.acting():
            drafts.suggest(found, symbols[start : start + SUGGESTED_AT_ONCE])
    news: list[verdicts.Answer] = []
    stored_at = time.monotonic()
    for number, answer in enumerate(verdicts.ask(symbols, run), start=1):
        counts[answer.verdict.value] += 1
        news.append(answer)
        if time.monotonic() - stored_at > 1:
            news, stored_at = _told(found, news, run), time.monotonic()
        run.step(number, len(symbols), f"{number} of {len(symbols)} looked up")
    _told(found, news, run)


def _told(found: SymbolList, news: list[verdicts.Answer], run: Run) -> list[verdicts.Answer]:
    """Store the news; what is left of them is nothing."""
    with run.acting():
        drafts.told(found, news)
    return []


@job("add-list", OfList)
def run_add_list(params: OfList, run: Run) -> Outcome:
    """Add the rows of a confirmed list that are not added yet."""
    with run.acting():
        found = SymbolList.objects.filter(pk=params.list_id).select_related("universe").first()
        total = drafts.chosen(found).count() if found else 0
        done = total - adding.remaining(found).count() if found else 0
    if found is None or run.job.owner is None:
        return Outcome("The list is not there any more, or not yours.", "failed")
    while True:
        run.step(done, total, f"{done} of {total} added")
        with run.acting():
            some = adding.add_some(found, run.job.owner)
        if not some:
            break
        done += some
    with run.acting():
        adding.finish(found)
        became = adding.report(found)
    run.step(total, total, f"{total} of {total}")
    return Outcome(adding.sentence(became), "done", {"rows": became})


def validate_list(found: SymbolList, user: User) -> int:
    """Start asking for what waits in a list, unless that is under way; 0, or in how many seconds this person may.

    A list counts as one request, however long it is.
    """
    under_way = Job.objects.of(user).unfinished().filter(kind="validate-list", key=f"list:{found.pk}")
    if under_way.exists():
        return 0
    if seconds := throttle.seconds_until_turn(user):
        return seconds
    _of_list("validate-list", found, user)
    return 0


def add_list(found: SymbolList, user: User) -> Job:
    """Start adding a confirmed list; the job under way if there is one."""
    return _of_list("add-list", found, user)


def _of_list(kind: str, found: SymbolList, user: User) -> Job:
    return jobs.start(
        kind,
        OfList(list_id=found.pk),
        owner=user,
        subject=f"{found.universe.name}: {found.source}",
        subject_url=found.get_absolute_url(),
        key=f"list:{found.pk}",
    )


def _members(universe_id: int, run: Run) -> list[Asset] | Outcome:
    """The assets in the universe now, or how the job ends if there are none."""
    with run.acting():
        universe = Universe.objects.kept().filter(pk=universe_id).first()
        if universe is None:
            return Outcome("The universe is not there any more, or not yours to see.", "failed")
        members = _assets_of(Membership.objects.current().filter(universe=universe))
    return members or Outcome("The universe has no members yet; add some, then refresh.", "done", {"assets": []})


@job(scheduling.KIND, RefreshAll)
def run_refresh_all(params: RefreshAll, run: Run) -> Outcome:
    """The house's own: every series of a member of any universe whose market has made a new candle, each once."""
    with run.acting():
        due = scheduling.due_series(timezone.now(), params.timeframe)
    if not due:
        return Outcome("Nothing is due: no market has made a candle that is not here.", "done", {"assets": []})
    return _refresh_each(due, run)


@shared_task(name=scheduling.LOOK, ignore_result=True)
def refresh_due() -> bool:
    """What the schedule calls every minute: start the house's refresh if anything is due, and the count of what is
    missing if a file or a decision has changed a series; True if it started or found any.

    Two looks at once start one job of each, and while it runs no other is started.
    """
    now = timezone.now()
    with tenancy.as_system("look which series are due"):
        due = bool(scheduling.due_series(now))
        if due:
            jobs.start(scheduling.KIND, {}, owner=None, subject=scheduling.SUBJECT, key="schedule")
        changed = gaps.unaudited(now).exists()
        if changed:
            jobs.start("audit", {}, owner=None, subject="What is missing", key="schedule")
    return due or changed


@shared_task(name="universes.purge", ignore_result=True)
def purge() -> int:
    """Remove for good what was deleted a while ago."""
    return catalogue.purge() + drafts.purge()


def refresh(universe: Universe, user: User, timeframe: Timeframe = Timeframe.D1) -> Job:
    """Start the refresh of a universe for a person who can see it; the one under way if there is one."""
    return jobs.start(
        "refresh-universe",
        RefreshUniverse(universe_id=universe.pk, timeframe=timeframe),
        owner=user,
        subject=universe.name,
        subject_url=universe.get_absolute_url(),
        key=f"universe:{universe.pk}:{Timeframe(timeframe)}",
    )


def backfill(universe: Universe, user: User, timeframe: Timeframe = Timeframe.D1, since: datetime | None = None) -> Job:
    """Start fetching the history of a universe for a person who can see it; the job under way if there is one."""
    return jobs.start(
        "backfill-universe",
        BackfillUniverse(universe_id=universe.pk, timeframe=timeframe, since=since),
        owner=user,
        subject=universe.name,
        subject_url=universe.get_absolute_url(),
        key=f"universe:{universe.pk}:{Timeframe(timeframe)}",
    )


def _assets_of(stays: QuerySet[Membership]) -> list[Asset]:
    return list(Asset.objects.filter(pk__in=stays.values("asset")).order_by("symbol"))


def _refresh_each(wanted: list[tuple[Asset, Timeframe]], run: Run) -> Outcome:
    """One after the other; the failure of one does not stop the others."""
    found: list[Refreshed] = []
    for number, (asset, timeframe) in enumerate(wanted):
        run.step(number, len(wanted), f"{number + 1} of {len(wanted)} · {_named(asset, timeframe)}")
        one = _refresh_one(asset, timeframe, run)
        run.say(sentence(one), _LEVELS[one.status])
        found.append(one)
    run.step(len(wanted), len(wanted), f"{len(wanted)} of {len(wanted)}")
    return _outcome(found)


def _named(asset: Asset, timeframe: Timeframe) -> str:
    return asset.symbol if timeframe is Timeframe.D1 else f"{asset.symbol} {timeframe}"


def _refresh_one(asset: Asset, timeframe: Timeframe, run: Run) -> Refreshed:
    """What nobody foresaw is this asset's failure only; a lost database is the runner's, who has the job resumed."""
    try:
        found = refresh_series(asset, timeframe, run)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("the refresh of an asset failed", extra={"symbol": asset.symbol})
        text = f"An unexpected fault ({type(error).__name__}) stopped its refresh. The worker's log has the details."
        found = Refreshed(asset, timeframe, status="failed", error=text)
    _reschedule(asset, timeframe)
    return found


def _reschedule(asset: Asset, timeframe: Timeframe) -> None:
    """Whatever became of it, it must not be due again at once: the schedule would run in circles."""
    series = Series.objects.filter(asset=asset, timeframe=timeframe).first()
    if not asset.is_sample and (series is None or series.due_at is None or series.due_at <= timezone.now()):
        calendars.reschedule(asset, timeframe)


_LEVELS = {"done": JobLine.Level.INFO, "partial": JobLine.Level.WARNING, "failed": JobLine.Level.ERROR}


def _outcome(found: list[Refreshed]) -> Outcome:
    lacking = [one for one in found if one.status != "done"]
    asked = [one for one in found if not one.asset.is_sample]
    result: dict[str, Any] = {"assets": [row(one).for_programs() for one in found]}
    if not asked:
        return Outcome(f"{_assets(found)}, all bundled samples: nothing to refresh.", "done", result)
    if not lacking:
        return Outcome(f"{_assets(asked)} up to date: {_news(asked)}.", "done", result)
    result["missing"] = [missing(one) for one in lacking]
    symbols = list(dict.fromkeys(one.asset.symbol for one in lacking))
    names = ", ".join(symbols[:5]) + (" and others" if len(symbols) > 5 else "")
    if all(one.status == "failed" for one in asked):
        return Outcome(f"Nothing came for {names}. {_reason(lacking)}", "failed", result)
    summary = f"{len(symbols)} of {_assets(asked)} lack candles ({names}); {_news(asked)}. {_reason(lacking)}"
    return Outcome(summary, "partial", result)


def _news(found: list[Refreshed]) -> str:
    new = sum(one.counts.inserted for one in found)
    changed = sum(one.counts.updated for one in found)
    news = " and ".join(f"{many:,} {what}" for many, what in ((new, "new"), (changed, "changed")) if many)
    return f"{news} candle{'' if new + changed == 1 else 's'}" if news else "nothing new"


def _reason(lacking: list[Refreshed]) -> str:
    """Why, if it is the same for all: a provider that does not answer, or a single asset."""
    if len(lacking) == 1 or all(one.unanswered for one in lacking):
        return lacking[0].error
    return "The log says why for each."


def _assets(found: list[Refreshed]) -> str:
    many = len({one.asset.pk for one in found})
    return f"{many} asset{'' if many == 1 else 's'}"
