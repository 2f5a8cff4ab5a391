"""Backtests as rows and jobs: run by the runner, repeated, resumed, cancelled, failed in words, and found stale."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from chronos.core import jobs, tenancy
from chronos.core.models import Job, User
from marketdata import actions, frames
from marketdata.ingestion import ingest, schema
from marketdata.models import Asset, Candle, CorporateAction, Timeframe
from marketdata.providers.base import Action
from signals import backtests, candles, catalogue, curves, keeping
from signals.engine.terms import Costs, Exits, Impossible, Terms
from signals.models import HEADLINES, Backtest, Curve, Strategy, Trade
from signals.strategies import registry
from signals.strategies.declaring import BadParameters
from tests import cast
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")
LAST = datetime(2024, 3, 8, tzinfo=UTC)
TERMS = Terms(costs=Costs(0.001, 1.0, 5), exits=Exits(0.02, 0.015, 0.03), lot=0.0)


def acme(closes: list[float] | None = None, **fields: Any) -> Asset:
    return stored("ACME", closes or walk(250), last=LAST, calendar="24/7", asset_class="crypto", **fields)


def wish(asset: Asset, **changed: Any) -> backtests.Wish:
    kind = registry.kind_named(changed.pop("kind", "sma-cross"))
    usual: dict[str, Any] = {"parameters": {"fast": 2, "slow": 5}, "terms": TERMS}
    return backtests.Wish(kind, asset=asset, timeframe=Timeframe.D1, **(usual | changed))


def started(user: User, asked: backtests.Wish) -> Backtest:
    with tenancy.acting_as(user):
        return backtests.start(asked, user)


def ran(user: User, asked: backtests.Wish) -> Backtest:
    made = started(user, asked)
    assert made.job is not None
    jobs.run_job(made.job.pk)
    return seen(user, made.pk)


def seen(user: User, pk: int) -> Backtest:
    with tenancy.acting_as(user):
        return Backtest.objects.select_related("job", "asset", "benchmark", "strategy").get(pk=pk)


def of(user: User, model: Any, backtest: Backtest) -> list[Any]:
    with tenancy.acting_as(user):
        return list(model.objects.filter(backtest=backtest).order_by("pk"))


def told(backtest: Backtest) -> list[str]:
    return [warning["text"] for warning in backtest.warnings]


def exported(asset: Asset) -> pa.Table:
    """Its candles as a source would send them."""
    stored = Candle.objects.filter(asset=asset).order_by("open_time").values()
    names = schema().names
    return pa.Table.from_pylist(
        [{name: row[name] if name == "open_time" else None if row[name] is None else str(row[name]) for name in names}
         for row in stored], schema=schema(),
    )  # fmt: skip


def looked_at(user: User, backtest: Backtest) -> str:
    with tenancy.acting_as(user):
        backtests.look_for_stale([backtest])
    return seen(user, backtest.pk).stale


def test_it_works():
    alice = cast.alice()
    done = ran(alice, wish(acme()))
    assert done.job is not None
    assert (done.job.state, done.failure, done.state) == ("done", "", "done")
    assert (done.bars, done.first_open, done.last_open) == (250, LAST - timedelta(days=249), LAST)
    for name in HEADLINES:
        assert getattr(done, name) == done.metrics[name]
    assert done.job.summary == backtests.said(done)
    assert done.code_version
    assert done.fingerprint.startswith("1d:r")
    assert {"code", "level", "text"} == set(done.warnings[0])


def test_what_is_stored_adds_up():
    """The trades' profits and what is still open are the change of equity, to what their columns hold."""
    alice = cast.alice()
    done = ran(alice, wish(acme()))
    trades = of(alice, Trade, done)
    (curve,) = of(alice, Curve, done)
    equity = curves.unpacked(curve.equity)
    assert len(equity) == done.bars == curve.bars
    assert float(sum(trade.profit for trade in trades)) == pytest.approx(equity[-1] - 10_000, abs=1e-5)
    assert done.trade_count == sum(not trade.is_open for trade in trades) > 10
    assert [trade.number for trade in trades] == list(range(len(trades)))
    times = curves.unpacked_times(curve.times)
    assert all(times[trade.entry_bar] == trade.entry_time.timestamp() * 1e6 for trade in trades)
    assert {trade.exit_reason for trade in trades} >= {"stop_loss", "take_profit_1"}


def test_the_same_inputs_give_the_same_bytes_and_another_price_others():
    alice = cast.alice()
    asset = acme()
    first, second = ran(alice, wish(asset)), ran(alice, wish(asset))
    assert first.checksum == second.checksum
    (one,), (other,) = of(alice, Curve, first), of(alice, Curve, second)
    assert bytes(one.equity) == bytes(other.equity)
    acme([*walk(100), 101.0, *walk(250)[101:]])
    assert ran(alice, wish(asset)).checksum != first.checksum


