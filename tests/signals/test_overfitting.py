"""How sure a Sharpe ratio is: the published examples, and what must hold for any."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.overfitting import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)

sharpes = st.floats(0.001, 2)
skewnesses = st.floats(-3, 3)


def kurtosis_of(skewness: float) -> float:
    """Any distribution has at least 1 + skewness²."""
    return 3 + skewness**2


def test_two_years_of_a_hedge_fund() -> None:
    """The example of "The Sharpe Ratio Efficient Frontier": 24 months at 1.585 a year, fat tails to the left."""
    monthly = 1.585 / math.sqrt(12)

    assert probabilistic_sharpe_ratio(monthly, 24, -2.448, 10.164) == pytest.approx(0.913234306885, abs=1e-12)
    assert probabilistic_sharpe_ratio(monthly, 24) == pytest.approx(0.982, abs=0.001)


def test_the_best_of_a_hundred_trials() -> None:
    """The example of "The Deflated Sharpe Ratio": five years of 250 days at 2.5, the trials vary by 1/2 a year."""
    daily, variance = 2.5 / math.sqrt(250), 0.5 / 250

    assert expected_maximum_sharpe(100) == pytest.approx(2.5306028932, abs=1e-10)
    assert deflated_sharpe_ratio(daily, 1250, 100, variance, -3, 10) == pytest.approx(0.900396834449, abs=1e-12)
    assert deflated_sharpe_ratio(daily, 1250, 46, variance, -3, 10) == pytest.approx(0.9505, abs=1e-4)
    assert deflated_sharpe_ratio(daily, 1250, 88, variance) == pytest.approx(0.9505, abs=1e-4)


@pytest.mark.parametrize(("bars_a_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_how_long_it_takes_to_tell_2_from_1(bars_a_year: int, years: float) -> None:
    """The same paper's: a yearly Sharpe ratio of 2 against 1, normal returns, 95 %."""
    root = math.sqrt(bars_a_year)
    length = minimum_track_record_length(2 / root, than=1 / root)

    assert length is not None
    assert length / bars_a_year == pytest.approx(years, abs=0.005)


@given(sharpe=sharpes, skewness=skewnesses, confidence=st.floats(0.6, 0.99))
def test_with_the_minimum_track_record_one_is_just_so_sure(sharpe: float, skewness: float, confidence: float) -> None:
    length = minimum_track_record_length(sharpe, skewness, kurtosis_of(skewness), confidence=confidence)
    assert length is not None

    below, above = (
        probabilistic_sharpe_ratio(sharpe, bars, skewness, kurtosis_of(skewness))
        for bars in (math.floor(length), math.ceil(length) + 1)
    )
    assert below is None or below <= confidence + 1e-12
    assert above is None or above >= confidence


@given(sharpe=sharpes, bars=st.integers(2, 10_000), trials=st.integers(1, 10_000), skewness=skewnesses)
def test_another_trial_makes_it_no_surer(sharpe: float, bars: int, trials: int, skewness: float) -> None:
    shape = (skewness, kurtosis_of(skewness))
    one, other = (deflated_sharpe_ratio(sharpe, bars, n, 0.01, *shape) for n in (trials, trials + 1))

    assert one is not None
    assert other is not None
    assert 0 <= other <= one <= 1
    assert expected_maximum_sharpe(trials + 1) > expected_maximum_sharpe(trials)


def test_one_trial_is_no_selection() -> None:
    assert expected_maximum_sharpe(1) == 0.0
    assert deflated_sharpe_ratio(0.1, 250, 1, 0.5, -1, 6) == probabilistic_sharpe_ratio(0.1, 250, -1, 6)


def test_an_astronomic_number_of_trials_has_an_expected_maximum() -> None:
    assert 8 < expected_maximum_sharpe(10**18) < 10


def test_what_has_no_answer_is_none() -> None:
    assert probabilistic_sharpe_ratio(0.1, 1) is None
    assert probabilistic_sharpe_ratio(math.inf, 100) is None
    assert probabilistic_sharpe_ratio(1.0, 100, 2.0, 5.0) is None  # returns of two values: nothing left to estimate
    assert minimum_track_record_length(0.0) is None
    assert minimum_track_record_length(-0.1) is None
    assert minimum_track_record_length(0.1, than=0.1) is None
    assert minimum_track_record_length(1e-200) is None
