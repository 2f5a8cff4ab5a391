"""Splits and dividends: learnt, kept, and what they make of stored prices."""

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.db import connections
from django.utils import timezone

from marketdata import actions, splits
from marketdata.ingestion import ingest
from marketdata.models import (
    Asset,
    Basis,
    Candle,
    CandleRevision,
    CorporateAction,
    Series,
    Timeframe,
    TradingCalendar,
)
from marketdata.providers.base import Action
from tests.marketdata.candles import stored, table
from tests.sessions import known

pytestmark = pytest.mark.usefixtures("house")
SPLIT, DIVIDEND = CorporateAction.Kind.SPLIT, CorporateAction.Kind.DIVIDEND
D1, H1 = Timeframe.D1, Timeframe.H1


@pytest.fixture
def asset() -> Asset:
    return Asset.objects.create(symbol="ACME", currency="USD")


def split(day: str, value: str = "2") -> Action:
    return Action(SPLIT, date.fromisoformat(day), Decimal(value))


def dividend(day: str, value: str = "0.5", currency: str = "USD") -> Action:
    return Action(DIVIDEND, date.fromisoformat(day), Decimal(value), currency)


def learn(asset: Asset, *told: Action, source: str = "yahoo", basis: str = Basis.SPLIT, **how) -> actions.Learnt:
    return actions.learn(asset, source, basis, told, **how)


def believed(asset: Asset) -> list[tuple[str, str, Decimal]]:
    return [(row.kind, str(row.ex_date), row.value.normalize()) for row in actions.current(asset)]


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[us]")


def keep(asset: Asset, closes: dict[str, float], timeframe: Timeframe = D1, source: str = "yahoo", **more) -> None:
    """Store candles of these opens; `adj` (a dict) has adjusted closes."""
    adjusted = more.get("adj", {})
    rows = [
        {
            "open_time": datetime.fromisoformat(at).replace(tzinfo=UTC),
            "open": str(close),
            "high": str(close),
            "low": str(close),
            "close": str(close),
            "volume": "100",
            "adj_close": str(adjusted[at]) if at in adjusted else None,
        }
        for at, close in closes.items()
    ]
    ingest(asset, timeframe, table(rows), source=source)


def as_if_known(asset: Asset, at: str) -> None:
    """As if all of it had been stored then."""
    when = datetime.fromisoformat(at).replace(tzinfo=UTC)
    Candle.objects.filter(asset=asset).update(known_at=when)
    CorporateAction.objects.filter(asset=asset).update(known_at=when)
    Asset.objects.filter(pk=asset.pk).update(created_at=when)
    asset.refresh_from_db()


