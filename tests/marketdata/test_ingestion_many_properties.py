"""Whatever comes in whatever batches, `ingest_many` leaves every table as `ingest` does."""

import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from marketdata import quarantine
from marketdata.appending import ingest_many
from marketdata.ingestion import ingest
from marketdata.models import Asset, Candle, CandleRevision, QuarantinedCandle, Series, Timeframe
from marketdata.quality import FLOOR
from tests.marketdata.candles import NUMBERS, row, table

pytestmark = pytest.mark.usefixtures("house")
START = datetime(2024, 1, 1, tzinfo=UTC)


class Pair(NamedTuple):
    """Two assets, and the batches that both get: one in one go with others, one by itself."""

    together: Asset
    alone: Asset
    batches: list[list[dict]]


def candles(dice: random.Random, timeframe: Timeframe, count: int = 60) -> list[dict]:
    """A market, calm or wild: jumps, wicks, holes, and hours in which nothing is traded."""
    level, at, wild = dice.choice([1.0, 100.0, 5e6]), START, dice.choice([0, 0.02, 0.02, 0.1])
    calm, floor, still, found = dice.choice([0.01, 0.1, 0.3]), FLOOR[timeframe], 0, []
    for _ in range(count):
        before, high, low = level, 1.0, 1.0
        level *= 1 + dice.gauss(0, calm * floor)
        volume = dice.randint(500_000, 1_500_000)
        if dice.random() < wild:
            level *= dice.choice([1 + floor * 1.01, 1 + floor * 0.99, 1 - floor, 1.6, 2, 9, 100, 0.01, 0.5])
        if dice.random() < wild:
            high, low = 1 + floor * dice.choice([0, 0.9, 1.1, 5]), 1 / (1 + floor * dice.choice([0, 0.9, 1.1, 5]))
        if dice.random() < wild:
            still = dice.randint(1, 25)
        if still:
            still, level, high, low, volume = still - 1, before, 1.0, 1.0, 0
        prices = (before, max(before, level) * high, min(before, level) * low, level)
        found.append(row(at, *(f"{price:.{dice.choice([4, 12])}f}" for price in prices), volume=str(volume)))
        found[-1]["adj_close"] = found[-1]["close"] if dice.random() < 0.3 else None
        at += timeframe.length * (1 if dice.random() > wild else dice.randint(2, 15))
    return found


def cut(dice: random.Random, rows: list[dict]) -> list[list[dict]]:
    """In batches as they may come: some overlap, some in disorder, with twins, holes, corrections and nonsense."""
    done, wild = dice.randint(0, 40), dice.choice([0, 0.05, 0.2])
    found = [rows[:done]]
    while done < len(rows):
        step, again = dice.choice([1, 1, 2, 5, 20]), dice.choice([0, 0, 1, 3]) if wild else 0
        part = [dict(one) for one in rows[max(0, done - again) : done + step]]
        if dice.random() < wild:
            part.append(dict(dice.choice(part)))
        if dice.random() < wild:
            part.append(dice.choice(part) | {"volume": "5"})
        if dice.random() < wild:
            dice.choice(part)["close"] = dice.choice(["x", "-1", "0", "1e3"])
        if dice.random() < wild:
            part.pop(dice.randrange(len(part)))
        if dice.random() < wild:
            dice.shuffle(part)
        found.append(part)
        done += step
    return found


def state(asset: Asset) -> tuple:
    """All that is stored of it, but for when."""
    held = QuarantinedCandle.objects.filter(asset=asset)
    told = ("open_time", "kind", "reason", "state", "source", "origin", "decided_by", "fingerprint")
    series = ("source", "revision", "candle_count", "first_open", "last_open", "basis")
    return (
        list(Candle.objects.filter(asset=asset).order_by("open_time").values_list("open_time", *NUMBERS, "source")),
        list(CandleRevision.objects.filter(asset=asset).order_by("known_at", "open_time")
             .values_list("open_time", *NUMBERS, "source")),
        sorted(held.values_list(*told), key=str),
        list(Series.objects.filter(asset=asset).values_list(*series)),
    )  # fmt: skip


def decide(dice: random.Random, pair: Pair) -> None:
    """A person releases or rejects one and the same held candle of both."""
    verb, which = dice.choice([quarantine.release, quarantine.reject]), dice.random()
    for asset in (pair.together, pair.alone):
        held = QuarantinedCandle.objects.filter(asset=asset, state="held").exclude(open_time=None)
        rows = list(held.order_by("open_time", "fingerprint"))
        with suppress(quarantine.CannotDecide):
            verb(rows[int(which * len(rows))], "stella") if rows else None


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.prove) for seed in range(2, 12))])
def test_every_table_is_the_same(seed):
    dice = random.Random(seed)
    timeframe, kind = Timeframe(("1d", "1h", "1m", "4h")[seed % 4]), ("stock", "crypto", "fx")[seed % 3]
    pairs = [
        Pair(*(Asset.objects.create(symbol=f"{of}{number}", asset_class=kind) for of in ("MANY", "ONE")),
             cut(dice, candles(dice, timeframe)))
        for number in range(8)
    ]  # fmt: skip
    for turn in range(max(len(pair.batches) for pair in pairs)):
        due = [(pair, table(pair.batches[turn])) for pair in pairs if turn < len(pair.batches)]
        source = "other" if turn % 7 == 3 else "test"
        given = [(pair.together, rows) for pair, rows in due]
        together = ingest_many(given, timeframe, source=source, origin="here").counts
        for pair, rows in due:
            assert together[pair.together.pk] == ingest(pair.alone, timeframe, rows, source=source, origin="here")
            assert state(pair.together) == state(pair.alone)
            if dice.random() < 0.1:
                decide(dice, pair)
