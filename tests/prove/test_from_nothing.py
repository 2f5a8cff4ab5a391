"""From a clean clone to a dashboard, as a newcomer meets it: `make run`, the printed link, Ctrl-C, and again.

Clones what is committed, so it proves the last commit. As root, and as a plain user; with a space in the path; in a
directory that others may not enter; two side by side; after a kill.
"""

import http.cookiejar
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"http://localhost:\d+/sign-in/\S+")
pytestmark = pytest.mark.prove


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Newcomer:
    """A clone of the last commit, and the right to type `make run` in it."""

    def __init__(self, folder: Path, user: str | None = None, python: str = sys.executable) -> None:
        self.folder, self.user, self.python = folder, user, os.path.realpath(python)
        self.identity = {}
        home = Path.home()
        if user:
            account = pwd.getpwnam(user)
            self.identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            home = folder.parent
        ours = ("CHRONOS_", "PYTHON", "LOG_", "VIRTUAL", "PYTEST")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = kept | {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        if user:
            subprocess.run(["chown", "-R", user, str(folder.parent)], check=True)

    @contextmanager
    def running(self, **said: object) -> Iterator["Running"]:
        words = [f"{name}={value}" for name, value in ({"PYTHON": self.python, "PORT": free_port()} | said).items()]
        started = time.monotonic()
        process = subprocess.Popen(
            ["make", "run", *words], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True, **self.identity,
        )  # fmt: skip
        running = Running(process)
        try:
            running.link = running.read_until(LINK)[0]
            running.seconds = time.monotonic() - started
            yield running
        finally:
            if process.poll() is None:
                running.interrupt()


class Running:
    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.link, self.seconds, self.said = process, "", 0.0, ""
        self.browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )

    def read_until(self, pattern: re.Pattern) -> re.Match:
        for line in self.process.stdout:
            self.said += line
            if found := pattern.search(line):
                return found
        raise AssertionError(f"it ended before it said {pattern.pattern}:\n{self.said}")

    def page(self, path: str = "") -> str:
        address = path if path.startswith("http") else self.link.split("/sign-in/")[0] + path
        with self.browser.open(address, timeout=30) as answer:
            assert answer.status == 200
            return answer.read().decode()

    def interrupt(self) -> None:
        """Ctrl-C: to the whole foreground group, as a terminal sends it."""
        os.killpg(self.process.pid, signal.SIGINT)
        rest, _ = self.process.communicate(timeout=60)
        self.said += rest


def assert_nothing_is_left(folder: Path) -> None:
    left = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and str(folder).encode() in _command(entry)
    ]
    assert left == []


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes() + os.fsencode((entry / "cwd").readlink())
    except OSError:
        return b""


@pytest.fixture
def place(tmp_path_factory) -> Iterator[Path]:
    """Short enough to read, with a space, closed to others, and gone afterwards."""
    folder = Path(f"/tmp/a newcomer {os.getpid()}")
    folder.mkdir(mode=0o700)
    elsewhere = Path("/var/lib/chronos")  # where root's PostgreSQL lies, because it can't enter
    before = set(elsewhere.glob("*"))
    yield folder
    shutil.rmtree(folder)
    for made in set(elsewhere.glob("*")) - before:
        shutil.rmtree(made)


def test_from_a_clone_to_a_dashboard_and_back_again(place):
    newcomer = Newcomer(place / "chronos")
    with newcomer.running() as first:
        home = first.page(first.link)
        assert "AAPL.SAMPLE" in home or "Sample" in home
        print(f"from clone to dashboard: {first.seconds:.1f} s")
        assert first.page("/health/live") == '{"status": "ok"}'
        wait_for_ready(first)
        again = Running(first.process)
        with pytest.raises(urllib.error.HTTPError, match="410"):
            again.page(first.link)  # once is once
        kill_postgres(newcomer.folder)
        wait_for_ready(first)
        assert "Sample" in first.page("/universes/")
    assert "Stopping" in first.said
    assert_nothing_is_left(place)

    with newcomer.running() as second:
        second.page(second.link)
        assert "Sample" in second.page("/universes/")
        print(f"second start: {second.seconds:.1f} s")
        os.killpg(second.process.pid, signal.SIGKILL)  # make and manage.py; the rest must follow or be taken over
        second.process.wait()

    with newcomer.running() as third:
        third.page(third.link)
        wait_for_ready(third)
    assert_nothing_is_left(place)


def kill_postgres(checkout: Path) -> None:
    """kill -9 of the database under the running Chronos, which starts it again."""
    (log,) = checkout.glob("var/log/postgres.log")
    pid = int(re.findall(r"\[(\d+)\]\s+LOG:\s+starting PostgreSQL", log.read_text())[-1])
    os.kill(pid, signal.SIGKILL)
    time.sleep(1)


def wait_for_ready(running: Running) -> None:
    deadline = time.monotonic() + 40
    while True:
        try:
            assert '"status": "ok"' in running.page("/health/ready")
        except urllib.error.HTTPError as error:
            assert time.monotonic() < deadline, error.read()
            time.sleep(0.5)
        else:
            return


def test_two_side_by_side(place):
    newcomer = Newcomer(place / "chronos")
    with newcomer.running() as one, newcomer.running(CHRONOS_VAR="second var") as two:
        assert "Sample" in one.page(one.link)
        assert "Sample" in two.page(two.link)
        again = subprocess.run(
            ["make", "run", f"PORT={free_port()}", f"PYTHON={newcomer.python}"],
            cwd=newcomer.folder, env=newcomer.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert again.returncode != 0
        assert "already runs" in again.stderr
    assert_nothing_is_left(place)


def test_as_a_plain_user(place):
    """Root becomes nobody for it; whoever is a plain user already stays who they are."""
    by_root = os.geteuid() == 0
    somebody = {"user": "nobody", "python": "/usr/bin/python3"} if by_root else {}
    newcomer = Newcomer(place / "chronos", **somebody)
    with newcomer.running() as running:
        assert "Sample" in running.page(running.link)
        wait_for_ready(running)
        owners = {path.owner() for path in (newcomer.folder / "var").rglob("*")}
        assert owners == {"nobody" if by_root else pwd.getpwuid(os.geteuid()).pw_name}
    assert_nothing_is_left(place)