class TestLearning:
    def test_what_is_new_is_kept(self, asset: Asset) -> None:
        learnt = learn(asset, dividend("2024-05-10"), split("2024-06-10", "10"))
        assert learnt == actions.Learnt((split("2024-06-10", "10"),), True)
        assert believed(asset) == [
            ("dividend", "2024-05-10", Decimal("0.5")),
            ("split", "2024-06-10", Decimal("10").normalize()),
        ]
        row = CorporateAction.objects.get(kind=DIVIDEND)
        assert (row.source, row.basis, row.currency, row.derived) == ("yahoo", "split", "USD", False)

    def test_the_same_again_is_nothing(self, asset: Asset) -> None:
        told = (dividend("2024-05-10"), split("2024-06-10"))
        learn(asset, *told)
        assert learn(asset, *told) == actions.Learnt()
        assert learn(asset, dividend("2024-05-10", "0.5000000001")) == actions.Learnt()
        assert CorporateAction.objects.count() == 2

    def test_a_changed_value_supersedes_and_the_old_one_stays(self, asset: Asset) -> None:
        learn(asset, dividend("2024-05-10", "0.50"))
        between = timezone.now()
        assert learn(asset, dividend("2024-05-10", "0.55")).changed
        assert believed(asset) == [("dividend", "2024-05-10", Decimal("0.55"))]
        assert [row.value for row in actions.current(asset, between)] == [Decimal("0.5")]
        old, new = CorporateAction.objects.order_by("known_at")
        assert old.superseded_at == new.known_at

    def test_another_source_says_the_same_or_is_not_believed(self, asset: Asset) -> None:
        learn(asset, dividend("2024-05-10", "0.50"), split("2024-06-10"))
        assert not learn(asset, dividend("2024-05-10", "0.501"), source="twelvedata").changed
        assert not learn(asset, dividend("2024-05-10", "0.7"), split("2024-06-10", "3"), source="twelvedata").changed
        assert CorporateAction.objects.count() == 2

    def test_what_was_told_takes_the_place_of_what_was_derived(self, asset: Asset) -> None:
        learn(asset, split("2024-06-10", "2"), source="file", derived=True)
        assert not learn(asset, split("2024-06-10", "2")).changed
        learnt = learn(asset, split("2024-06-10", "2.1"))
        assert learnt.new_splits == (split("2024-06-10", "2.1"),)
        assert not learn(asset, split("2024-06-10", "2"), source="file", derived=True).changed
        assert believed(asset) == [("split", "2024-06-10", Decimal("2.1"))]

    def test_a_dividend_of_another_basis_is_compared_on_the_same(self, asset: Asset) -> None:
        learn(asset, dividend("2024-05-10", "0.05"), split("2024-06-10", "10"))
        assert not learn(asset, dividend("2024-05-10", "0.5"), source="twelvedata", basis=Basis.RAW).changed

    def test_two_of_a_day_are_one(self, asset: Asset) -> None:
        learn(asset, dividend("2024-05-10", "0.5"), dividend("2024-05-10", "2"), split("2024-05-10"))
        assert believed(asset) == [
            ("dividend", "2024-05-10", Decimal("2.5")),
            ("split", "2024-05-10", Decimal("2")),
        ]

    @pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity", "1E+13", "1E-15"])
    def test_what_can_not_be_is_left_out(self, asset: Asset, value: str) -> None:
        assert learn(asset, dividend("2024-05-10", value), split("2024-06-10", "1")) == actions.Learnt()
        assert not CorporateAction.objects.exists()

    def test_what_is_only_announced_is_left_out(self, asset: Asset) -> None:
        """Prices know nothing of it: raw ones would be multiplied by a split that has not happened."""
        next_week = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"
        assert learn(asset, split(next_week, "10"), dividend(next_week)) == actions.Learnt()
        assert not CorporateAction.objects.exists()

    def test_a_split_divides_the_dividends_that_were_stored_before_it(self, asset: Asset) -> None:
        learn(asset, dividend("2024-05-10", "0.50"))
        learn(asset, dividend("2024-05-11", "0.50"), basis=Basis.RAW)
        as_if_known(asset, "2024-05-12")
        learn(asset, split("2024-06-10", "10"))
        assert believed(asset)[:2] == [
            ("dividend", "2024-05-10", Decimal("0.05")),
            ("dividend", "2024-05-11", Decimal("0.5")),
        ]
        assert not learn(asset, dividend("2024-05-10", "0.05")).changed  # as its source says by now

    def test_but_not_those_that_were_told_after_it(self, asset: Asset) -> None:
        learn(asset, dividend("2024-05-10", "0.05"))
        learn(asset, split("2024-06-10", "10"))
        assert believed(asset)[0] == ("dividend", "2024-05-10", Decimal("0.05"))

    def test_two_at_once_store_one(self, asset: Asset) -> None:
        together, found = threading.Barrier(4), []

        def work() -> None:
            try:
                together.wait(5)
                found.append(learn(asset, split("2024-06-10"), dividend("2024-05-10")))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(learnt.changed for learnt in found) == 1
        assert CorporateAction.objects.count() == 2


