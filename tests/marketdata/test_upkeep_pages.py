"""How an asset's candles are kept, on its page: coverage, gaps, actions; backfill and gap filling as jobs."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client

from chronos.core import tenancy
from chronos.core.models import Job
from marketdata import calendars, gaps
from marketdata.models import Asset, Candle, CorporateAction, FetchWindow, QuarantinedCandle, Series, Timeframe
from tests import cast
from tests.prices import stored, walk
from universes import catalogue, membership

pytestmark = pytest.mark.usefixtures("house")

HTMX = {"HX-Request": "true"}
FRIDAY = datetime(2024, 3, 8, tzinfo=UTC)


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def holey() -> Asset:
    """A coin's days, of which 3, and then 1, are missing; audited."""
    asset = stored("BTC-USDT", walk(40), last=FRIDAY, asset_class="crypto")
    lost = [FRIDAY - timedelta(days=n) for n in (5, 6, 7, 20)]
    Candle.objects.filter(asset=asset, open_time__in=lost).delete()
    gaps.audit(asset.series.get())
    return asset


def jobs() -> list[Job]:
    with tenancy.as_system("tests"):
        return list(Job.objects.order_by("pk"))


# --- The panel ---------------------------------------------------------------------------------------------------


def test_each_series_says_how_it_is_kept(page, holey):
    window = {"timeframe": "1d", "since": FRIDAY, "until": FRIDAY + timedelta(days=1)}
    FetchWindow.objects.create(asset=holey, provider="okx", state="answered", **window)
    FetchWindow.objects.create(asset=holey, provider="okx", state="failed", **window)
    text = page.get("/assets/BTC-USDT/").text
    assert "Of 40 expected: 36 candles stored, 4 missing in 2 gaps." in text
    assert "2 windows, 1 failed" in text
    assert "Trades around the clock, every day." in text
    assert "/assets/BTC-USDT/gaps/?timeframe=1d&amp;as=first" in text
    part = page.get("/assets/BTC-USDT/?as=stored", headers=HTMX).text
    assert part.lstrip().startswith('<div id="stored"')


def test_a_market_s_next_session_is_told(page):
    asset = Asset.objects.create(symbol="NVDA", exchange="NMS")
    assert "not stored yet" in page.get("/assets/NVDA/").text
    calendars.load(calendars.calendar_of(asset))
    text = page.get("/assets/NVDA/").text
    assert "Next session " in text or "Open until " in text


def test_splits_and_dividends_are_listed_as_they_are_believed(page):
    asset = stored("AAPL", walk(3))
    believed = {"asset": asset, "source": "yahoo"}
    CorporateAction.objects.create(kind="split", ex_date=date(2020, 8, 31), value=4, **believed)
    CorporateAction.objects.create(kind="split", ex_date=date(2014, 6, 9), value=7, derived=True, **believed)
    CorporateAction.objects.create(
        kind="split", ex_date=date(1999, 1, 4), value=9, superseded_at=FRIDAY, **believed
    )  # fmt: skip
    for n in range(10):
        CorporateAction.objects.create(
            kind="dividend", ex_date=date(2020, 1, 1 + n), value=Decimal("0.24"), currency="USD", **believed
        )
    text = page.get("/assets/AAPL/").text
    for words in ("4:1", "7:1", "found in the prices", "31 Aug 2020", "0.24", "2 earlier", "USD a share"):
        assert words in text
    assert "9:1" not in text


# --- Gaps --------------------------------------------------------------------------------------------------------


def test_gaps_are_listed_with_their_first_and_last_candle(page, holey):
    text = page.get("/assets/BTC-USDT/gaps/").text
    assert "2 gaps, 4 candles missing" in text
    assert "1 Mar 2024 – 3 Mar 2024" in text
    assert "3 candles" in text
    assert "17 Feb 2024<" in text
    assert "Fill gaps" in text
    first = page.get("/assets/BTC-USDT/gaps/?timeframe=1d&as=first", headers=HTMX).text
    assert "<html" not in first
    assert "1 Mar 2024 – 3 Mar 2024" in first


def test_a_list_of_gaps_is_new_after_the_next_audit(page, holey):
    assert "2 gaps" in page.get("/assets/BTC-USDT/gaps/").text
    Candle.objects.filter(asset=holey, open_time=FRIDAY - timedelta(days=30)).delete()
    assert "2 gaps" in page.get("/assets/BTC-USDT/gaps/").text
    gaps.audit(holey.series.get())
    assert "3 gaps" in page.get("/assets/BTC-USDT/gaps/").text


def test_thousands_are_counted_in_the_plural(page):
    asset = stored("BTC-USDT", walk(1302), last=FRIDAY, asset_class="crypto")
    Candle.objects.filter(asset=asset, open_time__gt=asset.series.get().first_open, open_time__lt=FRIDAY).delete()
    QuarantinedCandle.objects.bulk_create(
        QuarantinedCandle(asset=asset, timeframe="1d", raw={}, kind="spike", fingerprint=str(n)) for n in range(1001)
    )
    gaps.audit(asset.series.get())
    assert "1\u202f300 candles" in page.get("/assets/BTC-USDT/gaps/").text
    assert "1\u202f001 candles of it are held" in page.get("/assets/BTC-USDT/").text


