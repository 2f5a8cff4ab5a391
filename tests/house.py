"""A whole Chronos for each test process: its own PostgreSQL and Valkey in a temporary state directory.

Loaded before Django's settings are (`-p tests.house`), because it decides what they read. Every test works on
committed data and sees the database as the program does, as the app role; afterwards the owner empties the tables.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_given = {name: os.environ.pop(name, None) for name in ("DATABASE_URL", "DATABASE_APP_URL", "REDIS_URL")}
_var = Path(tempfile.mkdtemp(prefix="chronos-test-"))
_var.chmod(0o755)
os.environ |= {
    "CHRONOS_VAR": str(_var),
    "CHRONOS_ENV_FILE": os.devnull,  # a developer's .env must not point the tests at real data
    "LOG_LEVEL": "WARNING",
    "OKX_BASE_URL": "http://127.0.0.1:9",  # nobody: no test asks the real one
}

# Filled by migrations, not by tests.
KEPT = ("django_migrations", "django_content_type", "auth_permission")


@pytest.fixture(scope="session")
def services(django_db_blocker: "pytest.FixtureRequest") -> Iterator[None]:
    """The servers of this process, prepared by the very code that `manage.py up` uses."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connections

    from chronos.core import database, embedded

    with embedded.Services(settings.EMBEDDED, settings.KEYS, durable=False), django_db_blocker.unblock():
        database.prepare()
        call_command("collectstatic", interactive=False, verbosity=0)
        yield
        connections.close_all()


@pytest.fixture
def house(services: None, django_db_blocker: "pytest.FixtureRequest") -> Iterator[None]:
    """The database for one test, which commits; emptied afterwards."""
    from django.db import connections

    with django_db_blocker.unblock():
        try:
            yield
        finally:
            connections["default"].close()
            _empty()


def owner():
    """A psycopg connection as the tables' owner, for what only a migration may do."""
    import psycopg
    from django.conf import settings

    from chronos.core.database import conninfo

    return psycopg.connect(conninfo(settings.DATABASES["owner"]), autocommit=True)


def _empty() -> None:
    from django.core.cache import cache

    with owner() as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
                " AND relnamespace = 'public'::regnamespace"
            )
            if row[0] not in KEPT
        ]
        connection.execute("SELECT set_config('chronos.system', 'tests', false)")
        dirty = [table for table in tables if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()]
        if dirty:
            connection.execute(f"TRUNCATE {', '.join(dirty)} RESTART IDENTITY CASCADE")
    cache.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Iterator[None]:
    """With CHRONOS_NO_SKIPS a test that is skipped has failed: what only root or Linux can show, CI must show."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CHRONOS_NO_SKIPS"):
        report.outcome, report.longrepr = "failed", f"skipped where nothing may be ({report.longrepr})"
    return report


def pytest_unconfigure() -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(_var)
