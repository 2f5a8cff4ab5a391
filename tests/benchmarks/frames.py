"""How fast history is read as arrays, as ratios within one run: `python -m tests.benchmarks.frames`.

BENCH_CANDLES (1,000,000) is the long series, BENCH_STORED (1,10,20) the millions of candles stored when growth is
measured; smaller numbers make a shorter run. Everything is on a cluster of its own, durable as in real life.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.benchmarks.machine import chronos, table

CANDLES = int(os.environ.get("BENCH_CANDLES", "1000000"))
STORED = [int(float(text) * 1_000_000) for text in os.environ.get("BENCH_STORED", "1,10,20").split(",")]
ROUNDS = 9
NEWEST = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = ("open", "high", "low", "close", "volume")

# Made by the database itself: four decimals, volumes with three, as real ones have.
MAKE = """
INSERT INTO marketdata_candle (asset_id, timeframe, open_time, open, high, low, close, volume, source, known_at)
SELECT a, %(timeframe)s, at, price, price + 0.3, price - 0.3, price + round((0.2 * random())::numeric, 4),
    round((5000 * random())::numeric, 3), 'benchmark', now()
FROM unnest(%(assets)s::bigint[]) a,
LATERAL (SELECT %(newest)s::timestamptz - n * %(step)s::interval AS at,
    round((100 + 20 * sin(n / 3000.0) + random())::numeric, 4) AS price
    FROM generate_series(%(first)s, %(first)s + %(count)s - 1) n) AS made
"""


def clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians(rounds: int, **ways: Callable[[], object]) -> dict[str, float]:
    """Seconds; the ways take turns, so that a slow moment of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            times[name].append(clock(work))
    return {name: statistics.median(values) for name, values in times.items()}


class Scene:
    """Series with candles, made without ingestion, which has a benchmark of its own."""

    def __init__(self, owner) -> None:
        self.owner, self.number = owner, 0

    def assets(self, count: int) -> list:
        from marketdata.models import Asset

        names = [f"BENCH{self.number + n}" for n in range(count)]
        self.number += count
        return Asset.objects.bulk_create(Asset(symbol=name, calendar="24/7") for name in names)

    def fill(self, assets: list, timeframe: str, count: int, first: int = 0) -> None:
        """`count` candles each, the newest `first` lengths before NEWEST."""
        from marketdata.models import Series, Timeframe

        length = Timeframe(timeframe).length
        values = {"timeframe": timeframe, "newest": NEWEST, "step": length, "count": count, "first": first}
        self.owner.execute(MAKE, values | {"assets": [asset.pk for asset in assets]})
        Series.objects.bulk_create(
            [
                Series(asset=asset, timeframe=timeframe, source="benchmark", candle_count=count,
                       first_open=NEWEST - (first + count - 1) * length, last_open=NEWEST - first * length,
                       changed_at=NEWEST)
                for asset in assets
            ]
        )  # fmt: skip

    def settle(self) -> None:
        self.owner.execute("VACUUM ANALYZE marketdata_candle")
        self.owner.execute("CHECKPOINT") if self._may_checkpoint() else None

    def _may_checkpoint(self) -> bool:
        return bool(self.owner.execute("SELECT pg_has_role(current_user, 'pg_checkpoint', 'usage')").fetchone()[0])


def touch(arrays) -> float:
    return sum(float(array.sum()) for array in arrays)


