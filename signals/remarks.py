"""What must be said about a result, in plain words: how sure it is, and what is wrong with what it was made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from chronos.core import figures
from chronos.core.figures import counted
from signals.strategies.declaring import Kind

if TYPE_CHECKING:
    from signals.candles import Candles
    from signals.engine.terms import Decisions, Result, Terms

FEW = 30  # trades below which luck is as good an explanation as skill
ONE = 0.5  # of the profit from one trade: the rest hardly matters
LARGE = 0.1  # of a bar's volume: such an order would have moved the price
CONFIDENT = 0.95


@dataclass(frozen=True)
class Remark:
    """`level`: "warning" for what makes the result doubtful, "note" for what one should know."""

    code: str
    level: Literal["warning", "note"]
    text: str

    def plain(self) -> dict[str, str]:
        return asdict(self)


def too_short(kind: Kind, warmup: int, series: str, bars: int) -> str:
    """Why nothing can be decided on so few candles of a series, which is called "SPY 1d"."""
    return (
        f"The history is too short: {kind.label} with these parameters needs {counted(warmup, 'bar')} before its first"
        f" decision and two to trade, and {series} has only {counted(bars, 'bar')} here. Choose a longer range, another"
        " timeframe or shorter parameters, or fetch more."
    )


def of(
    kind: Kind,
    params: dict[str, Any],
    terms: Terms,
    candles: Candles,
    decisions: Decisions,
    result: Result,
    best: Result | None,
    metrics: dict[str, Any],
    lacks: str,
    in_parts: bool,
) -> list[Remark]:
    """The gravest first. `lacks`: why there is no benchmark; `in_parts`: holding was told in fractions of a lot."""
    found = [
        *_about_fills(terms, result, best, candles),
        *_about_trades(terms, decisions, result, metrics),
        *_about_data(candles, kind, params),
    ]
    if lacks:
        found.append(Remark("benchmark", "warning", lacks))
    if in_parts:
        text = f"The cash does not buy one lot of {candles.symbol} at the start: holding it is told of a fraction."
        found.append(Remark("hold", "note", text))
    return sorted(found, key=lambda remark: remark.level != "warning")


def _signed(fraction: float) -> str:
    return f"{figures.percent(fraction, 1)} %"


def _about_fills(terms: Terms, result: Result, best: Result | None, candles: Candles) -> list[Remark]:
    found = []
    if best is not None:
        shown, other = result.equity[-1] / terms.cash - 1, best.equity[-1] / terms.cash - 1
        low, high = sorted((shown, other))
        worse = (
            "The worse is shown" if shown <= other else "The worse order of each led to the better end, which is shown"
        )
        verb = "was" if result.ambiguous == 1 else "were"
        found.append(
            Remark(
                "ambiguous",
                "warning",
                f"{result.ambiguous} of {counted(len(result.trades), 'exit')} {verb} ambiguous inside the candle: the"
                f" result lies between {_signed(low)} and {_signed(high)}. {worse}; finer candles would tell.",
            )
        )
    if result.resolved:
        found.append(
            Remark("resolved", "note", f"Finer candles decided what came first in {counted(result.resolved, 'exit')}.")
        )
    if result.ruined:
        found.append(
            Remark("ruined", "warning", "The account was ruined: its equity fell to nothing and all was closed.")
        )
    if terms.costs.fee_rate == terms.costs.fee_minimum == terms.costs.slippage_bps == 0:
        found.append(Remark("free", "warning", "No fees and no slippage are counted: trading costs something."))
    if (share := _largest_entry(result, candles)) > LARGE:
        found.append(
            Remark(
                "volume", "warning",
                f"The largest entry is {share * 100:.0f} % of its candle’s volume: it would have moved the price.",
            )
        )  # fmt: skip
    if any((trades.direction < 0).any() for trades in (result.trades, result.open)):
        found.append(Remark("borrowing", "note", "Borrowing shares for short positions is counted as free."))
    return found


def _largest_entry(result: Result, candles: Candles) -> float:
    """The largest part of a candle's volume that an entry was, all parts of its position together and in the shares of
    its day; 0 where volumes are not known."""
    import numpy as np

    every = (result.trades, result.open)
    position, quantity, entered, left = (
        np.concatenate([getattr(trades, name) for trades in every])
        for name in ("position", "quantity", "entry_bar", "exit_bar")
    )
    if not len(position):
        return 0.0
    splits = candles.market.splits
    if splits is not None:
        shares = np.cumprod(splits[0])
        quantity = quantity * shares[entered] / shares[left]  # what is open is told in the shares of the last bar, -1
    whole = np.bincount(position, weights=quantity)
    volume = np.zeros(len(whole))
    volume[position] = candles.volume[entered]
    known = volume > 0
    return float(np.max(whole[known] / volume[known])) if known.any() else 0.0


def _about_trades(terms: Terms, decisions: Decisions, result: Result, metrics: dict[str, Any]) -> list[Remark]:
    trades, found = result.trades, []
    if not len(trades) and not len(result.open):
        found.append(Remark("no_trades", "warning", _why_none(terms, decisions)))
    elif len(trades) < FEW:
        many = "Only" if len(trades) else "No trade was closed,"
        text = f"{many} {counted(len(trades), 'trade')}" if len(trades) else "No trade was closed"
        found.append(
            Remark(
                "few_trades", "warning", f"{text}: too few to tell skill from luck, for which {FEW} are a usual least."
            )
        )
    total = float(trades.profit.sum()) if len(trades) else 0.0
    if len(trades) > 1 and total > 0 and (share := float(trades.profit.max()) / total) >= ONE:
        where = (
            f"{share * 100:.0f} % of the profit comes from one trade"
            if share <= 1
            else "Without its best trade it lost"
        )
        found.append(Remark("one_trade", "warning", f"{where}: take it away and another result is left."))
    if len(result.open):
        profit = float(result.open.profit.sum())
        found.append(
            Remark(
                "open", "note",
                f"A position is still open at the end, at {_signed(profit / terms.cash)} of the cash at the start; it"
                " counts in equity and in no figure about trades.",
            )
        )  # fmt: skip
    psr = metrics.get("psr")
    if psr is not None and psr < CONFIDENT and len(trades):
        found.append(
            Remark(
                "uncertain", "note",
                f"The probability that the true Sharpe ratio is above 0 is {psr * 100:.0f} %, which is less than the"
                " usual 95 %.",
            )
        )  # fmt: skip
    return found


def _why_none(terms: Terms, decisions: Decisions) -> str:
    import numpy as np

    allowed = {"long": (1,), "short": (-1,), "both": (1, -1)}[terms.direction]
    wanted = int(np.isin(decisions.entries[:, :-1], allowed).sum())
    if not wanted:
        return "No trades: the rule never said to enter. Choose a longer range or other parameters."
    lot = " or fractional quantities" if terms.lot else ""
    return (
        f"No trades: {counted(wanted, 'entry', 'entries')} wanted, and the size allowed none of them. Choose more cash,"
        f" a larger size{lot}."
    )


def _about_data(candles: Candles, kind: Kind, params: dict[str, Any]) -> list[Remark]:
    faults, found = candles.faults, []
    where = f"of {candles.symbol} {candles.timeframe.value}"
    if missing := faults.get("missing"):
        found.append(
            Remark("missing", "warning", f"{counted(missing, 'candle')} {where} {_is(missing)} missing in this range.")
        )
    if held := faults.get("held"):
        found.append(
            Remark("held", "warning", f"{counted(held, 'candle')} {where} {_is(held)} in quarantine and not used here.")
        )
    if left_out := faults.get("left_out"):
        found.append(
            Remark(
                "left_out",
                "warning",
                f"{counted(left_out, 'row')} of the file {_is(left_out)} no usable candle and left out.",
            )
        )
    if faults.get("sample"):
        found.append(
            Remark("sample", "note", "These are the bundled sample prices: history that ended, not for decisions.")
        )
    if faults.get("dividends"):
        found.append(
            Remark("dividends", "note", f"No dividends of {candles.symbol} are known here, so none are counted.")
        )
    if foreign := faults.get("foreign"):
        found.append(
            Remark(
                "foreign", "warning",
                f"{counted(foreign, 'dividend')} of {candles.symbol} {_is(foreign)} told in another currency than its"
                " prices and not counted.",
            )
        )  # fmt: skip
    if (warmup := kind.warmup(params)) > candles.begin:
        late = counted(warmup - candles.begin, "bar")
        found.append(Remark("warmup", "note", f"The first {late} have no decisions: the indicators need them."))
    return found


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
