"""The figures of a result: their order and groups on a page, how they are written, and the line that explains each.

Importing this is cheap: the web process formats by it. `signals.metrics` computes what is named here.
"""

from dataclasses import dataclass
from typing import Literal

# How a figure is written. `change` and `share` are fractions that are shown as percent, the first with its sign;
# `currency` is signed if it is a result; `days` may be a fraction of one.
Kind = Literal["change", "share", "ratio", "currency", "count", "bars", "days", "years"]
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """One figure. `better`: which way is; None where neither is. `explanation`: what it is, and its trap."""

    name: str
    label: str
    kind: Kind
    better: Better | None
    explanation: str


@dataclass(frozen=True)
class Group:
    name: str
    label: str
    measures: tuple[Measure, ...]


def _beside(name: str, ours: str, what: str, possessive: str) -> tuple[Measure, ...]:
    """The same six of whatever the run is held against: three of its own, three of the run beside it."""
    return (
        Measure(f"{name}_return", "Its return", "change", None,
                f"What {what} gained over the same bars; a run that earned less was not worth its trouble."),
        Measure(f"{name}_max_drawdown", "Its max drawdown", "change", None,
                f"How far {what} fell at worst: less return with a far smaller fall can be the better deal."),
        Measure(f"{name}_sharpe_ratio", "Its Sharpe ratio", "ratio", None,
                f"{possessive} Sharpe ratio over the same bars, to compare with the run's."),
        Measure(f"{ours}alpha", "Alpha", "change", "higher",
                f"Yearly return that moving along with {what} does not explain; by chance alone it is never quite 0."),
        Measure(f"{ours}beta", "Beta", "ratio", None,
                f"How much the run moves when {what} moves by 1: being out of the market half the time lowers it too."),
        Measure(f"{ours}information_ratio", "Information ratio", "ratio", "higher",
                f"Mean gain over {what} by how much that varies, annualised; of few bars it is luck."),
    )  # fmt: skip


