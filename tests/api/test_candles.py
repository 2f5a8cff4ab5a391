"""Candles over the API: the same as JSON, CSV and Arrow; ranges, pages, adjustment, and the past as it was known."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from urllib.parse import urlencode

import orjson
import pyarrow as pa
import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata import sending
from marketdata.api import candles as api
from marketdata.ingestion import ingest
from marketdata.models import Asset, Basis, CorporateAction, Series, Timeframe
from tests import cast
from tests.api.program import Program
from tests.marketdata.candles import day, row, table
from tests.marketdata.test_as_of import now
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")
fresh = count(1)
every_time = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
NUMBERS = ("open", "high", "low", "close", "volume", "adj_close", "quote_volume")


def whole(answer) -> bytes:
    """The body, whether it is streamed or not."""
    if not answer.streaming:
        return answer.content

    async def read() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return async_to_sync(read)()


def rows_of(answer) -> list[tuple]:
    """(open, numbers), whatever form the answer has."""
    assert answer.status_code == 200, whole(answer)
    kind = answer.headers["Content-Type"].partition(";")[0]
    body = whole(answer)
    if kind == "application/json":
        told = orjson.loads(body)["data"]
        return [(datetime.fromisoformat(one["open_time"]), *(one[name] for name in NUMBERS)) for one in told]
    if kind == "text/csv":
        lines = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
        return [
            (
                datetime.fromisoformat(line["open_time"]),
                *(float(line[name]) if line[name] else None for name in NUMBERS),
            )
            for line in lines
        ]
    with pa.ipc.open_stream(body) as stream:
        told = stream.read_all().to_pylist()
    return [(one["open_time"], *(one[name] for name in NUMBERS)) for one in told]


def exported(*arguments: str) -> list[tuple]:
    """What the command writes: (open, open, high, low, close, volume, adj_close)."""
    out = io.StringIO()
    call_command("export_candles", *arguments, stdout=out)
    return [
        (
            datetime.fromisoformat(line["open_time"]),
            *(float(line[name]) if line[name] else None for name in NUMBERS[:6]),
        )
        for line in csv.DictReader(io.StringIO(out.getvalue()))
    ]


def acme(count: int = 8, **numbers) -> Asset:
    asset = Asset.objects.create(symbol="ACME", currency="USD")
    ingest(asset, "1d", table([row(day(n), close=f"11.{n:04d}", **numbers) for n in range(count)]), source="test")
    return asset


def test_as_json(hers):
    acme(adj_close="10.25")
    answer = hers("get_candles", symbol="acme", limit=3, start="2020-01-02")
    told = answer.json()
    assert told["success"] is True
    assert told["message"] == "3 candles of ACME, 1d: 2 Jan 2020 – 4 Jan 2020."
    assert told["data"][0] == {
        "open_time": "2020-01-02T00:00:00Z", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0001, "volume": 100.0,
        "adj_close": 10.25, "quote_volume": None,
    }  # fmt: skip
    about = told["metadata"]
    assert (about["symbol"], about["timeframe"], about["adjust"], about["source"]) == ("ACME", "1d", "split", "test")
    assert about["newest"] == "2020-01-08T00:00:00Z"
    assert about["fingerprint"] == answer.headers["Chronos-Fingerprint"]
    (following,) = told["next_actions"]
    assert following["parameters"] == {
        "symbol": "ACME", "start": "2020-01-02", "limit": 3, "cursor": about["next_cursor"],
    }  # fmt: skip
    more = hers(following["operation"], **following["parameters"])
    assert [at.day for at, *_ in rows_of(more)] == [5, 6, 7]


def test_the_form_is_what_accept_names(hers):
    acme()
    for accept, kind in (
        ("application/json", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("text/*", "text/csv; charset=utf-8"),
        ("application/json;q=0.5, application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("text/html, text/csv;q=0.1", "text/csv; charset=utf-8"),
    ):
        answer = hers("get_candles", symbol="ACME", headers={"Accept": accept})
        assert answer.headers["Content-Type"] == kind, accept
        assert answer.headers["Vary"] == "Accept"
        assert answer.headers["Chronos-Adjust"] == "split"
        assert answer.headers["Chronos-Source"] == "test"
        assert answer.headers["Chronos-Newest"] == "2020-01-08T00:00:00Z"
    for accept in ("text/html", "image/png, application/xml", "nonsense", "application/json;q=0"):
        answer = hers("get_candles", symbol="ACME", headers={"Accept": accept})
        assert (answer.status_code, answer.json()["data"]["code"]) == (406, "not_acceptable"), accept
    asked = hers("get_candles", symbol="ACME", format="csv", headers={"Accept": "text/html"})
    assert asked.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert asked.headers["Content-Disposition"] == 'attachment; filename="ACME_1d.csv"'


def test_arrow_says_what_it_is(hers):
    acme(quote_volume="5")
    with pa.ipc.open_stream(whole(hers("get_candles", symbol="ACME", format="arrow"))) as stream:
        schema, found = stream.schema, stream.read_all()
    assert schema.field("open_time").type == pa.timestamp("us", "UTC")
    assert {schema.field(name).type for name in NUMBERS} == {pa.float64()}
    assert schema.metadata[b"symbol"] == b"ACME"
    assert schema.metadata[b"fingerprint"].startswith(b"1d:r0:")
    assert found["adj_close"].null_count == 8
    assert found["quote_volume"].to_pylist() == [5.0] * 8


prices = st.decimals(min_value=1, max_value=Decimal("9999999999.9999999999"), places=10)
volumes = st.decimals(min_value=0, max_value=Decimal("99999999999999999999.99999999"), places=8)
absent = st.none() | prices
candles = st.lists(st.tuples(prices, volumes, absent, st.none() | volumes), min_size=1, max_size=12)


@every_time
@given(made=candles, limit=st.integers(1, 13), size=st.integers(1, 9), timeframe=st.sampled_from(["1m", "4h", "1d"]))
def test_the_three_forms_and_all_pages_hold_the_same_candles(made, limit, size, timeframe):
    """With parts and pages of whatever size, and every number the nearest double to what is stored."""
    number = next(fresh)
    asset = Asset.objects.create(symbol=f"A{number}")
    length = Timeframe(timeframe).length
    kept = [
        row(day(0) + n * length, open=price, high=price, low=price, close=price, volume=volume, adj_close=adjusted,
            quote_volume=traded)
        for n, (price, volume, adjusted, traded) in enumerate(made)
    ]  # fmt: skip
    texts = [{name: str(value) if isinstance(value, Decimal) else value for name, value in one.items()} for one in kept]
    ingest(asset, timeframe, table(texts), source="test", doubt=False)
    program = Program.of(cast.person(f"p{number}"))
    ask = {"symbol": asset.symbol, "timeframe": timeframe}
    usual = sending.ROWS, sending.BATCH, api.AT_ONCE
    sending.ROWS, sending.BATCH, api.AT_ONCE = size, size, size * 2
    try:
        found = [rows_of(program("get_candles", **ask, format=form)) for form in ("json", "csv", "arrow")]
        paged, cursor = [], ""
        while True:
            answer = program("get_candles", **ask, limit=limit, cursor=cursor)
            body = orjson.loads(whole(answer))
            assert len(body["data"]) <= limit
            paged += [(datetime.fromisoformat(o["open_time"]), *(o[name] for name in NUMBERS)) for o in body["data"]]
            if not (cursor := body["metadata"]["next_cursor"]):
                break
    finally:
        sending.ROWS, sending.BATCH, api.AT_ONCE = usual
    nearest = [
        (one["open_time"], *(None if one[name] is None else float(one[name]) for name in NUMBERS)) for one in kept
    ]
    assert found == [nearest] * 3
    assert paged == nearest


def test_a_range_is_half_open_and_a_day_is_its_begin(hers):
    acme()

    def days(**wanted) -> list[int]:
        return [at.day for at, *_ in rows_of(hers("get_candles", symbol="ACME", **wanted))]

    assert days(start="2020-01-03", end="2020-01-05") == [3, 4]
    assert days(start="2020-01-03T00:00:00Z", end="2020-01-05T00:00:01Z") == [3, 4, 5]
    assert days(start="2020-01-03T00:00:00+05:00", end="2020-01-05T00:00:00-05:00") == [3, 4, 5]
    assert days(start="2020-01-03T01:00:00Z") == [4, 5, 6, 7, 8]
    assert days(end="2020-01-01") == days(start="2020-01-04", end="2020-01-04") == days(start="2021-01-01") == []
    assert days(start="0001-01-01", end="9999-12-31", as_of="9999-12-31") == [1, 2, 3, 4, 5, 6, 7, 8]
    assert days(as_of="0001-01-01") == days(as_of="0001-01-01T00:00:00Z") == days(as_of="2019-01-01") == []
    assert days(end="0001-01-01") == days(start="9999-12-31T23:59:59.999999Z") == []


@pytest.mark.parametrize("wanted", [
    {"start": "2020-02-01", "end": "2020-01-01"}, {"timeframe": "2h"}, {"timeframe": "1D"}, {"timeframe": ""},
    {"adjust": "both"}, {"adjust": ""}, {"start": "yesterday"}, {"start": "2020-01-01T00:00"}, {"end": "2020-13-01"},
    {"start": "10000-01-01"}, {"start": "0001-01-01T00:00:00+14:00"}, {"as_of": "9999-12-31T23:00:00-14:00"},
    {"limit": 0}, {"limit": 100_001}, {"limit": "many"}, {"limit": "NaN"}, {"format": "parquet"},
    {"as_of": "0000-00-00"},
])  # fmt: skip
def test_what_makes_no_sense_is_refused(hers, wanted):
    acme()
    assert hers.refused("get_candles", symbol="ACME", **wanted) == (422, "invalid")


@pytest.mark.parametrize("cursor", [
    "x", "W10", "bnVsbA", "WyJjYW5kbGVzIiwiMSJd", "WyJjYW5kbGVzIiw5MjIzMzcyMDM2ODU0Nzc1ODA3XQ", "WyJhc3NldHMiLDBd",
])  # fmt: skip
def test_a_cursor_that_is_none_is_said_so(hers, cursor):
    acme()
    for form in ("json", "csv", "arrow"):
        assert hers.refused("get_candles", symbol="ACME", cursor=cursor, format=form) == (422, "bad_cursor")


def test_without_candles_it_says_what_there_is(hers):
    acme()
    Asset.objects.create(symbol="NONE")
    answer = hers("get_candles", symbol="ACME", timeframe="1h")
    assert answer.json()["data"] == []
    assert answer.json()["message"] == "ACME has no 1h candles; it has 1d."
    first, *_ = actions = answer.json()["next_actions"]
    assert first["parameters"] == {"symbol": "ACME", "timeframe": "1d"}
    for one in actions:
        assert hers(one["operation"], **one["parameters"]).status_code < 300
    nothing = hers("get_candles", symbol="NONE")
    assert (nothing.json()["message"], nothing.json()["data"]) == ("NONE has no 1d candles.", [])
    assert nothing.json()["metadata"]["newest"] is None
    for form in ("csv", "arrow"):
        assert rows_of(hers("get_candles", symbol="NONE", format=form)) == []
        assert rows_of(hers("get_candles", symbol="ACME", start="2030-01-01", format=form)) == []
    assert "no 1d candles in that range" in hers("get_candles", symbol="ACME", start="2030-01-01").json()["message"]


def test_adjusted_and_as_of_it_is_what_the_command_exports(hers):
    asset = Asset.objects.create(symbol="ACME", currency="USD")
    ingest(asset, "1d", table([row(day(n), close=f"11.{n:04d}", adj_close="10.5") for n in range(12)]), source="test")
    Series.objects.update(basis=Basis.RAW)
    then = now()
    ingest(asset, "1d", table([row(day(3), close="9.5", adj_close="9.1"), row(day(12), close="11")]), source="test")
    actions = [("split", 6, "2"), ("dividend", 9, "0.5")]
    for kind, number, value in actions:
        CorporateAction.objects.create(
            asset=asset, kind=kind, ex_date=date(2020, 1, 1) + timedelta(days=number), value=Decimal(value),
            basis=Basis.RAW, currency="USD", source="test",
        )  # fmt: skip
    later = now()
    for adjust in (None, "raw", "split", "total"):
        for as_of in (None, then, later):
            command = [*(["--adjust", adjust] if adjust else []), *(["--as-of", as_of.isoformat()] if as_of else [])]
            wanted = exported("ACME", "--timeframe", "1d", *command)
            ask = {name: value for name, value in (("adjust", adjust), ("as_of", as_of and as_of.isoformat())) if value}
            for form in ("json", "csv", "arrow"):
                found = rows_of(hers("get_candles", symbol="ACME", format=form, **ask))
                assert [at for at, *_ in found] == [at for at, *_ in wanted], (ask, form)
                for (_, *mine), (_, *theirs) in zip(found, wanted, strict=True):
                    assert [number or 0 for number in mine[:6]] == pytest.approx([number or 0 for number in theirs])
    split = hers("get_candles", symbol="ACME", adjust="split", limit=1).json()
    assert (split["data"][0]["close"], split["metadata"]["adjust"]) == (5.5, "split")
    assert hers("get_candles", symbol="ACME").json()["metadata"]["adjust"] == "raw"
    paged, cursor = [], ""
    while True:
        body = hers("get_candles", symbol="ACME", adjust="total", limit=5, cursor=cursor).json()
        paged += [one["close"] for one in body["data"]]
        if not (cursor := body["metadata"]["next_cursor"]):
            break
    assert paged == [one[4] for one in rows_of(hers("get_candles", symbol="ACME", adjust="total", format="arrow"))]


def test_a_long_answer_is_streamed_and_the_same(hers):
    stored("LONG", walk(12_000), timeframe=Timeframe.H1, last=datetime(2024, 1, 1, tzinfo=UTC))

    async def streamed(form: str):
        query = urlencode({"timeframe": "1h", "limit": 100_000, "format": form})
        answer = await hers.stream(f"/api/v1/assets/LONG/candles?{query}")
        assert answer.streaming
        parts = [part async for part in answer.streaming_content]
        answer.streaming_content = iter(())
        return parts, answer.headers["Content-Type"].partition(";")[0]

    found = {}
    for form in ("json", "csv", "arrow"):
        parts, kind = async_to_sync(streamed)(form)
        assert max(map(len, parts)) < 4_000_000

        class Answer:
            status_code, headers, streaming, content = 200, {"Content-Type": kind}, False, b"".join(parts)

        found[form] = rows_of(Answer)
    assert len(found["json"]) == 12_000
    assert found["json"] == found["csv"] == found["arrow"]
    assert [one[4] for one in found["json"]] == walk(12_000)


def test_the_newest_so_many(hers):
    stored("NVDA", walk(30))
    every = rows_of(hers("get_candles", symbol="NVDA"))
    for form in ("json", "csv", "arrow"):
        assert rows_of(hers("get_candles", symbol="NVDA", last=7, format=form)) == every[-7:]
    assert rows_of(hers("get_candles", symbol="NVDA", last=1000)) == every
    before = every[20][0].isoformat()
    assert rows_of(hers("get_candles", symbol="NVDA", last=4, end=before)) == every[16:20]
    first = hers("get_candles", symbol="NVDA", last=7, limit=5).json()
    (again,) = first["next_actions"]
    rest = hers(again["operation"], **again["parameters"])
    assert [one["open_time"] for one in first["data"]] == [
        f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment, *_ in every[-7:-2]
    ]
    assert rows_of(rest) == every[-2:]
    assert hers.refused("get_candles", symbol="NVDA", last=3, start="2020-01-01") == (422, "invalid")
    assert hers.refused("get_candles", symbol="NVDA", last=3, as_of="2020-01-01") == (422, "invalid")
