"""The Celery application: `celery -A chronos worker` and `… beat`."""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chronos.settings")

app = Celery("chronos")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")


@setup_logging.connect
def _ours(**_: Any) -> None:
    """Celery would otherwise set up its own plain-text logging."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
