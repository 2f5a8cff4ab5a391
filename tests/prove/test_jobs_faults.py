"""Real workers and a real beat, and what befalls them: the job ends once, with every step taken once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection

from chronos.core import embedded, jobs, tenancy
from chronos.core.models import Job, JobLine, User
from tests import cast

pytestmark = [pytest.mark.prove, pytest.mark.usefixtures("house"), pytest.mark.processes]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def counting():
    import tests.counting.jobs  # noqa: F401  the kind, for the door in this process


@contextmanager
def running(*verbs: str) -> Iterator[list[subprocess.Popen]]:
    """Celery processes of our own; ended by pid, whatever happens."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.counting.settings"}
    log = (settings.CHRONOS_VAR / "processes.log").open("ab")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "chronos", *verb.split()],
            cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
        )
        for verb in verbs
    ]  # fmt: skip
    try:
        yield processes
    finally:
        for process in processes:
            kill(process)
        log.close()


WORKER = "worker --concurrency 1 --without-gossip --without-mingle"
BEAT = "beat --pidfile="


def kill(process: subprocess.Popen) -> None:
    """kill -9 of the process and its pool, as the kernel's out-of-memory killer would leave nobody to say goodbye."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until(condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{log_tail()}"
        time.sleep(0.1)


def log_tail() -> str:
    return "\n".join((settings.CHRONOS_VAR / "processes.log").read_text().splitlines()[-20:])


def start(owner: User, **params) -> Job:
    with tenancy.acting_as(owner):
        return jobs.start("steps", params, owner=owner, subject="Steps")


def seen(job: Job) -> Job:
    with tenancy.as_system("look at a job"):
        return Job.objects.get(pk=job.pk)


def assert_ended_once(job: Job, steps: int) -> None:
    with tenancy.as_system("look at a job"):
        texts = list(JobLine.objects.filter(job=job).order_by("pk").values_list("text", flat=True))
    assert [text for text in texts if text.startswith("step ")] == [f"step {n}" for n in range(1, steps + 1)]
    assert texts.count(f"Took {steps} steps.") == 1
    assert seen(job).state == "done"


def test_the_worker_is_killed_in_mid_job_and_another_finishes_it():
    job = start(cast.alice(), to=40)
    with running(WORKER) as (worker,):
        until(lambda: seen(job).progress_done >= 5, "the first steps")
        kill(worker)
    assert seen(job).state == "running"
    with running(WORKER, BEAT):
        until(lambda: not seen(job).unfinished, "the end")
    assert_ended_once(job, 40)
    assert seen(job).attempt == 2


def test_valkey_is_flushed_and_the_waiting_job_is_not_forgotten():
    job = start(cast.alice(), to=3)
    client = redis.Redis.from_url(settings.REDIS_URL)
    assert client.dbsize() > 0  # the wake-up is in there
    client.flushall()
    with running(WORKER, BEAT):
        until(lambda: not seen(job).unfinished, "the end")
    assert_ended_once(job, 3)


def test_postgres_is_restarted_in_mid_job():
    job = start(cast.alice(), to=40)
    with running(WORKER, BEAT):
        until(lambda: seen(job).progress_done >= 5, "the first steps")
        connection.close()
        embedded.Services(settings.EMBEDDED, settings.KEYS, durable=False).restart_postgres()
        until(lambda: not seen(job).unfinished, "the end")
    assert_ended_once(job, 40)


def test_two_beats_and_two_workers_do_it_once():
    job = start(cast.alice(), to=10)
    with running(WORKER + " -n one@%h", WORKER + " -n two@%h", BEAT, BEAT):
        until(lambda: not seen(job).unfinished, "the end")
    assert_ended_once(job, 10)
    assert seen(job).attempt == 1
