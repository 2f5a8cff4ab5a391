"""Fixtures for every test: the loopback providers, and passwords that are not slow to check on purpose."""

import hypothesis
import pytest

from tests.loopback.fixtures import _no_real_okx, okx, okx_without_coins, yahoo

__all__ = ["_no_real_okx", "okx", "okx_without_coins", "yahoo"]

# No test asserts on a clock: on a busy machine a first example takes as long as an import.
hypothesis.settings.register_profile("chronos", deadline=None)
hypothesis.settings.load_profile("chronos")


@pytest.fixture
def quick_passwords(settings: object) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
