"""The symbol master is loaded: from files, from a package, again, and over what is stored."""

import gzip
import io
import json
import sys

import pytest
from django.core.management import call_command
from django.db import connection

from marketdata.directory import listings
from marketdata.directory.importance import importance
from marketdata.models import Asset, AssetClass, Listing
from tests import cast
from tests.marketdata.directory import REAL, load, made_up, write_csv

pytestmark = pytest.mark.usefixtures("house")


def run(*arguments):
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("load_symbols", *map(str, arguments), stdout=out)
    return ended.value.code, out.getvalue()


def versions():
    """Which row version of each line is stored: a line that was rewritten has a new one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT symbol, xmin::text, ctid::text FROM marketdata_listing ORDER BY symbol")
        return cursor.fetchall()


def test_a_directory_is_stored_as_canonical_symbols(tmp_path):
    code, said = run(write_csv(tmp_path / "master.csv"))
    assert code == 0
    assert f"{len(REAL) - 1} symbols" in said
    assert "1 lines name what another line names too" in said
    apple = Listing.objects.get(pk="AAPL")
    assert (apple.name, apple.asset_class, apple.exchange, apple.mic) == ("Apple Inc.", "stock", "NMS", "XNAS")
    assert (apple.sector, apple.cap_class, apple.isin) == ("Information Technology", "mega", "US0378331005")
    assert Listing.objects.get(pk="EUR-USD").spelling == "EURUSD=X"
    assert Listing.objects.get(pk="USD-JPY").asset_class == "fx"
    assert Listing.objects.get(pk="XAU-USD").asset_class == "commodity"
    assert Listing.objects.get(pk="M&M.NS").name == "Mahindra & Mahindra Limited"
    assert Listing.objects.get(pk="SHEL.L").name == "Shell plc"


def test_of_two_spellings_of_one_symbol_the_line_that_says_more_stays():
    both = [row for row in REAL if row[0] in ("BRK-B", "BRK/B")]
    for order in (both, both[::-1]):
        assert load(order).twins == 1
        kept = Listing.objects.get(pk="BRK-B")
        assert (kept.spelling, kept.exchange, kept.industry) == ("BRK-B", "NYQ", "Insurance")


def test_loading_again_touches_nothing():
    first = load()
    assert first.inserted == first.stored == len(REAL) - 1
    before = versions()
    again = load()
    assert (again.inserted, again.updated, again.removed, again.unchanged) == (0, 0, 0, first.stored)
    assert versions() == before


def test_what_differs_is_changed_and_what_vanished_is_removed():
    load()
    load([("ZZZ.X", "Another directory's", "EQUITY", *[""] * 9, "directory B")])
    rows = [(*row[:1], "Apple Computer", *row[2:]) if row[0] == "AAPL" else row for row in REAL if row[0] != "GOGO"]
    done = load(rows)
    assert (done.inserted, done.updated, done.removed, done.spared) == (0, 1, 1, 0)
    assert Listing.objects.get(pk="AAPL").name == "Apple Computer"
    assert not Listing.objects.filter(pk="GOGO").exists()
    assert Listing.objects.filter(pk="ZZZ.X").exists()


def test_a_part_of_a_directory_removes_nothing_unasked(tmp_path):
    load(REAL + made_up(400))
    part = write_csv(tmp_path / "part.csv", REAL)
    code, said = run(part)
    assert code == 0
    assert "400 stored symbols of the same source are not in it and were kept" in said
    assert Listing.objects.count() == len(REAL) - 1 + 400
    assert "400 removed" in run(part, "--replace")[1]
    assert Listing.objects.count() == len(REAL) - 1


def test_what_cannot_be_a_symbol_is_told(tmp_path):
    rows = [
        ("AHCS@S.QA", "Aamal QPSC", "EQUITY"),
        ("ECC     ", "Padded", "EQUITY"),
        ("", "Nameless", "EQUITY"),
        ("HOUSE", "A house", "REALESTATE"),
        ("=HYPERLINK(1)", "<b>", "EQUITY"),
        ("OK", "Bad\tname\x00 \u202ewith  gaps ", "EQUITY"),
    ]
    code, said = run(write_csv(tmp_path / "odd.csv", rows, ("symbol", "name", "type")), "--json")
    assert code == 0
    assert "AHCS@S.QA, =HYPERLINK(1)" in said
    told = json.loads(said.splitlines()[-1])
    assert sum(reason["lines"] for reason in told["refused"].values()) == 4
    assert set(Listing.objects.values_list("pk", "name")) == {("ECC", "Padded"), ("OK", "Bad name with gaps")}
    assert Listing.objects.get(pk="OK").source == "odd.csv"


def test_parquet_and_gzip_are_read_and_byte_order_marks_too(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(
        pa.table({"Symbol": ["AAA"], "Name": [None], "Type": ["ETF"], "sp500": [False]}), tmp_path / "a"
    )
    assert run(tmp_path / "a")[0] == 0
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress("\ufeffsymbol,name,type\nBBB,Bé,ETF\nTRUE,null,ETF\n".encode()))
    assert run(tmp_path / "b.csv.gz")[0] == 0
    assert dict(Listing.objects.values_list("pk", "name")) == {"AAA": "", "BBB": "Bé", "TRUE": "null"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"symbol,title\nA,B\n", "lacks the columns name, type; it has symbol, title"),
        (b"PAR1 and no more", "can't be read as Parquet"),
        (b"\x1f\x8bbroken", "can't be read"),
        (b"symbol,name,type\nA,\xff\xfe,ETF\n", "can't be read"),
        (b"symbol,name,type\nA,B\n", "can't be read"),
    ],
)
def test_a_file_that_is_no_directory_is_refused_with_the_reason(tmp_path, content, says):
    load(REAL[:3])
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    code, said = run(path, "--json")
    assert code == 1
    assert says in said
    assert json.loads(said.splitlines()[-1])["status"] == "failed"
    assert Listing.objects.count() == 3


def test_a_missing_file_and_an_absent_package_say_what_to_do(tmp_path, monkeypatch):
    assert "there is no such file" in run(tmp_path / "nothing.csv")[1]
    assert "is a directory" in run(tmp_path)[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "financedatabase", None)
    code, said = run("financedatabase")
    assert code == 1
    assert "pip install" in said


class Package:
    """The part of the financedatabase package that is used, as it is in its 2.4: a table in `data` by class."""

    def __init__(self, address="https://example.org/"):
        import pandas as pd

        tables = {
            "Equities": "symbol,name,sector,exchange,market_cap,currency\nAAPL,Apple Inc.,IT,NMS,Mega Cap,USD",
            "ETFs": "symbol,name,category_group,category,exchange\nSPY,SPDR S&P 500,Equities,Large Cap,PCX",
            "Funds": "symbol,name,category_group,category,exchange\nVFIAX,Vanguard 500,Equities,Large Cap,NAS",
            "Indices": "symbol,name,currency,category_group,category,exchange\n^GSPC,S&P 500,USD,Equities,,SNP",
            "Currencies": "symbol,name,exchange,base_currency,quote_currency\nEURUSD=X,EUR/USD,CCY,EUR,USD",
            "Cryptos": "symbol,name,cryptocurrency,currency,exchange\nBTC-USD,Bitcoin USD,BTC,USD,CCC",
        }
        for kind, text in tables.items():
            frame = pd.read_csv(io.StringIO(text), index_col=0)
            setattr(self, kind, lambda base_url=address, frame=frame: self.answer(base_url, frame))

    def answer(self, base_url, frame):
        if "example" not in base_url:
            raise ValueError(
                "Failed to load data from " + base_url + ": no route to host.\nSometimes it is the firewall."
            )
        return type("Answer", (), {"data": frame})


def test_the_package_is_asked_where_it_is_installed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "financedatabase", Package())
    assert run("financedatabase")[0] == 0
    assert dict(Listing.objects.values_list("pk", "asset_class")) == {
        "AAPL": "stock", "SPY": "etf", "VFIAX": "fund", "^GSPC": "index", "EUR-USD": "fx", "BTC-USD": "crypto",
    }  # fmt: skip
    assert Listing.objects.get(pk="SPY").industry == "Large Cap"
    assert Listing.objects.get(pk="EUR-USD").currency == "USD"
    code, said = run("financedatabase", "--base-url", "http://127.0.0.1:9/")
    assert code == 1
    assert "could not be downloaded (equities): Failed to load data" in said
    assert "Nothing has changed" in said
    assert Listing.objects.count() == 6


def test_stored_assets_learn_what_they_lack_and_keep_what_they_know():
    Asset.objects.create(symbol="AAPL", name="My Apple")
    Asset.objects.create(symbol="SPY")
    Asset.objects.create(symbol="AAPL.SAMPLE", is_sample=True)
    done = load()
    assert done.assets == 2
    apple, spy = Asset.objects.get(symbol="AAPL"), Asset.objects.get(symbol="SPY")
    assert (apple.name, apple.sector, apple.country) == ("My Apple", "Information Technology", "United States")
    assert (apple.cap_class, apple.calendar, apple.currency) == ("mega", "XNYS", "USD")
    assert spy.asset_class == AssetClass.ETF
    assert load().assets == 0


def test_a_new_asset_knows_what_the_directory_says():
    from chronos.core import tenancy
    from universes import catalogue, membership

    load()
    alice = cast.alice()
    with tenancy.acting_as(alice):
        membership.add(catalogue.create(alice, "Mine"), alice, ["7203.T", "^GSPC", "NOBODY", "BTC-USD"])
    toyota, index = Asset.objects.get(symbol="7203.T"), Asset.objects.get(symbol="^GSPC")
    assert (toyota.name, toyota.calendar, toyota.cap_class) == ("Toyota Motor Corporation", "XTKS", "mega")
    assert (index.asset_class, index.calendar) == ("index", "XNYS")
    assert Asset.objects.get(symbol="BTC-USD").calendar == "24/7"
    assert Asset.objects.get(symbol="NOBODY").name == ""


def test_looking_up_is_one_query():
    from django.test.utils import CaptureQueriesContext

    load()
    with CaptureQueriesContext(connection) as asked:
        found = listings.listed(["AAPL", "MSFT", "NOBODY"] * 100)
    assert set(found) == {"AAPL", "MSFT"}
    assert len(asked) == 1
    assert listings.listed([]) == {}


def test_what_a_person_seeks_comes_first():
    def of(symbol, kind="stock", exchange="NMS", country="United States", cap="mega", **more):
        return importance(symbol, kind, exchange=exchange, country=country, cap_class=cap, **more)

    assert of("ABBV", in_sp500=True) > of("ABBV") > of("ABBV", cap="small")
    assert of("TM", exchange="NYQ", country="Japan") > of("7203.T", exchange="JPX", country="Japan")
    assert of("7203.T", exchange="JPX", country="Japan") > of("TOM.MU", exchange="MUN", country="Japan")
    assert of("^GSPC", "index") > of("^NQUSB50", "index")
    assert of("EUR-USD", "fx") > of("USD-EUR", "fx") > of("AUD-SEK", "fx")
    assert of("BTC-USD", "crypto") > of("BTC-CAD", "crypto")
    assert all(0 <= of(row[0], "stock", row[3], row[6], "") <= 32767 for row in REAL)
