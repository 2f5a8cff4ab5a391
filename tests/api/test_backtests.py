"""The operations on backtests: run, looked at, listed, noted, run again, deleted and taken back."""

import csv
import io

import pytest

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from signals.models import HEADLINES, Backtest, Curve, Trade
from tests import cast
from tests.api.program import Program
from tests.signals.results import finished, goog
from tests.signals.test_models import ran

pytestmark = pytest.mark.usefixtures("house")
ASKED = {"kind": "sma-cross", "parameters": {"fast": 5, "slow": "20"}, "symbol": "GOOG"}


@pytest.fixture
def google():
    return goog()


def worked():
    """What a worker would do."""
    with tenancy.as_system("look for work"):
        waiting = list(Job.objects.filter(state="queued").values_list("pk", flat=True))
    for pk in waiting:
        jobs.run_job(pk)


def fault(program, **given):
    """Field and words of a refusal to run."""
    answer = program("run_backtest", **{**ASKED, **given})
    told = answer.json()
    assert answer.status_code in (404, 409, 422), told
    return told["data"]["field"], told["message"]


# --- Running -----------------------------------------------------------------------------------------------------


def test_it_runs_and_is_what_the_rows_say(google, hers, alice):
    terms = {"cash": 50_000, "fee_rate": 0.001, "stop_loss": 0.05, "take_profit_1": 0.1, "take_profit_2": 0.2,
             "sizing": "risk", "size": 0.02, "lot": 0.5}  # fmt: skip
    answer = hers("run_backtest", **ASKED, **terms, start="2004-11-01", end="2005-09-01", benchmark="goog")
    assert answer.status_code == 202
    begun = answer.json()["data"]
    assert begun["backtest"]["state"] == begun["job"]["state"] == "queued"
    assert begun["job"]["id"] == begun["backtest"]["job_id"]
    assert begun["cost"]["requests"] == 0
    pk = begun["backtest"]["id"]
    assert [one["operation"] for one in answer.json()["next_actions"]] == ["get_job", "get_backtest", "cancel_job"]
    assert hers.refused("get_backtest_equity", backtest_id=pk) == (409, "no_result")
    worked()
    told = hers.ask("get_backtest", backtest_id=pk)
    with tenancy.acting_as(alice):
        row = Backtest.objects.get(pk=pk)
    assert row.finished_at
    assert not row.failure
    assert told["state"] == "done"
    assert told["metrics"] == row.metrics
    assert told["warnings"] == row.warnings
    assert told["benchmark"] == "GOOG"
    assert told["parameters"] == {"fast": 5, "slow": 20}
    assert {name: told["terms"][name] for name in terms} == terms
    assert told["terms"]["max_bars"] is None
    assert (told["start"], told["first_open"]) == ("2004-11-01T00:00:00Z",) * 2
    assert told["last_open"] == "2005-08-31T00:00:00Z"
    for name in HEADLINES:
        assert told[name] == getattr(row, name)
    again = hers.ask("run_backtest", **ASKED, **told["terms"], start=told["start"], end=told["end"], benchmark="GOOG")
    worked()
    assert hers.ask("get_backtest", backtest_id=again["backtest"]["id"])["checksum"] == told["checksum"]


def test_a_strategy_of_ones_own_and_a_change_of_it(google, hers):
    strategy = hers.ask("create_strategy", name="Trend", kind="sma-cross", parameters={"fast": 5, "slow": 20})["id"]
    same = hers.ask("run_backtest", strategy_id=strategy, symbol="GOOG")["backtest"]
    assert (same["strategy"], same["strategy_id"]) == ("Trend", strategy)
    other = hers.ask("run_backtest", strategy_id=strategy, symbol="GOOG", parameters={"slow": 30})["backtest"]
    assert (other["strategy"], other["strategy_id"]) == ("SMA cross", None)
    assert other["parameters"] == {"fast": 5, "slow": 30}
    assert [one["id"] for one in hers.ask("list_backtests", strategy_id=strategy)] == [same["id"]]


