"""How fast candles are stored, as ratios within one run: `python -m tests.benchmarks.ingest [ROWS]`.

Everything runs on a cluster of its own in a temporary directory, with the durable settings of a real one. The three
ways take turns, so that a slow moment of the machine meets all of them.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROWS, ROUNDS = 200_000, 5
BULK_ROWS = 20_000  # bulk_create is timed on fewer: it takes the same time for each


@contextmanager
def house() -> Iterator[None]:
    """A throw-away Chronos database, as `tests/house.py` makes one, but durable."""
    import os

    with tempfile.TemporaryDirectory(prefix="chronos-bench-") as var:
        Path(var).chmod(0o755)
        for name in ("DATABASE_URL", "DATABASE_APP_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ |= {"CHRONOS_VAR": var, "CHRONOS_ENV_FILE": os.devnull, "LOG_LEVEL": "WARNING"}
        os.environ["DJANGO_SETTINGS_MODULE"] = "chronos.settings"
        import django

        django.setup()
        from django.conf import settings
        from django.db import connections

        from chronos.core import database, embedded

        with embedded.Services(settings.EMBEDDED, settings.KEYS):
            database.prepare()
            yield
            connections.close_all()


def minutes(rows: int):
    """A random walk of minute candles with cents and fractional volumes, as the table ingestion takes."""
    import numpy as np
    import pyarrow as pa

    from marketdata.ingestion import schema

    chance = np.random.default_rng(7)
    close = 100 + np.cumsum(chance.normal(0, 0.02, rows))
    close += max(0.0, 5 - close.min())
    open_ = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(open_, close) + 0.05, np.minimum(open_, close) - 0.05
    start = np.datetime64("2020-01-01T00:00", "us")
    texts = [[f"{value:.4f}" for value in values] for values in (open_, high, low, close)]
    volume = [f"{value:.3f}" for value in chance.gamma(2, 500, rows)]
    empty = pa.nulls(rows, pa.string())
    at = pa.array(start + np.arange(rows) * np.timedelta64(1, "m")).cast(pa.timestamp("us", "UTC"))
    return pa.Table.from_arrays([at, *map(pa.array, texts), empty, pa.array(volume), empty], schema=schema())


def clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def written() -> int:
    """Bytes of write-ahead log since the cluster was made."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
        return int(cursor.fetchone()[0])


class Ways:
    """The ways to store the same candles, each into a table that is empty of them."""

    def __init__(self, rows: int) -> None:
        from tests.house import owner

        self.candles = minutes(rows)
        self.owner = owner()
        self.number = 0
        self.owner.execute("CREATE TABLE plain (LIKE marketdata_candle INCLUDING CONSTRAINTS INCLUDING INDEXES)")

    def asset(self):
        from marketdata.models import Asset

        self.number += 1
        return Asset.objects.create(symbol=f"BENCH{self.number}")

    def empty(self) -> None:
        self.owner.execute("TRUNCATE marketdata_candle, marketdata_candlerevision, marketdata_series, plain")

    def copy(self) -> None:
        """PostgreSQL's own COPY of the same columns into an empty table with the same key and checks."""
        import pyarrow as pa
        from pyarrow import csv

        text = pa.BufferOutputStream()
        n = self.candles.num_rows
        head = [pa.repeat(pa.scalar(1), n), pa.repeat(pa.scalar("1m"), n)]
        tail = [pa.repeat(pa.scalar("bench"), n), pa.repeat(pa.scalar("2026-01-01 00:00:00Z"), n)]
        table = pa.Table.from_arrays([*head, *self.candles.columns, *tail], names=[f"c{i}" for i in range(12)])
        csv.write_csv(table, text, csv.WriteOptions(include_header=False, quoting_style="none"))
        command = "COPY plain FROM STDIN (FORMAT csv)"
        with self.owner.transaction(), self.owner.cursor() as cursor, cursor.copy(command) as copy:
            copy.write(memoryview(text.getvalue()))

    def ingest(self, asset, every: int = 1) -> None:
        from marketdata.ingestion import ingest

        candles = self.candles
        if every > 1:
            candles = candles.take(list(range(0, candles.num_rows, every)))
        ingest(asset, "1m", candles, source="bench")

    def bulk_create(self, asset, rows: int) -> None:
        """Django's way: objects from the same texts, 1,000 at a time, updating on conflict."""
        from decimal import Decimal

        from django.utils import timezone

        from marketdata.models import Candle

        now, numbers = timezone.now(), ("open", "high", "low", "close", "volume")
        objects = [
            Candle(
                asset=asset, timeframe="1m", open_time=row["open_time"], source="bench", known_at=now,
                **{name: Decimal(row[name]) for name in numbers},
            )
            for row in self.candles.slice(0, rows).to_pylist()
        ]  # fmt: skip
        Candle.objects.bulk_create(
            objects, batch_size=1_000, update_conflicts=True, unique_fields=["asset_id", "timeframe", "open_time"],
            update_fields=[*numbers, "source", "known_at"],
        )  # fmt: skip


def measure(rows: int) -> dict[str, float]:
    """Median rows a second of each way, and what a re-load writes."""
    ways = Ways(rows)
    times: dict[str, list[float]] = {"copy": [], "ingest": [], "again": [], "gaps": [], "bulk": []}
    wal = []
    ways.ingest(ways.asset())  # the first call imports pyarrow and plans
    for _ in range(ROUNDS):
        ways.empty()
        times["copy"].append(clock(ways.copy) / rows)
        asset = ways.asset()
        times["ingest"].append(clock(lambda a=asset: ways.ingest(a)) / rows)
        before = written()
        times["again"].append(clock(lambda a=asset: ways.ingest(a)) / rows)
        wal.append(written() - before)
        asset = ways.asset()
        ways.ingest(asset, every=2)
        times["gaps"].append(clock(lambda a=asset: ways.ingest(a)) / rows)
        asset = ways.asset()
        times["bulk"].append(clock(lambda a=asset: ways.bulk_create(a, BULK_ROWS)) / BULK_ROWS)
    speeds = {name: 1 / statistics.median(values) for name, values in times.items()}
    return speeds | {"wal": statistics.median(wal)}


def main() -> int:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with house():
        found = measure(rows)
    say = sys.stdout.write
    say(f"{rows:,} minute candles, medians of {ROUNDS} rounds, rows a second\n")
    for name, words in (
        ("copy", "plain COPY into an empty table with the same key"), ("ingest", "ingest, first load"),
        ("gaps", "ingest, every second candle stored already"), ("again", "ingest, nothing changed"),
        ("bulk", "bulk_create(update_conflicts=True)"),
    ):  # fmt: skip
        say(f"  {words:<52}{found[name]:>12,.0f}\n")
    against_copy, against_bulk = found["ingest"] / found["copy"], found["ingest"] / found["bulk"]
    say(f"ingest / COPY         {against_copy:6.2f}   (goal ≥ 0.45)\n")
    say(f"ingest / bulk_create  {against_bulk:6.1f}   (goal ≥ 8)\n")
    say(f"bytes written by a re-load of unchanged candles: {found['wal']:,.0f}\n")
    return 0 if against_copy >= 0.45 and against_bulk >= 8 else 1


if __name__ == "__main__":
    raise SystemExit(main())
