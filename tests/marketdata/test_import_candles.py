"""`manage.py import_candles`: what it prints, stores and answers."""

import gzip
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata import frames
from marketdata.models import Asset, Candle, QuarantinedCandle, Series
from tests.marketdata.candles import closes, day, market

pytestmark = pytest.mark.usefixtures("house")
ROOT = Path(__file__).parents[2]
HEAD = "symbol,interval,ts,open,high,low,close,volume\n"
KEYS = [
    "symbol",
    "timeframe",
    "received",
    "inserted",
    "updated",
    "unchanged",
    "quarantined",
    "first",
    "last",
    "status",
    "error",
]


def run(*arguments: object) -> tuple[int, list[dict], list[str]]:
    """Exit status, the JSON rows, and the lines for people."""
    out = io.StringIO()
    status = 0
    try:
        call_command("import_candles", *map(str, arguments), "--json", stdout=out)
    except SystemExit as end:
        status = int(end.code)
    *lines, last = out.getvalue().splitlines()
    return status, json.loads(last)["assets"], lines


def history(symbol: str = "ACME", days: int = 30, close: str = "11", **changes: str) -> str:
    lines = [f"{symbol},1d,{day(n):%Y-%m-%dT00:00:00Z},10,12,9,{close},{100 + n}" for n in range(days)]
    for place, text in changes.items():
        lines[int(place.removeprefix("row"))] = text
    return HEAD + "\n".join(lines) + "\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "data/acme.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_it_works_and_again_changes_nothing(write):
    path = write(history())
    status, (row,), lines = run(path)
    assert status == 0
    assert list(row) == KEYS
    assert row == {
        **{"symbol": "ACME", "timeframe": "1d", "received": 30, "inserted": 30, "updated": 0, "unchanged": 0},
        **{"quarantined": 0, "first": "2020-01-01T00:00:00Z", "last": "2020-01-30T00:00:00Z", "status": "done"},
        "error": None,
    }
    assert lines == ["ACME 1d: 30 candles, 2020-01-01 to 2020-01-30; 30 new, 0 changed, 0 unchanged"]
    status, (again,), _ = run(path)
    assert (status, again["inserted"], again["updated"], again["unchanged"]) == (0, 0, 0, 30)
    asset = Asset.objects.get()
    assert (asset.symbol, asset.asset_class, asset.validated_at) == ("ACME", "stock", None)
    assert set(Candle.objects.values_list("source", flat=True)) == {"file"}


def test_what_is_said_on_the_command_line(write):
    path = write(history())
    run(path, "--symbol", "spx", "--asset-class", "index", "--timeframe", "1d")
    assert list(Asset.objects.values_list("symbol", "asset_class")) == [("SPX", "index")]
    run(path, "--symbol", "spx", "--asset-class", "stock")
    assert Asset.objects.get().asset_class == "index", "what is known of an asset stays"
    with pytest.raises(CommandError, match="invalid choice: '2d'"):
        run(path, "--timeframe", "2d")


def test_a_days_file_of_many_is_stored_in_one_go(write):
    """As many statements for forty as for ten; what is not a plain next candle is looked at as if it came alone."""

    def lines(text: str) -> str:
        return text.removeprefix(HEAD).replace(",10,12,9,11,", ",11,11.2,10.9,11,")

    def a_day(number: int, count: int) -> Path:
        some = "".join(lines(history(f"A{n}", number + 1)).splitlines(keepends=True)[-1] for n in range(count))
        return write(HEAD + some, f"data/day{number}_{count}.csv")

    write(HEAD + "".join(lines(history(f"A{n}")) for n in range(40)), "data/all.csv")
    assert run(write("", "data/none.txt").parent / "all.csv")[0] == 0

    def statements(path: Path) -> int:
        with CaptureQueriesContext(connection) as asked:
            status, rows, _ = run(path)
        assert (status, {(row["received"], row["inserted"], row["status"]) for row in rows}) == (0, {(1, 1, "done")})
        return len(asked)

    assert statements(a_day(30, 10)) == statements(a_day(31, 40)) < 20
    assert Candle.objects.filter(asset__symbol="A7").count() == 32
    odd = write(
        a_day(32, 40)
        .read_text()
        .replace("A3,1d,2020-02-02T00:00:00Z,11,11.2,10.9,11", "A3,1d,2020-02-02T00:00:00Z,11,11.2,10.9,x")
    )
    status, rows, _ = run(odd)
    assert status == 3
    assert {row["symbol"] for row in rows if row["quarantined"]} == {"A3"}
    assert sum(row["inserted"] for row in rows) == 39
    again = run(odd)[1]
    assert sum(row["unchanged"] for row in again) == 39


