"""The Data page and what hangs on it: series, providers and their keys, chains, the ledger."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketdata import calendars, credentials, overview, standing
from marketdata.models import (
    Asset,
    FallbackChain,
    FetchWindow,
    ProviderKey,
    ProviderQuota,
    ProviderState,
    QuarantinedCandle,
    Series,
)
from tests import cast
from tests.cast import signed_in
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")

SECRET = "k3y-that-nobody-may-see"
FRIDAY = datetime(2024, 3, 8, tzinfo=UTC)
HTMX = {"HX-Request": "true"}


@pytest.fixture
def page():
    return signed_in(cast.alice())


@pytest.fixture
def staff():
    return signed_in(cast.stella())


def audited(asset: Asset, missing=0, gaps=0, untraded=0, held=0, bar=None, **more) -> None:
    Series.objects.filter(asset=asset).update(
        audited_at=timezone.now(), expected_count=100, missing_count=missing, gap_count=gaps, untraded_count=untraded,
        held_count=held, coverage_bar=bar or [[10, 0, 0, 0]] * 10, **more,
    )  # fmt: skip


def window(asset: Asset, state="answered", **more) -> FetchWindow:
    given = {"timeframe": "1d", "provider": "yahoo", "since": FRIDAY, "until": FRIDAY + timedelta(days=30)}
    return FetchWindow.objects.create(asset=asset, state=state, **(given | more))


# --- At a glance -------------------------------------------------------------------------------------------------


def test_nothing_is_there_yet_and_it_says_what_to_do(page):
    text = page.get("/data/").text
    assert "Nothing is stored yet" in text
    assert "Choose a universe to refresh" in text
    assert "Nothing is held" in text
    assert "Nobody has been asked yet" in text
    assert "never asked" in text


def test_a_series_says_how_complete_and_how_fresh_it_is(page):
    asset = stored("NVDA", walk(40), last=FRIDAY)
    audited(asset, missing=7, gaps=2, untraded=1, bar=[[9, 1, 0, 0], [8, 0, 1, 1]])
    window(asset, received=40, inserted=40, seconds=0.4)
    text = page.get("/data/").text
    assert "Of 100 expected: 92 candles stored, 7 missing in 2 gaps, 1 not traded." in text
    assert "92.9" in text  # of those that traded
    assert 'class="missing" fill="url(#p-missing)"' in text
    assert "Yahoo Finance, " in text
    assert "40 candles, 40 new." in text
    assert "ends 8 Mar 2024" in text
    assert "style=" not in text


def test_what_is_stored_beside_the_expected_is_told(page):
    audited(stored("NVDA", walk(140), last=FRIDAY), missing=7, gaps=2)
    assert "93 candles stored, 7 missing in 2 gaps. 47 more stored: outside the market" in page.get("/data/").text


def test_an_unaudited_series_claims_nothing(page):
    stored("NVDA", walk(5))
    text = page.get("/data/").text
    assert "not audited" in text
    assert "1 never audited" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=gapp", {"GAPPY"}),
        ("state=gaps", {"GAPPY"}),
        ("state=failing", {"BROKEN"}),
        ("state=behind", {"LATE"}),
        ("state=unaudited", {"BROKEN", "LATE"}),
        ("timeframe=1h", {"LATE"}),
        ("q=zzz", set()),
        ("state=%01&sort=nonsense&page=x&timeframe=7x", {"GAPPY", "BROKEN", "LATE"}),
    ],
)
def test_filters_are_in_the_address(page, query, found):
    audited(stored("GAPPY", walk(5)), missing=3, gaps=1)
    Series.objects.filter(asset=stored("BROKEN", walk(5))).update(failed_at=timezone.now(), failure="no answer")
    ended = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=9)
    stored("LATE", walk(5), timeframe=overview.Timeframe.H1, last=ended)
    text = page.get(f"/data/?{query}", headers=HTMX).text
    assert "<html" not in text
    assert {name for name in ("GAPPY", "BROKEN", "LATE") if name in text} == found
    if not found:
        assert "No series fits" in text


def test_behind_is_what_the_market_has_made_and_is_not_stored(page):
    """Whether or not anybody asks for it: a file's series that ended years ago is behind, one of yesterday is not."""
    for code in ("24/7", "XNYS"):
        calendars.load(code)
    now = timezone.now()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    stored("OLD", walk(5), last=datetime(2024, 3, 8, tzinfo=UTC))
    stored("BTC-USDT", walk(5), last=today - timedelta(days=1), asset_class="crypto")
    stored("ETH-USDT", walk(5), last=today - timedelta(days=3), asset_class="crypto")
    Series.objects.update(due_at=now + timedelta(days=1), failed_at=now)
    lagging = Series.objects.filter(overview.in_state("behind", now)).values_list("asset__symbol", flat=True)
    assert set(lagging) == {"OLD", "ETH-USDT"}
    assert overview.totals(now, calendars.Book())["behind"] == 2


