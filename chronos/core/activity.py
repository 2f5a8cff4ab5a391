"""The pages of jobs: all of them, one of them, and the stream that says which has changed."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

import orjson
import redis.asyncio
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST, require_safe

from chronos.core import figures, jobs
from chronos.core.hypermedia import Asked, Signed, page, wants_part
from chronos.core.models import Job, JobLine
from chronos.core.streams import streamed

A_PAGE = 25
LINES = 500
FIRST = 10  # of a list among a job's parameters
SHOWN = {"all": None, "unfinished": Job.UNFINISHED, "trouble": (Job.State.FAILED, Job.State.PARTIAL)}
STREAM_SECONDS = 600  # then the browser connects again, and who it is is asked again
BREATH_SECONDS = 15


@require_safe
def activity(request: Signed) -> HttpResponse:
    """Jobs, unfinished first: one's own and the house's."""
    show = request.GET.get("show", "all")
    show = show if show in SHOWN else "all"
    visible = Job.objects.of(request.user).select_related("owner")
    if states := SHOWN[show]:
        visible = visible.filter(state__in=states)
    total = visible.count()
    pages = max(1, math.ceil(total / A_PAGE))
    number = min(_number(request.GET.get("page")), pages)
    found = visible.running_first()[(number - 1) * A_PAGE : number * A_PAGE]
    return page(
        request,
        "core/activity.html",
        {
            "jobs": [row(job) for job in found],
            "show": show,
            "choices": [("all", "All"), ("unfinished", "Unfinished"), ("trouble", "Failed or partial")],
            "total": figures.counted(total, "job"),
            "page": number,
            "pages": pages,
            "earlier": number + 1 if number < pages else None,
            "later": number - 1 if number > 1 else None,
        },
        part="list",
    )


def _number(text: str | None) -> int:
    return max(1, int(text)) if text and text.isdecimal() and len(text) < 7 else 1


@require_safe
def job(request: Signed, pk: int) -> HttpResponse:
    """One job. Under HTMX the piece that `as` names: `row` of the list, `strip` beside its subject, or the `body`."""
    found = _job(request, pk)
    part = request.GET.get("as", "body")
    part = part if part in ("row", "strip", "body") else "body"
    # Another part of the page may be waiting for the end: the members of a universe, a chart.
    headers = {} if found.unfinished or not wants_part(request) else {"HX-Trigger": "job-finished"}
    context: dict[str, Any] = {"job": row(found), "part": part}
    if not wants_part(request) or part == "body":
        context |= _details(found)
    return page(request, "core/job.html", context, part=part, headers=headers)


def _details(found: Job) -> dict[str, Any]:
    newest = list(JobLine.objects.filter(job=found).order_by("-pk")[: LINES + 1])
    missing = found.result.get("missing") if isinstance(found.result, dict) else None
    return {
        "lines": [
            {"at": f"{line.at:%H:%M:%S}", "level": line.level, "text": line.text} for line in newest[:LINES][::-1]
        ],
        "cut": len(newest) > LINES,
        "missing": missing if isinstance(missing, list) else [],
        "params": [(name.replace("_", " "), _said(value)) for name, value in found.params.items() if value is not None],
        "reruns": [{"url": again.get_absolute_url(), "pk": again.pk} for again in found.reruns.order_by("pk")[:20]],
    }


def _said(value: Any) -> str:
    """A parameter; of a list the beginning."""
    if not isinstance(value, list):
        return str(value)
    more = f" and {figures.integer(len(value) - FIRST)} more" if len(value) > FIRST else ""
    return ", ".join(str(one) for one in value[:FIRST]) + more


@require_safe
def running(request: Signed) -> HttpResponse:
    """How many are under way, for the top of every page."""
    return page(request, "ui/running.html", {})


@require_POST
def cancel(request: Signed, pk: int) -> HttpResponse:
    found = _own(request, pk)
    if not jobs.cancel(found):
        messages.info(request, "It had already finished, or was asked to stop before.")
    return _after(request, found)


@require_POST
def rerun(request: Signed, pk: int) -> HttpResponse:
    """The same work as a new job, whose page is shown."""
    found = _own(request, pk)
    if found.unfinished:
        messages.info(request, "It is not finished yet.")
        return redirect(found)
    try:
        again = jobs.rerun(found)
    except (jobs.UnknownKind, jobs.BadParams) as error:
        messages.error(request, f"It can't be run again by this version of Chronos. {error}")
        return redirect(found)
    return _after(request, again)


def _after(request: Signed, changed: Job) -> HttpResponse:
    if not wants_part(request):
        return redirect(changed)
    part = request.GET.get("as", "row")
    changed.refresh_from_db()
    return page(request, "core/job.html", {"job": row(changed), "part": part}, part="row" if part == "row" else "strip")


def _job(request: Signed, pk: int) -> Job:
    """The one loader: a job that is neither one's own nor the house's does not exist."""
    try:
        return Job.objects.of(request.user).select_related("owner", "rerun_of").get(pk=pk)
    except Job.DoesNotExist:
        raise Http404(f"There is no job {pk}.") from None


def _own(request: Signed, pk: int) -> Job:
    """A job this person may act on: their own. The house's belong to staff, in the admin."""
    found = _job(request, pk)
    if found.owner_id != request.user.pk:
        raise Http404(f"There is no job {pk} of yours.")
    return found


