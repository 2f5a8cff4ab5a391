"""One question to a REST interface that answers in JSON and wants a key, over httpx.

The key stays in here: it is taken out of whatever the provider says, no exception of httpx goes further (it holds the
address, and with some providers the key is part of that), and httpx's log lines, which show addresses, are off. The
usual variables are honoured: HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.
"""

import json
import logging
import os
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from marketdata.providers.base import MalformedResponse, ProviderTimeout, Unavailable
from marketdata.ratelimit import seconds_told

if TYPE_CHECKING:
    import pyarrow as pa

CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 5.0, 15.0, 45.0
LARGEST = 32 * 2**20  # bytes of an answer: a hundred times what the largest page has
WORDS = 140  # characters of a provider's own words in a message of ours
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, RecursionError)
HEARD = 2_000  # and of those that are looked into for what they mean


@dataclass(frozen=True)
class Question:
    """What is asked of whom. `secret` is the key, wherever `params` or `headers` hold it; it is in no repr."""

    label: str  # the provider's, for messages
    symbol: str  # in its spelling, for messages
    address: str
    params: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)

    def without_key(self, text: object) -> str:
        """What the provider says, without the key, whichever way it is written in there, and not longer than needed."""
        said = " ".join(str(text).split())
        for shape in {self.secret, quote(self.secret), quote(self.secret, safe="")} - {""}:
            said = re.sub(re.escape(shape), "(your key)", said, flags=re.IGNORECASE)
        return said if len(said) <= WORDS else f"{said[: WORDS - 1].rstrip()}…"


@dataclass(frozen=True)
class Answer:
    """A status and the JSON that came with it; numbers in it are exact text. None if it is not JSON."""

    status: int
    content: Any
    retry_after: float | None


def ask(question: Question) -> Answer:
    """One request. Raises `ProviderTimeout`, `Unavailable` (5xx too), or `MalformedResponse` for a 200 without JSON."""
    label, symbol = question.label, question.symbol
    try:
        status, headers, body = _get(question)
    except _Fault as fault:
        raise fault.named(label, symbol) from None
    retry_after = seconds_told(headers.get("retry-after"))
    content = _json(body)
    if status == 200 and content is None:
        raise malformed(question, "it is not JSON")
    if status >= 500 and not isinstance(content, dict):
        raise Unavailable(f"{label} is down (it answered {status} for {symbol}). It is asked again later.")
    return Answer(status, content, retry_after)


def malformed(question: Question, how: str) -> MalformedResponse:
    """The answer can't be read; `how` in the provider's or Python's words."""
    return MalformedResponse(
        f"{question.label}'s answer for {question.symbol} can't be read ({question.without_key(how)})."
        " If it stays so, it has changed its answers: look for a newer Chronos."
    )


def must_be_of(question: Question, symbol: str, told: object) -> None:
    """Raises `MalformedResponse` for an answer about something else: of a cache between, or two mixed up."""
    if told and str(told).casefold() != symbol.casefold():
        raise malformed(question, f"it is about {told}")


@contextmanager
def reading(question: Question) -> Iterator[None]:
    """Whatever an answer makes of the code that reads it is the answer's fault: a zone that is a directory, a day
    after Python's last, a list where there should be a text.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise malformed(question, f"{type(error).__name__}: {error}") from None


def in_its_place(question: Question, status: int) -> Unavailable:
    """An answer that is not the provider's: of a proxy, or of a hotel's network."""
    return Unavailable(
        f"Something answered {status} in {question.label}'s place for {question.symbol}."
        " Check the network and the proxy in HTTPS_PROXY."
    )


def table(rows: Iterable[tuple[datetime, Mapping[str, str | None]]]) -> "pa.Table":
    """Candles as `marketdata.ingestion.schema()` has them: by their open, numbers as the text they came in."""
    import pyarrow as pa

    kept = sorted(rows, key=lambda row: row[0])
    columns: dict[str, pa.Array] = {"open_time": pa.array([at for at, _ in kept], pa.timestamp("us", tz="UTC"))}
    for name in ("open", "high", "low", "close", "adj_close", "volume", "quote_volume"):
        columns[name] = pa.array([_whole(values.get(name)) for _, values in kept], pa.string())
    return pa.table(columns)


def _whole(text: str | None) -> str | None:
    """Without half surrogates, which JSON can hold and no other text."""
    return text if text is None or text.isascii() else text.encode(errors="replace").decode()


# --- The connection ----------------------------------------------------------------------------------------------


class _Fault(Exception):
    """What went wrong on the way, without the address."""

    def __init__(self, what: str, kind: type[ProviderTimeout] | type[Unavailable]) -> None:
        super().__init__(what)
        self.what, self.kind = what, kind

    def named(self, label: str, symbol: str) -> ProviderTimeout | Unavailable:
        if self.kind is ProviderTimeout:
            return ProviderTimeout(
                f"{label} did not answer for {symbol} in time ({self.what})."
                " Check the network, or the proxy in HTTPS_PROXY."
            )
        remedy = "Check the network, or the proxy in HTTPS_PROXY."
        if "CERTIFICATE" in self.what.upper():
            remedy = "If a proxy of yours opens TLS, name its certificate authority in SSL_CERT_FILE."
        return Unavailable(f"{label} can't be reached for {symbol} ({self.what}). {remedy}")


def _get(question: Question) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body. Raises `_Fault` only, with none of httpx's exceptions behind it."""
    import httpx

    logging.getLogger("httpx").setLevel(logging.WARNING)  # its INFO lines show whole addresses
    limits = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    started, body = time.monotonic(), bytearray()
    try:
        with (
            httpx.Client(timeout=limits, verify=_trusted(), follow_redirects=False) as client,
            client.stream(
                "GET", question.address, params=dict(question.params), headers=dict(question.headers)
            ) as response,
        ):
            for piece in response.iter_bytes():
                body += piece
                if time.monotonic() - started > WHOLE_SECONDS:
                    raise _Fault(f"its answer was not whole after {WHOLE_SECONDS:.0f} s", ProviderTimeout)
                if len(body) > LARGEST:
                    raise _Fault(f"its answer is larger than {LARGEST >> 20} MB", Unavailable)
            return response.status_code, response.headers, bytes(body)
    except httpx.TimeoutException:
        fault = _Fault(f"within {CONNECT_SECONDS + READ_SECONDS:.0f} s", ProviderTimeout)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError) as error:  # the last of odd proxies
        fault = _Fault(question.without_key(error) or type(error).__name__, Unavailable)
    raise fault


def _trusted() -> ssl.SSLContext:
    """Trust as the usual variables say, in the order in which the other clients here read them."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            if not Path(path).is_file():
                raise _Fault(f"{name} names {path}, and there is no such file", Unavailable)
            return _context(path, Path(path).stat().st_mtime_ns)
    return _context("", 0)


@lru_cache(maxsize=4)
def _context(path: str, changed_at: int) -> ssl.SSLContext:
    """Reading the authorities takes 20 ms, as long as the whole of a request to somebody near."""
    import httpx

    return ssl.create_default_context(cafile=path) if path else httpx.create_ssl_context()


def _json(body: bytes) -> Any:
    """The content, its numbers as the text that they came in; None if it is not JSON."""
    try:
        return json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