def test_a_dry_run_says_what_it_takes_and_starts_nothing(google, hers):
    told = hers.ask("run_backtest", **ASKED, dry_run=True)
    assert told["backtest"] is told["job"] is None
    assert told["cost"]["series"] == 1
    assert 0 < told["cost"]["seconds"] < 5
    assert hers.ask("list_backtests") == []
    assert fault(hers, dry_run=True, cash=-1)[0] == "body.cash"


def test_sent_twice_with_a_key_it_runs_once(google, hers):
    first, second = (hers("run_backtest", **ASKED, headers={"Idempotency-Key": "one"}).json() for _ in range(2))
    assert first["data"]["backtest"]["id"] == second["data"]["backtest"]["id"]
    assert len(hers.ask("list_backtests")) == 1


WRONG = (
    ({"kind": "nonsense"}, "body.kind", "no kind of strategy"),
    ({"kind": ""}, "body.kind", "either strategy_id"),
    ({"parameters": {"fast": 0}}, "body.parameters.fast", "from 1"),
    ({"parameters": {"fast": 30, "slow": 20}}, "body.parameters.fast", ""),
    ({"parameters": {"speed": 1}}, "body.parameters.speed", "has no parameter"),
    ({"symbol": "ZZXQW"}, "body.symbol", "No asset is called ZZXQW"),
    ({"benchmark": "ZZXQW"}, "body.benchmark", "No asset is called ZZXQW"),
    ({"timeframe": "1h"}, "body.timeframe", "it has: 1d"),
    ({"start": "2005-03-01", "end": "2005-02-01"}, "body.start", "exchange"),
    ({"start": "2020-01-01"}, "body.start", "choose dates within"),
    ({"parameters": {"slow": 500}}, "body.timeframe", "too short"),
    ({"cash": 0}, "body.cash", "more than 0"),
    ({"fee_rate": 1.5}, "body.fee_rate", "less than 1"),
    ({"sizing": "risk", "size": 2}, "body.sizing", "at most 1"),
    ({"take_profit_2": 0.2}, "body.take_profit_2", "needs a first one"),
    ({"max_bars": 0}, "body.max_bars", "at least 1 bar"),
    ({"lot": -1}, "body.lot", "at least 0"),
)


def test_what_can_not_be_run_is_refused_with_its_field(google, hers):
    for given, field, says in WRONG:
        at, words = fault(hers, **given)
        assert at == field, given
        assert says in words, given
    assert hers.ask("list_backtests") == []


def test_what_only_the_run_finds_out_is_told_as_its_failure(google, hers, alice):
    pk = hers.ask("run_backtest", **ASKED)["backtest"]["id"]
    with tenancy.acting_as(alice):  # as if the kind took other parameters by now
        Backtest.objects.filter(pk=pk).update(parameters={"fast": 5, "slow": 500})
    worked()
    answer = hers("get_backtest", backtest_id=pk).json()
    assert answer["data"]["state"] == "failed"
    assert "too short" in answer["data"]["failure"]
    assert answer["data"]["failure"] in answer["message"]
    assert [one["operation"] for one in answer["next_actions"]] == ["delete_backtest"]
    assert hers.refused("list_backtest_trades", backtest_id=pk) == (409, "no_result")


def test_crypto_is_bought_in_fractions_unless_it_is_said_otherwise(google, hers):
    assert hers.ask("run_backtest", **ASKED)["backtest"]["terms"]["lot"] == 0
    assert hers.ask("run_backtest", **ASKED, lot=1)["backtest"]["terms"]["lot"] == 1


# --- Looking -----------------------------------------------------------------------------------------------------


