from pydantic import BaseModel

from chronos.core import jobs
from chronos.core.models import JobLine


class Steps(BaseModel):
    to: int
    nap: float = 0.1


@jobs.job("steps", Steps)
def steps(params: Steps, run: jobs.Run) -> jobs.Outcome:
    """Commit step by step; an attempt after the first skips what is already there, as every kind must."""
    with run.acting():
        done = set(JobLine.objects.filter(job=run.job, text__startswith="step ").values_list("text", flat=True))
    for number in range(1, params.to + 1):
        run.sleep(params.nap)
        if f"step {number}" not in done:
            run.say(f"step {number}")
        run.step(number, params.to)
    return jobs.Outcome(f"Took {params.to} steps.")
