"""Universes over the API: the verbs of the pages, with the same rights, in one envelope."""

import base64

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chronos.core import tenancy
from chronos.core.models import IdempotencyKey
from tests import cast
from tests.api.program import Program
from tests.prices import stored, walk
from universes.models import Universe

pytestmark = pytest.mark.usefixtures("house")


def test_the_whole_life_of_one(hers):
    made = hers.ask("create_universe", name="  Chips ", description="Makers of chips")
    pk = made["id"]
    assert (made["name"], made["is_mine"], made["size"], made["version"]) == ("Chips", True, 0, 1)
    stored("NVDA", walk(5))
    added = hers.ask("add_assets", universe_id=pk, symbols=["nvda", "no$good", "NVDA"], unknown="add")
    assert [one["outcome"] for one in added] == ["added", "malformed", "added"]
    (member,) = hers.ask("list_universe_assets", universe_id=pk)
    assert (member["symbol"], member["place"]) == ("NVDA", 1)
    assert member["last"] > 0
    noted = hers.ask("annotate_asset", universe_id=pk, symbol="NVDA", note="Largest", tags=["gpu"], version=1)
    assert (noted["note"], noted["tags"], noted["version"]) == ("Largest", ["gpu"], 2)
    assert hers.ask("list_universe_assets", universe_id=pk, tag="gpu")
    assert hers.ask("tag_assets", universe_id=pk, symbols=["NVDA"], add=["ai"], take=["gpu"]) == ["NVDA"]
    assert hers.ask("update_universe", universe_id=pk, name="Semis", version=1)["version"] == 2
    assert hers.ask("get_universe", universe_id=pk)["description"] == "Makers of chips"
    copy = hers.ask("duplicate_universe", universe_id=pk, name="Copy")
    assert copy["size"] == 1
    assert hers.ask("archive_universe", universe_id=copy["id"])["is_archived"]
    assert [one["name"] for one in hers.ask("list_universes")] == ["Semis"]
    assert [one["name"] for one in hers.ask("list_universes", archived=True)] == ["Copy"]
    hers.ask("remove_asset", universe_id=pk, symbol="nvda")
    assert hers.ask("list_universe_assets", universe_id=pk) == []
    assert hers.ask("delete_universe", universe_id=pk, dry_run=True)["past"] == 1
    assert hers.ask("get_universe", universe_id=pk)
    hers.ask("delete_universe", universe_id=pk)
    assert hers.refused("get_universe", universe_id=pk) == (404, "not_found")
    assert hers.ask("undelete_universe", universe_id=pk)["name"] == "Semis"


def test_a_lost_update_is_refused(hers):
    pk = hers.ask("create_universe", name="One")["id"]
    hers.ask("replace_universe", universe_id=pk, name="Two", version=1)
    assert hers.refused("replace_universe", universe_id=pk, name="Three", version=1) == (409, "outdated")
    assert hers.ask("get_universe", universe_id=pk)["name"] == "Two"
    stored("NVDA", walk(5))
    hers.ask("add_assets", universe_id=pk, symbols=["NVDA"])
    hers.ask("annotate_asset", universe_id=pk, symbol="NVDA", note="first", version=1)
    told = hers.refused("annotate_asset", universe_id=pk, symbol="NVDA", note="second", version=1)
    assert told == (409, "outdated")


def test_sharing_is_reading(hers):
    rita = Program.of(cast.rita())
    pk = hers.ask("create_universe", name="Shared")["id"]
    assert rita.refused("get_universe", universe_id=pk) == (404, "not_found")
    assert [one["username"] for one in hers.ask("share_universe", universe_id=pk, people=["rita"])] == ["rita"]
    assert rita.ask("get_universe", universe_id=pk)["is_mine"] is False
    assert rita.refused("update_universe", universe_id=pk, name="Mine", version=1) == (403, "forbidden")
    assert rita.refused("add_assets", universe_id=pk, symbols=["NVDA"]) == (403, "forbidden")
    assert [one["owner"] for one in rita.ask("list_universes", whose="shared")] == ["alice"]
    hers.ask("unshare_universe", universe_id=pk, username="rita")
    assert rita.refused("get_universe", universe_id=pk) == (404, "not_found")
    assert hers.refused("share_universe", universe_id=pk, people=["rita", "nobody"]) == (422, "invalid")
    assert hers.ask("list_readers", universe_id=pk) == []
    assert hers.refused("publish_universe", universe_id=pk, public=True) == (403, "forbidden")


