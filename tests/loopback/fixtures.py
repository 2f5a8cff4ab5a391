"""The loopback providers as fixtures."""

import sys
from collections.abc import Iterator

import pytest

from tests.loopback.okx import Okx
from tests.loopback.yahoo import Yahoo

PROXY_VARIABLES = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HTTP_PROXY")
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch, settings) -> Iterator[Yahoo]:
    """A Yahoo of this test's own; the program is pointed to it by the standard variables, as an operator would."""
    for name in (*PROXY_VARIABLES, *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    settings.YAHOO_REQUESTS_PER_SECOND = 50.0
    with Yahoo() as server:
        monkeypatch.setenv("HTTPS_PROXY", server.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
        yield server


@pytest.fixture(scope="session")
def okx_without_coins() -> Iterator[Okx]:
    with Okx() as server:
        server.coins.clear()
        yield server


@pytest.fixture(autouse=True)
def _no_real_okx(settings, okx_without_coins: Okx) -> None:
    """Where a test has no OKX of its own, there is one that lists nothing."""
    settings.OKX_BASE_URL = okx_without_coins.address


@pytest.fixture
def okx(monkeypatch: pytest.MonkeyPatch, settings) -> Iterator[Okx]:
    """An OKX of this test's own, to which the program is pointed by its setting."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    settings.OKX_REQUESTS_PER_SECOND = 1000.0
    if client := sys.modules.get("marketdata.providers.ccxt_client"):
        client._markets.clear()  # an earlier test's server may have had the same port
    with Okx() as server:
        settings.OKX_BASE_URL = server.address
        yield server
