"""One door for long work. PostgreSQL owns the queue; Celery only wakes workers.

A kind is a plain function over validated parameters, declared where its verb lives:

    class RefreshParams(BaseModel):
        universe_id: int

    @job("refresh-universe", RefreshParams)
    def refresh_universe(params: RefreshParams, run: Run) -> Outcome: ...

The function must be idempotent and resumable: after a worker's death it is simply called again, and skips what its
earlier attempt has already committed. It never holds a transaction while it waits.
"""

import contextlib
import logging
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import orjson
import redis
from celery import shared_task
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone
from pydantic import BaseModel, ValidationError

from chronos.core import logs, tenancy, tokens
from chronos.core.models import ApiToken, IdempotencyKey, Job, JobLine, User, digest

log = logging.getLogger(__name__)
P = TypeVar("P", bound=BaseModel)
T = TypeVar("T")

LEASE = timedelta(seconds=settings.JOB_LEASE_SECONDS)
HEARTBEAT_SECONDS = settings.JOB_LEASE_SECONDS / 10
WAKE_AGAIN = timedelta(seconds=settings.JOB_WAKE_AGAIN_SECONDS)  # a queued job that nobody took is announced again
HELPERS = 32  # threads that wait for the outside: more than any job has at once, abandoned ones included
DAY = timedelta(hours=24)
ATTEMPTS = 5  # a job that kills its worker this often is the cause, not the victim
CHANNEL = f"chronos:jobs:{digest(settings.SECRET_KEY)[:12]}"  # publishing ignores database numbers: say whose


class UnknownKind(Exception):
    """No app declares this kind of job."""


class BadParams(Exception):
    """The parameters do not fit the kind; the text names each."""


class BudgetSpent(Exception):
    """The token that asks has had its worker time of the day. `seconds`: until some of it is free again."""

    def __init__(self, minutes: int, seconds: int) -> None:
        super().__init__(f"This token's jobs have had their {minutes} minutes of worker time of the last 24 hours.")
        self.seconds = seconds


class Stopped(BaseException):
    """Raised inside a job's function at its next `run.` call. Not an `Exception`, so that no handler keeps it."""


class Cancelled(Stopped):
    """Somebody asked for it."""


class Spent(Stopped):
    """The token that it was started with has had its worker time of the day."""


class LeaseLost(Stopped):
    """Another worker has the job now, because this one was silent for too long."""


@dataclass(frozen=True)
class Outcome:
    """How a job's function ended. `partial` lists what is missing in `result["missing"]`."""

    summary: str
    state: Literal["done", "partial", "failed"] = "done"
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    name: str
    params: type[BaseModel]
    function: Callable[[Any, "Run"], Outcome]


_kinds: dict[str, Kind] = {}


def job(name: str, params: type[P]) -> Callable[[Callable[[P, "Run"], Outcome]], Callable[[P, "Run"], Outcome]]:
    """Declare a kind of long work over a function `(params, run) -> Outcome`."""

    def declare(function: Callable[[P, "Run"], Outcome]) -> Callable[[P, "Run"], Outcome]:
        _kinds[name] = Kind(name, params, function)
        return function

    return declare


def kind_named(name: str) -> Kind:
    try:
        return _kinds[name]
    except KeyError:
        raise UnknownKind(f"There is no kind of job called {name!r}; there are {', '.join(sorted(_kinds))}.") from None


# --- Starting, cancelling, running again: the verbs of the doors -------------------------------------------------


