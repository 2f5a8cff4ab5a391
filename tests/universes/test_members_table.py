"""The table of members: columns, order, filters, the past, its file; and what may be written in its address."""

import csv
import io
from datetime import UTC, date, datetime, timedelta

import pytest

from chronos.core import tenancy
from marketdata import quotes
from marketdata.models import Asset, Basis, CorporateAction, Series
from tests import cast
from tests.prices import stored, walk
from tests.universes.test_universe_pages import HTMX, made, public, queries
from universes import columns, membership

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return cast.signed_in(alice)


@pytest.fixture
def chips(alice):
    """Three members, of which one has no candles and no facts."""
    stored("AAA", [10, 10, 20], sector="Technology", exchange="NMS", market_cap=5_000)
    stored("BBB", [4, 4, 2], sector="Energy", exchange="NYQ", market_cap=7_000)
    universe = made(alice, "AAA", "BBB", "CCC")
    with tenancy.acting_as(alice):
        membership.annotate(universe, alice, "AAA", "=look again", ["core", "AI"])
    return universe


def shown(page, universe, query="", headers=HTMX):
    """The symbols in the rows, in their order."""
    text = page.get(f"{universe.get_absolute_url()}?{query}", headers=headers).text
    return [part.split('"')[0] for part in text.split('data-symbol="')[1:]]


@pytest.mark.parametrize("key", [column.key for column in columns.COLUMNS if column.sortable])
def test_every_column_sorts_both_ways_with_what_is_not_known_last(page, chips, key):
    up, down = shown(page, chips, f"sort={key}"), shown(page, chips, f"sort=-{key}")
    assert sorted(up) == sorted(down) == ["AAA", "BBB", "CCC"]
    if key in {"price", "change", "range", "volume", "cap", "sector", "exchange", "age", "source"}:
        assert up[-1] == down[-1] == "CCC"
    if key in {"price", "change", "range", "cap", "sector", "exchange"}:
        assert up[:2] == down[1::-1]


def test_the_columns_are_those_of_the_address_and_are_remembered(page, chips):
    url = chips.get_absolute_url()
    text = page.get(f"{url}?cols=sector,cap").text
    assert ">Energy</td>" in text
    assert "30 closes</th>" not in text
    assert ">Energy</td>" in page.get(url).text  # remembered here
    other = public("AAA")
    assert ">Technology</td>" in page.get(other.get_absolute_url()).text  # and where nothing was chosen yet
    assert ">Technology</td>" not in page.get(f"{url}?cols=usual").text
    assert "30 closes</th>" in page.get(url).text


def test_without_javascript_the_columns_come_one_by_one(page, chips):
    text = page.get(f"{chips.get_absolute_url()}?cols=sector&cols=exchange").text
    assert "NYQ" in text
    assert "Energy" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=aaa", ["AAA"]),
        ("q=INC bbb", ["BBB"]),
        ("q=look+again", ["AAA"]),
        ("sector=Energy", ["BBB"]),
        ("sector=Energy&sector=Technology", ["AAA", "BBB"]),
        ("sector=–", ["CCC"]),
        ("tag=core&exchange=NMS", ["AAA"]),
        ("tag=core&exchange=NYQ", []),
        ("fresh=empty", ["CCC"]),
        ("fresh=empty&fresh=ageing&fresh=fresh&sort=-change", ["AAA", "BBB", "CCC"]),
        ("state=unverified&class=stock&q=c", ["AAA", "BBB", "CCC"]),
        ("class=crypto", []),
    ],
)
def test_filters_are_combined_and_in_the_address(page, chips, query, found):
    got = shown(page, chips, query)
    assert got == found or (query.startswith("state") and set(got) <= set(found))


def test_active_filters_are_chips_that_take_themselves_away(page, chips):
    text = page.get(f"{chips.get_absolute_url()}?sector=Energy&sector=Technology&q=a").text
    assert "1 of 3 assets" in text
    assert "Sector: Energy" in text
    assert 'href="?sector=Technology&amp;q=a"' in text
    text = page.get(f"{chips.get_absolute_url()}?sector=Nonsense").text
    assert "No member is like that" in text
    assert "Sector: Nonsense" in text


