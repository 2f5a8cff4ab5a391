"""The long work of this floor: bringing whole universes up to date."""

import logging
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from pydantic import BaseModel

from chronos.core import jobs
from chronos.core.jobs import Outcome, Run, job
from chronos.core.models import Job, JobLine, User
from marketdata.fetching import Refreshed
from marketdata.fetching import refresh as refresh_series
from marketdata.jobs import missing, row, sentence
from marketdata.models import Asset, Timeframe
from universes.models import Membership, Universe

log = logging.getLogger(__name__)


class RefreshUniverse(BaseModel):
    universe_id: int
    timeframe: Timeframe = Timeframe.D1


class RefreshAll(BaseModel):
    timeframe: Timeframe = Timeframe.D1


@job("refresh-universe", RefreshUniverse)
def run_refresh_universe(params: RefreshUniverse, run: Run) -> Outcome:
    """Ask the providers for what is new of each member."""
    with run.acting():
        universe = Universe.objects.filter(pk=params.universe_id).first()
        if universe is None:
            return Outcome("The universe is not there any more, or not yours to see.", "failed")
        members = _assets_of(Membership.objects.current().filter(universe=universe))
    if not members:
        return Outcome("The universe has no members yet; add some, then refresh.", "done", {"assets": []})
    return _refresh_each(members, params.timeframe, run)


@job("refresh-all", RefreshAll)
def run_refresh_all(params: RefreshAll, run: Run) -> Outcome:
    """The house's own: every asset that is a member of any universe now, each once."""
    with run.acting():
        members = _assets_of(Membership.objects.current().filter(asset__is_sample=False))
    if not members:
        return Outcome("No universe has members that a provider could be asked for.", "done", {"assets": []})
    return _refresh_each(members, params.timeframe, run)


def refresh(universe: Universe, user: User, timeframe: Timeframe = Timeframe.D1) -> Job:
    """Start the refresh of a universe for a person who can see it; the one under way if there is one."""
    return jobs.start(
        "refresh-universe",
        RefreshUniverse(universe_id=universe.pk, timeframe=timeframe),
        owner=user,
        subject=universe.name,
        subject_url=universe.get_absolute_url(),
        key=f"universe:{universe.pk}",
    )


def _assets_of(stays: QuerySet[Membership]) -> list[Asset]:
    return list(Asset.objects.filter(pk__in=stays.values("asset")).order_by("symbol"))


def _refresh_each(members: list[Asset], timeframe: Timeframe, run: Run) -> Outcome:
    """One after the other; the failure of one does not stop the others."""
    found: list[Refreshed] = []
    for number, asset in enumerate(members):
        run.step(number, len(members), f"{number + 1} of {len(members)} · {asset.symbol}")
        one = _refresh_one(asset, timeframe, run)
        run.say(sentence(one), _LEVELS[one.status])
        found.append(one)
    run.step(len(members), len(members), f"{len(members)} of {len(members)}")
    return _outcome(found)


def _refresh_one(asset: Asset, timeframe: Timeframe, run: Run) -> Refreshed:
    """What nobody foresaw is this asset's failure only; a lost database is the runner's, who has the job resumed."""
    try:
        return refresh_series(asset, timeframe, run)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("the refresh of an asset failed", extra={"symbol": asset.symbol})
        text = f"An unexpected fault ({type(error).__name__}) stopped its refresh. The worker's log has the details."
        return Refreshed(asset, timeframe, status="failed", error=text)


_LEVELS = {"done": JobLine.Level.INFO, "partial": JobLine.Level.WARNING, "failed": JobLine.Level.ERROR}


def _outcome(found: list[Refreshed]) -> Outcome:
    lacking = [one for one in found if one.status != "done"]
    asked = [one for one in found if not one.asset.is_sample]
    result: dict[str, Any] = {"assets": [row(one).for_programs() for one in found]}
    if not asked:
        return Outcome(f"{_assets(len(found))}, all bundled samples: nothing to refresh.", "done", result)
    if not lacking:
        return Outcome(f"{_assets(len(asked))} up to date: {_news(asked)}.", "done", result)
    result["missing"] = [missing(one) for one in lacking]
    names = ", ".join(one.asset.symbol for one in lacking[:5]) + (" and others" if len(lacking) > 5 else "")
    if all(one.status == "failed" for one in asked):
        return Outcome(f"Nothing came for {names}. {_reason(lacking)}", "failed", result)
    summary = f"{len(lacking)} of {_assets(len(asked))} lack candles ({names}); {_news(asked)}. {_reason(lacking)}"
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


def _assets(many: int) -> str:
    return f"{many} asset{'' if many == 1 else 's'}"
