"""The database decides who sees what; these tests ask it as the program does, on committed data."""

import threading

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import ProgrammingError

from chronos.core import tenancy
from tests import cast
from tests.contracts.attack import Battlefield, raw_breaches
from tests.house import owner
from universes.models import Universe

pytestmark = pytest.mark.usefixtures("house")


def names() -> list[str]:
    return sorted(Universe.objects.values_list("name", flat=True))


def test_each_sees_their_own():
    alice, bob = cast.alice(), cast.bob()
    with tenancy.acting_as(alice):
        Universe.objects.create(owner=alice, name="Alice's")
    with tenancy.acting_as(bob):
        assert names() == []
    with tenancy.acting_as(alice):
        assert names() == ["Alice's"]


def test_nobody_is_not_a_tenant():
    with pytest.raises(tenancy.NoScope, match="acting_as"):
        Universe.objects.count()


def test_scopes_nest_and_the_outer_one_comes_back():
    alice, bob = cast.alice(), cast.bob()
    with tenancy.acting_as(alice):
        Universe.objects.create(owner=alice, name="a")
        with tenancy.acting_as(bob):
            Universe.objects.create(owner=bob, name="b")
            with tenancy.as_system("count them all"):
                assert names() == ["a", "b"]
            assert names() == ["b"]
        assert names() == ["a"]


def test_an_inner_exception_brings_the_outer_scope_back_too():
    alice, bob = cast.alice(), cast.bob()
    with tenancy.acting_as(alice):
        Universe.objects.create(owner=alice, name="a")
        with pytest.raises(ProgrammingError, match="row-level security"), tenancy.acting_as(bob):
            Universe.objects.create(owner=alice, name="forged")
        assert names() == ["a"]


def test_the_tenant_is_cleared_on_leaving_even_after_an_exception_on_the_same_connection():
    alice = cast.alice()
    for error in (RuntimeError, IntegrityError):
        with pytest.raises(error), tenancy.acting_as(alice):
            raise error
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('chronos.tenant', true), current_setting('chronos.system', true)")
            assert not any(cursor.fetchone())
        with pytest.raises(tenancy.NoScope):
            names()


def test_a_transaction_that_somebody_else_opened_is_left_without_a_tenant():
    alice = cast.alice()
    with transaction.atomic():
        with tenancy.acting_as(alice):
            Universe.objects.create(owner=alice, name="a")
        with pytest.raises(tenancy.NoScope):
            names()
        # Past the guard, as a function of the database might be: the policies refuse by themselves.
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody said whom"):
            connection.connection.execute("SELECT 1 FROM universes_universe")
        transaction.set_rollback(True)


def test_another_thread_does_not_inherit_the_scope():
    caught: list[BaseException] = []

    def look() -> None:
        try:
            names()
        except tenancy.NoScope as error:
            caught.append(error)
        finally:
            connection.close()

    with tenancy.acting_as(cast.alice()):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert caught


def test_reasons_and_people_are_not_optional():
    with pytest.raises(ValueError, match="reason"), tenancy.as_system(" "):
        pass
    with pytest.raises(ValueError, match="stored"), tenancy.acting_as(cast.User()):
        pass


def test_every_table_is_protected_and_forced_or_exempt_for_a_reason():
    with owner() as database:
        tables = database.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
            " WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        policies = {row[0] for row in database.execute("SELECT tablename FROM pg_policies").fetchall()}
    protected = {table for table, is_protected in tables if is_protected}
    assert protected == set(tenancy.PROTECTED) == policies
    assert {table for table, _ in tables} - protected == set(tenancy.EXEMPT)


def test_the_program_is_neither_owner_nor_superuser():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )
        assert cursor.fetchone() == (False, False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner"):
            connection.connection.execute("ALTER TABLE core_job DISABLE ROW LEVEL SECURITY")
        with pytest.raises(ProgrammingError, match="permission denied"):
            cursor.execute("DELETE FROM django_migrations")


def test_the_battery_finds_no_breach():
    assert list(raw_breaches(Battlefield())) == []