class TestFactors:
    TIMES = days("2024-06-06", "2024-06-07", "2024-06-10", "2024-06-11")

    def test_split_adjusted_of_raw_prices(self, asset: Asset) -> None:
        learn(asset, split("2024-06-10", "10"), split("2024-06-07", "0.5"))
        price, volume = actions.factors(asset, self.TIMES, basis="raw", adjust="split")
        assert price.tolist() == [0.2, 0.1, 1, 1]
        assert volume.tolist() == pytest.approx([5, 10, 1, 1])

    def test_raw_of_split_adjusted_prices(self, asset: Asset) -> None:
        learn(asset, split("2024-06-10", "10"))
        price, volume = actions.factors(asset, self.TIMES, basis="split", adjust="raw")
        assert price.tolist() == [10, 10, 1, 1]
        assert volume.tolist() == [0.1, 0.1, 1, 1]

    @pytest.mark.parametrize(("basis", "adjust"), [("raw", "raw"), ("split", "split")])
    def test_what_is_so_already_stays(self, asset: Asset, basis: str, adjust) -> None:
        learn(asset, split("2024-06-10", "10"))
        price, volume = actions.factors(asset, self.TIMES, basis=basis, adjust=adjust)
        assert price.tolist() == volume.tolist() == [1, 1, 1, 1]

    def test_total_from_dividends(self, asset: Asset) -> None:
        """1 - D/C of the session before, backwards; a dividend of the shares after a split of the same day."""
        learn(asset, split("2024-06-10", "10"), dividend("2024-06-10", "2"), dividend("2024-06-11", "1"))
        closes = np.array([1000.0, 1100.0, 120.0, 125.0])
        price, volume = actions.factors(asset, self.TIMES, basis="raw", adjust="total", closes=closes)
        late, early = 1 - 1 / 120, 1 - 2 / 110
        assert price.tolist() == pytest.approx([early * late / 10, early * late / 10, late, 1])
        assert volume.tolist() == pytest.approx([10, 10, 1, 1])

    def test_raw_dividends_are_of_the_shares_of_their_day(self, asset: Asset) -> None:
        learn(asset, split("2024-06-11", "10"), dividend("2024-06-07", "10"), basis=Basis.RAW)
        closes = np.array([1000.0, 990.0, 1000.0, 101.0])
        price, _ = actions.factors(asset, self.TIMES, basis="raw", adjust="total", closes=closes)
        assert price.tolist() == pytest.approx([0.099, 0.1, 0.1, 1])
        price, _ = actions.factors(asset, self.TIMES, basis="split", adjust="total", closes=closes / [10, 10, 10, 1])
        assert price.tolist() == pytest.approx([0.99, 1, 1, 1])

    def test_the_factor_of_a_part_is_the_part_of_the_factor(self, asset: Asset) -> None:
        """Whoever reads a range gets the prices that the whole has there: later dividends count."""
        keep(asset, {"2024-06-06": 100, "2024-06-07": 110, "2024-06-10": 120, "2024-06-11": 125})
        learn(asset, dividend("2024-06-11", "6"))
        whole, _ = actions.factors(asset, self.TIMES, basis="split", adjust="total")
        part, _ = actions.factors(asset, self.TIMES[:2], basis="split", adjust="total", closes=np.array([100.0, 110.0]))
        assert whole.tolist() == pytest.approx([0.95, 0.95, 0.95, 1])
        assert part.tolist() == whole[:2].tolist()

    def test_total_is_the_sources_adjusted_close_where_it_gives_one(self, asset: Asset) -> None:
        learn(asset, dividend("2024-06-10", "50"))
        closes, adjusted = np.array([100.0, 110.0, 120.0, 125.0]), np.array([95.0, 104.5, 120.0, 125.0])
        price, _ = actions.factors(asset, self.TIMES, basis="split", adjust="total", closes=closes, adj_closes=adjusted)
        assert (price * closes).tolist() == adjusted.tolist()

    def test_intraday_candles_take_the_shares_of_their_days(self, asset: Asset) -> None:
        """The ex-date begins at midnight of New York."""
        TradingCalendar.objects.create(
            code="XNYS", zone="America/New_York", covers_from=date(2024, 1, 1), covers_until=date(2025, 1, 1)
        )
        asset.calendar = "XNYS"
        asset.save()
        keep(
            asset,
            {"2024-06-07": 1000, "2024-06-10": 100, "2024-06-11": 110},
            adj={"2024-06-07": 95, "2024-06-10": 100, "2024-06-11": 110},
        )
        Series.objects.filter(asset=asset).update(basis="raw")
        learn(asset, split("2024-06-10", "10"))
        times = days("2024-06-07T19:30", "2024-06-10T03:30", "2024-06-10T13:30", "2024-06-12T13:30")
        price, volume = actions.factors(asset, times, basis="raw", adjust="total", timeframe=H1)
        assert price.tolist() == pytest.approx([0.095, 0.095, 1, 1])
        assert volume.tolist() == [10, 10, 1, 1]
        price, _ = actions.factors(asset, times, basis="split", adjust="total", timeframe=H1)
        assert price.tolist() == pytest.approx([0.95, 0.95, 1, 1])

    def test_a_week_is_after_what_happens_in_it(self, asset: Asset) -> None:
        learn(asset, split("2024-06-12"))
        weeks = days("2024-06-03", "2024-06-10", "2024-06-17")
        assert actions.factors(asset, weeks, basis="raw", adjust="split", timeframe=Timeframe.W1)[0].tolist() == [
            0.5,
            1,
            1,
        ]
        months = days("2024-05-01", "2024-06-01")
        assert actions.factors(asset, months, basis="raw", adjust="split", timeframe=Timeframe.MO1)[0].tolist() == [
            0.5,
            1,
        ]

    def test_as_it_was_known(self, asset: Asset) -> None:
        keep(asset, {"2024-06-07": 200, "2024-06-10": 100})
        learn(asset, dividend("2024-06-10", "10"))
        then = timezone.now()
        keep(asset, {"2024-06-07": 100})
        learn(asset, split("2024-06-10"), dividend("2024-06-10", "20"))
        times = days("2024-06-07", "2024-06-10")

        def total(as_of: datetime | None) -> list[float]:
            return actions.factors(asset, times, basis="split", adjust="total", as_of=as_of)[0].tolist()

        assert total(then - timedelta(days=1)) == [1, 1]
        assert total(then) == [0.95, 1]
        assert total(None) == [0.8, 1]
        assert actions.factors(asset, times, basis="raw", adjust="split", as_of=then)[0].tolist() == [1, 1]

    def test_money_of_another_currency_is_no_share_of_this_price(self, asset: Asset) -> None:
        learn(asset, dividend("2024-06-10", "50", "EUR"))
        price, _ = actions.factors(asset, self.TIMES, basis="split", adjust="total", closes=np.full(4, 100.0))
        assert price.tolist() == [1, 1, 1, 1]

    def test_nothing_to_adjust(self, asset: Asset) -> None:
        for adjust in ("raw", "split", "total"):
            price, volume = actions.factors(asset, days(), basis="raw", adjust=adjust)
            assert len(price) == len(volume) == 0


