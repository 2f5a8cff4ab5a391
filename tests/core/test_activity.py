"""Jobs as people meet them."""

import asyncio

import orjson
import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job, JobLine
from tests import cast

pytestmark = pytest.mark.usefixtures("house")
HTMX = {"HX-Request": "true"}


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    client = Client()
    client.force_login(alice)
    return client


def made(owner, state="queued", **fields):
    ended = timezone.now() if state in ("done", "partial", "failed", "cancelled") else None
    with tenancy.as_system("tests"):
        values = {"kind": "refresh-asset", "subject": "NVDA", "params": {"asset_id": 1, "timeframe": "1d"}} | fields
        job = Job.objects.create(owner=owner, state=state, finished_at=ended, **values)
        JobLine.objects.create(job=job, owner=owner, text="NVDA 1d: 3 new candles.")
    return job


def test_it_lists_ones_own_and_the_houses(alice, page):
    made(alice, subject="Mine")
    made(None, subject="Scheduled")
    made(cast.bob(), subject="Bobs secret")
    text = page.get("/activity/").text
    assert "Mine" in text
    assert "Scheduled" in text
    assert "Bobs secret" not in text


def test_it_filters_and_pages(alice, page):
    made(alice, "failed", subject="Broken")
    for _ in range(30):
        made(alice, "done", subject="Fine")
    assert "Fine" not in page.get("/activity/?show=trouble").text
    assert "Page 2 of 2" in page.get("/activity/?page=2").text
    assert "Nothing is running" in page.get("/activity/?show=unfinished").text
    assert page.get("/activity/?show=nonsense&page=x").status_code == 200


def test_unfinished_jobs_come_first(alice, page):
    made(alice, subject="Waiting one")
    made(alice, "done", subject="Later one")
    text = page.get("/activity/").text
    assert text.index("Waiting one") < text.index("Later one")


def test_a_job_shows_progress_log_and_what_is_missing(alice, page):
    job = made(
        alice,
        "partial",
        summary="2 of 3.",
        result={"missing": [{"symbol": "TSLA", "timeframe": "1d", "reason": "429"}]},
    )
    text = page.get(f"/activity/{job.pk}/").text
    assert "Partly done" in text
    assert "3 new candles" in text
    assert "TSLA" in text
    assert "429" in text


def test_each_part_asks_for_itself_and_the_end_is_announced(alice, page):
    job = made(alice)
    for part in ("row", "strip", "body"):
        answer = page.get(f"/activity/{job.pk}/?as={part}", headers=HTMX)
        assert "<html" not in answer.text
        assert "data-unfinished" in answer.text
        assert "HX-Trigger" not in answer.headers
    done = made(alice, "done")
    answer = page.get(f"/activity/{done.pk}/?as=strip", headers=HTMX)
    assert answer.headers["HX-Trigger"] == "job-finished"
    assert "data-unfinished" not in answer.text


def test_cancel_and_run_again(alice, page):
    job = made(alice)
    assert "Cancelled" in page.post(f"/activity/{job.pk}/cancel/?as=row", headers=HTMX).text
    answer = page.post(f"/activity/{job.pk}/rerun/")
    with tenancy.acting_as(alice):
        again = Job.objects.latest("pk")
        assert again.rerun_of_id == job.pk
    assert answer.headers["Location"] == f"/activity/{again.pk}/"
    assert "had already finished" in page.post(f"/activity/{job.pk}/cancel/", follow=True).text
    assert "not finished yet" in page.post(f"/activity/{again.pk}/rerun/", follow=True).text


def test_a_kind_that_is_gone_says_so(alice, page):
    job = made(alice, "done", kind="forgotten")
    assert "can&#x27;t be run again" in page.post(f"/activity/{job.pk}/rerun/", follow=True).text.replace(
        "&#39;", "&#x27;"
    )


def test_others_jobs_do_not_exist_and_the_houses_can_only_be_read(page):
    bobs, houses = made(cast.bob()), made(None)
    assert page.get(f"/activity/{bobs.pk}/").status_code == 404
    assert page.get(f"/activity/{houses.pk}/").status_code == 200
    for job in (bobs, houses):
        for verb in ("cancel", "rerun"):
            assert page.post(f"/activity/{job.pk}/{verb}/").status_code == 404


def test_the_list_takes_the_same_queries_however_long(alice, page):
    def queries():
        with CaptureQueriesContext(connection) as found:
            page.get("/activity/")
        return len(found)

    made(alice)
    queries()
    few = queries()
    for _ in range(20):
        made(alice, "done")
        made(None, "done")
    assert queries() == few <= 10


async def _heard(user, after):
    """What the stream tells this person of the announcements that `after` makes once it listens."""
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get("/activity/stream/")
    assert answer.headers["Content-Type"] == "text/event-stream"
    parts = answer.streaming_content
    said = []
    async with asyncio.timeout(10):
        async for part in parts:
            said.append(part)
            if b"event: open" in part:
                await asyncio.to_thread(after)
            if b'"job":99' in part:
                break
    await parts.aclose()
    return b"".join(said)


def test_the_stream_tells_of_ones_own_and_the_houses_jobs_only(alice):
    def announcements():
        jobs.announce(1, cast.bob().pk)
        jobs.broadcaster().publish(jobs.CHANNEL, b"not json")
        jobs.announce(2, alice.pk)
        jobs.announce(99, None)

    said = async_to_sync(_heard)(alice, announcements)
    told = [orjson.loads(line[6:]) for line in said.splitlines() if line.startswith(b'data: {"job"')]
    assert told == [{"job": 2}, {"job": 99}]


def test_the_stream_is_for_the_signed_in():
    assert Client().get("/activity/stream/").status_code == 302