class TestStale:
    def test_a_revised_candle_of_its_past_makes_it_stale(self):
        alice = cast.alice()
        done = ran(alice, wish(acme()))
        assert looked_at(alice, done) == ""
        changed = walk(250)
        changed[100] *= 1.01
        acme(changed)
        assert looked_at(alice, seen(alice, done.pk)) == "candles that it used were revised"

    def test_what_it_does_not_use_of_a_candle_does_not(self):
        """Adjusted closes are others after each dividend, all the way back."""
        alice = cast.alice()
        asset = acme()
        done = ran(alice, wish(asset))
        before = frames.fingerprint(asset, "1d")
        table = exported(asset)
        for column, says in (("adj_close", ""), ("volume", "candles that it used were revised")):
            values = pa.array(["77"] * table.num_rows)
            table = table.set_column(table.column_names.index(column), column, values)
            ingest(asset, "1d", table, source="file")
            assert frames.fingerprint(asset, "1d") != before
            assert looked_at(alice, seen(alice, done.pk)) == says

    def test_what_is_revised_while_it_is_read_is_read_again(self, monkeypatch: pytest.MonkeyPatch):
        """Its fingerprint would else be that of candles that it has not seen, and it would never be stale."""
        asset, read, revised = acme(), frames.read, walk(250)
        revised[100] *= 1.01

        def interrupted(*args: Any, **more: Any) -> Any:
            found = read(*args, **more)
            monkeypatch.setattr(frames, "read", read)
            acme(revised)
            return found

        monkeypatch.setattr(frames, "read", interrupted)
        found = candles.stored(asset, Timeframe.D1, None, None, 0)
        assert found.bars.close[100] == found.market.close[0, 100] == pytest.approx(revised[100], abs=1e-4)
        assert found.revision == int(found.fingerprint.split(":")[1].removeprefix("r"))

    def test_newer_candles_do_not(self):
        alice = cast.alice()
        done = ran(alice, wish(acme()))
        stored("ACME", walk(251), last=LAST + timedelta(days=1))
        stored("ACME", [*walk(250), 100.0], last=LAST + timedelta(days=1))
        assert looked_at(alice, done) == ""

    def test_older_candles_that_it_did_not_read_do_not(self):
        alice = cast.alice()
        done = ran(alice, wish(acme()))
        stored("ACME", [50.0] * 20, last=LAST - timedelta(days=250))
        assert looked_at(alice, done) == ""
        assert seen(alice, done.pk).checked_revision != done.revision  # looked at, and remembered

    def test_what_the_warmup_read_counts(self):
        alice = cast.alice()
        done = ran(alice, wish(acme(), start=LAST - timedelta(days=100)))
        assert done.read_from == LAST - timedelta(days=105)
        changed = walk(250)
        changed[250 - 104] *= 1.01
        acme(changed)
        assert looked_at(alice, done) == "candles that it used were revised"

    def test_a_split_or_dividend_that_is_learnt_does(self):
        alice = cast.alice()
        asset = acme()
        done = ran(alice, wish(asset))
        told = Action(CorporateAction.Kind.DIVIDEND, date(2024, 2, 1), Decimal("0.5"))
        actions.learn(asset, "file", "raw", [told])
        assert looked_at(alice, done) == "a split or dividend within it was learnt or corrected"

    def test_an_action_that_turns_out_as_it_was_makes_it_good_again(self):
        alice = cast.alice()
        asset = acme()
        actions.learn(asset, "file", "raw", [Action(CorporateAction.Kind.DIVIDEND, date(2024, 2, 1), Decimal("0.5"))])
        done = ran(alice, wish(asset))
        for value, says in (("0.7", "a split or dividend within it was learnt or corrected"), ("0.5", "")):
            told = Action(CorporateAction.Kind.DIVIDEND, date(2024, 2, 1), Decimal(value))
            actions.learn(asset, "file", "raw", [told])
            assert looked_at(alice, seen(alice, done.pk)) == says

    def test_it_is_run_again_on_what_is_stored_now(self):
        alice = cast.alice()
        done = ran(alice, wish(acme()))
        changed = walk(250)
        changed[100] *= 1.05
        acme(changed)
        with tenancy.acting_as(alice):
            again = backtests.rerun(done, alice)
        assert again.job is not None
        jobs.run_job(again.job.pk)
        again = seen(alice, again.pk)
        assert (again.rerun_of_id, again.parameters, again.terms) == (done.pk, done.parameters, done.terms)
        assert looked_at(alice, again) == ""
        assert again.checksum != done.checksum
        assert seen(alice, done.pk).checksum == done.checksum  # the old one stays as it was