class TestRebase:
    def rows(self) -> list[dict]:
        opens = [datetime(2024, 6, 7, tzinfo=UTC), datetime(2024, 6, 10, tzinfo=UTC)]
        numbers = {"open": "10", "high": "10.01", "low": "9.99", "close": "10", "volume": "300", "adj_close": "3"}
        return [{"open_time": at, **numbers} for at in opens]

    def test_exactly_and_back(self, asset: Asset) -> None:
        learn(asset, split("2024-06-10", "0.333333333333"))
        split_adjusted = actions.rebase(table(self.rows()), asset, "raw", "split")
        assert split_adjusted["close"].to_pylist() == ["30", "10"]
        assert split_adjusted["volume"].to_pylist() == ["100", "300"]
        assert split_adjusted["adj_close"].to_pylist() == ["3", "3"]
        assert actions.rebase(split_adjusted, asset, "split", "raw").to_pylist() == table(self.rows()).to_pylist()

    def test_without_splits_or_on_the_same_basis_it_is_the_same_table(self, asset: Asset) -> None:
        candles = table(self.rows())
        assert actions.rebase(candles, asset, "raw", "split") is candles
        learn(asset, split("2024-06-10"))
        assert actions.rebase(candles, asset, "split", "split") is candles

    def test_what_is_no_number_is_left_to_ingestion(self, asset: Asset) -> None:
        learn(asset, split("2024-06-10"))
        rows = [self.rows()[0] | {"close": "n/a", "low": None}, {**self.rows()[1], "open_time": None}]
        found = actions.rebase(table(rows), asset, "raw", "split").to_pylist()
        assert (found[0]["close"], found[0]["low"], found[0]["high"]) == ("n/a", None, "5.005")
        assert found[1]["close"] == "10"


class TestRefetch:
    STORED = {"2024-06-05": 100, "2024-06-06": 101, "2024-06-07": 102}

    def answer(self, closes: dict[str, float], adj: dict[str, float] | None = None):
        rows = [
            {
                "open_time": datetime.fromisoformat(at).replace(tzinfo=UTC),
                "close": str(close),
                "adj_close": str(adj[at]) if adj else None,
            }
            for at, close in closes.items()
        ]
        return table([{"open": "1", "high": "1", "low": "1", "volume": "1", **row} for row in rows])

    def reason(self, asset: Asset, closes, adj=None, *told: Action) -> str:
        return actions.demands_refetch(asset, D1, self.answer(closes, adj), actions.Learnt(told, bool(told)))

    def test_the_same_and_new_ones_do_not(self, asset: Asset) -> None:
        keep(asset, self.STORED)
        assert self.reason(asset, self.STORED | {"2024-06-10": 99}) == ""
        assert self.reason(asset, {"2024-06-10": 50}) == ""

    def test_another_share_basis_does(self, asset: Asset) -> None:
        keep(asset, self.STORED)
        halves = {at: close / 2 for at, close in self.STORED.items()}
        assert "0.5 times" in self.reason(asset, halves | {"2024-06-10": 50})

    def test_one_corrected_close_does_not(self, asset: Asset) -> None:
        keep(asset, self.STORED)
        assert self.reason(asset, self.STORED | {"2024-06-07": 108}) == ""

    def test_a_changed_adjusted_close_does(self, asset: Asset) -> None:
        keep(asset, self.STORED, adj=self.STORED)
        adjusted = {at: close * 0.995 for at, close in self.STORED.items()}
        assert "adjusted closes of ACME" in self.reason(asset, self.STORED, adjusted)
        assert self.reason(asset, self.STORED, self.STORED) == ""

    def test_a_new_split_does_if_what_is_stored_is_older(self, asset: Asset) -> None:
        keep(asset, self.STORED)
        assert self.reason(asset, {"2024-06-11": 50}, None, split("2024-06-10")) == ""  # stored after it: adjusted
        as_if_known(asset, "2024-06-08")
        assert self.reason(asset, {"2024-06-11": 50}, None, split("2024-06-10")) == "ACME was split 2:1 on 2024-06-10"
        assert self.reason(asset, self.STORED | {"2024-06-11": 50}, None, split("2024-06-10")) == ""


