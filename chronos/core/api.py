"""The API's operations of this floor: who asks, jobs, tokens, and whether everything is there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import StreamingHttpResponse
from django.utils import timezone
from ninja import Header, Path, Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures, health, jobs, tenancy, tokens
from chronos.core.envelope import REFUSALS, NextAction, Refusal, Refused, answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.models import ApiToken, Job, JobLine, User
from chronos.core.paging import Paged, page_of
from chronos.core.streams import streamed

router = Router()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
STREAM_SECONDS = 600  # then the client connects again, with the last event it has seen
BREATH_SECONDS = 15
LINES = 500  # of a log, that are looked up at once


# --- Who asks ----------------------------------------------------------------------------------------------------


class Token(Schema):
    id: int
    name: str
    hint: str = Field(description="The secret's last four characters.")
    may_write: bool
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = Field(description="None: it does not expire.")
    last_used_at: AwareDatetime | None = Field(description="To the minute. None: never used.")
    compute_minutes: int | None = Field(
        description="Minutes of worker time that jobs started with it may take in 24 hours. None: any."
    )


class Me(Schema):
    username: str
    is_staff: bool = Field(description="Whether public universes and providers' keys may be changed.")
    token: Token | None = Field(description="The token that this request came with; None for a browser's session.")
    may_write: bool
    requests_per_minute: int = Field(description="How many requests this token may make, on average.")
    compute_seconds_left: float | None = Field(
        description="Of the token's worker time of the last 24 hours, in seconds. None: no limit."
    )


@router.get("/me", response=answers(Me), tags=["account"])
def get_me(request: Signed) -> Any:
    """Who you are here, and what you may do.

    A good first call: it tells whether the token works, whether it may write, and what is left of its budget.
    """
    user, token = request.user, getattr(request, "api_token", None)
    left = jobs.budget_of(token) if token else None
    data = {
        "username": user.username,
        "is_staff": user.is_staff,
        "token": _token(token) if token else None,
        "may_write": token.may_write if token else True,
        "requests_per_minute": settings.API_REQUESTS_PER_MINUTE,
        "compute_seconds_left": max(0.0, left.seconds) if left else None,
    }
    may = "read and write" if data["may_write"] else "read"
    return said(data, f"You are {user.username}, and may {may}.", [then("list_universes", "See what you follow.")])


def _token(token: ApiToken) -> dict[str, Any]:
    return {name: getattr(token, name) for name in Token.model_fields}


@router.get("/tokens", response=answers(list[Token]), tags=["account"])
def list_tokens(request: Signed) -> Any:
    """Your API tokens, without their secrets, which nobody has. New ones are made in the settings, by a person."""
    found = [_token(token) for token in ApiToken.objects.filter(owner=request.user)]
    over = [token["id"] for token in found if token["expires_at"] and token["expires_at"] < timezone.now()]
    actions = [then("revoke_token", "Remove one that has expired.", token_id=over[0])] if over else []
    return said(found, f"{figures.counted(len(found), 'token')}.", actions, total=len(found))


@router.delete("/tokens/{token_id}", response=answers(None), tags=["account"])
def revoke_token(request: Signed, token_id: Id) -> Any:
    """End one of your tokens at once; what uses it gets a 401 from now on. It can't be brought back."""
    name = tokens.revoke(request.user, token_id)
    if not name:
        raise missing(f"You have no token {token_id}; it may be revoked already.", "Look at list_tokens.")
    return said(None, f"The token “{name}” is revoked.")


# --- Jobs --------------------------------------------------------------------------------------------------------


class JobOut(Schema):
    """One piece of long work."""

    id: int
    kind: str = Field(examples=["backfill-universe"])
    subject: str = Field(description="What it is about, in words.")
    state: Literal["queued", "running", "done", "partial", "failed", "cancelled"] = Field(
        description="`partial`: it ended, and something is missing, which `result.missing` lists."
    )
    is_finished: bool
    is_stopping: bool = Field(description="Somebody asked for its end, which it has not reached yet.")
    progress_done: int = Field(description="Steps done.")
    progress_total: int = Field(description="Steps in all; 0 while unknown.")
    progress_note: str
    summary: str = Field(description="How it ended, in one sentence; empty until then.")
    result: dict[str, Any] = Field(description="What came of it, by the kind of job.")
    params: dict[str, Any] = Field(description="What it was started with.")
    attempt: int = Field(description="How often a worker began it; more than 1 after a worker's death.")
    rerun_of: int | None = Field(description="The job that it repeats.")
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None


