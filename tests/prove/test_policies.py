"""Each policy dropped, let through or switched off in turn: the attack battery must turn red, or it proves nothing."""

import pytest

from chronos.core import tenancy
from tests.contracts.attack import Battlefield, raw_breaches
from tests.house import owner

pytestmark = [pytest.mark.prove, pytest.mark.usefixtures("house")]


def policies() -> list[tuple[str, str]]:
    """Known before the database is up, and held against it below."""
    return [
        *((table, f"{table}_{rule}") for table in tenancy.PROTECTED for rule in ("scope", "owner")),
        ("core_job", "core_job_house"),
        ("core_jobline", "core_jobline_house"),
        ("universes_universe", "universes_universe_public"),
        ("universes_universe", "universes_universe_reader"),
        ("universes_share", "universes_share_reader"),
        ("universes_share", "universes_share_leave"),
        ("universes_membership", "universes_membership_reader"),
    ]


def test_all_policies_are_mutated_below():
    with owner() as database:
        found = database.execute("SELECT tablename, policyname FROM pg_policies").fetchall()
    assert sorted(found) == sorted(policies())


@pytest.mark.parametrize("mutation", ["dropped", "let through"])
@pytest.mark.parametrize(("table", "policy"), policies())
def test_the_battery_turns_red_when_a_policy_is(mutation, table, policy):
    field = Battlefield()
    with owner() as database:
        kind, using, check, command = database.execute(
            "SELECT permissive, qual, with_check, cmd FROM pg_policies WHERE policyname = %s", [policy]
        ).fetchone()
        create = f"CREATE POLICY {policy} ON {table} AS {kind} FOR {command} USING"
        try:
            database.execute(f"DROP POLICY {policy} ON {table}")
            if mutation == "let through":
                database.execute(f"{create} (true)" + (" WITH CHECK (true)" if check else ""))
            assert list(raw_breaches(field))
        finally:
            database.execute(f"DROP POLICY IF EXISTS {policy} ON {table}")
            database.execute(f"{create} ({using})" + (f" WITH CHECK ({check})" if check else ""))
    assert list(raw_breaches(field)) == []


@pytest.mark.parametrize("table", tenancy.PROTECTED)
def test_the_battery_turns_red_when_row_security_is_switched_off(table):
    field = Battlefield()
    with owner() as database:
        try:
            database.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
            assert list(raw_breaches(field))
        finally:
            database.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