GROUPS = (
    Group("return", "Return", (
        Measure("total_return", "Total return", "change", "higher",
                "From the starting cash to the last close, costs included; what is still open has yet to be left."),
        Measure("cagr", "CAGR", "change", "higher",
                "The steady yearly growth that leads to the same end; of less than a year it is a wild extrapolation."),
        Measure("final_equity", "Final equity", "currency", "higher",
                "Cash and positions at the last close; closing what is still open would cost its fees."),
        Measure("peak_equity", "Peak equity", "currency", None,
                "The highest close; nobody knew at the time that it was."),
        Measure("bars", "Bars", "bars", None,
                "Candles from the start of the run to its end; warmup that lies before the start does not count."),
        Measure("years", "Years", "years", None,
                "The bars, by how many a year of the asset's calendar has."),
    )),
    Group("risk", "Risk", (
        Measure("max_drawdown", "Max drawdown", "change", "higher",
                "The deepest fall from a high, of closes: inside a bar it was deeper, and the next one may be worse."),
        Measure("max_drawdown_bars", "Its length", "bars", "lower",
                "Bars from the high before the deepest fall until it was reached again, or the end if it never was."),
        Measure("max_drawdown_days", "Its length in days", "days", "lower",
                "The same in days, closed ones included."),
        Measure("longest_drawdown_bars", "Longest drawdown", "bars", "lower",
                "The longest wait for a new high, in bars; often not that of the deepest fall."),
        Measure("longest_drawdown_days", "Longest drawdown in days", "days", "lower",
                "The same in days, closed ones included."),
        Measure("volatility", "Volatility", "share", "lower",
                "How much returns vary, annualised; gains count as losses do, and time out of the market as calm."),
        Measure("value_at_risk", "Value at risk, 95 %", "change", "higher",
                "The return that 1 of 20 bars falls below; it says nothing of how far below."),
        Measure("conditional_value_at_risk", "Expected shortfall, 95 %", "change", "higher",
                "The mean return of the worst 1 of 20 bars; with few bars it rests on a handful."),
        Measure("skewness", "Skewness", "ratio", "higher",
                "Below 0 the rare large returns are losses: many small gains before a large loss look like skill."),
        Measure("kurtosis", "Kurtosis", "ratio", "lower",
                "How heavy the tails are, 3 for normal returns; time out of the market raises it."),
    )),
    Group("ratios", "Ratios", (
        Measure("sharpe_ratio", "Sharpe ratio", "ratio", "higher",
                "Mean return by volatility, annualised, over a risk-free rate of 0; of few bars it is luck."),
        Measure("sortino_ratio", "Sortino ratio", "ratio", "higher",
                "As Sharpe, but only losses count as risk; a run that has seen no bad time yet looks splendid."),
        Measure("calmar_ratio", "Calmar ratio", "ratio", "higher",
                "CAGR by max drawdown: it rests on a single fall, and a longer run has a deeper one."),
        Measure("omega_ratio", "Omega ratio", "ratio", "higher",
                "All bars' gains by all their losses; 1 is none the richer, and it is close to 1 for fine bars."),
        Measure("tail_ratio", "Tail ratio", "ratio", "higher",
                "The gain of the best 1 of 20 bars by the loss of the worst; undefined if 1 of 20 bars or fewer lost."),
    )),
    Group("hold", "Against holding", _beside("hold", "hold_", "holding the asset", "Holding's")),
    Group("benchmark", "Against the benchmark", _beside("benchmark", "", "the benchmark", "The benchmark's")),
    Group("certainty", "Certainty", (
        Measure("psr", "Probability of an edge", "share", "higher",
                "That the true Sharpe ratio is above 0, if you tried nothing else: each further try makes it less."),
        Measure("min_track_record_length", "Minimum track record", "bars", "lower",
                "Bars it takes to be 95 % sure of an edge; with fewer, wait. Undefined with a Sharpe ratio below 0."),
    )),
    Group("trades", "Trades", (
        Measure("trade_count", "Closed trades", "count", None,
                "A position that is left in parts makes several; below 30 the figures here are anecdotes."),
        Measure("position_count", "Positions", "count", None,
                "Entries whose trades are closed, in part or in full."),
        Measure("win_rate", "Win rate", "share", "higher",
                "Closed trades that gained, costs included; many small wins can pay for one ruinous loss."),
        Measure("profit_factor", "Profit factor", "ratio", "higher",
                "Gross profit by gross loss in currency, so larger trades weigh more; undefined without a loss."),
        Measure("expectancy", "Expectancy", "currency", "higher",
                "The mean profit of a closed trade in currency; it grows with the equity that is put at stake."),
        Measure("expectancy_ratio", "Expectancy ratio", "ratio", "higher",
                "Expectancy by the average loss: earned for each unit usually lost; undefined without a loss."),
        Measure("average_r", "Average R", "ratio", "higher",
                "The mean profit by what the stop-loss put at risk; only of trades with a stop, which gaps can jump."),
        Measure("average_win", "Average win", "currency", "higher",
                "The mean profit of the trades that gained."),
        Measure("average_loss", "Average loss", "currency", "higher",
                "The mean loss of the trades that lost; without stops the largest is still to come."),
        Measure("best_trade", "Best trade", "currency", "higher",
                "The largest profit; a run that would not stand without it has proved little."),
        Measure("worst_trade", "Worst trade", "currency", "higher",
                "The largest loss, or the smallest profit if none lost."),
        Measure("best_position_share", "Share of the best", "share", "lower",
                "What the best position earned of all profits, before losses; near 100 % all rests on one."),
        Measure("average_mae", "Average MAE", "change", "higher",
                "How far trades went against their entry at worst, on average; the order inside a bar is not known."),
        Measure("average_mfe", "Average MFE", "change", "higher",
                "How far trades went in favour at best, on average; nobody sells at the top of each."),
        Measure("average_holding_bars", "Average holding", "bars", None,
                "Bars from entry to exit; 0 for one that is left in the bar of its entry."),
        Measure("average_holding_days", "Average holding in days", "days", None,
                "The same in days, nights and weekends included."),
        Measure("longest_win_streak", "Longest winning streak", "count", "higher",
                "Trades that gained one after the other, in the order of their exits; luck alone makes such runs too."),
        Measure("longest_loss_streak", "Longest losing streak", "count", "lower",
                "Trades that lost one after the other: a longer one will come, and must be borne."),
    )),
    Group("costs", "Costs and exposure", (
        Measure("fees_paid", "Fees paid", "currency", "lower",
                "All fees, those of what is still open included; slippage is in the prices and not in here."),
        Measure("dividends", "Dividends", "currency", "higher",
                "Received by long positions less paid by short ones, before any tax."),
        Measure("time_in_market", "Time in the market", "share", None,
                "Share of bars at whose close a position was held, what is still open included."),
        Measure("exposure_time", "Exposure of closed trades", "share", None,
                "The same of closed trades alone, as other engines count it: holding to the end is 0 here."),
        Measure("gross_exposure", "Gross exposure", "share", None,
                "What the positions were worth by equity, mean of all bars; short ones count as much as long ones."),
    )),
)  # fmt: skip

MEASURES = {measure.name: measure for group in GROUPS for measure in group.measures}