def test_a_directory_with_all_sorts_of_things(write):
    write(history("A"), "data/one/a.csv")
    write(gzip.compress(history("btc/usdt").encode()), "data/two/b.csv.gz")
    write("symbol,name,sector\nA,Agilent,Health\n", "data/symbols.csv")
    write('{"series": []}', "data/manifest.json")
    directory = write("", "data/README").parent
    status, rows, lines = run(directory)
    assert status == 0
    assert [(row["symbol"], row["inserted"]) for row in rows] == [("A", 30), ("BTC-USDT", 30)]
    assert Asset.objects.get(symbol="BTC-USDT").asset_class == "crypto"
    skipped = [line for line in lines if "skipped" in line]
    assert [Path(line.split(": ")[0]).name for line in skipped] == ["README", "manifest.json", "symbols.csv"]


def test_a_bad_candle_is_listed_and_the_good_ones_are_kept(write):
    path = write(history(row3="ACME,1d,2020-01-04T00:00:00Z,10,8,9,11,1"))
    for _ in range(2):
        status, (row,), _ = run(path)
        assert (status, row["status"], row["quarantined"]) == (3, "partial", 1)
        assert row["error"] == f"Quarantined of {path}: row 5: its high 8 is below its low 9."
    assert len(closes(Asset.objects.get())) == 29
    held = QuarantinedCandle.objects.get()
    assert (held.origin, held.raw["open_time"]) == ("acme.csv row 5", "2020-01-04T00:00:00Z")


def test_duplicate_timestamps(write):
    same, other = (f"ACME,1d,2020-01-03T00:00:00Z,10,12,9,{close},102" for close in ("11.00", "10"))
    status, (row,), _ = run(write(history() + same + "\n" + other + "\n"))
    assert (status, row["inserted"], row["unchanged"], row["quarantined"]) == (3, 30, 1, 1)
    assert "row 33: row 4 has the same time and came first (close 11 there, 10 here)" in row["error"]


def test_a_missing_column_stores_nothing(write):
    status, (row,), _ = run(write(history().replace("close", "price")))
    assert (status, row["status"], row["symbol"]) == (1, "failed", "acme.csv")
    assert "has no column for close" in row["error"]
    assert "symbol, interval, ts, open, high, low, price, volume" in row["error"]
    assert not Asset.objects.exists()


def test_a_local_time_is_refused_until_its_clock_is_named(write):
    hours = "".join(f"ACME,1h,2024-01-02 {hour:02}:30:00,10,12,9,11,1\n" for hour in range(9, 16))
    path = write(HEAD + hours)
    status, (row,), _ = run(path)
    assert (status, row["symbol"], row["received"]) == (1, "ACME", 0)
    assert "have no offset from UTC" in row["error"]
    assert "--timezone America/New_York" in row["error"]
    status, (row,), _ = run(path, "--timezone", "America/New_York")
    assert (status, row["inserted"], row["first"]) == (0, 7, "2024-01-02T14:30:00Z")


