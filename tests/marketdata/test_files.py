"""Reading files: whose candles they are, of what length, at which moments; and what is refused with which words."""

import gzip
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from marketdata.models import Timeframe
from marketdata.providers import files
from marketdata.providers.files import Contents, NoCandles, Wishes, reading, timeframe_named
from marketdata.providers.tabular import FileError
from marketdata.symbols import likely_class

HEAD = "date,open,high,low,close,volume\n"
TWO_DAYS = HEAD + "2024-01-02,1,3,1,2,10\n2024-01-03,2,4,2,3,20\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "ACME.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def read(path: Path, **wishes: str) -> tuple[Contents, list[list[dict]]]:
    """The contents and the rows of each series, which outlive the temporary file."""
    with reading(path, Wishes(**wishes)) as contents:
        return contents, [series.candles.to_pylist() for series in contents.series]


def one(path: Path, **wishes: str) -> tuple[str, str, list[dict]]:
    contents, rows = read(path, **wishes)
    assert (contents.failures, contents.trouble) == ({}, "")
    (series,) = contents.series
    return series.symbol, series.timeframe.value, rows[0]


def opens(path: Path, **wishes: str) -> list[str | None]:
    return [at and f"{at['open_time']:%Y-%m-%d %H:%M}" if at["open_time"] else None for at in one(path, **wishes)[2]]


def refusal(path: Path, **wishes: str) -> str:
    """Why a file, or its only series, can't be used."""
    try:
        contents, _ = read(path, **wishes)
    except FileError as error:
        return str(error)
    assert not contents.series
    (reason,) = contents.failures.values()
    return reason


def test_it_works(write):
    symbol, timeframe, rows = one(write(TWO_DAYS))
    assert (symbol, timeframe) == ("ACME", "1d")
    assert rows[0] == {
        "open_time": datetime(2024, 1, 2, tzinfo=UTC),
        **{"open": "1", "high": "3", "low": "1", "close": "2", "adj_close": None, "volume": "10"},
        **{"quote_volume": None, "row": 2, "time": "2024-01-02", "fault": None},
    }


@pytest.mark.parametrize(
    "headings",
    [
        "Date,Open,High,Low,Close,Volume",
        "TIMESTAMP,OPEN,HIGH,LOW,CLOSE,VOLUME",
        "ts,o,h,l,c,v",
        "Open time,Open price,High price,Low price,Close price,Vol",
        "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "datetime, open, high, low, close, volume",
        ",open,high,low,close,volume",
        "timestamp,1. open,2. high,3. low,4. close,5. volume",
    ],
)
def test_the_usual_headings(write, headings):
    assert one(write(headings + "\n" + TWO_DAYS.split("\n", 1)[1]))[2][1]["close"] == "3"


