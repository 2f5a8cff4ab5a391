"""A client generated from the document, briefly; at length in `tests/prove`."""

import pytest

from tests.api.hostile import attack, operations
from tests.contracts.attack import Battlefield

pytestmark = pytest.mark.usefixtures("house")
BRIEFLY = 2  # one that fits and one that does not, of each operation


@pytest.mark.parametrize("who", ["owner", pytest.param("stranger", marks=pytest.mark.prove)])
def test_no_fault_no_undocumented_answer_nothing_of_others(who):
    field = Battlefield()
    for operation in operations():
        attack(operation, who, field, BRIEFLY)
    if who != "owner":
        now = field.state_of(field.alice)
        assert {table: rows for table, rows in now.items() if table != "core_apitoken"} == {
            table: rows for table, rows in field.before.items() if table != "core_apitoken"
        }