def reading(scene: Scene) -> list[tuple[str, ...]]:
    """Warm reads against numpy's own map of the same arrays; first build against ADBC; an append."""
    import numpy as np

    from marketdata import frames, shelf

    (asset,) = scene.assets(1)
    scene.fill([asset], "1m", CANDLES, first=1440)
    scene.settle()
    key = (asset.pk, "1m")
    path = shelf.root() / "1m" / f"{asset.pk}.columns"

    def build() -> None:
        path.unlink(missing_ok=True)
        frames.read(asset, "1m")

    frames.read(asset, "1m")
    built = medians(5, frame=build, adbc=lambda: adbc(asset), columns=lambda: adbc(asset, all_numbers=True))
    frame = frames.read(asset, "1m")
    with tempfile.TemporaryDirectory() as place:
        saved = {"times": frame.times.view(np.int64), **frame.columns}
        for name, values in saved.items():
            np.save(Path(place) / f"{name}.npy", values)

        def load() -> float:
            return touch(np.load(Path(place) / f"{name}.npy", mmap_mode="r") for name in saved)

        def read() -> float:
            found = frames.read(asset, "1m")
            return touch([found.times.view(np.int64), *found.columns.values()])

        warm = medians(ROUNDS, frame=read, load=load)
    held = shelf.take(shelf.wanted([key])[key])
    marks = medians(ROUNDS, mark=lambda: frames.fingerprint(asset, "1m"), sum=lambda: held.checksum(slice(7, CANDLES)))
    appended = [append_a_day(scene, asset, day) for day in range(5)]
    return [
        ("warm read + touch, against np.load(mmap) + touch", ms(warm["frame"]), f"{warm['frame'] / warm['load']:.2f}",
         "≤ 3", "one query, then memory bandwidth"),
        ("first build, against ADBC of the same columns", ms(built["frame"]), f"{built['frame'] / built['adbc']:.2f}",
         "≤ 1.5", "numeric → float8 in PostgreSQL"),
        ("  … against ADBC of all seven numbers", "", f"{built['frame'] / built['columns']:.2f}", "", ""),
        ("append a day (1,440 candles) and read", ms(statistics.median(appended)), "", "≤ 20 ms", "two round trips"),
        ("fingerprint of a series, with its query", ms(marks["mark"]), "", "", "the query"),
        ("checksum of a range", f"{1e6 * marks['sum']:.0f} µs", "", "< 1 ms", "two look-ups"),
    ]  # fmt: skip


def append_a_day(scene: Scene, asset, day: int) -> float:
    """Store the candles of the next day as ingestion does, then time the read that takes them in."""
    from django.db.models import F

    from marketdata import frames
    from marketdata.models import Series

    length = timedelta(minutes=1)
    values = {"timeframe": "1m", "newest": NEWEST + day * timedelta(days=1), "step": length, "count": 1440, "first": 0}
    scene.owner.execute(MAKE, values | {"assets": [asset.pk]})
    Series.objects.filter(asset=asset).update(
        candle_count=F("candle_count") + 1440, last_open=values["newest"], changed_at=values["newest"]
    )
    return clock(lambda: frames.read(asset, "1m"))


def adbc(asset, *, all_numbers: bool = False) -> int:
    """The same rows through Arrow's driver, cast in SQL, because it has no numeric."""
    names = (*NAMES, "adj_close", "quote_volume") if all_numbers else NAMES
    with adbc_connection().cursor() as cursor:
        cursor.execute(
            f"SELECT open_time, {', '.join(f'{name}::float8' for name in names)} FROM marketdata_candle"
            f" WHERE asset_id = {asset.pk} AND timeframe = '1m' ORDER BY open_time"
        )
        return cursor.fetch_arrow_table().num_rows


def adbc_connection():
    global _adbc
    if _adbc is None:
        from urllib.parse import quote

        import adbc_driver_postgresql.dbapi as driver
        from django.conf import settings

        parts = settings.DATABASES["owner"]
        host, password = quote(str(parts["HOST"]), safe=""), quote(parts["PASSWORD"], safe="")
        _adbc = driver.connect(f"postgresql:///{parts['NAME']}?host={host}&user={parts['USER']}&password={password}")
    return _adbc


_adbc = None