def test_the_further_columns(write):
    head = "ticker,interval,date,Adj Close,Volume BTC,Volume USD,open,high,low,close"
    symbol, _, rows = one(
        write(f"{head}\nbtc/usd,1d,2024-01-02,1.5,7,70,1,3,1,2\nbtc/usd,1d,2024-01-03,null,7,,1,3,1,2")
    )
    assert symbol == "BTC-USD"
    assert [(found["adj_close"], found["volume"], found["quote_volume"]) for found in rows] == [
        ("1.5", "7", "70"),
        (None, "7", None),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_encodings_and_line_ends(write, delimiter, encoding, newline):
    text = "symbol,note," + TWO_DAYS.replace("\n2024", "\nACME,Börse €,2024", 9)
    if encoding == "latin-1":
        text = text.replace("€", "")
    path = write(text.replace(",", delimiter).replace("\n", newline).encode(encoding))
    assert one(path)[2][1]["volume"] == "20"


def test_a_gzip_whatever_its_name(write):
    assert len(one(write(gzip.compress(TWO_DAYS.encode())))[2]) == 2
    two_members = gzip.compress(TWO_DAYS.encode()) + gzip.compress(b"2024-01-04,2,4,2,3,20\n")
    assert len(one(write(two_members, "ACME.csv.gz"))[2]) == 3


def test_a_line_about_the_origin_before_the_headings(write):
    assert len(one(write("https://www.example.org/data\n" + TWO_DAYS))[2]) == 2


def test_what_yfinance_writes(write):
    text = "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n2024-01-02,2,3,1,1,10\n"
    symbol, timeframe, rows = one(write(text, "download.csv"))
    assert (symbol, timeframe, rows[0]["close"], rows[0]["row"]) == ("AAPL", "1d", "2", 4)
    wide = text.replace("Ticker,AAPL", "Ticker,MSFT")
    assert "the columns of 2 symbols side by side" in refusal(write(wide, "download.csv"))


def test_the_text_of_numbers_is_kept(write):
    row = "2024-01-02, 1.10000000001 ,1e1,0.10,2.50,1234567890.123\n"
    (found,) = one(write(HEAD + row), timeframe="1d")[2]
    assert [found[name] for name in ("open", "high", "low", "close")] == ["1.10000000001", "1e1", "0.10", "2.50"]


# --- Whose candles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe"),
    [
        ("AAPL.csv", "AAPL", "1d"),
        ("brk.b.csv.gz", "BRK.B", "1d"),
        ("_GSPC.csv", "^GSPC", "1d"),
        ("BTC-USD_1d.csv", "BTC-USD", "1d"),
        ("aapl.daily.csv", "AAPL", "1d"),
    ],
)
def test_the_symbol_of_the_file_name(write, name, symbol, timeframe):
    assert one(write(TWO_DAYS, name))[:2] == (symbol, timeframe)


def test_what_is_said_goes_before_the_column_and_the_column_before_the_name(write):
    path = write("symbol,interval,date,open,high,low,close,volume\ncoinbase_BTC/USD,1w,2024-01-02,1,3,1,2,10\n")
    assert one(path)[:2] == ("COINBASE_BTC-USD", "1w")
    assert one(path, symbol="btc/usd", timeframe="1d")[:2] == ("BTC-USD", "1d")


def test_several_series_in_one_file(write):
    lines = ["symbol,interval,date,open,high,low,close,volume"]
    for number in range(1, 6):
        lines += [f"{name},1d,2024-01-0{number},1,3,1,2,{number}" for name in ("B", "A")]
        lines.append(f"B,1h,2024-01-02T0{number}:00Z,1,3,1,2,{number}")
    contents, rows = read(write("\n".join(lines)))
    assert [(series.symbol, series.timeframe) for series in contents.series] == [("B", "1d"), ("A", "1d"), ("B", "1h")]
    assert [[found["volume"] for found in series] for series in rows] == [list("12345")] * 3
    assert [found["row"] for found in rows[1]] == [3, 6, 9, 12, 15]
    assert "has 2 symbols (A, B…)" in refusal(write("\n".join(lines)), symbol="C")


def test_one_bad_series_does_not_stop_the_others(write):
    text = "symbol,interval,date,open,high,low,close,volume\nA,1d,2024-01-02,1,3,1,2,1\nB,9x,2024-01-02,1,3,1,2,1\n"
    contents, _ = read(write(text + "$,1d,2024-01-02,1,3,1,2,1\n"))
    assert [series.symbol for series in contents.series] == ["A"]
    assert "the timeframe '9x' is not one of 1m 5m" in contents.failures["B"]
    assert "'$' can't be a symbol" in contents.failures["$"]


