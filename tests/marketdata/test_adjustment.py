"""The arithmetic of splits and dividends, on made-up histories whose truth is known."""

import math
import random
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata import adjustment

FIRST = date(2001, 1, 1)
SPLITS = [Fraction(text) for text in ("5/4", "3/2", "2", "3", "7", "20", "1/2", "2/3", "1/10", "1/50")]


@dataclass
class History:
    """A stock as it was traded, and its adjusted closes as a source would give them."""

    days: list[date]
    opens: np.ndarray
    closes: np.ndarray
    adjusted: np.ndarray
    splits: dict[date, Fraction]

    def split_adjusted(self) -> np.ndarray:
        found = self.closes.copy()
        for day, ratio in self.splits.items():
            found[: self.days.index(day)] /= float(ratio)
        return found


def history(
    seed: int, count: int = 400, splits: int = 2, dividends: int = 6, crashes: int = 2, decimals: int = 6
) -> History:
    """Yahoo's way: adjusted = close times (1 - D/C of the day before) of each dividend after it, over the splits."""
    dice = random.Random(seed)
    sigma = dice.uniform(0.004, 0.05)
    days = [FIRST + timedelta(days=number) for number in range(count)]
    places = dice.sample(range(10, count - 10, 12), splits + crashes)  # apart, so that each can be told
    split_at = {place: dice.choice(SPLITS) for place in places[:splits]}
    crash_at = {place: dice.choice((0.42, 0.5, 0.66, 1.6, 2.1)) for place in places[splits:]}
    paid_at = {place: dice.uniform(0.001, 0.08) for place in dice.sample(range(5, count), dividends)}
    paid_at = {place: share for place, share in paid_at.items() if all(abs(place - other) > 5 for other in split_at)}
    closes, opens, price = [], [], 400.0
    for place in range(count):
        before = price
        if place:
            price *= math.exp(dice.gauss(0, sigma)) * crash_at.get(place, 1.0) * (1 - paid_at.get(place, 0.0))
            price /= float(split_at.get(place, 1))
        if not 20 < price < 50_000 and place not in split_at:
            price = min(max(price, 20.0), 50_000.0)
        opens.append(round((before / float(split_at.get(place, 1)) + price) / 2, 4))
        closes.append(round(price, 4))
    share, adjusted = 1.0, [0.0] * count
    for place in reversed(range(count)):
        adjusted[place] = round(closes[place] * share, decimals)
        share *= (1 - paid_at.get(place, 0.0)) / float(split_at.get(place, 1))
    told = {days[place]: ratio for place, ratio in split_at.items()}
    return History(days, np.array(opens), np.array(closes), np.array(adjusted), told)


class TestFindingSplits:
    @given(st.integers(0, 10**9), st.integers(0, 3), st.integers(0, 8), st.integers(0, 3))
    @settings(max_examples=150, deadline=None)
    def test_exactly_those_there_were(self, seed: int, splits: int, dividends: int, crashes: int) -> None:
        stock = history(seed, splits=splits, dividends=dividends, crashes=crashes, decimals=8)
        found = adjustment.find_splits(stock.days, stock.opens, stock.closes, stock.adjusted)
        assert {jump.day: jump.ratio for jump in found.splits} == stock.splits

    @given(st.integers(0, 10**9), st.integers(0, 8), st.integers(0, 3))
    @settings(max_examples=100, deadline=None)
    def test_none_in_prices_that_are_adjusted_already(self, seed: int, dividends: int, crashes: int) -> None:
        stock = history(seed, dividends=dividends, crashes=crashes)
        found = adjustment.find_splits(stock.days, stock.opens, stock.split_adjusted(), stock.adjusted)
        assert found.splits == ()

    def test_a_crash_is_none_and_without_adjusted_closes_only_a_suspicion(self) -> None:
        closes = np.array([53.5] * 20 + [25.75] * 20)  # AAPL on 2000-09-29
        opens = np.array([53.5] * 20 + [28.2] + [25.75] * 19)
        days = [FIRST + timedelta(days=number) for number in range(40)]
        assert adjustment.find_splits(days, opens, closes, closes * 0.9) == adjustment.Found()
        found = adjustment.find_splits(days, opens, closes)
        assert found.splits == ()
        assert [(jump.day, jump.ratio) for jump in found.suspected] == [(days[20], 2)]

    def test_one_wrong_adjusted_close_is_none(self) -> None:
        stock = history(7, splits=0, crashes=0)
        stock.adjusted[100] *= 2
        assert adjustment.find_splits(stock.days, stock.opens, stock.closes, stock.adjusted).splits == ()

    def test_a_spin_off_is_suspected_only(self) -> None:
        """Morgan Stanley gave Discover away on 2007-07-02: the share steps by 1.2047 and the close falls by 15 %."""
        closes = np.concatenate([np.full(50, 83.88), np.full(50, 71.33)]) * np.exp(np.sin(np.arange(100)) / 50)
        adjusted = closes * np.concatenate([np.full(50, 1 / 1.2047), np.ones(50)])
        days = [FIRST + timedelta(days=number) for number in range(100)]
        found = adjustment.find_splits(days, closes, closes, adjusted)
        assert found.splits == ()
        assert [jump.ratio for jump in found.suspected] == [Fraction(5, 4)]

    def test_a_split_after_the_end_shows_in_the_share(self) -> None:
        closes = np.linspace(700, 800, 60)
        days = [FIRST + timedelta(days=number) for number in range(60)]
        assert adjustment.find_splits(days, closes, closes, closes * 0.50155).later == 2
        assert adjustment.find_splits(days, closes, closes, closes * 0.88).later is None

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_hardly_any_candles(self, count: int) -> None:
        closes = np.full(count, 5.0)
        days = [FIRST + timedelta(days=number) for number in range(count)]
        assert adjustment.find_splits(days, closes, closes, closes) == adjustment.Found()
        assert adjustment.find_splits(days, closes, closes, np.full(count, np.nan)) == adjustment.Found()

    def test_zeroes_and_holes_are_borne(self) -> None:
        stock = history(3, splits=1, crashes=0, decimals=8)
        stock.closes[5] = 0.0
        stock.adjusted[8:10] = np.nan
        found = adjustment.find_splits(stock.days, stock.opens, stock.closes, stock.adjusted)
        assert {jump.day: jump.ratio for jump in found.splits} == stock.splits


