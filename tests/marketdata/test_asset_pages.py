"""Assets as people meet them: the list, one asset, its chart as JSON, its candles as a file."""

import base64
import csv
import io
import struct
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from marketdata import calendars, charts
from marketdata.ingestion import ingest
from marketdata.models import Asset, CorporateAction, QuarantinedCandle, Spelling, Timeframe
from tests import cast
from tests.marketdata.candles import row, table
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")
FRIDAY = datetime(2024, 3, 8, tzinfo=UTC)


@pytest.fixture
def page():
    client = Client()
    client.force_login(cast.alice())
    return client


def test_an_asset_says_what_it_closed_at_and_what_to_see(page):
    stored("NVDA", [100, 120, 150], last=FRIDAY, exchange="NMS", sector="Technology")
    text = page.get("/assets/NVDA/").text
    assert "150.00" in text
    assert "+25.00 %" in text
    assert "NVDA closed at 150.00, up 51.5 % from the open of Wed 6 Mar 2024" in text
    assert "3 candles" in text
    assert "ends 8 Mar 2024" in text
    assert "Technology" in text


def test_an_asset_is_found_by_any_way_to_write_it(page):
    bitcoin = Asset.objects.create(symbol="BTC-USDT")
    Spelling.objects.create(asset=bitcoin, provider="yahoo", spelling="BTC-USD")
    for written in ("btc-usdt", "BTC-USD"):
        assert page.get(f"/assets/{written}/").headers["Location"] == "/assets/BTC-USDT/"
    Asset.objects.create(symbol="^GSPC")
    assert page.get("/assets/%5EGSPC/").status_code == 200
    missing = page.get("/assets/NOBODY/")
    assert missing.status_code == 404
    assert "No asset is called NOBODY" in missing.text


def test_an_asset_without_candles_offers_the_next_step(page):
    Asset.objects.create(symbol="NVDA")
    text = page.get("/assets/NVDA/").text
    assert "No candles yet" in text
    assert "Refresh" in text
    assert page.get("/assets/NVDA/figure.json").status_code == 404


def test_the_sample_is_called_what_it_is_and_not_refreshed(page):
    stored("AAPL.SAMPLE", walk(30), last=datetime(2013, 3, 1, tzinfo=UTC), source="sample", is_sample=True)
    text = page.get("/assets/AAPL.SAMPLE/").text
    assert "Bundled sample" in text
    assert "/refresh/" not in text


def test_candles_in_quarantine_are_mentioned(page):
    asset = stored("NVDA", [1, 2])
    QuarantinedCandle.objects.create(
        asset=asset, timeframe="1d", raw={}, reason="high < low", source="file", fingerprint="x"
    )
    text = page.get("/assets/NVDA/").text
    assert "1 candle of it is held in" in text
    assert 'href="/data/quarantine/?symbol=NVDA"' in text


def test_the_figure_has_every_candle_when_they_fit(page):
    stored("NVDA", walk(200), last=FRIDAY)
    figure = page.get("/assets/NVDA/figure.json?range=all&width=1200").json()
    candles, volume = figure["data"]
    assert len(candles["x"]) == len(candles["open"]) == len(volume["y"]) == figure["meta"]["bars"] == 200
    assert candles["close"][-1] == walk(200)[-1]
    assert candles["x"][-1] == "Fri 8 Mar 2024"
    assert len(set(candles["x"])) == 200
    assert figure["meta"]["joined"] is False
    assert figure["layout"]["yaxis"]["side"] == "right"


def test_more_than_the_screen_holds_are_joined_and_it_says_so(page):
    closes = walk(1000)
    asset = stored("NVDA", closes, last=FRIDAY)
    figure = page.get("/assets/NVDA/figure.json?range=all&width=500").json()
    assert figure["meta"]["joined"] is True
    assert figure["meta"]["each"] == "1 week"
    assert figure["meta"]["bars"] <= 500 / charts.PIXELS_A_BAR
    series = asset.series.get()
    week = charts.span(asset, series, "all", 500).bars[-2]
    days = [n for n in range(1000) if week.time <= FRIDAY - timedelta(days=999 - n) < week.time + timedelta(days=7)]
    assert week.time.weekday() == 0
    assert week.candles == len(days) == 7
    assert week.open == pytest.approx(closes[days[0]] * 0.99, abs=1e-3)
    assert week.close == closes[days[-1]]
    assert week.high == pytest.approx(max(closes[n] for n in days) * 1.02, abs=1e-3)
    assert week.low == pytest.approx(min(closes[n] for n in days) * 0.98, abs=1e-3)
    assert week.volume == sum(1000 + n for n in days)


