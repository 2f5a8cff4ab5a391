"""The API's operations that bring candles: long work, which can be asked beforehand what it would take."""

from datetime import UTC, date, datetime, time
from typing import Any

from ninja import Router, Schema
from pydantic import Field

from chronos.core.api import ABROAD, STARTS, started
from chronos.core.envelope import Refused, missing, then
from chronos.core.hypermedia import Signed
from chronos.core.models import Job
from marketdata import costs, jobs
from marketdata.api.asked import SymbolIn, stored
from marketdata.models import Asset, Series, Timeframe

router = Router()


class RefreshIn(Schema):
    symbol: SymbolIn
    timeframe: Timeframe = Field(Timeframe.D1, description="Length of a candle.")
    dry_run: bool = Field(False, description="True: say what it would take, and start nothing.")


class BackfillIn(RefreshIn):
    since: date | None = Field(
        None, description="As far back as this day; left out: as far as is usual.", examples=["2015-01-01"]
    )


@router.post("/jobs/refresh-asset", response=STARTS, tags=["jobs"], openapi_extra=ABROAD)
def refresh_asset(request: Signed, given: RefreshIn) -> Any:
    """Fetch what is new of one asset, as a job; the one under way if there is one. Quick: one request or few."""
    found = _movable(given.symbol)
    cost = costs.of_refresh([found], given.timeframe)
    job = None if given.dry_run else jobs.refresh_asset(found, request.user, given.timeframe)
    return _started(job, cost, f"The refresh of {found.symbol} {given.timeframe.value}")


@router.post("/jobs/backfill-asset", response=STARTS, tags=["jobs"], openapi_extra=ABROAD)
def backfill_asset(request: Signed, given: BackfillIn) -> Any:
    """Fetch the history of one asset, the newest first, as a job; the one under way if there is one.

    What was fetched before is not asked for again.
    """
    found = _movable(given.symbol)
    since = datetime.combine(given.since, time(), UTC) if given.since else None
    cost = costs.of_backfill([found], given.timeframe, since)
    job = None if given.dry_run else jobs.backfill_asset(found, request.user, given.timeframe, since)
    return _started(job, cost, f"The backfill of {found.symbol} {given.timeframe.value}")


@router.post("/jobs/fill-gaps", response=STARTS, tags=["jobs"], openapi_extra=ABROAD)
def fill_gaps(request: Signed, given: RefreshIn) -> Any:
    """Ask the providers again for exactly the candles of one series that are missing, as a job; see list_gaps."""
    found = _movable(given.symbol)
    if not Series.objects.filter(asset=found, timeframe=given.timeframe, candle_count__gt=0).exists():
        action = then("backfill_asset", "Fetch them.", symbol=found.symbol, timeframe=given.timeframe.value)
        raise missing(f"{found.symbol} has no {given.timeframe.value} candles, so there are no gaps between them.",
                      "Fetch its history with backfill_asset.", next_actions=[action])  # fmt: skip
    cost = costs.of_gaps(found, given.timeframe)
    job = None if given.dry_run else jobs.fill_gaps(found, request.user, given.timeframe)
    return _started(job, cost, f"Filling the gaps of {found.symbol} {given.timeframe.value}")


def _movable(symbol: str) -> Asset:
    found = stored(symbol)
    if found.is_sample:
        raise Refused("sample", f"{found.symbol} is a bundled sample: nobody can be asked for it.",
                      "Choose one that providers have; search_assets finds them.", field="body.symbol")  # fmt: skip
    return found


def _started(job: Job | None, cost: costs.Cost, what: str) -> Any:
    return started(job, {"series": cost.series, "requests": cost.requests, "seconds": cost.seconds}, what)