class TestBackward:
    def test_each_candle_gets_what_is_after_it(self) -> None:
        assert adjustment.backward(5, [3, 1], [0.5, 0.1]).tolist() == [0.05, 0.5, 0.5, 1.0, 1.0]

    def test_at_the_ends(self) -> None:
        assert adjustment.backward(3, [0, 3], [0.5, 0.1]).tolist() == [0.1, 0.1, 0.1]
        assert adjustment.backward(0, [0], [0.5]).tolist() == []
        assert adjustment.backward(2, [], []).tolist() == [1.0, 1.0]

    @given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.1, 10)), max_size=8))
    def test_it_is_the_product_whatever_the_order(self, events: list[tuple[int, float]]) -> None:
        found = adjustment.backward(20, [place for place, _ in events], [ratio for _, ratio in events])
        for index in range(20):
            expected = math.prod(ratio for place, ratio in events if place > index)
            assert found[index] == pytest.approx(expected, rel=1e-12)


class TestShares:
    def test_holes_take_what_is_known_and_the_difference_of_the_next(self) -> None:
        closes = np.full(5, 100.0)
        adjusted = np.array([np.nan, 45.0, np.nan, 90.0, np.nan])
        known = np.array([0.5, 0.5, 1.0, 1.0, 1.0])
        assert adjustment.told_share(closes, adjusted, known).tolist() == [0.45, 0.45, 0.9, 0.9, 0.9]

    def test_without_any_the_known_ones_count(self) -> None:
        known = np.array([0.25, 1.0])
        assert adjustment.told_share(np.ones(2), np.full(2, np.nan), known).tolist() == [0.25, 1.0]

    @pytest.mark.parametrize(("amount", "close", "ratio"), [(1, 100, 0.99), (0, 100, 1), (120, 100, 1), (1, 0, 1)])
    def test_a_dividend(self, amount: float, close: float, ratio: float) -> None:
        assert adjustment.dividend_ratio(amount, close) == ratio

    def test_total_return_is_the_value_of_reinvested_dividends(self) -> None:
        """CRSP's definition: who puts each dividend into shares at the close before grows as the factors say."""
        stock = history(11, splits=0, crashes=0, dividends=0)
        closes, paid = stock.closes, {50: 1.0, 120: 2.5, 300: 0.3}
        ratios = [adjustment.dividend_ratio(amount, closes[place - 1]) for place, amount in paid.items()]
        total = closes * adjustment.backward(len(closes), list(paid), ratios)
        shares = 1.0
        for place, amount in paid.items():
            shares *= 1 / (1 - amount / closes[place - 1])
        assert total[-1] / total[0] == pytest.approx(shares * closes[-1] / closes[0], rel=1e-12)


class TestExactText:
    @given(st.decimals(0, 10**9, places=10), st.sampled_from(SPLITS))
    def test_there_and_back(self, value, ratio: Fraction) -> None:
        there = adjustment.scaled(str(value), ratio, 40)
        assert Fraction(adjustment.scaled(there, 1 / ratio, 10)) == Fraction(str(value))

    @pytest.mark.parametrize(
        ("text", "by", "result"),
        [
            ("100", Fraction(1, 3), "33.3333333333"),
            ("0.00000000005", Fraction(1), "0.0000000001"),
            ("1.5e3", Fraction(2), "3000"),
            ("-2", Fraction(1, 3), "-0.6666666667"),
            (None, Fraction(2), None),
        ],
    )
    def test_rounded_half_away_from_zero(self, text: str | None, by: Fraction, result: str | None) -> None:
        assert adjustment.scaled(text, by, 10) == result

    @pytest.mark.parametrize(
        ("value", "ratio"), [("0.333333333333", "1/3"), ("1.5", "3/2"), ("0.1", "1/10"), ("1.0489", "10489/10000")]
    )
    def test_a_stored_ratio_is_the_fraction_that_was_meant(self, value: str, ratio: str) -> None:
        assert adjustment.fraction(value) == Fraction(ratio)