def test_headings_sort_and_turn_round(page):
    for name, count in (("AAA", 3), ("BBB", 9), ("CCC", 6)):
        stored(name, walk(count))
    text = page.get("/data/?sort=-candles", headers=HTMX).text
    assert text.index("BBB") < text.index("CCC") < text.index("AAA")
    assert 'aria-sort="descending"' in text
    assert "?sort=candles" in text
    for column in overview.SORTS:
        for sort in (column, f"-{column}"):
            assert page.get(f"/data/?sort={sort}").status_code == 200


def test_the_number_of_queries_is_constant(page):
    def queries(path):
        with CaptureQueriesContext(connection) as found:
            assert page.get(path).status_code == 200
        return len(found)

    def more(count):
        for n in range(count):
            asset = stored(f"S{Asset.objects.count():03}", walk(4))
            audited(asset, missing=n)
            window(asset, provider="okx")
            window(asset, "failed", error_class="ProviderTimeout", error="no answer")
            QuarantinedCandle.objects.create(
                asset=asset, timeframe="1d", open_time=FRIDAY, raw={"open": "1"}, kind="spike", reason="far off",
                source="yahoo", fingerprint=str(n),
            )  # fmt: skip

    paths = ("/data/", "/data/windows/", "/data/quarantine/", "/data/providers/yahoo/")
    more(2)
    before = [queries(path) for path in paths for _ in range(2)][1::2]
    more(12)
    assert [queries(path) for path in paths] == before
    assert max(before) <= 24


# --- The coverage bar --------------------------------------------------------------------------------------------


def test_the_smallest_part_of_a_span_is_seen():
    drawn = overview.paths([[9999, 1, 0, 0], [10_000, 0, 0, 0], [10_000, 0, 0, 0], [0, 0, 0, 5]])
    assert set(drawn) == {"have", "missing", "held"}
    assert f"V{overview.HEIGHT - overview.HEIGHT:.1f}" in drawn["missing"]
    top, bottom = 0.0, overview.LEAST
    assert drawn["missing"] == f"M0.0 {bottom:.1f}H60.0V{top:.1f}H0.0Z"
    assert drawn["have"].count("M") == 2, "equal spans are one piece"
    assert drawn["held"] == "M180.0 16.0H240.0V0.0H180.0Z"


@pytest.mark.parametrize("bar", [[], [[]], [[0, 0, 0, 0]], [[1, 2, 3]], [[-1, 0, 0, 0]]])
def test_a_strange_bar_draws_nothing(bar):
    assert overview.paths(bar) == {}


def test_a_share_is_100_only_if_it_is_all():
    assert overview.share(999_999, 1_000_000) == "99.9"
    assert overview.share(5, 5) == "100"
    assert overview.share(0, 7) == "0.0"
    assert overview.share(0, 0) == "–"


# --- Providers ---------------------------------------------------------------------------------------------------


def state_of(name: str) -> dict:
    return next(row for row in standing.provider_rows(timezone.now()) if row["name"] == name)


