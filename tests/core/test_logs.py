"""Logs are JSON lines that say for whom, and never a secret."""

import json
import logging

import pytest

from chronos.core import logs


@pytest.mark.parametrize(
    "text",
    [
        "connecting to postgresql://chronos:hunter2secret@db:5432/x",
        "redis://:hunter2secret@cache:6379/0 is away",
        "GET /v8/finance/chart/NVDA?interval=1d&crumb=hunter2secret&x=1",
        "https://example.org/query?apikey=hunter2secret",
        "Authorization: Bearer hunter2secret",
        '{"password": "hunter2secret"}',
        "token=hunter2secret",
        "GET /sign-in/hunter2secret-hunter2secret/",
        "We have detected your API key as hunter2secret",
    ],
)
def test_secrets_never_reach_a_line(text):
    assert "hunter2secret" not in logs.redact(text)


@pytest.mark.parametrize(
    "text", ["GET /universes/7/", "postgresql://localhost/x", "3 tokens left", "12:30 password changed"]
)
def test_the_rest_stays_as_it_is(text):
    assert logs.redact(text) == text


def line_of(log: logging.LogRecord) -> dict:
    return json.loads(logs.Json(["asctime", "levelname", "name", "message"]).format(log))


def test_a_line_is_json_with_its_context():
    token = logs.context.set({"job_id": 7})
    try:
        line = line_of(logging.LogRecord("yfinance", logging.WARNING, "", 0, "%s failed", ("NVDA",), None))
    finally:
        logs.context.reset(token)
    assert line["message"] == "NVDA failed"
    assert line["job_id"] == 7


def test_a_traceback_is_redacted_too():
    try:
        raise ValueError("password=hunter2secret")
    except ValueError:
        import sys

        line = line_of(logging.LogRecord("x", logging.ERROR, "", 0, "broken", (), sys.exc_info()))
    assert "hunter2secret" not in json.dumps(line)
    assert "ValueError" in line["exc_info"]
