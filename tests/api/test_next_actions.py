"""What an answer says can be done next can be done: every action that is returned is executed, as that person."""

from collections import Counter, deque

import pytest

from marketdata.directory import listings
from marketdata.models import Asset
from tests import cast
from tests.api.program import Program, operations
from tests.marketdata import directory
from tests.prices import stored, walk
from tests.signals.results import finished

pytestmark = pytest.mark.usefixtures("house")
DEEP, OFTEN = 400, 12  # actions, and those of one operation; more are not needed to meet every kind of state


def actions_of(answer):
    if answer.streaming or "json" not in answer.headers["Content-Type"]:
        return []
    return answer.json()["next_actions"]


def follow(program, first):
    """Every action of these answers, and of what they answer, each operation with the same parameters once; and not
    for ever, since what is made offers to make more.
    """
    waiting, done, met = deque(first), set(), Counter()
    while waiting and len(done) < DEEP:
        action = waiting.popleft()
        name, given = action["operation"], action["parameters"]
        once = (name, repr(sorted(given.items(), key=str)))
        if once in done or name == "stream_job_events" or met[name] == OFTEN:
            continue
        done.add(once)
        assert name in operations(), f"{name} is no operation"
        required = {one["name"] for one in operations()[name][2].get("parameters", ()) if one["in"] == "path"}
        assert required <= set(given), (name, given)
        answer = program(name, **given)
        met[name] += 1
        assert answer.status_code < 500, (name, given, answer.content)
        told = answer.json() if "json" in answer.headers["Content-Type"] and not answer.streaming else {}
        # What still wants something of the person, a name or symbols, says so.
        assert answer.status_code < 400 or (answer.status_code == 422 and wants_more(given)), (name, given, told)
        waiting.extend(actions_of(answer))
    return set(met)


def wants_more(given):
    return any(value == [] for value in given.values()) or not given


def test_whatever_is_offered_can_be_done():
    listings.load(directory.table(directory.REAL))
    stored("NVDA", walk(300))
    alice, rita = cast.alice(), cast.rita()
    hers, reads = Program.of(alice), Program.of(rita)
    met = follow(hers, actions_of(hers("list_universes")))
    pk = hers.ask("create_universe", name="Chips")["id"]
    added = hers("add_assets", universe_id=pk, symbols=["NVDA", "MSFTT", "no$good"])
    hers.ask("share_universe", universe_id=pk, people=["rita"])
    brought = hers("create_list", universe_id=pk, text="AAPL MSFT GOGL no$good")
    first = [
        *actions_of(added), *actions_of(brought), *actions_of(hers("get_me")), *actions_of(hers("list_jobs")),
        *actions_of(hers("list_universe_assets", universe_id=pk)), *actions_of(hers("list_members", universe_id=pk)),
        *actions_of(hers("refresh_universe", universe_id=pk)), *actions_of(hers("list_lists", universe_id=pk)),
        *actions_of(hers("get_universe", universe_id=pk)),
    ]  # fmt: skip
    hers.ask("create_strategy", name="Trend", kind="sma-cross")
    first += actions_of(hers("list_strategies"))
    finished(alice, asset=Asset.objects.get(symbol="NVDA"))
    first += actions_of(hers("list_backtests"))
    first += actions_of(hers("run_backtest", kind="sma-cross", symbol="NVDA"))
    met |= follow(reads, actions_of(reads("get_universe", universe_id=pk)))
    met |= follow(hers, first)
    names = {"universe_id": pk, "list_id": brought.json()["data"]["id"]}  # its job was cancelled on the way
    met |= follow(hers, actions_of(hers("get_list", **names)))
    assert {"add_assets", "backfill_universe", "get_job", "cancel_job", "confirm_list", "undo_list", "reopen_list",
            "duplicate_universe", "list_universe_changes", "list_strategy_kinds", "delete_strategy",
            "undelete_strategy", "rerun_backtest", "list_backtest_trades", "undelete_backtest"} <= met  # fmt: skip


def test_a_refusal_offers_what_helps():
    hers = Program.of(cast.alice())
    pk = hers.ask("create_universe", name="One")["id"]
    refused = hers("update_universe", universe_id=pk, name="Two", version=9).json()
    (action,) = refused["next_actions"]
    assert hers.ask(action["operation"], **action["parameters"])["version"] == 1
    refused = hers("create_strategy", name="Two", kind="nonsense").json()
    (action,) = refused["next_actions"]
    assert "sma-cross" in str(hers.ask(action["operation"], **action["parameters"]))
