"""What a table of members can show: its columns, what they are sorted by, how they read on a page and in a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from chronos.core import figures
from marketdata.directory import exchanges
from marketdata.freshness import Freshness
from marketdata.models import Asset, AssetClass, CapClass, Series, Timeframe
from marketdata.recognition import Recognition
from marketdata.returns import Past
from marketdata.sources import label as source_label
from universes.models import Membership

CLASSES = dict(AssetClass.choices)
CAPS = dict(CapClass.choices)
_LABELS = dict(Timeframe.choices)
_DAILY = {timeframe.value for timeframe in Timeframe if timeframe.is_daily}  # looked up once a cell
CAP_ORDER = {name: -place for place, name in enumerate(CapClass.values)}
STATES = {"unverified": "not confirmed"}  # the others are their own words


@dataclass
class Member:
    """One row: the stay, and of its asset what the wanted columns need; the rest is None."""

    stay: Membership
    place: int  # in the owner's own order, from 1
    series: Series | None = None
    past: Past | None = None
    fresh: Freshness | None = None
    recognition: Recognition | None = None
    closes: Sequence[float] = field(default_factory=list)

    @property
    def asset(self) -> Asset:
        return self.stay.asset

    @property
    def state(self) -> str:
        return self.recognition.state if self.recognition else ""

    @cached_property
    def when(self) -> str:
        """The newest candle's day or moment, as figures name it."""
        return self.named(self.past.at) if self.past else ""

    def named(self, moment: datetime) -> str:
        daily = self.series is None or self.series.timeframe in _DAILY
        return figures.day(moment) if daily else f"{figures.moment(moment)} UTC"

    @property
    def symbol(self) -> str:
        return self.stay.asset.symbol


Value = float | int | str | None


@dataclass(frozen=True)
class Column:
    """`value` is what it is sorted by and what a file holds, None comes last; `text` is how it reads.

    `needs` names what must be known of a member: "past" (its prices), a window of `marketdata.returns`, "year",
    "fresh", "state", "closes". `note` says of what the figures are.
    """

    key: str
    label: str
    value: Callable[[Member], Value]
    text: Callable[[Member], str]
    unit: str = ""
    kind: str = ""
    short: str = ""  # in the heading, where there is less room
    needs: tuple[str, ...] = ()
    largest_first: bool = False
    note: str = ""
    sortable: bool = True


def _words(name: str) -> Callable[[Member], str]:
    return lambda member: getattr(member.asset, name)


def _or_none(read: Callable[[Member], str]) -> Callable[[Member], str | None]:
    """Text to sort by, whatever its case; what is empty comes last."""
    return lambda member: read(member).casefold() or None


def _text(key: str, label: str, read: Callable[[Member], str], **more: Any) -> Column:
    return Column(key, label, _or_none(read), read, **{"kind": "words", **more})


def _change(window: str, label: str, short: str, note: str) -> Column:
    def value(member: Member) -> float | None:
        return member.past.change(window) if member.past else None

    key = "change" if window == "1d" else window
    return Column(
        key, label, value, lambda member: figures.percent(value(member)), unit="%", short=short, kind="number change",
        needs=("past", window), largest_first=True, note=note,
    )  # fmt: skip


def _fact(key: str, label: str, name: str, text: Callable[[Any], str], **more: Any) -> Column:
    def value(member: Member) -> float | None:
        found = getattr(member.asset, name)
        return None if found is None else float(found)

    return Column(key, label, value, lambda member: text(getattr(member.asset, name)), kind="number",
                  largest_first=True, **more)  # fmt: skip


def _last(member: Member) -> float | None:
    return member.past.last if member.past else None


def _volume(member: Member) -> float | None:
    return member.past.volume if member.past else None


def position(member: Member) -> float | None:
    """Where the newest close stands between the year's lowest and highest price, 0 to 1."""
    past = member.past
    if past is None or past.low is None or past.high is None or past.high <= past.low:
        return None
    return min(1.0, max(0.0, (past.last - past.low) / (past.high - past.low)))


def _cap(member: Member) -> float | None:
    """The capitalisation; where only its class is known, the class, below all that are known exactly."""
    asset = member.asset
    if asset.market_cap is not None:
        return float(asset.market_cap)
    return float(CAP_ORDER[asset.cap_class]) - 1 if asset.cap_class else None


def _cap_text(member: Member) -> str:
    asset = member.asset
    if asset.market_cap is not None:
        return figures.compact(asset.market_cap)
    return CAPS[asset.cap_class].removesuffix(" cap") if asset.cap_class else figures.NOTHING


def _yield_text(value: Any) -> str:
    return figures.percent(value).lstrip("+")


def _age(member: Member) -> float | None:
    return -member.past.at.timestamp() if member.past else None


def _age_text(member: Member) -> str:
    if member.fresh:
        return member.fresh.word
    return figures.day(member.past.at) if member.past else figures.NOTHING


