"""A result's charts: what they draw is what is stored, at any width, and no peak is lost on the way."""

import base64
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chronos.core import tenancy
from marketdata.charts import Bar, Span
from marketdata.models import Asset, Timeframe
from signals.charts import equity, excursions, price, returns
from signals.charts.axes import ticks
from signals.engine.terms import Costs, Exits, Terms
from signals.models import Backtest
from tests import cast
from tests.cast import signed_in
from tests.prices import stored
from tests.signals.runs import ran, swinging, trades_of

house = pytest.mark.usefixtures("house")
KINDS = {"f4": "<f4", "f8": "<f8", "u4": "<u4"}


def numbers(packed) -> np.ndarray:
    if isinstance(packed, list):
        return np.array(packed)
    return np.frombuffer(base64.b64decode(packed["bdata"]), KINDS[packed["dtype"]])


def drawn(person, backtest: Backtest, name: str, more: str = "") -> dict:
    answer = signed_in(person).get(f"/backtests/{backtest.pk}/charts/{name}/?width=900{more}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def line(figure: dict, name: str) -> np.ndarray:
    (found,) = (numbers(one["y"]) for one in figure["data"] if one.get("name") == name)
    return found


def curve_of(person, backtest: Backtest) -> equity.Curves:
    with tenancy.acting_as(person):
        found = equity.read(backtest)
    assert found
    return found


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60),
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50),
    st.integers(1, 4000),
    st.integers(1, 900),
)
@settings(max_examples=40, deadline=None)
def test_every_line_keeps_its_highest_its_lowest_and_its_ends(one, other, bars, width):
    """Each has one number beyond all others, so that losing it shows."""
    columns = [np.resize(np.array(values), bars) for values in (one, other)]
    columns[0][bars // 3], columns[1][bars // 2] = 2e9, -2e9
    places = equity.sampled(columns, width)
    assert (places[0], places[-1]) == (0, bars - 1)
    assert (np.diff(places) > 0).all()
    for column in columns:
        assert (column[places].min(), column[places].max()) == (column.min(), column.max())


def test_a_million_bars_are_a_screen_s_worth_with_every_peak_in_its_place():
    rng = np.random.default_rng(1)
    walk = 10_000 * np.exp(np.cumsum(rng.normal(0, 0.001, 1_000_000)))
    walk[123_456], walk[654_321] = walk.max() * 2, 1.0
    places = equity.sampled([walk, walk[::-1].copy()], 1200)
    assert len(places) < 3_000
    assert {123_456, 654_321, 0, 999_999} <= set(places.tolist())


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12))
@example(0.0, 1e-6)
@settings(max_examples=60, deadline=None)
def test_marks_of_an_axis_are_few_in_order_and_within(low, span):
    high = low + span
    found = ticks(low, high)
    assert found == sorted(found)
    assert len(found) <= 10
    room = (high - low) * 1e-6 + abs(high) * 1e-9
    assert all(low - room <= mark <= high + room for mark in found)


def test_marks_of_a_logarithmic_axis_are_round():
    assert ticks(900, 210_000, logarithmic=True) == [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5]
    assert ticks(1, 1e6, logarithmic=True) == [1, 10, 100, 1000, 1e4, 1e5, 1e6]
    assert ticks(100, 130, logarithmic=True) == [100, 105, 110, 115, 120, 125, 130]


