"""The page for notebooks does what it says: its code, as it stands there, against a served Chronos."""

import re
from datetime import UTC, datetime

import httpx
import numpy as np
import pandas as pd
import pytest
from django.conf import settings

from chronos.core import tenancy
from tests import cast
from tests.api.program import Program
from tests.prices import stored, walk
from universes import catalogue, membership

pytestmark = pytest.mark.usefixtures("house")
PAGE = settings.BASE_DIR / "docs" / "notebooks.md"


def test_the_code_of_the_page(address, monkeypatch):
    alice = cast.alice()
    stored("AAPL", walk(12_000), last=datetime(2024, 3, 8, tzinfo=UTC))
    stored("MSFT", walk(30), last=datetime(2024, 3, 8, tzinfo=UTC))
    with tenancy.acting_as(alice):
        membership.add(catalogue.create(alice, "Finance"), alice, ["AAPL", "MSFT"])
    monkeypatch.setenv("NO_PROXY", "localhost")
    page = PAGE.read_text().replace("http://localhost:8000", address)
    page = page.replace("chr_…", Program.of(alice, may_write=False).secret)
    start, pandas, polars, headers, universe = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for code in (pandas, polars):
        assert len([line for line in code.splitlines() if line and not line.startswith("import")]) == 3
    names: dict = {}
    exec(start + pandas, names)  # the page's own
    by_pandas = names["candles"]
    assert isinstance(names["chronos"], httpx.Client)
    assert by_pandas.index[0] == pd.Timestamp("2015-01-01", tz="UTC")
    assert by_pandas.index[-1] == pd.Timestamp("2024-03-08", tz="UTC")
    assert by_pandas["close"].tolist() == walk(12_000)[-len(by_pandas) :]
    exec(polars, names)
    by_polars = names["candles"]
    assert by_polars.columns == ["open_time", "open", "high", "low", "close", "volume", "adj_close", "quote_volume"]
    assert str(by_polars.schema["open_time"]) == "Datetime(time_unit='us', time_zone='UTC')"
    np.testing.assert_array_equal(by_polars["close"].to_numpy(), by_pandas["close"].to_numpy())
    assert by_polars["adj_close"].null_count() == len(by_polars)
    exec(headers, names)
    assert names["answer"].headers["Chronos-Adjust"] == "split"
    exec(universe, names)
    both = pd.DataFrame(names["closes"])
    assert both.shape == (12_000, 2)
    assert both["MSFT"].count() == 30
    names["chronos"].close()