def basis(member: Member, column: Column) -> str:
    """Of what, from where, as of when: the sentence behind a figure made of candles."""
    past, series = member.past, member.series
    if past is None or series is None:
        return ""
    for window in column.needs:
        if found := past.changes.get(window):
            return f"Close of {member.when} against the close of {member.named(found.since)}"
    if "year" in column.needs and past.low is not None:
        low, high, last = (figures.price(value) for value in (past.low, past.high, past.last))
        return f"{last} between {low} and {high}, the lowest and highest of the year until {member.when}"
    if column.key in ("price", "volume"):
        what = "Close" if column.key == "price" else "Volume"
        name = _LABELS.get(series.timeframe, series.timeframe)
        return f"{what} of the {name} candle of {member.when}, from {source_label(series.source)}"
    return ""


COLUMNS: tuple[Column, ...] = (
    Column("place", "#", lambda member: member.place, lambda member: figures.integer(member.place),
           kind="number place"),
    Column("symbol", "Symbol", lambda member: member.symbol, lambda member: member.symbol, kind="sym"),
    _text("name", "Name", _words("name"), kind="name"),
    Column("price", "Last", _last, lambda member: figures.price(_last(member)), kind="number price", needs=("past",),
           largest_first=True, note="Close of the newest candle, in the asset's own currency"),
    _change("1d", "1 day", "1 D", "Against the close before"),
    _change("1w", "1 week", "1 W", "Against the close a week before"),
    _change("1mo", "1 month", "1 M", "Against the close a month before"),
    _change("3mo", "3 months", "3 M", "Against the close three months before"),
    _change("ytd", "Year to date", "YTD", "Year to date: against the last close of the year before"),
    _change("1y", "1 year", "1 Y", "Against the close a year before"),
    Column("trend", "30 closes", lambda member: None, lambda member: "", kind="trend", needs=("closes",),
           sortable=False),
    Column("range", "52 weeks", position, lambda member: figures.percent(position(member), 0).lstrip("+"), kind="range",
           needs=("past", "year"), largest_first=True,
           note="Where the last close stands between the year's lowest and highest price"),
    Column("volume", "Volume", _volume, lambda member: figures.compact(_volume(member)), kind="number", needs=("past",),
           largest_first=True, note="Of the newest candle"),
    Column("cap", "Market cap", _cap, _cap_text, kind="number", largest_first=True,
           note="As providers tell it; a word where only its class is known"),
    _fact("pe", "P/E", "price_earnings", figures.price),
    _fact("yield", "Yield", "dividend_yield", _yield_text, unit="%"),
    _text("class", "Class", lambda member: CLASSES.get(member.asset.asset_class, "")),
    _text("sector", "Sector", _words("sector")),
    _text("industry", "Industry", _words("industry")),
    _text("exchange", "Exchange", lambda member: exchanges.name(member.asset.exchange)),
    _text("country", "Country", _words("country")),
    _text("currency", "Currency", _words("currency")),
    Column("age", "Freshness", _age, _age_text, kind="age", needs=("past", "fresh")),
    _text("state", "Symbol is", lambda member: STATES.get(member.state, member.state), kind="state-of",
          needs=("state",)),
    _text("note", "Note", lambda member: member.stay.note, kind="note"),
    _text("tags", "Tags", lambda member: ", ".join(member.stay.tags), kind="tags"),
    _text("source", "Source", lambda member: source_label(member.series.source) if member.series else "",
          needs=("past",)),
    Column("joined", "Joined", lambda member: member.stay.joined_at.timestamp(),
           lambda member: figures.day(member.stay.joined_at), kind="joined words", largest_first=True),
)  # fmt: skip
BY_KEY = {column.key: column for column in COLUMNS}
ALWAYS = ("symbol",)
USUAL = ("place", "symbol", "name", "price", "change", "1mo", "ytd", "1y", "trend", "age", "tags")


def chosen(keys: Sequence[str]) -> tuple[Column, ...]:
    """The columns of these keys in their own order; the usual ones if none of them is known."""
    wanted = {key for key in keys if key in BY_KEY}
    if not wanted - set(ALWAYS):
        wanted = set(USUAL)
    return tuple(column for column in COLUMNS if column.key in wanted or column.key in ALWAYS)


def in_file(member: Member, column: Column) -> str:
    """A value for CSV: numbers in full, dates by ISO 8601, and no text that a spreadsheet would take for a formula."""
    if column.key == "joined":
        return f"{member.stay.joined_at:%Y-%m-%d}"
    if column.key == "age":
        return f"{member.past.at:%Y-%m-%dT%H:%M:%SZ}" if member.past else ""
    if column.key == "cap":
        cap, kind = member.asset.market_cap, member.asset.cap_class
        return f"{cap:f}" if cap is not None else kind
    value = column.value(member)
    if isinstance(value, str):
        text = column.text(member)
        return f"'{text}" if text[:1] in "=+-@\t\r" else text
    return "" if value is None else f"{value:.10g}"
