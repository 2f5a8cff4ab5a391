"""The operations on strategies: what they do, and how each refusal names the field and the remedy."""

import pytest
from django.utils import timezone

from chronos.core import tenancy
from signals.models import Backtest, Strategy
from signals.strategies import registry
from tests import cast
from tests.api.program import Program
from tests.signals.test_models import ran

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def trend(hers):
    return hers.ask("create_strategy", name="Trend", kind="sma-cross", parameters={"fast": 20, "slow": "50"})


def test_the_kinds_say_what_each_parameter_takes(hers):
    kinds = {kind["name"]: kind for kind in hers.ask("list_strategy_kinds")}
    assert kinds.keys() == registry.kinds().keys()
    fast, _ = kinds["sma-cross"]["parameters"]
    assert fast == {"name": "fast", "label": "Fast average", "type": "int", "default": 10, "low": 1.0, "high": 500.0,
                    "unit": "bars", "help": "Closes that the quick average is made of.", "choices": []}  # fmt: skip
    assert kinds["sma-cross"]["warmup"].endswith(" bars")
    assert kinds["sma-cross"]["origin"] == "chronos"


def test_one_is_made_typed_and_read_back(hers, trend):
    assert trend["parameters"] == {"fast": 20, "slow": 50}
    assert trend["in_words"] == "Fast average 20 bars, Slow average 50 bars"
    assert (trend["version"], trend["trouble"], trend["backtests"], trend["last_run_at"]) == (1, "", 0, None)
    assert hers.ask("get_strategy", strategy_id=trend["id"]) == trend
    assert hers.ask("create_strategy", name="Usual", kind="sma-cross")["parameters"] == {"fast": 10, "slow": 30}


def test_it_tells_what_its_backtests_showed(hers, alice, trend):
    with tenancy.acting_as(alice):
        for gain in (0.25, None, 0.75):
            ran(alice, Strategy.objects.get(), total_return=gain, finished_at=timezone.now())
        Backtest.objects.filter(total_return=0.75).update(deleted_at=timezone.now())
    told = hers.ask("get_strategy", strategy_id=trend["id"])
    assert (told["backtests"], told["best_total_return"]) == (2, 0.25)
    assert told["last_run_at"]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"parameters": {"fast": 0}}, "invalid", "body.parameters.fast"),
        ({"parameters": {"fast": 1.5}}, "invalid", "body.parameters.fast"),
        ({"parameters": {"fast": True}}, "invalid", "body.parameters.fast"),
        ({"parameters": {"fast": "x" * 201}}, "invalid", "body.parameters"),
        ({"parameters": {"fast": [1]}}, "invalid", "body.parameters"),
        ({"parameters": {"fast": 60, "slow": 50}}, "invalid", "body.parameters.fast"),
        ({"parameters": {"nonsense": 1}}, "invalid", "body.parameters.nonsense"),
        ({"kind": "nonsense"}, "unknown_kind", "body.kind"),
        ({"name": "  "}, "invalid", "body.name"),
        ({"name": "x" * 101}, "invalid", "body.name"),
        ({"name": "trend"}, "taken", "body.name"),
        ({"notes": "x" * 10_001}, "invalid", "body.notes"),
    ],
)
def test_what_cannot_be_made_names_the_field(hers, trend, given, code, field):
    answer = hers("create_strategy", **({"name": "New", "kind": "sma-cross"} | given))
    told = answer.json()
    assert answer.status_code == (409 if code == "taken" else 422)
    assert (told["data"]["code"], told["data"]["field"][: len(field)]) == (code, field)
    assert told["data"]["remedy"]
    assert len(hers.ask("list_strategies")) == 1


def test_every_parameter_at_fault_is_told(hers):
    told = hers("create_strategy", name="x", kind="sma-cross", parameters={"fast": 0, "slow": "x"}).json()
    assert {one["field"] for one in told["data"]["problems"]} == {"body.parameters.fast", "body.parameters.slow"}