class Cost(Schema):
    """What long work would take, worked out beforehand."""

    series: int = Field(description="Series of candles that are asked for.")
    requests: int | None = Field(description="Requests to providers, at most. None: can't be told beforehand.")
    seconds: float | None = Field(
        description="Worker time, about, by the providers' limits alone. None: can't be told beforehand."
    )


class Started(Schema):
    """A job that was started; or with `dry_run`, only what it would take."""

    job: JobOut | None = Field(description="None after a dry run.")
    cost: Cost


def told(found: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    own = ("kind", "subject", "state", "progress_done", "progress_total", "progress_note", "summary", "params",
           "attempt", "created_at", "started_at", "finished_at")  # fmt: skip
    return {name: getattr(found, name) for name in own} | {
        "id": found.pk,
        "is_finished": not found.unfinished,
        "is_stopping": found.cancelling,
        "result": found.result if isinstance(found.result, dict) else {},
        "rerun_of": found.rerun_of_id,
    }


def started(begun: Job | None, cost: dict[str, Any], what: str) -> Any:
    """The answer of an operation that starts a job, or with `dry_run` (no job) has only said what it would take."""
    if begun is None:
        return said({"job": None, "cost": cost}, f"{what} would be started. Nothing was: this is a dry run.")
    actions = [then("get_job", "See how far it is.", job_id=begun.pk)]
    if begun.unfinished:
        actions.append(then("cancel_job", "Stop it; what it has stored stays.", job_id=begun.pk))
    return said({"job": told(begun), "cost": cost}, f"{what} is job {begun.pk}.", actions, status=202)


# For `openapi_extra`: agents are told that others than Chronos are asked.
ABROAD = {"x-agent": {"open_world": True}}
STARTS: dict[Any, Any] = answers(Started, 202) | {200: answers(Started)[200]}


class JobsWanted(Paged):
    state: Literal["queued", "running", "done", "partial", "failed", "cancelled", "unfinished", ""] = Field(
        "", description="Only those; `unfinished` are the queued and running ones."
    )
    kind: str = Field("", max_length=60, description="Only jobs of this kind.")
    order: Literal["-id", "id"] = Field("-id", description="`-id`: the newest first.")


@router.get("/jobs", response=answers(list[JobOut]), tags=["jobs"])
def list_jobs(request: Signed, wanted: Query[JobsWanted]) -> Any:
    """Your jobs, and the house's own (the schedule's), the newest first."""
    found = Job.objects.of(request.user)
    if wanted.state == "unfinished":
        found = found.unfinished()
    elif wanted.state:
        found = found.filter(state=wanted.state)
    if wanted.kind:
        found = found.filter(kind=wanted.kind)
    page = page_of(found, wanted, wanted.order, {"-id": ("-id",), "id": ("id",)})
    actions = [then("get_job", "Look at one.", job_id=page.rows[0].pk)] if page.rows else []
    return said([told(job) for job in page.rows], f"{page.counted('job')}.", actions,
                next_cursor=page.next_cursor)  # fmt: skip


@router.get("/jobs/{int:job_id}", response=answers(JobOut), tags=["jobs"])
def get_job(request: Signed, job_id: Id) -> Any:
    """One job: how far it is, or how it ended."""
    found = _job(request, job_id)
    return said(told(found), _sentence(found), _next(request, found))


def _job(request: Signed, pk: int, *, own: bool = False) -> Job:
    """The one loader: a job that is neither one's own nor the house's does not exist."""
    found = Job.objects.of(request.user).filter(pk=pk).first()
    if found is None or (own and found.owner_id != request.user.pk):
        raise missing(f"You have no job {pk}.", "Look at list_jobs.", next_actions=[then("list_jobs", "See them all.")])
    return found


def _sentence(found: Job) -> str:
    if not found.unfinished:
        return found.summary or f"It is {found.get_state_display().lower()}."
    if found.state == Job.State.QUEUED:
        return "It waits for a worker."
    percent = f" ({found.percent} %)" if found.percent is not None else ""
    return f"It is running{percent}. {found.progress_note}".strip()


def _next(request: Signed, found: Job) -> list[NextAction]:
    actions = [then("list_job_lines", "Read its log.", job_id=found.pk)]
    if found.owner_id != request.user.pk:
        return actions
    if found.unfinished:
        return [*actions, then("cancel_job", "Stop it; what it has stored stays.", job_id=found.pk)]
    return [*actions, then("rerun_job", "Do the same once more.", job_id=found.pk)]


class Line(Schema):
    id: int
    at: AwareDatetime
    level: Literal["info", "warning", "error"]
    text: str


class LinesWanted(Paged):
    order: Literal["id", "-id"] = Field("id", description="`id`: as they were written; `-id`: the newest first.")


@router.get("/jobs/{int:job_id}/lines", response=answers(list[Line]), tags=["jobs"])
def list_job_lines(request: Signed, job_id: Id, wanted: Query[LinesWanted]) -> Any:
    """A job's log."""
    found = _job(request, job_id)
    lines = JobLine.objects.filter(job=found)
    page = page_of(lines, wanted, wanted.order, {"id": ("id",), "-id": ("-id",)})
    data = [_line(line) for line in page.rows]
    return said(data, f"{page.counted('line')}.", [then("get_job", "See its state.", job_id=found.pk)],
                next_cursor=page.next_cursor)  # fmt: skip


def _line(line: JobLine) -> dict[str, Any]:
    return {"id": line.pk, "at": line.at, "level": line.level, "text": line.text}


@router.post("/jobs/{int:job_id}/cancel", response=answers(JobOut), tags=["jobs"])
def cancel_job(request: Signed, job_id: Id) -> Any:
    """Ask for a job's end. A waiting one ends at once, a running one within seconds; what it has stored stays."""
    found = _job(request, job_id, own=True)
    stopped = jobs.cancel(found)
    found.refresh_from_db()
    words = "It is asked to stop." if stopped else "It had finished already, or was asked to stop before."
    return said(told(found), words, [then("get_job", "See whether it has ended.", job_id=found.pk)])


@router.post("/jobs/{int:job_id}/rerun", response=answers(JobOut, 202), tags=["jobs"])
def rerun_job(request: Signed, job_id: Id) -> Any:
    """The same work once more, as a new job."""
    found = _job(request, job_id, own=True)
    if found.unfinished:
        raise Refused("unfinished", "It is not finished yet.", "Wait for its end, or cancel it first.", status=409,
                      next_actions=[then("cancel_job", "Stop it.", job_id=found.pk)])  # fmt: skip
    again = jobs.rerun(found)
    return said(told(again), f"It runs again as job {again.pk}.",
                [then("get_job", "See how far it is.", job_id=again.pk)], status=202)  # fmt: skip


_EVENTS = """Server-sent events of one job, until it has ended.

`line`: a line of its log, with its id as the event's. `progress`: the job as `get_job` shows it, whenever it has
changed. `end`: the same, and the stream ends. A client that was cut off sends the last id that it saw as
`Last-Event-ID`, as browsers do by themselves, and gets the lines after it.
"""


@router.get(
    "/jobs/{int:job_id}/events", tags=["jobs"], description=_EVENTS, response={200: None, REFUSALS: Refusal},
    openapi_extra={
        "responses": {
            200: {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
        }
    },
)  # fmt: skip
async def stream_job_events(
    request: Signed,
    job_id: Id,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=20)] = "",
) -> Any:
    user = request.user
    after = int(last_event_id) if last_event_id.isascii() and last_event_id.isdecimal() else 0
    await sync_to_async(_job)(request, job_id)
    return _stream(user, job_id, min(after, 2**63 - 1))


