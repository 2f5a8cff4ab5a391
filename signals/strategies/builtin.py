"""The kinds of strategies that come with Chronos. Each rule is arrays of what it looks back at, compared."""

from signals import indicators
from signals.strategies.declaring import Bars, Kind, Parameter, Params, Rule


def _sma_cross(bars: Bars, p: Params) -> Rule:
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
    explanation=(
        "Buys when the fast average rises through the slow one and leaves when it falls back through it; sold short, "
        "it is the other way round. It earns in long trends and loses a little, often, where prices only swing. "
        "Shorter averages are quicker and trade more."
    ),
    parameters=(
        Parameter("fast", "Fast average", int, 10, 1, 500, 1, "bars", "Closes that the quick average is made of."),
        Parameter("slow", "Slow average", int, 30, 2, 1000, 1, "bars", "Closes that the slow average is made of."),
    ),
    warmup=lambda p: indicators.warmup("sma", p["slow"]) + 1,
    decide=_sma_cross,
    check=_fast_below_slow,
)


def _rsi_reversion(bars: Bars, p: Params) -> Rule:
    rsi = indicators.rsi(bars.close, p["period"])
    return Rule(
        enter_long=indicators.fell_below(rsi, p["oversold"]),
        exit_long=rsi >= p["middle"],
        enter_short=indicators.rose_above(rsi, p["overbought"]),
        exit_short=rsi <= p["middle"],
    )


def _levels_in_order(p: Params) -> dict[str, str]:
    problems = {}
    if p["oversold"] >= p["middle"]:
        problems["oversold"] = (
            f"Oversold ({p['oversold']:g}) must lie below the exit level ({p['middle']:g}): lower it."
        )
    if p["overbought"] <= p["middle"]:
        problems["overbought"] = (
            f"Overbought ({p['overbought']:g}) must lie above the exit level ({p['middle']:g}): raise it."
        )
    return problems


RSI_REVERSION = Kind(
    name="rsi-reversion",
    label="RSI reversion",
    summary="Bets on a return to normal: buys after falls that went far, sells short after rises that went far.",
    explanation=(
        "Buys when the relative strength index falls below the oversold level and leaves when it is back at the exit "
        "level; sold short, it is the other way round from the overbought level. It wins often and little where prices "
        "swing, and loses much at once when a fall goes on: think of a stop-loss."
    ),
    parameters=(
        Parameter("period", "RSI", int, 14, 2, 200, 1, "bars", "Bars that the relative strength index looks at."),
        Parameter("oversold", "Oversold", float, 30.0, 1, 99, 1, "", "Buys when the index falls below this level."),
        Parameter("overbought", "Overbought", float, 70.0, 1, 99, 1, "", "Sells short when it rises above this level."),
        Parameter("middle", "Exit level", float, 50.0, 1, 99, 1, "", "Leaves when the index is back at this level."),
    ),
    warmup=lambda p: indicators.warmup("rsi", p["period"]) + 1,
    decide=_rsi_reversion,
    check=_levels_in_order,
)


def _bollinger_breakout(bars: Bars, p: Params) -> Rule:
    upper, middle, lower = indicators.bollinger(bars.close, p["period"], p["deviations"])
    return Rule(
        enter_long=indicators.rose_above(bars.close, upper),
        exit_long=indicators.below(bars.close, middle),
        enter_short=indicators.fell_below(bars.close, lower),
        exit_short=indicators.above(bars.close, middle),
    )


BOLLINGER_BREAKOUT = Kind(
    name="bollinger-breakout",
    label="Bollinger breakout",
    summary="Goes with an unusual move: in when the close leaves the Bollinger bands, out at their middle.",
    explanation=(
        "Buys when the close rises above the upper band, which is the average plus some standard deviations, and "
        "leaves when it closes below the average; sold short, it is the other way round from the lower band. The bands "
        "widen when prices are restless, so what counts as unusual follows the market."
    ),
    parameters=(
        Parameter("period", "Average", int, 20, 2, 500, 1, "bars", "Closes that average and deviation are made of."),
        Parameter(
            "deviations", "Width", float, 2.0, 0.1, 6, 0.1, "deviations", "Standard deviations from average to band."
        ),
    ),
    warmup=lambda p: indicators.warmup("bollinger", p["period"], p["deviations"]) + 1,
    decide=_bollinger_breakout,
)


def _donchian(bars: Bars, p: Params) -> Rule:
    close = bars.close
    stop_long = stop_short = None
    if p["stop"]:
        distance = p["stop"] * indicators.atr(bars.high, bars.low, close, p["atr"])
        stop_long, stop_short = close - distance, close + distance
    return Rule(
        enter_long=close > indicators.before(indicators.highest(bars.high, p["entry"])),
        exit_long=close < indicators.before(indicators.lowest(bars.low, p["exit"])),
        enter_short=close < indicators.before(indicators.lowest(bars.low, p["entry"])),
        exit_short=close > indicators.before(indicators.highest(bars.high, p["exit"])),
        stop_long=stop_long,
        stop_short=stop_short,
    )


def _donchian_warmup(p: Params) -> int:
    channel: int = max(p["entry"], p["exit"])
    return max(channel, indicators.warmup("atr", p["atr"]) if p["stop"] else 0)


DONCHIAN = Kind(
    name="donchian",
    label="Donchian channel (turtle)",
    summary="Follows the trend: in when the close leaves the range of the last weeks, out at a nearer range.",
    explanation=(
        "Buys when the close is above every high of the bars before, and leaves when it is below every low of a "
        "shorter time; sold short, it is the other way round. The rules of the Turtles: 20 and 10 bars, or 55 and 20, "
        "with a stop two average true ranges (N) from the close. They bought within the day and skipped some "
        "breakouts; this decides on closes and takes each."
    ),
    parameters=(
        Parameter(
            "entry", "Entry channel", int, 20, 2, 500, 1, "bars", "The Turtles' first system has 20, their second 55."
        ),
        Parameter(
            "exit", "Exit channel", int, 10, 1, 500, 1, "bars", "The Turtles' first system has 10, their second 20."
        ),
        Parameter("stop", "Stop distance", float, 2.0, 0, 20, 0.5, "N", "Average true ranges to the stop; 0 for none."),
        Parameter("atr", "N", int, 20, 1, 200, 1, "bars", "Bars that the average true range is made of."),
    ),
    warmup=_donchian_warmup,
    decide=_donchian,
)


def _buy_and_hold(bars: Bars, _: Params) -> Rule:
    import numpy as np

    first = np.zeros(len(bars), bool)
    first[:1] = True
    return Rule(enter_long=first)


BUY_AND_HOLD = Kind(
    name="buy-and-hold",
    label="Buy and hold",
    summary="Buys on the first bar and stays in: what the others are measured against.",
    explanation=(
        "Buys once, on the first bar, and keeps what it has to the end. It never sells short. If a stop, a target or a "
        "time limit of the backtest closes the position, it does not buy again."
    ),
    parameters=(),
    warmup=lambda p: 0,
    decide=_buy_and_hold,
    sells_short=False,
    anchored=True,
)

KINDS: tuple[Kind, ...] = (SMA_CROSS, RSI_REVERSION, BOLLINGER_BREAKOUT, DONCHIAN, BUY_AND_HOLD)
