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
    length = -(-many // max(1, (most - 2) // 2))
    whole = many // length * length  # the last stretch may be shorter
    begins = np.arange(0, whole, length)
    values = np.nan_to_num(values)
    stretches, rest = values[:whole].reshape(-1, length), values[whole:]
    found = [np.array([0, many - 1])]
    for edge in (np.argmin, np.argmax):
        found.append(begins + edge(stretches, axis=1))
        found.append(np.array([whole + int(edge(rest))] if len(rest) else [], np.int64))
    return np.unique(np.concatenate(found))