@pytest.mark.parametrize(
    ("step", "timeframe"),
    [
        *((Timeframe(name).length, name) for name in ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w")),
        (timedelta(days=30), "1mo"),
    ],
)
def test_the_timeframe_told_by_the_distances(write, step, timeframe):
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = "".join(f"{(start + number * step).isoformat()},1,3,1,2,1\n" for number in (0, 1, 2, 3, 7, 8))
    assert one(write(HEAD + rows))[1] == timeframe


def test_a_timeframe_that_nothing_tells(write):
    assert "can't tell the timeframe (one row does not tell)" in refusal(write(HEAD + "2024-01-02T10:00Z,1,3,1,2,1\n"))
    rows = "2024-01-02T10:00Z,1,3,1,2,1\n2024-01-02T10:07Z,1,3,1,2,1\n"
    assert "0:07:00 apart): say it with --timeframe" in refusal(write(HEAD + rows))
    assert "can't be 1d candles" in refusal(write(HEAD + rows), timeframe="1d")


@pytest.mark.parametrize(
    ("text", "timeframe"),
    [("1d", "1d"), ("D", "1d"), ("daily", "1d"), ("60min", "1h"), ("1 hour", "1h"), ("1M", "1mo"), ("1m", "1m"),
     ("1wk", "1w"), ("5 minutes", "5m"), ("4H", "4h"), ("1month", "1mo")],
)  # fmt: skip
def test_the_names_of_timeframes(text, timeframe):
    assert timeframe_named(text) == timeframe


@pytest.mark.parametrize(
    ("symbol", "looks_like"),
    [("AAPL", "stock"), ("BRK-B", "stock"), ("AAPL-RAW", "stock"), ("^GSPC", "index"), ("EUR-USD", "fx"),
     ("EURUSD=X", "fx"), ("GC=F", "commodity"), ("BTC-USDT", "crypto"), ("COINBASE_BTC-USD", "crypto"),
     ("ETH-BTC", "crypto")],
)  # fmt: skip
def test_what_a_symbol_looks_like(symbol, looks_like):
    assert likely_class(symbol) == looks_like


# --- Times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-02T14:30:00Z",
        "2024-01-02 14:30:00+00:00",
        "2024-01-02T09:30:00-05:00",
        "2024-01-02 09:30:00-0500",
        "2024-01-02 15:30+01",
        "2024-01-02 14:30 UTC",
        "2024-01-02T14:30:00.000000000Z",
        "20240102 14:30:00Z",
        "2024.01.02 14:30Z",
        "2024/01/02 14:30Z",
        "1704205800",
        "1704205800.0",
        "1704205800000",
        "1704205800000000",
        "1704205800000000000",
    ],
)
def test_ways_to_write_a_moment(write, written):
    assert opens(write(f"{HEAD}{written},1,3,1,2,10\n"), timeframe="1h") == ["2024-01-02 14:30"]


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-02",
        "20240102",
        "2024.01.02",
        "2024-01-02 00:00:00",
        "2024-01-02T00:00:00Z",
        "2024-01-02 00:00:00-05:00",
        "2024-01-02 00:00:00+08:00",
    ],
)
def test_ways_to_write_a_trading_date(write, written):
    assert opens(write(f"{HEAD}{written},1,3,1,2,10\n"), timeframe="1d") == ["2024-01-02 00:00"]


def test_a_day_as_a_moment_is_named_by_the_date_where_it_was_midnight(write):
    path = write(HEAD + "1704171600,1,3,1,2,10\n1720065600,1,3,1,2,10\n")
    assert opens(path, timeframe="1d", timezone="America/New_York") == ["2024-01-02 00:00", "2024-07-04 00:00"]
    assert opens(path, timeframe="1d") == ["2024-01-02 05:00", "2024-07-04 04:00"]  # which ingestion will refuse


def test_date_and_time_in_two_columns(write):
    path = write("Date,Time,Open,High,Low,Close,Volume\n2024.01.02,14:30,1,3,1,2,10\n2024.01.02,14:31,1,3,1,2,10\n")
    assert opens(path, timezone="UTC") == ["2024-01-02 14:30", "2024-01-02 14:31"]


def test_a_time_without_an_offset_is_refused_with_the_remedy(write):
    path = write(HEAD + "2024-01-02 09:30:00,1,3,1,2,10\n2024-01-02 10:30:00,1,3,1,2,10\n")
    assert refusal(path) == (
        "its times have no offset from UTC (e.g. '2024-01-02 09:30:00' in row 2):"
        " add one to the file, or say whose clock it is, e.g. --timezone America/New_York"
    )
    assert opens(path, timezone="America/New_York") == ["2024-01-02 14:30", "2024-01-02 15:30"]
    assert refusal(path, timezone="Mars/Phobos").startswith("there is no time zone 'Mars/Phobos'")