def panel(scene: Scene) -> list[tuple[str, ...]]:
    from marketdata import frames, shelf

    assets = scene.assets(500)
    scene.fill(assets[:400], "1d", 2500)
    scene.fill(assets[400:], "1d", 2400, first=100)  # these begin with the others and have ended
    scene.settle()
    built = clock(lambda: frames.read(assets, "1d"))
    warm = medians(ROUNDS, panel=lambda: frames.read(assets, "1d"))["panel"]
    taken = sum(path.stat().st_blocks for path in shelf.root().glob("1d/*")) * 512
    return [
        ("500 assets × 2,500 days aligned, warm", ms(warm), "", "≤ 100 ms", "500 files opened and mapped"),
        ("  … the first time", ms(built), "", "", f"{taken / 500 / 2500:.0f} bytes a candle on the disk"),
    ]


def bars() -> list[tuple[str, ...]]:
    import numpy as np

    from marketdata import resampling

    times = np.datetime64("2020-01-01T00:07", "us") + np.arange(CANDLES) * np.timedelta64(1, "m")
    chance = np.random.default_rng(7)
    numbers = {name: chance.normal(100, 1, CANDLES) for name in NAMES}
    starts = resampling.bars(times.view(np.int64), "1m", "1h").starts

    def bare() -> None:
        lasts = np.append(starts[1:], CANDLES) - 1
        numbers["open"][starts], numbers["close"][lasts]
        np.maximum.reduceat(numbers["high"], starts)
        np.minimum.reduceat(numbers["low"], starts)
        np.add.reduceat(numbers["volume"], starts)

    found = medians(15, resample=lambda: resampling.resample(times, numbers, "1m", "1h"), bare=bare)
    ratio = found["resample"] / found["bare"]
    return [("1m → 1h, against bare reduceat", ms(found["resample"]), f"{ratio:.2f}", "≤ 2", "reduceat itself")]


def merging(scene: Scene) -> list[tuple[str, ...]]:
    """A day's new candle for each of 5,000 assets, against COPY of as many rows into a table with the same key."""
    import pyarrow as pa

    from marketdata import ingestion
    from marketdata.appending import ingest_many
    from marketdata.ingestion import schema

    assets = scene.assets(5000)
    scene.fill(assets, "1d", 20, first=10)
    scene.settle()
    scene.owner.execute("CREATE TABLE bare (LIKE marketdata_candle INCLUDING CONSTRAINTS INCLUDING INDEXES)")

    def candles(at: datetime) -> pa.Table:
        texts = {"open": "100.25", "high": "100.75", "low": "100", "close": "100.5", "volume": "123456"}
        return pa.Table.from_pylist([{"open_time": at, "adj_close": None, "quote_volume": None, **texts}], schema())

    def copy(day: int) -> None:
        lines = "".join(
            f"{asset.pk},1d,{NEWEST + timedelta(days=day - 9):%Y-%m-%d}T00:00Z,100.25,100.75,100,100.5,,123456,,bench,"
            f"{NEWEST:%Y-%m-%d}T00:00Z\n"
            for asset in assets
        )
        command = "COPY bare FROM STDIN (FORMAT csv)"
        with scene.owner.transaction(), scene.owner.cursor() as cursor, cursor.copy(command) as stream:
            stream.write(lines)

    def one_by_one(day: int) -> None:
        rows = candles(NEWEST + timedelta(days=day - 9))
        for asset in assets[:500]:
            ingestion.ingest(asset, "1d", rows, source="bench")

    copied = statistics.median(clock(lambda day=day: copy(day)) for day in range(5)) / 5000
    single = statistics.median(clock(lambda day=day: one_by_one(day)) for day in range(2)) / 500
    rows = [
        ("COPY of 5,000 candles into a bare table", f"{1 / copied:,.0f}/s", "", "", ""),
        ("ingest, a transaction for each series", f"{1 / single:,.0f}/s", f"{copied / single:.3f}", "",
         "commits and round trips"),
    ]  # fmt: skip
    days = [[(asset, candles(NEWEST + timedelta(days=day - 9))) for asset in assets] for day in range(2, 5)]
    many = [clock(lambda given=given: ingest_many(given, "1d", source="bench")) for given in days]
    together = statistics.median(many) / 5000
    rows.append(
        (
            "ingest_many, all in one go",
            f"{1 / together:,.0f}/s",
            f"{copied / together:.3f}",
            "",
            "Python, by the series",
        )
    )
    return rows


