"""What can be taken away of a backtest: JSON, CSV, PNG, a report; by a person, a program and a command."""

import csv
import io
import re

import numpy as np
import orjson
import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.test import AsyncClient
from PIL import Image

from chronos.core import tenancy
from signals import curves, exporting
from signals.models import Backtest, Curve, Trade
from tests import cast
from tests.api.program import Program
from tests.cast import signed_in
from tests.signals.results import finished, goog

pytestmark = pytest.mark.usefixtures("house")
FORMS = ("result.json", "equity.csv", "chart.png", "report.html")


@pytest.fixture
def alice():
    return cast.alice()


def taken(person, backtest, form, query=""):
    answer = signed_in(person).get(f"/backtests/{backtest.pk}/{form}{query}")
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="GOOG_1d_')
    return answer.getvalue()


def test_the_json_has_what_was_asked_for_how_it_was_made_and_what_came_out(alice, monkeypatch):
    row = finished(alice, benchmark=goog(symbol="MSFT"), note="mine")
    told = orjson.loads(taken(alice, row, "result.json"))
    assert (told["symbol"], told["timeframe"], told["kind"]) == ("GOOG", "1d", "sma-cross")
    assert told["inputs"]["parameters"] == {"fast": 5, "slow": 20}
    assert told["inputs"]["benchmark"] == "MSFT"
    assert told["made"]["fingerprint"] == row.fingerprint
    assert told["made"]["code_version"] == row.code_version
    assert told["metrics"] == row.metrics
    assert list(told["metrics"])[:2] == ["total_return", "cagr"]
    assert told["warnings"] == row.warnings
    with tenancy.acting_as(alice):
        trades = list(Trade.objects.filter(backtest=row, is_open=False).order_by("number"))
    assert trades
    assert [(one["number"], one["entry_bar"], one["exit_bar"], one["exit_reason"]) for one in told["trades"]] == [
        (trade.number, trade.entry_bar, trade.exit_bar, trade.exit_reason) for trade in trades
    ]
    for one, trade in zip(told["trades"], trades, strict=True):
        for name in ("quantity", "entry_price", "exit_price", "profit", "fees"):
            assert one[name] == float(getattr(trade, name))
    assert told["open"] == []
    monkeypatch.setattr(exporting, "AT_ONCE", 3)  # of many trades some at a time
    assert orjson.loads(taken(alice, row, "result.json")) == told


def test_what_is_still_held_stands_apart(alice):
    row = finished(alice, kind="buy-and-hold", parameters={})
    told = orjson.loads(taken(alice, row, "result.json"))
    assert told["trades"] == []
    (held,) = told["open"]
    assert (held["exit_time"], held["exit_bar"], held["exit_reason"]) == (None, None, None)
    assert b">open<" in taken(alice, row, "report.html")


def test_the_csv_has_every_bar_exactly(alice):
    row = finished(alice)
    lines = list(csv.DictReader(io.StringIO(taken(alice, row, "equity.csv").decode(), newline="")))
    with tenancy.acting_as(alice):
        curve = Curve.objects.get(backtest=row)
    assert len(lines) == row.bars == 400
    for name in ("equity", "gross", "hold"):
        assert [float(line[name]) for line in lines] == curves.unpacked(getattr(curve, name)).tolist()
    assert {line["benchmark"] for line in lines} == {""}
    assert min(float(line["drawdown"]) for line in lines) == row.max_drawdown
    assert lines[0]["open_time"] == f"{row.first_open:%Y-%m-%dT%H:%M:%SZ}"
    assert lines[-1]["open_time"] == f"{row.last_open:%Y-%m-%dT%H:%M:%SZ}"


