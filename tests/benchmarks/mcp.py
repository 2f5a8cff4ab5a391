"""What an agent's tool call costs beside the same request over REST: the transport, the tool, the text.

Asked in turn over one connection each, of a served Chronos, by a plain HTTP client: the SDK's own costs as much again,
and is told for comparison.
"""

import asyncio
import socket
import statistics
import time
import urllib.request

from tests.benchmarks.machine import chronos, table

ROUNDS = 200
GOAL_MS = 10.0
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


def main() -> None:
    with chronos():
        from chronos.core import tenancy
        from tests import cast
        from tests.api.agent import over_http
        from tests.api.program import Program
        from tests.browser.conftest import start, stop
        from universes import catalogue

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        command = ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", port, "--no-ws")
        environment = {"CHRONOS_PROCESS": "web", "PORT": port, "API_REQUESTS_PER_MINUTE": "1000000"}
        server = start("web", *command, "chronos.asgi:application", **environment)
        try:
            address = f"http://localhost:{port}"
            _wait(address)
            alice = cast.alice()
            with tenancy.acting_as(alice):
                catalogue.create(alice, "Chips")
            _measure(address, Program.of(alice).secret, over_http)
        finally:
            stop(server)


def _wait(address: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        try:
            opener.open(f"{address}/health/live", timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


def _measure(address: str, secret: str, over_http) -> None:
    import httpx2

    client = httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}, trust_env=False)

    def rest() -> None:
        assert client.get("/api/v1/universes/1").status_code == 200

    def tool(version: str) -> None:
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": "get_universe", "arguments": {"universe_id": 1}}}  # fmt: skip
        headers = HEADERS | {"MCP-Protocol-Version": version}
        if version > "2026":
            call["params"]["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "get_universe"}
        answer = client.post("/mcp", headers=headers, json=call)
        assert answer.status_code == 200, answer.text
        assert "Chips" in answer.text

    kinds = {
        "REST": rest,
        "MCP 2026-07-28": lambda: tool("2026-07-28"),
        "MCP 2025-11-25": lambda: tool("2025-11-25"),
    }
    for act in kinds.values():
        for _ in range(20):
            act()
    timed: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, act in kinds.items():
            timed[name].append(_milliseconds(act))
    timed["MCP, the SDK's client"] = asyncio.run(_by_the_sdk(over_http(address, secret)))
    rows = [
        (name, f"{statistics.median(each):.2f}", f"{statistics.quantiles(each, n=20)[-1]:.2f}")
        for name, each in timed.items()
    ]
    table("one universe, over HTTP", ("", "median ms", "p95 ms"), rows)
    for name in list(kinds)[1:]:
        more = statistics.median(b - a for a, b in zip(timed["REST"], timed[name], strict=True))
        tail = statistics.quantiles(timed[name], n=20)[-1] - statistics.quantiles(timed["REST"], n=20)[-1]
        met = "met" if tail <= GOAL_MS else "MISSED"
        print(f"goal: {name} ≤ REST + {GOAL_MS:.0f} ms (p95): {met} ({tail:+.2f} ms; paired median {more:+.2f} ms)")


async def _by_the_sdk(client) -> list[float]:
    async with client as connected:
        timed = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            await connected.call_tool("get_universe", {"universe_id": 1})
            timed.append(1000 * (time.perf_counter() - started))
    return timed[20:]


def _milliseconds(act) -> float:
    started = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - started)