def _stream(user: User, job_id: int, after: int) -> StreamingHttpResponse:
    return streamed(_events(user, job_id, after), "text/event-stream")


async def _events(user: User, job_id: int, after: int) -> AsyncIterator[bytes]:
    """Looks when it is announced that something has changed, and every few seconds if announcements don't come."""
    look = sync_to_async(_look)
    shown: dict[str, Any] = {}
    async with _Announcements() as announced:
        end = asyncio.get_running_loop().time() + STREAM_SECONDS
        while asyncio.get_running_loop().time() < end:
            now, lines = await look(user, job_id, after)
            for line in lines:
                after = line["id"]
                yield _event("line", line, after)
            if now is None:
                return
            if len(lines) == LINES:  # there may be more
                continue
            if now["is_finished"]:
                yield _event("end", now)
                return
            if now != shown:
                shown = now
                yield _event("progress", now)
            if not await announced.of(job_id):
                yield b": breath\n\n"


def _look(user: User, job_id: int, after: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The connection is given back after each look: a stream lasts for minutes, and there are few of them."""
    try:
        with tenancy.acting_as(user):
            found = Job.objects.of(user).filter(pk=job_id).first()
            lines = JobLine.objects.filter(job_id=job_id, pk__gt=after).order_by("pk")[:LINES] if found else ()
            return (told(found) if found else None), [_line(line) for line in lines]
    finally:
        connection.close()


def _event(name: str, data: dict[str, Any], number: int | None = None) -> bytes:
    first = f"id: {number}\n" if number else ""
    return f"{first}event: {name}\ndata: ".encode() + orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z) + b"\n\n"


class _Announcements:
    """What Valkey tells of jobs. While it is away, a second passes instead."""

    async def __aenter__(self) -> "_Announcements":
        self._connection = redis.asyncio.Redis.from_url(settings.CACHE_URL, socket_connect_timeout=2)
        self._heard: Any = None
        with contextlib.suppress(redis.RedisError):
            heard = self._connection.pubsub(ignore_subscribe_messages=True)
            await heard.subscribe(jobs.CHANNEL)
            self._heard = heard
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(redis.RedisError):
            if self._heard is not None:
                await self._heard.aclose()
            await self._connection.aclose()

    async def of(self, job_id: int) -> bool:
        """Wait until something is said of this job; False if nothing was for a while."""
        if self._heard is None:
            await asyncio.sleep(1)
            return True
        now = asyncio.get_running_loop().time
        end = now() + BREATH_SECONDS  # however much is said of others
        try:
            while (left := end - now()) > 0:
                message = await self._heard.get_message(timeout=left)
                with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
                    if orjson.loads(message["data"])["job"] == job_id:
                        return True
        except redis.RedisError:
            self._heard = None
            return True
        return False


# --- Whether everything is there ---------------------------------------------------------------------------------


class HealthCheck(Schema):
    name: str
    ok: bool
    detail: str


@router.get("/health", response=answers(list[HealthCheck]), tags=["account"])
def get_health(request: Signed) -> Any:
    """Whether the database, Valkey, the worker and the schedule are there, each with what to know about it.

    For probes there is `/health/ready`, which needs no token.
    """
    found = [asdict(check) for check in health.checks()]
    failing = [check["name"] for check in found if not check["ok"]]
    words = f"Not well: {', '.join(failing)}." if failing else "Everything is there."
    return said(found, words, total=len(found))


# What others raise, as this API says it: the status, the code and the remedy.
REFUSED: dict[type[Exception], tuple[int, str, str]] = {
    jobs.BadParams: (422, "invalid", "Mend the parameters that it names."),
    jobs.UnknownKind: (404, "not_found", "This version has no such kind of job."),
}


def budget_spent(error: jobs.BudgetSpent) -> Refused:
    return Refused("budget_spent", str(error), f"Some of it is free again in {error.seconds} seconds; or use another"
                   " token.", status=429, headers={"Retry-After": str(error.seconds)})  # fmt: skip
