"""The long work of this floor: backtests."""

from celery.signals import worker_init
from pydantic import BaseModel, Field

from chronos.core.jobs import Outcome, Run, job
from signals import backtests
from signals.models import Backtest


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
        wanted = rows.filter(pk=params.backtest_id).first()
        if wanted is not None and wanted.job_id != run.job.pk:
            wanted = backtests.taken_over(wanted, run.job)
    if wanted is None:
        return Outcome("The backtest is not there any more.", "failed")
    ended = backtests.perform(wanted, run.acting, run.step)
    result = {"backtest_id": ended.backtest.pk}
    return Outcome(ended.summary, "failed" if ended.failed else "done", result)


@worker_init.connect
def _warm(**_: object) -> None:
    """Load the kernel before the worker forks, so that no child has to: 3 ms instead of a second for a first run."""
    from signals.engine import warming

    warming.warm()
