"""32 programs at once for a minute, over loopback: `python -m tests.benchmarks.load` starts a Chronos of its own.

Each asks what programs ask: who they are, lists, an asset, a thousand candles, and every tenth time a universe is made
and deleted. It ends by itself. LOAD_SECONDS changes how long it takes.
"""

import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.benchmarks.machine import table

CLIENTS = 32
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
ROOT = Path(__file__).resolve().parents[2]
MAKE_TOKENS = f"""
from chronos.core import tenancy, tokens
from chronos.core.models import User
for number in range({CLIENTS // 4}):
    user, _ = User.objects.get_or_create(username=f"load{{number}}")
    with tenancy.acting_as(user):
        for one in range(4):
            print("TOKEN", tokens.issue(user, f"load {{one}}", may_write=True)[1])
"""
READS = ("/me", "/universes", "/universes?order=-changed_at&limit=20", "/assets/AAPL.SAMPLE",
         "/assets/AAPL.SAMPLE/candles?timeframe=1d&limit=1000", "/assets/search?q=app", "/jobs")  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="chronos-load-") as var:
        Path(var).chmod(0o755)
        environment = _environment(var)
        house = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            for line in house.stdout:
                if "is ready" in line:
                    break
            asyncio.run(_load(environment))
        finally:
            house.terminate()
            house.wait(60)


def _environment(var: str) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return kept | {"CHRONOS_VAR": var, "PORT": str(port), "API_REQUESTS_PER_MINUTE": "1000000",
                   "CHRONOS_ENV_FILE": os.devnull, "FETCH_INTERVAL_MINUTES": "1440"}  # fmt: skip


async def _load(environment: dict[str, str]) -> None:
    import httpx

    made = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", MAKE_TOKENS], cwd=ROOT, env=environment, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    tokens = re.findall(r"TOKEN (\S+)", made.stdout)
    base = f"http://127.0.0.1:{environment['PORT']}/api/v1"
    taken: dict[str, list[float]] = {}
    faults: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    clients = [
        httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) for token in tokens
    ]
    await asyncio.gather(*(_program(client, place, end, taken, faults) for place, client in enumerate(clients)))
    for client in clients:
        await client.aclose()
    every = [one for times in taken.values() for one in times]
    rows = [_row(name, times) for name, times in sorted(taken.items())]
    table(f"{len(tokens)} programs for {SECONDS:.0f} s over loopback", ("", "asked", "p50 ms", "p95 ms", "p99 ms"),
          [*rows, _row("all", every)])  # fmt: skip
    print(
        f"  {len(every) / SECONDS:.0f} requests a second, {sum(faults.values())} refused or failed {dict(faults) or ''}"
    )


async def _program(client, place: int, end: float, taken: dict[str, list[float]], faults: Counter[str]) -> None:
    turn = place
    while time.monotonic() < end:
        turn += 1
        if turn % 10 == 0:
            made = await _timed(client, "POST", "/universes", taken, faults, json={"name": f"Load {turn}"})
            if made is not None:
                await _timed(
                    client, "DELETE", f"/universes/{made['data']['id']}", taken, faults, name="/universes/{id}"
                )
            continue
        await _timed(client, "GET", READS[turn % len(READS)], taken, faults)


async def _timed(client, method: str, path: str, taken, faults, *, name: str = "", **more):
    import httpx

    began = time.perf_counter()
    try:
        answer = await client.request(method, path, **more)
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        faults[f"{method} {name or path}: {type(error).__name__}"] += 1
        return None
    taken.setdefault(f"{method} {name or path}", []).append(1000 * (time.perf_counter() - began))
    if answer.status_code >= 400:
        faults[f"{method} {name or path}: {answer.status_code}"] += 1
        return None
    return told


def _row(name: str, times: list[float]) -> tuple[str, ...]:
    if len(times) < 2:
        return (name, str(len(times)), "", "", "")
    cuts = statistics.quantiles(times, n=100)
    return (name, f"{len(times):,}", f"{statistics.median(times):.0f}", f"{cuts[94]:.0f}", f"{cuts[98]:.0f}")


if __name__ == "__main__":
    main()