def test_what_is_not_known_of_gaps_is_said(page):
    asset = stored("NVDA", walk(5))
    assert "Nobody has counted yet" in page.get("/assets/NVDA/gaps/").text
    Series.objects.filter(asset=asset).update(audited_at=FRIDAY)
    assert "No calendar says which candles to expect" in page.get("/assets/NVDA/gaps/").text
    for path in ("/assets/NVDA/gaps/?timeframe=1h", "/assets/NVDA/gaps/?timeframe=%01", "/assets/NOBODY/gaps/"):
        assert page.get(path).status_code == 404


# --- Long work ---------------------------------------------------------------------------------------------------


def test_a_backfill_starts_in_place_and_is_still_shown_when_the_page_is_opened_again(page, holey, alice):
    form = {"timeframe": "1h", "since": "2020-01-31"}
    answer = page.post("/assets/BTC-USDT/backfill/", form, headers=HTMX)
    assert answer.status_code == 200
    assert "Waiting for a worker." in answer.text
    (job,) = jobs()
    assert (job.kind, job.owner_id, job.subject) == ("backfill-asset", alice.pk, "BTC-USDT 1h")
    assert job.params["timeframe"] == "1h"
    assert job.params["since"].startswith("2020-01-31T00:00:00")
    assert f'data-job="{job.pk}"' in page.get("/assets/BTC-USDT/").text
    assert page.post("/assets/BTC-USDT/backfill/", form).headers["Location"] == job.get_absolute_url()
    assert len(jobs()) == 1, "the one under way"


def test_the_usual_depth_is_told_and_taken_when_no_day_is_given(page, holey):
    assert "5 years of days, 2 years of hours, 7 days of minutes" in page.get("/assets/BTC-USDT/backfill/").text
    page.post("/assets/BTC-USDT/backfill/", {"timeframe": "1d", "since": ""})
    assert jobs()[0].params["since"] is None


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({}, "This field is required"),
        ({"timeframe": "7d"}, "not one of the available choices"),
        ({"timeframe": "1d", "since": "31.1.2020"}, "Write the date as 2020-01-31."),
        ({"timeframe": "1d", "since": "2999-01-01"}, "Choose a day that is over."),
        ({"timeframe": "1d", "since": "1492-10-12"}, "after 1900"),
    ],
)
def test_a_wrong_backfill_keeps_what_was_typed(page, holey, form, says):
    answer = page.post("/assets/BTC-USDT/backfill/", form, headers=HTMX)
    assert answer.status_code == 422
    assert answer.headers["HX-Retarget"] == "#backfill-form"
    assert says in answer.text
    assert f'value="{form.get("since", "")}"' in answer.text or not form.get("since")
    assert "<html" in page.post("/assets/BTC-USDT/backfill/", form).text
    assert jobs() == []


def test_gaps_are_filled_by_a_job(page, holey):
    answer = page.post("/assets/BTC-USDT/gaps/fill/", {"timeframe": "1d"}, headers=HTMX)
    assert "data-job=" in answer.text
    (job,) = jobs()
    assert (job.kind, job.params["timeframe"]) == ("fill-gaps", "1d")
    assert page.post("/assets/BTC-USDT/gaps/fill/", {"timeframe": "1h"}).status_code == 404
    assert page.get("/assets/BTC-USDT/gaps/fill/").status_code == 405


def test_a_sample_is_neither_backfilled_nor_filled(page):
    stored("AAPL.SAMPLE", walk(9), source="sample", is_sample=True)
    text = page.get("/assets/AAPL.SAMPLE/").text
    assert "/backfill/" not in text
    assert "never moves" in page.get("/assets/AAPL.SAMPLE/backfill/").text
    page.post("/assets/AAPL.SAMPLE/backfill/", {"timeframe": "1d"})
    page.post("/assets/AAPL.SAMPLE/gaps/fill/", {"timeframe": "1d"})
    assert jobs() == []


def test_a_universe_is_backfilled_by_whoever_sees_it(page, alice):
    with tenancy.acting_as(alice):
        universe = catalogue.create(alice, "Coins", "")
        membership.add(universe, alice, ["BTC-USDT"])
    path = f"/universes/{universe.pk}/backfill/"
    assert "Backfill Coins" in page.get(path).text
    assert path in page.get(f"/universes/{universe.pk}/").text
    assert page.post(path, {"timeframe": "7d"}, headers=HTMX).status_code == 422
    answer = page.post(path, {"timeframe": "1h", "since": "2024-01-02"}, headers=HTMX)
    assert "data-job=" in answer.text
    (job,) = jobs()
    assert (job.kind, job.params["universe_id"], job.params["timeframe"]) == (
        "backfill-universe", universe.pk, Timeframe.H1,
    )  # fmt: skip
    stranger = Client()
    stranger.force_login(cast.eve())
    assert stranger.get(path).status_code == 404
    assert stranger.post(path, {"timeframe": "1d"}).status_code == 404
