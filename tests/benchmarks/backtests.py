"""From the form's button to the result, the result page, what a million bars need, and lists of ten thousand runs:
`python -m tests.benchmarks.backtests`.

A real worker beside this process, warm after two runs. Server time is measured through Django's whole stack, without a
network; a browser adds its own.
"""

import os
import statistics
import subprocess
import sys
import time

from tests.benchmarks.machine import chronos, milliseconds, table

ROUNDS = 25
DAYS, MINUTES = 2520, 1_000_000
MANY = 10_000
GOAL_SECONDS, GOAL_MS, GOAL_MB, GOAL_LIST_MS = 1.0, 120, 300, 80
FORM = {
    "rule": "sma-cross", "p-fast": "10", "p-slow": "30", "asset": "BENCH", "timeframe": "1d", "cash": "10000",
    "direction": "long", "sizing": "fraction", "size_fraction": "100", "lots": "1", "fee_rate": "0.1",
}  # fmt: skip
# A walk that chance takes, the same each time; made by the database itself.
CANDLES = """
INSERT INTO marketdata_candle
    (asset_id, timeframe, open_time, open, high, low, close, adj_close, volume, source, known_at)
SELECT %(asset)s, %(timeframe)s, moment, price, price * 1.01, price * 0.99, price * 1.002, NULL, 1000000, 'benchmark',
    now()
FROM (
    SELECT %(newest)s::timestamptz - n * %(step)s::interval AS moment,
        round((100 * exp(sum(random_normal(0, 0.001)) OVER (ORDER BY n DESC)))::numeric, 4) AS price
    FROM generate_series(0, %(count)s - 1) n, setseed(0.5)
) AS made
"""
MEMORY = """
import django, resource, sys
django.setup()
from chronos.core import tenancy
from chronos.core.models import User
from signals import backtests
from signals.models import Backtest

user = User.objects.get(username="alice")


def run(pk):
    with tenancy.acting_as(user):
        wanted = Backtest.objects.select_related("asset", "benchmark", "strategy").get(pk=pk)
    ended = backtests.perform(wanted, lambda: tenancy.acting_as(user), lambda *_: None)
    assert not ended.failed, ended.summary
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


small, large = map(int, sys.argv[1:])
print(run(small), run(large))
"""


