"""A whole Chronos for each test process: its own PostgreSQL and Valkey in a temporary state directory.

Loaded before Django's settings are (`-p tests.house`), because it decides what they read. Every test works on
committed data and sees the database as the program does, as the app role; afterwards the owner empties the tables.
"""

import contextlib
import functools
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


@pytest.fixture(scope="session", autouse=True)
def _static_files_once() -> Iterator[None]:
    """Each test client builds the middleware anew, of which looking at 400 static files takes 80 ms: done once here."""
    from servestatic.middleware import ServeStaticMiddleware

    found: dict[str, dict] = {}
    look = ServeStaticMiddleware.add_files_from_manifest

    def once(self: ServeStaticMiddleware) -> None:
        if self.static_root not in found:
            look(self)
            found[self.static_root] = dict(self.files)
        self.files.update(found[self.static_root])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_manifest", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _calendars_once() -> Iterator[None]:
    """Half a second for each market whose sessions a test needs: what the package makes of it is made once."""
    from marketdata import sessions

    of_package = sessions._from_package

    def once(code, since):
        import exchange_calendars

        if not hasattr(exchange_calendars.get_calendar, "cache_info"):
            exchange_calendars.get_calendar = functools.cache(exchange_calendars.get_calendar)
        return of_package(code, since)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "_from_package", once)
        yield


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


# TRUNCATE writes a new file for each index of each table that it cascades to, which takes 60 ms; deleting the few rows
# of a test takes 5. What is deleted stays in its file until that is large enough to be worth a TRUNCATE.
_EMPTY = f"""
DO $$
DECLARE
    here regclass;
    size bigint;
BEGIN
    FOR here, size IN
        SELECT oid, coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(oid)), pg_relation_size(oid))
        FROM pg_class
        WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
            AND relname NOT IN {KEPT}
    LOOP
        IF size > 1048576 THEN
            EXECUTE format('TRUNCATE %s CASCADE', here);
        ELSE
            EXECUTE format('DELETE FROM %s', here);
        END IF;
    END LOOP;
    PERFORM setval(oid, 1, false) FROM pg_class JOIN pg_sequences ON sequencename = relname
        WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace AND last_value IS NOT NULL
            AND relname NOT IN {tuple(f"{table}_id_seq" for table in KEPT)};
END $$
"""


def _empty() -> None:
    from django.core.cache import cache

    _as_superuser(_EMPTY)
    cache.clear()


_connections: list = []  # one, kept: a new one would take five times as long as emptying does


def _as_superuser(statement: str) -> None:
    import psycopg
    from django.conf import settings

    from chronos.core.database import conninfo

    superuser = settings.DATABASES["owner"] | {"USER": "postgres", "PASSWORD": settings.KEYS.postgres_password}
    for connection in (*_connections, None):
        if connection is None:  # the first time, and after a test that ended the server
            connection = psycopg.connect(conninfo(superuser), autocommit=True)
            connection.execute("SET session_replication_role = replica")  # neither triggers nor foreign keys
            _connections[:] = [connection]
        with contextlib.suppress(psycopg.OperationalError):
            connection.execute(statement)
            return
    raise AssertionError("The tables could not be emptied.")


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