def row(job: Job) -> dict[str, Any]:
    """A job as its row, strip and page show it."""
    ended = job.finished_at or timezone.now()
    return {
        "pk": job.pk,
        "url": job.get_absolute_url(),
        "subject": job.subject,
        "subject_url": job.subject_url,
        "kind": job.kind.replace("-", " ").capitalize(),
        "state": job.state,
        "label": "Stopping" if job.cancelling else job.get_state_display(),
        "unfinished": job.unfinished,
        "cancelling": job.cancelling,
        "house": job.owner_id is None,
        "done": job.progress_done,
        "total": job.progress_total,
        "percent": job.percent,
        "note": job.progress_note,
        "says": job.summary or job.progress_note or ("Waiting for a worker." if job.state == Job.State.QUEUED else ""),
        "asked": figures.ago(job.created_at),
        "asked_at": f"{figures.moment(job.created_at)} UTC",
        "took": figures.lasted(ended - job.started_at) if job.started_at else "",
        "attempt": job.attempt,
        "worker": job.worker,
        "rerun_of": job.rerun_of_id,
    }


@require_GET
async def stream(request: Asked) -> StreamingHttpResponse:
    """Server-sent events: the id of each job of this person, or of the house, that has just changed.

    It reads announcements and never the database: the page fetches what it shows through the ordinary door. Sent after
    the request's own transaction is over, so it must not ask for anything that has a tenant.
    """
    person = await request.auser()
    return streamed(_events(person.pk), "text/event-stream")


async def _events(person: int | None) -> AsyncIterator[bytes]:
    connection = redis.asyncio.Redis.from_url(settings.CACHE_URL, socket_connect_timeout=2)
    try:
        async with connection.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.subscribe(jobs.CHANNEL)
            yield b"retry: 3000\n\nevent: open\ndata: {}\n\n"
            loop = asyncio.get_running_loop()
            end = loop.time() + STREAM_SECONDS
            while loop.time() < end:
                message = await heard.get_message(timeout=BREATH_SECONDS)
                yield _event(message, person) if message else b": breath\n\n"
    except redis.RedisError:
        yield b"event: away\ndata: {}\n\n"  # the page polls until the browser has connected again
    finally:
        with contextlib.suppress(redis.RedisError):
            await connection.aclose()


def _event(message: dict[str, Any], person: int | None) -> bytes:
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
        said = orjson.loads(message["data"])
        if said["owner"] in (None, person):
            return b"event: job\ndata: " + orjson.dumps({"job": said["job"]}) + b"\n\n"
    return b": not yours\n\n"