@house
class TestEquity:
    def test_it_is_what_is_stored_beside_holding_and_the_benchmark(self):
        alice = cast.alice()
        backtest = ran(alice, benchmark=stored("SPY", swinging(400, 300.0), asset_class="crypto"))
        found, figure = curve_of(alice, backtest), drawn(alice, backtest, "equity")
        for name, values in (("Equity", found.equity), ("Holding BTC-USD", found.hold), ("SPY", found.benchmark)):
            assert line(figure, name) == pytest.approx(values, rel=1e-6)
        assert line(figure, "Equity")[-1] == pytest.approx(backtest.metrics["final_equity"], rel=1e-6)
        assert line(figure, "Below its high").min() == pytest.approx(backtest.max_drawdown * 100, rel=1e-5)
        assert numbers(figure["meta"]["times"])[-1] == backtest.last_open.timestamp()
        assert figure["meta"]["legend"][:3] == ["Equity", "Holding BTC-USD", "SPY"]

    def test_in_per_cent_it_begins_at_nothing_and_ends_at_the_return(self):
        alice = cast.alice()
        backtest = ran(alice)
        figure = drawn(alice, backtest, "equity", "&unit=percent&scale=linear")
        assert line(figure, "Equity")[0] == 0
        assert line(figure, "Equity")[-1] == pytest.approx(backtest.total_return * 100, rel=1e-5)
        assert "+" in "".join(figure["layout"]["yaxis"]["ticktext"])

    def test_a_scale_is_what_was_asked_for_else_what_shows_all_lines(self):
        alice = cast.alice()
        rocket = ran(alice, stored("UP", [round(100 * 1.01**n, 2) for n in range(400)], asset_class="crypto"))
        calm = ran(alice)
        for backtest, usual in ((rocket, "log"), (calm, "linear")):
            assert drawn(alice, backtest, "equity")["layout"]["yaxis"]["type"] == usual
            for scale in ("linear", "log"):
                assert drawn(alice, backtest, "equity", f"&scale={scale}")["layout"]["yaxis"]["type"] == scale

    def test_an_account_that_was_ruined_has_no_logarithm_and_is_drawn(self):
        alice = cast.alice()
        closes = [80.0 + n for n in range(20)] + [100.0 - n for n in range(20)] + [400.0] * 10
        backtest = ran(alice, stored("SQZ", closes, asset_class="crypto"), terms=Terms(direction="short", lot=0))
        found = curve_of(alice, backtest)
        assert found.equity.min() <= 1e-6, backtest.warnings
        figure = drawn(alice, backtest, "equity", "&scale=log&unit=percent")
        assert np.isnan(line(figure, "Equity")[-1]) or line(figure, "Equity")[-1] > 0
        assert drawn(alice, backtest, "equity")["layout"]["yaxis"]["type"] == "linear"

    def test_the_best_case_is_the_other_edge_of_a_band(self):
        alice = cast.alice()
        backtest = ran(alice, terms=Terms(exits=Exits(stop_loss=0.01, take_profit_1=0.01)))
        figure = drawn(alice, backtest, "equity")
        best = line(figure, "Best case")
        assert best[-1] / 10_000 - 1 == pytest.approx(backtest.metrics["optimistic_return"], rel=1e-5)
        assert next(one for one in figure["data"] if one["name"] == "Equity")["fill"] == "tonexty"

    def test_the_sentence_names_the_deepest_fall(self):
        alice = cast.alice()
        backtest = ran(alice)
        found = curve_of(alice, backtest)
        text = equity.says(backtest, found)
        assert f"{abs(backtest.max_drawdown) * 100:.1f} %" in text
        assert text.startswith("10\u202f000 became ")


def bars(count: int, start: datetime, step: timedelta) -> list[Bar]:
    return [Bar(start + n * step, 10.0, 12.0, 9.0, 11.0, 1.0, 1) for n in range(count)]


class TestPlaces:
    def test_a_moment_is_in_the_bar_that_began_before_it(self):
        start = datetime(2020, 1, 6, tzinfo=UTC)
        weeks = Span(Asset(symbol="X"), Timeframe.D1, bars(4, start, timedelta(days=7)), "1 week", True)
        assert [weeks.place(start + timedelta(days=n)) for n in (-1, 0, 6, 7, 21, 40)] == [None, 0, 0, 1, 3, 3]

    def test_a_session_that_begins_the_evening_before_is_of_its_own_day(self):
        from zoneinfo import ZoneInfo

        days = Span(Asset(symbol="BHP.AX"), Timeframe.H1, bars(3, datetime(2024, 1, 8, tzinfo=UTC), timedelta(days=1)),
                    "1 day", True, ZoneInfo("Australia/Sydney"))  # fmt: skip
        assert days.place(datetime(2024, 1, 8, 23, tzinfo=UTC)) == 1  # Tuesday's open in Sydney


