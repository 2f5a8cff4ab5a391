"""Backtests side by side: what was different, who did better at what, and their equity on the days that all have."""

import base64
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronos.core import tenancy
from marketdata.models import Asset, Timeframe
from signals import comparing, curves
from signals.models import Backtest, Curve
from tests import cast
from tests.cast import signed_in
from tests.signals.test_backtest_list import made, unfinished

house = pytest.mark.usefixtures("house")
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
DAY = timedelta(days=1) // US


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return signed_in(alice)


def with_curve(person, equity, *, begin=BEGIN, timeframe="1d", **fields) -> Backtest:
    length = Timeframe(timeframe).length
    run = made(person, timeframe=timeframe, first_open=begin, last_open=begin + (len(equity) - 1) * length, **fields)
    times = np.array([(begin + n * length - datetime(1970, 1, 1, tzinfo=UTC)) // US for n in range(len(equity))])
    column = curves.packed(np.array(equity, float))
    with tenancy.acting_as(person):
        Curve.objects.create(backtest=run, owner=person, bars=len(equity), times=curves.packed_times(times),
                             equity=column, gross=column, hold=column)  # fmt: skip
    return run


def numbers(packed) -> list[float]:
    kinds = {"f4": "<f4", "f8": "<f8", "u4": "<u4"}
    return np.frombuffer(base64.b64decode(packed["bdata"]), kinds[packed["dtype"]]).tolist()


def row(answer, label: str) -> str:
    """The cells of a line of figures or inputs."""
    return answer.text.partition(f"{label}<")[2].partition("</tr>")[0]


@house
class TestPage:
    def test_it_works(self, alice, page):
        terms = {"cash": 10_000, "costs": {"fee_rate": 0.001}}
        one = with_curve(alice, [100, 110, 120], parameters={"fast": 10, "slow": 30}, terms=terms, cagr=0.2,
                         metrics={"cagr": 0.2, "volatility": 0.3, "beta": 1.0, "trade_count": 7})  # fmt: skip
        two = with_curve(alice, [200, 190, 210], parameters={"fast": 20, "slow": 30}, terms=terms, cagr=0.05,
                         metrics={"cagr": 0.05, "volatility": 0.1, "beta": 0.5, "trade_count": 9})  # fmt: skip
        answer = page.get(f"/backtests/compare/?ids={one.pk},{two.pk}")
        assert "2 backtests side by side" in answer.text
        assert "<mark>10 bars</mark>" in row(answer, "Fast average")
        assert "<mark>20 bars</mark>" in row(answer, "Fast average")
        assert "<mark>" not in row(answer, "Slow average")
        assert row(answer, "CAGR").index("best") < row(answer, "CAGR").index("+5.00 %")
        assert row(answer, "Volatility").index("best") > row(answer, "Volatility").index("30.00 %")
        assert "best" not in row(answer, "Beta") + row(answer, "Closed trades")
        assert "Trend (10, 30) earned the most a year (+20.00 %)" in answer.text
        assert "What stands against" not in answer.text

    def test_the_lists_choice_leads_to_its_address(self, alice, page):
        runs = [made(alice).pk for _ in range(5)]
        answer = page.post("/backtests/compare/", {"id": [*runs[:2], "x"]})
        assert answer.url == f"/backtests/compare/?ids={runs[0]},{runs[1]}"
        answer = page.get(f"/backtests/compare/?ids={','.join(map(str, runs))}")
        assert "4 backtests side by side" in answer.text
        assert f"?ids={runs[1]},{runs[2]},{runs[3]}" in answer.text  # without the first

    def test_with_one_alone_others_are_offered_those_of_its_asset_first(self, alice, page):
        far, one, near = made(alice, symbol="AMD"), made(alice), made(alice)
        text = page.get(f"/backtests/compare/?ids={one.pk}").text
        assert text.index(f"ids={one.pk},{near.pk}") < text.index(f"ids={one.pk},{far.pk}")
        assert "Begin with" in page.get("/backtests/compare/").text
        assert "nothing to compare" in signed_in(cast.bob()).get("/backtests/compare/").text

    def test_nobody_elses_and_nonsense(self, alice, page):
        one, his = with_curve(alice, [1, 2]), with_curve(cast.bob(), [1, 2], strategy_name="Bob's secret")
        text = page.get(f"/backtests/compare/?ids={one.pk},{his.pk},-1,x,99999999999999999999").text
        assert "secret" not in text
        assert page.get(f"/backtests/compare/chart/?ids={one.pk},{his.pk}").status_code == 404

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"symbol": "AMD"}, "different assets (GOOG, AMD)"),
            ({"begin": BEGIN + timedelta(days=20)}, "the chart of the days that all have, 21 Jan 2020 to 9 Feb 2020"),
            ({"begin": BEGIN + timedelta(days=400)}, "no day in common"),
            ({"terms": {"costs": {"fee_rate": 0.5}}}, "different costs"),
            ({"terms": {"cash": 5}}, "different cash"),
            ({"timeframe": "1w"}, "different lengths (1d, 1w)"),
            ({"stale": "candles that it used were revised"}, "is stale: candles that it used were revised"),
            ({"code_version": "2"}, "different versions of the code"),
            ({"fingerprint": "1d:2:0:9:40:abcd"}, "revised between them"),
            ({"failure": "Too short.", "metrics": {}}, "has no result: Too short."),
        ],
    )
    def test_what_stands_against_it_is_said(self, alice, page, fields, words):
        one = with_curve(alice, range(1, 41), metrics={"cagr": 0.1})
        two = with_curve(alice, range(1, 41), **{"metrics": {"cagr": 0.2}, **fields})
        answer = page.get(f"/backtests/compare/?ids={one.pk},{two.pk}")
        assert answer.status_code == 200
        assert words in answer.text.partition("<ul>")[2]

    def test_one_that_is_not_finished_is_shown_without_figures(self, alice, page):
        one, two = with_curve(alice, [1, 2], metrics={"cagr": 0.1}), unfinished(alice)
        text = page.get(f"/backtests/compare/?ids={one.pk},{two.pk}").text
        assert "has no result yet" in text
        assert 'class="state queued"' in text

    def test_few_queries(self, alice, page, django_assert_max_num_queries):
        runs = [with_curve(alice, [1, 2, 3], symbol=f"S{n}").pk for n in range(4)]
        with django_assert_max_num_queries(18):
            page.get(f"/backtests/compare/?ids={','.join(map(str, runs))}")