def test_how_a_provider_stands_is_told_by_the_worst():
    now = timezone.now()
    assert state_of("yahoo")["word"] == "never asked"
    assert state_of("twelvedata")["word"] == "no key"
    row = ProviderState.objects.create(provider="yahoo", answered_at=now)
    assert state_of("yahoo")["word"] == "answering"
    ProviderQuota.objects.create(provider="yahoo", day=now.date(), used=5, limit=5)
    assert state_of("yahoo")["word"] == "quota used up"
    row.failing_since, row.failure = now, "Connection refused."
    row.save()
    assert (state_of("yahoo")["word"], state_of("yahoo")["trouble"]) == ("failing", "Connection refused.")
    row.closed_until = now + timedelta(minutes=5)
    row.save()
    assert state_of("yahoo")["word"] == f"paused until {row.closed_until:%H:%M}"


def test_the_quota_s_day_is_utc_and_over_all_keys(page):
    today = timezone.now().date()
    for key, used in (("a", 300), ("b", 12)):
        ProviderQuota.objects.create(provider="twelvedata", key=key, day=today, used=used, limit=800)
    ProviderQuota.objects.create(provider="twelvedata", key="a", day=today - timedelta(days=1), used=799, limit=800)
    row = state_of("twelvedata")
    assert (row["used"], row["limit"], row["left"]) == (312, 800, "488")
    assert "312 of 800 requests used today" in page.get("/data/").text
    assert "799" in page.get("/data/providers/twelvedata/").text


def test_a_provider_s_trouble_stands_in_full(page):
    trouble = "OKX did not answer within 20 s. " * 8
    ProviderState.objects.create(provider="okx", failing_since=timezone.now(), failure=trouble[:300])
    for path in ("/data/", "/data/providers/okx/"):
        assert trouble[:300].strip() in page.get(path).text


def test_an_unknown_provider_is_not_found(page):
    answer = page.get("/data/providers/nobody-knows/")
    assert answer.status_code == 404
    assert "There is no provider called" in answer.text


# --- Keys --------------------------------------------------------------------------------------------------------


def test_staff_store_and_forget_a_key_which_nothing_shows(staff, caplog):
    caplog.set_level(logging.DEBUG)
    answer = staff.post("/data/providers/twelvedata/key/", {"secret": SECRET}, follow=True)
    assert "key is stored, encrypted" in answer.text
    assert "set it" not in answer.text
    assert credentials.secret("twelvedata") == SECRET
    assert ProviderKey.objects.get().set_by == "stella"
    seen = [answer.text, staff.get("/data/").text, staff.get("/data/providers/twelvedata/").text, caplog.text]
    seen += [staff.get(f"/admin/marketdata/providerkey/{path}").text for path in ("", "twelvedata/change/")]
    assert not any(SECRET in text for text in seen)
    assert "stored" in staff.get("/data/").text
    answer = staff.post("/data/providers/twelvedata/key/forget/", follow=True)
    assert "is forgotten" in answer.text
    assert not ProviderKey.objects.exists()
    assert "nothing to forget" in staff.post("/data/providers/twelvedata/key/forget/", follow=True).text


@pytest.mark.parametrize("wrong", ["", "two words", "x" * 201, "ключ"])
def test_a_refused_key_is_not_kept_in_the_form(staff, wrong):
    answer = staff.post("/data/providers/twelvedata/key/", {"secret": wrong})
    assert answer.status_code == 422
    assert 'class="error"' in answer.text
    assert not wrong or f'value="{wrong}"' not in answer.text
    assert not ProviderKey.objects.exists()


def test_a_provider_without_keys_takes_none(staff):
    answer = staff.post("/data/providers/yahoo/key/", {"secret": SECRET})
    assert answer.status_code == 422
    assert SECRET not in answer.text
    assert not ProviderKey.objects.exists()


def test_the_environment_s_key_is_named_and_goes_first(page, settings):
    settings.TWELVEDATA_API_KEY = SECRET
    text = page.get("/data/providers/twelvedata/").text
    assert "TWELVEDATA_API_KEY" in text
    assert SECRET not in text
    assert state_of("twelvedata")["origin"] == "environment"


# --- Chains ------------------------------------------------------------------------------------------------------