class TestJobs:
    def test_a_resumed_job_stores_its_result_once(self):
        alice = cast.alice()
        made = started(alice, wish(acme()))
        assert made.job is not None
        backtests.perform(seen(alice, made.pk), lambda: tenancy.acting_as(alice), lambda *_: None)
        with tenancy.as_system("what an attempt that died has left"):
            Backtest.objects.filter(pk=made.pk).update(finished_at=None)
        jobs.run_job(made.job.pk)
        done = seen(alice, made.pk)
        assert len(of(alice, Curve, done)) == 1
        numbers = [trade.number for trade in of(alice, Trade, done)]
        assert numbers == list(range(len(numbers)))

    def test_a_job_that_is_run_again_leaves_a_finished_result_alone(self):
        alice = cast.alice()
        done = ran(alice, wish(acme()))
        with tenancy.acting_as(alice):
            again = jobs.rerun(Job.objects.get(pk=done.job_id))
        jobs.run_job(again.pk)
        with tenancy.acting_as(alice):
            copy = Backtest.objects.get(job=again)
        assert (copy.rerun_of_id, copy.checksum) == (done.pk, done.checksum)
        assert seen(alice, done.pk).finished_at == done.finished_at

    def test_one_that_was_cancelled_before_it_began_can_be_run_again(self):
        alice = cast.alice()
        made = started(alice, wish(acme()))
        with tenancy.acting_as(alice):
            assert made.job is not None
            jobs.cancel(made.job)
            assert seen(alice, made.pk).state == "cancelled"
            again = jobs.rerun(Job.objects.get(pk=made.job.pk))
        jobs.run_job(again.pk)
        assert (seen(alice, made.pk).state, seen(alice, made.pk).job_id) == ("done", again.pk)

    def test_nobody_runs_somebody_else_s(self):
        alice, eve = cast.alice(), cast.eve()
        made = started(alice, wish(acme()))
        with tenancy.acting_as(eve):
            theirs = jobs.start("backtest", {"backtest_id": made.pk}, owner=eve, subject="not hers")
        jobs.run_job(theirs.pk)
        with tenancy.as_system("look at a job"):
            assert Job.objects.get(pk=theirs.pk).summary == "The backtest is not there any more."
        assert seen(alice, made.pk).finished_at is None

    def test_what_is_done_to_it_while_it_runs_is_not_undone_by_its_result(self):
        """Deleted, and a note written, between the simulation and its storing."""
        alice = cast.alice()
        made = started(alice, wish(acme()))

        def step(done: int, *_: Any) -> None:
            if done == 2:
                with tenancy.acting_as(alice):
                    keeping.annotate(seen(alice, made.pk), "written meanwhile")
                    keeping.delete([made.pk], alice)

        backtests.perform(made, lambda: tenancy.acting_as(alice), step)
        now = seen(alice, made.pk)
        assert (now.note, now.deleted_at is None, now.state) == ("written meanwhile", False, "done")

    def test_its_strategy_may_go_while_it_runs(self):
        alice = cast.alice()
        with tenancy.acting_as(alice):
            strategy = catalogue.create(alice, "Mine", "sma-cross", {"fast": 2, "slow": 5})
        made = started(alice, wish(acme(), strategy=strategy))

        def step(done: int, *_: Any) -> None:
            if done == 2:
                with tenancy.as_system("what the purge does an hour later"):
                    Strategy.objects.filter(pk=strategy.pk).delete()

        assert not backtests.perform(made, lambda: tenancy.acting_as(alice), step).failed
        assert (seen(alice, made.pk).state, seen(alice, made.pk).strategy_id) == ("done", None)

    def test_one_that_is_purged_while_it_runs_does_not_come_back(self):
        alice = cast.alice()
        made = started(alice, wish(acme()))

        def step(done: int, *_: Any) -> None:
            if done == 2:
                with tenancy.as_system("what the purge does an hour later"):
                    Backtest.objects.filter(pk=made.pk).delete()

        ended = backtests.perform(seen(alice, made.pk), lambda: tenancy.acting_as(alice), step)
        assert (ended.failed, ended.summary) == (True, "It was deleted while it ran, so nothing is kept.")
        with tenancy.acting_as(alice):
            assert not Backtest.objects.exists()

    def test_a_repeated_job_that_is_resumed_goes_on_with_what_it_began(self):
        """Its worker dies, once it has made the new backtest; the next one makes no second."""
        alice = cast.alice()
        done = ran(alice, wish(acme()))
        with tenancy.acting_as(alice):
            again = jobs.rerun(Job.objects.get(pk=done.job_id))
            begun = backtests.taken_over(seen(alice, done.pk), again)
        jobs.run_job(again.pk)
        with tenancy.acting_as(alice):
            assert sorted(Backtest.objects.values_list("pk", flat=True)) == [done.pk, begun.pk]
        assert (seen(alice, begun.pk).state, seen(alice, begun.pk).checksum) == ("done", done.checksum)