def test_a_truncated_gzip_keeps_what_was_good(write):
    whole = gzip.compress(history(days=800).encode())
    status, (row,), _ = run(write(whole[: len(whole) // 2], "acme.csv.gz"))
    assert (status, row["status"]) == (3, "partial")
    assert 100 < row["inserted"] < 800
    assert f"ends in mid-stream after row {row['inserted'] + 1}" in row["error"]
    assert Series.objects.get().candle_count == row["inserted"]


def test_a_candle_that_is_not_over_yet_is_not_history(write):
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = "".join(f"ACME,1d,{today + timedelta(days=n):%Y-%m-%d},10,12,9,11,1\n" for n in (-2, -1, 0, 1))
    status, (row,), _ = run(write(HEAD + lines))
    assert (status, row["inserted"], row["quarantined"]) == (3, 2, 2)
    assert "is not over yet" in row["error"]
    assert "in the future" in row["error"]


def test_another_price_basis_needs_a_symbol_or_replace(write):
    run(write(history()))
    other = write(history(close="9.5"), "data/unadjusted.csv")
    for _ in range(2):
        status, (row,), _ = run(other)
        assert (status, row["status"], row["updated"], row["quarantined"]) == (3, "partial", 0, 30)
        assert "--symbol ACME-RAW" in row["error"]
    assert run(other, "--symbol", "ACME-RAW")[1][0]["inserted"] == 30
    assert run(other, "--replace")[1][0]["updated"] == 30
    assert Series.objects.get(asset__symbol="ACME").revision == 1


def test_the_bundled_sample_stays_as_it_is(write):
    Asset.objects.create(symbol="AAPL.SAMPLE", is_sample=True)
    status, (row,), _ = run(write(history("AAPL.SAMPLE")))
    assert (status, row["inserted"]) == (1, 0)
    assert "is the bundled sample, which stays as it is: give another --symbol" in row["error"]


def test_one_bad_file_does_not_stop_the_others(write):
    write(history("A"), "data/a.csv")
    write("ts,open,high,low\n2020-01-01,1,1,1\n", "data/b.csv")
    write(b"PAR1 no more", "data/c.parquet")
    status, rows, _ = run(write(history("D"), "data/d.csv").parent)
    assert status == 3
    assert [(row["symbol"], row["status"]) for row in rows] == [
        ("A", "done"), ("b.csv", "failed"), ("c.parquet", "failed"), ("D", "done"),
    ]  # fmt: skip


def test_a_path_that_is_not_there(write, tmp_path):
    status, rows, lines = run(tmp_path / "none.csv")
    assert (status, rows) == (1, [])
    assert lines == [f"{tmp_path / 'none.csv'}: there is no such file or directory."]
    assert run(tmp_path / "none.csv", write(history()))[0] == 3


def test_something_else_that_was_asked_for_is_a_failure(write):
    status, (row,), _ = run(write("symbol,name\nA,Agilent\n"))
    assert (status, row["status"]) == (1, "failed")
    assert "has no candles: its headings are 'symbol, name'" in row["error"]


def test_the_help_says_what_one_needs_to_know():
    text = subprocess.run(
        [sys.executable, "manage.py", "import_candles", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "examples:" in text
    assert "Exit status: 0 all done, 1 nothing done, 3 partly done" in text


def test_a_bar_on_a_terminal_and_plain_lines_on_a_pipe(write):
    path = write(history())
    piped = in_a_process(path)
    assert b"\x1b" not in piped
    assert b"ACME 1d: 30 candles" in piped
    shown = in_a_process(path, terminal=True)
    assert b"Importing" in shown
    assert b"ACME 1d: 30 candles" in shown
    assert json.loads(shown.splitlines()[-1])["assets"][0]["unchanged"] == 30


def in_a_process(path: Path, *, terminal: bool = False) -> bytes:
    """The command's output to a pipe, or to a pseudo-terminal."""
    command = [sys.executable, "manage.py", "import_candles", str(path), "--json"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    if not terminal:
        return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout
    reading, writing = os.openpty()
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=writing, stderr=subprocess.DEVNULL)
    os.close(writing)
    output = b""
    try:
        while piece := os.read(reading, 65536):
            output += piece
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(reading)
    assert child.wait() == 0
    return output


@pytest.mark.parametrize("days_first", [True, False])
def test_hours_as_traded_are_known_by_the_days(tmp_path, days_first):
    """Of a share that was split 4:1: its hours, its half-hours that are adjusted already, and its days."""
    head = "date,open,high,low,close,adj close,volume"
    lines = {"1d": [head], "1h": [head.replace("adj close,", "")], "30m": [head.replace("adj close,", "")]}
    for number, one in enumerate(market(60)):
        prices = [float(one[name]) for name in ("open", "high", "low", "close")]
        traded = ",".join(f"{price * (4 if number < 30 else 1):.4f}" for price in prices)
        lines["1d"].append(f"{one['open_time']:%Y-%m-%d},{traded},{prices[-1]:.4f},1000")
        for hour in (15, 16, 17):
            lines["1h"].append(f"{one['open_time']:%Y-%m-%d}T{hour}:00Z,{traded},1000")
            adjusted = ",".join(f"{price:.4f}" for price in prices)
            lines["30m"].append(f"{one['open_time']:%Y-%m-%d}T{hour}:00Z,{adjusted},1000")
    for timeframe in ("1d", "1h", "30m") if days_first else ("1h", "30m", "1d"):
        path = tmp_path / f"{timeframe}.csv"
        path.write_text("\n".join(lines[timeframe]))
        call_command("import_candles", str(path), "--symbol", "ACME", "--timeframe", timeframe, stdout=io.StringIO())
    read = {name: frames.read("ACME", name, columns="close", adjust="split")["close"][0] for name in lines}
    assert dict(Series.objects.values_list("timeframe", "basis")) == {"1d": "raw", "1h": "raw", "30m": "split"}
    assert read["1h"][2::3].tolist() == read["1d"].tolist()
    assert read["30m"][2::3] == pytest.approx(read["1d"], abs=1e-4)