def start(
    kind: str,
    params: BaseModel | dict[str, Any],
    *,
    owner: User | None,
    subject: str,
    subject_url: str = "",
    key: str = "",
    rerun_of: Job | None = None,
) -> Job:
    """Queue a job; with a `key`, the unfinished one of that owner, kind and key if there is one.

    Call it inside `acting_as(owner)` or, for the house's own work (`owner=None`), inside `as_system`.
    Raises `UnknownKind`, `BadParams` and, for a program whose token has a budget, `BudgetSpent`.
    """
    declared = kind_named(kind)
    token = tokens.in_use.get()
    if token is not None and (left := budget_of(token)) is not None and left.seconds <= 0:
        raise BudgetSpent(token.compute_minutes or 0, left.free_in)
    try:
        checked = declared.params.model_validate(params if isinstance(params, dict) else params.model_dump())
    except ValidationError as error:
        raise BadParams("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None
    wanted = Job(
        owner=owner,
        kind=kind,
        subject=subject[:200],
        subject_url=subject_url,
        key=key,
        params=checked.model_dump(mode="json"),
        rerun_of=rerun_of,
        token=token,
    )
    try:
        with transaction.atomic():
            wanted.save(force_insert=True)
    except IntegrityError:
        running = Job.objects.unfinished().filter(owner=owner, kind=kind, key=key).first()
        if running and not running.cancelling:
            return running
        if running:  # on its way out: it makes room for the new one
            Job.objects.filter(pk=running.pk).update(key="")
        wanted.save(force_insert=True)
    transaction.on_commit(lambda: wake(wanted))
    return wanted


@dataclass(frozen=True)
class Budget:
    """Of a token's worker time of the last 24 hours, in seconds: what is left, and when some is free again."""

    seconds: float
    free_in: int


def budget_of(token: ApiToken) -> Budget | None:
    """None if its jobs may take as long as they like. What is still running counts until now."""
    if token.compute_minutes is None:
        return None
    now = timezone.now()
    day = Job.objects.filter(token=token, started_at__isnull=False).filter(
        Q(finished_at=None) | Q(finished_at__gt=now - DAY)
    )
    times = day.values_list("started_at", "finished_at")
    spans = [(max(began, now - DAY), ended or now) for began, ended in times if began]
    spent = sum(((ended - began).total_seconds() for began, ended in spans), 0.0)
    first = min((ended for _, ended in spans), default=now)
    return Budget(60 * token.compute_minutes - spent, max(1, math.ceil((first + DAY - now).total_seconds())))


def wake(waiting: Job) -> None:
    """Tell a worker. If the broker is down the sweeper will tell it later: the row is what counts."""
    try:
        # A message that nobody has taken by then is no loss: the sweeper sends another, and they must not pile up.
        run_job.apply_async((waiting.pk,), expires=WAKE_AGAIN.total_seconds() * 3)
    except Exception:
        log.warning("the broker did not take the wake-up of a job", exc_info=True, extra={"job_id": waiting.pk})
    announce(waiting.pk, waiting.owner_id)


def cancel(wanted: Job) -> bool:
    """Ask for the job's end. A waiting one ends at once, a running one at its next step; False if it has finished."""
    now = timezone.now()
    still_waiting = Job.objects.filter(pk=wanted.pk, state=Job.State.QUEUED).update(
        state=Job.State.CANCELLED,
        cancel_requested_at=now,
        finished_at=now,
        summary="Cancelled before it started.",
    )
    asked = still_waiting or Job.objects.filter(pk=wanted.pk, state=Job.State.RUNNING, cancel_requested_at=None).update(
        cancel_requested_at=now
    )
    if asked:
        transaction.on_commit(lambda: announce(wanted.pk, wanted.owner_id))
    return bool(asked)


def rerun(finished: Job) -> Job:
    """The same work once more, as a new job that names this one."""
    return start(
        finished.kind,
        finished.params,
        owner=finished.owner,
        subject=finished.subject,
        subject_url=finished.subject_url,
        key=finished.key,
        rerun_of=finished,
    )


def announce(job_id: int, owner_id: int | None) -> None:
    """Tell open pages that a job has changed. They read the row; nothing depends on this arriving."""
    with contextlib.suppress(redis.RedisError):
        broadcaster().publish(CHANNEL, orjson.dumps({"job": job_id, "owner": owner_id}))


_broadcaster: redis.Redis | None = None


def broadcaster() -> redis.Redis:
    """This process's connection for announcements."""
    global _broadcaster
    if _broadcaster is None:
        _broadcaster = redis.Redis.from_url(settings.CACHE_URL, socket_timeout=2, socket_connect_timeout=2)
    return _broadcaster


# --- Running: inside a worker ------------------------------------------------------------------------------------


class Run:
    """What a job's function has in hand: its owner's rights, its progress, its log, and the request to stop."""

    def __init__(self, claimed: Job) -> None:
        assert claimed.lease
        self.job, self.lease = claimed, claimed.lease
        self._stop: type[Stopped] | None = None
        self._shown = 0.0
        self._helpers = ThreadPoolExecutor(HELPERS, thread_name_prefix="outside")  # each is started when needed

    @property
    def since(self) -> datetime:
        """When the job was asked for. What was done since, by whatever attempt or other job, need not be repeated."""
        return self.job.created_at

    def acting(self) -> AbstractContextManager[None]:
        """The owner's scope, for a short transaction; never around a wait."""
        if self.job.owner is None:
            return tenancy.as_system(f"job {self.job.kind} #{self.job.pk}")
        return tenancy.acting_as(self.job.owner)

    def check(self) -> None:
        """Raise `Stopped` if the job should end. Every other method does so first."""
        if self._stop:
            raise self._stop

    def step(self, done: int, total: int, note: str = "") -> None:
        """Show progress: at most five times a second reaches the database, the last step always."""
        self.check()
        now = time.monotonic()
        if done < total and now - self._shown < 0.2:
            return
        self._shown = now
        self._write(progress_done=done, progress_total=total, progress_note=note[:300])

    def say(self, text: str, level: JobLine.Level = JobLine.Level.INFO) -> None:
        """Add a line to the job's log, at once visible to others."""
        self.check()
        self._outside_transactions()
        with self.acting():
            JobLine.objects.create(
                job_id=self.job.pk, owner_id=self.job.owner_id, level=level, text=_storable(logs.redact(text))
            )
        announce(self.job.pk, self.job.owner_id)

    def sleep(self, seconds: float) -> None:
        """Wait, but not past a request to stop."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.25))
        self.check()

    def wait_for(self, call: Callable[[], T]) -> T:
        """The result of a slow call to the outside, given up (the call left to its own timeout) when asked to stop.

        The call runs in a thread of its own and must not touch the database. Several threads of a job may wait at once.
        """
        self._outside_transactions()
        future: Future[T] = self._helpers.submit(call)
        while True:
            self.check()
            try:
                return future.result(timeout=0.25)
            except TimeoutError:
                if future.done():  # it has just ended, or the timeout is the call's own
                    return future.result()

    def check_budget(self) -> None:
        """Ask for its end if its token, of which others may be running as well, has none of its worker time left."""
        token = self.job.token
        if token is None or token.compute_minutes is None:
            return
        with self.acting():
            left = budget_of(token)
        if left is not None and left.seconds <= 0:
            self.stop(Spent)

    def stop(self, why: type[Stopped]) -> None:
        self._stop = why

    def end(self) -> None:
        """Let the helpers go; one whose call was given up goes when that ends."""
        self._helpers.shutdown(wait=False)

    def _write(self, **values: Any) -> None:
        self._outside_transactions()
        with self.acting():
            if not Job.objects.filter(pk=self.job.pk, lease=self.lease).update(**values):
                raise LeaseLost
        announce(self.job.pk, self.job.owner_id)

    @staticmethod
    def _outside_transactions() -> None:
        if connection.in_atomic_block:
            raise RuntimeError("progress, log lines and waits belong outside transactions: others could not see them")


@shared_task(name="chronos.core.run_job", ignore_result=True)
def run_job(job_id: int) -> None:
    """Run one job to its end, if it is still there to be taken.

    1. Claim: one conditional UPDATE takes the lease; nobody else's wake-up of this job gets past it.
    2. A thread renews the lease and looks for a request to stop.
    3. The function runs. It may commit as it goes; it will be called again if this process dies.
    4. One conditional UPDATE writes the end, if the lease is still ours.
    A database that goes away is not an end: the lease is given back and a later attempt resumes. Other faults of the
    database (a full disk, a deadlock) are resumed as well, but each counts as an attempt and is told.
    """
    claimed = _claim(job_id)
    if claimed is None:
        return
    token = logs.context.set({"job_id": claimed.pk, "job_kind": claimed.kind})
    run = Run(claimed)
    try:
        with _heartbeat(run):
            outcome = _outcome(run)
        if outcome is not None:
            _finish(run, *outcome)
    except LeaseLost:
        log.warning("another worker has this job now")
    except (OperationalError, InterfaceError) as error:
        log.warning("the database failed in mid-job; it will be resumed", exc_info=True)
        _give_back(run, error)
    finally:
        run.end()
        logs.context.reset(token)
        connection.close()


def _claim(job_id: int) -> Job | None:
    now = timezone.now()
    with tenancy.as_system("claim a job"):
        free = Q(state=Job.State.QUEUED) | Q(state=Job.State.RUNNING, lease_until__lt=now)
        taken = Job.objects.filter(free, pk=job_id).update(
            state=Job.State.RUNNING,
            lease=uuid.uuid4(),
            lease_until=now + LEASE,
            attempt=F("attempt") + 1,
            worker=f"{socket.gethostname()}:{os.getpid()}",
            started_at=now,
        )
        claimed = Job.objects.select_related("owner", "token").get(pk=job_id) if taken else None
    if claimed:
        announce(claimed.pk, claimed.owner_id)
    return claimed


def _outcome(run: Run) -> tuple[str, str, dict[str, Any]] | None:
    """Call the function; its end as (state, summary, result). A database that goes away is passed on to the caller."""
    try:
        kind = kind_named(run.job.kind)
        if run.job.attempt > ATTEMPTS:
            return "failed", f"Given up: {ATTEMPTS} attempts ended with the worker's death.", {}
        run.check_budget()
        if run.job.attempt > 1:
            run.say(f"Attempt {run.job.attempt}: resuming after the worker before was lost.", JobLine.Level.WARNING)
        run.check()
        outcome = kind.function(kind.params.model_validate(run.job.params), run)
        run.check()
    except Cancelled:
        return "cancelled", "Cancelled; what was already stored is kept.", {}
    except Spent:
        return "failed", "Stopped: its token's worker time of the day is used up; what was already stored is kept.", {}
    except (OperationalError, InterfaceError):
        raise
    except (UnknownKind, ValidationError) as error:
        return "failed", f"This version of Chronos can't run it: {error}", {}
    except Exception as error:
        log.exception("a job failed")
        text = logs.redact(f"{type(error).__name__}: {error}")
        return "failed", f"An unexpected fault stopped it ({text}). The worker's log has the details.", {}
    return outcome.state, outcome.summary, outcome.result


def _finish(run: Run, state: str, summary: str, result: dict[str, Any]) -> None:
    level = {"failed": JobLine.Level.ERROR, "partial": JobLine.Level.WARNING}.get(state, JobLine.Level.INFO)
    with run.acting():
        ours = Job.objects.filter(pk=run.job.pk, lease=run.lease, state=Job.State.RUNNING).update(
            state=state,
            summary=_storable(summary)[:500],
            result=orjson.loads(_storable(orjson.dumps(result).decode())),
            finished_at=timezone.now(),
            lease=None,
            lease_until=None,
        )
        if not ours:
            raise LeaseLost
        JobLine.objects.create(job_id=run.job.pk, owner_id=run.job.owner_id, level=level, text=_storable(summary))
    announce(run.job.pk, run.job.owner_id)
    log.info("job finished", extra={"state": state, "summary": summary, "attempt": run.job.attempt})


def _storable(text: str) -> str:
    """Without NUL, which PostgreSQL does not store, as such or as JSON's escape."""
    return text.replace("\0", "").replace("\\u0000", "")


def _went_away(error: Exception) -> bool:
    """Whether the connection was lost (no SQLSTATE, class 08, or a shutdown), rather than a statement refused."""
    state = getattr(error.__cause__, "sqlstate", None)
    return isinstance(error, InterfaceError) or state is None or state.startswith("08") or state.startswith("57P")


def _give_back(run: Run, error: Exception) -> None:
    """Let the lease expire now instead of in half a minute; if the database is still away, it expires by itself."""
    connection.close()
    away = _went_away(error)
    reason = logs.redact(str(error)).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    for _ in range(20):
        try:
            with tenancy.as_system("give a job back"):
                ours = Job.objects.filter(pk=run.job.pk, lease=run.lease)
                if ours.update(lease_until=timezone.now(), attempt=F("attempt") - int(away)) and not away:
                    text = f"The database refused ({reason}); resuming."
                    JobLine.objects.create(
                        job_id=run.job.pk, owner_id=run.job.owner_id, level=JobLine.Level.WARNING, text=text
                    )
            return
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.5)