@house
class TestChart:
    def test_both_begin_at_100_on_the_first_common_day(self, alice, page):
        one = with_curve(alice, [100.0, 120.0, 90.0, 60.0])
        two = with_curve(alice, [50.0, 75.0, 100.0], begin=BEGIN + timedelta(days=1))
        told = page.get(f"/backtests/compare/chart/?ids={one.pk},{two.pk}&width=800").json()
        lines = {line["line"]["color"]: numbers(line["y"]) for line in told["data"]}
        assert lines == {"--hue-1": [100.0, 75.0, 50.0], "--hue-2": [100.0, 150.0, 200.0]}
        days = [datetime.fromtimestamp(at, UTC).date() for at in numbers(told["meta"]["times"])]
        assert [day.day for day in days] == [2, 3, 4]

    def test_longer_bars_keep_their_value_until_their_next_close(self, alice):
        daily = with_curve(alice, [10.0, 20.0])
        hourly = with_curve(alice, [float(n) for n in range(1, 49)], timeframe="1h")
        with tenancy.acting_as(alice):
            drawn = comparing.together([daily, hourly])
        assert drawn is not None
        assert len(drawn.times) == 25  # the closes from the first day's to the second's
        assert drawn.values[0].tolist() == [100.0] * 24 + [200.0]
        assert drawn.values[1].tolist() == [100.0 * n / 24 for n in range(24, 49)]

    def test_no_peak_is_lost_and_the_screen_decides_how_much_comes(self, alice, page):
        level = np.full(20_000, 100.0)
        level[7777], level[12_345] = 900.0, 3.0
        one, two = with_curve(alice, level), with_curve(alice, np.full(20_000, 50.0))
        told = page.get(f"/backtests/compare/chart/?ids={one.pk},{two.pk}&width=400&scale=log").json()
        line = numbers(next(each for each in told["data"] if each["line"]["color"] == "--hue-1")["y"])
        assert (max(line), min(line)) == (900.0, 3.0)
        assert len(line) < 4000
        assert told["layout"]["yaxis"]["type"] == "log"

    def test_what_to_see_is_said(self, alice, page):
        one = with_curve(alice, [100.0, 120.0, 90.0], strategy_name="A")
        two = with_curve(alice, [100.0, 100.0, 110.0], strategy_name="B")
        text = page.get(f"/backtests/compare/?ids={one.pk},{two.pk}").text
        assert "B +10.0 %, A −10.0 %. B has led since 3 Jan 2020." in text
        assert "From 1 Jan 2020 to 3 Jan 2020: " in text


# --- Which is better ---------------------------------------------------------------------------------------------


def backtest(**metrics) -> Backtest:
    return Backtest(strategy_name="x", kind="sma-cross", asset=Asset(symbol="X"), timeframe="1d", metrics=metrics)


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=2, max_size=4))
def test_the_better_ones_are_marked_and_never_all(values):
    for name, top in (("sharpe_ratio", max), ("volatility", min)):
        told = dict(comparing.measured([backtest(**{name: value}) for value in values]))
        rows = [row for group in told.values() for row in group]
        known = [value for value in values if value is not None]
        if not known:
            assert not rows
            continue
        (row,) = rows
        assert sum(row.best) < max(len(known), 1)
        if any(row.best):
            best = row.values[values.index(top(known))]
            assert {text for text, mark in row.marked if mark} == {best}
        else:
            assert len(known) < 2 or len({text for text in row.values if text != "–"}) == 1


def test_the_verdict_says_who_leads_and_that_the_best_of_losses_is_one():
    told = [backtest(cagr=-0.2, max_drawdown=-0.5, sharpe_ratio=0.1), backtest(cagr=-0.1, max_drawdown=-0.3)]
    assert comparing.verdict(told, ["A", "B"]) == "B lost the least a year (−10.00 %) and fell the least (−30.00 %)."
    told[1].metrics["sharpe_ratio"] = 0.05
    assert comparing.verdict(told, ["A", "B"]).endswith("; A has the best Sharpe ratio (0.10).")
    assert comparing.verdict([told[0], told[0]], ["A", "B"]) == ""


def test_each_is_called_by_what_tells_it_apart():
    named = {"strategy_name": "T", "kind": "sma-cross", "timeframe": "1d"}
    x, y = Asset(symbol="X"), Asset(symbol="Y")
    told = [Backtest(pk=1, asset=x, parameters={"fast": 1, "slow": 2}, **named),
            Backtest(pk=2, asset=y, parameters={"fast": 1, "slow": 2}, **named)]  # fmt: skip
    assert comparing.labels(told) == ["T X", "T Y"]
    told[1].asset, told[1].parameters = x, {"fast": 1, "slow": 3}
    assert comparing.labels(told) == ["T (1, 2)", "T (1, 3)"]
    told[1].parameters = told[0].parameters
    assert comparing.labels(told) == ["T #1", "T #2"]
