"""Symbols as people write them, and what is no symbol."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.models import canonical, is_symbol
from marketdata.validation.written import SHOWN, read


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("nvda", "NVDA"),
        (" NVDA\n", "NVDA"),
        ("btc/usdt", "BTC-USDT"),
        ("EURUSD=X", "EUR-USD"),
        ("brk.b", "BRK.B"),
        ("^gspc", "^GSPC"),
    ],
)
def test_the_usual_ways_need_no_remark(text: str, symbol: str) -> None:
    found = read(text)
    assert (found.symbol, found.note) == (symbol, "")


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("ＡＡＰＬ", "AAPL"),
        ("7203．T", "7203.T"),
        ("𝐀𝐀𝐏𝐋", "AAPL"),
        ("BTC–USDT", "BTC-USDT"),
        ("BTC / USDT", "BTC-USDT"),
        ("$TSLA", "TSLA"),
        ("\ufeffAAPL", "AAPL"),
        ("\u200eAAPL\u200f", "AAPL"),
    ],
)
def test_what_can_only_mean_one_thing_is_read_and_said(text: str, symbol: str) -> None:
    found = read(text)
    assert (found.symbol, found.note) == (symbol, f"Read as {symbol}.")


@pytest.mark.parametrize(
    ("text", "says", "meant"),
    [
        ("АAPL", "cyrillic capital letter a; it only looks like a Latin A", "AAPL"),
        ("ΑAPL", "greek capital letter alpha", "AAPL"),
        ("ıbm", "dotless i", "IBM"),
        ("AA\u200bPL", "zero width space", "AAPL"),
        ("AA\u202ePL", "right-to-left override", "AAPL"),
        ("AAPL\0", "can’t be seen (U+0000)", "AAPL"),
        ("AAPL²", "superscript two", "AAPL2"),
        ("NASDAQ:AAPL", "“:” can’t be part", "AAPL"),
        ('"AAPL"', '“"” can’t be part', "AAPL"),
        ("BRK B", "no spaces", "BRK-B"),
        ("AAPL MSFT", "no spaces", ""),
        ("=AAPL", "begins with a letter, a digit or ^", "AAPL"),
        ('=HYPERLINK("http://evil.example","AAPL")', "“(” can’t be part", ""),
        ("'; DROP TABLE marketdata_asset; --", "no spaces", ""),
        ("<script>alert(1)</script>", "“<” can’t be part", ""),
        ("../../etc/passwd", "begins with", ""),
        ("💥", "collision symbol", ""),
        ("\ud800", "can’t be seen (U+D800)", ""),
        ("ß", "can’t be part", ""),
        ("^^^", "at least one letter or digit", ""),
        ("", "no symbol here", ""),
        (" \u200b ", "no symbol here", ""),
        ("x" * 10_240, "10,240 characters; a symbol has at most 40", ""),
        ("A" * 41, "41 characters", ""),
    ],
)
def test_what_is_none_says_why(text: str, says: str, meant: str) -> None:
    found = read(text)
    assert found.symbol == ""
    assert says in found.note
    assert found.meant == meant
    assert len(found.text) <= SHOWN


@given(st.text(st.characters(), max_size=300) | st.text("АAВ$^.-/=_ \u200b\ufeff<'\";:ＡａⅨ", max_size=12))
def test_whatever_it_is_nothing_is_raised_and_it_fits_on_a_page(text: str) -> None:
    found = read(text)
    assert len(found.text) <= SHOWN
    assert found.text.isprintable()
    assert found.note.isprintable()
    assert len(found.note) < 200
    assert found.symbol or found.note
    for symbol in filter(None, (found.symbol, found.meant)):
        is_symbol(symbol)
        assert canonical(symbol) == symbol or found.meant


@given(
    st.text(string.ascii_letters + string.digits + ".^=_-/", min_size=1, max_size=39).filter(
        lambda text: text[0].isalnum()
    )
)
def test_a_symbol_stays_what_it_is(text: str) -> None:
    found = read(text)
    if any(sign.isalnum() for sign in canonical(text)):
        assert found.symbol == canonical(text)
        assert read(found.symbol).symbol == canonical(found.symbol)
