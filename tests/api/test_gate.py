"""Who may ask, how often, and what is said to whoever may not: one shape for all of it."""

import gc
import re
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.test import Client, override_settings
from django.utils import timezone

from chronos.agents import door
from chronos.core import tenancy
from chronos.core.envelope import Refused
from chronos.core.models import ApiToken, Job
from tests import cast
from tests.api.program import Program, operations, placed
from tests.cast import signed_in

pytestmark = pytest.mark.usefixtures("house")
JSON = "application/json"


def test_every_operation_wants_somebody():
    for name, (method, path, _) in operations().items():
        answer = getattr(Client(), method)(re.sub(r"{.*?}", "1", path), content_type=JSON)
        assert (answer.status_code, answer.json()["data"]["code"]) == (401, "unauthenticated"), name
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_refusal_keeps_nothing_of_its_request():
    """An exception that outlives its request keeps it, by the frames in its traceback."""
    assert Client().get("/api/v1/me").status_code == 401
    ask = door.Door(None)
    for headers in ([], [(b"origin", b"https://evil.example")], [(b"host", b"evil.example")]):
        scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": headers}
        said = []

        async def send(message, said=said):
            said.append(message.get("status"))

        async_to_sync(ask)(scope | {"server": ("localhost", 80)}, None, send)
        assert said[0] in (401, 403, 421)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Refused and one.__traceback__]


def test_a_reading_token_reads(alice):
    reads = Program.of(alice, may_write=False)
    assert reads.ask("get_me")["may_write"] is False
    assert reads.refused("create_universe", name="No") == (403, "insufficient_scope")


def test_a_session_needs_its_csrf_token(alice):
    page = Client(enforce_csrf_checks=True)
    page.force_login(alice)
    assert page.get("/api/v1/me").json()["data"]["token"] is None
    _, path, _, _ = placed("create_universe", {})
    refused = page.post(path, {"name": "x"}, content_type=JSON)
    assert (refused.status_code, refused.json()["data"]["code"]) == (403, "csrf")
    page.get("/settings/")
    token = page.cookies[next(name for name in page.cookies if "csrf" in name)].value
    assert page.post(path, {"name": "x"}, content_type=JSON, headers={"X-CSRFToken": token}).status_code == 201


def test_what_is_nothing_is_said_in_the_same_shape(hers):
    for method, path, status, code in (
        ("get", "/api/v1/", 404, "not_found"),
        ("get", "/api/v1/nothing", 404, "not_found"),
        ("get", "/api/v2/universes", 404, "not_found"),
        ("put", "/api/v1/universes", 405, "method_not_allowed"),
        ("get", "/api/v1/universes/0", 422, "invalid"),
        ("get", f"/api/v1/universes/{2**63}", 422, "invalid"),
        ("get", "/api/v1/universes/one", 422, "invalid"),
        ("get", "/api/v1/universes?limit=-1", 422, "invalid"),
        ("get", "/api/v1/universes?order=name;drop", 422, "invalid"),
        ("get", "/api/v1/universes?q=%00", 400, "invalid_request"),
    ):
        answer = getattr(hers.client, method)(path)
        told = answer.json()
        assert (answer.status_code, told["data"]["code"]) == (status, code), path
        assert set(told) == {"success", "data", "message", "next_actions", "metadata"}


@pytest.mark.parametrize(("body", "status", "code"), [
    (b"{", 400, "malformed_json"),
    (b'{"name": NaN}', 400, "malformed_json"),
    (b'{"name": Infinity}', 400, "malformed_json"),
    (b"[" * 100_000, 400, "malformed_json"),
    (b"\xff\xfe", 400, "malformed_json"),
    (b'"name"', 422, "invalid"),
    (b"[]", 422, "invalid"),
    (b"null", 422, "invalid"),
    (b"", 422, "invalid"),
    (b'{"name": "a\\u0000b"}', 422, "invalid"),
    (b'{"name": "\\ud800"}', 400, "malformed_json"),
    (b'{"name": "' + b"a" * (11 * 2**20) + b'"}', 413, "too_large"),
])  # fmt: skip
def test_bodies_that_are_none(hers, body, status, code):
    answer = hers.client.post("/api/v1/universes", body, content_type=JSON)
    assert (answer.status_code, answer.json()["data"]["code"]) == (status, code)
    assert hers.ask("list_universes") == []


