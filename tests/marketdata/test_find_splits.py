"""Splits that only stored prices tell of: after an import, in the sample, and by `manage.py find_splits`."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command

from marketdata import actions, splits
from marketdata.models import Asset, Candle, CorporateAction, Series
from tests.marketdata.test_adjustment import history

pytestmark = pytest.mark.usefixtures("house")


def written(path: Path, symbol: str, days: Sequence[date], closes, adjusted=None, volumes=None) -> Path:
    """A file of daily candles; `adjusted` closes beside them if given."""
    volumes = [1000] * len(days) if volumes is None else volumes
    lines = ["symbol,interval,ts,open,high,low,close,volume" + (",adj_close" if adjusted is not None else "")]
    for place, (day, close) in enumerate(zip(days, closes, strict=True)):
        last = [f"{adjusted[place]:.8f}"] if adjusted is not None else []
        lines.append(",".join([symbol, "1d", f"{day}T00:00:00Z", *[f"{close:.4f}"] * 4, str(volumes[place]), *last]))
    path.write_text("\n".join(lines) + "\n")
    return path


def run(command: str, *arguments: object) -> tuple[int, list[str]]:
    out, status = io.StringIO(), 0
    try:
        call_command(command, *map(str, arguments), stdout=out)
    except SystemExit as left:
        status = int(left.code or 0)
    return status, out.getvalue().splitlines()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A stock as it was traded: 2:1, then 1:10, a crash, and dividends."""
    stock = history(2, splits=0, crashes=1, decimals=8)
    closes, adjusted = stock.closes.copy(), stock.adjusted.copy()
    closes[200:], adjusted[:200] = closes[200:] / 2, adjusted[:200] / 2
    closes[300:], adjusted[:300] = closes[300:] * 10, adjusted[:300] * 10
    adjusted[200:300] = adjusted[200:300] / 2
    adjusted[300:] = adjusted[300:] * 5
    share = adjusted / closes
    adjusted = adjusted / share[-1]
    volumes = [1000] * 200 + [2000] * 100 + [200] * 100  # shares, of which there are more or fewer
    return written(tmp_path / "RAW.csv", "RAW", stock.days, np.round(closes, 4), adjusted, volumes)


def believed(symbol: str) -> list[tuple[str, str, str, bool]]:
    rows = actions.current(Asset.objects.get(symbol=symbol))
    return [(str(row.ex_date), actions.ratio_words(row.value), row.source, row.derived) for row in rows]


DAYS = [date(2001, 1, 1) + timedelta(days=number) for number in range(400)]
TRUE = [(str(DAYS[200]), "2:1", "file", True), (str(DAYS[300]), "1:10", "file", True)]


