"""The embedded servers: started once, shared, stopped by the last, recovered after a crash, wherever they lie."""

import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psycopg
import pytest
import redis

from chronos.core import embedded
from chronos.core.keys import Keys, load_or_create

ROOT = Path(__file__).parents[2]
KEYS = Keys(*(secrets.token_hex(20) for _ in range(4)))


@pytest.fixture
def var() -> Iterator[Path]:
    """A state directory with a space in its path, that others may enter."""
    with tempfile.TemporaryDirectory(prefix="chronos-embedded-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "a b").mkdir()
        yield Path(folder) / "a b" / "var"


def services(var: Path, **options) -> embedded.Services:
    keys = load_or_create(var / "keys.json")
    return embedded.Services(embedded.plan(var, keys), keys, durable=False, **options)


def connect(running: embedded.Services) -> psycopg.Connection:
    return psycopg.connect(
        host=str(running.places.sockets), user="postgres", password=running.keys.postgres_password, dbname="postgres",
        autocommit=True,
    )  # fmt: skip


def pid_of(running: embedded.Services) -> int:
    return int((running.places.postgres / "postmaster.pid").read_text().splitlines()[0])


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"


def test_planning_starts_nothing(var):
    places = embedded.plan(var, KEYS)
    assert not var.exists()
    assert not places.sockets.exists()
    assert len(str(places.sockets)) < 90


def test_keys_that_do_not_fit_the_database_are_said_to_not_fit(var):
    with services(var):
        pass
    (var / "keys.json").write_text(json.dumps(asdict(KEYS)))
    with pytest.raises(embedded.EmbeddedError, match="does not fit the database"):
        embedded.Services(embedded.plan(var, KEYS), KEYS, durable=False).open()
    pid = int((var / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:  # it still writes where the folder is to be removed
        time.sleep(0.05)


def test_data_survive_a_stop_and_a_crash_in_a_path_with_a_space(var):
    with services(var) as first:
        assert first.started_postgres
        with connect(first) as database:
            database.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        pid = pid_of(first)
    assert is_gone(pid)

    with services(var) as second:
        os.kill(pid_of(second), signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not is_gone(pid_of(second)) and time.monotonic() < deadline:
            time.sleep(0.05)
        second.revive()
        with connect(second) as database:
            assert database.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_the_first_to_leave_stops_nothing_and_the_last_stops_all(var):
    first, second = services(var), services(var)
    first.open()
    second.open()
    assert not second.started_postgres
    pid = pid_of(first)
    first.close()
    connect(second).close()
    second.close()
    assert is_gone(pid)


@pytest.mark.prove
def test_a_killed_user_does_not_keep_them_running(var):
    """The lock goes with its process, so the next one to leave is the last."""
    code = (
        "import sys, time; from pathlib import Path; from tests.core.test_embedded import services;"
        " services(Path(sys.argv[1])).open(); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(var)], cwd=ROOT, stdout=subprocess.PIPE)
    assert other.stdout
    assert other.stdout.readline() == b"open\n"
    other.kill()
    other.wait()
    with services(var) as ours:
        assert not ours.started_postgres  # still running, orphaned
        pid = pid_of(ours)
    assert is_gone(pid)


def test_a_stale_pid_file_that_names_somebody_else_is_no_obstacle(var):
    with services(var) as running:
        text = (running.places.postgres / "postmaster.pid").read_text()
    stale = running.places.postgres / "postmaster.pid"
    stale.write_text(text.replace(text.splitlines()[0], str(os.getpid()), 1))
    os.chown(stale, embedded._server_uid(running.places), -1)
    with services(var) as again:
        connect(again).close()


def test_only_sockets_that_only_their_user_can_enter_and_no_way_without_a_password(var):
    with services(var) as running:
        found = running.places.sockets.stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == embedded._server_uid(running.places)
        with connect(running) as database:
            assert database.execute("SHOW listen_addresses").fetchone() == ("",)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=str(running.places.sockets), user="postgres", dbname="postgres", password="guess")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(unix_socket_path=str(running.places.valkey_socket)).ping()
    assert stat.S_IMODE((var / "keys.json").stat().st_mode) == 0o600


def test_a_socket_directory_of_somebody_else_is_refused(var):
    places = embedded.plan(var, load_or_create(var / "keys.json"))
    places.sockets.mkdir(parents=True)
    places.sockets.chmod(0o777)
    try:
        with pytest.raises(embedded.EmbeddedError, match="only user"):
            services(var).open()
    finally:
        places.sockets.rmdir()


def test_what_ends_while_starting_is_told_with_its_last_words(var):
    with services(var) as running:
        pass
    (running.places.postgres / "global" / "pg_control").unlink()
    with pytest.raises(embedded.EmbeddedError, match="pg_control"):
        services(var).open()


def test_a_path_that_nobody_else_can_enter(var):
    """Root's PostgreSQL runs as another user, so that its data lie elsewhere; a plain user's stay where they are."""
    var.mkdir()
    var.parent.chmod(0o700)
    places = embedded.plan(var, load_or_create(var / "keys.json"))
    by_root = os.geteuid() == 0
    assert str(places.postgres).startswith(str(var)) != by_root
    with services(var) as running:
        connect(running).close()
        server = pwd.getpwnam(places.server_user or "").pw_uid if by_root else os.geteuid()
        assert running.places.postgres.stat().st_uid == server
    if by_root:
        shutil.rmtree(places.postgres.parent)
    assert stat.S_IMODE(var.parent.stat().st_mode) == 0o700  # nobody's directories were opened up


def test_keys_are_made_once_whoever_comes(tmp_path):
    path = tmp_path / "keys.json"
    assert load_or_create(path) == load_or_create(path)
    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]
