"""However a series is cut into batches, and whatever comes when: the same is stored, and no versions overlap."""

from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata import quality
from marketdata.ingestion import ingest
from marketdata.models import Asset, QuarantinedCandle, Series, Timeframe
from tests.marketdata.candles import closes, day, market, stored, table, times, whole

pytestmark = pytest.mark.usefixtures("house")
every_time = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
numbers = count(1)
LENGTH = 120

# Where, what, and how long; far enough from the ends and from each other that there is something to judge them by.
FAULTS = {"spike up": (3.0, 1), "spike down": (0.3, 1), "two in a row": (2.5, 2), "pence": (100.0, 3)}
faulty = st.lists(st.sampled_from(sorted(FAULTS)), max_size=3)
cuts = st.lists(st.integers(1, LENGTH - 1), max_size=8, unique=True).map(sorted)


def fresh() -> Asset:
    return Asset.objects.create(symbol=f"Q{next(numbers)}")


def put(asset: Asset, rows: list[dict]) -> None:
    ingest(asset, "1d", table(rows), source="test")


def series_with(faults: list[str]) -> tuple[list[dict], set]:
    """Rows with these faults, and the days on which they are."""
    rows, days = market(LENGTH), set()
    for place, name in enumerate(faults):
        factor, length = FAULTS[name]
        for number in range(30 + 25 * place, 30 + 25 * place + length):
            rows[number] = times(rows[number], factor)
            days.add(day(number))
    return rows, days


@every_time
@given(faults=faulty, where=cuts)
def test_the_cuts_do_not_matter(faults, where):
    rows, days = series_with(faults)
    pieces = [rows[a:b] for a, b in pairwise([0, *where, LENGTH])]
    asset = fresh()
    for piece in pieces:
        put(asset, piece)
    assert set(closes(asset)) == {row["open_time"] for row in rows} - days
    held = QuarantinedCandle.objects.filter(asset=asset, state="held").values_list("open_time", flat=True)
    assert set(held) == days
    whole(asset)


@every_time
@given(faults=faulty, where=cuts)
def test_history_may_come_backwards(faults, where):
    rows, days = series_with(faults)
    asset = fresh()
    for a, b in reversed(list(pairwise([0, *where, LENGTH]))):
        put(asset, rows[a:b])
    assert set(closes(asset)) == {row["open_time"] for row in rows} - days
    whole(asset)


@every_time
@given(faults=faulty, where=cuts, again=st.integers(1, 6))
def test_what_comes_twice_changes_nothing(faults, where, again):
    rows, _ = series_with(faults)
    once, twice = fresh(), fresh()
    put(once, rows)
    for a, b in pairwise([0, *where, LENGTH]):
        put(twice, rows[max(0, a - again) : b])  # as providers are asked for the last few again
    assert stored(twice) == stored(once)
    put(twice, rows)
    assert stored(twice) == stored(once)
    whole(twice)


values = st.sampled_from([0.2, 0.9, 1.0, 1.0, 1.0, 1.5, 2.2, 30.0])
steps = st.lists(st.tuples(st.integers(0, 39), st.integers(1, 12), values), min_size=1, max_size=8)


@every_time
@given(steps=steps)
def test_no_two_versions_of_a_candle_were_believed_at_one_time(steps):
    asset, rows = fresh(), market(52)
    for first, length, factor in steps:
        put(asset, [times(row, factor) for row in rows[first : first + length]])
        series = Series.objects.filter(asset=asset).first()
        assert (series.candle_count if series else 0) == len(closes(asset))
    if closes(asset):
        whole(asset)


price = st.one_of(st.floats(1e-9, 1e9), st.just(0.0))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    prices=st.lists(price, max_size=80),
    volumes=st.sampled_from([0.0, 1.0, 1e12]),
    timeframe=st.sampled_from(Timeframe),
    settled=st.booleans(),
)
def test_whatever_comes_is_judged_without_an_exception(prices, volumes, timeframe, settled):
    import numpy as np

    close = np.array(prices, dtype=float)
    at = np.arange(len(close), dtype=np.int64) * 60_000_000
    volume = np.full(len(close), volumes)
    view = quality.View(timeframe, at, close, close * 1.1, close * 0.9, close, volume, np.full(len(close), settled))
    found = quality.judge(view)
    assert not (settled and found)
    assert quality.doubtful(view) or not found
    assert all(len(fault.reason) < 300 and "nan" not in fault.reason for fault in found.values())