def test_the_address_chooses_timeframe_range_and_scale(page):
    stored("NVDA", walk(400), last=FRIDAY)
    stored("NVDA", walk(300), last=FRIDAY, timeframe=Timeframe.H1)
    month = page.get("/assets/NVDA/figure.json?range=1mo&scale=log&width=1000").json()
    assert month["meta"]["bars"] == 32
    assert month["layout"]["yaxis"]["type"] == "log"
    hours = page.get("/assets/NVDA/figure.json?timeframe=1h&range=1d&width=1000").json()
    assert hours["meta"]["bars"] == 25
    assert hours["data"][0]["x"][-1] == "Fri 8 Mar 2024 00:00"
    part = page.get("/assets/NVDA/?timeframe=1h&range=5d", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert "timeframe=1h&amp;range=5d" in part
    for strange in ("timeframe=7d", "range=%01", "width=-1", "width=99999999", "scale=x", "page=x"):
        assert page.get(f"/assets/NVDA/figure.json?{strange}").status_code == 200
        assert page.get(f"/assets/NVDA/?{strange}").status_code == 200


def test_many_values_travel_as_doubles():
    values = [float(n) for n in range(charts.TYPED_FROM)]
    packed = charts.numbers(values)
    assert packed["dtype"] == "f8"
    assert list(struct.unpack(f"<{len(values)}d", base64.b64decode(packed["bdata"]))) == values


async def _body(user, url):
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get(url)
    return answer, b"".join([part async for part in answer.streaming_content]).decode()


def test_the_file_has_every_candle_exactly(monkeypatch):
    from asgiref.sync import async_to_sync

    from marketdata.views import assets

    monkeypatch.setattr(assets, "CSV_ROWS", 7)  # several reads for one file
    stored("NVDA", walk(30), last=FRIDAY)
    answer, text = async_to_sync(_body)(cast.bob(), "/assets/NVDA/candles.csv?range=all")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="NVDA_1d_20240208_20240308.csv"'
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 30
    assert [float(row["close"]) for row in rows] == walk(30)
    assert rows[-1]["open_time"] == "2024-03-08T00:00:00Z"
    assert rows[-1]["adj_close"] == ""


def test_the_number_of_queries_is_constant(page):
    stored("NVDA", walk(40))

    def queries():
        with CaptureQueriesContext(connection) as found:
            page.get("/assets/NVDA/")
        return len(found)

    queries()
    few = queries()
    stored("NVDA", walk(300), timeframe=Timeframe.H1)
    stored("NVDA", walk(400))
    assert queries() == few <= 26


def test_prices_are_shown_raw_split_adjusted_or_total(page):
    closes = [100.0] * 400
    asset = stored("NVDA", closes, last=FRIDAY)
    assert 'aria-label="Prices"' not in page.get("/assets/NVDA/").text, "nothing to choose without splits and dividends"
    ex = FRIDAY - timedelta(days=10)
    CorporateAction.objects.create(asset=asset, kind="split", ex_date=ex.date(), value=4, source="yahoo")
    CorporateAction.objects.create(asset=asset, kind="dividend", ex_date=FRIDAY.date(), value=5, source="yahoo")

    def drawn(query):
        candles, volume = page.get(f"/assets/NVDA/figure.json?range=all&{query}").json()["data"]
        return candles["open"], candles["high"], candles["close"], volume["y"]

    for width in (1400, 500):  # candles, and several joined to a bar
        stored_open, stored_high, stored_close, stored_volume = drawn(f"width={width}")
        for as_stored in ("split", "nonsense"):
            assert drawn(f"width={width}&adjust={as_stored}")[2] == stored_close
        opens, highs, lasts, volumes = drawn(f"width={width}&adjust=raw")
        assert (opens[0], highs[0], lasts[0]) == (stored_open[0] * 4, stored_high[0] * 4, stored_close[0] * 4)
        assert volumes[0] == stored_volume[0] / 4
        assert (opens[-1], lasts[-1], volumes[-1]) == (stored_open[-1], stored_close[-1], stored_volume[-1])
        opens, _, lasts, volumes = drawn(f"width={width}&adjust=total")
        assert (opens[0], lasts[0]) == pytest.approx((stored_open[0] * 0.95, stored_close[0] * 0.95))
        assert (lasts[-1], volumes) == (stored_close[-1], stored_volume)
    text = page.get("/assets/NVDA/?adjust=raw").text
    assert "Prices as they were traded." in text
    assert "adjust=raw" in text.split('data-figure="')[1].split('"')[0]


def test_days_of_hours_are_those_of_the_markets_own_clock(page):
    """Sydney opens at 23:00 UTC of the day before: a session is one bar, named by its date."""
    calendars.load("XASX")
    bhp = Asset.objects.create(symbol="BHP.AX", calendar="XASX")
    monday = datetime(2024, 2, 4, 23, tzinfo=UTC)
    days = [monday + timedelta(days=n) for n in range(180) if (monday + timedelta(days=n + 1)).weekday() < 5]
    rows = [row(day + timedelta(hours=n), close=str(10 + n / 10)) for day in days[:40] for n in range(6)]
    ingest(bhp, "1h", table([one | {"open": "10", "high": "11", "low": "9.9"} for one in rows]), source="test")
    meta = page.get("/assets/BHP.AX/figure.json?timeframe=1h&range=all&width=300").json()["meta"]
    assert meta["each"] == "1 day"
    assert meta["labels"][:2] == ["Mon 5 Feb 2024", "Tue 6 Feb 2024"]
    assert meta["bars"] == 40
    assert not [label for label in meta["labels"] if label[:3] in ("Sat", "Sun")]
