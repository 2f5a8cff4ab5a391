"""`manage.py fetch_candles`, as an operator types it."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from marketdata import asking
from marketdata.models import Asset, Candle, Series
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
WEEK = ("--since", "2024-01-02", "--until", "2024-01-09")


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch, yahoo: Yahoo) -> None:
    """The command really sleeps between attempts; briefly here."""
    monkeypatch.setattr(asking, "_pause", lambda state: 0.01)


def run(*arguments: str) -> tuple[int, list[str]]:
    """The exit status and the lines."""
    out = StringIO()
    try:
        call_command("fetch_candles", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def test_it_works():
    status, lines = run("NVDA", *WEEK)
    assert status == 0
    assert lines == ["NVDA 1d: 5 candles, 2024-01-02 to 2024-01-08; 5 new, 0 changed, 0 unchanged"]
    assert Candle.objects.count() == 5
    assert Asset.objects.get().validated_at


def test_what_is_covered_costs_no_request(yahoo: Yahoo):
    run("NVDA", *WEEK)
    before = len(yahoo.requests)
    status, lines = run("NVDA", *WEEK, "--json")
    assert (status, len(yahoo.requests)) == (0, before)
    assert lines[0] == "NVDA 1d: 1 window is covered already; nobody was asked."
    row = json.loads(lines[-1])["assets"][0]
    assert (row["received"], row["windows"], row["requests"], row["status"], row["error"]) == (0, 0, 0, "done", None)


def test_again_asks_and_changes_nothing():
    run("NVDA", *WEEK)
    assert run("NVDA", *WEEK, "--again")[1] == [
        "NVDA 1d: 5 candles, 2024-01-02 to 2024-01-08; 0 new, 0 changed, 5 unchanged"
    ]


def test_for_programs_there_is_one_object_on_the_last_line():
    status, lines = run("nvda", "BTC/USDT", *WEEK, "--json")
    assert status == 0
    assert json.loads(lines[-1]) == {
        "assets": [
            {"symbol": symbol, "timeframe": "1d", "received": many, "inserted": many, "updated": 0, "unchanged": 0,
             "quarantined": 0, "first": "2024-01-02T00:00:00Z", "last": "2024-01-08T00:00:00Z", "status": "done",
             "error": None, "windows": asked, "requests": asked}
            for symbol, many, asked in (("NVDA", 5, 1), ("BTC-USDT", 7, 2))  # OKX, which lists no coins here, was first
        ]
    }  # fmt: skip


def test_one_unknown_symbol_among_others_is_partial():
    status, lines = run("NVDA", "NOSUCH", *WEEK, "--json")
    assert status == 3
    rows = json.loads(lines[-1])["assets"]
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert "does not know the symbol NOSUCH" in rows[1]["error"]
    assert not Asset.objects.filter(symbol="NOSUCH").exists()


def test_nothing_but_failures_is_a_failure(yahoo: Yahoo):
    yahoo.fail("*", "503")
    status, lines = run("NVDA", *WEEK)
    assert status == 1
    assert lines[-1].startswith("NVDA 1d: failed. Yahoo Finance is down (it answered 503 for NVDA)")
    assert "Attempt 2 of 4" in lines[0]


def test_printing_stores_nothing():
    status, lines = run("NVDA", *WEEK, "--print")
    assert status == 0
    assert lines[0] == "symbol,timeframe,open_time,open,high,low,close,adj_close,volume"
    assert lines[1].startswith("NVDA,1d,2024-01-02T00:00:00Z,")
    assert len(lines) == 7
    assert (Asset.objects.count(), Series.objects.count(), Candle.objects.count()) == (0, 0, 0)


def test_a_limit_keeps_the_newest():
    assert len(run("NVDA", *WEEK, "--print", "--limit", "2")[1]) == 4
    run("NVDA", *WEEK, "--limit", "2")
    assert Candle.objects.count() == 2


def test_hours():
    status, lines = run("ETH-USDT", "--timeframe", "1h", "--limit", "24")
    assert status == 0
    assert "ETH-USDT 1h: 24 candles" in lines[0]


def test_an_asset_is_found_by_the_providers_spelling():
    run("BRK.B", *WEEK)
    asset = Asset.objects.get()
    assert asset.symbol == "BRK.B"
    asset.spellings.create(provider="yahoo", spelling="BRK-B")
    run("BRK-B", *WEEK)
    assert Asset.objects.count() == 1


def test_what_cannot_be_a_symbol_is_not_asked_for(yahoo: Yahoo):
    status, lines = run("N$DA", *WEEK)
    assert status == 1
    assert "A symbol has 1 to 40" in lines[0]
    assert not yahoo.requests


def test_a_sample_has_no_provider():
    Asset.objects.create(symbol="AAPL.SAMPLE", is_sample=True)
    status, lines = run("AAPL.SAMPLE")
    assert status == 1
    assert "bundled sample" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--since", "yesterday"), "write 2024-01-31"),
        (("--since", "2024-02-01", "--until", "2024-01-01"), "exchange the two"),
        (("--provider", "yahu"), "there are: yahoo"),
        (("--limit", "0"), "write 1 or more"),
        (("--timeframe", "2d"), "invalid choice"),
    ],
)
def test_wrong_usage_is_said_plainly(arguments: tuple[str, ...], text: str):
    with pytest.raises(CommandError, match=text):
        run("NVDA", *arguments)


def test_the_help_tells_all(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        call_command("fetch_candles", "--help")
    text = capsys.readouterr().out
    for part in (
        "--timeframe",
        "--since",
        "--until",
        "--provider",
        "--limit",
        "--print",
        "--json",
        "Exit status",
        "examples:",
    ):
        assert part in text