class TestSettling:
    """What can't be fetched again is divided here."""

    def test_every_series_and_once(self, asset: Asset) -> None:
        keep(asset, {"2024-06-07": 100, "2024-06-10": 51}, adj={"2024-06-07": 90})
        keep(asset, {"2024-06-07T13:30": 99}, H1, source="file")
        as_if_known(asset, "2024-06-08")
        Candle.objects.filter(open_time=datetime(2024, 6, 10, tzinfo=UTC)).update(known_at=timezone.now())
        learn(asset, split("2024-06-10", "1.5"))
        assert splits.settle(asset) == 2
        day = stored(asset)[0]
        assert day[1:7] == tuple(
            map(Decimal, ("66.6666666667", "66.6666666667", "66.6666666667", "66.6666666667", "60", "150"))
        )
        assert stored(asset)[1][4] == 51
        assert stored(asset, "1h")[0][4] == 66
        assert {row.close for row in CandleRevision.objects.all()} == {100, 99}
        assert set(Candle.objects.values_list("source", flat=True)) == {"yahoo", "file"}
        assert set(Series.objects.values_list("revision", flat=True)) == {1}
        assert splits.settle(asset) == 0

    def test_not_what_was_stored_after_it_or_is_raw(self, asset: Asset) -> None:
        keep(asset, {"2024-06-07": 100})
        learn(asset, split("2024-06-10"))
        assert splits.settle(asset) == 0
        as_if_known(asset, "2024-06-08")
        Series.objects.update(basis="raw")
        assert splits.settle(asset) == 0

    def test_the_past_can_be_read_as_it_was(self, asset: Asset) -> None:
        keep(asset, {"2024-06-07": 100})
        as_if_known(asset, "2024-06-08")
        learn(asset, split("2024-06-10"))
        splits.settle(asset)
        old = CandleRevision.objects.get()
        assert (old.close, old.known_at.date()) == (100, date(2024, 6, 8))
        assert old.superseded_at == Candle.objects.get().known_at


class TestZone:
    """Trading dates are counted by the market's clock, however the market is known."""

    def test_the_market_may_be_told_by_the_symbol_or_by_another_name(self) -> None:
        known("XASX")
        for asset in (Asset(symbol="BHP.AX"), Asset(symbol="BHP", exchange="ASX"), Asset(symbol="BHP", calendar="asx")):
            assert str(actions.zone_of(asset)) == "Australia/Sydney"

    def test_a_source_may_call_it_anything(self) -> None:
        for zone in ("Foo/Bar", "../etc", "", 5):
            assert actions.zone_of(Asset(symbol="ACME", exchange="Nowhere", metadata={"timezone": zone})) is UTC

    def test_the_first_hour_of_sydney_is_after_the_split_though_it_is_of_the_day_before_in_utc(self) -> None:
        known("XASX")
        asset = Asset.objects.create(symbol="BHP.AX")
        learn(asset, split("2024-12-10"))
        times = days("2024-12-09T04:00", "2024-12-09T23:00", "2024-12-10T00:00")
        price, _ = actions.factors(asset, times, basis="raw", adjust="split", timeframe=H1)
        assert price.tolist() == [0.5, 1, 1]

    def test_what_was_stored_in_that_hour_is_not_divided(self) -> None:
        known("XASX")
        asset = Asset.objects.create(symbol="BHP.AX")
        keep(asset, {"2024-12-09T23:00": 50}, H1)
        as_if_known(asset, "2024-12-09T23:30")
        learn(asset, split("2024-12-10"))
        assert splits.settle(asset) == 0
