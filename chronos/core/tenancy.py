"""Who a query is for. The database decides what it may see; this module only tells it.

A tenant is one user. Every door enters `acting_as(user)` or names its system work with `as_system("why")`. A query on a
table of somebody's work outside both raises `NoScope` before it is sent, and should it get past that, the policies call
a function that refuses to answer (migration core/0002). Both contexts open a transaction and set the tenant for that
transaction alone, so neither a connection pool nor an exception can carry it to the next person.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from chronos.core.models import User

log = logging.getLogger(__name__)

# Tables without row security, and why. `tests/core/test_tenancy.py` holds this list against the database: a new table
# is either protected or named here.
EXEMPT = {
    "core_user": "looked up before anyone is signed in",
    "core_user_groups": "Django's own, admin only",
    "core_user_user_permissions": "Django's own, admin only",
    "core_signinlink": "looked up before anyone is signed in; holds hashes only",
    "account_emailaddress": "looked up before anyone is signed in; chronos/core/accounts.py alone asks",
    "account_emailconfirmation": "allauth's own, stays empty: the mailed links are signed instead",
    "usersessions_usersession": "written as somebody signs in; chronos/core/sessions.py alone asks, by person",
    "auth_group": "Django's own, admin only",
    "auth_group_permissions": "Django's own, admin only",
    "auth_permission": "Django's own",
    "django_admin_log": "staff only, by the admin's own permission",
    "django_content_type": "Django's own",
    "django_migrations": "Django's own",
    "django_session": "looked up before anyone is signed in",
    "django_celery_beat_clockedschedule": "schedules are the house's",
    "django_celery_beat_crontabschedule": "schedules are the house's",
    "django_celery_beat_intervalschedule": "schedules are the house's",
    "django_celery_beat_periodictask": "schedules are the house's",
    "django_celery_beat_periodictasks": "schedules are the house's",
    "django_celery_beat_solarschedule": "schedules are the house's",
    "marketdata_asset": "shared facts",
    "marketdata_listing": "shared facts",
    "marketdata_spelling": "shared facts",
    "marketdata_series": "shared facts",
    "marketdata_candle": "shared facts",
    "marketdata_candlerevision": "shared facts",
    "marketdata_quarantinedcandle": "shared facts",
    "marketdata_providerstate": "shared facts",
    "marketdata_fetchwindow": "shared facts",
    "marketdata_corporateaction": "shared facts",
    "marketdata_tradingcalendar": "shared facts",
    "marketdata_tradingsession": "shared facts",
    "marketdata_fallbackchain": "the house's settings",
    "marketdata_providerkey": "the house's; encrypted, staff only",
    "marketdata_providerquota": "shared facts",
}


PROTECTED = (
    "core_apitoken", "core_idempotencykey", "core_job", "core_jobline", "mfa_authenticator",
    "universes_universe", "universes_share", "universes_membership", "universes_symbollist", "universes_symbollistrow",
    "signals_strategy", "signals_backtest", "signals_curve", "signals_trade",
)  # fmt: skip
_names_protected = re.compile(rf'"?\b(?:{"|".join(PROTECTED)})\b"?').search


class NoScope(Exception):
    """A query on somebody's work, and nobody said whose: enter `acting_as(user)` or `as_system("why")`."""


@contextmanager
def acting_as(user: User) -> Iterator[None]:
    """Work as this person, in one transaction: their rows and what is public, nothing else."""
    if user.pk is None:
        raise ValueError("acting_as needs a stored, signed-in user")
    with _scope(tenant=str(user.pk), system=""):
        yield


@contextmanager
def as_system(why: str) -> Iterator[None]:
    """Work for the house across all tenants, in one transaction. `why` must say what for; it is in the log."""
    if not why.strip():
        raise ValueError("as_system needs a reason")
    log.debug("system work", extra={"why": why})
    with _scope(tenant="", system=why[:200]):
        yield


@contextmanager
def _scope(*, tenant: str, system: str) -> Iterator[None]:
    """1. open a transaction or savepoint; 2. set the scope in it; 3. on a normal inner exit put back the outer scope.

    After an exception the rollback to the savepoint restores the outer values by itself; the end of the
    outermost transaction drops them.
    """
    before: tuple[str, ...] | None
    inner = connection.in_atomic_block
    with transaction.atomic(), _in_scope():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(current_setting('chronos.tenant', true), ''),"
                " coalesce(current_setting('chronos.system', true), ''),"
                " set_config('chronos.tenant', %s, true), set_config('chronos.system', %s, true)",
                [tenant, system],
            )
            before = cursor.fetchone()
        yield
        if inner and before and not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('chronos.tenant', %s, true), set_config('chronos.system', %s, true)",
                    list(before[:2]),
                )


@contextmanager
def _in_scope() -> Iterator[None]:
    outer = getattr(connection, "chronos_scoped", False)
    connection.chronos_scoped = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        connection.chronos_scoped = outer  # type: ignore[attr-defined]


@receiver(connection_created)
def _guard(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Watch the statements of the program's own connection; migrations, as the owner, act on everything."""
    if connection.alias == "default" and _refuse_without_scope not in connection.execute_wrappers:
        connection.execute_wrappers.append(_refuse_without_scope)


def _refuse_without_scope(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    if not getattr(context["connection"], "chronos_scoped", False) and (found := _names_protected(str(sql))):
        raise NoScope(f"{found[0]}: {NoScope.__doc__}")
    return execute(sql, params, many, context)


class TenantMiddleware:
    """A signed-in request acts as its person, in one transaction that a failed request does not commit.

    Django turns exceptions into responses further in, so the transaction is told to roll back by the response's
    status: ≥ 500, or ≥ 400 on a request that writes. A streamed body is produced after this has returned and must
    enter a context of its own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith("/health/"):  # must answer when the database does not
            return self.get_response(request)
        user = request.user
        if not isinstance(user, User):
            return self.get_response(request)
        with acting_as(user):
            response = self.get_response(request)
            writes = request.method not in ("GET", "HEAD", "OPTIONS")
            if response.status_code >= 500 or (writes and response.status_code >= 400):
                transaction.set_rollback(True)
            return response


def rendered(response: HttpResponseBase) -> HttpResponseBase:
    """The response with its lazy template rendered now, inside the caller's scope."""
    render = getattr(response, "render", None)
    if isinstance(response, HttpResponse) and callable(render):
        return render()  # type: ignore[no-any-return]
    return response
