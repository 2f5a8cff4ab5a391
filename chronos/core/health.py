"""Is everything there? The same checks for /health/ready and the `health` command."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

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
        return Check(name, False, (str(error).strip() or type(error).__name__).splitlines()[0])


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        return f"PostgreSQL {cursor.fetchone()[0]}"


def _migrations() -> str:
    executor = MigrationExecutor(connection)
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


@login_not_required
@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """The web process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@login_not_required
@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 if everything a person needs is there, else 503; each check by name. Details are for the signed-in only."""
    found = checks()
    everything = all(check.ok for check in found)
    signed_in = found[0].ok and request.user.is_authenticated  # who asks is in the database too
    told = [asdict(check) if signed_in else {"name": check.name, "ok": check.ok} for check in found]
    return JsonResponse(
        {"status": "ok" if everything else "failing", "checks": told}, status=200 if everything else 503
    )
