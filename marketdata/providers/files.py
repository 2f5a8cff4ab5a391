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
from marketdata.symbols import MONEY, likely_class

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

_TIMEFRAMES = {
    **{timeframe.value: timeframe for timeframe in Timeframe},
    **{timeframe.label.replace(" ", "").removesuffix("s"): timeframe for timeframe in Timeframe},  # 5minute
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
            return "quote volume" if currency in MONEY else "volume base"
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

        constants = self._table.constants
        symbols = block["symbol"].fill_null(constants.get("symbol", "")).combine_chunks().dictionary_encode()
        lengths = block["timeframe"].fill_null("").combine_chunks().dictionary_encode()
        width = len(lengths.dictionary)
        both = symbols.indices.to_numpy().astype(np.int64) * width + lengths.indices.to_numpy()
        different, first, inverse = np.unique(both, return_index=True, return_inverse=True)
        names, timeframes = symbols.dictionary.to_pylist(), lengths.dictionary.to_pylist()
        coded = np.zeros(len(different), np.int32)
        for place in np.argsort(first).tolist():  # as they appear in the file
            pair = int(different[place])
            coded[place] = self._code(names[pair // width], timeframes[pair % width])
        return coded[inverse]

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


def _gathered(blocks: Iterator["pa.Table"], workshop: Path) -> "pa.Table":
    """All blocks as one table: in memory while they are small, else in a file that is mapped rather than read."""
    import pyarrow as pa

    kept: list[Any] = []
    for block in blocks:
        kept.append(block)
        if sum(part.nbytes for part in kept) > IN_MEMORY:
            return _spilt(kept, blocks, workshop / "rows.arrow")
    if not kept:
        raise FileError("has headings but no rows")
    return pa.concat_tables(_aligned(kept))


def _spilt(kept: list["pa.Table"], blocks: Iterator["pa.Table"], place: Path) -> "pa.Table":
    import pyarrow as pa

    names, schema = kept[0].column_names, kept[0].schema
    with pa.OSFile(str(place), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        while kept:
            writer.write_table(kept.pop(0))
        for block in blocks:
            writer.write_table(block.select(names))
    return pa.ipc.open_file(pa.memory_map(str(place))).read_all()


def _aligned(tables: list["pa.Table"]) -> list["pa.Table"]:
    return [table.select(tables[0].column_names) for table in tables]


def _joined(codes: list[Any]) -> Any:
    import numpy as np

    return np.concatenate(codes) if codes else np.zeros(0, np.int32)


# --- Series ------------------------------------------------------------------------------------------------------


def _contents(rows: _Rows, table: tabular.Table, wishes: Wishes, zone: ZoneInfo | None, path: Path) -> Contents:
    contents = Contents()
    if table.damage:
        last = rows.table["row"][-1].as_py()
        contents.trouble = f"{table.damage} after row {last}; what came before is kept. Get the file again"
    symbols = sorted({symbol for symbol, _ in rows.keys if symbol})
    if wishes.symbol and len(symbols) > 1:
        some = ", ".join(symbols[:5])
        raise FileError(f"has {len(symbols)} symbols ({some}…), and --symbol names one: leave it out")
    _refuse_decimal_commas(rows.table)
    for code, (symbol, timeframe) in enumerate(rows.keys):
        name = canonical(wishes.symbol) or symbol or _symbol_of(path)
        try:
            contents.series.append(_one(rows, code, _valid(name), timeframe, wishes, zone, path))
        except FileError as error:
            contents.failures[name] = str(error)
    return contents


def _one(
    rows: _Rows, code: int, symbol: str, column: str, wishes: Wishes, zone: ZoneInfo | None, path: Path
) -> FileSeries:
    part = rows.of(code)
    written = filetimes.read(part["clock"])
    timeframe = _timeframe(written, wishes.timeframe or column or _timeframe_of(path))
    _refuse_unreadable(part, written)
    opens, faults = filetimes.moments(written, timeframe, zone)
    readable = int((written.kind != filetimes.UNREADABLE).sum())
    if faults and len(faults) == readable and not zone:
        raise FileError(f"its times have no offset from UTC (e.g. {_example(part, min(faults))}): {filetimes.SAY_ZONE}")
    return FileSeries(symbol, timeframe, _table(rows, part, opens, faults, symbol, wishes))


def _table(
    rows: _Rows, part: "pa.Table", opens: Any, faults: dict[int, str], symbol: str, wishes: Wishes
) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = {name: part[name] for name in NUMBERS}
    if (wishes.asset_class or likely_class(symbol)) in (AssetClass.FX, AssetClass.INDEX):
        told = part["fault"].is_null()  # currencies and indices have no volume of their own
        numbers["volume"] = pc.if_else(told, part["volume"].fill_null("0"), part["volume"])
    elif not rows.has_volume:
        raise FileError(
            "has no column for volume (also understood: v, vol, Volume BTC)."
            " Add it, or say --asset-class fx or index if there is none"
        )
    reasons = part["fault"]
    if faults:
        texts = reasons.to_pylist()
        for place, fault in faults.items():
            texts[place] = texts[place] or fault
        reasons = pa.array(texts, pa.string())
    return pa.table({"open_time": opens, **numbers, "row": part["row"], "time": part["clock"], "fault": reasons})


def _timeframe(written: filetimes.Written, said: str) -> Timeframe:
    apart = filetimes.spacing(written)
    if not said:
        found = filetimes.timeframe_of(written)
        if found is None:
            between = f"the rows are mostly {apart} apart" if apart else "one row does not tell"
            raise FileError(f"can't tell the timeframe ({between}): say it with --timeframe, e.g. --timeframe 1h")
        return found
    timeframe = timeframe_named(said)
    if apart and apart * 2 <= timeframe.length:
        raise FileError(f"its rows are mostly {apart} apart, so they can't be {timeframe} candles")
    return timeframe


def _refuse_unreadable(part: "pa.Table", written: filetimes.Written) -> None:
    """If not one time can be read, it is the file that is written in another way, not its rows that are bad."""
    told = part["fault"].is_null().to_numpy()
    if not told.any() or (written.kind[told] != filetimes.UNREADABLE).any():
        return
    text = next((text for text in part["clock"].to_pylist() if text), "")
    why = " (it can be read in two ways)" if re.match(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}", text) else ""
    raise FileError(
        f"its times, such as {shortened(text)}, can't be read{why}:"
        " write them as 2024-03-31, as 2024-03-31T14:30:00Z or as seconds since 1970"
    )


def _refuse_decimal_commas(table: "pa.Table", look_at: int = 100) -> None:
    for row, text in zip(table["row"][:look_at].to_pylist(), table["close"][:look_at].to_pylist(), strict=True):
        if text and re.fullmatch(r"-?[0-9.]*[0-9],[0-9]+", text):
            raise FileError(
                f"writes numbers with a decimal comma (close {shortened(text)} in row {row}): write them with a point"
            )


def _example(part: "pa.Table", place: int) -> str:
    return f"{shortened(part['clock'][place].as_py())} in row {part['row'][place].as_py()}"


def _valid(symbol: str) -> str:
    try:
        is_symbol(symbol)
    except ValidationError as error:
        raise FileError(f"{symbol!r} can't be a symbol: {error.messages[0]} Give one with --symbol") from None
    return symbol


_ENDINGS = re.compile(r"(?i)(\.(csv|tsv|txt|gz|gzip|parquet|pq))+$")
_AND_TIMEFRAME = re.compile(rf"(?i)[_.-]({'|'.join(Timeframe.values)}|daily|hourly|weekly|monthly)$")


def _symbol_of(path: Path) -> str:
    """`_GSPC.csv.gz` is ^GSPC, `BTC-USD_1h.csv` is BTC-USD."""
    name = _AND_TIMEFRAME.sub("", _ENDINGS.sub("", path.name))
    return canonical("^" + name[1:] if name.startswith("_") else name)


def _timeframe_of(path: Path) -> str:
    found = _AND_TIMEFRAME.search(_ENDINGS.sub("", path.name))
    return found[1] if found else ""
