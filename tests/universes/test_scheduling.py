"""The schedule that is made at first start and is an admin's from then on; and what it refreshes when."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from chronos.celery import app
from chronos.core import jobs, tenancy
from chronos.core.models import Job
from marketdata import asking, calendars
from marketdata.models import Asset, Series, Timeframe
from tests.loopback.yahoo import Yahoo
from tests.prices import stored
from tests.universes.test_refresh import finished, universe
from universes.jobs import refresh_due
from universes.scheduling import FACTS_NAME, KIND, LOOK, NAME, SUBJECT, VALIDATE_NAME, due_series, ensure_schedule

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]


def minute(task: PeriodicTask) -> bool:
    return (task.interval.every, task.interval.period) == (1, "minutes")


def house_jobs() -> list[Job]:
    with tenancy.as_system("look at the house's jobs"):
        return list(Job.objects.filter(owner=None, kind=KIND).order_by("pk"))


def due(now: datetime | None = None) -> list[tuple[str, str]]:
    with tenancy.as_system("what is due?"):
        return [(asset.symbol, timeframe.value) for asset, timeframe in due_series(now or timezone.now())]


# --- The rows -----------------------------------------------------------------------------------------------------


def test_it_works():
    assert ensure_schedule() is True
    task = PeriodicTask.objects.get(name=NAME)
    assert (task.task, minute(task), task.expire_seconds) == (LOOK, True, 55)
    app.loader.import_default_modules()
    assert LOOK in app.tasks
    assert json.loads(task.kwargs) == {}
    facts = PeriodicTask.objects.get(name=FACTS_NAME)
    assert (facts.task, facts.interval.every, facts.interval.period) == (jobs.start_scheduled.name, 1, "days")


def test_every_kind_that_it_starts_is_declared():
    ensure_schedule()
    for task in PeriodicTask.objects.filter(task=jobs.start_scheduled.name):
        wanted = json.loads(task.kwargs)
        assert jobs.kind_named(wanted["kind"]).params.model_validate(wanted.get("params") or {})


def test_again_makes_nothing():
    assert ensure_schedule() is True
    assert ensure_schedule() is False
    assert sorted(task.name for task in PeriodicTask.objects.all()) == [NAME, FACTS_NAME, VALIDATE_NAME]


def test_one_that_was_renamed_is_still_it():
    ensure_schedule()
    PeriodicTask.objects.filter(name=NAME).update(name="Ours, at night")
    assert ensure_schedule() is False
    assert sorted(task.name for task in PeriodicTask.objects.all()) == ["Ours, at night", FACTS_NAME, VALIDATE_NAME]


def test_one_that_was_deleted_after_the_first_start_stays_deleted():
    assert ensure_schedule() is True
    jobs.start_scheduled(KIND, SUBJECT)  # as the first start does
    PeriodicTask.objects.filter(name=NAME).delete()
    assert ensure_schedule() is False
    assert not PeriodicTask.objects.filter(name=NAME).exists()


@pytest.mark.parametrize("kwargs", ["", "no JSON", "[]", '{"kind": "another"}'])
def test_another_schedule_is_not_taken_for_it(kwargs):
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.DAYS)
    PeriodicTask.objects.create(name="Another", task=jobs.start_scheduled.name, interval=every, kwargs=kwargs)
    assert ensure_schedule() is True


def test_what_an_admin_changed_stays():
    ensure_schedule()
    daily = IntervalSchedule.objects.create(every=2, period=IntervalSchedule.DAYS)
    PeriodicTask.objects.filter(name=NAME).update(enabled=False, interval=daily)
    ensure_schedule()
    task = PeriodicTask.objects.get(name=NAME)
    assert (task.enabled, task.interval) == (False, daily)


def earlier(every: int = 60, period: str = IntervalSchedule.MINUTES, **fields) -> PeriodicTask:
    """The row that version 0.1 made at its first start."""
    return PeriodicTask.objects.create(
        name=NAME,
        task="chronos.core.start_scheduled",
        interval=IntervalSchedule.objects.create(every=every, period=period),
        kwargs=json.dumps({"kind": "refresh-all", "subject": "All universes"}),
        **{"description": "Asks the providers for new candles of every asset that is in a universe."} | fields,
    )


def test_the_hourly_schedule_of_an_earlier_version_becomes_the_look():
    earlier(enabled=False)
    assert ensure_schedule() is False
    task = PeriodicTask.objects.get(name=NAME)
    assert (task.task, minute(task), json.loads(task.kwargs), task.enabled) == (LOOK, True, {}, False)
    ensure_schedule()
    assert PeriodicTask.objects.filter(name=NAME).count() == 1


@pytest.mark.parametrize(
    "touched",
    [
        {"every": 1, "period": IntervalSchedule.DAYS},
        {"description": "At night only"},
        {"kwargs": json.dumps({"kind": "refresh-all", "subject": "Days", "params": {"timeframe": "1d"}})},
    ],
)
def test_one_that_somebody_touched_is_theirs(touched):
    kwargs = touched.pop("kwargs", None)
    task = earlier(**touched)
    if kwargs:
        PeriodicTask.objects.filter(pk=task.pk).update(kwargs=kwargs)
    ensure_schedule()
    found = PeriodicTask.objects.get(name=NAME)
    assert (found.task, found.interval) == (jobs.start_scheduled.name, task.interval)


def test_two_at_once_make_one():
    done: list[bool] = []

    def start() -> None:
        done.append(ensure_schedule())
        connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, False, True]
    assert PeriodicTask.objects.count() == 3


# --- What is due ---------------------------------------------------------------------------------------------------


def test_what_is_due():
    now = timezone.now()
    universe(None, "NEW", "DONE", "OLD", "AAPL.SAMPLE")
    stored("AWAY", [1, 2], source="yahoo")  # nobody's member
    stored("DONE", [1, 2], source="yahoo")
    stored("OLD", [1, 2], source="yahoo")
    stored("OLD", [1, 2], source="yahoo", timeframe=Timeframe.H1, last=now.replace(minute=0, second=0, microsecond=0))
    stored("OLD", [1, 2], source="file", timeframe=Timeframe.M5, last=now.replace(minute=0, second=0, microsecond=0))
    Series.objects.filter(asset__symbol="DONE").update(due_at=now + timedelta(minutes=1))
    Series.objects.filter(asset__symbol="OLD").update(due_at=now - timedelta(minutes=1))
    assert due(now) == [("NEW", "1d"), ("OLD", "1d"), ("OLD", "1h")]
    assert ("DONE", "1d") in due(now + timedelta(minutes=2))


def test_a_look_starts_a_job_only_if_something_is_due(yahoo: Yahoo):
    universe(None, "NVDA")
    assert refresh_due() is True
    assert [(job.subject, job.key) for job in house_jobs()] == [(SUBJECT, "schedule")]
    assert refresh_due() is True  # the same, for it has not run
    assert len(house_jobs()) == 1
    done = finished(house_jobs()[0])
    assert done.state == "done"
    assert Series.objects.get(asset__symbol="NVDA").due_at > timezone.now()
    assert refresh_due() is False
    assert len(house_jobs()) == 1


def test_two_beats_start_one_job():
    universe(None, "NVDA")

    def look() -> None:
        refresh_due()
        connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(house_jobs()) == 1


def test_only_what_is_due_is_asked_for(yahoo: Yahoo):
    universe(None, "NVDA", "MSFT")
    msft = stored("MSFT", [1, 2], source="yahoo")
    Series.objects.filter(asset=msft).update(due_at=timezone.now() + timedelta(hours=1))
    refresh_due()
    finished(house_jobs()[0])
    assert yahoo.charts("NVDA")
    assert not yahoo.charts("MSFT")


def test_while_nobody_answers_the_pauses_grow(yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "_pause", lambda state: 0.01)
    yahoo.fail("*", "503")
    universe(None, "NVDA")
    refresh_due()
    assert finished(house_jobs()[0]).state == "failed"
    series = Series.objects.get(asset__symbol="NVDA")
    assert timedelta(minutes=14) < series.due_at - timezone.now() <= timedelta(minutes=15)
    assert refresh_due() is False
    for away, pause in ((5, 5), (1000, 24)):
        Series.objects.filter(pk=series.pk).update(failed_at=timezone.now() - timedelta(hours=away))
        wait = calendars.reschedule(series.asset, Timeframe.D1) - timezone.now()
        assert abs(wait - timedelta(hours=pause)) < timedelta(minutes=1)


def test_what_nobody_foresaw_is_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        raise KeyError("unforeseen")

    monkeypatch.setattr("universes.jobs.refresh_series", broken)
    universe(None, "NVDA")
    refresh_due()
    finished(house_jobs()[0])
    assert refresh_due() is False


def test_without_a_calendar_the_setting_counts(settings):
    settings.FETCH_INTERVAL_MINUTES = 90
    odd = Asset.objects.create(symbol="ODD", exchange="Nowhere")
    now = datetime(2026, 3, 9, 15, tzinfo=UTC)
    Series.objects.create(asset=odd, timeframe="1d", last_open=datetime(2026, 3, 6, tzinfo=UTC))
    assert calendars.reschedule(odd, Timeframe.D1, now) == now + timedelta(minutes=90)


def test_what_came_from_a_file_is_counted_once():
    asset = stored("BTC-USDT", [1, 2, 3], asset_class="crypto")
    assert refresh_due() is False  # whoever stores just now may not have finished
    Series.objects.update(changed_at=timezone.now() - timedelta(minutes=6))
    assert refresh_due() is True
    with tenancy.as_system("look at the house's jobs"):
        job = Job.objects.get(kind="audit")
    assert finished(job).summary == "1 series counted."
    series = Series.objects.get(asset=asset)
    assert (series.expected_count, series.missing_count) == (3, 0)
    assert refresh_due() is False


def test_a_series_that_cannot_be_counted_does_not_come_up_every_minute(monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        raise KeyError("unforeseen")

    stored("BTC-USDT", [1, 2, 3], asset_class="crypto")
    Series.objects.update(changed_at=timezone.now() - timedelta(minutes=6))
    monkeypatch.setattr("marketdata.gaps.examine", broken)
    assert refresh_due() is True
    with tenancy.as_system("look at the house's jobs"):
        job = Job.objects.get(kind="audit")
    assert finished(job).state == "done"
    assert refresh_due() is False


def test_an_earlier_schedule_with_nothing_due_says_so(yahoo: Yahoo):
    jobs.start_scheduled(KIND, SUBJECT)
    done = finished(house_jobs()[0])
    assert (done.state, done.summary) == ("done", "Nothing is due: no market has made a candle that is not here.")
    assert not yahoo.requests
