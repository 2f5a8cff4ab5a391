"""The bundled sample is real, whole, and says what it is."""

import subprocess
import sys

import pytest

from marketdata.models import Asset
from marketdata.providers import sample
from tests.marketdata.candles import day
from universes.seeding import seed_samples

ROWS = {"AAPL": 3270, "FB": 196, "GOOG": 2148, "IBM": 3270, "MSFT": 3270}


def test_the_five_stocks_with_their_days():
    with sample.candles() as tables:
        assert {ticker: tables[ticker].num_rows for ticker in tables} == ROWS
        first = tables["AAPL"].to_pylist()[0]
        assert {table["open_time"].combine_chunks()[-1].as_py().strftime("%Y-%m-%d") for table in tables.values()} == {
            "2013-03-01"
        }
    assert [first[name] for name in ("open", "high", "low", "close", "volume")] == [
        "118.56", "132.06", "118.5", "130.31", "9616100",
    ]  # fmt: skip
    assert first["open_time"].isoformat() == "2000-03-01T00:00:00+00:00"
    assert first["adj_close"].startswith("4.18666280")


@pytest.mark.usefixtures("house")
def test_it_is_stored_apart_and_labelled():
    stored = {asset.symbol: counts for asset, counts in seed_samples()}
    assert {symbol: counts.inserted for symbol, counts in stored.items()} == {
        f"{ticker}.SAMPLE": rows for ticker, rows in ROWS.items()
    }
    assert not any(counts.quarantined for counts in stored.values())
    apple = Asset.objects.get(symbol="AAPL.SAMPLE")
    assert (apple.name, apple.is_sample, apple.calendar) == ("Apple Inc. (sample 2000–2013)", True, "XNAS")
    assert apple.series.get().source == "sample"
    assert apple.series.get().last_open < day(0)


def test_naming_the_samples_imports_nothing_slow():
    code = "import marketdata.providers.sample, sys; print({'pandas', 'pyarrow', 'numpy'} & {*sys.modules})"
    setup = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'chronos.settings'; django.setup(); "
    found = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "set()"
