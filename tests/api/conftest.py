import pytest

from tests import cast
from tests.api.program import Program
from tests.browser.conftest import address

__all__ = ["address"]


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def hers(alice):
    """Alice's program, which may write."""
    return Program.of(alice)