class TestRefusals:
    def test_what_is_wrong_is_told_before_anything_is_stored(self):
        alice = cast.alice()
        asset = acme()
        for changed, error, words in (
            ({"parameters": {"fast": 9, "slow": 5}}, BadParameters, "lower it"),
            ({"terms": Terms(cash=-1)}, Impossible, "Cash must be more than 0"),
            ({"terms": Terms(lot=1e-300)}, Impossible, "The lot must be 0, for any fraction, or at least 1e-10"),
            ({"terms": Terms(exits=Exits(max_bars=10**400))}, Impossible, "A time stop is at most 2147483647 bars"),
            ({"start": LAST, "end": LAST - timedelta(days=1)}, Impossible, "exchange the two"),
            ({"start": LAST + timedelta(days=9)}, Impossible, "choose dates within"),
        ):
            with pytest.raises(error, match=words):
                started(alice, wish(asset, **changed))
        with tenancy.acting_as(alice):
            assert not Backtest.objects.exists()
            assert not Job.objects.exists()

    def test_no_candles(self):
        alice = cast.alice()
        with pytest.raises(Impossible, match="NONE has no 1d candles; fetch or import them first"):
            started(alice, wish(Asset.objects.create(symbol="NONE")))

    def test_too_short_a_history_is_refused_before_anybody_waits(self):
        alice, asset = cast.alice(), acme()
        with pytest.raises(Impossible, match=r"needs 300 bars before .* ACME 1d has only 250 bars here") as refused:
            started(alice, wish(asset, parameters={"fast": 10, "slow": 300}))
        assert refused.value.name == "timeframe"
        with pytest.raises(Impossible, match="ACME 1d has only 6 bars here") as refused:  # five before it, and one
            started(alice, wish(asset, start=LAST))
        assert refused.value.name == "start"
        assert ran(alice, wish(asset, start=LAST - timedelta(days=1))).bars == 2

    def test_what_only_the_candles_tell_is_the_backtest_s_failure(self):
        alice = cast.alice()
        made = started(alice, wish(acme()))
        with tenancy.acting_as(alice):  # as if most candles had gone in the meantime
            Backtest.objects.update(parameters={"fast": 10, "slow": 300})
        jobs.run_job(made.job_id)
        done = seen(alice, made.pk)
        assert done.failure.startswith("The history is too short: SMA cross with these parameters needs 300 bars")
        assert done.job is not None
        assert (done.job.state, done.job.summary, done.state) == ("failed", done.failure, "failed")
        assert done.finished_at is not None

    @pytest.mark.parametrize(
        ("closes", "last", "says"),
        [
            (walk(200), LAST - timedelta(days=100), "only until 2023-11-29"),
            (walk(100), LAST, "only from 2023-11-30"),
            (walk(250), LAST - timedelta(days=400), "none"),
        ],
    )
    def test_a_benchmark_that_is_not_there_all_the_time_is_left_out_and_named(self, closes, last, says):
        alice = cast.alice()
        other = stored("SPY", closes, last=last, asset_class="crypto")
        done = ran(alice, wish(acme(), benchmark=other))
        assert f"SPY has no 1d candles for all of the run ({says}): it is left out." in told(done)
        assert done.metrics["beta"] is None
        assert of(alice, Curve, done)[0].benchmark is None

    def test_a_benchmark_whose_market_was_closed_at_both_ends_counts(self):
        alice = cast.alice()
        other = stored("SPY", walk(240), last=LAST - timedelta(days=4), asset_class="crypto")
        done = ran(alice, wish(acme(), benchmark=other, start=LAST - timedelta(days=200)))
        assert done.metrics["beta"] is not None

    def test_figures_that_no_column_holds_are_refused_in_words(self):
        alice = cast.alice()
        done = ran(alice, wish(acme(), terms=Terms(cash=9e15, lot=0.0)))
        assert "grows beyond what can be stored" in done.failure

    def test_so_are_those_of_what_is_still_open(self):
        alice = cast.alice()
        penny = stored("PENNY", [0.0005] * 20, last=LAST, asset_class="crypto")
        done = ran(alice, wish(penny, kind="buy-and-hold", parameters={}, terms=Terms(cash=9e14, lot=0.0)))
        assert "grows beyond what can be stored" in done.failure


def test_the_check_of_a_strategy_is_a_job_with_a_report():
    from signals.jobs import CheckStrategy, check_strategy

    alice = cast.alice()
    asset = acme()
    with tenancy.acting_as(alice):
        asked = CheckStrategy(kind="donchian", parameters={}, asset_id=asset.pk)
        job = check_strategy(asked, asset, alice)
    jobs.run_job(job.pk)
    with tenancy.acting_as(alice):
        job = Job.objects.get(pk=job.pk)
    assert job.state == "done", job.summary
    assert job.summary.startswith("It only looks back")
    assert job.result["sound"] is True
