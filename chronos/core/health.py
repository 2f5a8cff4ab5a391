"""Is everything there? The same checks for /health/ready, the `health` command and the page's footer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery.signals import heartbeat_sent, worker_ready
from django.core.cache import cache
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django_celery_beat.schedulers import DatabaseScheduler

SILENT_AFTER = 45  # seconds without a sign of life


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str


def checks() -> list[Check]:
    """Database, migrations, Valkey, worker and beat, each with what to know about it. Never raises."""
    return [
        _checked("database", _database),
        _checked("migrations", _migrations),
        _checked("valkey", _valkey),
        _checked("worker", lambda: _heard("worker")),
        _checked("beat", lambda: _heard("beat")),
    ]


def _checked(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name, True, probe())
    except Exception as error:  # noqa: BLE001  a health check reports whatever is wrong
        return Check(name, False, str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)


def _database() -> str:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        return f"PostgreSQL {cursor.fetchone()[0]}"


def _migrations() -> str:
    executor = MigrationExecutor(connections["default"])
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if waiting:
        raise RuntimeError(f"{len(waiting)} migrations have not run; `manage.py up` runs them")
    return "all applied"


def _valkey() -> str:
    cache.set("health", "1", 10)
    if cache.get("health") != "1":
        raise RuntimeError("it answers but does not keep what it is given")
    return "answers"


def _heard(who: str) -> str:
    last = cache.get(f"alive:{who}")
    if last is None or time.time() - last > SILENT_AFTER:
        raise RuntimeError(f"no sign of life within {SILENT_AFTER} s; `manage.py up` starts it")
    return f"heard {time.time() - last:.0f} s ago"


def alive(who: str) -> None:
    """Note a sign of life. A cache that is away must not stop the one who is alive."""
    try:
        cache.set(f"alive:{who}", time.time(), 300)
    except Exception:  # noqa: BLE001, S110
        pass


@heartbeat_sent.connect
@worker_ready.connect
def _worker_is_alive(**_: Any) -> None:
    alive("worker")


class HeardScheduler(DatabaseScheduler):  # type: ignore[misc]
    """The database's schedule, whose every tick is a sign of life."""

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        alive("beat")
        return super().tick(*args, **kwargs)
