"""Strategies and backtests as rows: what the database holds them to, what goes with what, how quickly lists come."""

import re
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F

from chronos.core import tenancy
from chronos.core.models import User
from marketdata.models import Asset
from signals.models import HEADLINES, Backtest, Curve, Strategy, Trade
from tests import cast
from tests.cast import signed_in
from tests.house import owner

pytestmark = pytest.mark.usefixtures("house")


def ran(person: User, strategy: Strategy | None = None, symbol: str = "GOOG", **fields) -> Backtest:
    asset, _ = Asset.objects.get_or_create(symbol=symbol)
    return Backtest.objects.create(
        owner=person, strategy=strategy, strategy_name=str(strategy or "x"), kind="sma-cross", asset=asset,
        timeframe="1d", **fields,
    )  # fmt: skip


def with_result(backtest: Backtest) -> Backtest:
    Curve.objects.create(
        backtest=backtest, owner_id=backtest.owner_id, bars=1, times=b"1", equity=b"1", gross=b"1", hold=b"1"
    )
    Trade.objects.create(
        backtest=backtest, owner_id=backtest.owner_id, number=0, position=0, direction="long", quantity=1, entry_bar=1,
        entry_time=backtest.created_at, entry_price=1, profit=1, profit_percent=1, mae=0, mfe=0,
    )  # fmt: skip
    return backtest


def left() -> tuple[int, int, int, int]:
    with tenancy.as_system("count"):
        return tuple(model.objects.count() for model in (Strategy, Backtest, Curve, Trade))


def test_a_person_has_one_strategy_of_a_name_however_it_is_written():
    alice, bob = cast.alice(), cast.bob()
    with tenancy.acting_as(alice):
        first = Strategy.objects.create(owner=alice, name="Trend", kind="sma-cross")
        with pytest.raises(IntegrityError, match="signals_strategy_name_once"), transaction.atomic():
            Strategy.objects.create(owner=alice, name="TREND", kind="sma-cross")
        Strategy.objects.filter(pk=first.pk).update(deleted_at=first.created_at)
        Strategy.objects.create(owner=alice, name="TREND", kind="sma-cross")
    with tenancy.acting_as(bob):
        Strategy.objects.create(owner=bob, name="Trend", kind="sma-cross")


def test_a_backtest_outlives_its_strategy_and_takes_curve_and_trades_along():
    alice = cast.alice()
    with tenancy.acting_as(alice):
        strategy = Strategy.objects.create(owner=alice, name="Trend", kind="sma-cross")
        first = with_result(ran(alice, strategy))
        again = with_result(ran(alice, strategy, rerun_of=first))
        strategy.delete()
        first.delete()
    with tenancy.acting_as(alice):
        again.refresh_from_db()
        assert (again.strategy, again.rerun_of, again.strategy_name) == (None, None, "Trend")
    assert left() == (0, 1, 1, 1)


def test_the_rows_of_many_backtests_go_without_being_read(django_assert_num_queries):
    alice = cast.alice()
    with tenancy.acting_as(alice):
        for _ in range(3):
            with_result(ran(alice))
        with django_assert_num_queries(3):  # the reruns' reference, the backtests, and no word of curves and trades
            Backtest.objects.all().delete()
    assert left() == (0, 0, 0, 0)


def test_a_person_leaves_with_all_of_their_work():
    alice, stella = cast.alice(), cast.stella()
    with tenancy.acting_as(alice):
        strategy = Strategy.objects.create(owner=alice, name="Trend", kind="sma-cross")
        with_result(ran(alice, strategy, rerun_of=with_result(ran(alice, strategy))))
    page, url = signed_in(stella), f"/admin/core/user/{alice.pk}/delete/"
    assert "Backtests: 2" in page.get(url).text
    assert page.post(url, {"post": "yes"}).status_code == 302
    assert left() == (0, 0, 0, 0)