def test_the_list_is_filtered_sorted_and_paged(google, hers, alice):
    with tenancy.acting_as(alice):
        rows = [ran(alice, total_return=n / 10, trade_count=n, note=f"note {n}") for n in range(3)]
        odd = ran(alice, symbol="MSFT", failure="no", finished_at=rows[0].created_at)
        Backtest.objects.filter(pk__in=[row.pk for row in rows]).update(finished_at=rows[0].created_at)

    def pks(**wanted):
        return [one["id"] for one in hers.ask("list_backtests", **wanted)]

    first, second, third = (row.pk for row in rows)
    assert pks(state="done") == [third, second, first]
    assert pks(state="failed") == [odd.pk]
    assert pks(order="-total_return") == [third, second, first]
    assert pks(symbol="msft") == [odd.pk]
    assert pks(min_trades=1) == [third, second]
    assert pks(q="note 1") == [second]
    assert pks(kind="donchian") == []
    page = hers("list_backtests", order="-total_return", limit=2).json()
    assert [one["id"] for one in page["data"]] == [third, second]
    assert pks(order="-total_return", limit=2, cursor=page["metadata"]["next_cursor"]) == [first]
    assert hers.refused("list_backtests", order="id", cursor=page["metadata"]["next_cursor"]) == (422, "bad_cursor")


def test_the_list_costs_the_same_however_long(google, hers, alice, django_assert_max_num_queries):
    with tenancy.acting_as(alice):
        for _ in range(12):
            ran(alice)
    hers.ask("list_backtests")
    with django_assert_max_num_queries(14):
        assert len(hers.ask("list_backtests")) == 12


