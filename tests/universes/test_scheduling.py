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


def test_one_that_was_renamed_is_still_it():
    ensure_schedule()
    PeriodicTask.objects.filter(name=NAME).update(name="Ours, at night")
    assert ensure_schedule() is False
    assert [task.name for task in PeriodicTask.objects.all()] == ["Ours, at night"]


def test_one_that_was_deleted_after_the_first_start_stays_deleted():
    assert ensure_schedule() is True
    jobs.start_scheduled(**json.loads(PeriodicTask.objects.get(name=NAME).kwargs))  # as the first start does
    PeriodicTask.objects.all().delete()
    assert ensure_schedule() is False
    assert not PeriodicTask.objects.exists()


@pytest.mark.parametrize("kwargs", ["", "no JSON", "[]", '{"kind": "another"}'])
def test_another_schedule_is_not_taken_for_it(kwargs):
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.DAYS)
    PeriodicTask.objects.create(name="Another", task=jobs.start_scheduled.name, interval=every, kwargs=kwargs)
    assert ensure_schedule() is True


def test_what_an_admin_changed_stays():
    ensure_schedule()
    daily = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.DAYS)
    PeriodicTask.objects.filter(name=NAME).update(enabled=False, interval=daily)
    ensure_schedule()
    task = PeriodicTask.objects.get(name=NAME)
    assert (task.enabled, task.interval) == (False, daily)
