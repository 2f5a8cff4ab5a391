"""ccxt's faults as ours. Slow to import, as ccxt is."""

import re
from collections.abc import Mapping

import ccxt

from marketdata.providers.base import (
    AuthError,
    BadRequest,
    MalformedResponse,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)
from marketdata.providers.ccxt_exchange import CcxtExchange
from marketdata.ratelimit import seconds_told

LIMITING = (418, 429)
HEARD = 10_000  # characters that an exchange's words are looked for in
_UNKNOWN = re.compile(r"\b(unknown|invalid|no such)\s+(asset pair|pair|symbol|market|instrument)", re.IGNORECASE)
REFUSING = (401, 403, 451)  # without words of the exchange's own: by a network, a country, a wall before it


def named(
    error: Exception,
    source: CcxtExchange,
    spelling: str,
    status: int | None,
    headers: Mapping[str, str],
    seconds: float,
) -> ProviderError:
    """The fault as one of ours, which names the source, what was asked and what to do, in at most 300 characters.

    `status` and `headers` are those of the last answer; `seconds` is how long an answer was waited for. The order
    matters: ccxt's faults are several things at once, and its names for one status differ by exchange.
    """
    label, said = source.label, _said(error)
    match error:
        case ProviderError():
            return error
        case ccxt.RateLimitExceeded() | ccxt.DDoSProtection():
            return _limited(source, spelling, headers)
        case ccxt.BaseError() if status in LIMITING:
            return _limited(source, spelling, headers)
        case ccxt.RequestTimeout():
            return ProviderTimeout(
                f"{label} did not answer for {spelling} within {seconds:.0f} s."
                " Check the network, or the proxy in HTTPS_PROXY."
            )
        case ccxt.BadResponse():
            return _unreadable(source, spelling, said)
        case ccxt.OnMaintenance():
            return Unavailable(f"{label} is in maintenance ({spelling}: {said}). It is asked again later.")
        case ccxt.BaseError() if status is not None and status >= 500:
            return Unavailable(f"{label} is down (it answered {status} for {spelling}). It is asked again later.")
        case ccxt.RestrictedLocation():
            return _refused(source, spelling, said)
        case ccxt.ExchangeNotAvailable() if status in REFUSING:
            return _refused(source, spelling, str(status))
        case ccxt.ExchangeNotAvailable() if status is not None and status >= 400:
            return Unavailable(
                f"Something answered {status} in place of {label} for {spelling}. Check the network and the proxy"
                f"{', and OKX_BASE_URL' if source.base_url else ''}."
            )
        case ccxt.AuthenticationError():
            return AuthError(f"{label} gives {spelling} only to its customers ({said}). Use another provider for it.")
        case ccxt.BadSymbol():
            return unknown(source, spelling)
        case ccxt.ExchangeError() if _UNKNOWN.search(said):
            return unknown(source, spelling)
        case ccxt.BadRequest() | ccxt.NotSupported() | ccxt.ArgumentsRequired():
            return BadRequest(f"{label} refuses the question about {spelling}: {said}")
        case ccxt.ExchangeNotAvailable():
            return Unavailable(f"{label} is not available ({spelling}: {said}). It is asked again later.")
        case ccxt.BaseError() if _is_about_certificates(error):
            return Unavailable(
                f"{label} can't be reached for {spelling} (its certificate is not trusted)."
                " If a proxy of yours opens TLS, name its certificate authority in SSL_CERT_FILE."
            )
        case ccxt.NetworkError():
            return Unavailable(
                f"{label} can't be reached for {spelling} ({_cause(error) or said})."
                " Check the network, or the proxy in HTTPS_PROXY."
            )
        case ccxt.BaseError():
            return Unavailable(f"{label} did not answer for {spelling} ({said}). It is asked again later.")
        case _:
            return _unreadable(source, spelling, f"{type(error).__name__}: {said}")


def unknown(source: CcxtExchange, spelling: str) -> SymbolNotFound:
    return SymbolNotFound(
        f"{source.label} does not list {spelling}. Check it for a typing error, a delisting or a new name;"
        f" if {source.label} writes it otherwise, give the asset its spelling in the admin."
    )


def _limited(source: CcxtExchange, spelling: str, headers: Mapping[str, str]) -> RateLimited:
    seconds = seconds_told(headers.get("Retry-After"))
    told = f" and asks to wait {seconds:.0f} s" if seconds is not None else ""
    remedy = "lower OKX_REQUESTS_PER_SECOND" if source.base_url else "raise FETCH_INTERVAL_MINUTES"
    return RateLimited(
        f"{source.label} answers no more questions for now{told} (too many requests, at {spelling})."
        f" If this persists, {remedy}.",
        seconds,
    )


def _refused(source: CcxtExchange, spelling: str, why: str) -> Unavailable:
    return Unavailable(
        f"{source.label} refuses {spelling} ({why}): it may be blocked from this address or country. {source.blocked}"
    )


def _unreadable(source: CcxtExchange, spelling: str, how: str) -> MalformedResponse:
    return MalformedResponse(
        f"{source.label}'s answer for {spelling} can't be read ({how})."
        f" If it stays so, {source.label} has changed its answers: update ccxt."
    )


def _is_about_certificates(error: BaseException) -> bool:
    return "SSL" in f"{type(error.__cause__).__name__}{error.__cause__}"


def _cause(error: BaseException) -> str:
    """What the system said of the connection, which ccxt, requests and urllib3 wrap in words of their own."""
    inner: BaseException | None = error
    while inner is not None:
        if type(inner).__module__ in ("builtins", "socket") and isinstance(inner, OSError) and inner.strerror:
            return inner.strerror.lower()
        inner = inner.__cause__ or inner.__context__
    return ""


def _said(error: BaseException) -> str:
    """The exchange's own words, or what the network said, in a few: ccxt puts whole addresses and answers into its."""
    text = str(error)[:HEARD]
    if found := re.search(r'"(?:msg|message|error)"\s*:\s*\[?\s*"([^"]+)"', text):
        return found[1][:90]
    return re.sub(r"\s+", " ", str(error.__cause__ or text)[:HEARD])[:90]
