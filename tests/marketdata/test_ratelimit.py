"""The bucket that all workers share, in a real Valkey and without one."""

import subprocess
import sys
import threading
import time

import pytest

from marketdata import ratelimit
from marketdata.ratelimit import Bucket, TooLong

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def no_valkey(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    settings.CACHE_URL = "redis://127.0.0.1:9/0"
    monkeypatch.setattr(ratelimit, "_connection", None)
    monkeypatch.setattr(ratelimit, "_free_here", {})


def test_turns_are_one_interval_apart() -> None:
    bucket = Bucket("test", 1)
    assert [bucket.take() for _ in range(4)] == pytest.approx([0, 1, 2, 3], abs=0.3)


def test_a_turn_that_is_not_used_for_long_is_not_saved_up() -> None:
    bucket = Bucket("test", 2)
    bucket.take()
    time.sleep(0.6)
    assert [bucket.take() for _ in range(3)] == pytest.approx([0, 0.5, 1], abs=0.2)


def test_each_provider_has_its_own() -> None:
    assert Bucket("one", 0.1).take() == 0
    assert Bucket("other", 0.1).take() == 0


def test_who_would_not_wait_that_long_takes_no_turn() -> None:
    bucket = Bucket("test", 0.1)
    bucket.take()
    with pytest.raises(TooLong) as far:
        bucket.take(longest=5)
    assert far.value.seconds == pytest.approx(10, abs=0.2)
    assert bucket.take() == pytest.approx(10, abs=0.2)


def test_a_pause_is_everybodys() -> None:
    bucket = Bucket("test", 100)
    bucket.pause(30)
    bucket.pause(5)  # a shorter one later does not shorten it
    assert bucket.take() == pytest.approx(30, abs=0.2)


def test_what_was_spent_without_a_turn_is_paid_by_those_who_come_next() -> None:
    bucket = Bucket("test", 1)
    bucket.take()
    bucket.charge(3)
    assert bucket.take() == pytest.approx(4, abs=0.3)


def test_threads_and_processes_share_it() -> None:
    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'chronos.settings'; import django; django.setup();"
        "from marketdata.ratelimit import Bucket; print([Bucket('test', 0.5).take() for _ in range(3)])"
    )
    bucket, waits = Bucket("test", 0.5), []
    threads = [threading.Thread(target=lambda: waits.append(bucket.take())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([0, 2, 4, 6], abs=0.6)
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, third = eval(other.stdout)
    assert (second - first, third - second) == pytest.approx((2, 2), abs=0.4)
    assert bucket.take() > third  # ours come after theirs


def test_everything_in_valkey_expires() -> None:
    Bucket("test", 1).take()
    Bucket("test", 1).pause(60)
    connection = ratelimit.valkey()
    keys = connection.keys("chronos:turns:*")
    assert keys
    assert all(0 < connection.pttl(key) <= 62_000 for key in keys)


@pytest.mark.usefixtures("no_valkey")
def test_without_valkey_the_rate_is_kept_here() -> None:
    bucket = Bucket("test", 1)
    assert [bucket.take() for _ in range(3)] == pytest.approx([0, 1, 2], abs=0.3)
    bucket.pause(20)
    assert bucket.take() == pytest.approx(20, abs=0.2)
    with pytest.raises(TooLong):
        bucket.take(longest=1)
