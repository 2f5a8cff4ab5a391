"""Assets and listings found together, and how: what comes first, what means nothing, and which plans it takes."""

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.directory import search
from marketdata.directory.search import find
from marketdata.models import Asset, AssetClass, Spelling
from tests import house
from tests.marketdata.directory import REAL, load, made_up

pytestmark = pytest.mark.usefixtures("house")


def symbols(text, **filters):
    return [hit.symbol for hit in find(text, **filters).hits]


def test_it_works():
    load()
    found = find("apple")
    assert [hit.symbol for hit in found.hits][:2] == ["AAPL", "APLE"]
    first = found.hits[0]
    assert (first.name, first.asset_class, first.exchange) == ("Apple Inc.", "Stock", "Nasdaq Global Select")
    assert (first.country, first.sector, first.cap_class) == ("United States", "Information Technology", "Mega cap")
    assert not first.stored
    assert first.url == "/assets/AAPL/"
    assert not found.more


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("AAPL", "AAPL"),
        ("aapl", "AAPL"),
        ("t", "T"),
        ("^gspc", "^GSPC"),
        ("gspc", "^GSPC"),
        ("EURUSD=X", "EUR-USD"),
        ("BRK/B", "BRK-B"),
        ("US0378331005", "AAPL"),
        ("vanguard tot", "VTI"),
        ("total vanguard", "VTI"),
        ("s&p 500", "^GSPC"),
        ("AT&T", "T"),
        ("at&t inc", "T"),
        ("mcdonald's", "MCD"),
        ("societe", "GLE.PA"),
        ("SOCIÉTÉ GÉN", "GLE.PA"),
        ("maersk", "MAERSK-B.CO"),
        ("7203", "7203.T"),
        ("bitcoin", "BTC-USD"),
        ("emens", "SIE.DE"),
        ("microsft", "MSFT"),
        ("ΑAPL", "AAPL"),
        ("brk.b", "BRK-B"),
    ],
)
def test_what_is_meant_comes_first(text, first):
    load()
    assert symbols(text)[0] == first


def test_a_listing_in_new_york_comes_before_the_one_at_home_and_copies_last():
    load()
    assert symbols("toyota") == ["TM", "7203.T"]
    assert symbols("apple inc")[0] == "AAPL"
    assert symbols("apple inc")[-1] == "AAPL.MX"


def test_what_is_stored_is_found_by_its_own_name_and_by_a_providers_spelling():
    load()
    bitcoin = Asset.objects.create(symbol="BTC-USDT", name="Bitcoin in tether", asset_class=AssetClass.CRYPTO)
    Spelling.objects.create(asset=bitcoin, provider="yahoo", spelling="BTC-T")
    Asset.objects.create(symbol="MYFUND", name="A fund of mine, Ångström")
    assert symbols("btc-t") == ["BTC-USDT"]
    assert symbols("tether") == ["BTC-USDT"]
    assert symbols("angstrom") == ["MYFUND"]
    assert symbols("gstro") == ["MYFUND"]
    assert symbols("bitcoin") == ["BTC-USDT", "BTC-USD"]
    assert symbols("myfunt") == ["MYFUND"]
    assert find("tether").hits[0].stored


def test_stored_ones_come_first_at_equal_merit_and_never_twice():
    load()
    Asset.objects.create(symbol="APLE", name="Apple Hospitality")
    assert symbols("apple") == ["AAPL", "APLE", "APC.DE", "AAPL.MX"]
    assert symbols("ap")[0] == "APLE"
    Asset.objects.create(symbol="VXUS", name="Vanguard Total International")
    assert symbols("vanguard total") == ["VXUS", "VTI"]
    assert len(set(symbols("a", limit=100))) == len(symbols("a", limit=100))


def test_what_is_only_listed_is_not_among_the_kept_even_by_its_symbol_or_isin():
    load()
    assert symbols("AAPL", stored=True) == symbols("US0378331005", stored=True) == []
    Asset.objects.create(symbol="AAPL")
    assert symbols("AAPL", stored=True) == symbols("US0378331005", stored=True) == ["AAPL"]


def test_without_a_text_it_lists_what_is_stored_and_then_what_is_sought():
    load()
    Asset.objects.create(symbol="ZZZ")
    assert symbols("")[:2] == ["ZZZ", "AAPL"]
    assert symbols("", stored=True) == ["ZZZ"]
    assert symbols("", country="Japan") == ["TM", "7203.T"]
    assert symbols("", asset_class="etf", sector="Equities")[0] == "SPY"
    assert symbols("", exchange="GER", cap_class="mega") == ["APC.DE"]
    assert symbols("", industry="Banks") == ["GLE.PA"]
    assert symbols("", sector="nonsense") == []


