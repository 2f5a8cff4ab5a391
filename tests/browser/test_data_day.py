"""What whoever looks after the data does: look what is missing, fetch the history, decide about what is held."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from marketdata.chains import set_chain
from marketdata.models import Asset, Candle, FetchWindow, QuarantinedCandle, Timeframe
from tests import cast
from tests.browser.conftest import PHONE, worker
from tests.prices import stored, walk

pytestmark = pytest.mark.browser


@pytest.mark.prove
def test_history_is_fetched_and_what_is_held_is_decided_about(visit, okx):
    set_chain("crypto", ["okx"], "a test")
    coin = Asset.objects.create(symbol="BTC-USDT", asset_class="crypto")
    nvda = stored("NVDA", walk(60))
    for number in range(5):
        QuarantinedCandle.objects.create(
            asset=nvda, timeframe="1d", open_time=datetime(2024, 1, 2, tzinfo=UTC) + timedelta(days=number),
            raw={"open": "1", "high": "1", "low": "1", "close": "1", "volume": "1"}, kind="spike", source="yahoo",
            reason="its close 1 is far below", fingerprint=str(number),
        )  # fmt: skip
    visitor = visit(cast.stella())
    page = visitor.page
    with worker(OKX_BASE_URL=okx.address, OKX_REQUESTS_PER_SECOND="50", NO_PROXY="127.0.0.1"):
        visitor.open("/assets/BTC-USDT/")
        page.get_by_role("button", name="Backfill").click()
        dialog = page.locator("#backfill-dialog")
        dialog.get_by_label("Timeframe").select_option("1d")
        dialog.get_by_role("button", name="Backfill").click()
        expect(page.locator("#refreshing .state.done")).to_be_visible(timeout=60_000)
    assert Candle.objects.filter(asset=coin).count() > 1800
    page.get_by_role("link", name="Data").first.click()
    row = page.locator("tr", has_text="BTC-USDT").first
    expect(row.locator(".coverage")).to_be_visible()
    expect(row).to_contain_text("100")
    page.get_by_role("link", name="All held candles").click()
    page.get_by_role("link", name="Reject all…").click()
    expect(page.get_by_role("heading", name="Reject 5 candles?")).to_be_visible()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("5 candles rejected.")).to_be_visible()
    expect(page.get_by_role("heading", name="Nothing is held")).to_be_visible()
    assert visitor.quiet() == []
    assert not FetchWindow.objects.filter(state="asking").exists()


def test_refresh_asks_for_the_timeframe_that_is_shown(visit):
    stored("NVDA", walk(60))
    stored("NVDA", walk(60), timeframe=Timeframe.H1)
    visitor = visit(cast.alice(), PHONE)
    visitor.open("/assets/NVDA/?timeframe=1d")
    chosen = visitor.page.locator('input[name="timeframe"][form="refresh"]')
    expect(chosen).to_have_value("1d")
    visitor.page.get_by_role("link", name="1h", exact=True).click()
    expect(chosen).to_have_value("1h")
    assert visitor.quiet() == []
