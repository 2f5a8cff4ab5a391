"""How sure a Sharpe ratio is: the probabilistic and the deflated one, and the track record that it takes.

All Sharpe ratios here are of one bar, not annualised, and so is the variance of those of several trials; `kurtosis` is
that of the returns, 3 for normal ones. None where there is no answer.

Sources: D. H. Bailey and M. López de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15 (2), 2012 (the
probabilistic ratio, the track record); the same, "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest
Overfitting and Non-Normality", Journal of Portfolio Management 40 (5), 2014. Both take returns to be independent of
each other: returns that follow their predecessors make an edge look surer than it is.
"""

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_EULER = 0.5772156649015329  # Euler–Mascheroni
_FOR_EVER = 1e15


def probabilistic_sharpe_ratio(
    sharpe: float, bars: int, skewness: float = 0.0, kurtosis: float = 3.0, *, than: float = 0.0
) -> float | None:
    """The probability that the true Sharpe ratio is more `than` this, given the one observed over `bars` returns."""
    spread = _spread(sharpe, skewness, kurtosis)
    if bars < 2 or spread is None:
        return None
    return _NORMAL.cdf((sharpe - than) * math.sqrt(bars - 1) / math.sqrt(spread))


def minimum_track_record_length(
    sharpe: float, skewness: float = 0.0, kurtosis: float = 3.0, *, than: float = 0.0, confidence: float = 0.95
) -> float | None:
    """How many returns with this Sharpe ratio it takes to be so sure that the true one is more `than` this.

    None if it is not even more, or so little that nobody has as many.
    """
    spread = _spread(sharpe, skewness, kurtosis)
    if spread is None or not sharpe > than:
        return None
    length = 1 + spread * math.pow(min(_NORMAL.inv_cdf(confidence) / (sharpe - than), 1e100), 2)
    return length if length < _FOR_EVER else None


def expected_maximum_sharpe(trials: int, variance: float = 1.0) -> float:
    """The best Sharpe ratio to be expected of so many trials without any edge, `variance` being that between theirs.

    Trials that resemble each other count as fewer; to take them for independent is to be too strict.
    """
    if trials < 2:
        return 0.0
    one, other = -_NORMAL.inv_cdf(1 / trials), -_NORMAL.inv_cdf(1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * one + _EULER * other)


def deflated_sharpe_ratio(
    sharpe: float, bars: int, trials: int, variance: float, skewness: float = 0.0, kurtosis: float = 3.0
) -> float | None:
    """The probability that the true Sharpe ratio is more than luck gives to the best of so many trials.

    `sharpe` is that of the best trial, `variance` that of the Sharpe ratios of all.
    """
    luck = expected_maximum_sharpe(trials, variance)
    return probabilistic_sharpe_ratio(sharpe, bars, skewness, kurtosis, than=luck)


def _spread(sharpe: float, skewness: float, kurtosis: float) -> float | None:
    """The variance of an estimated Sharpe ratio, times the bars less one. Returns of only two values can have none."""
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe
    return spread if math.isfinite(spread) and spread > 1e-12 else None
