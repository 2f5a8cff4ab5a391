"""What every provider of candles offers, and how it may fail.

A new provider is one file with a class that has `Provider`'s attributes, and one line in `marketdata.providers`. It
asks once and says what came back or raises one of the errors below; waiting, limiting, retrying and storing are done
around it, the same for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from marketdata.models import AssetClass, Basis, CorporateAction, Timeframe

if TYPE_CHECKING:
    import pyarrow as pa


class ProviderError(Exception):
    """A provider did not give what was asked. `str()` names the thing and what to do about it.

    `retried`: another attempt may help. `answered`: the provider is up and said no, so it is not failing.
    """

    retried: ClassVar[bool] = False
    answered: ClassVar[bool] = False


class RateLimited(ProviderError):
    """Too many requests just now. `retry_after` is in seconds if the provider said."""

    retried = True

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class QuotaExhausted(ProviderError):
    """Nothing more today."""


class ProviderTimeout(ProviderError):
    """No answer in time."""

    retried = True


class MalformedResponse(ProviderError):
    """An answer that can't be read."""

    retried = True


class Unavailable(ProviderError):
    """Down, in maintenance, or unreachable from here."""

    retried = True


class SymbolNotFound(ProviderError):
    """The provider does not know the symbol; final."""

    answered = True


class NoData(ProviderError):
    """The symbol is known and there is nothing in the range."""

    answered = True


class BadRequest(ProviderError):
    """We asked for something the provider can't do; final."""

    answered = True


class AuthError(ProviderError):
    """The key is missing or refused; final, for the operator."""


class PlanLimit(ProviderError):
    """The subscription does not include it; final, for the operator."""


@dataclass(frozen=True)
class Facts:
    """What a provider says about an asset; empty where it says nothing."""

    name: str = ""
    asset_class: AssetClass | None = None
    exchange: str = ""
    currency: str = ""
    sector: str = ""
    industry: str = ""
    market_cap: Decimal | None = None
    price_earnings: Decimal | None = None
    dividend_yield: Decimal | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    traded_at: datetime | None = None  # when it last traded


@dataclass(frozen=True)
class Action:
    """A split or dividend as a source tells it; `value` as `marketdata.models.CorporateAction` has it."""

    kind: CorporateAction.Kind
    ex_date: date
    value: Decimal
    currency: str = ""


@dataclass(frozen=True)
class Fetched:
    """Final candles, oldest first, as a table of `marketdata.ingestion.schema()`, and what the answer told besides.

    `unfinished` counts the candles left out because their time is not over. `actions` are the splits and dividends in
    the range; None where the source does not tell any. `begins` is when the source says that its history begins.
    """

    candles: "pa.Table"
    facts: Facts = field(default_factory=Facts)
    unfinished: int = 0
    actions: tuple[Action, ...] | None = None
    begins: datetime | None = None


class Provider(Protocol):
    """One outside source of candles."""

    name: ClassVar[str]  # in the database and on the command line
    label: ClassVar[str]  # on pages
    asset_classes: ClassVar[frozenset[AssetClass]]
    windows: ClassVar[Mapping[Timeframe, timedelta]]  # timeframes it has, and the longest range of one request
    reach: ClassVar[Mapping[Timeframe, timedelta]]  # how far back it keeps a timeframe, if not for ever
    basis: ClassVar[Basis]  # of its prices
    needs_key: ClassVar[bool]

    @property
    def requests_per_second(self) -> float:
        """Of the bucket that all workers share."""
        ...

    @property
    def daily_quota(self) -> int | None:
        """Requests a day, where there is a limit."""
        ...

    def spelling(self, symbol: str, asset_class: AssetClass) -> str:
        """The provider's usual way to write a canonical symbol; a stored `Spelling` goes first."""
        ...

    def fetch(self, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
        """Candles with since ≤ open_time < until, both aware UTC. One attempt. Raises `ProviderError` only."""
        ...


@runtime_checkable
class KnowsFundamentals(Protocol):
    """A provider that can also be asked what an asset is worth and does."""

    def fundamentals(self, spelling: str) -> Facts:
        """What it says now, without candles. One attempt. Raises `ProviderError` only."""
        ...


@runtime_checkable
class KnowsSymbols(Protocol):
    """A provider that can be asked cheaply whether it knows a symbol."""

    # The classes of which it has about every symbol, so that its no says something. Elsewhere it has only its own.
    sure_of: ClassVar[frozenset[AssetClass]]

    def lookup(self, spelling: str) -> Facts:
        """What it is, without candles. One attempt. Raises `SymbolNotFound` or another `ProviderError`, no other."""
        ...