def main() -> None:
    with chronos() as owner:
        client = _scene(owner)
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "chronos", "worker", "--concurrency", "1", "--without-gossip",
             "--without-mingle"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _submitted(client)
            _submitted(client)
            runs = [_submitted(client) for _ in range(ROUNDS)]
            times, address = [seconds for seconds, _ in runs], runs[-1][1]
            pages = [milliseconds(client, address) for _ in range(3 * ROUNDS)]
            large = _submitted(client, asset="BENCH1M", timeframe="1m", lots="0", fee_rate="0")
            long_pages = [milliseconds(client, large[1]) for _ in range(ROUNDS)]
        finally:
            worker.terminate()
            worker.wait(20)
        base, most = _memory(owner, address, large[1])
        lists = _lists(owner, client)
    p95, long_p95 = _p95(pages), _p95(long_pages)
    table(
        f"a backtest of {DAYS:,} days, from the form's button to its result",
        ("", "median", "p95"),
        [
            ("submit to result, s", f"{statistics.median(times):.3f}", f"{_p95(times):.3f}"),
            ("result page, server ms", f"{statistics.median(pages):.1f}", f"{p95:.1f}"),
            (f"the same of {MINUTES:,} bars", f"{statistics.median(long_pages):.1f}", f"{long_p95:.1f}"),
        ],
    )
    table(
        f"lists of {MANY:,} runs, server ms",
        ("", "median", "p95"),
        [(name, f"{statistics.median(each):.1f}", f"{_p95(each):.1f}") for name, each in lists.items()],
    )
    print(
        f"{MINUTES:,} bars: submit to result {large[0]:.1f} s; {most:.0f} MB at most, {base:.0f} MB after a small run"
    )
    print(f"goal: submit to result ≤ {GOAL_SECONDS} s in the median: {_met(statistics.median(times) <= GOAL_SECONDS)}")
    print(f"goal: result page p95 ≤ {GOAL_MS} ms: {_met(p95 <= GOAL_MS)}")
    print(f"goal: list p95 ≤ {GOAL_LIST_MS} ms: {_met(_p95(lists['newest first']) <= GOAL_LIST_MS)}")
    print(
        f"goal: {MINUTES:,} bars ≤ {GOAL_MB} MB above the base: {_met(most - base <= GOAL_MB)} ({most - base:.0f} MB)"
    )


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _lists(owner, client) -> dict[str, list[float]]:
    """The same run ten thousand times, with other figures and times."""
    from signals.models import HEADLINES, Backtest

    columns = [f'"{field.column}"' for field in Backtest._meta.fields if not field.primary_key]
    told = {f'"{name}"': "random()" for name in HEADLINES} | {
        '"trade_count"': "n % 100", '"created_at"': "created_at - n * interval '1 minute'", '"job_id"': "NULL"
    }  # fmt: skip
    values = ", ".join(told.get(name, name) for name in columns)
    owner.execute(
        f"INSERT INTO signals_backtest ({', '.join(columns)}) SELECT {values}"
        f" FROM (SELECT * FROM signals_backtest ORDER BY id LIMIT 1) one, generate_series(1, {MANY}) n"
    )
    owner.execute("VACUUM ANALYZE signals_backtest")
    addresses = {"newest first": "/backtests/", "best first": "/backtests/?sort=-return", "its 100th page":
                 "/backtests/?page=100", "searched": "/backtests/?q=cross&trades=50"}  # fmt: skip
    for address in addresses.values():
        milliseconds(client, address)
    return {name: [milliseconds(client, address) for _ in range(ROUNDS)] for name, address in addresses.items()}


def _met(good: bool) -> str:
    return "met" if good else "MISSED"


def _submitted(client, **changed: str) -> tuple[float, str]:
    """Seconds until the page shows a result, and where it is."""
    started = time.perf_counter()
    answer = client.post("/backtests/new/", FORM | changed)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    address = answer["Location"]
    while b"Equity" not in (shown := client.get(address).content):
        assert b"There is no result" not in shown, shown.decode()
        assert time.perf_counter() - started < 120, shown.decode()
        time.sleep(0.005)
    return time.perf_counter() - started, address


def _memory(owner, *addresses: str) -> tuple[float, float]:
    owner.execute("SELECT set_config('chronos.system', 'a benchmark', false)")
    owner.execute("UPDATE signals_backtest SET finished_at = NULL, failure = ''")
    keys = [address.strip("/").rpartition("/")[2] for address in addresses]
    told = subprocess.run([sys.executable, "-c", MEMORY, *keys], capture_output=True, text=True, check=True,
                          env=os.environ | {"LOG_LEVEL": "ERROR"})  # fmt: skip
    base, most = map(float, told.stdout.split())
    return base, most


def _scene(owner):
    from django.test import Client

    from marketdata.models import Asset, Series
    from tests import cast

    for symbol, timeframe, step, count in (("BENCH", "1d", "1 day", DAYS), ("BENCH1M", "1m", "1 minute", MINUTES)):
        asset = Asset.objects.create(symbol=symbol, asset_class="crypto", calendar="24/7")
        newest = "2026-01-02T00:00Z"
        owner.execute(
            CANDLES,
            {"asset": asset.pk, "timeframe": timeframe, "newest": newest, "step": step, "count": count},
        )
        first, last = owner.execute(
            "SELECT min(open_time), max(open_time) FROM marketdata_candle WHERE asset_id = %s", [asset.pk]
        ).fetchone()
        Series.objects.create(
            asset=asset, timeframe=timeframe, candle_count=count, first_open=first, last_open=last, source="benchmark"
        )
    owner.execute("VACUUM ANALYZE")
    client = Client(headers={"host": "localhost"})
    client.force_login(cast.alice())
    return client


if __name__ == "__main__":
    main()
