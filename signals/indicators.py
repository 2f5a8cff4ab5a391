"""Indicators: arrays in, arrays of the same length out, NaN until there is a value. TA-Lib computes most of them.

Each is a plain function that only looks back and writes to none of its inputs; what it is called, what its parameters
may be and how far it looks back stands beside it, as an `Indicator` in `INDICATORS`. Inputs are prices or volumes
without NaN, of any length. Importing this is cheap, because pages tell people of warmups: TA-Lib and numpy come with
the first call, or with `prepare`, which a worker calls before it forks.

**Warmup** is the number of bars before the first value one may rely on. Where an indicator looks at a window, it is the
window. Where it is recursive (an exponential average never quite forgets how it began), it is the number of bars after
which the value with which the recursion was started weighs `SEED_WEIGHT` or less, so that the same candle gives the
same value wherever the data begins, but for one part in ten thousand of the first error: less than a tick of a price,
a hundredth of a point of an RSI. It follows from the smoothing by `_forgotten`, and `tests/signals/test_indicators.py`
measures it.

**Equal** is what differs by no more than `ROUNDING`. Averages of prices that stand still are the same number, added up
in different ways: without this, a fast average would cross a slow one by its sixteenth digit, and a strategy trade.
"""

import inspect
import numbers
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from signals.engine.terms import Flags, Floats

SEED_WEIGHT = 1e-4
ROUNDING = 1e-12  # two sums of the same prices, added in another order, differ by less than this part

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Setting:
    """A parameter of an indicator: a number from `low` to `high`, both included."""

    name: str
    type: type[int] | type[float]
    default: float | None
    low: float
    high: float

    def refuse(self, label: str, value: Any) -> None:
        """Raises `ValueError` for what is no such number."""
        wanted = numbers.Integral if self.type is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, wanted) or not self.low <= float(value) <= self.high:
            kind = "a whole number" if self.type is int else "a number"
            raise ValueError(
                f"{label}: {self.name} must be {kind} from {self.low:g} to {self.high:g}; it is {value!r}."
            )


@dataclass(frozen=True)
class Indicator:
    """What an indicator is called, takes and gives. `inputs` are the arrays it wants, in order: "values" for any array,
    else the column; `outputs` are the arrays it gives, one or a tuple. `warmup(**settings)`: bars before the first
    reliable value, see above.
    """

    name: str
    label: str
    inputs: tuple[str, ...]
    settings: tuple[Setting, ...]
    outputs: tuple[str, ...]
    recursive: bool
    warmup: Callable[..., int]
    function: Callable[..., Any] = field(repr=False)

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")


INDICATORS: dict[str, Indicator] = {}


def warmup(name: str, *settings: float) -> int:
    """Bars before the first reliable value: `warmup("rsi", 14)`."""
    return INDICATORS[name].warmup(*settings)


def prepare() -> None:
    """Loads TA-Lib now, rather than with the first indicator."""
    _ta()


@cache
def _ta() -> Any:
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