def test_equity_keeps_first_last_high_and_low_and_is_whole_as_csv(google, hers, alice):
    row = finished(alice)
    told = hers.ask("get_backtest_equity", backtest_id=row.pk, points=40)
    answer = hers("get_backtest_equity", backtest_id=row.pk, format="csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.getvalue().decode(), newline="")))
    equity = [float(line["equity"]) for line in lines]
    assert len(lines) == told["bars"] == 400
    assert len(told["equity"]) == len(told["open_time"]) == len(told["drawdown"]) <= 40
    assert told["benchmark"] is None
    assert (told["equity"][0], told["equity"][-1]) == (equity[0], equity[-1])
    assert (min(told["equity"]), max(told["equity"])) == (min(equity), max(equity))
    places = [lines.index(next(line for line in lines if line["open_time"] == at)) for at in told["open_time"]]
    assert [equity[place] for place in places] == told["equity"]
    whole = hers.ask("get_backtest_equity", backtest_id=row.pk, points=5000)
    assert whole["equity"] == equity
    assert whole["hold"] == [float(line["hold"]) for line in lines]


def test_trades_come_in_pages_and_by_outcome(google, hers, alice):
    row = finished(alice)
    with tenancy.acting_as(alice):
        stored = list(Trade.objects.filter(backtest=row).order_by("number"))

    def numbers(**wanted):
        return [one["number"] for one in hers.ask("list_backtest_trades", backtest_id=row.pk, **wanted)]

    assert numbers() == [trade.number for trade in stored]
    page = hers("list_backtest_trades", backtest_id=row.pk, limit=4).json()
    rest = hers.ask("list_backtest_trades", backtest_id=row.pk, cursor=page["metadata"]["next_cursor"], limit=500)
    assert [one["number"] for one in [*page["data"], *rest]] == numbers()
    one, trade = page["data"][0], stored[0]
    for name in ("quantity", "entry_price", "exit_price", "profit", "fees"):
        assert one[name] == float(getattr(trade, name))
    assert (one["exit_reason"], one["risk"], one["mae"]) == (trade.exit_reason, None, trade.mae)
    assert numbers(outcome="won") == [trade.number for trade in stored if trade.profit > 0 and not trade.is_open]
    assert numbers(outcome="open") == [trade.number for trade in stored if trade.is_open]
    assert numbers(direction="short") == numbers(exit_reason="stop_loss") == []
    best = hers.ask("list_backtest_trades", backtest_id=row.pk, order="-profit", limit=1)[0]
    assert best["profit"] == float(max(trade.profit for trade in stored))


def test_every_figure_is_explained(google, hers, alice):
    told = {one["name"]: one for one in hers.ask("list_measures")}
    metrics = hers.ask("get_backtest", backtest_id=finished(alice).pk)["metrics"]
    extra = {"periods_per_year", "ambiguous_count", "resolved_count"}
    assert set(metrics) - extra <= set(told)
    assert all(one["explanation"] for one in told.values())


def test_two_stand_side_by_side(google, hers, alice):
    one = finished(alice)
    other = finished(alice, parameters={"fast": 10, "slow": 30}, terms={"cash": 10_000.0, "costs": {"fee_rate": 0.01}})
    told = hers.ask("compare_backtests", ids=f"{one.pk}, {other.pk}")
    assert [row["id"] for row in told["backtests"]] == [one.pk, other.pk]
    assert {"Fast average": ["5 bars", "10 bars"], "Slow average": ["20 bars", "30 bars"]}.items() <= {
        row["label"]: row["values"] for row in told["different"]
    }.items()
    assert any("different costs" in doubt for doubt in told["doubts"])
    figures = {row["name"]: row for row in told["figures"]}
    returns = figures["total_return"]
    assert returns["values"] == [one.total_return, other.total_return]
    assert returns["best"] == [one.total_return > other.total_return, one.total_return < other.total_return]
    assert figures["bars"]["best"] == [False, False]
    assert "benchmark_return" not in figures
    for ids, code in (
        (f"{one.pk}", (422, "invalid")), (f"{one.pk},{one.pk}", (422, "invalid")), ("1,2,3,4,5", (422, "invalid")),
        (f"{one.pk},999", (404, "not_found")), ("x", (422, "invalid")), (f"{one.pk},,{other.pk}", (422, "invalid")),
    ):  # fmt: skip
        assert hers.refused("compare_backtests", ids=ids) == code
    his = Program.of(cast.bob())
    assert his.refused("compare_backtests", ids=f"{one.pk},{other.pk}") == (404, "not_found")


# --- Keeping -----------------------------------------------------------------------------------------------------


def test_a_revised_past_makes_it_stale_and_it_is_run_again(google, hers, alice):
    row = finished(alice)
    goog(revised=10)
    answer = hers("get_backtest", backtest_id=row.pk).json()
    assert "revised" in answer["data"]["stale"]
    assert answer["next_actions"][0]["operation"] == "rerun_backtest"
    assert hers.ask("list_backtests")[0]["stale"]
    again = hers("rerun_backtest", backtest_id=row.pk)
    assert again.status_code == 202
    worked()
    told = hers.ask("get_backtest", backtest_id=again.json()["data"]["backtest"]["id"])
    assert (told["state"], told["rerun_of"], told["stale"]) == ("done", row.pk, "")
    assert told["fingerprint"] != row.fingerprint


def test_noted_deleted_and_taken_back(google, hers, alice):
    row = finished(alice)
    assert hers.ask("annotate_backtest", backtest_id=row.pk, note=" Good. ")["note"] == "Good."
    answer = hers("delete_backtest", backtest_id=row.pk).json()
    assert hers.ask("list_backtests") == []
    assert hers.refused("get_backtest", backtest_id=row.pk) == (404, "not_found")
    (action,) = answer["next_actions"]
    assert hers.ask(action["operation"], **action["parameters"])["note"] == "Good."
    assert hers.refused("undelete_backtest", backtest_id=row.pk) == (404, "not_found")
    with tenancy.acting_as(alice):
        assert Curve.objects.filter(backtest=row).exists()


def test_one_that_is_deleted_while_it_waits_is_stopped(google, hers):
    begun = hers.ask("run_backtest", **ASKED)
    hers.ask("delete_backtest", backtest_id=begun["backtest"]["id"])
    assert hers.ask("get_job", job_id=begun["job"]["id"])["state"] == "cancelled"


def test_a_kind_that_is_gone_is_told_and_not_run_again(google, hers, alice):
    with tenancy.acting_as(alice):
        row = ran(alice)
        Backtest.objects.filter(pk=row.pk).update(kind="gone")
    told = hers("get_backtest", backtest_id=row.pk).json()
    assert told["data"]["kind"] == "gone"
    assert "rerun_backtest" not in [one["operation"] for one in told["next_actions"]]
    assert hers.refused("rerun_backtest", backtest_id=row.pk) == (422, "unknown_kind")


def test_who_may_only_read_reads(google, alice):
    row, reads = finished(alice), Program.of(alice, may_write=False)
    assert reads.ask("get_backtest", backtest_id=row.pk)["state"] == "done"
    assert reads.refused("run_backtest", **ASKED)[0] == 403