def test_a_long_csv_is_sent_while_it_is_made(alice, monkeypatch):
    row = finished(alice)
    short = taken(alice, row, "equity.csv")
    monkeypatch.setattr(exporting, "SHORT", 10)
    monkeypatch.setattr(exporting, "ROWS", 64)

    async def streamed():
        client = AsyncClient()
        await client.aforce_login(alice)
        answer = await client.get(f"/backtests/{row.pk}/equity.csv")
        assert answer.streaming
        parts = [part async for part in answer.streaming_content]
        assert len(parts) == 1 + -(-400 // 64)
        return b"".join(parts)

    assert async_to_sync(streamed)() == short


def test_the_png_is_a_picture_of_the_curves_in_both_themes(alice):
    row = finished(alice, benchmark=goog(symbol="MSFT"), strategy_name="Ж" * 100)
    light, dark = (Image.open(io.BytesIO(taken(alice, row, "chart.png", query))) for query in ("", "?theme=dark"))
    for image, paper, line in ((light, (255, 255, 255), (0, 119, 141)), (dark, (18, 24, 29), (73, 196, 216))):
        pixels = np.asarray(image)
        assert pixels.shape == (900, 1400, 3)
        assert tuple(pixels[2, 2]) == paper
        near = np.abs(pixels.astype(int) - line).sum(2) < 40
        across = np.flatnonzero(near.any(0))
        assert across.min() < 60  # from the first bar
        assert across.max() > 1280  # to the last
        assert not near[:, 1380:].any()


def test_the_report_stands_alone(alice):
    row = finished(alice, benchmark=goog(symbol="MSFT"), note="<script>alert(1)</script>", strategy_name="<img x=1>")
    answer = signed_in(alice).get(f"/backtests/{row.pk}/report.html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    text = answer.content.decode()
    assert 'http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;' in text
    assert not re.search(r"<(script|link|img|iframe|object|embed|base)\b|@import|url\(|\bsrc=|\bhref=", text)
    assert not re.search(r"https?://", text)
    for words in ("It gained", "Total return", "Max drawdown", "Profit factor", "Fast average", row.checksum,
                  row.fingerprint, "&lt;script&gt;", *(one["text"] for one in row.warnings)):  # fmt: skip
        assert words in text, words
    assert text.count("<svg class=") == 3
    assert text.count('<tr><td class="number">') == row.trade_count


def test_programs_of_hers_take_them_and_nobody_else_finds_them(alice):
    row, bob = finished(alice), signed_in(cast.bob())
    program = Program.of(alice, may_write=False)
    for form in FORMS:
        assert program.client.get(f"/backtests/{row.pk}/{form}").status_code == 200
    for form in FORMS:
        assert bob.get(f"/backtests/{row.pk}/{form}").status_code == 404
    with tenancy.acting_as(alice):
        Backtest.objects.filter(pk=row.pk).update(deleted_at=row.finished_at)
    assert signed_in(alice).get(f"/backtests/{row.pk}/report.html").status_code == 404


def test_without_a_result_it_says_why(alice):
    asset = goog()
    with tenancy.acting_as(alice):
        waiting = Backtest.objects.create(owner=alice, asset=asset, timeframe="1d", kind="sma-cross",
                                          strategy_name="SMA cross")  # fmt: skip
    failed = finished(alice, parameters={"fast": 5, "slow": 1000})
    for form in FORMS:
        answer = signed_in(alice).get(f"/backtests/{waiting.pk}/{form}")
        assert answer.status_code == 409
        assert b"was stopped before its end" in answer.content  # nobody works on it
        answer = signed_in(alice).get(f"/backtests/{failed.pk}/{form}")
        assert answer.status_code == 409
        assert b"parameters" in answer.content


# --- The command -------------------------------------------------------------------------------------------------


def test_a_command_writes_the_same_of_a_run_that_nobody_stores(alice, tmp_path):
    row = finished(alice)
    files = [tmp_path / name for name in ("r.json", "r.csv", "r.png", "r.HTML")]
    asked = ["backtest", "sma-cross", "GOOG", "--param", "fast=5", "slow=20"]
    call_command(*asked, *(part for file in files for part in ("--output", str(file))), stdout=io.StringIO(),
                 stderr=io.StringIO())  # fmt: skip
    told, stored = orjson.loads(files[0].read_bytes()), orjson.loads(taken(alice, row, "result.json"))
    for name in ("symbol", "start", "end", "metrics", "warnings", "open"):
        assert told[name] == stored[name]
    assert told["made"]["checksum"] == stored["made"]["checksum"]
    for one, other in zip(told["trades"], stored["trades"], strict=True):
        assert set(one) == set(other)
        assert one == other | {name: pytest.approx(other[name]) for name in ("profit", "profit_percent", "mae", "mfe")}
    assert files[1].read_bytes() == taken(alice, row, "equity.csv")
    assert Image.open(files[2]).size == (1400, 900)
    assert b"SMA cross on GOOG" in files[3].read_bytes()


@pytest.mark.parametrize(("name", "says"), [("r.pdf", "end its name in .json, .csv, .png, .html"),
                                            ("nowhere/r.json", "there is no directory")])  # fmt: skip
def test_a_file_that_can_not_be_written_is_refused_before_the_run(tmp_path, name, says):
    with pytest.raises(CommandError, match=re.escape(says)):
        call_command("backtest", "sma-cross", "NOTHING", "--output", str(tmp_path / name))