PLANS = {
    "append to a frame": "SELECT open_time, open::float8, close::float8 FROM marketdata_candle WHERE asset_id = {asset}"
    " AND timeframe = '1h' AND open_time >= '{late}' ORDER BY open_time",
    "chart of a month": "SELECT open_time, open, high, low, close FROM marketdata_candle WHERE asset_id = {asset}"
    " AND timeframe = '1h' AND open_time >= '{month}' AND open_time <= '{newest}' ORDER BY open_time",
    "gaps of a series": "SELECT array_agg(open_time) FROM marketdata_candle"
    " WHERE asset_id = {asset} AND timeframe = '1h'",
    "as of a moment": "SELECT open_time, close FROM marketdata_candle WHERE asset_id = {asset} AND timeframe = '1h'"
    " AND known_at <= now() UNION ALL SELECT open_time, close FROM marketdata_candlerevision WHERE asset_id = {asset}"
    " AND timeframe = '1h' AND known_at <= now() AND superseded_at > now() ORDER BY 1",
}


def growth(scene: Scene) -> None:
    """The same questions while the table grows; series of 50,000 hours."""
    from marketdata import frames, shelf

    each, stored, rows, plans = 50_000, 0, [], []
    (asset,) = scene.assets(1)
    scene.fill([asset], "1h", each)
    stored += each

    def build() -> None:
        (shelf.root() / "1h" / f"{asset.pk}.columns").unlink(missing_ok=True)
        frames.read(asset, "1h")

    for goal in STORED:
        while stored < goal:
            count = min(20, (goal - stored) // each or 1)
            scene.fill(scene.assets(count), "1h", each)
            stored += count * each
        scene.settle()
        values = {"asset": asset.pk, "late": NEWEST - timedelta(days=1), "month": NEWEST - timedelta(days=31),
                  "newest": NEWEST}  # fmt: skip
        times, plans = [], []
        for name, question in PLANS.items():
            statement = question.format(**values)
            scene.owner.execute(statement).fetchall()
            times.append(medians(7, ask=lambda statement=statement: scene.owner.execute(statement).fetchall())["ask"])
            found = scene.owner.execute(f"EXPLAIN (COSTS OFF) {statement}").fetchall()
            plans.append((name, [line for (line,) in found]))
        found = medians(5, build=build, warm=lambda: frames.read(asset, "1h"))
        rows.append((f"{stored / 1e6:.0f} million candles", *map(ms, times), ms(found["build"]), ms(found["warm"])))
    table(f"while candles are added (one series of {each:,} hours is asked)",
          ("", *PLANS, "first frame", "warm frame"), rows)  # fmt: skip
    print("\nplans at the end")
    for name, lines in plans:
        print(f"  {name}")
        for line in lines:
            print(f"    {line}")


def ms(seconds: float) -> str:
    return f"{1000 * seconds:,.2f} ms" if seconds < 0.1 else f"{1000 * seconds:,.0f} ms"


def main() -> None:
    with chronos() as owner:
        scene = Scene(owner)
        head = ("", "median", "ratio", "goal", "what limits it")
        table(f"frames: {CANDLES:,} minute candles", head, [*reading(scene), *panel(scene), *bars()])
        table("a day's new candles for 5,000 assets", ("", "candles", "of COPY", "goal", "what limits it"),
              merging(scene))  # fmt: skip
        growth(scene)
        if _adbc is not None:
            _adbc.close()


if __name__ == "__main__":
    main()
