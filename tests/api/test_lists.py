"""Long lists over the API: brought, mended by suggestion, added, taken back."""

import pytest

from chronos.core import tenancy
from marketdata.directory import listings
from tests import cast
from tests.api.program import Program
from tests.marketdata import directory
from universes.models import SymbolList, SymbolListRow

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture(autouse=True)
def master():
    listings.load(directory.table(directory.REAL))


def brought(hers, text):
    pk = hers.ask("create_universe", name="Listed")["id"]
    return pk, hers.ask("create_list", universe_id=pk, text=text)["id"]


def settle(alice):
    """What the job would find out: nobody knows them."""
    with tenancy.acting_as(alice):
        SymbolListRow.objects.filter(group="pending").update(group="unknown")


def test_from_typos_to_members_and_back(hers, alice):
    pk, brought_pk = brought(hers, "AAPL msft AAPL MSFTT no$good\nNVDAA")
    names = {"universe_id": pk, "list_id": brought_pk}
    found = hers.ask("get_list", **names)
    assert found["state"] == "draft"
    assert found["groups"] == {"new": 2, "duplicate": 1, "malformed": 1, "pending": 2}
    settle(alice)
    with tenancy.acting_as(alice):
        SymbolListRow.objects.filter(written="MSFTT").update(suggestions=["MSFT"])
        SymbolListRow.objects.filter(written="NVDAA").update(suggestions=["NVDA"])
    rows = hers("list_rows", group="unknown", **names).json()
    assert [row["written"] for row in rows["data"]] == ["MSFTT", "NVDAA"]
    first = rows["next_actions"][0]
    assert (first["operation"], first["parameters"]["symbol"]) == ("decide_row", "MSFT")
    assert hers.ask(first["operation"], **first["parameters"])["group"] == "duplicate"
    assert hers.ask("decide_list", group="unknown", decision="mend", **names)["groups"]["new"] == 3
    assert hers.refused("decide_row", number=5, decision="keep", **names) == (422, "invalid")
    assert hers.refused("decide_row", number=5, **names) == (422, "invalid")
    done = hers.ask("confirm_list", **names)
    assert done["state"] == "done"
    assert done["outcomes"]["added"] == 3
    assert [one["symbol"] for one in hers.ask("list_universe_assets", universe_id=pk)] == ["AAPL", "MSFT", "NVDA"]
    assert hers.refused("decide_row", number=1, decision="skip", **names) == (409, "added_already")
    hers.ask("confirm_list", **names)
    assert hers.ask("get_universe", universe_id=pk)["size"] == 3
    assert hers.ask("undo_list", **names)["state"] == "undone"
    assert hers.ask("get_universe", universe_id=pk)["size"] == 0
    assert hers.ask("reopen_list", **names)["state"] == "draft"
    assert [one["id"] for one in hers.ask("list_lists", universe_id=pk)] == [brought_pk]


def test_a_dated_one(hers):
    pk, brought_pk = brought(hers, "symbol,joined,left,note\nAAPL,2015-03-19,,first\nMSFT,2014-01-01,2018-06-26,")
    hers.ask("confirm_list", universe_id=pk, list_id=brought_pk)
    then = hers.ask("list_members", universe_id=pk, as_of="2016-01-01")
    assert sorted((one["symbol"], one["note"]) for one in then) == [("AAPL", "first"), ("MSFT", "")]
    assert [one["symbol"] for one in hers.ask("list_members", universe_id=pk)] == ["AAPL"]


def test_what_is_none(hers):
    pk = hers.ask("create_universe", name="Listed")["id"]
    assert hers.refused("create_list", universe_id=pk, text=" \n ") == (422, "invalid")
    assert hers.refused("get_list", universe_id=pk, list_id=99) == (404, "not_found")
    his = Program.of(cast.bob())
    assert his.refused("create_list", universe_id=pk, text="AAPL") == (404, "not_found")
    with tenancy.as_system("look"):
        assert not SymbolList.objects.exists()
