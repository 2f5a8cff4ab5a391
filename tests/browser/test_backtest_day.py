"""Somebody makes a strategy, runs it, reads the result, takes its trades away, and runs it again when a candle that it
used was revised."""

import csv
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from chronos.core import tenancy
from signals.models import Backtest, Trade
from tests import cast
from tests.browser.conftest import worker
from tests.prices import stored, walk

pytestmark = pytest.mark.browser
LAST = datetime(2024, 3, 8, tzinfo=UTC)


def test_from_a_strategy_to_a_result_that_is_run_again(visit, tmp_path):
    alice = cast.alice()
    stored("ACME", walk(250), last=LAST, calendar="24/7", asset_class="crypto")
    visitor = visit(alice, accept_downloads=True)
    page = visitor.page
    with worker():
        # A strategy, with a slip that is told while it is made.
        visitor.open("/strategies/new/?kind=sma-cross")
        page.locator("#id_name").fill("Quick cross")
        page.get_by_label("Fast average").fill("9")
        page.get_by_label("Slow average").fill("5")
        page.get_by_role("button", name="Create").click()
        expect(page.get_by_text("must be shorter than the slow one (5): lower it")).to_be_visible()
        page.get_by_label("Fast average").fill("2")
        page.get_by_role("button", name="Create").click()
        expect(page.get_by_role("heading", name="Quick cross")).to_be_visible()

        # Run: a date that contradicts another one first.
        page.get_by_role("link", name="Backtest", exact=True).click()
        page.locator("#id_asset").fill("ACME")
        page.locator("#id_start").fill("2024-03-01")
        page.locator("#id_end").fill("2024-02-01")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator(".error", has_text="exchange the two").first).to_be_visible()
        page.locator("#id_start").fill("")
        page.locator("#id_end").fill("")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("heading", name="Equity")).to_be_visible(timeout=30_000)
        expect(page.locator(".chart .main-svg").first).to_be_visible(timeout=20_000)

        # What it says is what is stored.
        with tenancy.acting_as(alice):
            first = Backtest.objects.get()
            trades = Trade.objects.filter(backtest=first).count()
        assert first.trade_count
        body = page.locator("#main")
        expect(body).to_contain_text(f"{first.trade_count} trades")
        with page.expect_download() as saved:
            page.locator("#trades").get_by_role("link", name="CSV").click()
        path = tmp_path / "trades.csv"
        saved.value.save_as(path)
        assert len(list(csv.reader(path.read_text().splitlines()))) == 1 + trades

        # A candle of its past is revised.
        changed = walk(250)
        changed[100] *= 1.05
        stored("ACME", changed, last=LAST)
        page.reload()
        expect(body).to_contain_text("candles that it used were revised")
        page.get_by_role("button", name="Run again").first.click()
        expect(page.get_by_role("heading", name="Equity")).to_be_visible(timeout=30_000)
        page.wait_for_url(lambda url: f"/backtests/{first.pk}/" not in url)
        expect(body).not_to_contain_text("candles that it used were revised")
    with tenancy.acting_as(alice):
        again = Backtest.objects.latest("pk")
        assert again.rerun_of_id == first.pk
        assert again.checksum != first.checksum
    visitor.open("/backtests/")
    expect(page.locator("#main")).to_contain_text("2 backtests")
    # A check of what was typed that a later one overtook is given up, and htmx says so.
    given_up = ("htmx:afterRequest", "htmx:sendAbort", "422 (Unprocessable")
    assert [said for said in visitor.quiet() if not any(words in said for words in given_up)] == []
