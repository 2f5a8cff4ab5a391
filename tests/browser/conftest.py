"""A served Chronos and a real Chromium that writes down everything it complains about."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from chronos.core.models import SignInLink, User
from tests.browser.find import browser as find_browser

ROOT = Path(__file__).parents[2]
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}

# Complaints are kept on the page, too, because a policy's violation names there what the console leaves out.
WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


def start(name: str, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
    """A process of Chronos beside the test's own services; its words are in the state directory."""
    with (settings.CHRONOS_VAR / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log
        )


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def address(services: None) -> Iterator[str]:
    """Where this test process's Chronos is served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    web = start("web", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", port, "--no-ws",
                "chronos.asgi:application", CHRONOS_PROCESS="web", PORT=port)  # fmt: skip
    try:
        origin = f"http://localhost:{port}"
        deadline = time.monotonic() + 30
        while not _answers(f"{origin}/health/live"):
            waiting = web.poll() is None and time.monotonic() < deadline
            assert waiting, (settings.CHRONOS_VAR / "web.log").read_text()
            time.sleep(0.1)
        yield origin
    finally:
        stop(web)


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def worker(**environment: str) -> Iterator[None]:
    """A real worker for the jobs that pages start."""
    process = start("worker", "celery", "-A", "chronos", "worker", "--concurrency", "1", "--without-gossip",
                    "--without-mingle", **environment)  # fmt: skip
    try:
        yield
    finally:
        stop(process)


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """Ends with its module: Playwright's loop runs in this thread, where no other test could run a stream of its own,
    and where Django would refuse the tests' plain queries if it were not told otherwise."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # what is there comes at once, but for a machine that others use, too

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    path = find_browser()
    assert path, "no browser; tests/run.sh leaves these tests out then"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield running
        running.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@dataclass
class Visitor:
    """A window, signed in or not, and the complaints heard in it."""

    page: object
    origin: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> object:
        """Go there; returns the answer."""
        return self.page.goto(self.origin + path)

    def quiet(self) -> list[str]:
        """What was complained about until now, on the console, by the policy, by scripts."""
        return [*self.complaints, *self.page.evaluate("window.__violations")]


@pytest.fixture
def visit(chromium, address, house) -> Iterator[Callable[..., Visitor]]:
    contexts = []

    def window(user: User | None, viewport: dict[str, int] = DESK, scheme: str = "light", **more: object) -> Visitor:
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce", **more)
        contexts.append(context)
        context.set_default_timeout(15_000)
        if more.get("java_script_enabled", True):
            context.add_init_script(WATCH)
        visitor = Visitor(context.new_page(), address)
        visitor.page.on(
            "console", lambda message: message.type in ("error", "warning") and visitor.complaints.append(message.text)
        )
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        if user is not None:
            visitor.open(urlsplit(SignInLink.issue(user)).path)
        return visitor

    yield window
    for context in contexts:
        context.close()
