"""The admin: each list searchable and filterable, with as many queries for fifty rows as for one, and its actions."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.models import Job, SignInLink, User
from marketdata.models import Asset, QuarantinedCandle, Series, Spelling
from signals.models import Backtest, Strategy
from tests import cast
from tests.prices import stored
from universes.models import Membership, Universe

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def stella():
    return cast.stella()


@pytest.fixture
def page(stella):
    client = Client()
    client.force_login(stella)
    return client


def fill(first, count):
    """`count` of everything, each with an owner and an asset of its own."""
    with tenancy.as_system("tests"):
        for n in range(first, first + count):
            person = User.objects.create(username=f"person{n}")
            asset = Asset.objects.create(symbol=f"S{n}")
            Spelling.objects.create(asset=asset, provider="yahoo", spelling=f"S-{n}")
            Series.objects.create(asset=asset, timeframe="1d")
            QuarantinedCandle.objects.create(
                asset=asset, timeframe="1d", raw={}, reason="high < low", source="file", fingerprint=n
            )
            Job.objects.create(owner=person, kind="refresh-asset", subject=f"S{n}")
            universe = Universe.objects.create(owner=person, name=f"Universe {n}")
            Membership.objects.create(universe=universe, owner=person, asset=asset)
            Membership.objects.create(universe=domain(), asset=asset)
            strategy = Strategy.objects.create(owner=person, name=f"Strategy {n}", kind="sma-cross")
            Backtest.objects.create(
                owner=person, strategy=strategy, strategy_name=f"Strategy {n}", kind="sma-cross", asset=asset,
                timeframe="1d",
            )  # fmt: skip


def domain():
    return Universe.objects.get_or_create(seed="domain", defaults={"name": "Domain", "visibility": "public"})[0]


LISTS = {
    "/admin/core/user/": "person3",
    "/admin/core/job/": "S3",
    "/admin/marketdata/asset/": "S-3",
    "/admin/marketdata/series/": "S3",
    "/admin/marketdata/quarantinedcandle/": "S3",
    "/admin/universes/universe/": "Universe 3",
    "/admin/signals/strategy/": "Strategy 3",
    "/admin/signals/backtest/": "Strategy 3",
}


@pytest.mark.parametrize("url", [*LISTS, "/admin/universes/universe/{domain}/change/"])
def test_fifty_rows_take_the_queries_of_a_few(page, url):
    def queries():
        with CaptureQueriesContext(connection) as found:
            assert page.get(address).status_code == 200
        return [query["sql"] for query in found.captured_queries]

    fill(0, 2)
    with tenancy.as_system("tests"):
        address = url.format(domain=domain().pk)
    queries()
    few = queries()
    fill(2, 48)
    many = queries()
    assert len(many) == len(few) <= 25, "\n".join(many)


@pytest.mark.parametrize(("url", "search"), LISTS.items())
def test_each_list_is_searched(page, url, search):
    fill(0, 5)
    text = page.get(url, {"q": search}).text
    assert "1 result" in text or "1 total" in text or text.count('class="action-checkbox"') == 1, text[-3000:]


def act(page, url, action, *chosen):
    return page.post(url, {"action": action, "_selected_action": [row.pk for row in chosen]}, follow=True).text


def test_refresh_now(page, stella):
    asset = Asset.objects.create(symbol="NVDA")
    with tenancy.as_system("tests"):
        universe = domain()
    assert "1 refresh started" in act(page, "/admin/marketdata/asset/", "refresh_now", asset)
    assert "1 refresh started" in act(page, "/admin/universes/universe/", "refresh_now", universe)
    with tenancy.acting_as(stella):
        assert set(Job.objects.values_list("kind", "owner_id")) == {
            ("refresh-asset", stella.pk),
            ("refresh-universe", stella.pk),
        }


def test_quarantined_candles_are_released_or_rejected(page):
    asset = stored("NVDA", [10, 11])
    raw = dict.fromkeys(("open", "high", "low", "close", "volume"), "12")
    good = QuarantinedCandle.objects.create(
        asset=asset,
        timeframe="1d",
        open_time="2024-03-08T00:00:00Z",
        raw=raw,
        reason="?",
        source="file",
        fingerprint="a",
    )
    bad = QuarantinedCandle.objects.create(
        asset=asset, timeframe="1d", open_time="2024-03-11T00:00:00Z", raw=raw | {"high": "1"}, reason="high < low",
        source="file", fingerprint="b",
    )  # fmt: skip
    url = "/admin/marketdata/quarantinedcandle/"
    text = act(page, url, "release", good, bad)
    assert "1 candle released." in text
    assert 'class="error"' in text
    assert "1 candle rejected." in act(page, url, "reject", bad)
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (good.state, good.decided_by, bad.state) == ("released", "stella", "rejected")
    assert asset.series.get().candle_count == 3


def test_jobs_are_cancelled_and_run_again_but_not_edited(page):
    with tenancy.as_system("tests"):
        alice = cast.alice()
        waiting = Job.objects.create(owner=alice, kind="refresh-asset", subject="A", params={"asset_id": 1})
        ended = Job.objects.create(
            owner=alice,
            kind="refresh-asset",
            subject="B",
            params={"asset_id": 1},
            state="done",
            finished_at=timezone.now(),
        )
    assert "1 job asked to stop" in act(page, "/admin/core/job/", "cancel", waiting, ended)
    assert "1 job started" in act(page, "/admin/core/job/", "run_again", ended)
    with tenancy.acting_as(alice):
        assert Job.objects.latest("pk").rerun_of_id == ended.pk
    assert page.post(f"/admin/core/job/{ended.pk}/change/", {"subject": "X"}).status_code == 403


def test_a_public_universe_is_kept_here(page):
    asset = Asset.objects.create(symbol="NVDA")
    with tenancy.as_system("tests"):
        universe = domain()
    form = {
        "name": "Chips", "visibility": "public", "owner": "",
        "memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0,
        "memberships-2-TOTAL_FORMS": 1, "memberships-2-INITIAL_FORMS": 0, "memberships-2-0-asset": asset.pk,
        "memberships-2-0-joined_at_0": "2024-03-08", "memberships-2-0-joined_at_1": "00:00:00",
    }  # fmt: skip
    answer = page.post(f"/admin/universes/universe/{universe.pk}/change/", form, follow=True)
    assert "was changed successfully" in answer.text
    with tenancy.as_system("tests"):
        stay = Membership.objects.get()
        assert (stay.asset_id, stay.owner_id, stay.universe.name) == (asset.pk, None, "Chips")


def test_a_sign_in_link_is_made_for_somebody(page):
    alice = cast.alice()
    assert "/sign-in/" in act(page, "/admin/core/user/", "make_sign_in_link", alice)
    assert SignInLink.objects.filter(user=alice).count() == 1
