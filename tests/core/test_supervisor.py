"""Several processes as one, with real processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chronos.supervisor import Child, GivenUp, Supervisor

ROOT = Path(__file__).parents[2]
SLEEPER = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGQUIT, signal.SIG_IGN);"
    " print('awake', flush=True); time.sleep(60)",
]  # fmt: skip


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def supervised(tmp_path, *commands):
    said: list[str] = []
    children = [Child(f"child{n}", command, tmp_path / f"child{n}.log") for n, command in enumerate(commands)]
    return Supervisor(children, tmp_path, said.append), said


def run_in_background(supervisor):
    supervisor.start()
    thread = threading.Thread(target=supervisor.run, args=(lambda: None,))
    thread.start()
    return thread


def test_it_keeps_each_ones_words_and_stops_all(tmp_path):
    supervisor, _ = supervised(tmp_path, SLEEPER, SLEEPER)
    thread = run_in_background(supervisor)
    until(lambda: (tmp_path / "child1.log").exists() and "awake" in (tmp_path / "child1.log").read_text())
    supervisor.ask_to_stop()
    thread.join(5)
    supervisor.stop()
    assert not any(child.alive for child in supervisor.children)


def test_one_that_was_killed_is_started_again(tmp_path):
    supervisor, said = supervised(tmp_path, SLEEPER)
    thread = run_in_background(supervisor)
    first = supervisor.children[0].process
    assert first
    first.kill()
    until(lambda: supervisor.children[0].process is not first and supervisor.children[0].alive)
    assert "child0 ended (status -9)" in said[0]
    supervisor.ask_to_stop()
    thread.join(5)
    supervisor.stop()


def test_one_that_never_comes_up_is_given_up_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr("chronos.supervisor.DEATHS", 2)
    supervisor, _ = supervised(tmp_path, [sys.executable, "-c", "raise SystemExit('no such port')"])
    supervisor.start()
    with pytest.raises(GivenUp, match="no such port"):
        supervisor.run(lambda: None)


def test_asking_twice_does_not_wait_for_the_stubborn(tmp_path):
    supervisor, _ = supervised(tmp_path, STUBBORN)
    thread = run_in_background(supervisor)
    until(lambda: (tmp_path / "child0.log").exists() and "awake" in (tmp_path / "child0.log").read_text())
    supervisor.ask_to_stop()
    supervisor.ask_to_stop()
    thread.join(5)
    until(lambda: not supervisor.children[0].alive)


def test_no_orphan_is_left_when_the_supervisor_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from chronos.supervisor import *;"
        " sleep = [sys.executable, '-c', 'import time; time.sleep(60)']; folder = Path(sys.argv[1]);"
        " s = Supervisor([Child('c', sleep, folder / 'c.log')], folder, print); s.start();"
        " print(s.children[0].process.pid, flush=True); s.run(lambda: None)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout
    orphan = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    if sys.platform == "linux":
        until(lambda: is_gone(orphan))
    else:  # only Linux tells children of their parent's death; elsewhere it stays, and is ended here
        os.kill(orphan, signal.SIGKILL)  # raises if it is not there


def test_workers_of_a_killed_leader_go_with_it(tmp_path):
    """granian's main process dies, its worker would keep the port beside the new one."""
    code = (
        "import subprocess, sys, time;"
        " worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        " print(worker.pid, flush=True); time.sleep(60)"
    )
    supervisor, said = supervised(tmp_path, [sys.executable, "-c", code])
    thread = run_in_background(supervisor)
    log = tmp_path / "child0.log"
    until(lambda: log.exists() and '"message": "' in log.read_text())
    worker = int(json.loads(log.read_text().splitlines()[0])["message"])
    leader = supervisor.children[0].process
    leader.kill()
    until(lambda: said != [])
    until(lambda: is_gone(worker))
    supervisor.ask_to_stop()
    thread.join(5)
    supervisor.stop()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
