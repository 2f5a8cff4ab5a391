"""An agent's program: the official SDK's client, over HTTP to a served Chronos or over stdio to its own process."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

ROOT = Path(__file__).parents[2]


def over_http(address: str, secret: str, **more: Any) -> Client:
    client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=60)
    return Client(streamable_http_client(f"{address}/mcp", http_client=client), **more)


def over_stdio(secret: str, *arguments: str, **more: Any) -> Client:
    command = [str(ROOT / "manage.py"), "mcp", *arguments]
    environment = dict(os.environ) | {"CHRONOS_TOKEN": secret}
    return Client(StdioServerParameters(command=sys.executable, args=command, env=environment, cwd=str(ROOT)), **more)


def talk(client: Client, about: Callable[[Client], Awaitable[Any]]) -> Any:
    """What came of a conversation."""

    async def whole() -> Any:
        async with client as connected:
            return await about(connected)

    return asyncio.run(whole())
