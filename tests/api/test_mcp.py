"""Agents over MCP: the official client, a served Chronos, and the very rights of the API."""

import asyncio
import json
from datetime import timedelta

import httpx2
import orjson
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils.timezone import now
from jsonschema.validators import Draft202012Validator
from mcp.shared.exceptions import MCPError

from chronos.agents.asking import Asked, Inside
from chronos.agents.here import toolbox
from chronos.agents.toolbox import AT_HAND
from chronos.core import tenancy, tokens
from chronos.core.models import ApiToken, Job
from tests import cast
from tests.api.agent import over_http, over_stdio, talk
from tests.api.program import Program, document, operations
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")
ENVELOPE = {"success", "data", "message", "next_actions", "metadata"}
OWN = {"wait_for_job", "search_operations", "describe_operation", "call_operation"}


def in_thread(act):
    """Something done to the database meanwhile."""

    def whole():
        try:
            return act()
        finally:
            connections.close_all()

    return asyncio.to_thread(whole)


async def ask(client, tool, /, **given):
    """The data of an answer that must be a success."""
    told = await client.call_tool(tool, given)
    assert not told.is_error, told.content
    assert set(told.structured_content) == ENVELOPE
    return told.structured_content["data"]


async def refused(client, tool, /, **given):
    """The code and the field of a refusal, which has the same shape and says a remedy."""
    told = await client.call_tool(tool, given)
    assert told.is_error
    assert set(told.structured_content) == ENVELOPE
    fault = told.structured_content["data"]
    assert fault["remedy"] in told.content[0].text
    schema = toolbox().takes(tool) and (toolbox().own.get(tool) or toolbox().operations[tool]).answers
    Draft202012Validator(schema).validate(told.structured_content)
    return fault["code"], fault["field"]


# --- What there is -----------------------------------------------------------------------------------------------


def test_every_operation_is_reachable_and_described_as_in_the_document(address, hers):
    async def about(client):
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert len(listed) <= 25
        assert listed.keys() == {*AT_HAND, *OWN}
        everything = await ask(client, "search_operations")
        assert {one["operation"] for one in everything} == set(operations())
        for name in operations():
            described = await ask(client, "describe_operation", operation=name, with_answer=True)
            told = await client.call_tool("call_operation", {"operation": name, "parameters": {"no such": 1}})
            assert told.structured_content["data"]["field"] == "no such", name
            if tool := listed.get(name):
                assert (tool.input_schema, tool.output_schema) == (described["takes"], described["answers"])
            yield name, described

    async def whole(client):
        return [each async for each in about(client)]

    for name, described in talk(over_http(address, hers.secret), whole):
        _, _, told = operations()[name]
        Draft202012Validator.check_schema(described["takes"])
        Draft202012Validator.check_schema(described["answers"])
        properties, required = _in_the_document(told)
        takes = described["takes"]
        assert set(takes.get("required", ())) == required, name
        assert takes["additionalProperties"] is False
        schemas = document()["components"]["schemas"]
        here = {key: _resolved(part, takes.get("$defs", {})) for key, part in takes["properties"].items()}
        there = {key: _resolved(part, schemas) for key, part in properties.items()}
        assert _but_the_limit(here) == _but_the_limit(there), name


def _in_the_document(told):
    """The parameters of an operation side by side, and which of them must be there."""
    properties = {one["name"]: one["schema"] for one in told.get("parameters", ())}
    required = {one["name"] for one in told.get("parameters", ()) if one["required"]}
    for content in told.get("requestBody", {}).get("content", {}).values():
        body = _resolved(content["schema"], document()["components"]["schemas"])
        properties |= body["properties"]
        required |= set(body.get("required", ()))
    return properties, required