def test_filters_hold_for_every_step():
    load()
    Asset.objects.create(symbol="AAPL", country="United States")
    assert symbols("AAPL", country="Japan") == []
    assert symbols("AAPL", country="United States")[0] == "AAPL"
    assert symbols("toyota", exchange="JPX") == ["7203.T"]
    assert symbols("microsft", country="Japan") == []


def test_pages_follow_each_other():
    load(REAL + made_up(1500))
    first, second = find("n", limit=10), find("n", limit=10, offset=10)
    assert first.more
    assert len({hit.symbol for hit in first.hits} | {hit.symbol for hit in second.hits}) == 20
    whole = [hit.symbol for hit in find("n", limit=20).hits]
    assert whole == [hit.symbol for hit in first.hits + second.hits]
    assert find("n", limit=10, offset=10_000).hits == []


def test_the_choices_are_what_there_is():
    assert search.choices()["sector"] == []
    load()  # makes them anew
    Asset.objects.create(symbol="X", sector="Ärzte", exchange="NasdaqGS")
    from django.core.cache import cache

    cache.clear()
    choices = search.choices()
    assert choices["asset_class"][0] == ("stock", "Stock")
    assert ("NMS", "Nasdaq Global Select") in choices["exchange"]
    assert ("NasdaqGS", "NasdaqGS") in choices["exchange"]
    assert choices["sector"][0] == ("Ärzte", "Ärzte")
    assert [value for value, _ in choices["cap_class"]] == ["mega", "large", "mid", "small"]


HOSTILE = ["%", "_", "\\", "'", "''; drop table x", "%%%", "a' | b:*", "!", "&", ":*", "\x00", "<b>", "=HYPERLINK(1)",
           "A" * 10_000, "🙂", "ＡＡＰＬ", "\u202eAAPL", "^", "-", "a b c d e f g h i j", "ﷺ" * 30,
           "\ud7ff"]  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE), st.sampled_from([row[0] for row in REAL])))
def test_no_text_makes_it_raise_and_an_exact_symbol_is_always_first(text):
    from marketdata.directory.listings import any_loaded, listed
    from marketdata.models import canonical

    if not any_loaded():
        load()
    found = find(text, limit=5)
    assert len(found.hits) <= 5
    if listed([canonical(text[:100])]):
        assert found.hits[0].symbol == canonical(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_none_of_the_hostile_ones_raises(text):
    assert isinstance(find(text).hits, list)


def test_signs_of_like_mean_themselves():
    load()
    Asset.objects.create(symbol="PERCENT", name="100% sure_thing")
    assert symbols("%") == symbols("_") == symbols("\\") == []
    assert symbols("100%") == ["PERCENT"]
    assert symbols("ure_th") == ["PERCENT"]
    assert symbols("ure%th") == []


def test_no_search_reads_the_whole_table():
    """Every statement's plan, over 20,000 lines that the planner knows about."""
    load(REAL + made_up(20_000))
    Asset.objects.create(symbol="AAPL", name="Apple")
    with house.owner() as owner:
        owner.execute("ANALYZE marketdata_listing")
    plans: list[str] = []

    def explain(execute, sql, params, many, context):
        with connection.connection.cursor() as cursor:  # under the settings that the search has just made
            if sql.lstrip().startswith(("SELECT set_config", "SET")):
                return execute(sql, params, many, context)
            cursor.execute("EXPLAIN " + sql, params)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        for text, filters in (
            ("a", {}), ("in", {}), ("fund", {}), ("inc", {}), ("s&p", {}), ("vanguard total", {}), ("ΑAPL", {}),
            ("'; drop", {}), ("oft", {}), ("microsft", {}), ("^NQ", {}), ("zzzzzz", {}), ("", {}),
            ("", {"sector": "Energy"}), ("bank", {"country": "Japan", "asset_class": "etf"}),
            ("^NQ", {"asset_class": "stock"}), ("", {"asset_class": "index", "sector": "Equities"}),
            ("fund", {"asset_class": "etf"}), ("group", {}), ("", {"asset_class": "etf", "exchange": "NIM"}),
        ):  # fmt: skip
            find(text, **filters)
        for name in search.FILTERS:
            search._choices(name)
    assert len(plans) > 40
    assert [plan for plan in plans if "Seq Scan on marketdata_listing" in plan] == []
