"""The schedule that keeps universes fresh. It lives in the database, where an admin edits it; this only begins it."""

import json

from django.conf import settings
from django.db import IntegrityError, transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from chronos.core import tenancy
from chronos.core.jobs import start_scheduled
from chronos.core.models import Job

NAME = "Refresh every universe"
KIND = "refresh-all"


def ensure_schedule() -> bool:
    """Create the scheduled refresh at first start; True if this call did.

    One that is there, changed, renamed or switched off, is left alone, and one that was deleted stays so: after the
    first start the database's schedule counts, not FETCH_INTERVAL_MINUTES. Safe when two start at once.
    """
    if _is_there() or _has_been_there():
        return False
    wanted = {"every": settings.FETCH_INTERVAL_MINUTES, "period": IntervalSchedule.MINUTES}
    try:
        with transaction.atomic():
            interval = IntervalSchedule.objects.filter(**wanted).first() or IntervalSchedule.objects.create(**wanted)
            PeriodicTask.objects.create(
                name=NAME,
                task=start_scheduled.name,
                interval=interval,
                kwargs=json.dumps({"kind": KIND, "subject": "All universes"}),
                description="Asks the providers for new candles of every asset that is in a universe.",
            )
    except IntegrityError:
        return False
    return True


def _is_there() -> bool:
    """Under whatever name: what it starts tells."""
    tasks = PeriodicTask.objects.filter(task=start_scheduled.name).values_list("kwargs", flat=True)
    return PeriodicTask.objects.filter(name=NAME).exists() or any(_kind(kwargs) == KIND for kwargs in tasks)


def _kind(kwargs: str) -> object:
    """The kind of job in a schedule's arguments, which an admin may have left unreadable."""
    try:
        wanted = json.loads(kwargs)
    except ValueError:
        return None
    return wanted.get("kind") if isinstance(wanted, dict) else None


def _has_been_there() -> bool:
    """The first start runs the schedule at once, and the house's jobs are never deleted: they are the mark of it."""
    with tenancy.as_system("has the schedule ever run?"):
        return Job.objects.filter(owner=None, kind=KIND, key="schedule").exists()
