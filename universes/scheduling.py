"""The schedule that keeps universes fresh. It lives in the database, where an admin edits it; this only begins it."""

import json

from django.conf import settings
from django.db import IntegrityError, transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

NAME = "Refresh every universe"


def ensure_schedule() -> bool:
    """Create the scheduled refresh at first start; True if this call did.

    One that is there, changed or switched off, is left alone: after the first start the database's schedule counts,
    not FETCH_INTERVAL_MINUTES. Safe when two start at once.
    """
    if PeriodicTask.objects.filter(name=NAME).exists():
        return False
    wanted = {"every": settings.FETCH_INTERVAL_MINUTES, "period": IntervalSchedule.MINUTES}
    try:
        with transaction.atomic():
            interval = IntervalSchedule.objects.filter(**wanted).first() or IntervalSchedule.objects.create(**wanted)
            PeriodicTask.objects.create(
                name=NAME,
                task="chronos.core.start_scheduled",
                interval=interval,
                kwargs=json.dumps({"kind": "refresh-all", "subject": "All universes"}),
                description="Asks the providers for new candles of every asset that is in a universe.",
            )
    except IntegrityError:
        return False
    return True
