"""`manage.py mcp`: agents' tools on standard input and output, for hosts that start their servers themselves."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.core.asgi import get_asgi_application
from django.core.management.base import BaseCommand, CommandError

from chronos.core import database, embedded

VARIABLE = "CHRONOS_TOKEN"
LOCAL = ("localhost", "127.0.0.1", "::1")

EXPLANATION = f"""
The API token comes from the environment, never from the command line, which others can read: from {VARIABLE}, or from
the variable that --token-from names. docs/agents.md shows how hosts are told.

examples:
  {VARIABLE}=chr_… manage.py mcp
  {VARIABLE}=chr_… manage.py mcp --url https://chronos.example.org
"""


class Command(BaseCommand):
    help = "Serve the Model Context Protocol on standard input and output, with an API token's rights."
    requires_system_checks: list[str] = []

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, epilog=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--token-from", metavar="NAME", default=VARIABLE, help="the variable that holds the token")
        parser.add_argument("--url", metavar="URL", help="of a Chronos that runs elsewhere; left out: this one")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["token_from"]
        token = os.environ.pop(name, "").strip()
        if not token:
            raise CommandError(
                f"There is no token in {name}. Make one in the settings of Chronos, and set {name} to it."
            )
        try:
            with _leaving_on_signals() as opened:
                if options["url"]:
                    asyncio.run(self._elsewhere(_address(options["url"]), token))
                else:
                    opened.enter_context(_services())
                    asyncio.run(self._here(token))
        except (embedded.EmbeddedError, database.DatabaseError) as error:
            raise CommandError(str(error)) from error

    async def _here(self, token: str) -> None:
        from chronos.agents.asking import Inside
        from chronos.agents.here import toolbox

        await _serve(toolbox(), Inside(get_asgi_application(), token))

    async def _elsewhere(self, address: str, token: str) -> None:
        import httpx

        from chronos.agents.asking import REQUEST_SECONDS, Outside
        from chronos.agents.operations import operations
        from chronos.agents.toolbox import Toolbox

        if urlsplit(address).scheme == "http" and urlsplit(address).hostname not in LOCAL:
            self.stderr.write("The token travels in the clear: use https where others can listen.")
        headers = {"Authorization": f"Bearer {token}"}
        timeout = httpx.Timeout(REQUEST_SECONDS, connect=10)
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=timeout) as client:
            try:
                answer = await client.get("/api/v1/openapi.json")
                document = answer.json() if answer.status_code == 200 else {}
            except (httpx.HTTPError, ValueError) as error:
                raise CommandError(f"{address} can't be reached ({type(error).__name__}).") from None
            if "paths" not in document:
                raise CommandError(
                    f"{address} does not let this token in, or is no Chronos (status {answer.status_code})."
                )
            await _serve(Toolbox(operations(document)), Outside(client))


def _address(url: str) -> str:
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.path not in ("", "/", "/mcp")
    ):
        raise CommandError("--url must look like https://chronos.example.org")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@contextlib.contextmanager
def _leaving_on_signals() -> Iterator[contextlib.ExitStack]:
    """The SDK's thread that reads standard input can't be interrupted, so nobody waits for it. What was opened is
    closed first.
    """
    with contextlib.ExitStack() as opened:

        def leave(number: int, frame: object) -> None:
            opened.close()
            os._exit(128 + number)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, leave) for number in numbers}
        opened.callback(lambda: [signal.signal(number, handler) for number, handler in before.items()])
        yield opened


@contextlib.contextmanager
def _services() -> Iterator[None]:
    """This machine's database and Valkey, for as long as we run or as somebody else needs them. Nothing is said: what
    stands on standard output is the protocol.
    """
    with embedded.services() as services:
        if services.started_postgres:
            database.prepare()
        yield


async def _serve(toolbox: Any, line: Any) -> None:
    from mcp.server.stdio import stdio_server

    from chronos.agents.server import build
    from chronos.api import VERSION

    known = await toolbox.call("get_me", {}, line, None)
    if not known["success"]:
        raise CommandError(f"{known['message']} {known['data']['remedy']}")
    server = build(toolbox, lambda context: line, VERSION)
    sys.stdout.flush()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
