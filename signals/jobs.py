"""The long work of this floor: backtests, and whether strategies only look back; and what is done beside the pages."""

from typing import Any

from celery import shared_task
from celery.signals import worker_init
from pydantic import BaseModel, Field

from chronos.core import jobs
from chronos.core.jobs import Outcome, Run, job
from chronos.core.models import Job, JobLine, User
from marketdata.models import Asset, Timeframe
from signals import backtests, catalogue
from signals.engine.terms import Impossible
from signals.models import Backtest
from signals.strategies import registry
from signals.strategies.declaring import BadParameters


class OfBacktest(BaseModel):
    backtest_id: int = Field(ge=1, le=2**63 - 1)


@job(backtests.KIND, OfBacktest)
def run_backtest(params: OfBacktest, run: Run) -> Outcome:
    """Run a stored backtest. Run again, a finished one stays as it is and a new one is made beside it."""
    owner = run.job.owner
    if owner is None:
        return Outcome("A backtest belongs to a person; nobody asked for this one.", "failed")
    with run.acting():
        rows = Backtest.objects.of(owner).select_related("asset", "benchmark", "strategy")
        # What an attempt before has begun goes on.
        wanted = rows.filter(job=run.job).first() or rows.filter(pk=params.backtest_id).first()
        if wanted is not None and wanted.job_id != run.job.pk:
            wanted = backtests.taken_over(wanted, run.job)
    if wanted is None:
        return Outcome("The backtest is not there any more.", "failed")
    ended = backtests.perform(wanted, run.acting, run.step)
    result = {"backtest_id": ended.backtest.pk}
    return Outcome(ended.summary, "failed" if ended.failed else "done", result)


class CheckStrategy(BaseModel):
    kind: str = Field(max_length=100)
    parameters: dict[str, Any] = {}
    asset_id: int = Field(ge=1, le=2**63 - 1)
    timeframe: Timeframe = Timeframe.D1


@job("check-strategy", CheckStrategy)
def run_check_strategy(params: CheckStrategy, run: Run) -> Outcome:
    """Whether a strategy only looks back, tried on an asset's candles; the report is the job's result."""
    from signals import bias, candles
    from signals.strategies.deciding import StrategyFault

    asset = Asset.objects.filter(pk=params.asset_id).first()
    if asset is None:
        return Outcome("The asset is not there any more.", "failed")
    run.step(0, 1, f"Asking about beginnings of {asset} {params.timeframe}")
    try:
        kind = registry.kind_named(params.kind)
        found = candles.stored(asset, params.timeframe, None, None, 0)
        report = bias.check(kind, params.parameters, found.bars)
    except (BadParameters, Impossible, StrategyFault, registry.UnknownKind) as error:
        return Outcome(str(error), "failed")
    run.step(1, 1, "")
    run.say(report.text, JobLine.Level.INFO if report.sound else JobLine.Level.WARNING)
    return Outcome(report.text, "done" if report.sound else "failed", report.as_data())


def check_strategy(wanted: CheckStrategy, asset: Asset, user: User, url: str = "", key: str = "") -> Job:
    """Start the check for a person; the one that is already under way if there is one. Raises `BadParameters` and
    `registry.UnknownKind`."""
    kind = registry.kind_named(wanted.kind)
    kind.checked(wanted.parameters)
    return jobs.start(
        "check-strategy",
        wanted,
        owner=user,
        subject=f"{kind.label} on {asset} {wanted.timeframe}",
        subject_url=url,
        key=key,
    )


@shared_task(name="signals.purge", ignore_result=True)
def purge() -> int:
    """Strategies and backtests that were deleted an hour ago."""
    return catalogue.purge()


@worker_init.connect
def _warm(**_: object) -> None:
    """Load the kernel and TA-Lib before the worker forks, so that no child has to: 3 ms instead of a second for a first
    run."""
    from signals import indicators
    from signals.engine import warming

    indicators.prepare()
    warming.warm()
