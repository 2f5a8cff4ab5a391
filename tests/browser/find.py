"""A Chromium for the browser tests: one that is there, else Playwright's own install, else Debian's package as root.

`python -m tests.browser.find` prints its path, or nothing and why on standard error.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def browser() -> str:
    """The path of a browser that starts, or ''. May install one."""
    given = os.environ.get("CHRONOS_BROWSER", "")
    for attempt in (lambda: given, _present, _playwright, _debian):
        found = attempt()
        if found and _starts(found):
            return found
    return ""


def _present() -> str:
    return next((path for name in NAMES if (path := shutil.which(name))), "") or next(
        (place for place in PLACES if Path(place).exists()), ""
    )


def _playwright() -> str:
    from playwright.sync_api import sync_playwright

    def its_own() -> str:
        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
        return path if Path(path).exists() else ""

    return its_own() or (_run([sys.executable, "-m", "playwright", "install", "chromium"]) and its_own()) or ""


def _debian() -> str:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return ""
    install = ["apt-get", "install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
    if not _run(install):
        _run(["apt-get", "update"]) and _run(install)
    return _present()


def _run(command: list[str], seconds: float = 600) -> bool:
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=seconds,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _starts(path: str) -> bool:
    return _run([path, "--version"], 60)


if __name__ == "__main__":
    found = browser()
    print(found or "No Chromium could be found or installed.", file=sys.stdout if found else sys.stderr)
    sys.exit(0 if found else 1)
