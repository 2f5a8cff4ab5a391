"""The program's settings with the counting app, and with patience counted in seconds instead of minutes."""

from chronos.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.counting"]  # noqa: F405
JOB_LEASE_SECONDS = 4
JOB_WAKE_AGAIN_SECONDS = 2
CELERY_BEAT_SCHEDULE = {"Wake jobs that no worker has": {"task": "chronos.core.sweep", "schedule": 1.0}}
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
