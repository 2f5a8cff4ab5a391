"""A few processes as one: started together, restarted when they die, stopped together and in order."""

import contextlib
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from chronos.core.logs import redact

GRACE_SECONDS = 8.0
SETTLED_SECONDS = 30.0  # one that lived so long starts with a clean slate
DEATHS = 5


@dataclass
class Child:
    """One process: what to run, and where its words go."""

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    deaths: int = 0
    not_before: float = 0.0

    def start(self, folder: Path) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=folder,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops the others in order
            preexec_fn=_die_with_parent,
        )
        threading.Thread(target=self._keep_log, args=(self.process,), daemon=True).start()

    def _keep_log(self, process: "subprocess.Popen[bytes]") -> None:
        """What it says goes to its file, which is turned over at 10 MB and kept five times."""
        handler = RotatingFileHandler(self.log, maxBytes=10_000_000, backupCount=5, encoding="utf-8")
        assert process.stdout
        with contextlib.closing(handler), process.stdout:
            for line in process.stdout:
                text = self._as_json(line.decode(errors="replace").rstrip("\n"))
                handler.emit(logging.LogRecord(self.name, logging.INFO, "", 0, text, None, None))

    def _as_json(self, line: str) -> str:
        """What a process says past its logging (a banner, a traceback at start) becomes JSON like the rest."""
        if line.startswith("{") or not line:
            return line
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return json.dumps({"time": now, "level": "INFO", "logger": self.name, "message": redact(line)})

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """The end of its log, cut to what a terminal can show."""
        lines = self.log.read_text(errors="replace").splitlines()[-8:] if self.log.exists() else []
        return "\n".join([f"The end of {self.log}:", *(_message(line)[-500:] for line in lines)])

    def signal(self, number: int) -> None:
        if self.process and self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def clear_away(self) -> None:
        """Kill what is left of its group: a leader that was killed leaves workers, which would keep the port."""
        if self.process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def _message(line: str) -> str:
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError):
        return line


def _die_with_parent() -> None:
    """On Linux: get SIGTERM when the supervisor dies, however it dies, so that no orphan keeps the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class GivenUp(Exception):
    """A child died too often; the text ends with the last lines of its log."""


class Supervisor:
    """Runs children until told to stop."""

    def __init__(self, children: Sequence[Child], folder: Path, say: Callable[[str], None]) -> None:
        self.children, self.folder, self.say = children, folder, say
        self._stopping = threading.Event()

    def start(self) -> None:
        for child in self.children:
            child.log.parent.mkdir(parents=True, exist_ok=True)
            child.start(self.folder)

    def ask_to_stop(self, *_: object) -> None:
        """Also a signal handler. Asked twice, it does not wait for anybody."""
        if self._stopping.is_set():
            for child in self.children:
                child.clear_away()
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def run(self, meanwhile: Callable[[], None], every: float = 5.0) -> None:
        """Watch until asked to stop; `meanwhile` is called every few seconds. Raises `GivenUp`."""
        due = time.monotonic() + every
        while not self._stopping.wait(0.25):
            for child in self.children:
                self._revive(child)
            if time.monotonic() >= due:
                meanwhile()
                due = time.monotonic() + every

    def _revive(self, child: Child) -> None:
        now = time.monotonic()
        if child.alive or now < child.not_before:
            return
        if not child.not_before:
            child.clear_away()
            child.deaths = 1 if now - child.started > SETTLED_SECONDS else child.deaths + 1
            status = child.process.returncode if child.process else "?"
            if child.deaths >= DEATHS:
                raise GivenUp(f"{child.name} ended {DEATHS} times, last with status {status}. {child.last_words()}")
            wait = min(30.0, 2.0 ** (child.deaths - 1))
            self.say(f"{child.name} ended (status {status}); starting it again in {wait:.0f} s. Its log: {child.log}")
            child.not_before = now + wait
            return
        child.not_before = 0.0
        child.start(self.folder)

    def stop(self) -> None:
        """Ask all, wait a little, insist. A job that is cut off here is resumed by the next start."""
        for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 3.0)):
            for child in self.children:
                child.signal(number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and any(child.alive for child in self.children):
                time.sleep(0.05)
        for child in self.children:
            child.clear_away()
