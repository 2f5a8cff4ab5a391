"""The database decides who sees what; these tests ask it as the program does, on committed data."""

import pytest

from chronos.core import tenancy
from tests import cast
from universes.models import Universe

pytestmark = pytest.mark.usefixtures("house")


def test_each_sees_their_own():
    alice, bob = cast.alice(), cast.bob()
    with tenancy.acting_as(alice):
        Universe.objects.create(owner=alice, name="Alice's")
    with tenancy.acting_as(bob):
        assert not Universe.objects.exists()
    with tenancy.acting_as(alice):
        assert Universe.objects.get().name == "Alice's"


def test_nobody_is_not_a_tenant():
    with pytest.raises(tenancy.NoScope, match="acting_as"):
        Universe.objects.count()
