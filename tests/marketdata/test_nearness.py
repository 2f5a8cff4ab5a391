"""What is suggested for symbols that nobody knows."""

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.directory.folding import folded, words
from marketdata.directory.nearness import FORMER, suggestions, suggestions_for
from marketdata.models import SYMBOL, Asset, canonical
from tests.marketdata.directory import REAL, load, made_up

pytestmark = pytest.mark.usefixtures("house")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("GOGL", "GOOGL"),
        ("APPL", "AAPL"),
        ("TSAL", "TSLA"),
        ("NVDIA", "NVDA"),
        ("MSFTT", "MSFT"),
        ("BRK.B", "BRK-B"),
        ("brkb", "BRK-B"),
        ("BTCUSD", "BTC-USD"),
        ("XBTUSD", "BTC-USD"),
        ("EURUSD", "EUR-USD"),
        ("GSPC", "^GSPC"),
        ("^GSCP", "^GSPC"),
        ("SPX", "^GSPC"),
        ("FB", "META"),
        ("7203", "7203.T"),
        ("700.HK", "0700.HK"),
        ("0700HK", "0700.HK"),
        ("SIE", "SIE.DE"),
        ("SIE.F", "SIE.DE"),
        ("SHEL.LL", "SHEL.L"),
        ("NASDAQ:AAPL", "AAPL"),
        ("AAPL.US", "AAPL"),
        ("apple", "AAPL"),
        ("berkshire hathaway", "BRK-B"),
        ("societe generale", "GLE.PA"),
        ("M&M", "M&M.NS"),
    ],
)
def test_what_was_meant_comes_first(written, meant):
    load()
    assert suggestions(written)[:1] == [meant]


def test_pairs_of_coins_are_suggested_though_directories_lack_them():
    assert suggestions("ETHUSDT")[0] == "ETH-USDT"
    assert suggestions("BTC/USDT")[0] == "BTC-USD"
    assert suggestions("GSPC") == []


def test_stored_assets_are_suggested_too():
    Asset.objects.create(symbol="MYFUND")
    assert suggestions("MYFUNF") == ["MYFUND"]
    assert suggestions("MYFUND") == []


def test_most_typos_in_a_long_list_are_found_out():
    """Among 3,000 neighbours; one query for all of them."""
    load(REAL + made_up(3000))
    chance = random.Random(3)
    real = {canonical(row[0]) for row in REAL + made_up(3000)}
    typos = {}
    while len(typos) < 200:
        symbol = chance.choice(sorted(real))
        if len(symbol.strip("^")) < 4:
            continue
        place = chance.randrange(1, len(symbol) - 1)
        kind = chance.randrange(3)
        typo = (
            symbol[:place] + symbol[place + 1] + symbol[place] + symbol[place + 2 :],
            symbol[:place] + symbol[place] + symbol[place:],
            symbol[:place] + symbol[place + 1 :],
        )[kind]
        if typo not in real:
            typos[typo] = symbol
    found = suggestions_for(typos)
    wrong = {typo: (symbol, found[typo]) for typo, symbol in typos.items() if symbol not in found[typo]}
    assert len(wrong) <= 20, wrong


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=60), st.from_regex(rf"\A{SYMBOL}\Z"), st.sampled_from(["%", "_", "'; drop", "\\", "🙂" * 50])
    )
)
def test_it_never_raises_and_suggests_only_what_is_a_symbol_and_not_itself(written):
    load(REAL[:20]) if not _loaded() else None
    found = suggestions(written)
    assert len(found) == len(set(found)) <= 3
    assert all(re.fullmatch(SYMBOL, symbol) for symbol in found)
    assert canonical(written) not in found


def _loaded() -> bool:
    from marketdata.directory.listings import any_loaded

    return any_loaded()


def test_former_symbols_are_none_that_lead_in_a_circle():
    assert not set(FORMER) & set(FORMER.values())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40))
def test_the_database_folds_as_python_does(text):
    from django.db import connection

    latin = "".join(letter for letter in text if ord(letter) < 0x600)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT marketdata_folded(%(text)s), tsvector_to_array(marketdata_words(%(text)s))", {"text": latin}
        )
        said, split = cursor.fetchone()
    assert said == folded(latin)
    assert set(split) == set(words(latin))


def test_words_are_as_people_type_them():
    assert words("S&P 500") == ["sp", "500"]
    assert words("McDonald’s Corp.") == ["mcdonalds", "corp"]
    assert words("A.P. Møller - Mærsk A/S") == ["ap", "moller", "maersk", "a", "s"]
