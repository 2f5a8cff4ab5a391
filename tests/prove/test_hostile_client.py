"""A client generated from the API's document, at length, in everybody's name. Fixed seeds: the same each time."""

import pytest

from tests.api.hostile import attack, operations
from tests.contracts.attack import Battlefield

pytestmark = [pytest.mark.prove, pytest.mark.usefixtures("house")]
AT_LENGTH = 60  # of each operation


@pytest.mark.parametrize("who", ["owner", "stranger", "reads only", "anonymous"])
def test_no_fault_no_undocumented_answer_nothing_of_others(who):
    field = Battlefield()
    for operation in operations():
        attack(operation, who, field, AT_LENGTH if who == "owner" else AT_LENGTH // 3)