def _resolved(schema, schemas):
    """Without references and titles."""
    if isinstance(schema, list):
        return [_resolved(part, schemas) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return {
        key: {name: _resolved(inner, schemas) for name, inner in part.items()}
        if key == "properties"
        else _resolved(part, schemas)
        for key, part in schema.items()
        if key != "title"
    }


def _but_the_limit(properties):
    """What a list's limit is unless one says otherwise is smaller for agents."""
    for own in ("default", "description"):
        properties.get("limit", {}).pop(own, None)
    return properties


def test_tools_say_whether_they_change_anything(address, hers):
    async def about(client):
        return {tool.name: tool.annotations for tool in (await client.list_tools()).tools}

    hints = talk(over_http(address, hers.secret), about)
    for name, (method, _, _) in operations().items():
        if name in hints and method == "get":
            assert hints[name].read_only_hint, name
            assert not hints[name].destructive_hint
        if name in hints and method == "delete":
            assert hints[name].destructive_hint
            assert hints[name].idempotent_hint
    assert hints["validate_assets"].read_only_hint
    assert hints["backfill_universe"].open_world_hint
    assert not hints["create_universe"].read_only_hint
    assert not hints["create_universe"].open_world_hint
    assert hints["call_operation"].destructive_hint


@pytest.mark.parametrize(("query", "first"), [
    ("share with people", "share_universe"), ("past members", "list_members"), ("undo deletion", "undelete_universe"),
    ("job log", "list_job_lines"), ("tags", "tag_assets"), ("turnover", "get_turnover"),
])  # fmt: skip
def test_search_finds(query, first):
    found = asyncio.run(toolbox().call("search_operations", {"query": query}, None, None))
    assert first in [one["operation"] for one in found["data"]][:3]


def test_search_that_finds_nothing_says_so():
    found = asyncio.run(toolbox().call("search_operations", {"query": "zzz"}, None, None))
    assert found["data"] == []
    assert "empty query" in found["message"]


# --- Calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ключ", "a\r\nX-More: b"])
def test_a_key_that_is_no_header_is_said_so(key):
    """Before anybody is asked: over the network it would not even be sent."""
    given = {"operation": "create_universe", "parameters": {"name": "x"}, "idempotency_key": key}
    told = asyncio.run(toolbox().call("call_operation", given, None, None))
    assert (told["data"]["code"], told["data"]["field"]) == ("invalid", "header.Idempotency-Key")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_life_over_http(address, hers, mode):
    stored("NVDA", walk(5))
    talk(over_http(address, hers.secret, mode=mode), _life)


async def _life(client):
    made = await ask(client, "create_universe", name="Chips", description="Makers of “chips”")
    pk = made["id"]
    for _ in range(24):
        await ask(client, "create_universe", name="Chips more")
    told = await client.call_tool("list_universes", {})
    assert len(told.structured_content["data"]) == 20
    cursor = told.structured_content["metadata"]["next_cursor"]
    assert f"cursor={cursor}" in told.content[0].text
    assert len(await ask(client, "list_universes", cursor=cursor)) == 5
    assert len(await ask(client, "list_universes", limit=25)) == 25
    added = await ask(client, "add_assets", universe_id=pk, symbols=["nvda"], unknown="add")
    assert added[0]["outcome"] == "added"
    noted = {"universe_id": pk, "symbol": "NVDA", "note": "größte", "tags": ["gpu"], "version": 1}
    assert (await ask(client, "call_operation", operation="annotate_asset", parameters=noted))["tags"] == ["gpu"]
    assert (await ask(client, "annotate_asset", **noted | {"version": 2}))["version"] == 3
    exported = await ask(client, "export_universe", universe_id=pk, form="csv")
    assert exported["media_type"] == "text/csv"
    assert exported["name"].endswith(".csv")
    assert "NVDA" in exported["text"]
    sheet = await ask(client, "export_universe", universe_id=pk, form="xlsx")
    assert sheet["text"] is None
    assert sheet["base64"].startswith("UEsDB")
    told = await client.call_tool("backfill_universe", {"universe_id": pk, "dry_run": True})
    assert told.structured_content["data"]["cost"]["series"] == 1
    assert await refused(client, "create_universe", name="") == ("invalid", "body.name")
    assert await refused(client, "get_universe", universe=pk) == ("invalid", "universe")
    assert await refused(client, "get_universe") == ("invalid", "path.universe_id")
    assert await refused(client, "get_universe", universe_id="one") == ("invalid", "path.universe_id")
    assert await refused(client, "remove_asset", universe_id=pk, symbol="NVDA/move") == ("invalid", "path.symbol")
    assert await refused(client, "remove_asset", universe_id=pk, symbol="..") == ("invalid", "path.symbol")
    assert await refused(client, "remove_asset", universe_id=pk, symbol="A?b=#c%2F") == ("not_found", "")
    assert await refused(client, "list_universes", limit=-1) == ("invalid", "query.limit")
    assert await refused(client, "call_operation", operation="no_such") == ("not_found", "operation")
    assert await refused(client, "wait_for_job", job_id=0) == ("invalid", "job_id")
    assert await refused(client, "describe_operation") == ("invalid", "operation")
    with pytest.raises(MCPError):
        await client.call_tool("no_such_tool", {})
    once = {"operation": "create_universe", "parameters": {"name": "Once"}, "idempotency_key": "4711"}
    assert await ask(client, "call_operation", **once) == await ask(client, "call_operation", **once)
    (resource, *_) = (await client.list_resources()).resources
    whole = orjson.loads((await client.read_resource(resource.uri)).contents[0].text)
    assert (whole["name"], whole["members"][0]["symbol"]) == ("Chips", "NVDA")
    for uri in ("chronos://universes/0", "chronos://universes/999", "chronos://nothing/1", "chronos://jobs/7"):
        with pytest.raises(MCPError):
            await client.read_resource(uri)
    (prompt, *_) = (await client.list_prompts()).prompts
    words = (await client.get_prompt(prompt.name, {"symbols": "NVDA, GOGL"})).messages[0].content.text
    assert "NVDA, GOGL" in words
    with pytest.raises(MCPError):
        await client.get_prompt(prompt.name, {})


def test_the_newest_candles_are_a_resource(address, hers):
    stored("NVDA", walk(700))

    async def about(client):
        daily = (await client.read_resource("chronos://assets/NVDA/candles.csv")).contents[0]
        with pytest.raises(MCPError):
            await client.read_resource("chronos://assets/NVDA/candles.csv?timeframe=2d")
        with pytest.raises(MCPError):
            await client.read_resource("chronos://assets/NVDA%2F..%2Fx/candles.csv")
        none = (await client.read_resource("chronos://assets/NVDA/candles.csv?timeframe=1h")).contents[0]
        return daily, none

    daily, none = talk(over_http(address, hers.secret), about)
    assert daily.mime_type == "text/csv"
    head, *lines = daily.text.splitlines()
    whole = hers("get_candles", symbol="NVDA", format="csv").content.decode().splitlines()
    assert [head, *lines] == [whole[0], *whole[-500:]]
    assert none.text.splitlines() == [head]


def test_what_is_long_is_cut_between_rows_and_says_so(address, hers, alice):
    pk = hers.ask("create_universe", name="Long")["id"]
    hers.ask("add_assets", universe_id=pk, symbols=[f"S{number}" for number in range(120)], unknown="add")

    async def about(client):
        return await client.call_tool("list_universe_assets", {"universe_id": pk, "limit": 100})

    told = talk(over_http(address, hers.secret), about)
    assert len(told.structured_content["data"]) == 100
    lines = told.content[0].text.splitlines()
    (cut,) = [line for line in lines if line.startswith("(cut: ")]
    rows = [orjson.loads(line) for line in lines if line.startswith('{"symbol"')]
    assert 10 < len(rows) < 100
    assert cut.startswith(f"(cut: {len(rows)} of 100 rows")
    assert len(told.content[0].text) < 14_000


def test_waiting_tells_progress_and_ends_with_the_job(address, hers, alice):
    pk = hers.ask("create_universe", name="Work")["id"]
    job = hers.ask("refresh_universe", universe_id=pk)["job"]["id"]
    heard = []

    def change(**fields):
        with tenancy.acting_as(alice):
            Job.objects.filter(pk=job).update(**fields)

    async def hear(progress, total, message):
        heard.append((progress, total, message))

    async def drive():
        while not heard:
            await asyncio.sleep(0.05)
        await in_thread(
            lambda: change(state="running", started_at=now(), progress_done=2, progress_total=4, progress_note="NVDA")
        )
        while len(heard) < 2:
            await asyncio.sleep(0.05)
        await in_thread(lambda: change(state="done", progress_done=4, summary="All well.", finished_at=now()))

    async def about(client):
        short = await client.call_tool("wait_for_job", {"job_id": job, "seconds": 0})
        assert short.structured_content["next_actions"][0]["operation"] == "wait_for_job"
        waiting = client.call_tool("wait_for_job", {"job_id": job, "seconds": 20}, progress_callback=hear)
        async with asyncio.timeout(30):
            told, _ = await asyncio.gather(waiting, drive())
        events = await ask(client, "stream_job_events", job_id=job)
        assert events["text"].startswith("event: end")
        report = orjson.loads((await client.read_resource(f"chronos://jobs/{job}")).contents[0].text)
        return told, report

    for mode in ("auto", "legacy"):
        heard.clear()
        change(state="queued", started_at=None, finished_at=None, progress_done=0, progress_total=0, progress_note="")
        told, report = talk(over_http(address, hers.secret, mode=mode), about)
        assert heard[0] == (0, None, "It waits for a worker.")
        assert heard[1] == (2, 4, "NVDA")
        assert told.structured_content["data"]["state"] == "done"
        assert (report["summary"], report["lines"]) == ("All well.", [])


def test_who_does_not_wait_any_more_hangs_up():
    """As a browser would: Django ends a request by itself then."""
    seen = []

    async def application(scope, receive, send):
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])

    async def about():
        asking = asyncio.create_task(Inside(application, "chr_x")(Asked("GET", "/api/v1/me")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0.01)

    asyncio.run(about())
    assert seen == ["http.request", "http.disconnect"]


# --- Who may -----------------------------------------------------------------------------------------------------


def test_a_token_has_no_more_rights_here_than_over_rest(address, hers, alice):
    reads, his = Program.of(alice, may_write=False), Program.of(cast.bob())
    pk = hers.ask("create_universe", name="Hers")["id"]
    job = hers.ask("refresh_universe", universe_id=pk)["job"]["id"]

    async def reader(client):
        assert (await ask(client, "get_universe", universe_id=pk))["name"] == "Hers"
        for tool, given in (
            ("create_universe", {"name": "No"}),
            ("add_assets", {"universe_id": pk, "symbols": ["NVDA"]}),
            ("call_operation", {"operation": "delete_universe", "parameters": {"universe_id": pk}}),
            ("delete_universe", {"universe_id": pk}),
        ):
            assert (await refused(client, tool, **given))[0] == "insufficient_scope"

    async def stranger(client):
        for tool, given in (
            ("get_universe", {"universe_id": pk}),
            ("list_universe_assets", {"universe_id": pk}),
            ("remove_asset", {"universe_id": pk, "symbol": "NVDA"}),
            ("export_universe", {"universe_id": pk}),
            ("backfill_universe", {"universe_id": pk}),
            ("get_job", {"job_id": job}),
            ("wait_for_job", {"job_id": job}),
            ("cancel_job", {"job_id": job}),
            ("call_operation", {"operation": "stream_job_events", "parameters": {"job_id": job}}),
        ):
            assert (await refused(client, tool, **given))[0] == "not_found", tool
        for uri in (f"chronos://universes/{pk}", f"chronos://jobs/{job}"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
        assert (await client.list_resources()).resources == []

    talk(over_http(address, reads.secret), reader)
    talk(over_http(address, his.secret), stranger)


def test_a_token_that_is_revoked_meanwhile_is_over(address, hers, alice):
    def revoke():
        with tenancy.acting_as(alice):
            ApiToken.objects.all().delete()

    async def about(client):
        await ask(client, "get_me")
        await in_thread(revoke)
        with pytest.raises(MCPError):
            await client.call_tool("get_me", {})

    talk(over_http(address, hers.secret), about)

    async def elsewhere(client):
        pk = (await ask(client, "create_universe", name="Über"))["id"]
        assert (await ask(client, "export_universe", universe_id=pk, form="csv"))["media_type"] == "text/csv"
        await in_thread(revoke)
        assert (await refused(client, "get_me"))[0] == "invalid_token"

    talk(over_stdio(Program.of(alice).secret, "--url", address), elsewhere)


def message(tool="get_me", **given):
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": given}}


HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


def post(client, address, secret, path="/mcp", **more):
    headers = HEADERS | ({"Authorization": f"Bearer {secret}"} if secret else {}) | more.pop("headers", {})
    body = {"content": more.pop("content")} if "content" in more else {"json": more.pop("json", message())}
    return client.request(more.pop("method", "POST"), f"{address}{path}", headers=headers, **body)


def who(answer):
    data = answer.text.partition("data: ")[2]
    return orjson.loads(data)["result"]["structuredContent"]["data"]["username"]


def test_two_tokens_on_one_connection_are_two_people(address, hers):
    his = Program.of(cast.bob())
    with httpx2.Client(trust_env=False, limits=httpx2.Limits(max_connections=1)) as client:
        for _ in range(2):
            assert who(post(client, address, hers.secret)) == "alice"
            assert who(post(client, address, his.secret)) == "bob"
        assert post(client, address, "").status_code == 401


def test_the_door(address, hers, alice):
    with tenancy.acting_as(alice):
        gone = tokens.issue(alice, "expired", lifetime=timedelta(seconds=-1))[1]
    for_session = cast.signed_in(alice).cookies
    cookie = "; ".join(f"{name}={one.value}" for name, one in for_session.items())
    with httpx2.Client(trust_env=False, timeout=30) as client:
        for secret, more, status, code in (
            ("", {}, 401, "unauthenticated"),
            ("", {"headers": {"Cookie": cookie}}, 401, "unauthenticated"),
            ("", {"headers": {"Authorization": "Basic YTpi"}}, 401, "unauthenticated"),
            ("chr_" + "x" * 43, {}, 401, "invalid_token"),
            (gone, {}, 401, "invalid_token"),
            ("", {"method": "OPTIONS"}, 401, "unauthenticated"),
            (hers.secret, {"path": f"/mcp?token={hers.secret}"}, 400, "invalid_request"),
            (hers.secret, {"headers": {"Host": "evil.example"}}, 421, "invalid_request"),
            (hers.secret, {"headers": {"Origin": "https://evil.example"}}, 403, "forbidden"),
            (hers.secret, {"headers": {"Origin": "null"}}, 403, "forbidden"),
            (hers.secret, {"method": "GET"}, 405, "method_not_allowed"),
            (hers.secret, {"method": "DELETE"}, 405, "method_not_allowed"),
        ):
            answer = post(client, address, secret, **more)
            assert (answer.status_code, answer.json()["data"]["code"]) == (status, code), (more, answer.text)
            assert set(answer.json()) == ENVELOPE
            assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        assert who(post(client, address, hers.secret, headers={"Origin": address})) == "alice"
        assert who(post(client, address, hers.secret, path="/mcp/")) == "alice"
        for content, status in (
            (b"{", 400), (b"[]", 400), (b"[" * 100_000, 400), (b"\xff", 400), (b"x" * (10 * 2**20 + 1), 413),
        ):  # fmt: skip
            plain = {"headers": {"Content-Type": "application/json"}, "content": content}
            assert post(client, address, hers.secret, **plain).status_code == status
            modern = {"Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28"}
            assert post(client, address, hers.secret, headers=modern, content=content).status_code == status
    assert hers.secret not in (settings.CHRONOS_VAR / "web.log").read_text()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", "\0", {"a": {}}, [[]] * 3, "x" * 100_000])
def test_hostile_values_are_refused_in_the_one_shape(address, hers, value):
    with httpx2.Client(trust_env=False) as client:
        for asked in (
            message("create_universe", name=value),
            message("remove_asset", universe_id=1, symbol=value),
            message("list_universes", q=value),
        ):
            headers = {"Content-Type": "application/json"}
            answer = post(client, address, hers.secret, headers=headers, content=json.dumps(asked).encode())
            if answer.status_code != 200:
                assert answer.status_code == 400
                continue
            told = orjson.loads(answer.text.partition("data: ")[2])["result"]
            assert told["isError"] is True, told
            assert told["structuredContent"]["data"]["code"] != "internal", told


# --- The command -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "environment", "says"), [
    ((), {}, "There is no token in CHRONOS_TOKEN"),
    (("--token-from", "MINE"), {"CHRONOS_TOKEN": "chr_x"}, "There is no token in MINE"),
    ((), {"CHRONOS_TOKEN": "chr_" + "x" * 43}, "unknown, revoked or expired"),
    (("--url", "ftp://x"), {"CHRONOS_TOKEN": "chr_x"}, "must look like"),
    (("--url", "http://127.0.0.1:9"), {"CHRONOS_TOKEN": "chr_x"}, "can't be reached"),
])  # fmt: skip
def test_what_is_wrong_at_the_start_is_said(monkeypatch, capsys, arguments, environment, says):
    monkeypatch.delenv("CHRONOS_TOKEN", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CommandError, match=says):
        call_command("mcp", *arguments)
    assert capsys.readouterr().out == ""