def test_the_past(hers):
    pk = hers.ask("create_universe", name="Dated")["id"]
    became = hers.ask("record_past", universe_id=pk, stays=[
        {"symbol": "GE", "joined": "2015-01-01", "left": "2018-06-26", "note": "left the Dow"},
        {"symbol": "AAPL", "joined": "2015-03-19"},
        {"symbol": "GE", "joined": "2016-01-01"},
        {"symbol": "X", "joined": "2016-01-01", "left": "2015-01-01"},
    ])  # fmt: skip
    assert [one["outcome"] for one in became] == ["recorded", "recorded", "refused", "refused"]
    assert [one["symbol"] for one in hers.ask("list_members", universe_id=pk, as_of="2018-06-25")] == ["GE", "AAPL"]
    assert [one["symbol"] for one in hers.ask("list_members", universe_id=pk, as_of="2018-06-26")] == ["AAPL"]
    for last in ("2018-06-25T23:59:59Z", "2018-06-26T00:00:00+02:00"):
        assert len(hers.ask("list_members", universe_id=pk, as_of=last)) == 2
    for gone in ("2018-06-26T00:00:00Z", "2018-06-25T20:00:00-04:00", "9999-12-31"):
        assert [one["symbol"] for one in hers.ask("list_members", universe_id=pk, as_of=gone)] == ["AAPL"]
    for none in ("2018-06-26T00:00", "0001-01-01T00:00:00+14:00", "26.6.2018"):
        assert hers.refused("list_members", universe_id=pk, as_of=none) == (422, "invalid")
    assert [one["symbol"] for one in hers.ask("list_members", universe_id=pk)] == ["AAPL"]
    (left, *_) = hers.ask("list_universe_changes", universe_id=pk)
    assert (left["day"], left["left"], left["size"]) == ("2018-06-26", ["GE"], 1)
    told = hers.ask("get_turnover", universe_id=pk, since="2018-01-01", until="2018-12-31")
    assert (told["joins"], told["leaves"]) == (0, 1)
    assert told["turnover"] == pytest.approx(0.5 / told["average_size"])


def test_order(hers):
    for symbol in ("A", "B", "C"):
        stored(symbol, walk(2))
    pk = hers.ask("create_universe", name="Ordered")["id"]
    hers.ask("add_assets", universe_id=pk, symbols=["A", "B", "C"])
    assert hers.ask("move_asset", universe_id=pk, symbol="C", before="A") == ["C", "A", "B"]
    assert hers.ask("arrange_assets", universe_id=pk, symbols=["B"]) == ["B", "C", "A"]
    assert hers.refused("move_asset", universe_id=pk, symbol="Z", before="A") == (404, "not_found")


def test_pages_of_a_list_skip_and_repeat_nothing_while_rows_come_and_go(hers, alice):
    for number in range(7):
        hers.ask("create_universe", name=f"U{number // 2}")
    for order in ("name", "-name", "-changed_at", "id", "-id"):
        seen, cursor = [], ""
        while True:
            told = hers("list_universes", limit=2, order=order, cursor=cursor).json()
            seen += [one["id"] for one in told["data"]]
            if not (cursor := told["metadata"]["next_cursor"]):
                break
        assert sorted(seen) == list(range(1, 8)), order
    first = hers("list_universes", limit=2, order="id").json()
    assert first["message"] == "The first 2 universes."
    with tenancy.acting_as(alice):
        Universe.objects.filter(pk__lte=2).delete()
    rest = hers("list_universes", limit=50, order="id", cursor=first["metadata"]["next_cursor"]).json()
    assert [one["id"] for one in rest["data"]] == [3, 4, 5, 6, 7]
    assert rest["message"] == "The last 5 universes."
    assert hers("list_universes").json()["message"] == "5 universes."


@pytest.mark.parametrize("cursor", ["x", "WyJuYW1lIl0", "WyJpZCIsImEiXQ", "WyJpZCIsbnVsbF0", "//8"])
def test_a_cursor_that_is_none_is_said_so(hers, cursor):
    assert hers.refused("list_universes", order="id", cursor=cursor) == (422, "bad_cursor")


def test_a_cursor_without_an_offset_is_none(hers):
    cursor = base64.urlsafe_b64encode(b'["-changed_at","2024-01-01",1]').decode()
    assert hers.refused("list_universes", order="-changed_at", cursor=cursor) == (422, "bad_cursor")


