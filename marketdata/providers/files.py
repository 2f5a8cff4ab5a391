"""Candles in files: which columns are which, whose candles they are, and of what length.

The text of a number is kept as it stands. Nothing is guessed that can't be told apart: a time without an offset, a date
like 03/04/2024, a decimal comma and a missing column are refused with the remedy.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError

from marketdata.checks import NUMBERS, shortened
from marketdata.models import AssetClass, Timeframe, canonical, is_symbol
from marketdata.providers import filetimes, tabular
from marketdata.providers.tabular import FileError

if TYPE_CHECKING:
    import pyarrow as pa

IN_MEMORY = 64 << 20  # bytes of a file's columns; what is beyond goes to a temporary file

# Headings by what they mean, after `_plain`. Of several, the first of the tuple wins.
SYNONYMS = {
    "time": ("ts", "timestamp", "open time", "opentime", "unix", "unix timestamp", "epoch", "datetime", "date time",
             "gmt time", "utc time", "time utc", "date", "time", "t", "day"),
    "open": ("open", "o", "open price"),
    "high": ("high", "h", "high price", "max"),
    "low": ("low", "l", "low price", "min"),
    "close": ("close", "c", "close price", "last"),
    "adj_close": ("adj close", "adjclose", "adjusted close", "close adj", "adj"),
    "volume": ("volume", "v", "vol", "base volume", "volumefrom", "volume base"),
    "quote_volume": ("quote volume", "quotevolume", "quote asset volume", "volumeto", "turnover", "volume quote"),
    "symbol": ("symbol", "ticker", "tic", "instrument", "pair"),
    "timeframe": ("timeframe", "interval", "tf", "bar size", "resolution"),
}  # fmt: skip
REQUIRED = ("time", "open", "high", "low", "close")
_MEANING = {name: meaning for meaning, names in SYNONYMS.items() for name in names}

FIAT = frozenset("USD EUR GBP JPY CHF AUD NZD CAD SEK NOK DKK PLN CZK HUF TRY ZAR MXN BRL CNY CNH HKD SGD KRW INR THB ILS RUB".split())
QUOTES = FIAT | {"USDT", "USDC", "BUSD", "TUSD", "DAI", "FDUSD", "BTC", "ETH", "BNB"}

_TIMEFRAMES = {
    **{name: timeframe for timeframe in Timeframe for name in (timeframe.value, timeframe.label.replace(" ", ""))},
    **{"60m": Timeframe.H1, "60min": Timeframe.H1, "h": Timeframe.H1, "hourly": Timeframe.H1, "240m": Timeframe.H4},
    **{"d": Timeframe.D1, "daily": Timeframe.D1, "24h": Timeframe.D1, "1440m": Timeframe.D1},
    **{"w": Timeframe.W1, "weekly": Timeframe.W1, "1wk": Timeframe.W1, "7d": Timeframe.W1},
    **{"monthly": Timeframe.MO1, "1mon": Timeframe.MO1, "mo": Timeframe.MO1},
    **{f"{n}min": Timeframe(f"{n}m") for n in (1, 5, 15, 30)},
}  # fmt: skip


class NoCandles(FileError):
    """The file is something else: it has none of the headings of candles."""


@dataclass(frozen=True)
class Wishes:
    """What a person said about the file; empty where the file is to say it."""

    symbol: str = ""
    timeframe: str = ""
    asset_class: str = ""
    timezone: str = ""


@dataclass
class FileSeries:
    """The candles of one series in a file: a table of `marketdata.ingestion.schema()` with its further columns."""

    symbol: str
    timeframe: Timeframe
    candles: "pa.Table"


@dataclass
class Contents:
    """What a file has. `trouble` says what could not be read of it as a whole, '' if nothing; `failures` are the
    series, by symbol, that can't be used, with the reason.
    """

    series: list[FileSeries] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    trouble: str = ""


@contextmanager
def reading(path: Path, wishes: Wishes = Wishes()) -> Iterator[Contents]:
    """The candles in a file: CSV with the delimiter , ; tab or |, gzipped or not, or Parquet.

    The tables may lie in a temporary file, which is gone after the block.
    Raises `NoCandles` if the file is something else, `FileError` if it can't be used.
    """
    zone = _zone(wishes.timezone)
    table = tabular.opened(path, lambda cells: len({_MEANING.get(_plain(cell)) for cell in cells} - {None}))
    columns = _columns(table.headings)
    with tempfile.TemporaryDirectory(prefix="chronos-import-") as workshop:
        rows = _Rows(Path(workshop), columns, table, path)
        yield _contents(rows, table, wishes, zone, path)


def likely_class(symbol: str) -> AssetClass:
    """What a symbol looks like: `^GSPC` an index, `EUR-USD` a currency pair, `BTC-USDT` crypto, otherwise a stock."""
    if symbol.startswith("^"):
        return AssetClass.INDEX
    if symbol.endswith("=X"):
        return AssetClass.FX
    base, dash, quote = symbol.rpartition("_")[2].partition("-")
    if not dash or quote not in QUOTES:
        return AssetClass.STOCK
    return AssetClass.FX if base in FIAT and quote in FIAT else AssetClass.CRYPTO


def timeframe_named(text: str) -> Timeframe:
    """The timeframe that people write as 1d, D, daily, 60min, 1M (a month; 1m is a minute). Raises `FileError`."""
    text = text.strip()
    if text in ("1M", "M"):
        return Timeframe.MO1
    found = _TIMEFRAMES.get(text.lower().replace(" ", "").removesuffix("s"))
    if found is None:
        raise FileError(f"the timeframe {shortened(text)} is not one of {' '.join(Timeframe.values)}")
    return found


# --- Columns -----------------------------------------------------------------------------------------------------


def _plain(heading: str) -> str:
    """`<Open_Time>`, `1. open`, `Adj. Close*` as `open time`, `open`, `adj close`; `Volume USDT` by its currency."""
    words = re.sub(r"[^a-z0-9]+", " ", heading.lower()).strip()
    words = re.sub(r"^[0-9]+ (?=[a-z])", "", words)
    if of := re.fullmatch(r"volume ([a-z]{2,6})|([a-z]{2,6}) volume", words):
        currency = (of[1] or of[2]).upper()
        if currency not in ("BASE", "QUOTE"):
            return "quote volume" if currency in QUOTES - {"BTC", "ETH", "BNB"} else "volume base"
    return words


def _columns(headings: list[str]) -> dict[str, int]:
    """The place of each column that we use. Raises `NoCandles`, or `FileError` naming what is missing."""
    plain = [_plain(heading) for heading in headings]
    places = {
        meaning: plain.index(next(name for name in names if name in plain))
        for meaning, names in SYNONYMS.items()
        if any(name in plain for name in names)
    }
    if "date" in plain and "time" in plain and plain[places["time"]] == "date":
        places["time of day"] = plain.index("time")
    if "time" not in places and headings[0] in ("", "Unnamed: 0", "__index_level_0__", "index"):
        places["time"] = 0  # pandas' index without a name
    found = ", ".join(heading or "(no name)" for heading in headings[:30])
    if len(places.keys() & {*REQUIRED, "volume"}) < 3:
        raise NoCandles(f"has no candles: its headings are {shortened(found, 200)}")
    if missing := [name for name in REQUIRED if name not in places]:
        wanted = " and ".join(f"{name} (also understood: {', '.join(SYNONYMS[name][:6])})" for name in missing)
        raise FileError(f"has no column for {wanted}; its headings are {found}. Add the column or rename one")
    return places


def _zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FileError(f"there is no time zone {name!r}; names look like America/New_York or UTC") from None


# --- Rows --------------------------------------------------------------------------------------------------------


class _Rows:
    """All rows of a file as text columns, in memory or in a temporary file, and which series each belongs to.

    `table` has the columns of `NUMBERS`, `clock` (the time as text), `row` and `fault`; `codes` (int32) is parallel
    to it and `keys` says which (symbol, timeframe), as texts, a code stands for.
    """

    def __init__(self, workshop: Path, columns: dict[str, int], table: tabular.Table, path: Path) -> None:
        self.has_volume = "volume" in columns
        self._columns, self._table, self._path = columns, table, path
        self._places = sorted(set(columns.values()))
        self._known: dict[tuple[str, str], int] = {}
        codes: list[Any] = []
        self.table = _gathered(self._blocks(codes), workshop)
        self.codes = _joined(codes)
        self.keys = list(self._known)

    def of(self, code: int) -> "pa.Table":
        """The rows of one series."""
        import numpy as np
        import pyarrow as pa

        if len(self.keys) == 1:
            return self.table
        return self.table.take(pa.array(np.flatnonzero(self.codes == code)))

    def _blocks(self, codes: list[Any]) -> Iterator["pa.Table"]:
        for block in self._table.blocks(self._places):
            usual = self._usual(block)
            if usual.num_rows:
                codes.append(self._coded(usual))
                yield usual.drop_columns(["symbol", "timeframe"])
        if self._table.bad_lines:
            yield from self._bad_lines(codes)

    def _usual(self, block: "pa.Table") -> "pa.Table":
        """Columns by meaning; blank lines left out; what means 'nothing' in an optional column made null."""
        import pyarrow as pa
        import pyarrow.compute as pc

        def texts(meaning: str) -> Any:
            if meaning not in self._columns:
                return pa.nulls(block.num_rows, pa.string())
            return pc.utf8_trim_whitespace(block[str(self._columns[meaning])])

        columns = {name: texts(name) for name in (*NUMBERS, "symbol", "timeframe")}
        columns["clock"] = texts("time")
        if "time of day" in self._columns:
            columns["clock"] = pc.binary_join_element_wise(columns["clock"], texts("time of day"), " ")
        for name in ("adj_close", "quote_volume"):
            if name in self._columns:
                nothing = pc.match_substring_regex(columns[name], r"^(?i:|null|nan|none|n/?a|-)$")
                columns[name] = pc.if_else(nothing, pa.scalar(None, pa.string()), columns[name])
        usual = pa.table({**columns, "row": block["row"], "fault": pa.nulls(block.num_rows, pa.string())})
        empty = pc.and_(usual["clock"].is_null(), pc.and_(usual["open"].is_null(), usual["close"].is_null()))
        return usual.filter(pc.invert(empty))

    def _coded(self, block: "pa.Table") -> Any:
        """The code of each row's series; few different ones come in a block."""
        import numpy as np
        import pyarrow.compute as pc

        constants = self._table.constants
        symbols = block["symbol"].fill_null(constants.get("symbol", "")).combine_chunks().dictionary_encode()
        lengths = block["timeframe"].fill_null("").combine_chunks().dictionary_encode()
        width = len(lengths.dictionary)
        both = symbols.indices.to_numpy().astype(np.int64) * width + lengths.indices.to_numpy()
        del pc
        different, inverse = np.unique(both, return_inverse=True)
        names, timeframes = symbols.dictionary.to_pylist(), lengths.dictionary.to_pylist()
        table = [self._code(names[pair // width], timeframes[pair % width]) for pair in different.tolist()]
        return np.array(table, np.int32)[inverse]

    def _code(self, symbol: str, timeframe: str) -> int:
        return self._known.setdefault((canonical(symbol), timeframe), len(self._known))

    def _bad_lines(self, codes: list[Any]) -> Iterator["pa.Table"]:
        """Lines with too few or too many columns, for quarantine; they belong to the file's first series."""
        import numpy as np
        import pyarrow as pa

        lines = self._table.bad_lines
        self._known or self._code("", "")
        codes.append(np.zeros(len(lines), np.int32))
        nulls = pa.nulls(len(lines), pa.string())
        faults = [f"the line has {line.columns} columns where the headings have {line.expected}" for line in lines]
        yield pa.table(
            {
                **dict.fromkeys(NUMBERS, nulls),
                "clock": pa.array([line.text.strip()[:500] for line in lines], pa.string()),
                "row": pa.array([line.number for line in lines], pa.int64()),
                "fault": pa.array(faults, pa.string()),
            }
        )
