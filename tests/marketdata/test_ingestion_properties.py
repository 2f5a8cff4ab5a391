"""Whatever comes, the stored candles are those of a simple model of the rules, written here a second time in Python."""

import re
from decimal import ROUND_HALF_UP, Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.ingestion import ingest
from marketdata.models import Asset, CandleRevision, Series
from tests.marketdata.candles import NUMBERS, day, row, stored, table

pytestmark = pytest.mark.usefixtures("house")
every_time = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
numbers = count(1)


class Model:
    """A dictionary that follows the rules of `marketdata.ingestion`."""

    def __init__(self) -> None:
        self.candles: dict = {}
        self.revisions = 0

    def take(self, rows: list[dict]) -> tuple[int, int, int, int, int]:
        inserted = updated = unchanged = refused = 0
        first: dict = {}
        for given_row in rows:
            values = self._values(given_row)
            at = given_row["open_time"]
            if values is None or (at in first and first[at] != values):
                refused += 1
            elif at in first:
                unchanged += 1
            else:
                first[at] = values
        for at, values in first.items():
            old = self.candles.get(at)
            new = values if old is None else self._over(old, values)
            inserted, updated = inserted + (old is None), updated + (old is not None and old != new)
            unchanged += old == new
            self.candles[at] = new
        self.revisions += updated
        return len(rows), inserted, updated, unchanged, refused

    @staticmethod
    def _over(old: dict, new: dict) -> dict:
        kept = dict(new)
        if new["adj_close"] is None and new["close"] == old["close"]:
            kept["adj_close"] = old["adj_close"]
        if new["quote_volume"] is None and new["volume"] == old["volume"]:
            kept["quote_volume"] = old["quote_volume"]
        return kept

    @staticmethod
    def _values(given_row: dict) -> dict | None:
        at, values = given_row["open_time"], {}
        if at is None or at > day(2000):
            return None
        for name in NUMBERS:
            text = given_row.get(name)
            if text is None:
                if name not in ("adj_close", "quote_volume"):
                    return None
                values[name] = None
                continue
            if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
                return None
            scale = Decimal("1e-8") if "volume" in name else Decimal("1e-10")
            value = Decimal(text).quantize(scale, ROUND_HALF_UP)
            if value < 0 or value >= Decimal(10) ** (20 if "volume" in name else 10):
                return None
            values[name] = value
        inside = values["low"] <= min(values["open"], values["close"])
        return values if inside and values["high"] >= max(values["open"], values["close"]) else None

    def stored(self) -> list[tuple]:
        return [(at, *(self.candles[at][name] for name in NUMBERS)) for at in sorted(self.candles)]


prices = st.sampled_from(["10", "10.0", "1e1", "11", "10.12345678904", "10.12345678906", "9.5", "0"])
anything = st.one_of(
    prices,
    st.none(),
    st.sampled_from(
        ["", "x", "NaN", "-1", "-0", "1e400", "99999999999", "9999999999.99999999999", "1,5", ".", "+.5e1"]
    ),
    st.decimals(allow_nan=True, places=None).map(str),
)
times = st.one_of(st.integers(0, 6).map(day), st.sampled_from([None, day(100_000)]))
good = st.fixed_dictionaries(
    {"open_time": st.integers(0, 6).map(day), "open": prices, "close": prices},
    optional={"adj_close": st.one_of(st.none(), prices), "quote_volume": st.one_of(st.none(), prices)},
).map(lambda values: row(None, low="0", high="20") | values)
bad = st.fixed_dictionaries({"open_time": times, **dict.fromkeys(NUMBERS, anything)})
tables = st.lists(st.one_of(good, good, good, bad), max_size=12)


def fresh() -> Asset:
    return Asset.objects.create(symbol=f"P{next(numbers)}")


def put(asset: Asset, rows: list[dict]) -> tuple[int, int, int, int, int]:
    result = ingest(asset, "1d", table(rows), source="test")
    return result.received, result.inserted, result.updated, result.unchanged, result.quarantined


@every_time
@given(first=tables, second=tables)
def test_what_is_stored_is_what_the_model_says(first, second):
    asset, model = fresh(), Model()
    for rows in (first, second, first):
        counts = put(asset, rows)
        assert counts == model.take(rows)
        assert counts[0] == sum(counts[1:])
        assert stored(asset) == model.stored()
    assert CandleRevision.objects.filter(asset=asset).count() == model.revisions
    series = Series.objects.filter(asset=asset).first()
    if series is None:
        assert not model.candles
    else:
        assert series.candle_count == len(model.candles)
        assert (series.first_open, series.last_open) == (min(model.candles), max(model.candles))


@every_time
@given(rows=tables)
def test_the_second_time_everything_is_unchanged(rows):
    asset = fresh()
    received, inserted, updated, unchanged, quarantined = put(asset, rows)
    assert put(asset, rows) == (received, 0, 0, inserted + unchanged, quarantined)
    assert updated == 0


@every_time
@given(rows=st.lists(good, max_size=12, unique_by=lambda values: values["open_time"]), data=st.data())
def test_the_order_does_not_matter(rows, data):
    one, other = fresh(), fresh()
    put(one, rows)
    put(other, data.draw(st.permutations(rows)))
    assert stored(one) == stored(other)
