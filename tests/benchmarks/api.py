"""What the API costs a program: one asset beside an empty request, and 100,000 candles in their three forms.

The two requests are sent in turn, so that a drifting machine meets both alike. Measured in this process, through
Django's whole stack as ASGI has it, without a network: server time. Of memory, what Python itself takes (numpy and
the answer included, the mapped file and Arrow.s own pool not).
"""

import asyncio
import statistics
import time

from tests.benchmarks.frames import NEWEST, Scene
from tests.benchmarks.machine import beside, chronos, table

ROUNDS, STREAMS = 300, 15
GOAL_MS = 5.0
CANDLES = 100_000
LONG = 2_000_000  # candles of the answer whose memory is looked at
GOALS = {"arrow": 60.0, "json": 250.0, "csv": None}
BASE = "/api/v1/assets"


def main() -> None:
    with chronos() as owner:
        from django.test import Client, override_settings

        from chronos.core import tenancy, tokens
        from marketdata.models import Asset, Series, Timeframe
        from tests import cast

        alice = cast.alice()
        with tenancy.acting_as(alice):
            headers = {"Authorization": f"Bearer {tokens.issue(alice, 'benchmark')[1]}"}
        scene = Scene(owner)
        asset, long = scene.assets(2)
        Asset.objects.filter(pk=asset.pk).update(calendar="XNYS", exchange="NYQ", name="One of them")
        scene.fill([asset], "1m", CANDLES)
        scene.fill([long], "1m", LONG)
        Series.objects.bulk_create(
            Series(asset=asset, timeframe=timeframe, source="benchmark", candle_count=1000, changed_at=NEWEST,
                   first_open=NEWEST - 1000 * timeframe.length, last_open=NEWEST)
            for timeframe in (Timeframe.M5, Timeframe.H1, Timeframe.D1, Timeframe.W1)
        )  # fmt: skip
        scene.settle()
        with override_settings(API_REQUESTS_PER_MINUTE=10**9, ALLOWED_HOSTS=["testserver"]):
            with EmptyAddress():
                _one(Client(headers=headers), asset.symbol)
            asyncio.run(_streams(headers, asset.symbol, long.symbol))


async def _streams(headers: dict[str, str], asset: str, long: str) -> None:
    from django.test import AsyncClient

    client = AsyncClient()
    client.extra_headers = headers
    await _forms(client, asset)
    await _memory(client, long)


class EmptyAddress:
    """An address that answers nothing, behind the same middleware and the same gate."""

    def __enter__(self) -> None:
        from django.http import HttpResponse
        from django.urls import clear_url_caches, get_resolver, path

        from chronos.core.gate import guarded

        self.urls = get_resolver().url_patterns
        self.urls.insert(0, path("api/v1/empty", guarded(lambda request: HttpResponse("{}", "application/json"))))
        clear_url_caches()

    def __exit__(self, *_: object) -> None:
        del self.urls[0]


def _one(client, symbol: str) -> None:
    empty, one = "/api/v1/empty", f"{BASE}/{symbol}"
    title = "GET /assets/{symbol}, beside an empty authenticated request"
    beside(client, title, empty, ("one asset", one), ROUNDS, GOAL_MS)


async def _asked(client, address: str) -> int:
    """Octets of the whole answer."""
    answer = await client.get(address, headers=client.extra_headers)
    assert answer.status_code == 200, answer.content
    if not answer.streaming:
        return len(answer.content)
    octets = 0
    async for part in answer.streaming_content:
        octets += len(part)
    return octets


async def _forms(client, symbol: str) -> None:
    address = f"{BASE}/{symbol}/candles?timeframe=1m&limit={CANDLES}&format="
    times: dict[str, list[float]] = {form: [] for form in GOALS}
    octets = {form: await _asked(client, address + form) for form in GOALS}
    for _ in range(STREAMS):
        for form, taken in times.items():
            started = time.perf_counter()
            await _asked(client, address + form)
            taken.append(1000 * (time.perf_counter() - started))
    rows = []
    for form, taken in times.items():
        middle, goal = statistics.median(taken), GOALS[form]
        met = "" if goal is None else f"≤ {goal:.0f} ms: {'met' if middle <= goal else 'MISSED'}"
        rows.append((form, f"{middle:.1f}", f"{min(taken):.1f}", f"{octets[form] / 2**20:.1f}", met))
    table(f"{CANDLES:,} candles, warm", ("", "median ms", "best ms", "MiB", "goal"), rows)


async def _memory(client, symbol: str) -> None:
    """How much more memory is taken while a long answer goes out than before: Python's own, at its peak."""
    import tracemalloc

    rows = []
    for form in ("arrow", "csv"):
        address = f"{BASE}/{symbol}/candles?timeframe=1m&format={form}"
        await _asked(client, address)
        tracemalloc.start()
        octets = await _asked(client, address)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        rows.append((form, f"{octets / 2**20:.0f}", f"{peak / 2**20:.1f}"))
    table(f"memory of an answer of {LONG:,} candles", ("", "answer MiB", "peak MiB"), rows)
