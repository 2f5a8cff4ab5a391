"""Health: what a probe, an operator and a person are told."""

import json
import time

import pytest
from django.core.cache import cache
from django.core.management import call_command

from chronos.core.heartbeats import alive
from chronos.core.models import SignInLink
from tests import cast
from tests.house import owner

pytestmark = pytest.mark.usefixtures("house")


def test_live_asks_nobody(client):
    answer = client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_when_everything_gives_a_sign_of_life(client):
    alive("worker")
    alive("beat")
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert [check["name"] for check in answer.json()["checks"]] == [
        "database",
        "migrations",
        "valkey",
        "worker",
        "beat",
    ]


def test_a_silent_worker_is_named(client):
    alive("beat")
    cache.set("alive:worker", time.time() - 60, 300)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert {check["name"] for check in answer.json()["checks"] if not check["ok"]} == {"worker"}


def test_details_are_for_the_signed_in(client):
    assert all("detail" not in check for check in client.get("/health/ready").json()["checks"])
    client.force_login(cast.alice())
    assert all("detail" in check for check in client.get("/health/ready").json()["checks"])


def test_a_missing_migration_is_noticed(client):
    with owner() as database:
        newest = "(SELECT max(name) FROM django_migrations WHERE app = 'universes')"
        gone = database.execute(
            f"DELETE FROM django_migrations WHERE app = 'universes' AND name = {newest} RETURNING name"
        ).fetchone()
        try:
            checks = {check["name"]: check["ok"] for check in client.get("/health/ready").json()["checks"]}
        finally:
            database.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('universes', %s, now())", gone)
    assert checks["migrations"] is False


def test_the_command_says_what_is_wrong_and_ends_with_1(capsys):
    alive("beat")
    with pytest.raises(SystemExit) as stop:
        call_command("health", json=True)
    assert stop.value.code == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    worker = next(check for check in told["checks"] if check["name"] == "worker")
    assert "manage.py up" in worker["detail"]
    alive("worker")
    call_command("health")
    assert capsys.readouterr().out.count("ok  ") == 5


def test_a_login_link_lets_in_once(capsys):
    alice = cast.alice()
    call_command("create_login_link", "alice")
    address = capsys.readouterr().out.strip()
    secret = address.rstrip("/").rpartition("/")[2]
    assert not SignInLink.objects.filter(digest=secret).exists()  # only its hash is stored
    assert SignInLink.redeem(secret) == alice
    assert SignInLink.redeem(secret) is None


def test_a_link_for_nobody_says_who_there_is():
    cast.alice()
    from django.core.management.base import CommandError

    with pytest.raises(CommandError, match=r"'mallory'\. There is: alice"):
        call_command("create_login_link", "mallory")
    with pytest.raises(CommandError, match="--hours"):
        call_command("create_login_link", "alice", hours=1000)


def test_a_wrong_host_is_refused_in_words(client):
    for host in ("evil.example", "", "a" * 300):
        assert client.get("/", headers={"Host": host}).status_code == 400


def test_live_needs_no_database_even_with_a_session(client, django_assert_num_queries):
    client.force_login(cast.alice())
    with django_assert_num_queries(0):
        assert client.get("/health/live").status_code == 200
