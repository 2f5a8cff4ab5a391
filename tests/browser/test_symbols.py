"""A symbol is typed with a mistake, is asked about, settles by itself, and is mended by a click."""

import pytest

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from marketdata.models import Listing
from tests import cast
from tests.browser.conftest import DESK, PHONE
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_mistyped_symbol_settles_by_itself_and_is_mended(visit, yahoo: Yahoo, size) -> None:
    Listing.objects.create(
        symbol="GOOGL", spelling="GOOGL", name="Alphabet Inc.", exchange="NMS", asset_class="stock", source="tests"
    )
    window = visit(cast.alice(), size)
    window.open("/assets/validate/")
    page = window.page
    page.keyboard.type("GOGL")
    page.locator(".mark.running").wait_for()
    page.locator("[data-suggestion]").wait_for()
    with tenancy.as_system("tests"):
        (job,) = Job.objects.all()
    jobs.run_job(job.pk)
    page.locator(".mark.bad", has_text="Unknown").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("[data-suggestion='GOOGL']").click()
    page.locator(".mark.good", has_text="Valid").wait_for()
    assert page.locator("input[name='symbol']").input_value() == "GOOGL"
    assert "Alphabet Inc." in page.locator("#verdict").inner_text()
    assert window.quiet() == []