@contextlib.contextmanager
def _heartbeat(run: Run) -> Iterator[None]:
    """Renew the lease from a thread with a connection of its own, and pass on a request to stop."""
    ended = threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not ended.wait(1.0):
            try:
                if time.monotonic() - last >= HEARTBEAT_SECONDS:
                    with tenancy.as_system("heartbeat of a job"):
                        held = Job.objects.filter(pk=run.job.pk, lease=run.lease).update(
                            lease_until=timezone.now() + LEASE
                        )
                    last = time.monotonic()
                    run.check_budget()
                    if not held:
                        run.stop(LeaseLost)
                with tenancy.as_system("has a job been cancelled?"):
                    asked = Job.objects.filter(pk=run.job.pk, lease=run.lease).exclude(cancel_requested_at=None)
                    if asked.exists():
                        run.stop(Cancelled)
            except (OperationalError, InterfaceError):
                connection.close()
                if time.monotonic() - last > LEASE.total_seconds():
                    run.stop(LeaseLost)  # by now another worker may have it
        connection.close()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@shared_task(name="chronos.core.sweep", ignore_result=True)
def sweep() -> int:
    """Wake a worker for every job that none has: lost wake-ups, dead workers. Returns how many.

    Safe to run twice at once: waking is harmless, only the claim counts.
    """
    now = timezone.now()
    with tenancy.as_system("sweep jobs"):
        unheard = Q(woken_at=None, created_at__lt=now - WAKE_AGAIN) | Q(woken_at__lt=now - WAKE_AGAIN)
        lost = Job.objects.filter(
            Q(unheard, state=Job.State.QUEUED) | Q(state=Job.State.RUNNING, lease_until__lt=now)
        ).order_by("pk")[:500]
        found = list(lost.select_for_update(skip_locked=True))
        Job.objects.filter(pk__in=[job.pk for job in found]).update(woken_at=now)
    for waiting in found:
        log.info("waking a worker again", extra={"job_id": waiting.pk, "state": waiting.state})
        wake(waiting)
    return len(found)


def reclaim() -> int:
    """At a start: free the jobs whose worker was on this machine and is gone, instead of waiting for their leases."""
    with tenancy.as_system("reclaim jobs of dead workers"):
        held = Job.objects.filter(state=Job.State.RUNNING, worker__startswith=f"{socket.gethostname()}:")
        dead = [job.pk for job in held if not _is_alive(int(job.worker.rpartition(":")[2]))]
        # A stop of ours is not the job's fault, so it does not count as an attempt.
        return Job.objects.filter(pk__in=dead, attempt__gt=0).update(
            lease_until=timezone.now(), attempt=F("attempt") - 1
        )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@shared_task(name="chronos.core.start_scheduled", ignore_result=True)
def start_scheduled(kind: str, subject: str, params: dict[str, Any] | None = None) -> None:
    """What a schedule in the database calls: start the house's own job, unless one is still running."""
    with tenancy.as_system(f"schedule {kind}"):
        start(kind, params or {}, owner=None, subject=subject, key="schedule")


@shared_task(name="chronos.core.forget", ignore_result=True)
def forget() -> int:
    """Remove what was answered to requests that are done once, after a day; how many answers."""
    with tenancy.as_system("forget old answers"):
        return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - DAY).delete()[0]
