"""Fixtures for every test: the loopback providers."""

from tests.loopback.fixtures import yahoo

__all__ = ["yahoo"]
