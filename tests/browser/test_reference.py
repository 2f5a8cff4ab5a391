"""The API's reference in a browser: tried in Swagger UI by the session of whoever is signed in, read in Redoc."""

import pytest
from playwright.sync_api import expect

from tests import cast

pytestmark = [pytest.mark.browser, pytest.mark.prove]


def test_it_is_tried_and_read(house, visit):
    visitor = visit(cast.alice())
    page = visitor.page
    visitor.open("/api/v1/docs")
    page.locator("#operations-tag-universes").click()
    page.locator("#operations-universes-create_universe .opblock-summary").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("201")
    visitor.open("/universes/")
    expect(page.get_by_role("link", name="Semiconductors").first).to_be_visible()
    visitor.open("/api/v1/redoc")
    expect(page.get_by_role("heading", name="Get me")).to_be_visible()
