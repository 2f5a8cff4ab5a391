"""Jobs as their doors and workers see them, in one process; `tests/prove/test_jobs_faults.py` has real workers."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pydantic import BaseModel

from chronos.core import jobs, tenancy, tokens
from chronos.core.models import ApiToken, Job, JobLine, User
from tests import cast

pytestmark = pytest.mark.usefixtures("house")


class Count(BaseModel):
    to: int
    nap: float = 0.0


@pytest.fixture(autouse=True)
def kinds():
    """A kind of our own, which leaves the registry as it was."""
    before = dict(jobs._kinds)

    @jobs.job("count", Count)
    def count(params: Count, run: jobs.Run) -> jobs.Outcome:
        for number in range(params.to):
            run.sleep(params.nap)
            run.step(number + 1, params.to, f"number {number + 1}")
        run.say(f"counted to {params.to}")
        return jobs.Outcome(f"Counted to {params.to}.", result={"last": params.to})

    @jobs.job("fall", Count)
    def fall(params: Count, run: jobs.Run) -> jobs.Outcome:
        raise RuntimeError("the ladder slipped, password=hunter2")

    @jobs.job("hold", Count)
    def hold(params: Count, run: jobs.Run) -> jobs.Outcome:
        with run.acting():
            run.step(1, 2)
        return jobs.Outcome("never")

    yield
    jobs._kinds.clear()
    jobs._kinds.update(before)


def started(owner: User, kind: str = "count", **more) -> Job:
    params = more.pop("params", {"to": 3})
    with tenancy.acting_as(owner):
        return jobs.start(kind, params, owner=owner, subject="Counting", **more)


def seen(job: Job) -> Job:
    with tenancy.as_system("look at a job"):
        return Job.objects.get(pk=job.pk)


def lines(job: Job) -> list[str]:
    with tenancy.as_system("look at a job"):
        return list(JobLine.objects.filter(job=job).values_list("text", flat=True))


def test_it_works():
    job = started(cast.alice())
    assert job.state == "queued"
    jobs.run_job(job.pk)
    done = seen(job)
    assert (done.state, done.summary, done.result) == ("done", "Counted to 3.", {"last": 3})
    assert (done.progress_done, done.progress_total, done.percent) == (3, 3, 100)
    assert done.finished_at
    assert done.lease is None
    assert lines(job) == ["counted to 3", "Counted to 3."]


def test_an_unknown_kind_and_bad_params_are_refused_at_the_door():
    alice = cast.alice()
    with pytest.raises(jobs.UnknownKind, match="no kind of job called 'fly'"):
        started(alice, "fly")
    with pytest.raises(jobs.BadParams, match="to: Input should be a valid integer"):
        started(alice, params={"to": "many"})


def test_a_key_gives_the_unfinished_job_back():
    alice = cast.alice()
    first = started(alice, key="a")
    assert started(alice, key="a") == first
    assert started(cast.bob(), key="a") != first
    jobs.run_job(first.pk)
    assert started(alice, key="a") != first


def test_a_finished_job_is_not_run_again():
    job = started(cast.alice())
    jobs.run_job(job.pk)
    finished = seen(job).finished_at
    jobs.run_job(job.pk)
    assert seen(job).finished_at == finished
    assert seen(job).attempt == 1


def test_a_fault_ends_it_failed_with_the_reason_and_without_the_secret():
    job = started(cast.alice(), "fall")
    jobs.run_job(job.pk)
    assert seen(job).state == "failed"
    assert "the ladder slipped" in seen(job).summary
    assert "hunter2" not in seen(job).summary


def test_progress_inside_a_transaction_is_refused_because_nobody_would_see_it():
    job = started(cast.alice(), "hold")
    jobs.run_job(job.pk)
    assert "outside transactions" in seen(job).summary


def test_cancelling_a_waiting_job_ends_it_at_once():
    alice = cast.alice()
    job = started(alice)
    with tenancy.acting_as(alice):
        assert jobs.cancel(job)
        assert not jobs.cancel(job)
    assert seen(job).state == "cancelled"
    jobs.run_job(job.pk)
    assert seen(job).attempt == 0


class TestBudget:
    """Of the token that jobs were started with: what is queued or running when it is used up ends, too."""

    def queued(self, alice, **params) -> Job:
        with tenancy.acting_as(alice):
            token = ApiToken.objects.filter(name="few").first()
            token = token or tokens.issue(alice, "few", may_write=True, compute_minutes=1)[0]
            before = tokens.in_use.set(token)
            try:
                return jobs.start("count", {"to": 1} | params, owner=alice, subject="Counting")
            finally:
                tokens.in_use.reset(before)

    def spend(self, alice, job: Job) -> None:
        now = timezone.now()
        with tenancy.acting_as(alice):
            Job.objects.filter(pk=job.pk).update(state="done", started_at=now - timedelta(minutes=2), finished_at=now)

    def test_what_waits_does_not_begin(self):
        alice = cast.alice()
        first, second = self.queued(alice), self.queued(alice)
        self.spend(alice, first)
        jobs.run_job(second.pk)
        assert (seen(second).state, seen(second).result) == ("failed", {})
        assert "worker time" in seen(second).summary

    def test_what_runs_ends(self, monkeypatch):
        monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.5)
        alice = cast.alice()
        first, second = self.queued(alice), self.queued(alice, to=100, nap=0.1)
        thread = threading.Thread(target=jobs.run_job, args=(second.pk,))
        thread.start()
        self.spend(alice, first)
        thread.join(8)
        assert not thread.is_alive()
        assert "worker time" in seen(second).summary


def test_cancelling_a_running_job_stops_it_within_five_seconds():
    alice = cast.alice()
    job = started(alice, params={"to": 400, "nap": 0.1})

    def work():
        jobs.run_job(job.pk)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    while seen(job).progress_done == 0:
        time.sleep(0.05)
    with tenancy.acting_as(alice):
        assert jobs.cancel(job)
    worker.join(timeout=5)
    assert not worker.is_alive()
    assert seen(job).state == "cancelled"


def test_two_workers_come_for_one_job_and_one_gets_it():
    job = started(cast.alice(), params={"to": 5, "nap": 0.05})

    def work():
        jobs.run_job(job.pk)
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen(job).attempt == 1
    assert lines(job).count("Counted to 5.") == 1


def test_the_sweeper_wakes_a_worker_for_what_none_has():
    waiting, lost, fine = (started(cast.person(name)) for name in ("a", "b", "c"))
    with tenancy.as_system("arrange"):
        long_ago = timezone.now() - timedelta(minutes=2)
        Job.objects.filter(pk=waiting.pk).update(created_at=long_ago)
        Job.objects.filter(pk=lost.pk).update(state="running", lease_until=long_ago)
        Job.objects.filter(pk=fine.pk).update(
            state="running", created_at=long_ago, lease_until=timezone.now() + timedelta(seconds=20)
        )
    assert jobs.sweep() == 2
    jobs.run_job(lost.pk)
    assert seen(lost).state == "done"


def test_a_worker_that_lost_its_lease_does_not_write_the_end():
    job = started(cast.alice())
    claimed = jobs._claim(job.pk)
    with tenancy.as_system("another worker takes it"):
        Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    again = jobs._claim(job.pk)
    assert again.lease != claimed.lease
    with pytest.raises(jobs.LeaseLost):
        jobs._finish(jobs.Run(claimed), "done", "too late", {})
    assert seen(job).state == "running"


def test_a_job_that_kills_its_workers_is_given_up():
    job = started(cast.alice())
    with tenancy.as_system("arrange"):
        Job.objects.filter(pk=job.pk).update(attempt=jobs.ATTEMPTS)
    jobs.run_job(job.pk)
    assert seen(job).state == "failed"
    assert "Given up" in seen(job).summary


def test_rerun_is_a_new_job_that_names_the_old_one():
    alice = cast.alice()
    job = started(alice)
    jobs.run_job(job.pk)
    with tenancy.acting_as(alice):
        again = jobs.rerun(seen(job))
    assert again.rerun_of_id == job.pk
    assert again.params == job.params
    assert again.state == "queued"


def test_a_start_frees_the_jobs_of_workers_that_are_gone():
    import socket

    job = started(cast.alice())
    jobs._claim(job.pk)
    assert jobs.reclaim() == 0  # this process is alive
    with tenancy.as_system("arrange"):
        Job.objects.filter(pk=job.pk).update(worker=f"{socket.gethostname()}:4194304")
    assert jobs.reclaim() == 1
    jobs.run_job(job.pk)
    assert seen(job).state == "done"


def test_refresh_while_the_last_one_is_stopping_is_not_lost():
    alice = cast.alice()
    first = started(alice, key="a")
    jobs._claim(first.pk)
    with tenancy.acting_as(alice):
        assert jobs.cancel(first)
    second = started(alice, key="a")
    assert second.pk != first.pk
    assert started(alice, key="a").pk == second.pk


def test_a_database_that_refuses_is_told_and_in_the_end_given_up():
    """A full disk is no lost connection: resuming it for ever would hide it for ever."""
    from django.db import OperationalError
    from psycopg.errors import DiskFull

    @jobs.job("overflow", Count)
    def overflow(params: Count, run: jobs.Run) -> jobs.Outcome:
        raise OperationalError("could not extend file: No space left on device") from DiskFull()

    job = started(cast.alice(), "overflow")
    for _ in range(jobs.ATTEMPTS + 1):
        jobs.run_job(job.pk)
    assert seen(job).state == "failed"
    assert "No space left" in " ".join(lines(job))


def test_texts_that_the_database_can_not_hold_do_not_keep_a_job_from_ending():
    @jobs.job("nul", Count)
    def nul(params: Count, run: jobs.Run) -> jobs.Outcome:
        run.say("a \0 line")
        return jobs.Outcome("bad \0 text", result={"name": "x\0y"})

    job = started(cast.alice(), "nul")
    jobs.run_job(job.pk)
    assert (seen(job).state, seen(job).summary, seen(job).result) == ("done", "bad  text", {"name": "xy"})
