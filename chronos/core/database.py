"""Bring the database to where this version needs it: roles, the database itself, migrations, grants."""

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

OLDEST = 18  # MERGE … RETURNING with OLD and NEW


class DatabaseError(Exception):
    """The database can't be made ready; the text says what to do."""


def prepare(say: Callable[[str], None] = lambda _: None) -> None:
    """Idempotent; run at every start, before anything else talks to the database. Raises `DatabaseError`.

    1. embedded: the owner role and the database, as the superuser; your own server has both already;
    2. the app role, which the program runs as;
    3. migrations, as the owner;
    4. the app role's rights on what there is now.
    """
    owner, app = settings.DATABASES["owner"], settings.DATABASES["default"]
    if settings.EMBEDDED_POSTGRES:
        _create_embedded(owner)
    try:
        with psycopg.connect(conninfo(owner), autocommit=True, connect_timeout=10) as connection:
            if connection.info.server_version < OLDEST * 10_000:
                raise DatabaseError(
                    f"PostgreSQL {OLDEST} or newer is needed; the server of DATABASE_URL is"
                    f" {connection.info.server_version // 10_000}."
                )
            _ensure_app_role(connection, app)
    except psycopg.OperationalError as error:
        raise DatabaseError(f"No connection to the database as its owner: {str(error).strip()}") from error
    say("Applying migrations")
    call_command("migrate", database="owner", interactive=False, verbosity=0)
    connections["owner"].close()
    with psycopg.connect(conninfo(owner), autocommit=True) as connection:
        _grant(connection, app["USER"], owner["NAME"])
    _check_app_role(app)


def conninfo(parts: Mapping[str, Any]) -> str:
    """libpq's words for one of Django's database settings."""
    options = {key: value for key, value in parts["OPTIONS"].items() if key != "pool"}
    named = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return make_conninfo(**{word: parts[ours] for word, ours in named.items() if parts.get(ours)}, **options)


def _create_embedded(owner: dict[str, str]) -> None:
    superuser = settings.DATABASES["owner"] | {
        "USER": "postgres",
        "PASSWORD": settings.KEYS.postgres_password,
        "NAME": "postgres",
    }
    with psycopg.connect(conninfo(superuser), autocommit=True) as connection:
        if not _role_exists(connection, owner["USER"]):
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                    sql.Identifier(owner["USER"]), sql.Literal(owner["PASSWORD"])
                )
            )
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [owner["NAME"]]).fetchone()
        if not found:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(owner["NAME"]), sql.Identifier(owner["USER"])
                )
            )


def _role_exists(connection: psycopg.Connection, role: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def _ensure_app_role(connection: psycopg.Connection, app: dict[str, str]) -> None:
    role, password = sql.Identifier(app["USER"]), sql.Literal(app["PASSWORD"])
    try:
        if not _role_exists(connection, app["USER"]):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
            return
        try:
            psycopg.connect(conninfo(app), connect_timeout=10).close()
        except psycopg.OperationalError:  # SECRET_KEY has changed since, and with it the password
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, password))
    except psycopg.errors.InsufficientPrivilege:
        raise DatabaseError(
            f"The role of DATABASE_URL may not create the role the program runs as. As an administrator:"
            f" CREATE ROLE \"{app['USER']}\" LOGIN PASSWORD '…'; then set DATABASE_APP_URL to it."
        ) from None


def _grant(connection: psycopg.Connection, role: str, database: str) -> None:
    """Rows, not tables: the app role reads and writes what the policies let it, and can change no schema."""
    for statement in (
        "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
        "REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}",
    ):
        connection.execute(sql.SQL(statement).format(role=sql.Identifier(role), database=sql.Identifier(database)))


def _check_app_role(app: dict[str, str]) -> None:
    """The program must not be able to get round its own policies."""
    with psycopg.connect(conninfo(app)) as connection:
        found = connection.execute(
            "SELECT r.rolsuper OR r.rolbypassrls OR EXISTS ("
            " SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND pg_has_role(current_user, tableowner, 'MEMBER'))"
            " FROM pg_roles r WHERE rolname = current_user"
        ).fetchone()
    if found and found[0]:
        raise DatabaseError(
            f"The role {app['USER']!r} owns tables, is a superuser or bypasses row security:"
            " give DATABASE_APP_URL a plain role."
        )