def test_the_address_is_told_in_its_shortest_form(page, chips):
    url = chips.get_absolute_url()
    usual = "&".join(f"cols={key}" for key in columns.USUAL)
    answer = page.get(f"{url}?q=a&sector=&sort=place&{usual}", headers=HTMX | {"HX-Trigger": "find"})
    assert answer.headers["HX-Replace-Url"] == f"{url}?q=a"
    answer = page.get(f"{url}?sort=-1y&cols=1y&cols=name", headers=HTMX)
    assert answer.headers["HX-Push-Url"] == f"{url}?sort=-1y&cols=symbol,name,1y"
    again = page.get(url, headers=HTMX | {"HX-Trigger": "rows"})  # a job has ended: nobody went anywhere
    assert "HX-Push-Url" not in again.headers


HOSTILE = ["%00", "%01", "'; DROP TABLE universes_universe--", "<script>alert(1)</script>", "a" * 3000, "-", "%FF%FE",
           "9" * 400, "-1", "²", "=1+1", "2024-02-31", "0000-00-00", "{{7*7}}", "%E2%80%AE", "place,%00"]  # fmt: skip


KEYS = ("cols", "sort", "q", "class", "sector", "exchange", "tag", "state", "fresh", "page", "at", "compare", "span")


@pytest.mark.parametrize("value", HOSTILE)
def test_whatever_is_written_in_the_address_is_answered(page, chips, value):
    everywhere = "&".join(f"{key}={value}&{key}=x" for key in KEYS)
    alone = f"{KEYS[HOSTILE.index(value) % len(KEYS)]}={value}"
    for path in (f"?{everywhere}", f"?{alone}", f"members.csv?{everywhere}"):
        answer = page.get(f"{chips.get_absolute_url()}{path}")
        assert answer.status_code == (400 if "%00" in value else 200), path  # said in words
        assert b"<script>alert" not in answer.getvalue()


def test_neither_do_many_values_or_a_strange_cookie_break_it(page, chips):
    many = "&".join(f"{key}={n}" for key in KEYS for n in range(60))
    assert page.get(f"{chips.get_absolute_url()}?{many}").status_code == 200
    page.cookies["chronos_columns"] = "\x01<b>;" * 50
    assert page.get(chips.get_absolute_url()).status_code == 200


def test_the_past_has_its_members_and_its_closes(alice, page):
    last = datetime(2024, 3, 8, tzinfo=UTC)
    stored("NVDA", [100, 110, 121, 60], last=last)
    universe = made(alice, "NVDA", "AMD")
    with tenancy.acting_as(alice):
        universe.memberships.filter(asset__symbol="NVDA").update(joined_at=last - timedelta(days=30))
    text = page.get(f"{universe.get_absolute_url()}?at=2024-03-07").text
    assert "as of the end of 7 Mar 2024" in text
    assert "121.00" in text
    assert "+10.00" in text
    assert "60.00" not in text
    assert "7 Mar 2024" in text
    assert 'data-symbol="AMD"' not in text
    assert "grip" not in text  # the past is not arranged


def test_a_split_is_no_fall(alice, page):
    asset = stored("NVDA", [1000, 1010, 101, 102], last=datetime(2024, 6, 11, tzinfo=UTC))
    Series.objects.update(basis=Basis.RAW)
    CorporateAction.objects.create(asset=asset, kind="split", ex_date=date(2024, 6, 10), value=10, source="file")
    universe = made(alice, "NVDA")
    assert '<svg class="spark gain"' in page.get(universe.get_absolute_url()).text
    assert quotes.quotes([asset])[asset.pk].trend == "gain"
    day = datetime(2024, 6, 10, 12, tzinfo=UTC)
    assert quotes.last_closes(quotes.preferred([asset]), 30, day)[asset.pk][1] == [100, 101, 101]
    assert quotes.last_closes(quotes.preferred([asset]), 30, day - timedelta(days=1))[asset.pk][1] == [1000, 1010]


