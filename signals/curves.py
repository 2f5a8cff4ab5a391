"""Columns of a curve as bytes: whole numbers as differences, bytes of one significance together, compressed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signals.engine.terms import Floats, Whole

LEVEL = 1  # the next ones take twice the time for a tenth less


def packed(values: Floats) -> bytes:
    """Float64 (T,) without loss."""
    import numpy as np

    return zlib.compress(np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8).T.tobytes(), LEVEL)


def packed_times(times: Whole) -> bytes:
    """Int64 (T,), ascending."""
    import numpy as np

    steps = np.diff(times, prepend=np.int64(0)).astype("<i8")
    return zlib.compress(steps.view(np.uint8).reshape(-1, 8).T.tobytes(), LEVEL)


def unpacked(column: bytes | memoryview) -> Floats:
    import numpy as np

    raw = np.frombuffer(zlib.decompress(column), np.uint8).reshape(8, -1).T
    values: Floats = np.ascontiguousarray(raw).view("<f8").ravel()
    return values


def unpacked_times(column: bytes | memoryview) -> Whole:
    import numpy as np

    raw = np.frombuffer(zlib.decompress(column), np.uint8).reshape(8, -1).T
    steps: Whole = np.ascontiguousarray(raw).view("<i8").ravel()
    return np.cumsum(steps)