def test_a_single_time_without_an_offset_is_one_bad_row(write):
    path = write(HEAD + "2024-01-02T14:30Z,1,3,1,2,10\n2024-01-02T15:30Z,1,3,1,2,10\n2024-01-02T16:30,1,3,1,2,10\n")
    faults = [found["fault"] for found in one(path)[2]]
    assert faults[:2] == [None, None]
    assert faults[2].startswith("its time has no offset from UTC")


def test_hours_that_a_clock_change_repeats_or_skips_are_no_moments(write):
    rows = "".join(f"{at},1,3,1,2,10\n" for at in ("2023-11-05 00:30", "2023-11-05 01:30", "2024-03-10 02:30"))
    _, _, found = one(write(HEAD + rows), timeframe="1h", timezone="America/New_York")
    assert [row["open_time"] and row["open_time"].hour for row in found] == [4, None, None]
    assert found[1]["fault"] == "the clock of America/New_York shows 2023-11-05 01:30 twice or not at all"


def test_a_time_that_can_not_be_read_is_one_bad_row(write):
    path = write(HEAD + "2024-02-30,1,3,1,2,10\nyesterday,1,3,1,2,10\n2024-03-01,1,3,1,2,10\n,1,3,1,2,10\n")
    found = one(path)[2]
    assert [row["open_time"] and row["open_time"].day for row in found] == [None, None, 1, None]
    assert [row["time"] for row in found] == ["2024-02-30", "yesterday", "2024-03-01", None]


def test_dates_that_can_be_read_in_two_ways_are_refused(write):
    text = refusal(write(HEAD + "01/02/2024,1,3,1,2,10\n01/03/2024,1,3,1,2,10\n"), timeframe="1d")
    assert text.startswith("its times, such as '01/02/2024', can't be read (it can be read in two ways): write them as")


# --- What is wrong with the whole file ---------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["date", "open", "high", "low", "close"])
def test_a_missing_column_is_named(write, missing):
    text = refusal(write(TWO_DAYS.replace(missing, "other", 1)))
    wanted = "time" if missing == "date" else missing
    assert text.startswith(f"has no column for {wanted} (also understood: ")
    assert "its headings are " in text
    assert "other" in text


def test_a_missing_volume_is_named_unless_there_can_be_none(write):
    text = "date,open,high,low,close\n2024-01-02,1,3,1,2\n"
    assert refusal(write(text)).startswith("has no column for volume")
    assert one(write(text, "EUR-USD.csv"))[2][0]["volume"] == "0"
    assert one(write(text), asset_class="index")[2][0]["volume"] == "0"


def test_something_else_is_not_mistaken_for_candles(write):
    with pytest.raises(NoCandles, match="has no candles: its headings are 'symbol, name, sector'"):
        read(write("symbol,name,sector\nA,Agilent,Health\n"))
    with pytest.raises(NoCandles):
        read(write("2024-01-02,1,3,1,2,10\n2024-01-03,1,3,1,2,10\n"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (HEAD.encode(), "has headings but no rows"),
        (b"\x00\x01\x02\x03" * 9, "is not a text file"),
        (b"PK\x03\x04rest", "is a ZIP archive or a spreadsheet"),
        (b"PAR1 and then nothing", "can't be read as Parquet"),
        (gzip.compress(TWO_DAYS.encode(), mtime=0)[:12], "ends in mid-stream: there is not even a line of headings"),
    ],
)
def test_files_without_a_table(write, content, says):
    assert refusal(write(content)).startswith(says)


def test_a_file_that_is_not_there(tmp_path):
    assert refusal(tmp_path / "none.csv") == "can't be opened: No such file or directory"


def test_decimal_commas_are_refused(write):
    text = "date;open;high;low;close;volume\n2024-01-02;1,5;3,0;1,0;2,25;10\n"
    assert refusal(write(text)).startswith("writes numbers with a decimal comma (close '2,25' in row 2)")


def test_lines_of_another_width_are_bad_rows_and_the_numbering_goes_on(write):
    lines = [
        HEAD.strip(),
        "2024-01-02,1,3,1,2,10",
        "2024-01-03,1,3",
        "",
        "2024-01-04,1,3,1,2,10,9,9",
        "2024-01-05,1,3,1,2,10",
    ]
    found = one(write("\n".join(lines)))[2]
    assert [row["row"] for row in found] == [2, 6, 3, 5]
    assert [row["fault"] for row in found[2:]] == [
        "the line has 3 columns where the headings have 6",
        "the line has 8 columns where the headings have 6",
    ]
    assert found[2]["time"] == "2024-01-03,1,3"


