"""JSON logs of everything, libraries included, with the request or job they belong to, and without secrets."""

import contextvars
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from pythonjsonlogger.json import JsonFormatter

# What the current thread or task is working for, e.g. {"request_id": "…"} or {"job_id": 7}; in every line it logs.
context: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("log context", default=MappingProxyType({}))

_SECRETS = (
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),  # user:password in an address
    re.compile(r"(?i)\b(?:api_?key|crumb|token|password|passwd|secret|authorization)\b[\"']?\s*[=:]\s*[\"']?(?:bearer\s+)?([^\s\"'&,;]+)"),
    re.compile(r"(?i)\bapi key as (\S+)"),  # Alpha Vantage repeats the key in its quota message
    re.compile(r"(?<=/sign-in/)[A-Za-z0-9_-]{20,}"),
    re.compile(r"(?:(?<=/reset/)|(?<=/confirm-email/))[A-Za-z0-9_:%-]{16,}"),
    re.compile(r"chr_[A-Za-z0-9]{16,}"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/-]{8,}"),
)  # fmt: skip


def redact(text: str) -> str:
    """The text with passwords, keys, tokens and sign-in secrets replaced by `***`."""
    for pattern in _SECRETS:
        text = pattern.sub(lambda found: found[0].replace(found[1], "***") if found.re.groups else "***", text)
    return text


class Json(JsonFormatter):
    """One JSON object a line: time, level, logger, message, the context, and any extras."""

    def add_fields(self, log_record: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_record, record, message_dict)
        log_record.update(context.get())

    def process_log_record(self, log_record: dict[str, Any]) -> dict[str, Any]:
        """Before it becomes JSON: a secret cut out of finished JSON could take a quote or a bracket with it."""
        return {key: _without_secrets(value) for key, value in log_record.items()}


def _without_secrets(value: Any) -> Any:
    """Also in what becomes text only later: the request that Django adds to its refusals has an address, too."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float, date)):
        return value
    return redact(str(value))


def logging_configuration(level: str) -> dict[str, Any]:
    """`LOGGING`: one handler on standard output for everybody; the supervisor gives each process a file."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "chronos.core.logs.Json",
                "fmt": ["asctime", "levelname", "name", "message"],
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                "datefmt": "%Y-%m-%dT%H:%M:%S%z",
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            "celery": {"level": level},
            "yfinance": {"level": "WARNING"},
            "peewee": {"level": "WARNING"},
            "_granian": {"level": "WARNING"},
            "granian.access": {"level": "WARNING"},
        },
    }


class RequestLog:
    """Gives each request an id (its own `X-Request-ID` if it is a plain one) and logs how it ended."""

    PLAIN = re.compile(r"[A-Za-z0-9-]{8,64}")
    log = logging.getLogger("chronos.request")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if self.PLAIN.fullmatch(given) else secrets.token_hex(8)
        token = context.set({"request_id": request_id})
        started = time.perf_counter()
        try:
            response = self.get_response(request)
        finally:
            context.reset(token)
        if not request.path.startswith(("/static/", "/health/")):
            self.log.info(
                "%s %s",
                request.method,
                request.path,
                extra={
                    "request_id": request_id,
                    "status": response.status_code,
                    "milliseconds": round(1000 * (time.perf_counter() - started), 1),
                    "user_id": getattr(getattr(request, "user", None), "pk", None),
                },
            )
        response.headers["X-Request-ID"] = request_id
        return response
