"""A backtest in words: what was asked for, and what came of it."""

from datetime import datetime, timedelta
from typing import Any

from chronos.core import figures
from chronos.core.figures import counted
from marketdata.models import Timeframe
from signals.models import Backtest

REASONS = {
    "signal": "Signal",
    "reversal": "Reversal",
    "stop_loss": "Stop-loss",
    "trailing_stop": "Trailing stop",
    "take_profit_1": "First target",
    "take_profit_2": "Second target",
    "max_bars": "Time stop",
    "end": "End of the run",
    "ruin": "Ruin",
}
DIRECTIONS = {"long": "Long only", "short": "Short only", "both": "Long and short"}
LENGTHS = {"1d": "Daily", "1w": "Weekly", "1mo": "Monthly"}
ALIKE = 0.001  # a tenth of a per cent: what differs by less is said to be the same


def reason(word: str) -> str:
    """Why a trade was left."""
    return REASONS.get(word, word.replace("_", " ").capitalize())


def moment(backtest: Backtest, at: Any) -> str:
    """The open of a bar: a date where a bar is a day or more."""
    return figures.day(at) if Timeframe(backtest.timeframe).is_daily else figures.moment(at)


def ran_on(backtest: Backtest) -> str:
    """ "Daily candles from 4 Jan 2010 to 31 Dec 2019": those it ran on, or was asked to."""
    since, until = backtest.first_open or backtest.start, backtest.last_open or last_wanted(backtest)
    words = f"{LENGTHS.get(backtest.timeframe) or Timeframe(backtest.timeframe).label.replace(' ', '-')} candles"
    words += f" from {figures.day(since)}" if since else ""
    words += f" to {figures.day(until)}" if until else ""
    return words if since or until else f"All {words[0].lower()}{words[1:]}"


def last_wanted(backtest: Backtest) -> datetime | None:
    """The last moment that was asked for: `end` is the first that was not."""
    return backtest.end - timedelta(microseconds=1) if backtest.end else None


def verdict(had: dict[str, Any], symbol: str) -> list[str]:
    """What came of it, by its figures, in two or three sentences: beside holding the asset."""
    whose = f"holding {symbol}"
    if not had.get("trade_count") and not had.get("time_in_market"):
        beside = had.get("hold_return")
        first = f"It never traded: the {figures.money(had.get('final_equity'))} are the cash it began with."
        return [first, f"{whose[0].upper()}{whose[1:]} would have {_moved(beside)}."] if beside else [first]
    years = had.get("years") or 0.0
    own, held = had.get("total_return"), had.get("hold_return")
    a_year = ""
    if years >= 1:
        own, held, a_year = had.get("cagr"), yearly(held, years), " a year"
    first = f"It {_moved(own)}{a_year} over {_length(years)}"
    if own is not None and held is not None:
        alike = abs(own - held) < ALIKE
        first += f", as {whose} would have" if alike else f", while {whose} would have {_moved(held)}"
    return [f"{first}.", _fell(had, whose), _traded(had)]


def yearly(whole: float | None, years: float) -> float | None:
    """The steady yearly rate that leads to a return."""
    if whole is None or years <= 0:
        return None
    return (1 + whole) ** (1 / years) - 1 if whole > -1 else -1.0


def _moved(change: float | None) -> str:
    if change is None:
        return "came to no figure that could be stated"
    if not round(change, 3):
        return "gained nothing"
    return f"{'gained' if change > 0 else 'lost'} {_size(change)}"


def _size(change: float) -> str:
    return f"{figures.percent(abs(change), 1).lstrip('+')} %"


def _length(years: float) -> str:
    if years >= 0.95:
        told = f"{years:.{0 if years >= 9.5 else 1}f}".removesuffix(".0")
        return "a year" if told == "1" else f"{told} years"
    return counted(round(years * 12), "month") if years >= 2 / 12 else counted(max(1, round(years * 365)), "day")


def _fell(had: dict[str, Any], whose: str) -> str:
    own, held = had.get("max_drawdown"), had.get("hold_max_drawdown")
    if not own:
        return "It never fell below a high of its own."
    said = f"At worst it stood {_size(own)} below its high"
    if held is None:
        return f"{said}."
    if abs(own - held) < ALIKE:
        return f"{said}, as did {whose}."
    return f"{said}, {whose} {_size(held)}."


def _traded(had: dict[str, Any]) -> str:
    count, share = had.get("trade_count") or 0, had.get("time_in_market") or 0.0
    inside = f"in the market {share * 100:.0f} % of the time"
    if not count:
        return f"No trade is closed; it was {inside}."
    won = had.get("win_rate")
    said = f"{counted(count, 'trade')}, {won * 100:.0f} % of them won" if won is not None else counted(count, "trade")
    return f"{said}; {inside}."


# --- What it was asked for ---------------------------------------------------------------------------------------


def terms(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Cash, costs, size and exits as names and values; exits that were not asked for are left out."""
    costs, sizing, exits = (given.get(part) or {} for part in ("costs", "sizing", "exits"))
    return [
        ("Cash", figures.money(given.get("cash", 10_000))),
        ("Direction", DIRECTIONS.get(given.get("direction", "long"), str(given.get("direction")))),
        ("Size", _sizing(sizing)),
        ("Lots", _lots(given.get("lot", 1.0))),
        ("Fees", _fees(costs)),
        ("Slippage", f"{_plain(costs.get('slippage_bps'))} bps" if costs.get("slippage_bps") else "none"),
        *_exits(exits),
        ("At the end", "closed" if given.get("close_at_end") else "left open"),
    ]


def _plain(value: float | None) -> str:
    return figures.NOTHING if value is None else f"{value:.10g}"


def _share(fraction: float) -> str:
    return f"{fraction * 100:.6g} %"


def _sizing(sizing: dict[str, Any]) -> str:
    value = sizing.get("value", 1.0)
    kind = sizing.get("kind", "fraction")
    if kind == "amount":
        return f"{figures.money(value)} a position"
    return f"{_share(value)} of equity{' at risk' if kind == 'risk' else ''}"


def _lots(lot: float) -> str:
    return "any fraction" if not lot else "whole" if lot == 1 else f"of {_plain(lot)}"


def _fees(costs: dict[str, Any]) -> str:
    rate, least = costs.get("fee_rate") or 0.0, costs.get("fee_minimum") or 0.0
    if not rate and not least:
        return "none"
    told = f"{_share(rate)} of each side" if rate else "nothing by size"
    return f"{told}, at least {figures.money(least)} an order" if least else told


def _exits(exits: dict[str, Any]) -> list[tuple[str, str]]:
    names = {"stop_loss": "Stop-loss", "take_profit_1": "First target", "take_profit_1_share": "It closes",
             "take_profit_2": "Second target", "trailing_stop": "Trailing stop"}  # fmt: skip
    told = [(label, _share(exits[name])) for name, label in names.items() if exits.get(name) is not None]
    if exits.get("max_bars"):
        told.append(("Time stop", counted(exits["max_bars"], "bar")))
    return told or [("Protective exits", "none")]