def test_a_form_is_no_body(hers):
    answer = hers.client.post("/api/v1/universes", {"name": "x"})
    assert (answer.status_code, answer.json()["data"]["code"]) == (415, "unsupported_media_type")


@override_settings(API_REQUESTS_PER_MINUTE=8)
def test_too_many_at_once_are_told_when(alice):
    one, other, his = Program.of(alice), Program.of(alice), Program.of(cast.bob())
    answers = [one("get_me") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["data"]["code"] == "throttled"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 15
    assert [other("get_me").status_code for _ in range(3)] == [200, 200, 429]
    assert Program.of(alice)("get_me").status_code == 429  # a person's programs together have a limit, too
    assert his("get_me").status_code == 200


@override_settings(API_REQUESTS_PER_MINUTE=1)
def test_however_few_may_come_one_may(hers):
    assert [hers("get_me").status_code for _ in range(2)] == [200, 429]


def test_a_token_has_a_budget_of_worker_time(alice):
    few, many = Program.of(alice, compute_minutes=10), Program.of(alice)
    pk = few.ask("create_universe", name="Work")["id"]
    few.ask("refresh_universe", universe_id=pk)
    with tenancy.acting_as(alice):
        job = Job.objects.get()
        assert job.token == ApiToken.objects.get(compute_minutes=10)
        now = timezone.now()
        Job.objects.update(state="done", started_at=now - timedelta(hours=30), finished_at=now - timedelta(hours=23.9))
    assert few.ask("get_me")["compute_seconds_left"] == pytest.approx(600 - 360, abs=5)
    few.ask("refresh_universe", universe_id=pk)
    with tenancy.acting_as(alice):
        Job.objects.filter(state="queued").update(
            state="done", started_at=now - timedelta(minutes=5), finished_at=timezone.now()
        )
    assert few.refused("refresh_universe", universe_id=pk) == (429, "budget_spent")
    assert few("refresh_universe", universe_id=pk, dry_run=True).status_code == 200
    assert few.ask("list_jobs", state="unfinished") == []
    assert many("refresh_universe", universe_id=pk).status_code == 202


def test_tokens_are_seen_and_ended_but_not_made(alice, hers):
    (token,) = hers.ask("list_tokens")
    assert hers.secret not in str(token)
    assert token["hint"] == hers.secret[-4:]
    his = Program.of(cast.bob())
    assert his.refused("revoke_token", token_id=token["id"]) == (404, "not_found")
    hers.ask("revoke_token", token_id=token["id"])
    assert hers.refused("get_me") == (401, "invalid_token")
    assert signed_in(alice).get("/api/v1/me").status_code == 200


def test_a_spent_budget_leaves_what_needs_no_work(alice):
    few = Program.of(alice, compute_minutes=1)
    pk = few.ask("create_universe", name="Work")["id"]
    few.ask("refresh_universe", universe_id=pk)
    now = timezone.now()
    with tenancy.acting_as(alice):
        Job.objects.update(state="done", started_at=now - timedelta(minutes=5), finished_at=now)
    brought = few("create_list", universe_id=pk, text="NVDAA MSFTT").json()
    assert brought["data"]["groups"] == {"pending": 2}
    assert "worker time" in brought["message"]
    (told,) = few.ask("validate_assets", symbols=["NVDAA"])
    assert (told["verdict"], told["job"]) == ("pending", None)
    assert "worker time" in told["reason"]
    (added,) = few.ask("add_assets", universe_id=pk, symbols=["NVDAA"])
    assert added["outcome"] == "added"
    assert few.ask("list_jobs", state="unfinished") == []


def test_no_token_that_works_is_offered_to_be_ended(alice, hers):
    Program.of(alice)
    assert hers("list_tokens").json()["next_actions"] == []
    gone = Program.of(alice, lifetime=timedelta(seconds=-1))
    (action,) = hers("list_tokens").json()["next_actions"]
    with tenancy.acting_as(alice):
        assert action["parameters"] == {"token_id": ApiToken.objects.get(hint=gone.secret[-4:]).pk}


def test_health(hers):
    found = {check["name"]: check["ok"] for check in hers.ask("get_health")}
    assert found["database"]
    assert found["valkey"]
