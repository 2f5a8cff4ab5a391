"""The schedule that keeps universes fresh. It lives in the database, where an admin edits it; this only begins it.

Every minute beat looks whether a series has become due (`marketdata.calendars.next_due`): a look is one light task, and
a job is started only for what is due. Fundamentals are looked after once a day; their job takes what is a week old. So
are assets of which no provider has said anything for long.
"""

import json
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from chronos.core import tenancy
from chronos.core.jobs import start_scheduled
from chronos.core.models import Job
from marketdata import providers
from marketdata.models import Asset, Series, Timeframe
from universes.models import Membership

NAME = "Refresh every universe"
KIND = "refresh-all"
SUBJECT = "All universes"
LOOK = "universes.refresh_due"  # the task that looks; `universes.jobs` has it
FACTS_NAME = "Refresh fundamentals"
FACTS_KIND = "refresh-facts"
VALIDATE_NAME = "Validate stale assets"
VALIDATE_KIND = "validate-assets"
_LOOKS = "Looks every minute which series have a new candle to fetch, and starts a job for those of universes' members."
_BEFORE = "Asks the providers for new candles of every asset that is in a universe."  # as versions before 0.2 said


# --- What is due -------------------------------------------------------------------------------------------------


def due_series(now: datetime, timeframe: Timeframe | None = None) -> list[tuple[Asset, Timeframe]]:
    """The series of universes' members that are due, by symbol and length: days of every member, and what else a
    provider has given. Bundled samples never are. Call it inside `as_system`."""
    stays = Membership.objects.followed().filter(asset__is_sample=False)
    due = Series.objects.filter(Q(due_at=None) | Q(due_at__lte=now), asset__in=stays.values("asset"))
    found = [
        (series.asset, Timeframe(series.timeframe))
        for series in due.select_related("asset")
        if series.timeframe == Timeframe.D1 or (series.last_open and providers.known(series.source))
    ]
    fetched = Series.objects.filter(timeframe=Timeframe.D1).values("asset")
    never = Asset.objects.filter(pk__in=stays.values("asset")).exclude(pk__in=fetched)
    found += [(asset, Timeframe.D1) for asset in never]
    wanted = [pair for pair in found if timeframe is None or pair[1] is timeframe]
    return sorted(wanted, key=lambda pair: (pair[0].symbol, -pair[1].length))


# --- The schedule in the database --------------------------------------------------------------------------------


def ensure_schedule() -> bool:
    """Create the schedules at first start; True if this call began the refreshing of universes.

    One that is there, changed, renamed or switched off, is left alone, and one that was deleted stays so. Only what an
    earlier version made, and nobody touched, becomes what this one makes. Safe when two start at once.
    """
    _renew()
    if not _is_there(FACTS_KIND) and not _has_run(FACTS_KIND):
        _create(
            FACTS_NAME,
            1,
            IntervalSchedule.DAYS,
            task=start_scheduled.name,
            kwargs=json.dumps({"kind": FACTS_KIND, "subject": "Fundamentals"}),
            description="Asks for market cap, P/E, yield, sector and industry of the assets that were not asked for"
            " in the last week.",
        )
    if not _is_there(VALIDATE_KIND) and not _has_run(VALIDATE_KIND):
        _create(
            VALIDATE_NAME,
            1,
            IntervalSchedule.DAYS,
            task=start_scheduled.name,
            kwargs=json.dumps({"kind": VALIDATE_KIND, "subject": "Assets of which nothing was heard for long"}),
            description="Asks providers whether they still know the assets of which none has said anything for"
            " VALIDATION_DAYS.",
        )
    if _is_there(KIND) or _has_run(KIND):
        return False
    return _create(NAME, 1, IntervalSchedule.MINUTES, **_looking())


def _looking() -> dict[str, object]:
    # A look that no worker took within its minute is worth nothing; they must not pile up.
    return {"task": LOOK, "kwargs": "{}", "description": _LOOKS, "expire_seconds": 55}


def _create(name: str, every: int, period: str, **fields: object) -> bool:
    try:
        with transaction.atomic():
            PeriodicTask.objects.create(name=name, interval=_interval(every, period), **fields)
    except (IntegrityError, ValidationError):  # another start was quicker
        return False
    return True


def _interval(every: int, period: str) -> IntervalSchedule:
    wanted = {"every": every, "period": period}
    return IntervalSchedule.objects.filter(**wanted).first() or IntervalSchedule.objects.create(**wanted)


def _renew() -> None:
    """Earlier versions refreshed everything every FETCH_INTERVAL_MINUTES."""
    for task in PeriodicTask.objects.filter(task=start_scheduled.name, description=_BEFORE).select_related("interval"):
        every = task.interval and (task.interval.every, task.interval.period)
        usual = [(minutes, IntervalSchedule.MINUTES) for minutes in (settings.FETCH_INTERVAL_MINUTES, 60)]
        if every in usual and _kind(task.kwargs) == KIND and "params" not in json.loads(task.kwargs):
            task.interval = _interval(1, IntervalSchedule.MINUTES)
            for name, value in _looking().items():
                setattr(task, name, value)
            task.save()


def _is_there(kind: str) -> bool:
    """Under whatever name: what it starts tells."""
    tasks = list(PeriodicTask.objects.values_list("name", "task", "kwargs"))
    starts = any(task == start_scheduled.name and _kind(kwargs) == kind for _, task, kwargs in tasks)
    ours = {KIND: (NAME, LOOK), FACTS_KIND: (FACTS_NAME, None), VALIDATE_KIND: (VALIDATE_NAME, None)}[kind]
    return starts or any(name == ours[0] or task == ours[1] for name, task, _ in tasks)


def _kind(kwargs: str) -> object:
    """The kind of job in a schedule's arguments, which an admin may have left unreadable."""
    try:
        wanted = json.loads(kwargs)
    except ValueError:
        return None
    return wanted.get("kind") if isinstance(wanted, dict) else None


def _has_run(kind: str) -> bool:
    """The house's jobs are never deleted: they are the mark of a schedule that was there."""
    with tenancy.as_system("has the schedule ever run?"):
        return Job.objects.filter(owner=None, kind=kind, key="schedule").exists()
