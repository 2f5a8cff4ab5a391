"""Fixtures for every test: the loopback providers, and passwords that are not slow to check on purpose."""

import pytest

from tests.loopback.fixtures import _no_real_okx, okx, okx_without_coins, yahoo

__all__ = ["_no_real_okx", "okx", "okx_without_coins", "yahoo"]


@pytest.fixture
def quick_passwords(settings: object) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
