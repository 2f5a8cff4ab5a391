"""The world as it was known at a moment: candles, their old versions, and the actions of then."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata import columns, frames
from marketdata.ingestion import ingest
from marketdata.models import Asset, Basis, Candle, CandleRevision, CorporateAction, Series
from tests.marketdata.candles import day, market, row, table, times

pytestmark = pytest.mark.usefixtures("house")
fresh = count(1)
every_time = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def now() -> datetime:
    """By the clock that stamps what is stored."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def known(asset: Asset, at: datetime | None, **options) -> dict[int, tuple]:
    """Day: (close, volume, adj_close) as a frame has them."""
    frame = frames.read(asset, "1d", columns=("close", "volume", "adj_close"), as_of=at, **options)
    days = ((frame.times - np.datetime64("2020-01-01")) // np.timedelta64(1, "D")).tolist()
    rows = zip(*(frame[name][0].tolist() for name in frame.columns), strict=True)
    return dict(zip(days, ((c, v, None if a != a else a) for c, v, a in rows), strict=True))


candles = st.dictionaries(
    st.integers(0, 5),
    st.tuples(st.sampled_from(["9.5", "10", "11"]), st.sampled_from(["1", "2"]), st.sampled_from([None, "8", "9"])),
    min_size=1,
    max_size=5,
)


@every_time
@given(st.lists(candles, min_size=1, max_size=5))
def test_at_every_moment_it_is_what_was_stored_then(steps):
    asset, moments = Asset.objects.create(symbol=f"A{next(fresh)}"), [(now(), {})]
    for step in steps:
        rows = [row(day(n), close=c, volume=v, adj_close=a) for n, (c, v, a) in step.items()]
        ingest(asset, "1d", table(rows), source="test")
        stored = Candle.objects.filter(asset=asset).values_list("open_time", "close", "volume", "adj_close")
        state = {(at - day(0)).days: (float(c), float(v), a and float(a)) for at, c, v, a in stored}
        moments.append((now(), state))
    for at, state in moments:
        assert known(asset, at) == state
    for at in CandleRevision.objects.filter(asset=asset).values_list("superseded_at", flat=True):
        after = next(state for moment, state in moments if moment > at)
        assert known(asset, at) == after  # at the very moment of a change the new version counts
        before = [state for moment, state in moments if moment < at][-1]
        assert known(asset, at - timedelta(microseconds=1)) == before
    assert known(asset, now()) == known(asset, None)


def test_a_range_of_then():
    acme = Asset.objects.create(symbol="ACME")
    ingest(acme, "1d", table([row(day(n)) for n in range(5)]), source="test")
    then = now()
    ingest(acme, "1d", table([row(day(n), close="9.5") for n in range(8)]), source="test")
    frame = frames.read(acme, "1d", start=day(1), end=day(4), as_of=then)
    assert frame["close"][0].tolist() == [11] * 3
    assert frame.parts[0].revision is None
    assert frame.parts[0].fingerprint.startswith("1d:as-of:20200102T0000-20200104T0000:3:")
    assert len(frames.read(acme, "1d", start=day(6), end=day(7), as_of=then)) == 0


def test_several_assets_of_then():
    acme, late = Asset.objects.create(symbol="ACME"), Asset.objects.create(symbol="LATE")
    ingest(acme, "1d", table([row(day(0)), row(day(1))]), source="test")
    then = now()
    ingest(late, "1d", table([row(day(0))]), source="test")
    ingest(acme, "1d", table([row(day(1), close="9.5")]), source="test")
    closes = frames.read([late, acme], "1d", columns="close", as_of=then)["close"]
    np.testing.assert_array_equal(closes, [[np.nan, np.nan], [11, 11]])


def test_splits_count_from_when_they_were_known():
    acme = Asset.objects.create(symbol="ACME")
    ingest(acme, "1d", table([row(day(n)) for n in range(4)]), source="test")
    Series.objects.update(basis=Basis.RAW)
    then = now()
    CorporateAction.objects.create(
        asset=acme, kind="split", ex_date=day(2).date(), value=Decimal(2), source="test", known_at=now()
    )
    assert [close for close, *_ in known(acme, then).values()] == [11] * 4
    assert [close for close, *_ in known(acme, now()).values()] == [5.5, 5.5, 11, 11]


def test_bars_of_then():
    acme = Asset.objects.create(symbol="ACME", calendar="24/7")
    minutes = [day(0) + timedelta(minutes=n) for n in range(120)]
    ingest(acme, "1m", table([row(at) for at in minutes]), source="test")
    then = now()
    ingest(acme, "1m", table([row(minutes[70], high="20")]), source="test")
    read = {"from_timeframe": "1m", "columns": ["high"]}
    assert frames.read(acme, "1h", as_of=then, **read)["high"][0].tolist() == [12, 12]
    assert frames.read(acme, "1h", **read)["high"][0].tolist() == [12, 20]


def test_every_column_of_then_is_the_nearest_double():
    acme = Asset.objects.create(symbol="ACME")
    exact = {"open": "10.0123456789", "close": "10.1", "volume": "0.12345678", "quote_volume": "1234567.00000001"}
    ingest(acme, "1d", table([row(day(0), **exact)]), source="test")
    then = now()
    ingest(acme, "1d", table([row(day(0))]), source="test")
    frame = frames.read(acme, "1d", columns=columns.NUMBERS, as_of=then)
    assert {name: frame[name][0, 0] for name in exact} == {name: float(text) for name, text in exact.items()}


def test_what_was_withdrawn_since_from_the_end_of_a_series_was_believed_then():
    acme, days = Asset.objects.create(symbol="ACME"), market(40)
    ingest(acme, "1d", table([times(days[0], 1.9), days[1]]), source="test")
    then, believed = now(), known(acme, None)
    assert ingest(acme, "1d", table(days[2:]), source="test").withdrawn == 1
    assert next(iter(known(acme, now()))) == 1
    for adjust in ("raw", "split", "total"):
        assert known(acme, then, adjust=adjust) == believed
    assert list(known(acme, then, end=day(1))) == [0]
