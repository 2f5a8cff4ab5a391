"""Assets and held candles in the admin: who may act on them, and which assets can go."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.models import Job
from marketdata.ingestion import ingest
from marketdata.models import (
    Asset,
    Candle,
    CorporateAction,
    FetchWindow,
    ProviderQuota,
    QuarantinedCandle,
    Series,
    TradingCalendar,
    TradingSession,
)
from tests import cast
from tests.cast import signed_in
from tests.marketdata.candles import day, row, table
from universes.models import Membership, Universe

pytestmark = pytest.mark.usefixtures("house")

ASSETS, SERIES, HELD = (f"/admin/marketdata/{name}/" for name in ("asset", "series", "quarantinedcandle"))


@pytest.fixture
def acme() -> Asset:
    """Nothing stored; one candle held."""
    asset = Asset.objects.create(symbol="ACME")
    ingest(asset, "1d", table([row(day(1), high="1")]), source="test")
    Series.objects.get_or_create(asset=asset, timeframe="1d")
    return asset


def act(page, url, action, chosen):
    return page.post(url, {"action": action, "_selected_action": [chosen.pk]}, follow=True)


@pytest.mark.parametrize("may", [False, True])
def test_looking_is_not_acting(acme, may):
    kinds = ("asset", "series", "quarantinedcandle")
    sam = cast.person("sam", is_staff=True)
    rights = [f"{right}_{kind}" for kind in kinds for right in (("view", "change") if may else ("view",))]
    sam.user_permissions.set(Permission.objects.filter(codename__in=rights))
    page, held = signed_in(sam), QuarantinedCandle.objects.get()
    assert ('value="release"' in page.get(HELD).text) is may
    act(page, ASSETS, "refresh_now", acme)
    with tenancy.as_system("tests"):
        assert Job.objects.count() == may
        Job.objects.all().delete()
    act(page, SERIES, "refresh_now", acme.series.get())
    with tenancy.as_system("tests"):
        assert Job.objects.count() == may
    act(page, HELD, "reject", held)
    held.refresh_from_db()
    assert held.state == ("rejected" if may else "held")
    act(page, HELD, "release", held)
    held.refresh_from_db()
    assert held.state == ("rejected" if may else "held")


def test_the_chosen_series_is_refreshed_and_no_other(acme):
    hours = Series.objects.create(asset=acme, timeframe="1h")
    act(signed_in(cast.stella()), SERIES, "refresh_now", hours)
    with tenancy.as_system("tests"):
        assert [job.params["timeframe"] for job in Job.objects.all()] == ["1h"]


def test_what_cannot_be_decided_is_said(acme):
    page, held = signed_in(cast.stella()), QuarantinedCandle.objects.get()
    answer = act(page, HELD, "release", held)
    assert answer.status_code == 200
    assert "ACME 1d can&#x27;t be released" in answer.text
    QuarantinedCandle.objects.update(state="released", decided_by="bob")
    for action in ("release", "reject"):
        answer = act(page, HELD, action, held)
        assert answer.status_code == 200
        assert "was released" in answer.text


def test_an_asset_goes_with_its_series_and_held_candles(acme):
    page, url = signed_in(cast.stella()), f"{ASSETS}{acme.pk}/delete/"
    asked = page.get(url).text
    assert "Quarantined candles: 1" in asked
    assert "Series: 1" in asked
    assert page.post(url, {"post": "yes"}).status_code == 302
    assert not Asset.objects.exists()


@pytest.mark.parametrize("in_bulk", [False, True])
def test_an_asset_with_candles_stays_and_it_is_said_why(acme, in_bulk):
    ingest(acme, "1d", table([row(day(2))]), source="test")
    page = signed_in(cast.stella())
    url = ASSETS if in_bulk else f"{ASSETS}{acme.pk}/delete/"
    form = {"action": "delete_selected", "_selected_action": [acme.pk]} if in_bulk else {}
    for answer in (page.post(url, form) if in_bulk else page.get(url), page.post(url, form | {"post": "yes"})):
        assert answer.status_code == 200
        assert "ACME has stored candles" in answer.text
        assert "permission" not in answer.text
    assert Candle.objects.filter(asset=acme).exists()
    assert Asset.objects.exists()


def test_a_member_stays_and_it_is_said_where(acme):
    with tenancy.as_system("tests"):
        chips = Universe.objects.create(name="Chips", visibility="public")
        Membership.objects.create(universe=chips, asset=acme)
    answer = signed_in(cast.stella()).post(f"{ASSETS}{acme.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 200
    assert "ACME can't be deleted" in answer.text
    assert "ACME in Chips" in answer.text
    assert Asset.objects.exists()


def test_lists_of_what_is_kept_ask_a_constant_number_of_queries(acme):
    page, now = signed_in(cast.stella()), timezone.now()

    def more(count):
        for n in range(count):
            asset = Asset.objects.create(symbol=f"S{Asset.objects.count()}")
            FetchWindow.objects.create(
                asset=asset, timeframe="1d", provider="okx", since=day(1), until=day(2), asked_at=now
            )
            CorporateAction.objects.create(asset=asset, kind="split", ex_date=day(n).date(), value=2, source="yahoo")
            ProviderQuota.objects.create(provider=asset.symbol, day=day(n).date(), used=n)
            TradingCalendar.objects.create(
                code=asset.symbol, zone="UTC", covers_from=day(1), covers_until=day(2), version="4"
            )

    def queries(kind):
        with CaptureQueriesContext(connection) as found:
            assert page.get(f"/admin/marketdata/{kind}/").status_code == 200
        return len(found)

    kinds = ("fetchwindow", "corporateaction", "tradingcalendar", "providerquota", "fallbackchain", "providerkey")
    more(2)
    page.get("/admin/")  # a session that is new is noted once
    before = [queries(kind) for kind in kinds]
    more(10)
    assert [queries(kind) for kind in kinds] == before


@pytest.mark.parametrize("kind", ["fetchwindow", "tradingcalendar", "providerquota", "providerstate", "fallbackchain"])
def test_what_the_program_writes_is_looked_at_only(acme, kind):
    page = signed_in(cast.stella())
    assert page.get(f"/admin/marketdata/{kind}/add/").status_code == 403
    assert "/add/" not in page.get(f"/admin/marketdata/{kind}/").text.split("changelist-form", 1)[-1]


def test_a_calendar_s_next_sessions_are_told(acme):
    tomorrow = timezone.now().replace(hour=14, minute=30) + timedelta(days=1)
    TradingCalendar.objects.create(code="XNYS", zone="UTC", covers_from=day(1), covers_until=tomorrow, version="4")
    TradingSession.objects.create(
        calendar="XNYS", date=tomorrow.date(), opens_at=tomorrow, closes_at=tomorrow + timedelta(hours=3)
    )
    text = signed_in(cast.stella()).get("/admin/marketdata/tradingcalendar/XNYS/change/").text
    assert "14:30 – 17:30" in text