def test_an_asset_with_backtests_stays():
    alice = cast.alice()
    with tenancy.acting_as(alice):
        backtest = ran(alice)
    page = signed_in(cast.stella())
    asked = page.get(f"/admin/marketdata/asset/{backtest.asset_id}/delete/")
    assert "can't be deleted, because of" in asked.text.replace("&#x27;", "'")
    page.post(f"/admin/marketdata/asset/{backtest.asset_id}/delete/", {"post": "yes"})
    assert Asset.objects.filter(symbol="GOOG").exists()


def test_what_failed_has_ended():
    alice = cast.alice()
    with tenancy.acting_as(alice), pytest.raises(IntegrityError, match="failed_has_time"):
        ran(alice, failure="No candles.")


def test_a_curve_is_not_compressed_twice():
    with owner() as database:
        found = database.execute(
            "SELECT attname, attstorage FROM pg_attribute"
            " WHERE attrelid = 'signals_curve'::regclass AND atttypid = 'bytea'::regtype"
        ).fetchall()
    assert {name for name, _ in found} == {"times", "equity", "gross", "hold", "benchmark", "optimistic"}
    assert {bytes(storage) if isinstance(storage, bytes) else storage for _, storage in found} <= {"e", b"e"}


@pytest.fixture
def ten_thousand() -> User:
    """Alice has 10 000 backtests of ten strategies on five assets, Bob as many; each tenth has no figures."""
    people = cast.alice(), cast.bob()
    assets = [Asset.objects.create(symbol=f"S{n}") for n in range(5)]
    for person in people:
        with tenancy.acting_as(person):
            strategies = [Strategy.objects.create(owner=person, name=f"s{n}", kind="sma-cross") for n in range(10)]
            model = ran(person, strategies[0], "S0", metrics={"much": "x" * 1500})
        written = dict.fromkeys(HEADLINES, "CASE WHEN n % 10 > 0 THEN (n * 7919) % 10007 END") | {
            "strategy_id": f"{strategies[0].pk} + n % 10",
            "asset_id": f"{assets[0].pk} + n % 5",
            "created_at": "created_at - n * interval '1 minute'",
        }
        names = [field.column for field in Backtest._meta.concrete_fields if not field.primary_key]
        quoted = {name: f'"{name}"' for name in names}
        with owner() as database:
            database.execute("SELECT set_config('chronos.system', 'tests', false)")
            database.execute(
                f"INSERT INTO signals_backtest ({', '.join(quoted.values())})"
                f" SELECT {', '.join(written.get(name, column) for name, column in quoted.items())}"
                f" FROM signals_backtest, generate_series(1, 9999) n WHERE id = {model.pk}"
            )
    with owner() as database:
        database.execute("ANALYZE signals_backtest")
    return people[0]


def planned(query) -> str:
    return query.explain(analyze=True)


def rows_read(plan: str) -> int:
    """By the scan of the table, however it is done."""
    scan = next(line for line in plan.splitlines() if "on signals_backtest" in line)
    return int(float(re.search(r"actual time=\S+ rows=([\d.]+)", scan)[1]))


def test_lists_of_ten_thousand_backtests_read_what_they_show(ten_thousand):
    alice = ten_thousand
    with tenancy.acting_as(alice):
        mine = Backtest.objects.of(alice)
        for column in HEADLINES:
            best = mine.order_by(F(column).desc(nulls_last=True), "-id")
            plan = planned(best[:50])
            assert f"signals_backtest_{column}" in plan, plan
            assert rows_read(plan) == 50, plan
            assert [getattr(row, column) for row in best[:3]] == sorted(
                mine.exclude(**{column: None}).values_list(column, flat=True), reverse=True
            )[:3]
        newest = planned(mine.order_by("-created_at", "-id")[:50])
        assert rows_read(newest) == 50, newest
        strategy, asset = alice.strategies.first(), Asset.objects.get(symbol="S1")
        for narrowed in (mine.filter(strategy=strategy), mine.filter(asset=asset)):
            plan = planned(narrowed.order_by("-created_at")[:50])
            assert rows_read(plan) == 50, plan
        newest_at = mine.latest("created_at").created_at
        hour = mine.filter(created_at__gt=newest_at - timedelta(minutes=60))
        assert rows_read(planned(hour)) == 60
