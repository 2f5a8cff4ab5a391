"""What an agent can read as a whole, by an address: a universe, an asset's candles, a job's report."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import mcp_types as types
from mcp.shared.exceptions import MCPError

from chronos.agents import answering
from chronos.agents.asking import Line, request, shown
from chronos.agents.toolbox import Toolbox
from chronos.core.envelope import Refused

MEMBERS, CANDLES, LINES = 500, 500, 200
JSON, CSV = "application/json", "text/csv"

TEMPLATES = [
    types.ResourceTemplate(
        uri_template="chronos://universes/{id}", name="universe", title="A universe", mime_type=JSON,
        description=f"What it is, and its members (the first {MEMBERS}) with their newest close.",
    ),
    types.ResourceTemplate(
        uri_template="chronos://assets/{symbol}/candles.csv{?timeframe}", name="candles", title="An asset's candles",
        mime_type=CSV, description=f"The newest {CANDLES} candles, daily unless timeframe says otherwise (1h, 1w, …).",
    ),
    types.ResourceTemplate(
        uri_template="chronos://jobs/{id}", name="job", title="A job's report", mime_type=JSON,
        description=f"How it went, and the newest {LINES} lines of its log.",
    ),
]  # fmt: skip


async def listed(toolbox: Toolbox, line: Line, cursor: str) -> types.ListResourcesResult:
    """The universes that the person sees, a page at a time."""
    found = await _ask(toolbox, line, "list_universes", cursor=cursor, limit=100)
    return types.ListResourcesResult(
        resources=[
            types.Resource(
                uri=f"chronos://universes/{one['id']}", name=f"universe-{one['id']}", title=one["name"], mime_type=JSON,
                description=one["description"] or f"{one['size']} members",
            )
            for one in found["data"]
        ],
        next_cursor=found["metadata"]["next_cursor"] or None,
    )  # fmt: skip


async def read(toolbox: Toolbox, line: Line, uri: str) -> types.ReadResourceResult:
    try:
        parts = urlsplit(uri)
        place = (parts.scheme, parts.netloc, *(unquote(part) for part in parts.path.split("/")[1:]))
        query = dict(parse_qsl(parts.query))
    except ValueError:
        raise _nothing(uri) from None
    match place:
        case ("chronos", "universes", pk):
            return _contents(uri, JSON, answering.compact(await _universe(toolbox, line, pk)))
        case ("chronos", "jobs", pk):
            return _contents(uri, JSON, answering.compact(await _job(toolbox, line, pk)))
        case ("chronos", "assets", symbol, "candles.csv"):
            return _contents(uri, CSV, await _candles(toolbox, line, symbol, query.get("timeframe", "1d")))
    raise _nothing(uri)


def _nothing(uri: str) -> MCPError:
    known = ", ".join(one.uri_template for one in TEMPLATES)
    return MCPError(types.INVALID_PARAMS, f"There is nothing at {shown(uri)[:200]}. There are: {known}")


def _contents(uri: str, kind: str, text: str) -> types.ReadResourceResult:
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=kind, text=text)])


async def _universe(toolbox: Toolbox, line: Line, pk: str) -> dict[str, Any]:
    universe = await _ask(toolbox, line, "get_universe", universe_id=pk)
    members = await _ask(toolbox, line, "list_universe_assets", universe_id=pk, limit=MEMBERS)
    kept = ("symbol", "name", "joined_at", "tags", "note", "last", "currency", "change", "at", "freshness")
    return {
        **universe["data"],
        "members": [{name: one[name] for name in kept} for one in members["data"]],
        "there_are_more": bool(members["metadata"]["next_cursor"]),
    }


async def _job(toolbox: Toolbox, line: Line, pk: str) -> dict[str, Any]:
    job = await _ask(toolbox, line, "get_job", job_id=pk)
    lines = await _ask(toolbox, line, "list_job_lines", job_id=pk, order="-id", limit=LINES)
    more = bool(lines["metadata"]["next_cursor"])
    return {**job["data"], "lines": lines["data"][::-1], "there_are_more": more}


async def _candles(toolbox: Toolbox, line: Line, symbol: str, timeframe: str) -> str:
    asked = {"symbol": symbol, "timeframe": timeframe, "format": "csv", "last": CANDLES}
    text: str = (await _ask(toolbox, line, "get_candles", **asked))["data"]["text"]
    return text


async def _ask(toolbox: Toolbox, line: Line, name: str, **given: Any) -> answering.Envelope:
    """An operation's answer. A refusal is an error of the protocol: a resource has no other way to say it."""
    operation = toolbox.operations[name]
    try:
        found = answering.envelope(operation, await line(request(operation, given)))
    except Refused as refused:
        found = answering.refusal(refused)
    if not found["success"]:
        raise MCPError(types.INVALID_PARAMS, f"{found['message']} {found['data']['remedy']}", data=found["data"])
    return found
