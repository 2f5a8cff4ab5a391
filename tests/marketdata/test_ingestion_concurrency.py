"""Several writers of one series, and a writer that dies."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from marketdata.ingestion import BATCH, ingest
from marketdata.models import Asset, Candle, CandleRevision, Series
from tests.marketdata.candles import row, table

pytestmark = pytest.mark.usefixtures("house")
START = datetime(2020, 1, 1, tzinfo=UTC)


def minutes(first: int, last: int, **numbers):
    return table([row(START + timedelta(minutes=minute), **numbers) for minute in range(first, last)])


def at_once(calls) -> list:
    def alone(call):
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(alone, calls))


def test_two_who_store_the_same_at_once_store_it_once():
    acme, candles = Asset.objects.create(symbol="ACME"), minutes(0, 3000)
    results = at_once([lambda: ingest(acme, "1m", candles, source="test")] * 4)
    assert sorted(result.inserted for result in results) == [0, 0, 0, 3000]
    assert sum(result.unchanged for result in results) == 9000
    series = Series.objects.get()
    assert (Candle.objects.count(), series.candle_count, series.revision) == (3000, 3000, 0)
    assert not CandleRevision.objects.exists()


def test_two_who_store_different_things_at_once_are_both_counted():
    acme = Asset.objects.create(symbol="ACME")
    parts = [minutes(start, start + 2000) for start in (0, 1000, 2000, 3000)]
    at_once([lambda part=part: ingest(acme, "1m", part, source="test") for part in parts])
    assert Candle.objects.count() == Series.objects.get().candle_count == 5000


def test_the_later_of_two_corrections_is_known_later():
    acme = Asset.objects.create(symbol="ACME")
    ingest(acme, "1m", minutes(0, 100), source="test")
    at_once([lambda n=n: ingest(acme, "1m", minutes(0, 100, close=str(n)), source="test") for n in (9, 10, 12)])
    assert CandleRevision.objects.count() == 300
    assert not CandleRevision.objects.extra(where=["superseded_at <= known_at"]).exists()


CHILD = """
import django
django.setup()
from marketdata.ingestion import ingest
from marketdata.models import Asset
from tests.marketdata.test_ingestion_concurrency import BATCH, minutes
ingest(Asset.objects.get(), "1m", minutes(0, 4 * BATCH), source="test")
"""


@pytest.mark.prove
def test_a_writer_that_is_killed_leaves_whole_batches_and_can_begin_again():
    acme = Asset.objects.create(symbol="ACME")
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "chronos.settings"}
    child = subprocess.Popen([sys.executable, "-c", CHILD], env=environment)
    deadline = time.monotonic() + 60
    while not Series.objects.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = Candle.objects.count()
    assert done == Series.objects.get().candle_count
    assert done % BATCH == 0
    assert 0 < done < 4 * BATCH
    result = ingest(acme, "1m", minutes(0, 4 * BATCH), source="test")
    assert (result.inserted, result.unchanged) == (4 * BATCH - done, done)
    assert Series.objects.get().revision == 0