def test_lists_take_as_many_queries_for_many_as_for_few(hers):
    pk = hers.ask("create_universe", name="One")["id"]
    stored("NVDA", walk(3))
    hers.ask("add_assets", universe_id=pk, symbols=["NVDA"])
    hers.ask("create_list", universe_id=pk, text="NVDA")
    calls = [("list_universes", {}), ("list_universe_assets", {"universe_id": pk}), ("list_jobs", {}),
             ("list_lists", {"universe_id": pk}), ("list_members", {"universe_id": pk})]  # fmt: skip

    def queries():
        found = {}
        for name, given in calls:
            with CaptureQueriesContext(connection) as seen:
                hers.ask(name, **given)
            found[name] = len(seen)
        return found

    few = queries()
    for number in range(8):
        hers.ask("create_universe", name=f"More {number}")
        stored(f"MORE{number}", walk(3))
        hers.ask("add_assets", universe_id=pk, symbols=[f"MORE{number}"])
        hers.ask("create_list", universe_id=pk, text="NVDA, no$good")
        hers.ask("refresh_universe", universe_id=pk, timeframe=("1d", "1h", "4h", "1w")[number % 4])
    assert queries() == few


def test_done_once(hers, alice):
    once = {"Idempotency-Key": "5b6f7a"}
    first = hers("create_universe", headers=once, name="Once")
    again = hers("create_universe", headers=once, name="Once")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    other = hers("create_universe", headers=once, name="Twice")
    assert (other.status_code, other.json()["data"]["code"]) == (409, "idempotency_key_reused")
    assert len(hers.ask("list_universes")) == 1
    bad = hers("create_universe", headers={"Idempotency-Key": "bad"}, name="")
    assert bad.status_code == 422
    assert hers("create_universe", headers={"Idempotency-Key": "bad"}, name="Good").status_code == 201
    assert hers("create_universe", headers={"Idempotency-Key": "a b\tc"}, name="Good").status_code == 422
    his = Program.of(cast.bob())
    assert his("create_universe", headers=once, name="His").json()["data"]["owner"] == "bob"
    with tenancy.as_system("look"):
        assert sorted(IdempotencyKey.objects.values_list("owner__username", "key")) == [
            ("alice", "5b6f7a"), ("alice", "bad"), ("bob", "5b6f7a"),
        ]  # fmt: skip


def test_long_work_says_what_it_takes_before_it_is_begun(hers):
    pk = hers.ask("create_universe", name="Work")["id"]
    hers.ask("add_assets", universe_id=pk, symbols=["NVDA", "BTC-USDT"], unknown="add")
    dry = hers("backfill_universe", universe_id=pk, since="2020-01-01", dry_run=True)
    assert dry.status_code == 200
    cost = dry.json()["data"]["cost"]
    assert cost["series"] == 2
    assert cost["requests"] >= 2
    assert dry.json()["data"]["job"] is None
    assert [job["kind"] for job in hers.ask("list_jobs", kind="backfill-universe")] == []
    begun = hers("backfill_universe", universe_id=pk, since="2020-01-01")
    assert begun.status_code == 202
    job = begun.json()["data"]["job"]
    assert (job["kind"], job["state"]) == ("backfill-universe", "queued")
    assert hers.ask("get_job", job_id=job["id"])["params"]["universe_id"] == pk
    assert hers.ask("cancel_job", job_id=job["id"])["state"] == "cancelled"
    assert hers("rerun_job", job_id=job["id"]).status_code == 202


@pytest.mark.parametrize("day", ["0001-01-01", "1899-12-31", "2018-01-01", "9999-12-31"])
def test_days_far_away_are_days(hers, day):
    pk = hers.ask("create_universe", name="Far")["id"]
    hers.ask("add_assets", universe_id=pk, symbols=["NVDA"], unknown="add")
    for wanted in ({"until": day}, {"since": day}, {"since": day, "until": day}):
        assert hers("get_turnover", universe_id=pk, **wanted).status_code in (200, 422), wanted
    assert hers("list_members", universe_id=pk, as_of=day).status_code == 200
    assert hers("compare_members", universe_id=pk, as_of=day).status_code in (200, 422)


def test_what_long_work_takes_looks_up_whom_to_ask_once_for_all_of_a_class(hers):
    pk = hers.ask("create_universe", name="Many")["id"]
    for symbol in ("A", "B", "C"):
        stored(symbol, walk(2))
    hers.ask("add_assets", universe_id=pk, symbols=["A", "B", "C"])
    for operation in ("refresh_universe", "backfill_universe"):
        with CaptureQueriesContext(connection) as seen:
            assert hers.ask(operation, universe_id=pk, dry_run=True)["cost"]["series"] == 3
        assert sum("marketdata_fallbackchain" in one["sql"] for one in seen) == 1
