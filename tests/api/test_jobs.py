"""Jobs over the API: their logs, and their events as they happen."""

import asyncio
from datetime import timedelta

import orjson
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.utils import timezone

from chronos.core import api as core
from chronos.core import jobs, tenancy
from chronos.core.models import IdempotencyKey, Job, JobLine
from tests import cast
from tests.api.program import Program

pytestmark = pytest.mark.usefixtures("house")


def job_of(alice, **fields):
    with tenancy.acting_as(alice):
        made = Job.objects.create(owner=alice, kind="refresh-universe", subject="Chips", **fields)
        for number in range(3):
            JobLine.objects.create(job=made, owner=alice, text=f"line {number}")
    return made


def heard(program, path, *, after=None, **headers):
    """The events of a stream, as (name, id, data), until it ends; `after` is done when the first ones are here."""

    async def listen():
        answer = await program.stream(path, headers)
        assert answer.status_code == 200, answer.content
        assert answer.headers["Content-Type"] == "text/event-stream"
        text, acted = b"", after is None
        async with asyncio.timeout(20):
            async for part in answer.streaming_content:
                text += part
                if not acted and b"event: progress" in text:
                    acted = True
                    await asyncio.to_thread(after)
        return text.decode()

    found = []
    for event in async_to_sync(listen)().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields.get("id"), orjson.loads(fields["data"])))
    return found


def test_events_until_the_end_and_after_a_break_only_the_rest(alice, hers):
    job = job_of(alice, state="running", started_at=timezone.now())
    path = f"/api/v1/jobs/{job.pk}/events"

    def work():
        with tenancy.acting_as(alice):
            Job.objects.filter(pk=job.pk).update(progress_done=1, progress_total=2)
            JobLine.objects.create(job=job, owner=alice, text="more")
            Job.objects.filter(pk=job.pk).update(state="done", finished_at=timezone.now(), summary="Done.")
        jobs.announce(job.pk, alice.pk)

    events = heard(hers, path, after=work)
    lines = [(number, told["text"]) for name, number, told in events if name == "line"]
    assert [text for _, text in lines] == ["line 0", "line 1", "line 2", "more"]
    assert [name for name, _, _ in events if name != "line"] == ["progress", "end"]
    assert events[-1][2]["summary"] == "Done."
    again = heard(hers, path, **{"Last-Event-ID": lines[1][0]})
    assert [told["text"] for name, _, told in again if name == "line"] == ["line 2", "more"]
    assert again[-1][0] == "end"


def test_a_long_log_is_heard_whole_before_the_end(alice, hers):
    job = job_of(alice, state="done", started_at=timezone.now(), finished_at=timezone.now())
    with tenancy.acting_as(alice):
        JobLine.objects.bulk_create(JobLine(job=job, owner=alice, text="more") for _ in range(2 * core.LINES - 3))
    events = [name for name, _, _ in heard(hers, f"/api/v1/jobs/{job.pk}/events")]
    assert events == ["line"] * 2 * core.LINES + ["end"]


def test_a_stream_waits_without_a_connection_to_the_database(alice, hers):
    job = job_of(alice, state="running", started_at=timezone.now())

    async def listen():
        answer = await hers.stream(f"/api/v1/jobs/{job.pk}/events")
        parts = answer.streaming_content
        while b"event: progress" not in await anext(parts):
            pass
        held = await sync_to_async(lambda: connection.connection is not None)()
        await parts.aclose()
        return held

    assert async_to_sync(listen)() is False


def test_a_stream_breathes_while_much_is_said_of_other_jobs(alice, hers, monkeypatch):
    monkeypatch.setattr(core, "BREATH_SECONDS", 0.2)
    job = job_of(alice, state="running", started_at=timezone.now())

    async def listen():
        answer = await hers.stream(f"/api/v1/jobs/{job.pk}/events")
        text = b""

        async def others():
            while True:
                await asyncio.to_thread(jobs.announce, job.pk + 1, alice.pk)
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(others())
        async with asyncio.timeout(5):
            async for part in answer.streaming_content:
                text += part
                if text.count(b"breath") == 3:
                    break
        talking.cancel()

    async_to_sync(listen)()


def test_events_of_others_are_not_there(alice):
    job = job_of(alice)
    his = Program.of(cast.bob())

    async def ask():
        return await his.stream(f"/api/v1/jobs/{job.pk}/events")

    assert async_to_sync(ask)().status_code == 404


def test_the_log_comes_in_pages(alice, hers):
    job = job_of(alice)
    first = hers("list_job_lines", job_id=job.pk, limit=2).json()
    rest = hers("list_job_lines", job_id=job.pk, limit=2, cursor=first["metadata"]["next_cursor"]).json()
    assert [line["text"] for line in first["data"] + rest["data"]] == ["line 0", "line 1", "line 2"]
    assert [line["text"] for line in hers.ask("list_job_lines", job_id=job.pk, order="-id", limit=1)] == ["line 2"]


def test_an_unfinished_one_does_not_run_again(alice, hers):
    job = job_of(alice)
    assert hers.refused("rerun_job", job_id=job.pk) == (409, "unfinished")


def test_the_houses_jobs_are_seen_and_left_alone(hers):
    with tenancy.as_system("tests"):
        job = Job.objects.create(kind="refresh-all", subject="All universes")
    assert [one["id"] for one in hers.ask("list_jobs")] == [job.pk]
    assert hers.refused("cancel_job", job_id=job.pk) == (404, "not_found")


def test_what_was_answered_is_forgotten_after_a_day(hers):
    hers("create_universe", headers={"Idempotency-Key": "old"}, name="Old")
    hers("create_universe", headers={"Idempotency-Key": "new"}, name="New")
    with tenancy.as_system("tests"):
        IdempotencyKey.objects.filter(key="old").update(created_at=timezone.now() - timedelta(hours=25))
    assert jobs.forget() == 1
    with tenancy.as_system("tests"):
        assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["new"]
