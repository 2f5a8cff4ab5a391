"""What a simulation is given and what it gives back. Plain arrays and numbers: no Django, no numba.

Shapes: A assets, T bars, aligned. Prices and volumes are float64, C-contiguous; NaN in `open` where an asset has no
bar. Bars are numbered from 0. Importing this is cheap: the web process makes forms of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Whole = NDArray[np.int64]
    Small = NDArray[np.int8]

Direction = Literal["long", "short", "both"]
SizingKind = Literal["fraction", "amount", "risk"]


class Impossible(ValueError):
    """Terms or arrays that no run can be made of; the text names which, and the remedy."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class ExitReason(IntEnum):
    """Why a trade ended. The number stands in arrays, the name (lower case) everywhere else."""

    SIGNAL = 1
    REVERSAL = 2
    STOP_LOSS = 3
    TRAILING_STOP = 4
    TAKE_PROFIT_1 = 5
    TAKE_PROFIT_2 = 6
    MAX_BARS = 7
    END = 8
    RUIN = 9

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Costs:
    """What each side (entry and exit) of a trade costs.

    `fee_rate`: fraction of the notional. `fee_minimum`: in currency, for each order. `slippage_bps`: basis points by
    which market orders (entries, signal and time exits, stops) fill worse than the price; targets are limit orders and
    fill at their price.
    """

    fee_rate: float = 0.0
    fee_minimum: float = 0.0
    slippage_bps: float = 0.0


@dataclass(frozen=True)
class Sizing:
    """How much is bought. `fraction` of equity at the open of the fill, costs included; a fixed `amount` of currency,
    costs included; or so much that the stop-loss costs the fraction `risk` of equity. Never more than the account can
    pay: gross exposure is at most equity.
    """

    kind: SizingKind = "fraction"
    value: float = 1.0


@dataclass(frozen=True)
class Exits:
    """Protective exits, as fractions of the entry price (0.05 is 5 %); None for none.

    `take_profit_1` closes `take_profit_1_share` of the position (None: half if there is a second target, else all),
    `take_profit_2` the rest. `trailing_stop` follows the best price of completed bars, from the bar after. `max_bars`:
    after so many bars the position is closed at the next open.
    """

    stop_loss: float | None = None
    take_profit_1: float | None = None
    take_profit_2: float | None = None
    take_profit_1_share: float | None = None
    trailing_stop: float | None = None
    max_bars: int | None = None


@dataclass(frozen=True)
class Terms:
    """Everything of a run that is neither market nor strategy. `lot`: the smallest quantity; 0 for any fraction.
    `close_at_end`: what is held is sold at the open of its asset's last bar, and nothing is entered there.
    """

    cash: float = 10_000.0
    costs: Costs = Costs()
    sizing: Sizing = Sizing()
    exits: Exits = Exits()
    lot: float = 1.0
    direction: Direction = "long"
    close_at_end: bool = False


@dataclass(frozen=True)
class Fine:
    """Finer candles, by which a bar that touches stop and target is decided. Of all assets one behind the other:
    `open` … `close` (N,); `first` and `after` (A, T): the places of those within each bar, equal where there are none.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    first: Whole
    after: Whole


@dataclass(frozen=True)
class Market:
    """Prices (A, T) at which orders fill. `splits` (A, T): by what a held quantity is multiplied before the open (1 for
    none). `dividends` (A, T): currency per share, of the shares after that bar's split, paid to who holds over into the
    bar. None if there are none.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    splits: Floats | None = None
    dividends: Floats | None = None
    fine: Fine | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.open.shape[0], self.open.shape[1]


@dataclass(frozen=True)
class Decisions:
    """What a strategy decides on the completed bar; it is done at the asset's next open.

    `entries` (A, T) int8: 1 to enter long, -1 short, 0 nothing. `exits` (A, T) int8: 1 leaves a long, 2 a short, 3
    either. An entry against an open position closes it first, if its direction is allowed; one in its direction does
    nothing, not even where the bar also leaves it. `stops` (A, T) float64 or
    None: with an entry, the absolute price of its stop-loss (NaN for none); it overrides `Exits.stop_loss`.
    """

    entries: Small
    exits: Small
    stops: Floats | None = None


@dataclass(frozen=True)
class Trades:
    """Closed parts of positions, in the order of their exits; each array (N,).

    A position that is left in parts makes several trades of one `position` number (from 0, in order of entry).
    `quantity` is positive, prices are fills with slippage, both in shares of the exit's day. `fees` are its part of the
    entry's and all of the exit's; `dividends` received less paid; `profit` = direction · quantity · (exit − entry) −
    fees + dividends. `mae`, `mfe`: worst and best price while held, as fraction of the entry price, ≤ 0 and ≥ 0; of the
    exit's bar only the fill counts. `risk`: currency between entry and its first stop for this quantity, NaN without.
    `ambiguous`: the order of events inside a bar was not known and decided it.
    """

    asset: Whole
    position: Whole
    direction: Whole
    quantity: Floats
    entry_bar: Whole
    entry_price: Floats
    exit_bar: Whole
    exit_price: Floats
    exit_reason: Whole
    fees: Floats
    dividends: Floats
    profit: Floats
    mae: Floats
    mfe: Floats
    risk: Floats
    ambiguous: Flags

    def __len__(self) -> int:
        return len(self.profit)


@dataclass(frozen=True)
class Result:
    """`equity`, `cash`, `gross` (absolute value of positions): (T,), marked at the close. `open`: what is still held at
    the end, as trades up to the last close, without an exit's costs. `ambiguous`: how many exits were decided by the
    assumed order; `resolved`: how many by finer candles. `fees` and `dividends`: of all, open positions included.
    """

    equity: Floats
    cash: Floats
    gross: Floats
    trades: Trades
    open: Trades
    ambiguous: int
    resolved: int
    fees: float
    dividends: float
    ruined: bool = False