def _told(
    label: str,
    outputs: str = "value",
    *,
    warmup: Callable[..., int],
    recursive: bool = False,
    **ranges: tuple[float, float],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Enters a function in `INDICATORS`. Its parameters named in `ranges` are settings, the others are arrays."""

    def tell(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        settings = tuple(
            Setting(
                name,
                float if parameter.annotation is float else int,
                None if parameter.default is parameter.empty else parameter.default,
                *ranges[name],
            )
            for name, parameter in parameters.items()
            if name in ranges
        )
        inputs = tuple(name for name in parameters if name not in ranges)
        names = tuple(parameters)

        @wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            given = dict(zip(names, args, strict=False)) | kwargs
            for setting in settings:
                if setting.name in given:
                    setting.refuse(label, given[setting.name])
            return function(*args, **kwargs)

        INDICATORS[function.__name__] = Indicator(
            function.__name__, label, inputs, settings, tuple(outputs.split()), recursive, warmup, told
        )
        return told

    return tell


def _computed(name: str, *series: "Floats", **options: float) -> "Floats":
    """The one array that TA-Lib's function of this name makes."""
    found: Floats = _all_computed(name, *series, **options)
    return found


def _all_computed(name: str, *series: "Floats", **options: float) -> Any:
    """TA-Lib's function of this name, given what it insists on: contiguous float64 of one length."""
    import numpy as np

    arrays = [np.ascontiguousarray(one, np.float64) for one in series]
    if any(one.ndim != 1 or len(one) != len(arrays[0]) for one in arrays):
        raise ValueError(f"{name}: arrays must have one dimension and the same length.")
    return getattr(_ta(), name)(*arrays, **options)


@cache
def _forgotten(*decays: float) -> int:
    """After how many bars what a recursion was started with weighs `SEED_WEIGHT` or less.

    An exponential average keeps the part `decay` of its error with each bar: after k bars the seed weighs decay^k. Of
    averages of averages, each also takes in what is left of the error of the one before; this counts until the last is
    settled.
    """
    left, bars = [1.0] * len(decays), 0
    while left[-1] > SEED_WEIGHT:
        coming = 0.0
        for place, decay in enumerate(decays):
            left[place] = decay * left[place] + (1 - decay) * coming
            coming = left[place]
        bars += 1
    return bars


def _ema_decay(period: int) -> float:
    return 1 - 2 / (period + 1)


def _wilder_decay(period: int) -> float:
    return 1 - 1 / period


ANY = (1, 100_000)
SOME = (2, 100_000)


@_told("Simple average", warmup=lambda period: period - 1, period=ANY)
def sma(values: "Floats", period: int) -> "Floats":
    """Arithmetic mean of the last `period` values."""
    return _computed("SMA", values, timeperiod=period)


@_told("Weighted average", warmup=lambda period: period - 1, period=ANY)
def wma(values: "Floats", period: int) -> "Floats":
    """Mean of the last `period` values, the newest weighing `period` times as much as the oldest."""
    return _computed("WMA", values, timeperiod=period)


@_told(
    "Exponential average",
    warmup=lambda period: period - 1 + _forgotten(_ema_decay(period)),
    recursive=True,
    period=ANY,
)
def ema(values: "Floats", period: int) -> "Floats":
    """Exponential average that gives the newest value the weight 2 / (period + 1).

    Started with the mean of the first `period` values. Warmup: `period - 1` bars to that mean, then k with
    (1 − 2 / (period + 1))^k ≤ `SEED_WEIGHT`.
    """
    return _computed("EMA", values, timeperiod=period)


@_told("Standard deviation", warmup=lambda period: period - 1, period=SOME)
def deviation(values: "Floats", period: int) -> "Floats":
    """Standard deviation of the last `period` values, of the population (divided by `period`, ddof 0)."""
    return _computed("STDDEV", values, timeperiod=period, nbdev=1.0)


@_told("Slope", warmup=lambda period: period - 1, period=SOME)
def slope(values: "Floats", period: int) -> "Floats":
    """By how much the straight line through the last `period` values (least squares) rises with each bar."""
    return _computed("LINEARREG_SLOPE", values, timeperiod=period)


@_told("Highest", warmup=lambda period: period - 1, period=ANY)
def highest(values: "Floats", period: int) -> "Floats":
    """The greatest of the last `period` values, this bar's included; `before(highest(…))` leaves this bar out."""
    return _copy(values) if period == 1 else _computed("MAX", values, timeperiod=period)


@_told("Lowest", warmup=lambda period: period - 1, period=ANY)
def lowest(values: "Floats", period: int) -> "Floats":
    """The least of the last `period` values, this bar's included; `before(lowest(…))` leaves this bar out."""
    return _copy(values) if period == 1 else _computed("MIN", values, timeperiod=period)


@_told("Rate of change", warmup=lambda period: period, period=ANY)
def roc(values: "Floats", period: int) -> "Floats":
    """By how many per cent the value differs from the one `period` bars before; 0 where that one is 0."""
    return _computed("ROC", values, timeperiod=period)


@_told(
    "Relative strength index",
    warmup=lambda period=14: period + _forgotten(_wilder_decay(period)),
    recursive=True,
    period=SOME,
)
def rsi(values: "Floats", period: int = 14) -> "Floats":
    """Wilder's relative strength index, 0 to 100: the part of the ups in all movement, exponentially averaged.

    Where nothing has moved it is 50, neither strong nor weak (TA-Lib says 0, which would be as weak as can be). Warmup:
    `period` changes to the first averages, then k with (1 − 1 / period)^k ≤ `SEED_WEIGHT`.
    """
    found = _computed("RSI", values, timeperiod=period)
    still = found == 0.0
    if still.any():
        still &= highest(values, period + 1) == lowest(values, period + 1)
        found[still] = 50.0
    return found


@_told("Stochastic", "k d", warmup=lambda period=14, smooth=3: period + smooth - 2, period=SOME, smooth=ANY)
def stochastic(
    high: "Floats", low: "Floats", close: "Floats", period: int = 14, smooth: int = 3
) -> tuple["Floats", "Floats"]:
    """Where the close lies between the lowest low (0) and the highest high (100) of `period` bars: %K, unsmoothed, and
    %D, its simple average of `smooth`. Where there is no range it is 50."""
    import numpy as np

    top, bottom = highest(high, period), lowest(low, period)
    k = np.full(len(top), np.nan)
    known = ~np.isnan(top)
    k[known] = 50.0
    np.divide(100.0 * (np.asarray(close) - bottom), top - bottom, out=k, where=known & (top > bottom))
    return k, sma(k, smooth)


@_told("Commodity channel index", warmup=lambda period=20: period - 1, period=SOME)
def cci(high: "Floats", low: "Floats", close: "Floats", period: int = 20) -> "Floats":
    """How far the typical price is from its mean of `period`, in mean deviations of which 1 counts 66⅔."""
    return _computed("CCI", high, low, close, timeperiod=period)


def _macd_warmup(fast: int = 12, slow: int = 26, signal: int = 9) -> int:
    return slow + signal - 2 + _forgotten(_ema_decay(slow), _ema_decay(signal))


@_told("MACD", "line signal histogram", warmup=_macd_warmup, recursive=True, fast=SOME, slow=SOME, signal=ANY)
def macd(values: "Floats", fast: int = 12, slow: int = 26, signal: int = 9) -> tuple["Floats", "Floats", "Floats"]:
    """Fast less slow exponential average, the exponential average of that, and the difference of both.

    Warmup: `slow + signal - 2` bars to the first signal, then until the slow average's seed is forgotten by the signal,
    which averages what is left of it.
    """
    if fast >= slow:
        raise ValueError(f"MACD: fast ({fast}) must be less than slow ({slow}).")
    line, average, histogram = _all_computed("MACD", values, fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return line, average, histogram


@_told(
    "Bollinger bands",
    "upper middle lower",
    warmup=lambda period=20, deviations=2.0: period - 1,
    period=SOME,
    deviations=(0, 100),
)
def bollinger(values: "Floats", period: int = 20, deviations: float = 2.0) -> tuple["Floats", "Floats", "Floats"]:
    """Simple average of `period`, and so many standard deviations above and below it.

    The deviation is that of the population (ddof 0), as Bollinger has it; with ddof 1 bands are √(n / (n − 1)) wider.
    """
    middle, width = sma(values, period), deviation(values, period) * deviations
    return middle + width, middle, middle - width


@_told("True range", warmup=lambda: 1)
def true_range(high: "Floats", low: "Floats", close: "Floats") -> "Floats":
    """How far the price went since the close before, gaps included; NaN on the first bar, which has no close before."""
    return _computed("TRANGE", high, low, close)


@_told(
    "Average true range",
    warmup=lambda period=14: period + _forgotten(_wilder_decay(period)),
    recursive=True,
    period=ANY,
)
def atr(high: "Floats", low: "Floats", close: "Floats", period: int = 14) -> "Floats":
    """Wilder's average of the true range; of 20 bars it is the N of the Turtles.

    Started with the mean of the first `period` true ranges. Warmup: `period` bars to that mean, then k with
    (1 − 1 / period)^k ≤ `SEED_WEIGHT`.
    """
    return _computed("ATR", high, low, close, timeperiod=period)


@_told(
    "Average directional index",
    warmup=lambda period=14: 2 * period - 1 + _forgotten(_wilder_decay(period), _wilder_decay(period)),
    recursive=True,
    period=SOME,
)
def adx(high: "Floats", low: "Floats", close: "Floats", period: int = 14) -> "Floats":
    """Wilder's average directional index, 0 to 100: how strong a trend is, whichever way it goes.

    An average of an average: warmup is `2 · period − 1` bars to the first value, then until the first average's seed is
    forgotten by the second.
    """
    return _computed("ADX", high, low, close, timeperiod=period)


@_told("Before", warmup=lambda bars=1: bars, bars=ANY)
def before(values: "Floats", bars: int = 1) -> "Floats":
    """The values of so many bars before; NaN where there was no such bar."""
    import numpy as np

    shifted = np.full(len(values), np.nan)
    shifted[bars:] = values[:-bars]
    return shifted


@_told("Above", warmup=lambda: 0)
def above(one: "Floats", other: "Floats | float") -> "Flags":
    """Where `one` is greater by more than rounding. False where either is NaN."""
    difference, margin = _apart(one, other)
    return difference > margin


@_told("Below", warmup=lambda: 0)
def below(one: "Floats", other: "Floats | float") -> "Flags":
    """Where `one` is less by more than rounding. False where either is NaN."""
    difference, margin = _apart(one, other)
    return difference < -margin


@_told("Crosses above", warmup=lambda: 1)
def crossed_above(one: "Floats", other: "Floats | float") -> "Flags":
    """Where `one` is above `other` and was below it on the bar before. Strict on both bars: from equal to above is no
    crossing. False where either is NaN."""
    difference, margin = _apart(one, other)
    return _then(difference < -margin, difference > margin)


@_told("Rises above", warmup=lambda: 1)
def rose_above(one: "Floats", other: "Floats | float") -> "Flags":
    """Where `one` is above `other` and was below it or equal on the bar before. False where either is NaN."""
    difference, margin = _apart(one, other)
    return _then(difference <= margin, difference > margin)


@_told("Falls below", warmup=lambda: 1)
def fell_below(one: "Floats", other: "Floats | float") -> "Flags":
    """Where `one` is below `other` and was above it or equal on the bar before. False where either is NaN."""
    difference, margin = _apart(one, other)
    return _then(difference >= -margin, difference < -margin)


def _apart(one: "Floats", other: "Floats | float") -> "tuple[Floats, Floats]":
    """By how much they differ, and how much of that is rounding."""
    import numpy as np

    return np.subtract(one, other), np.abs(other) * ROUNDING


def _then(was: "Flags", now: "Flags") -> "Flags":
    """Where `was` held on the bar before and `now` does."""
    import numpy as np

    found = np.zeros(len(now), bool)
    np.logical_and(was[:-1], now[1:], out=found[1:])
    return found


def _copy(values: "Floats") -> "Floats":
    import numpy as np

    return np.array(values, np.float64)
