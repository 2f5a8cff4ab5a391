"""The kinds of strategies that come with Chronos."""

from signals.strategies.declaring import Bars, Kind, Parameter, Params, Rule


def _sma_cross(bars: Bars, p: Params) -> Rule:
    from signals import indicators

    fast, slow = indicators.sma(bars.close, p["fast"]), indicators.sma(bars.close, p["slow"])
    up, down = indicators.crossed_above(fast, slow), indicators.crossed_above(slow, fast)
    return Rule(enter_long=up, exit_long=down, enter_short=down, exit_short=up)


def _fast_below_slow(p: Params) -> dict[str, str]:
    if p["fast"] < p["slow"]:
        return {}
    return {"fast": f"The fast average ({p['fast']} bars) must be shorter than the slow one ({p['slow']}): lower it."}


SMA_CROSS = Kind(
    name="sma-cross",
    label="SMA cross",
    summary="Follows the trend: in while a fast average of closes is above a slow one.",
    parameters=(
        Parameter("fast", "Fast average", int, 10, 1, 500, 1, "bars", "Closes that the quick average is made of."),
        Parameter("slow", "Slow average", int, 30, 2, 1000, 1, "bars", "Closes that the slow average is made of."),
    ),
    warmup=lambda p: int(p["slow"]),
    decide=_sma_cross,
    check=_fast_below_slow,
)

KINDS: tuple[Kind, ...] = (SMA_CROSS,)