def test_a_change_names_the_version_it_was_made_on(hers, trend):
    pk = trend["id"]
    told = hers.ask("update_strategy", strategy_id=pk, version=1, parameters={"fast": 7}, notes="Quicker")
    assert (told["name"], told["parameters"], told["notes"]) == ("Trend", {"fast": 7, "slow": 50}, "Quicker")
    assert told["version"] == 2
    assert hers.refused("update_strategy", strategy_id=pk, version=1, name="Late") == (409, "outdated")
    assert hers.refused("update_strategy", strategy_id=pk, version=2, parameters={"fast": 80}) == (422, "invalid")
    told = hers.ask("replace_strategy", strategy_id=pk, version=2, name="Anew", parameters={"fast": 8})
    assert (told["name"], told["parameters"], told["notes"]) == ("Anew", {"fast": 8, "slow": 30}, "")
    hers.ask("create_strategy", name="Other", kind="sma-cross")
    assert hers.refused("update_strategy", strategy_id=pk, version=3, name="OTHER") == (409, "taken")


def test_one_of_a_kind_that_is_gone_is_read_and_renamed(hers, alice, trend):
    with tenancy.acting_as(alice):
        Strategy.objects.update(kind="gone")
    assert "not installed" in hers.ask("get_strategy", strategy_id=trend["id"])["trouble"]
    assert hers.ask("update_strategy", strategy_id=trend["id"], version=1, name="Kept")["name"] == "Kept"
    refused = hers.refused("update_strategy", strategy_id=trend["id"], version=2, parameters={"fast": 7})
    assert refused == (422, "unknown_kind")


def test_a_deletion_says_what_stays_and_is_taken_back(hers, alice, trend):
    pk = trend["id"]
    with tenancy.acting_as(alice):
        ran(alice, Strategy.objects.get())
    assert hers.ask("delete_strategy", strategy_id=pk, dry_run=True) == {"backtests": 1}
    assert hers.ask("get_strategy", strategy_id=pk)["backtests"] == 1
    hers.ask("delete_strategy", strategy_id=pk)
    assert hers.refused("get_strategy", strategy_id=pk) == (404, "not_found")
    hers.ask("create_strategy", name="Trend", kind="sma-cross")
    assert hers.ask("undelete_strategy", strategy_id=pk)["name"] == "Trend 2"
    assert hers.refused("undelete_strategy", strategy_id=pk) == (404, "not_found")


def test_copies_and_archive(hers, trend):
    copy = hers.ask("duplicate_strategy", strategy_id=trend["id"])
    assert (copy["name"], copy["parameters"]) == ("Trend (copy)", trend["parameters"])
    assert hers.ask("archive_strategy", strategy_id=copy["id"])["is_archived"] is True
    assert [one["name"] for one in hers.ask("list_strategies")] == ["Trend"]
    assert [one["name"] for one in hers.ask("list_strategies", archived=True)] == ["Trend (copy)"]
    assert hers.ask("archive_strategy", strategy_id=copy["id"], away=False)["is_archived"] is False


def test_the_list_is_searched_and_paged_and_ones_own(hers):
    for number in range(5):
        hers.ask("create_strategy", name=f"s{number // 2} {number}", kind="sma-cross", notes="deep" * (number % 2))
    hers.ask("create_strategy", name="other", kind="buy-and-hold")
    for order in ("name", "-name", "-changed_at", "id", "-id"):
        seen, cursor = [], ""
        while True:
            told = hers("list_strategies", limit=2, order=order, cursor=cursor).json()
            seen += [one["id"] for one in told["data"]]
            if not (cursor := told["metadata"]["next_cursor"]):
                break
        assert sorted(seen) == list(range(1, 7)), order
    assert len(hers.ask("list_strategies", q="DEEP")) == 2
    assert [one["name"] for one in hers.ask("list_strategies", kind="buy-and-hold")] == ["other"]
    assert Program.of(cast.bob()).ask("list_strategies") == []
    assert hers("list_strategies", limit=2).json()["message"] == "The first 2 strategies."


def test_made_once_with_an_idempotency_key(hers):
    once = {"Idempotency-Key": "a-key"}
    first, again = (hers("create_strategy", headers=once, name="One", kind="sma-cross") for _ in range(2))
    assert (first.status_code, again.json()["data"]) == (201, first.json()["data"])
    assert len(hers.ask("list_strategies")) == 1
