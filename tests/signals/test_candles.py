"""What a run is made on: prices as traded for filling, split-adjusted for deciding, and what happened to shares."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from marketdata import actions
from marketdata.models import Asset, Basis, CorporateAction, Series, Timeframe
from marketdata.providers.base import Action
from signals import candles, running
from signals.engine.terms import Costs, Exits, Terms
from signals.strategies import registry
from tests.prices import stored

pytestmark = pytest.mark.usefixtures("house")
Kind = CorporateAction.Kind
FRIDAY = datetime(2024, 3, 8, tzinfo=UTC)
DAYS = 20  # the last of them a Friday; by the length of a day, so with weekends


def traded(basis: str) -> Asset:
    """A share at 100 that is split 4:1 on 1 March: 25 since; a dividend of 1 a new share on 5 March."""
    raw = [100.0] * 12 + [25.0] * 8
    asset = stored("ACME", raw if basis == Basis.RAW else [25.0] * 20, last=FRIDAY, calendar="24/7")
    Series.objects.filter(asset=asset).update(basis=basis)
    told = [Action(Kind.SPLIT, date(2024, 3, 1), Decimal(4)), Action(Kind.DIVIDEND, date(2024, 3, 5), Decimal(1))]
    actions.learn(asset, "file", basis, told)
    return asset


@pytest.mark.parametrize("basis", [Basis.RAW, Basis.SPLIT])
class TestActions:
    def test_orders_fill_at_traded_prices_and_the_rule_sees_adjusted_ones(self, basis: str):
        found = candles.stored(traded(basis), Timeframe.D1, None, None, 0)
        assert found.market.close[0].tolist() == [100.0] * 12 + [25.0] * 8
        assert found.bars.close.tolist() == [25.0] * 20
        assert found.market.splits is not None
        assert np.flatnonzero(found.market.splits[0] != 1).tolist() == [12]
        assert found.market.splits[0, 12] == 4
        assert found.market.dividends is not None
        assert found.market.dividends[0, 16] == 1

    def test_what_is_held_is_multiplied_and_paid(self, basis: str):
        kind = registry.kind_named("buy-and-hold")
        found = candles.stored(traded(basis), Timeframe.D1, None, None, 0)
        report = running.run(kind, kind.checked({}), found, Terms(cash=1_000, costs=Costs()))
        # Ten shares at 99 (the open); forty after the split; a dividend of 40.
        assert report.result.open.quantity.tolist() == [40.0]
        assert report.result.dividends == 40
        assert report.result.equity[-1] == pytest.approx(1_000 + 10 + 40)
        assert report.hold[-1] == report.result.equity[-1]


def test_a_dividend_of_a_split_basis_before_a_split_is_that_of_the_old_shares():
    asset = stored("ACME", [100.0] * 12 + [25.0] * 8, last=FRIDAY, calendar="24/7")
    Series.objects.filter(asset=asset).update(basis=Basis.RAW)
    actions.learn(asset, "file", Basis.SPLIT, [Action(Kind.SPLIT, date(2024, 3, 1), Decimal(4))])
    actions.learn(asset, "file", Basis.SPLIT, [Action(Kind.DIVIDEND, date(2024, 2, 27), Decimal("0.5"))])
    found = candles.stored(asset, Timeframe.D1, None, None, 0)
    assert found.market.dividends is not None
    assert found.market.dividends[0, 9] == 2.0  # 0.50 a new share


def test_the_digest_is_another_when_an_action_within_or_a_later_split_is():
    asset = traded(Basis.RAW)
    before = candles.stored(asset, Timeframe.D1, None, datetime(2024, 3, 3, tzinfo=UTC), 0).actions
    actions.learn(asset, "file", Basis.RAW, [Action(Kind.DIVIDEND, date(2024, 3, 7), Decimal(1))])
    assert candles.stored(asset, Timeframe.D1, None, datetime(2024, 3, 3, tzinfo=UTC), 0).actions == before
    actions.learn(asset, "file", Basis.RAW, [Action(Kind.SPLIT, date(2024, 3, 8), Decimal(2))])
    assert candles.stored(asset, Timeframe.D1, None, datetime(2024, 3, 3, tzinfo=UTC), 0).actions != before


class TestLongBars:
    """Weeks that open on Mondays until 4 March 2024, and months until 1 March."""

    def weeks(self, *told: Action, end: datetime | None = None) -> candles.Candles:
        asset = stored("ACME", [100.0] * 30, last=datetime(2024, 3, 4, tzinfo=UTC), timeframe=Timeframe.W1,
                       calendar="24/7")  # fmt: skip
        actions.learn(asset, "file", Basis.RAW, told)
        return candles.stored(asset, Timeframe.W1, None, end, 0)

    def test_what_happens_in_a_week_is_at_its_open(self):
        found = self.weeks(
            Action(Kind.SPLIT, date(2024, 2, 18), Decimal(4)), Action(Kind.DIVIDEND, date(2024, 2, 19), Decimal(5)),
            Action(Kind.DIVIDEND, date(2024, 3, 6), Decimal(7)),
        )  # fmt: skip
        assert found.market.splits is not None
        assert found.market.dividends is not None
        assert np.flatnonzero(found.market.splits[0] != 1).tolist() == [26]  # the week of 12 February, a Sunday's
        assert {int(n): found.market.dividends[0, n] for n in np.flatnonzero(found.market.dividends[0])} == {
            27: 5,
            29: 7,
        }

    def test_what_happens_after_the_end_is_nobodys(self):
        """It was once paid, and multiplied what is held, on the last bar."""
        told = (Action(Kind.SPLIT, date(2024, 2, 14), Decimal(4)), Action(Kind.DIVIDEND, date(2024, 2, 21), Decimal(5)))
        found = self.weeks(*told, end=datetime(2023, 12, 31, tzinfo=UTC))
        assert (found.market.splits, found.market.dividends) == (None, None)
        report = running.run(registry.kind_named("buy-and-hold"), {}, found, Terms(cash=100_000))
        assert report.result.dividends == 0
        assert report.result.equity[-1] / report.result.equity[-2] == pytest.approx(1)

    def test_the_digest_knows_what_happens_within_the_last_bar(self):
        before = self.weeks().actions
        assert self.weeks(Action(Kind.DIVIDEND, date(2024, 3, 6), Decimal(5))).actions != before

    def test_a_month_counts_as_after_what_happens_within_it(self):
        import pyarrow as pa

        from marketdata.ingestion import ingest, schema

        asset = Asset.objects.create(symbol="ACME", calendar="24/7")
        rows = [
            {"open_time": datetime(2024, month, 1, tzinfo=UTC), "open": "100", "high": "101", "low": "99",
             "close": "100", "adj_close": None, "volume": "9", "quote_volume": None}
            for month in (1, 2, 3)
        ]  # fmt: skip
        ingest(asset, "1mo", pa.Table.from_pylist(rows, schema=schema()), source="file")
        told = [Action(Kind.DIVIDEND, date(2024, month, 28), Decimal(month)) for month in (2, 3, 4)]
        actions.learn(asset, "file", Basis.RAW, told)
        found = candles.stored(asset, Timeframe.MO1, None, None, 0)
        assert found.market.dividends is not None
        assert found.market.dividends[0].tolist() == [0, 2, 3]


def test_a_dividend_in_another_currency_is_not_counted_and_that_is_said():
    asset = stored("ACME", [100.0] * DAYS, last=FRIDAY, calendar="24/7", currency="USD")
    told = [
        Action(Kind.DIVIDEND, date(2024, 3, 5), Decimal(500), "JPY"),
        Action(Kind.DIVIDEND, date(2024, 3, 6), Decimal(1), "USD"),
    ]
    actions.learn(asset, "file", Basis.RAW, told)
    found = candles.stored(asset, Timeframe.D1, None, None, 0)
    assert found.market.dividends is not None
    assert found.market.dividends.sum() == 1
    report = running.run(registry.kind_named("buy-and-hold"), {}, found, Terms())
    said = [remark.text for remark in report.remarks if remark.code == "foreign"]
    assert said == ["1 dividend of ACME is told in another currency than its prices and not counted."]


class TestVolume:
    """Entries beside the volume of their candle: 1000 shares on the first day, one more on each after it."""

    def said(self, terms: Terms, end: datetime | None = None) -> str:
        found = candles.stored(traded(Basis.RAW), Timeframe.D1, None, end, 0)
        report = running.run(registry.kind_named("buy-and-hold"), {}, found, terms)
        return " ".join(remark.text for remark in report.remarks if remark.code == "volume")

    def test_shares_are_those_of_the_day_of_the_entry(self):
        assert self.said(Terms(cash=5_000, exits=Exits(max_bars=15))) == ""  # 50 that a split makes 200

    def test_what_is_still_open_counts(self):
        assert self.said(Terms(cash=99_000)).startswith("The largest entry is 100 % of its candle’s volume")
        assert self.said(Terms(cash=99_000), datetime(2024, 2, 28, tzinfo=UTC)).startswith("The largest entry is 100 %")

    def test_an_entry_that_is_left_in_parts_is_one(self):
        exits = Exits(take_profit_1=0.011, take_profit_2=0.02)
        assert self.said(Terms(cash=15_000, exits=exits)).startswith("The largest entry is 15 %")


def test_where_the_cash_does_not_buy_one_share_holding_is_told_of_a_fraction():
    asset = stored("ACME", [5_000.0 + 100 * n for n in range(DAYS)], last=FRIDAY, calendar="24/7")
    found = candles.stored(asset, Timeframe.D1, None, None, 0)
    report = running.run(registry.kind_named("buy-and-hold"), {}, found, Terms(cash=1_000))
    assert report.metrics["hold_return"] == pytest.approx(6_900 / (5_100 * 0.99) - 1)
    assert [remark.text for remark in report.remarks if remark.code == "hold"] == [
        "The cash does not buy one lot of ACME at the start: holding it is told of a fraction."
    ]
    report = running.run(registry.kind_named("buy-and-hold"), {}, found, Terms(cash=10_000))
    assert not [remark for remark in report.remarks if remark.code == "hold"]


def test_the_run_begins_at_the_start_and_the_warmup_lies_before_it():
    asset = stored("ACME", [float(n + 1) for n in range(DAYS)], last=FRIDAY, calendar="24/7")
    found = candles.stored(asset, Timeframe.D1, datetime(2024, 3, 1, tzinfo=UTC), None, 5)
    assert (found.begin, len(found.times), len(found.bars)) == (5, 8, 13)
    assert found.first == datetime(2024, 3, 1, tzinfo=UTC)
    assert found.since == datetime(2024, 2, 25, tzinfo=UTC)


class TestFiner:
    def test_of_a_market_that_never_closes_every_candle_of_the_day_counts(self):
        asset = stored("ACME", [100.0] * 5, last=FRIDAY, calendar="24/7")
        stored("ACME", [100.0] * 48, last=datetime(2024, 3, 7, 23, tzinfo=UTC), timeframe=Timeframe.H1)
        found = candles.stored(asset, Timeframe.D1, None, None, 0)
        fine = candles.finer(found, asset)
        assert fine is not None
        assert (fine.after - fine.first)[0].tolist() == [0, 0, 24, 24, 0]

    def test_the_shortest_ones_decide(self):
        asset = stored("ACME", [100.0] * 5, last=FRIDAY, calendar="24/7")
        stored("ACME", [100.0] * 48, last=datetime(2024, 3, 7, 23, tzinfo=UTC), timeframe=Timeframe.H1)
        stored("ACME", [100.0] * 10, last=datetime(2024, 3, 7, 23, 59, tzinfo=UTC), timeframe=Timeframe.M1)
        fine = candles.finer(candles.stored(asset, Timeframe.D1, None, None, 0), asset)
        assert fine is not None
        assert (fine.after - fine.first)[0].tolist() == [0, 0, 0, 10, 0]

    def test_there_may_be_none(self):
        asset = stored("ACME", [100.0] * 5, last=FRIDAY, calendar="24/7")
        assert candles.finer(candles.stored(asset, Timeframe.D1, None, None, 0), asset) is None