@house
class TestPrice:
    def test_every_trade_has_its_marks_on_its_bars(self):
        alice = cast.alice()
        backtest = ran(alice, terms=Terms(direction="both", costs=Costs(0, 0, 500)))
        figure, trades = drawn(alice, backtest, "price", "&range=all"), trades_of(backtest, alice)
        candles, entries, exits = (
            next(one for one in figure["data"] if test(one))
            for test in (lambda one: one["type"] == "candlestick", lambda one: one.get("name") == "Entries",
                         lambda one: one.get("name") == "Exits")
        )  # fmt: skip
        assert len(entries["x"]) == len({trade.position for trade in trades})
        assert exits["customdata"] == [trade.number for trade in trades if not trade.is_open]
        shapes = {trade.number: "triangle-up" if trade.direction == "long" else "triangle-down" for trade in trades}
        assert entries["marker"]["symbol"] == [shapes[number] for number in entries["customdata"]]
        low, high = (dict(zip(candles["x"], numbers(candles[edge]), strict=True)) for edge in ("low", "high"))
        for marks in (entries, exits):
            for bar, level in zip(marks["x"], marks["y"], strict=True):
                assert low[bar] <= level <= high[bar]
        for number, bar in zip(exits["customdata"], exits["x"], strict=True):
            assert f"{trades[number].exit_time:%b %Y}" in bar
        colours = ["--gain-mark" if trades[number].profit > 0 else "--loss-mark" for number in exits["customdata"]]
        assert exits["marker"]["color"] == colours

    def test_a_trade_is_looked_at_with_its_stop_and_targets(self):
        alice = cast.alice()
        terms = Terms(exits=Exits(stop_loss=0.05, take_profit_1=0.06, take_profit_2=0.12))
        backtest = ran(alice, terms=terms)
        trade = trades_of(backtest, alice)[3]
        figure = drawn(alice, backtest, "price", "&trade=3")
        entry = float(trade.entry_price)
        levels = {shape["name"]: shape["y0"] for shape in figure["layout"]["shapes"] if "name" in shape}
        wanted = {"Stop": entry * 0.95, "Target 1": entry * 1.06, "Target 2": entry * 1.12}
        assert levels == pytest.approx(wanted, rel=1e-6)
        low, high = figure["layout"]["yaxis"]["range"]
        assert all(low < level < high for level in levels.values())
        times = figure["meta"]["times"]
        assert times[0] < trade.entry_time.timestamp() <= trade.exit_time.timestamp() < times[-1]
        assert figure["meta"]["joined"] is False

    def test_of_very_many_trades_the_largest_are_marked(self, monkeypatch):
        alice = cast.alice()
        backtest = ran(alice, parameters={"fast": 2, "slow": 4})
        trades = trades_of(backtest, alice)
        monkeypatch.setattr(price, "MARKED", 6)
        ranked = sorted(trades, key=lambda trade: trade.profit)
        chosen = ranked[len(ranked) // 2]
        with tenancy.acting_as(alice):
            found, many = price.marked(backtest, backtest.first_open, backtest.last_open, chosen)
        assert {trade.number for trade in found} == {trade.number for trade in (*ranked[:3], *ranked[-3:], chosen)}
        assert many == len(trades)
        assert "of which the 7 with the largest" in price.says(found, many, there=True)

    def test_candles_that_are_gone_leave_the_page_and_its_trades(self):
        alice = cast.alice()
        backtest = ran(alice)
        with tenancy.as_system("take its candles away"):
            backtest.asset.series.all().delete()
        page = signed_in(alice)
        answer = page.get(f"/backtests/{backtest.pk}/")
        assert "The candles of this range are not here any more" in answer.text
        assert "Stale" in answer.text
        assert page.get(f"/backtests/{backtest.pk}/charts/price/").status_code == 404


@house
class TestReturnsAndExcursions:
    def test_each_bar_with_a_position_is_in_one_bin(self):
        alice = cast.alice()
        backtest = ran(alice)
        found = curve_of(alice, backtest)
        figure = drawn(alice, backtest, "returns")
        held = (found.gross[1:] > 0) | (found.gross[:-1] > 0)
        assert sum(figure["data"][0]["y"]) == held.sum()
        spread = returns.spread(found)
        assert [count for _, count in returns.bins(spread)] == figure["data"][0]["y"]
        assert spread.worst == pytest.approx(min(found.equity[1:] / found.equity[:-1] - 1))

    def test_each_closed_trade_is_a_dot_where_it_went(self):
        alice = cast.alice()
        backtest = ran(alice, terms=Terms(exits=Exits(stop_loss=0.05)))
        figure = drawn(alice, backtest, "excursions")
        closed = {trade.number: trade for trade in trades_of(backtest, alice) if not trade.is_open}
        seen = {}
        for data in figure["data"]:
            for number, across, up in zip(data["customdata"], data["x"], data["y"], strict=True):
                seen[number] = (across, up)
                assert (closed[number].profit > 0) == (data["name"] == "Won")
        assert seen.keys() == closed.keys()
        for number, (across, up) in seen.items():
            assert across == pytest.approx(-closed[number].mae * 100, abs=1e-3)
            assert up <= closed[number].mfe * 100 + 1e-3

    def test_one_that_went_far_does_not_make_a_spot_of_the_others(self):
        dots = [excursions.Dot(n, -0.01, 0.02, 0.01) for n in range(99)] + [excursions.Dot(99, -0.01, 3.0, 2.0)]
        figure = excursions.figure(dots, {})
        assert figure["layout"]["yaxis"]["range"][1] < 10
        assert max(figure["data"][0]["y"]) < 10
        assert "300.00 % in its favour" in figure["data"][0]["text"][99]
        assert "1 trade went further than the axes and is at their edge" in excursions.says(dots)

    def test_there_is_no_other_chart(self):
        alice = cast.alice()
        answer = signed_in(alice).get(f"/backtests/{ran(alice).pk}/charts/pie/")
        assert answer.status_code == 404
        assert "equity, price, returns, excursions" in answer.text
