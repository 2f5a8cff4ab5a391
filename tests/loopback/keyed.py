"""The loopback Twelve Data and Alpha Vantage as fixtures: import them into a test module."""

from collections.abc import Iterator

import pytest

from tests.loopback.alphavantage import AlphaVantage
from tests.loopback.twelvedata import TwelveData


@pytest.fixture
def twelvedata(settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwelveData]:
    """A Twelve Data of this test's own, to which the program is pointed by its settings, with its key."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # a loopback Yahoo beside it is a proxy for everything
    settings.TWELVEDATA_REQUESTS_PER_MINUTE = 60_000.0
    with TwelveData() as server:
        settings.TWELVEDATA_BASE_URL, settings.TWELVEDATA_API_KEY = server.address, server.key
        yield server


@pytest.fixture
def alphavantage(settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[AlphaVantage]:
    """An Alpha Vantage of this test's own, to which the program is pointed by its settings, with its key."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings.ALPHAVANTAGE_REQUESTS_PER_SECOND = 1000.0
    with AlphaVantage() as server:
        settings.ALPHAVANTAGE_BASE_URL, settings.ALPHAVANTAGE_API_KEY = server.address, server.key
        yield server
