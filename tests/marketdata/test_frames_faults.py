"""What a frame says when the disk is full, the machine stopped, the file is damaged or the database is another one."""

import logging
import os
import resource
import signal
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from marketdata import columns, frames, shelf
from marketdata.ingestion import ingest
from marketdata.models import Asset, Candle, CandleRevision, Series
from tests.marketdata.candles import day, row, table
from tests.marketdata.test_frames_concurrency import empty_shelf, store

pytestmark = pytest.mark.usefixtures("house")
__all__ = ["empty_shelf"]


def keep(symbol: str = "ACME", count: int = 5, close: str = "11", timeframe: str = "1d") -> Asset:
    asset, _ = Asset.objects.get_or_create(symbol=symbol)
    step = timedelta(days=1) if timeframe == "1d" else timedelta(minutes=1)
    ingest(asset, timeframe, table([row(day(0) + n * step, close=close) for n in range(count)]), source="test")
    return asset


def path_of(asset: Asset, timeframe: str = "1d"):
    return shelf.root() / timeframe / f"{asset.pk}.columns"


def closes(asset: Asset, timeframe: str = "1d") -> list[float]:
    return frames.read(asset, timeframe, columns=["close"])["close"][0].tolist()


@pytest.fixture
def full_disk():
    """No file of this process may grow beyond some kilobytes, as if the disk were full from there on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(octets: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


# --- The disk ----------------------------------------------------------------------------------------------------


def test_with_a_full_disk_the_answer_comes_from_the_database(full_disk, caplog):
    acme = keep()
    full_disk(8192)
    assert closes(acme) == [11] * 5
    assert "can't be kept" in caplog.text
    assert "Make room on the disk" in caplog.text
    assert sorted(path.suffix for path in path_of(acme).parent.iterdir()) == [".lock"]
    full_disk(1 << 30)
    assert closes(acme) == [11] * 5
    assert path_of(acme).exists()


def test_the_disk_fills_up_in_the_middle_of_a_build(full_disk, caplog):
    acme = Asset.objects.create(symbol="ACME")
    store(acme, 0, 100_000)
    full_disk(4096 + 200_000 * 8 + 400_000)  # the times fit, and some of the opens
    assert len(frames.read(acme, "1m")) == 100_000
    assert "can't be kept" in caplog.text
    assert not path_of(acme, "1m").exists()


def test_the_disk_fills_up_while_a_file_is_extended(full_disk, monkeypatch, caplog):
    """Sparse files can meet a full disk inside their length: the system call says so in the middle of the columns."""
    acme = keep()
    closes(acme)
    ingest(acme, "1d", table([row(day(5)), row(day(6))]), source="test")
    written, real = [], columns.os.pwrite

    def pwrite(fd: int, data, offset: int) -> int:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(offset)
        return real(fd, data, offset)

    monkeypatch.setattr(columns.os, "pwrite", pwrite)
    assert closes(acme) == [11] * 7
    assert "No space left on device" in caplog.text
    monkeypatch.undo()
    with path_of(acme).open("rb") as file:
        assert columns.read_head(file.fileno()).state.candles == 5
    assert closes(acme) == [11] * 7
    assert columns.intact(shelf.take(shelf.wanted([(acme.pk, "1d")])[acme.pk, "1d"]))


def test_a_directory_that_can_not_be_made_is_no_reason_to_fail(settings, tmp_path, caplog):
    acme = keep()
    (tmp_path / "file").write_text("")
    settings.CHRONOS_VAR = tmp_path / "file"
    assert closes(acme) == [11] * 5
    assert "can't be kept" in caplog.text


# --- Room --------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_makes_room(monkeypatch):
    assets = [keep(f"A{n}", 400, timeframe="1m") for n in range(6)]
    for n, asset in enumerate(assets):
        frame = frames.read(asset, "1m")
        os.utime(path_of(asset, "1m"), (1_000_000 + n, 1_000_000 + n))
    frames.read(assets[0], "1m")  # used again: the oldest is now A1
    each = path_of(assets[0], "1m").stat().st_blocks * 512
    monkeypatch.setattr(shelf, "_room", lambda: 4 * each)
    assert shelf.sweep() == 3  # to nine tenths of the room
    assert [path_of(asset, "1m").exists() for asset in assets] == [True, False, False, False, True, True]
    assert len(frame["close"][0]) == 400  # who has it keeps it
    assert closes(assets[1], "1m") == [11] * 400  # and it comes back


def test_what_somebody_builds_is_not_cleared_away(monkeypatch):
    acme = keep()
    closes(acme)
    monkeypatch.setattr(shelf, "_room", lambda: 0)
    series = shelf.wanted([(acme.pk, "1d")])[acme.pk, "1d"]
    with shelf._locked(series):
        assert shelf.sweep() == 0
    assert shelf.sweep() == 1


def test_a_series_larger_than_the_room_is_not_kept(monkeypatch):
    acme = keep()
    monkeypatch.setattr(shelf, "_room", lambda: 100)
    assert closes(acme) == [11] * 5
    assert not path_of(acme).exists()


# --- Files that are not what they seem ---------------------------------------------------------------------------


def test_after_another_boot_the_rows_are_checked_once(monkeypatch):
    acme = keep(count=100)
    closes(acme)
    inode, looked = path_of(acme).stat().st_ino, []
    monkeypatch.setattr(columns, "_boot", "another")
    real = columns.intact
    monkeypatch.setattr(columns, "intact", lambda found: looked.append(1) or real(found))
    assert closes(acme) == closes(acme) == [11] * 100
    assert (path_of(acme).stat().st_ino, looked) == (inode, [1])


def test_rows_that_did_not_reach_the_disk_are_noticed_after_another_boot(monkeypatch):
    acme = keep(count=100)
    closes(acme)
    with path_of(acme).open("r+b") as file:
        head = columns.read_head(file.fileno())
        file.seek(head.offset(4) + 90 * 8)  # the close
        file.write(bytes(80))
    monkeypatch.setattr(columns, "_boot", "another")
    assert closes(acme) == [11] * 100


def test_where_the_system_tells_no_boot_rows_go_to_the_disk_first(monkeypatch):
    order = []
    real_sync, real_write = columns.os.fsync, columns.os.pwrite
    monkeypatch.setattr(columns, "_boot", "")
    monkeypatch.setattr(columns.os, "fsync", lambda fd: order.append("sync") or real_sync(fd))
    monkeypatch.setattr(
        columns.os, "pwrite", lambda fd, data, at: order.append("rows" if at else "head") or real_write(fd, data, at)
    )
    acme = keep()
    assert closes(acme) == closes(acme) == [11] * 5
    assert order[-2:] == ["sync", "head"]
    assert order.count("head") == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a file of ours" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(b"CHRCOL00" + path.read_bytes()[8:]),
        lambda path: path.write_bytes(path.read_bytes()[:24] + b"\xff" + path.read_bytes()[25:]),
    ],
)
def test_a_damaged_file_is_built_anew(damage):
    acme = keep()
    closes(acme)
    damage(path_of(acme))
    assert closes(acme) == [11] * 5
    assert columns.intact(shelf.take(shelf.wanted([(acme.pk, "1d")])[acme.pk, "1d"]))


# --- Another database under the same files -----------------------------------------------------------------------


def emptied() -> None:
    from tests.house import _empty

    _empty()


def test_another_database_with_the_same_numbers_is_not_mistaken():
    old = keep(close="11")
    closes(old)
    emptied()
    new = keep("OTHER", close="10.5")
    assert new.pk == old.pk
    assert closes(new) == [10.5] * 5


def test_another_database_that_has_grown_further_is_not_mistaken():
    old = keep(close="11")
    closes(old)
    emptied()
    new = keep("OTHER", count=9, close="10.5")
    assert new.pk == old.pk
    assert closes(new) == [10.5] * 9


def test_a_database_restored_from_yesterday_is_not_mistaken():
    acme = keep(count=5)
    candles, series = list(Candle.objects.all()), Series.objects.get()
    ingest(acme, "1d", table([row(day(5), close="11.5"), row(day(6), close="11.5")]), source="test")
    assert len(closes(acme)) == 7
    Candle.objects.all().delete()
    CandleRevision.objects.all().delete()
    Candle.objects.bulk_create(candles)
    series.save()
    assert closes(acme) == [11] * 5  # fewer than the file has
    ingest(acme, "1d", table([row(day(5), close="10.5"), row(day(6), close="10.5")]), source="test")
    assert closes(acme) == [11] * 5 + [10.5] * 2


def test_a_restored_database_whose_newest_candle_is_the_same_again_is_not_mistaken():
    acme = keep(count=3)
    candles, series = list(Candle.objects.all()), Series.objects.get()
    ingest(acme, "1d", table([row(day(3)), row(day(4))]), source="test")
    assert len(closes(acme)) == 5
    Candle.objects.all().delete()
    Candle.objects.bulk_create(candles)
    series.save()
    ingest(acme, "1d", table([row(day(3), close="10.5"), row(day(4)), row(day(5))]), source="test")
    assert closes(acme) == [11, 11, 11, 10.5, 11, 11]


def test_a_restored_past_that_changed_otherwise_is_not_mistaken():
    acme = keep(count=5)
    series = Series.objects.get()
    ingest(acme, "1d", table([row(day(2), close="11.5")]), source="test")
    assert closes(acme)[2] == 11.5
    Candle.objects.filter(open_time=day(2)).update(close="11")
    series.save()
    ingest(acme, "1d", table([row(day(3), close="10.5")]), source="test")
    ingest(acme, "1d", table([row(day(5))]), source="test")
    assert Series.objects.get().revision == 1
    assert closes(acme) == [11, 11, 11, 10.5, 11, 11]


def test_a_series_that_tells_more_than_it_has_is_answered_and_logged(caplog):
    acme = keep()
    Candle.objects.filter(open_time=day(2)).delete()
    with caplog.at_level(logging.WARNING):
        assert closes(acme) == [11] * 4
    assert "tells 5 candles and has 4" in caplog.text
    assert not path_of(acme).exists()


def test_a_series_that_has_not_all_that_was_appended_is_answered_and_logged(caplog):
    acme = keep()
    closes(acme)
    ingest(acme, "1d", table([row(day(5)), row(day(6))]), source="test")
    Candle.objects.filter(open_time=day(5)).delete()
    assert closes(acme) == [11] * 6
    assert "tells 7 candles and has 6" in caplog.text


def test_an_asset_that_was_deleted_and_came_again_begins_anew():
    acme = keep()
    closes(acme)
    Series.objects.all().delete()
    Candle.objects.all().delete()
    assert closes(acme) == []
    keep(count=2, close="10.5")
    assert closes(acme) == [10.5] * 2


def test_a_frame_survives_all_that_happens_to_its_file():
    acme = keep(count=1000, timeframe="1m")
    frame = frames.read(acme, "1m")
    before = np.array(frame["close"])
    ingest(acme, "1m", table([row(day(0), close="10")]), source="test")
    frames.read(acme, "1m")
    for path in path_of(acme, "1m").parent.iterdir():
        path.unlink()
    np.testing.assert_array_equal(frame["close"], before)
    assert frame.times[0].astype(datetime).replace(tzinfo=UTC) == day(0)
