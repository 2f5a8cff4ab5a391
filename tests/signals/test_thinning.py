"""Fewer points without losing a high or a low."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from signals.thinning import extremes

numbers = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300)


@given(numbers, st.integers(4, 60))
def test_the_first_the_last_and_the_extremes_stay(values, most):
    values = np.array(values)
    places = extremes(values, most)
    assert len(places) <= most
    assert (np.diff(places) > 0).all()
    assert (places[0], places[-1]) == (0, len(values) - 1)
    assert values[places].min() == values.min()
    assert values[places].max() == values.max()


def test_a_single_peak_in_a_million_is_kept():
    values = np.zeros(1_000_000)
    values[654_321] = 1.0
    places = extremes(values, 500)
    assert len(places) <= 500
    assert 654_321 in places
