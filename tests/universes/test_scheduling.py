"""The schedule that is made at first start and is an admin's from then on."""

import json

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from chronos.core import jobs
from universes.scheduling import NAME, ensure_schedule

pytestmark = pytest.mark.usefixtures("house")


def test_it_works(settings):
    settings.FETCH_INTERVAL_MINUTES = 17
    assert ensure_schedule() is True
    task = PeriodicTask.objects.get(name=NAME)
    assert (task.task, task.interval.every, task.interval.period) == (jobs.start_scheduled.name, 17, "minutes")
    wanted = json.loads(task.kwargs)
    assert jobs.kind_named(wanted["kind"]).params.model_validate(wanted.get("params") or {})


def test_again_makes_nothing(settings):
    assert ensure_schedule() is True
    settings.FETCH_INTERVAL_MINUTES = 5
    assert ensure_schedule() is False
    assert PeriodicTask.objects.filter(name=NAME).count() == 1
    assert PeriodicTask.objects.get(name=NAME).interval.every == 60


def test_what_an_admin_changed_stays():
    ensure_schedule()
    daily = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.DAYS)
    PeriodicTask.objects.filter(name=NAME).update(enabled=False, interval=daily)
    ensure_schedule()
    task = PeriodicTask.objects.get(name=NAME)
    assert (task.enabled, task.interval) == (False, daily)
