"""The loopback Yahoo as a fixture: import `yahoo` into a test module."""

from collections.abc import Iterator

import pytest

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
