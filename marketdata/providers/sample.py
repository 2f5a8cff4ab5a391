"""The bundled sample: real daily history of five stocks, in the public domain: something to see offline.

It comes out of the package bokeh_sampledata: prices as they were traded, not adjusted, with an adjusted close; it ended
in March 2013 and never moves. It is stored under symbols of its own (`AAPL.SAMPLE`), so that nobody takes it for the
market of today and no real candle is ever mixed with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from marketdata.providers.files import reading

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "sample"
_PACKAGE, _FILE = "bokeh_sampledata", "_data/stocks.csv.gz"


@dataclass(frozen=True)
class Sample:
    """One stock of the sample: `ticker` as the package has it."""

    ticker: str
    name: str
    since: int
    exchange: str
    calendar: str
    sector: str
    industry: str

    @property
    def symbol(self) -> str:
        return f"{self.ticker}.SAMPLE"

    @property
    def title(self) -> str:
        """The name, with what it is."""
        return f"{self.name} (sample {self.since}–2013)"


_SOFTWARE, _INTERNET = ("Technology", "Software"), ("Communication services", "Internet content")
SAMPLES = (
    Sample("AAPL", "Apple Inc.", 2000, "NASDAQ", "XNAS", "Technology", "Consumer electronics"),
    Sample("FB", "Facebook, Inc.", 2012, "NASDAQ", "XNAS", *_INTERNET),
    Sample("GOOG", "Google Inc.", 2004, "NASDAQ", "XNAS", *_INTERNET),
    Sample(
        "IBM", "International Business Machines", 2000, "NYSE", "XNYS", "Technology", "Information technology services"
    ),
    Sample("MSFT", "Microsoft Corporation", 2000, "NASDAQ", "XNAS", *_SOFTWARE),
)


@contextmanager
def candles() -> Iterator[dict[str, "pa.Table"]]:
    """The daily candles of each ticker, as tables of `marketdata.ingestion.schema()`, good within the block."""
    with as_file(files(_PACKAGE).joinpath(_FILE)) as path, reading(path) as contents:
        yield {series.symbol: series.candles for series in contents.series}
