"""The server of the Model Context Protocol, on the official SDK: who is asking is found out for each request anew."""

import logging
from collections.abc import Callable
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from chronos.agents import answering, prompts, resources
from chronos.agents.asking import Line
from chronos.agents.toolbox import Toolbox
from chronos.core.envelope import Refused

log = logging.getLogger(__name__)
Context = ServerRequestContext[Any, Any]

INSTRUCTIONS = """\
Chronos keeps universes (named sets of assets with a dated past) and their market data (candles). Every answer has a
message, data, next actions with their parameters, and metadata; a refusal says which field and what to do, and has
changed nothing. Symbols are written like NVDA, BRK.B, BTC-USDT, EUR-USD, ^GSPC; add_assets looks at each and suggests
what may have been meant: never guess one yourself. Long work (backfill, refresh, backtest) is a job: start it with
dry_run true to see what it takes, then without, then wait_for_job. Figures of backtests are fractions; tell their
warnings with them, and how many you tried: the best of many is good by chance. Edits name the version you have read.
For members as they were, ask list_members with as_of: today's are no sample of the past. Times are UTC; a candle is
named by its open. Lists are short here; ask on with cursor. What has no tool of its own: search_operations,
describe_operation, call_operation.
"""


def build(toolbox: Toolbox, line_of: Callable[[Context], Line], version: str) -> "Server[Any]":
    """`line_of` says with whose token the request at hand asks the API."""

    async def list_tools(context: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools(toolbox))

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if toolbox.takes(params.name) is None:
            raise MCPError(types.INVALID_PARAMS, "There is no such tool; search_operations finds what there is.")
        try:
            found = await toolbox.call(
                params.name, params.arguments or {}, line_of(context), context.session.report_progress
            )
        except Exception:  # whatever it was, an agent gets the one shape
            log.exception("a tool failed")
            found = answering.refusal(
                Refused("internal", "Something went wrong here.", "Try again; if it stays, tell staff.", status=500)
            )
        words = answering.text(found, toolbox.at_hand.keys() | toolbox.own.keys())
        return types.CallToolResult(
            content=[types.TextContent(text=words)], structured_content=found, is_error=not found["success"]
        )

    async def list_resources(context: Context, params: Any) -> types.ListResourcesResult:
        return await resources.listed(toolbox, line_of(context), (params and params.cursor) or "")

    async def list_templates(context: Context, params: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=resources.TEMPLATES)

    async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await resources.read(toolbox, line_of(context), str(params.uri))

    async def list_prompts(context: Context, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=prompts.listed())

    async def get_prompt(context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        return prompts.told(params.name, params.arguments or {})

    public = CacheHint(ttl_ms=300_000, scope="public")
    return Server(
        "chronos",
        version=version,
        title="Chronos",
        description="A workbench for market research: universes of assets, their past, their candles.",
        instructions=INSTRUCTIONS,
        cache_hints={"tools/list": public, "prompts/list": public, "resources/templates/list": public},
        get_tool_input_schema=toolbox.takes,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )


def tools(toolbox: Toolbox) -> list[types.Tool]:
    """Those at hand as the document has them, then our own."""
    found = [
        types.Tool(
            name=one.name, title=one.title, description=one.description, input_schema=one.takes,
            output_schema=one.answers, annotations=_hints(one.hints),
        )
        for one in toolbox.at_hand.values()
    ]  # fmt: skip
    return found + [
        types.Tool(
            name=one.name, title=one.title, description=one.says, input_schema=one.takes, output_schema=one.answers,
            annotations=_hints(one.hints),
        )
        for one in toolbox.own.values()
    ]  # fmt: skip


def _hints(hints: Any) -> types.ToolAnnotations:
    return types.ToolAnnotations(
        read_only_hint=hints["read_only"],
        destructive_hint=hints["destructive"],
        idempotent_hint=hints["idempotent"],
        open_world_hint=hints["open_world"],
    )
