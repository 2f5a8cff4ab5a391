"""DATABASE_URL and REDIS_URL: the same program on servers of your own, which here are a second embedded pair."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from chronos.core import embedded
from chronos.core.keys import load_or_create

pytestmark = pytest.mark.prove
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def theirs():
    with tempfile.TemporaryDirectory(prefix="chronos-theirs-") as folder:
        Path(folder).chmod(0o755)
        yield from _running(Path(folder))


def _running(folder: Path):
    keys = load_or_create(folder / "keys.json")
    with embedded.Services(embedded.plan(folder, keys), keys, durable=False) as running:
        with connect(running) as database:
            database.execute("CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'p@ss word'")
            database.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
            database.execute("CREATE DATABASE research OWNER maker")
            database.execute("CREATE DATABASE closed OWNER plain")
            database.execute("CREATE DATABASE supers")
        yield running


def connect(running: embedded.Services) -> psycopg.Connection:
    return psycopg.connect(
        host=str(running.places.sockets), user="postgres", password=running.keys.postgres_password, dbname="postgres",
        autocommit=True,
    )  # fmt: skip


def manage(theirs: embedded.Services, tmp_path: Path, user: str, password: str, name: str, *words: str):
    host = quote(str(theirs.places.sockets), safe="")
    environment = os.environ | {
        "CHRONOS_VAR": str(tmp_path),
        "DATABASE_URL": f"postgres://{user}:{quote(password)}@/{name}?host={host}",
        "REDIS_URL": theirs.places.valkey_url(theirs.keys, 4),
    }
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("user", "name"), [("maker", "research"), ("postgres", "supers")])
def test_it_is_made_ready_and_nothing_of_ours_is_started(theirs, tmp_path, user, name):
    password = "p@ss word" if user == "maker" else theirs.keys.postgres_password
    for _ in range(2):
        done = manage(theirs, tmp_path, user, password, name, "up", "--prepare")
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "postgres").exists()
    assert not (tmp_path / "valkey").exists()
    health = manage(theirs, tmp_path, user, password, name, "health")
    assert "ok   database" in health.stdout
    assert "ok   valkey" in health.stdout
    with connect(theirs) as database:
        assert database.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = %s", [f"{name}_app"]
        ).fetchone() == (False, False, False)


def test_a_role_that_may_not_make_roles_is_told_the_way(theirs, tmp_path):
    done = manage(theirs, tmp_path, "plain", "plain", "closed", "up", "--prepare")
    assert done.returncode == 1
    assert 'CREATE ROLE "closed_app" LOGIN' in done.stderr
    assert "DATABASE_APP_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_is_one_clear_line(theirs, tmp_path):
    done = manage(theirs, tmp_path, "maker", "wrong", "research", "up", "--prepare")
    assert done.returncode == 1
    assert "No connection to the database" in done.stderr
    assert "Traceback" not in done.stderr
    assert "wrong" not in done.stderr
