"""Fewer points of a curve without losing what one looks for in it: its highs and lows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signals.engine.terms import Floats, Whole


def extremes(values: Floats, most: int) -> Whole:
    """The places of at most `most` values (at least 4): the first, the last, and the lowest and the highest of as many
    stretches of equal length as there is room for. All places if there are no more than that."""
    import numpy as np

    many = len(values)
    if many <= most:
        return np.arange(many)
    stretches = max(1, (most - 2) // 2)
    edges = np.linspace(0, many, stretches + 1).astype(np.int64)
    length = -(-many // stretches) + 1
    # Each stretch is a row; shorter ones repeat their last value, which is no other extreme.
    places = np.minimum(edges[:-1, None] + np.arange(length), edges[1:, None] - 1)
    rows = np.nan_to_num(values)[places]
    found = [places[np.arange(stretches), rows.argmin(1)], places[np.arange(stretches), rows.argmax(1)]]
    return np.unique(np.concatenate([[0, many - 1], *found]))
