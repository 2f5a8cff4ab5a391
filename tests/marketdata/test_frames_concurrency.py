"""Many readers of one series while it is written, and readers that are killed while they build."""

import os
import shutil
import signal
import time
import traceback
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection

from marketdata import columns, frames, shelf
from marketdata.ingestion import ingest
from marketdata.models import Asset, Series
from tests.marketdata.candles import row, table

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture(autouse=True)
def empty_shelf():
    shutil.rmtree(shelf.root(), ignore_errors=True)  # other tests' assets have had the same keys
    yield
    shutil.rmtree(shelf.root(), ignore_errors=True)


START = datetime(2020, 1, 1, tzinfo=UTC)


def minutes(first: int, last: int, close: str):
    return table([row(START + timedelta(minutes=n), close=close) for n in range(first, last)])


def forked(work) -> int:
    """A process of its own that does the work and ends: a fork, because a fresh Django takes seconds to start."""
    connection.close()
    if pid := os.fork():
        return pid
    try:
        work()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def all_well(pids: list[int]) -> bool:
    return all(os.waitpid(pid, 0)[1] == 0 for pid in pids)


def reader(seconds: float, seen_file) -> None:
    """Reads as often as it can. A writer's step changes everything: with revision n each close is 10 + n / 100, so a
    frame that mixes two states shows it."""
    asset, seen, until = Asset.objects.get(), set(), time.monotonic() + seconds
    while time.monotonic() < until:
        before = Series.objects.values_list("revision", "candle_count").get()
        frame = frames.read(asset, "1m", columns=("close",))
        part, closes = frame.parts[0], frame["close"][0]
        assert (closes == closes[0]).all(), "two states in one frame"
        assert (part.revision, part.candles) >= before, "older than what was committed"
        assert len(closes) == part.candles
        assert round(float(closes[0]) * 100) - 1000 == part.revision
        seen.add(part.fingerprint)
    seen_file.write_text("\n".join(seen))


@pytest.mark.prove
def test_every_frame_is_one_committed_state(tmp_path):
    acme, count, steps = Asset.objects.create(symbol="ACME"), 500, 0
    ingest(acme, "1m", minutes(0, count, "10.00"), source="test")
    committed = {frames.fingerprint(acme, "1m")}
    pids = [forked(lambda n=n: reader(4, tmp_path / f"{n}")) for n in range(4)]
    until = time.monotonic() + 4
    while time.monotonic() < until:
        revision = steps // 4  # three appends, then the whole past changes
        if steps % 4 == 3:
            ingest(acme, "1m", minutes(0, count, f"{10 + (revision + 1) / 100:.2f}"), source="test")
        else:
            ingest(acme, "1m", minutes(count, count + 3, f"{10 + revision / 100:.2f}"), source="test")
            count += 3
        steps += 1
        committed.add(frames.fingerprint(acme, "1m"))
    assert all_well(pids)
    seen = [set((tmp_path / f"{n}").read_text().split()) for n in range(4)]
    assert set().union(*seen) <= committed  # nothing but what was committed, to the last bit
    assert max(map(len, seen)) > 3
    assert Series.objects.get().revision == steps // 4 > 0


def test_whoever_is_killed_while_building_or_extending_leaves_nothing_half_read():
    acme, count = Asset.objects.create(symbol="ACME"), 60_000
    store(acme, 0, count)
    path = shelf.root() / "1m" / f"{acme.pk}.columns"
    for attempt in range(12):
        if attempt % 2:
            path.unlink(missing_ok=True)
        pid = forked(lambda: frames.read(acme, "1m"))
        time.sleep(0.01 + 0.015 * attempt)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        frame = frames.read(acme, "1m")
        assert len(frame) == count
        assert (np.diff(frame.times.astype(np.int64)) == 60_000_000).all()
        assert columns.intact(shelf.take(shelf.wanted([(acme.pk, "1m")])[acme.pk, "1m"]))
        store(acme, count, 10_000)
        count += 10_000


def test_many_who_want_what_is_not_there_build_it_once():
    acme = Asset.objects.create(symbol="ACME")
    store(acme, 0, 100_000)
    path = shelf.root() / "1m" / f"{acme.pk}.columns"
    pids = [forked(lambda: frames.read(acme, "1m")) for _ in range(4)]
    inodes = set()
    while len(inodes) == 0 or any(os.waitpid(pid, os.WNOHANG)[0] == 0 for pid in pids[:1]):
        if path.exists():
            inodes.add(path.stat().st_ino)
    assert all_well(pids[1:])
    inodes.add(path.stat().st_ino)
    assert len(inodes) == 1
    assert sorted(found.name for found in path.parent.iterdir()) == [f"{acme.pk}.columns", f"{acme.pk}.lock"]


def store(asset: Asset, first: int, count: int) -> None:
    """Candles that the database makes itself, as ingestion would leave them."""
    from tests.house import owner

    with owner() as connection:
        connection.execute(
            "INSERT INTO marketdata_candle (asset_id, timeframe, open_time, open, high, low, close, volume, source,"
            " known_at) SELECT %s, '1m', %s::timestamptz + n * interval '1 minute', 10, 12, 9, 11, n, 'test', now()"
            " FROM generate_series(%s::int, %s::int) n",
            [asset.pk, START, first, first + count - 1],
        )
    moment = START + timedelta(minutes=first + count - 1)
    Series.objects.update_or_create(
        asset=asset, timeframe="1m",
        defaults={"candle_count": first + count, "first_open": START, "last_open": moment, "changed_at": moment},
    )  # fmt: skip