def test_staff_choose_whom_to_ask(staff):
    assert "Yahoo Finance" in staff.get("/data/chains/stock/").text
    chosen = {"choice_1": "alphavantage", "choice_2": "", "choice_3": "yahoo"}
    answer = staff.post("/data/chains/stock/", chosen, follow=True)
    assert answer.redirect_chain == [("/data/#chains", 302)]
    row = FallbackChain.objects.get()
    assert (row.asset_class, row.providers, row.changed_by) == ("stock", ["alphavantage", "yahoo"], "stella")
    assert "Alpha Vantage has no key" in answer.text
    staff.post("/data/chains/stock/", {"usual": "yes"})
    assert not FallbackChain.objects.exists()


@pytest.mark.parametrize(
    ("chosen", "says"),
    [({}, "Name at least one"), ({"choice_1": "yahoo", "choice_2": "yahoo"}, "twice"), ({"choice_1": "?"}, "valid")],
)
def test_a_chain_that_cannot_be_is_refused_in_words(staff, chosen, says):
    answer = staff.post("/data/chains/stock/", chosen)
    assert answer.status_code == 422
    assert says in answer.text
    assert not FallbackChain.objects.exists()
    assert staff.get("/data/chains/nothing/").status_code == 404


# --- Who may -----------------------------------------------------------------------------------------------------

STAFF_ONLY = {
    "/data/providers/twelvedata/key/": {"secret": SECRET},
    "/data/providers/twelvedata/key/forget/": {},
    "/data/chains/stock/": {"choice_1": "alphavantage"},
    "/data/quarantine/decide/": {"decision": "reject", "id": "1"},
}


@pytest.mark.parametrize("path", STAFF_ONLY)
def test_only_staff_change_settings(path):
    credentials.store("twelvedata", SECRET, "stella")
    looks_on = cast.person("sam", is_staff=True)  # staff who may look at nothing in the admin may change nothing here
    for person in (cast.alice(), looks_on):
        answer = signed_in(person).post(path, STAFF_ONLY[path])
        assert answer.status_code == 403
        assert SECRET not in answer.text
    assert Client().post(path, STAFF_ONLY[path]).status_code == 302
    assert credentials.secret("twelvedata") == SECRET
    assert not FallbackChain.objects.exists()


def test_others_see_the_chains_and_states_without_the_forms(page):
    text = page.get("/data/").text
    assert "Whom Chronos asks" in text
    assert "/data/chains/" not in text
    assert "/key/" not in page.get("/data/providers/twelvedata/").text


# --- The ledger --------------------------------------------------------------------------------------------------


def test_windows_say_what_was_asked_and_what_came(page):
    asset = Asset.objects.create(symbol="NVDA")
    other = Asset.objects.create(symbol="MSFT")
    window(asset, received=500, inserted=498, updated=2, seconds=1.25)
    window(asset, "failed", provider="okx", error_class="ProviderTimeout", error="OKX did not answer.")
    window(other, "empty", exhausted=True)
    window(other, "asking", asked_at=timezone.now() - timedelta(hours=2))
    text = page.get("/data/windows/").text
    for words in ("500 candles", "timed out", "OKX did not answer.", "nothing older", "interrupted", "1.2 s"):
        assert words in text
    assert "4 windows" in text
    for query, count in (("q=nvd", 2), ("provider=okx", 1), ("state=empty", 1), ("timeframe=1h", 0), ("state=x", 4)):
        text = page.get(f"/data/windows/?{query}", headers=HTMX).text
        assert (f"{count} window" in text) if count else ("No window fits" in text)


def test_many_windows_are_paged_and_not_counted_for_ever(page, monkeypatch):
    from marketdata.views import data

    monkeypatch.setattr(data, "MOST", 60)
    asset = Asset.objects.create(symbol="NVDA")
    FetchWindow.objects.bulk_create(
        FetchWindow(asset=asset, timeframe="1d", provider="yahoo", since=FRIDAY, until=FRIDAY + timedelta(days=n + 1))
        for n in range(70)
    )
    text = page.get("/data/windows/?page=9").text
    assert "more than 60 windows" in text
    assert "Page 2 of 2" in text
