"""Fixtures for every test: the loopback providers."""

from tests.loopback.fixtures import _no_real_okx, okx, okx_without_coins, yahoo

__all__ = ["_no_real_okx", "okx", "okx_without_coins", "yahoo"]
