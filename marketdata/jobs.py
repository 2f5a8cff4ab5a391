"""The long work of this floor: bringing one asset up to date."""

from typing import Any

from pydantic import BaseModel

from chronos.core import jobs
from chronos.core.jobs import Outcome, Run, job
from chronos.core.models import Job, User
from marketdata.fetching import Refreshed, refresh
from marketdata.models import Asset, Timeframe
from marketdata.reporting import Row


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
    result: dict[str, Any] = {"assets": [row(found).for_programs()]}
    if found.status != "done":
        result["missing"] = [missing(found)]
    return Outcome(sentence(found), found.status, result)


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


def row(found: Refreshed) -> Row:
    """The series as commands print it and jobs keep it in their result."""
    return Row.of(found.asset.symbol, found.timeframe.value, found.counts, found.status, found.error or None)


def missing(found: Refreshed) -> dict[str, str]:
    """An entry of a job's `missing`: which candles did not come and why."""
    return {"symbol": found.asset.symbol, "timeframe": found.timeframe.value, "reason": found.error}


def sentence(found: Refreshed) -> str:
    """What became of a series, in one line of a job's log."""
    if found.status == "failed":
        return f"{found.asset}: {found.error}"
    counts, name = found.counts, f"{found.asset} {found.timeframe}"
    if found.asset.is_sample:
        text = f"{name}: a bundled sample, nothing to refresh."
    elif found.skipped:
        text = f"{name}: was fetched a moment ago."
    elif counts.inserted or counts.updated:
        news = ((counts.inserted, "new"), (counts.updated, "changed"))
        changes = ", ".join(f"{many:,} {what}" for many, what in news if many)
        text = f"{name}: {changes} of {counts.received:,} candles."
    else:
        text = f"{name}: nothing new."
    return f"{text} {found.error}" if found.error else text
