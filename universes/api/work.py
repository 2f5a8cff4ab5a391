"""Long work on a universe: its members' candles fetched."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

from ninja import Router, Schema
from pydantic import Field

from chronos.core.api import ABROAD, STARTS, started
from chronos.core.hypermedia import Signed
from chronos.core.models import Job
from marketdata import costs
from marketdata.models import Asset, Timeframe
from universes import jobs, membership
from universes.loading import seen
from universes.models import Universe

router = Router()


class RefreshIn(Schema):
    universe_id: int = Field(ge=1, le=2**63 - 1)
    timeframe: Timeframe = Timeframe.D1
    dry_run: bool = Field(False, description="True: say what it would take, and start nothing.")


class BackfillIn(RefreshIn):
    since: date | None = Field(None, description="As far back as this day; left out: as far as is usual.")


@router.post("/jobs/refresh-universe", response=STARTS, tags=["jobs"], openapi_extra=ABROAD)
def refresh_universe(request: Signed, given: RefreshIn) -> Any:
    """Fetch what is new of each member, as a job; the one under way if there is one."""
    found = seen(request, given.universe_id)
    cost = costs.of_refresh(_assets(found), given.timeframe)
    job = None if given.dry_run else jobs.refresh(found, request.user, given.timeframe)
    return _started(job, cost, f"The refresh of {found.name}")


@router.post("/jobs/backfill-universe", response=STARTS, tags=["jobs"], openapi_extra=ABROAD)
def backfill_universe(request: Signed, given: BackfillIn) -> Any:
    """Fetch the history of each member, as a job; the one under way if there is one."""
    found = seen(request, given.universe_id)
    since = datetime.combine(given.since, time(), UTC) if given.since else None
    cost = costs.of_backfill(_assets(found), given.timeframe, since)
    job = None if given.dry_run else jobs.backfill(found, request.user, given.timeframe, since)
    return _started(job, cost, f"The backfill of {found.name}")


def _assets(found: Universe) -> Iterable[Asset]:
    return [stay.asset for stay in membership.members(found)]


def _started(job: Job | None, cost: costs.Cost, what: str) -> Any:
    return started(job, {"series": cost.series, "requests": cost.requests, "seconds": cost.seconds}, what)
