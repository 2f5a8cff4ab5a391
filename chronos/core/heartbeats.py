"""Signs of life of the worker and of beat, which `health` looks for. Imported by those processes only."""

import contextlib
import time
from typing import Any

import redis
from celery.signals import heartbeat_sent, worker_ready
from django.core.cache import cache
from django_celery_beat.schedulers import DatabaseScheduler


def alive(who: str) -> None:
    """Note a sign of life. A cache that is away must not stop the one who is alive."""
    with contextlib.suppress(redis.RedisError):
        cache.set(f"alive:{who}", time.time(), 300)


@heartbeat_sent.connect
@worker_ready.connect
def worker_is_alive(**_: Any) -> None:
    alive("worker")


class HeardScheduler(DatabaseScheduler):  # type: ignore[misc]
    """The database's schedule, whose every tick is a sign of life."""

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        alive("beat")
        return super().tick(*args, **kwargs)
