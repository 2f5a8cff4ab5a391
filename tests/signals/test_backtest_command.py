"""`manage.py backtest`: what programs and people get of it, of a file and of stored candles."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from marketdata.models import Timeframe
from tests.prices import stored, walk
from tests.signals.candles import google

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture(scope="module")
def goog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Google's days as a file: the opens, closes and dates that the reference values were made of."""
    from backtesting.test import GOOG

    bars = google()
    path = tmp_path_factory.mktemp("files") / "GOOG.csv.gz"
    with gzip.open(path, "wt") as file:
        lines = csv.writer(file)
        lines.writerow(["symbol", "interval", "ts", "open", "high", "low", "close", "volume"])
        for place, day in enumerate(GOOG.index):
            row = GOOG.iloc[place]
            prices = [row["Open"], row["High"], row["Low"], row["Close"], int(row["Volume"])]
            lines.writerow(["GOOG", "1d", f"{day:%Y-%m-%d}T00:00:00Z", *prices])
    assert len(bars) == len(GOOG)
    return path


def told(*arguments: str) -> str:
    out = io.StringIO()
    call_command("backtest", *arguments, stdout=out)
    return out.getvalue()


def found(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(told(*arguments, "--json"))
    return answer


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as error:
        told(*arguments)
    return str(error.value)


REFERENCE = ("--param", "fast=10", "slow=30", "--fee-rate", "0.001", "--cash", "10000")


class TestAFile:
    def test_the_reference_run_gives_the_figures_that_four_engines_agree_on(self, goog: Path):
        answer = found("sma-cross", str(goog), "--timeframe", "1d", *REFERENCE)
        metrics = answer["metrics"]
        assert metrics["final_equity"] == pytest.approx(54_101.369160, abs=1e-6)
        assert metrics["total_return"] == pytest.approx(4.410136916, abs=1e-9)
        assert metrics["max_drawdown"] == pytest.approx(-0.30395607368, abs=1e-9)
        assert metrics["sharpe_ratio"] == pytest.approx(0.9992697424, abs=1e-9)
        assert metrics["profit_factor"] == pytest.approx(2.2164353686, abs=1e-9)
        assert metrics["exposure_time"] == pytest.approx(0.533054003724, abs=1e-9)
        assert (metrics["win_rate"], metrics["trade_count"], metrics["periods_per_year"]) == (0.5, 32, 252)
        first = answer["trades"][0]
        assert (first["quantity"], first["entry_bar"], first["entry_price"]) == (53, 86, 186.31)
        assert (first["exit_bar"], first["exit_price"], first["exit_reason"]) == (113, 193.69, "signal")
        assert (first["direction"], first["entry_time"]) == ("long", "2004-12-21T00:00:00Z")
        assert first["profit"] == pytest.approx(53 * (193.69 - 186.31) - first["fees"])
        assert len(answer["open"]) == 1

    def test_fractional_lots(self, goog: Path):
        metrics = found("sma-cross", str(goog), *REFERENCE, "--lots", "fractional")["metrics"]
        assert metrics["final_equity"] == pytest.approx(54_611.237082, abs=1e-6)
        assert metrics["sharpe_ratio"] == pytest.approx(0.9995044918, abs=1e-9)

    def test_both_directions_closed_at_the_end(self, goog: Path):
        metrics = found("sma-cross", str(goog), "--direction", "both", "--close-at-end")["metrics"]
        assert metrics["final_equity"] == pytest.approx(51_422.99, abs=1e-6)
        assert metrics["peak_equity"] == pytest.approx(75_787.44, abs=1e-6)
        assert metrics["max_drawdown"] == pytest.approx(-0.4798012705, abs=1e-9)
        assert metrics["trade_count"] == 66

    def test_people_read_what_every_figure_is(self, goog: Path):
        text = told("sma-cross", str(goog), *REFERENCE)
        assert "GOOG 1d, 2004-08-19 00:00 to 2013-03-01 00:00, 2\u202f148 bars; 252 a year" in text
        assert "+441.01 %" in text
        assert "(the last 20 of 32; --json has them all)" in text
        assert "A position is still open at the end" in text

    def test_a_start_reads_what_the_indicators_need_before_it(self, goog: Path):
        """The same decisions as those of the whole run, because the averages know the closes before the start."""
        late = found("sma-cross", str(goog), "--start", "2006-01-01")
        whole = found("sma-cross", str(goog))
        entries = [trade["entry_time"] for trade in whole["trades"] if trade["entry_time"] >= "2006-01-01"]
        assert [trade["entry_time"] for trade in late["trades"]][:5] == entries[:5]
        assert late["start"] == "2006-01-03T00:00:00Z"

    def test_a_row_that_is_no_candle_is_left_out_and_told(self, goog: Path, tmp_path: Path):
        path = tmp_path / "GOOG.csv"
        lines = gzip.decompress(goog.read_bytes()).decode().splitlines()
        lines[5] = lines[5].rsplit(",", 5)[0] + ",1,2,3,4,5"  # a high below the close
        path.write_text("\n".join(lines))
        answer = found("sma-cross", str(path))
        assert "1 row of the file is no usable candle and left out." in answer["warnings"]
        assert answer["metrics"]["bars"] == 2147

    def test_a_file_that_is_none_is_refused(self, tmp_path: Path):
        path = tmp_path / "notes.csv"
        path.write_text("name,age\nx,1\n")
        assert "has no candles" in refused("sma-cross", str(path))


class TestAStoredAsset:
    def test_it_works(self):
        stored("ACME", walk(300), calendar="24/7", asset_class="crypto")
        answer = found("sma-cross", "acme", "--param", "fast=3", "slow=8", "--fee-rate", "0.001")
        assert answer["symbol"] == "ACME"
        assert answer["metrics"]["periods_per_year"] == 365
        assert answer["fingerprint"].startswith("1d:r")

    def test_the_same_inputs_give_the_same_bytes(self):
        stored("ACME", walk(300), calendar="24/7", asset_class="crypto")
        arguments = ("donchian", "ACME", "--stop-loss", "0.03", "--take-profit-1", "0.02", "--take-profit-2", "0.05")
        assert found(*arguments)["checksum"] == found(*arguments)["checksum"]

    def test_finer_candles_decide_what_came_first(self):
        """The day of the entry touches stop and target: 98 to 102. Its hours, from 98.98 to 103.02, touch one alone."""
        stored("ACME", [100.0] * 5, last=datetime(2024, 3, 8, tzinfo=UTC), calendar="24/7", asset_class="crypto")
        arguments = ("buy-and-hold", "ACME", "--stop-loss", "0.005", "--take-profit-1", "0.025", "--lots", "fractional")
        doubtful = found(*arguments)
        assert doubtful["metrics"]["ambiguous_count"] == 1
        assert doubtful["trades"][0]["exit_reason"] == "stop_loss"
        (told,) = [text for text in doubtful["warnings"] if "ambiguous" in text]
        assert told.startswith(
            "1 of 1 exit was ambiguous inside the candle: the result lies between −0.5 % and +2.5 %."
        )

        stored("ACME", [101.0] * 24, last=datetime(2024, 3, 5, 23, tzinfo=UTC), timeframe=Timeframe.H1)
        decided = found(*arguments)
        assert (decided["metrics"]["ambiguous_count"], decided["metrics"]["resolved_count"]) == (0, 1)
        assert decided["trades"][0]["exit_reason"] == "take_profit_1"
        assert "Finer candles decided what came first in 1 exit." in decided["warnings"]
        assert decided["fingerprint"].startswith(f"{doubtful['fingerprint']}:finer-")  # other inputs, another result

    def test_that_the_worse_is_shown_is_said_only_where_it_is(self, tmp_path: Path):
        """The better order of the first trade buys a second share of what then falls by half."""
        bars = (
            (100, 100, 100, 100), (100, 100, 99, 99), (99, 101, 99, 101), (100, 110, 90, 100), (100, 100, 99, 99),
            (99, 101, 99, 101), (100, 100, 100, 100), (50, 50, 50, 50), (50, 50, 49, 49), (49, 49, 49, 49),
        )  # fmt: skip
        lines = [f"2024-01-{n:02}T00:00:00Z,{','.join(map(str, bar))},9" for n, bar in enumerate(bars, 1)]
        path = tmp_path / "ACME.csv"
        path.write_text("\n".join(["open_time,open,high,low,close,volume", *lines]))
        arguments = (str(path), "--timeframe", "1d", "--param", "fast=1", "slow=2", "--stop-loss", "0.05",
                     "--take-profit-1", "0.05", "--cash")  # fmt: skip
        for cash, says in (
            ("1000", "The worse is shown; finer candles would tell."),
            ("199", "The worse order of each led to the better end, which is shown; finer candles would tell."),
        ):
            run = found("sma-cross", *arguments, cash)
            shown, better = run["metrics"]["total_return"], run["metrics"]["optimistic_return"]
            assert (shown < better) == says.startswith("The worse is")
            assert any(text.endswith(says) for text in run["warnings"]), run["warnings"]

    def test_what_can_not_be_run_is_explained(self):
        stored("ACME", walk(100), last=datetime(2024, 3, 8, tzinfo=UTC))
        for arguments, words in (
            (("moon", "ACME"), "There is no kind of strategy called 'moon'; there are sma-cross"),
            (("sma-cross", "NOPE"), "There is no file and no asset called NOPE; fetch or import it first."),
            (("sma-cross", "ACME", "--timeframe", "1h"), "ACME has no 1h candles; choose one that it has: 1d."),
            (("sma-cross", "ACME", "--timeframe", "7d"), "'7d' is no timeframe; choose one of 1m 5m"),
            (
                ("sma-cross", "ACME", "--param", "fast=50", "slow=20"),
                "must be shorter than the slow one (20): lower it",
            ),
            (("sma-cross", "ACME", "--param", "fast=x"), "Fast average must be a whole number, from 1 to 500 bars"),
            (("sma-cross", "ACME", "--param", "speed=3"), "SMA cross has no parameter 'speed'; it has fast, slow."),
            (("sma-cross", "ACME", "--param", "fast"), "write NAME=VALUE"),
            (("sma-cross", "ACME", "--param", "slow=500"), "The history is too short: SMA cross with these parameters"),
            (("sma-cross", "ACME", "--start", "2050-01-01"), "ACME has no 1d candles from 2050-01-01; it has"),
            (("sma-cross", "ACME", "--start", "2024-02-01", "--end", "2024-01-01"), "is not before the end"),
            (("sma-cross", "ACME", "--cash", "0"), "Cash must be more than 0"),
            (("sma-cross", "ACME", "--fee-rate", "1.5"), "The fee rate must be at least 0 and less than 1; it is 1.5."),
            (("sma-cross", "ACME", "--sizing", "risk:0.01"), "Sizing by risk needs a stop"),
            (("sma-cross", "ACME", "--take-profit-2", "0.1"), "A second target needs a first one"),
            (("sma-cross", "ACME", "--benchmark", "NOPE"), "no asset called NOPE"),
            (("sma-cross", "A" * 300), "There is no file and no asset called AAA"),
            (("sma-cross", "\udcff"), "There is no file and no asset called ?"),
            (("sma-cross", "ACME", "--max-bars", "1" + "0" * 400), "A time stop is at most 2147483647 bars"),
        ):
            assert words in refused(*arguments), arguments

    def test_no_trades_is_a_result_that_says_why(self):
        stored("ACME", [100.0 + n for n in range(60)], calendar="24/7", asset_class="crypto")
        flat = found("rsi-reversion", "ACME", "--param", "period=2")
        assert flat["trades"] == []
        assert any(text.startswith("No trades: the rule never said to enter.") for text in flat["warnings"])
        poor = found("buy-and-hold", "ACME", "--cash", "50")
        assert any("1 entry wanted, and the size allowed none of them" in text for text in poor["warnings"])
        assert poor["metrics"]["total_return"] == 0
