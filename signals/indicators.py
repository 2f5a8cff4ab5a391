"""Indicators: arrays in, arrays of the same length out, NaN until there is a value. TA-Lib computes them."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from signals.engine.terms import Flags, Floats


def _talib() -> Any:
    """TA-Lib without pandas and polars, which it would otherwise import: 2.2 s and 138 MB, for nothing."""
    if "talib" in sys.modules:
        return sys.modules["talib"]
    hidden = {name: sys.modules.get(name) for name in ("pandas", "polars")}
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        import talib
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return talib


ta = _talib()


def sma(values: "Floats", period: int) -> "Floats":
    """Arithmetic mean of the last `period` values."""
    return np.array(values, float) if period == 1 else ta.SMA(values, period)


def crossed_above(one: "Floats", other: "Floats") -> "Flags":
    """Where `one` is above `other` and was below it or equal on the bar before; False where either is NaN."""
    above = np.zeros(len(one), bool)
    above[1:] = (one[1:] > other[1:]) & (one[:-1] <= other[:-1])
    return above