def test_the_file_has_the_chosen_columns_in_full_and_no_formula(page, chips):
    answer = page.get(f"{chips.get_absolute_url()}members.csv?cols=name,price,change,cap,note,joined&sort=-price")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["symbol"] for row in rows] == ["AAA", "BBB", "CCC"]
    first = {"symbol": "AAA", "name": "AAA Inc.", "price": "20", "change": "1", "cap": "5000.00"}
    assert rows[0] == first | {"note": "'=look again", "joined": f"{datetime.now(UTC):%Y-%m-%d}"}
    assert rows[2]["price"] == ""
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="chips_')


def test_a_stranger_gets_no_file(chips):
    assert cast.signed_in(cast.bob()).get(f"{chips.get_absolute_url()}members.csv").status_code == 404


def test_more_than_a_page_of_members_comes_by_pages_and_whole_as_a_file(alice, page):
    universe = made(alice, *(f"S{n:03}" for n in range(205)))
    text = page.get(universe.get_absolute_url()).text
    assert text.count("data-symbol=") == 200
    assert 'data-following="S200"' in text
    assert "Page 1 of 2" in text
    assert shown(page, universe, "page=2") == [f"S{n}" for n in range(200, 205)]
    assert page.get(f"{universe.get_absolute_url()}members.csv").text.count("\n") == 206


ALL = "cols=" + ",".join(column.key for column in columns.COLUMNS)


@pytest.mark.parametrize("query", [ALL, f"{ALL}&sort=-1y", f"{ALL}&fresh=fresh&sort=range", f"{ALL}&at=2026-11-20"])
def test_the_number_of_queries_is_the_same_for_one_and_for_many(alice, page, query):
    stored("NVDA", walk(400))
    universe = made(alice, "NVDA")
    url = f"{universe.get_absolute_url()}?{query}"
    few = queries(page, url)
    for n in range(12):
        stored(f"S{n}", walk(3))
    with tenancy.acting_as(alice):
        membership.add(universe, alice, [f"S{n}" for n in range(30)])
    many = queries(page, url)
    assert len(many) == len(few), "\n".join(many)
    assert len(many) <= 22


def test_a_symbol_that_providers_no_longer_know_is_told_beside_it(alice, page):
    gone = datetime(2026, 1, 2, tzinfo=UTC)
    Asset.objects.create(symbol="TWTR", validated_at=gone, refuted_at=gone + timedelta(days=9))
    Asset.objects.create(symbol="TYPO", refuted_at=gone)
    universe = made(alice, "TWTR", "TYPO", "NEWCO")
    text = page.get(universe.get_absolute_url()).text
    for word in ("delisted", "unknown", "not confirmed"):
        assert f">{word}</em>" in text
    assert shown(page, universe, "state=delisted") == ["TWTR"]


def test_a_reader_has_no_controls_that_would_be_refused(alice, chips):
    from universes import catalogue

    rita = cast.rita()
    with tenancy.acting_as(alice):
        catalogue.share(chips, alice, ["rita"])
    text = cast.signed_in(rita).get(chips.get_absolute_url()).text
    assert "Shared by alice" in text
    for control in ("Symbols to add", "grip", "tag-chosen", "note-dialog", ">Remove<"):
        assert control not in text
    assert "look again" in cast.signed_in(rita).get(f"{chips.get_absolute_url()}?cols=note").text


def test_names_notes_and_words_of_sources_are_text_in_every_cell(alice, page):
    evil = "\"><script>alert(1)</script>'&"
    stored("EVIL", [1, 2], name=evil, sector=evil, industry=evil, exchange=evil[:40], country=evil, currency="<b>")
    universe = made(alice, "EVIL")
    with tenancy.acting_as(alice):
        membership.annotate(universe, alice, "EVIL", evil, [evil])
    text = page.get(f"{universe.get_absolute_url()}?{ALL}").text
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 12
