"""What the environment may say, and the one line that a wrong word gets."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chronos import environment

ROOT = Path(__file__).parents[2]
NAMES = [name.upper() for name in environment.Environment.model_fields]


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_nothing_needs_to_be_set():
    read = environment.read()
    assert (read.port, read.host, read.fetch_interval_minutes) == (8000, "127.0.0.1", 60)
    assert read.chronos_var == ROOT / "var"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "eight", "valid integer"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("FETCH_INTERVAL_MINUTES", "0", "greater than or equal to 1"),
        ("DATABASE_URL", "mysql://x", "postgresql://user"),
        ("DATABASE_URL", "postgresql://a:hunter2@h:5432", "the database's name"),
        ("DATABASE_URL", "postgresql://a:hunter2@h:54x/name", "number as its port"),
        ("DATABASE_URL", "postgresql://a:hunter2@h/name?foo=1", "percent-encoded"),
        ("REDIS_URL", "http://x", "redis://"),
        ("REDIS_URL", "redis://:hunter2@h/abc", "by number"),
        ("REDIS_URL", "redis://:hunter2@h:6379?db=3", "by number"),
        ("REDIS_URL", "redis://:hunter2@h:6x/0", "number as its port"),
        ("CHRONOS_VAR", "/proc/x", "can't be made a directory"),
        ("SECRET_KEY", "short", "at least 32 characters"),
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO'"),
        ("PUBLIC_URL", "chronos.example.org", "https://chronos.example.org"),
        ("DEBUG", "maybe", "valid boolean"),
        ("SIGN_UP", "perhaps", "valid boolean"),
        ("EMAIL_URL", "https://u:hunter2@mail.example.org", "submission://user"),
        ("EMAIL_URL", "smtp://u:hunter2@mail.example.org:25x", "number as its port"),
        ("EMAIL_FROM", "nobody", "Chronos <chronos@example.org>"),
        ("TRUSTED_PROXIES", "-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        environment.read()
    line = str(stop.value)
    assert "\n" not in line
    assert line.startswith(f"{name}: ")
    assert says in line
    assert ".env.example" in line
    assert "hunter2" not in line


def test_secrets_are_not_repeated_in_the_complaint(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    with pytest.raises(SystemExit) as stop:
        environment.read()
    assert "hunter2" not in str(stop.value)


def test_every_variable_is_documented_with_its_default():
    text = (ROOT / ".env.example").read_text()
    documented = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.M))
    assert set(documented) == set(NAMES)
    for name, value in documented.items():
        default = environment.Environment.model_fields[name.lower()].default
        said = {"None": "", "False": "false", "[]": ""}.get(str(default), default)
        assert value == str(said).removesuffix(".0"), name


def test_a_start_with_a_wrong_value_ends_with_that_line_and_status_1():
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT, env=os.environ | {"PORT": "eight"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("PORT: ")
    assert len(done.stderr.splitlines()) == 1


SLOW = {
    "yfinance", "pandas", "numpy", "pyarrow", "ccxt", "numba", "curl_cffi", "fido2", "qrcode", "mcp", "httpx", "httpx2",
}  # fmt: skip


def test_the_web_process_starts_without_slow_imports(tmp_path):
    code = (
        "import gc, sys, chronos.asgi; from django.urls import get_resolver; get_resolver().url_patterns;"
        " from marketdata import providers; [providers.named(name) for name in (*providers.REGISTRY, 'kraken')];"
        f" print(gc.get_freeze_count(), *{SLOW} & set(sys.modules))"
    )
    environment = os.environ | {"CHRONOS_VAR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    frozen, *slow = done.stdout.split()
    assert slow == []
    assert int(frozen) > 100_000  # else the collector holds up one request in twenty
