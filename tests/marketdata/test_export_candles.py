"""`manage.py export_candles`: what is stored comes out as it is, and comes back in as it was."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.ingestion import ingest
from marketdata.models import Asset, Basis, Candle, CorporateAction, Series, Spelling
from tests.marketdata.candles import day, row, stored, table

pytestmark = pytest.mark.usefixtures("house")
HEAD = "symbol,timeframe,open_time,open,high,low,close,adj_close,volume,source"


def export(*arguments: str) -> str:
    out = io.StringIO()
    call_command("export_candles", *arguments, stdout=out)
    return out.getvalue()


def rows(*arguments: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(export(*arguments))))


def acme(**numbers) -> Asset:
    asset = Asset.objects.create(symbol="ACME")
    ingest(asset, "1d", table([row(day(n), **numbers) for n in range(4)]), source="test")
    return asset


def test_it_works():
    acme(close="10.50", adj_close="10.2500000001", volume="0.00000001")
    assert export("acme").splitlines()[:2] == [
        HEAD,
        "ACME,1d,2020-01-01T00:00:00Z,10,12,9,10.5,10.2500000001,0.00000001,test",
    ]
    assert export("ACME").endswith("\r\n")


def test_it_is_the_file_of_the_page():
    from asgiref.sync import async_to_sync

    from tests import cast
    from tests.marketdata.test_asset_pages import _body

    acme(close="10.50", adj_close="10.25")
    _, text = async_to_sync(_body)(cast.bob(), "/assets/ACME/candles.csv?range=all")
    assert text == export("ACME")


def test_a_range_and_several_symbols_in_the_order_that_was_given():
    acme()
    other = Asset.objects.create(symbol="OTHER")
    Spelling.objects.create(asset=other, provider="yahoo", spelling="OTH.L")
    ingest(other, "1d", table([row(day(2))]), source="test")
    found = rows("oth.l", "ACME", "--since", "2020-01-02", "--until", "2020-01-04")
    assert [(line["symbol"], line["open_time"][:10]) for line in found] == [
        ("OTHER", "2020-01-03"), ("ACME", "2020-01-02"), ("ACME", "2020-01-03"),
    ]  # fmt: skip


prices = st.decimals(min_value=0, max_value=Decimal("9999999999.9999999999"), places=10)
volumes = st.decimals(min_value=0, max_value=Decimal("99999999999999999999.99999999"), places=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.lists(st.tuples(prices, st.none() | prices, volumes), min_size=1, max_size=10))
def test_what_was_exported_imports_as_the_same_candles(tmp_path, values):
    for symbol in ("ONE", "TWO"):
        Candle.objects.filter(asset__symbol=symbol).delete()
        Series.objects.filter(asset__symbol=symbol).delete()
    one, _ = Asset.objects.get_or_create(symbol="ONE")
    given_rows = [
        row(day(n), *(f"{price:f}",) * 4, volume=f"{volume:f}", adj_close=None if adjusted is None else f"{adjusted:f}")
        for n, (price, adjusted, volume) in enumerate(values)
    ]
    ingest(one, "1d", table(given_rows), source="test")
    file = tmp_path / "one.csv"
    call_command("export_candles", "ONE", "--output", str(file))
    file.write_text(file.read_text().replace("ONE,", "TWO,"))
    call_command("import_candles", str(file), "--symbol", "TWO", stdout=io.StringIO())
    assert stored(Asset.objects.get(symbol="TWO")) == stored(one)


def test_adjusted_for_splits_and_only_what_changes():
    asset = acme(close="10.1234567891")
    Series.objects.update(basis=Basis.RAW)
    CorporateAction.objects.create(asset=asset, kind="split", ex_date=day(2).date(), value=Decimal(3), source="test")
    found = rows("ACME", "--adjust", "split")
    assert [line["close"] for line in found] == ["3.374485596", "3.374485596", "10.1234567891", "10.1234567891"]
    assert [line["volume"] for line in found] == ["300", "300", "100", "100"]
    assert [line["close"] for line in rows("ACME")] == ["10.1234567891"] * 4
    assert export("ACME", "--adjust", "raw") == export("ACME")
    assert [line["close"] for line in rows("ACME", "--adjust", "split", "--since", "2020-01-02")][:2] == [
        "3.374485596", "10.1234567891",
    ]  # fmt: skip


def test_total_return_is_the_adjusted_close_where_the_source_gives_it():
    acme(close="10", adj_close="9.5", low="5")
    assert [line["close"] for line in rows("ACME", "--adjust", "total")] == ["9.5"] * 4


def test_as_it_was_known():
    asset = acme()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        then = cursor.fetchone()[0]
    before = export("ACME")
    ingest(asset, "1d", table([row(day(1), close="9.5"), row(day(9))]), source="other")
    assert export("ACME", "--as-of", then.isoformat()) == before != export("ACME")
    assert export("ACME", "--as-of", "2000-01-01") == f"{HEAD}\r\n"


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    acme()
    file = tmp_path / "out.csv"
    call_command("export_candles", "ACME", "--output", str(file))
    assert file.read_bytes().decode() == export("ACME")
    with pytest.raises(CommandError, match="can't be written: No such file or directory"):
        call_command("export_candles", "ACME", "--output", str(tmp_path / "none" / "out.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["NOPE"], "There is no asset called NOPE; fetch or import it first"),
        (["ACME", "--timeframe", "1h"], "ACME has no 1h candles; give --timeframe with one that it has: 1d"),
        (["EMPTY"], "EMPTY has no 1d candles; fetch or import them first"),
        (["ACME", "--timeframe", "2d"], "invalid choice: '2d'"),
        (["ACME", "--adjust", "all"], "invalid choice: 'all'"),
        (["ACME", "--as-of", "yesterday"], "'yesterday' is no time"),
        (["ACME", "--since", "2020-02-01", "--until", "2020-01-01"], "exchange the two"),
    ],
)
def test_what_is_not_there_is_named(arguments, words):
    acme()
    Asset.objects.create(symbol="EMPTY")
    with pytest.raises(CommandError, match=words):
        export(*arguments)


def test_old_and_odd_times_are_written_in_full():
    asset = Asset.objects.create(symbol="OLD")
    ingest(asset, "1m", table([row(datetime(1789, 7, 14, 9, 31, tzinfo=UTC))]), source="test")
    assert rows("OLD", "--timeframe", "1m")[0]["open_time"] == "1789-07-14T09:31:00Z"