class TestImport:
    def test_splits_are_found_stored_and_said(self, raw: Path) -> None:
        status, lines = run("import_candles", raw)
        assert status == 0
        assert any("splits found: 2:1 on 2001-07-20, 1:10 on 2001-10-28" in line for line in lines), lines
        assert believed("RAW") == TRUE
        assert Series.objects.get().basis == "raw"

    def test_split_adjusted_prices_have_no_cliff_and_total_is_the_adjusted_close(self, raw: Path) -> None:
        run("import_candles", raw)
        asset = Asset.objects.get(symbol="RAW")
        rows = list(Candle.objects.order_by("open_time").values_list("open_time", "close", "adj_close"))
        times = np.array([at.replace(tzinfo=None) for at, *_ in rows], "datetime64[us]")
        closes, adjusted = (np.array([float(row[place]) for row in rows]) for place in (1, 2))
        price, volume = actions.factors(asset, times, basis="raw", adjust="split")
        returns = closes[1:] * price[1:] / closes[:-1] / price[:-1]
        assert np.all((returns[[199, 299]] > 0.8) & (returns[[199, 299]] < 1.25))
        assert np.allclose(price * volume, 1)
        total, _ = actions.factors(asset, times, basis="raw", adjust="total", closes=closes, adj_closes=adjusted)
        assert np.allclose(closes * total, adjusted, rtol=1e-12)

    def test_importing_again_changes_nothing(self, raw: Path) -> None:
        run("import_candles", raw)
        known = CorporateAction.objects.values_list("pk", "known_at")
        before = list(known)
        assert run("import_candles", raw)[0] == 0
        assert list(known) == before

    def test_adjusted_prices_stay_what_they_are(self, tmp_path: Path) -> None:
        stock = history(5, splits=3)
        run("import_candles", written(tmp_path / "ADJ.csv", "ADJ", stock.days, stock.split_adjusted(), stock.adjusted))
        assert believed("ADJ") == []
        assert Series.objects.get().basis == "split"

    def test_without_adjusted_closes_a_fall_is_named_and_not_stored(self, tmp_path: Path) -> None:
        closes = [53.5] * 50 + [25.75] * 50
        status, lines = run("import_candles", written(tmp_path / "CRASH.csv", "CRASH", DAYS[:100], closes))
        assert status == 0
        assert any(f"Might be splits, or not, and were left as they are: 2:1 on {DAYS[50]}" in line for line in lines)
        assert believed("CRASH") == []
        assert Series.objects.get().basis == "split"

    def test_adjusted_closes_that_count_a_later_split_show_that_prices_are_as_traded(self, tmp_path: Path) -> None:
        closes = np.linspace(500, 800, 100)
        run("import_candles", written(tmp_path / "GOOG.csv", "GOOG", DAYS[:100], closes, closes * 0.50155))
        assert Series.objects.get().basis == "raw"
        assert believed("GOOG") == []

    def test_among_a_providers_candles_nothing_is_made_raw(self, raw: Path) -> None:
        run("import_candles", raw)
        CorporateAction.objects.all().delete()
        Series.objects.update(basis="split")
        Candle.objects.filter(open_time__gte=datetime(2001, 12, 1, tzinfo=UTC)).update(source="yahoo")
        found = splits.derive(Asset.objects.get())
        assert (found.splits, found.basis, len(found.suspected)) == ((), "split", 2)
        assert believed("RAW") == []


class TestCommand:
    def test_it_lists_what_is_known(self, raw: Path) -> None:
        run("import_candles", raw)
        status, lines = run("find_splits", "raw", "--json")
        assert status == 0
        assert lines[0] == "RAW: 2:1 on 2001-07-20 (file), 1:10 on 2001-10-28 (file)."
        (row,) = json.loads(lines[-1])["series"]
        assert (row["basis"], row["suspected"], row["status"]) == ("raw", [], "done")
        assert row["splits"][0] == {"ex_date": "2001-07-20", "ratio": "2:1", "source": "file", "derived": True}

    def test_what_is_not_there_is_named_with_the_remedy(self, raw: Path) -> None:
        run("import_candles", raw)
        Asset.objects.create(symbol="EMPTY")
        status, lines = run("find_splits", "RAW", "NOSUCH", "EMPTY")
        assert status == 3
        assert lines[1:] == [
            "NOSUCH: There is no asset called NOSUCH. Import or fetch it first.",
            "EMPTY: EMPTY has no daily candles. Import or fetch them first.",
        ]
        assert run("find_splits", "NOSUCH")[0] == 1


def test_the_samples_splits_are_found_at_their_true_dates() -> None:
    run("seed")
    assert believed("AAPL.SAMPLE") == [("2000-06-21", "2:1", "sample", True), ("2005-02-28", "2:1", "sample", True)]
    assert believed("MSFT.SAMPLE") == [("2003-02-18", "2:1", "sample", True)]
    assert [believed(f"{name}.SAMPLE") for name in ("FB", "GOOG", "IBM")] == [[], [], []]
    assert set(Series.objects.filter(asset__is_sample=True).values_list("basis", flat=True)) == {"raw"}
    run("seed")
    assert CorporateAction.objects.count() == 3