def long_text(rows: int) -> str:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    lines = (f"{(start + timedelta(minutes=n)).isoformat()},1,3,1,2,{n}.{n * 7919 % 99991:05}\n" for n in range(rows))
    return HEAD + "".join(lines)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_gzip_gives_its_whole_rows(write, share):
    text = long_text(20_000)
    whole = gzip.compress(text.encode())
    contents, (rows,) = read(write(whole[: int(len(whole) * share)], "ACME.csv.gz"))
    last = rows[-1]["row"]
    assert contents.trouble.startswith(f"ends in mid-stream after row {last}; what came before is kept")
    assert 20_000 * share * 0.8 < len(rows) < 20_000
    assert rows[-1]["volume"] == text.splitlines()[last - 1].rsplit(",", 1)[1]


def test_a_damaged_gzip_gives_what_comes_before_the_damage(write):
    whole = bytearray(gzip.compress(long_text(20_000).encode()))
    middle = len(whole) // 2
    whole[middle : middle + 200] = bytes(200)
    contents, (rows,) = read(write(bytes(whole), "ACME.csv.gz"))
    assert "damaged" in contents.trouble
    assert 1000 < len(rows) < 20_000


def test_a_file_larger_than_memory_allows_goes_through_a_temporary_one(write, monkeypatch):
    text = "symbol," + long_text(30_000).replace("\n2020", "\nA,2020").replace("5\n", "5\n").replace("\nA", "\nB", 7)
    small, path = read(write(text)), write(text)
    monkeypatch.setattr(files, "IN_MEMORY", 100_000)
    assert read(path)[1] == small[1]


# --- Parquet -----------------------------------------------------------------------------------------------------


def frame(path: Path, times: pa.Array, **more) -> Path:
    count = len(times)
    columns = {"Date": times, "Open": [1.1] * count, "High": [3.0] * count, "Low": [1] * count, "Close": [2.5] * count}
    parquet.write_table(pa.table({**columns, "Volume": [1_000_000] * count, **more}), path)
    return path


NEW_YORK = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    "times",
    [
        pa.array([date(2024, 1, 2), date(2024, 1, 3)]),
        pa.array([datetime(2024, 1, 2), datetime(2024, 1, 3)], pa.timestamp("ns")),
        pa.array([datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        pa.array(
            [datetime(2024, 1, 2, tzinfo=NEW_YORK), datetime(2024, 1, 3, tzinfo=NEW_YORK)],
            pa.timestamp("ns", "America/New_York"),
        ),
        pa.array(["2024-01-02", "2024-01-03"]),
        pa.array([1704153600, 1704240000]),
    ],
)
def test_parquet_with_any_kind_of_time(tmp_path, times):
    symbol, timeframe, rows = one(frame(tmp_path / "ACME.parquet", times))
    assert (symbol, timeframe, [row["open_time"].day for row in rows]) == ("ACME", "1d", [2, 3])
    assert [rows[0][name] for name in ("open", "high", "low", "close", "volume")] == ["1.1", "3", "1", "2.5", "1000000"]


def test_parquet_numbers_are_exact(tmp_path):
    times = pa.array([date(2024, 1, 2)])
    path = frame(
        tmp_path / "ACME.parquet",
        times,
        **{"Adj Close": pa.array([150.28], pa.float32()), "quote volume": pa.array([Decimal("1.10")])},
    )
    found = one(path)[2][0]
    assert (found["adj_close"], found["quote_volume"]) == ("150.28", "1.10")


def test_a_missing_value_in_parquet_is_missing(tmp_path):
    times = pa.array([date(2024, 1, 2), date(2024, 1, 3)])
    path = frame(tmp_path / "ACME.parquet", times, **{"Adj Close": pa.array([None, float("nan")], pa.float64())})
    assert [row["adj_close"] for row in one(path)[2]] == [None, None]
