"""API tokens: made on a page, shown once, and the one door they open."""

from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from chronos.core import logs, tenancy, tokens
from chronos.core.models import ApiToken, Job
from chronos.urls import urlpatterns as ours
from tests import cast
from tests.cast import signed_in
from tests.prices import stored, walk
from universes.models import Universe

pytestmark = pytest.mark.usefixtures("house")


@tokens.open_to_tokens
@require_http_methods(["GET", "POST"])
def names(request):
    """What a page of the API might do: read and write the caller's own."""
    if request.method == "POST":
        Universe.objects.create(owner=request.user, name="by a program")
    return HttpResponse(",".join(Universe.objects.values_list("name", flat=True)))


urlpatterns = [*ours, path("tests/names/", names)]


@pytest.fixture
def alice():
    return cast.alice()


def issued(person, **more):
    with tenancy.acting_as(person):
        return tokens.issue(person, "notebook", **more)


def program(secret):
    return Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {secret}"})


def made_on(page, **form):
    answer = page.post("/settings/tokens/new/", {"name": "notebook", "may": "read", "days": "30", **form})
    assert answer.status_code == 200
    return answer.text.split('id="token" tabindex="0">')[1].split("</code>")[0]


def test_the_whole_life_of_one(alice):
    stored("NVDA", walk(5))
    page = signed_in(alice)
    secret = made_on(page)
    assert secret.startswith("chr_")
    assert secret not in page.get("/settings/tokens/").text
    with tenancy.as_system("look"):
        row = ApiToken.objects.get()
    assert secret not in str(vars(row))
    assert (row.owner, row.may_write, row.last_used_at) == (alice, False, None)
    asking = program(secret)
    answer = asking.get("/assets/NVDA/candles.csv?range=all")
    assert answer.status_code == 200
    assert asking.get("/assets/NVDA/figure.json").json()["data"]
    text = page.get("/settings/tokens/").text
    assert f"chr_…{secret[-4:]}" in text
    assert "last used never" not in text
    assert "is revoked" in page.post(f"/settings/tokens/{row.pk}/revoke/", follow=True).text
    gone = asking.get("/assets/NVDA/candles.csv")
    assert gone.status_code == 401
    assert gone.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "revoked" in gone.json()["message"]
    assert page.post(f"/settings/tokens/{row.pk}/revoke/").status_code == 404


@override_settings(ROOT_URLCONF=__name__)
def test_it_acts_as_its_person_without_cookie_or_csrf(alice):
    _, secret = issued(alice, may_write=True)
    _, his = issued(cast.bob(), may_write=True)
    asking = program(secret)
    assert asking.post("/tests/names/").text == "by a program"
    assert asking.get("/tests/names/").text == "by a program"
    assert program(his).get("/tests/names/").text == ""
    assert not asking.cookies


@override_settings(ROOT_URLCONF=__name__)
def test_a_reading_one_does_not_write(alice):
    _, secret = issued(alice)
    for method in ("post", "put", "patch", "delete"):
        answer = getattr(program(secret), method)("/tests/names/")
        assert answer.status_code == 403
        assert "may only read" in answer.json()["message"]
    assert program(secret).get("/tests/names/").text == ""


@override_settings(ROOT_URLCONF=__name__)
def test_it_counts_alone_whatever_session_comes_with_it(alice):
    _, secret = issued(alice)
    his = signed_in(cast.bob())
    bearer = {"Authorization": f"Bearer {secret}"}
    with tenancy.acting_as(alice):
        Universe.objects.create(owner=alice, name="hers")
    assert his.get("/tests/names/", headers=bearer).text == "hers"
    assert his.get("/tests/names/", headers={"Authorization": "Bearer chr_wrong"}).status_code == 401
    assert his.get("/tests/names/").text == ""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post("/tests/names/").status_code == 403


@pytest.mark.parametrize("where", ["/", "/settings/", "/settings/tokens/", "/activity/stream/", "/admin/", "/sign-in/"])
def test_pages_for_people_are_closed_to_it(alice, where):
    _, secret = issued(alice, may_write=True)
    answer = program(secret).get(where)
    assert answer.status_code == 403
    assert "for people" in answer.json()["message"]


def test_only_what_is_marked_is_open():
    from django.urls import get_resolver

    from tests.contracts.pages import _named

    found = {name for name, entry in _named(get_resolver(), "") if getattr(entry.callback, "open_to_tokens", False)}
    pages = {name for name in found if not name.startswith("api:")}
    artifacts = {"png", "report", "chart", "json", "equity-csv", "trades-csv"}
    assert pages == {  # each new one on purpose
        "marketdata:candles", "marketdata:figure", "universes:export", *(f"signals:backtest-{one}" for one in artifacts)
    }  # fmt: skip


def test_a_budget_is_chosen_and_seen(alice):
    page = signed_in(alice)
    made_on(page, minutes="60")
    with tenancy.as_system("look"):
        row = ApiToken.objects.get()
        now = timezone.now()
        Job.objects.create(owner=alice, kind="x", subject="x", token=row, state="done",
                           started_at=now - timedelta(minutes=12), finished_at=now)  # fmt: skip
    assert row.compute_minutes == 60
    assert "12 min 0 s of 1 h 0 min a day used" in page.get("/settings/tokens/").text


def test_expired_or_of_a_closed_account(alice):
    bob = cast.bob()
    old, late = issued(alice, lifetime=timedelta(days=1))
    _, closed = issued(bob)
    assert tokens.redeem(late)
    assert tokens.redeem(closed)
    with tenancy.as_system("tests"):
        ApiToken.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    bob.is_active = False
    bob.save()
    assert tokens.redeem(late) is tokens.redeem(closed) is None
    assert "Expired" in signed_in(alice).get("/settings/tokens/").text


@pytest.mark.parametrize("spoil", ["", "chr_", "chr_x", "{}x", "x{}", "{}\n{}"])
def test_what_is_no_token_is_none(alice, spoil):
    _, secret = issued(alice)
    assert tokens.redeem(spoil.format(secret, secret)) is None
    assert tokens.redeem(secret.swapcase()) is None


def test_its_use_is_noted_once_a_minute(alice):
    row, secret = issued(alice)

    def used():
        with tenancy.as_system("tests"):
            return ApiToken.objects.get(pk=row.pk).last_used_at

    tokens.redeem(secret)
    first = used()
    tokens.redeem(secret)
    assert used() == first
    with tenancy.as_system("tests"):
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=first - timedelta(minutes=2))
    tokens.redeem(secret)
    assert used() > first


@pytest.mark.parametrize(
    "where", ["/assets/NVDA/candles.csv?token={}", "/?access_token={}", "/assets/{}/", "/sign-in/{}/"]
)
def test_in_an_address_it_is_refused_and_not_logged(alice, where, caplog):
    _, secret = issued(alice)
    with caplog.at_level("DEBUG"):
        disguised = where.format(secret.replace("chr_", "chr%5F").replace("a", "%61"))
    assert Client().get(disguised).status_code == 400
    answer = Client().get(where.format(secret))
    assert answer.status_code == 400
    assert "in a header" in answer.json()["data"]["remedy"]
    assert secret not in answer.text
    lines = [logs.Json().format(record) for record in caplog.records]
    assert not any(secret in line for line in lines)
    assert secret not in logs.redact(f"GET {where.format(secret)} and {secret}")


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"name": ""}, "required"),
        ({"name": "x" * 101}, "at most 100"),
        ({"name": "taken"}, "token of this name"),
        ({"may": "rule"}, "valid choice"),
        ({"days": "9999"}, "valid choice"),
    ],
)
def test_what_is_wrong_with_a_new_one_is_said(alice, form, why):
    page = signed_in(alice)
    made_on(page, name="taken")
    answer = page.post("/settings/tokens/new/", {"name": "new", "may": "read", "days": "30", **form})
    assert answer.status_code == 422
    assert why in answer.text
    with tenancy.as_system("tests"):
        assert ApiToken.objects.count() == 1


@pytest.mark.parametrize(("days", "says"), [("30", 30), ("90", 90), ("365", 365), ("", None)])
def test_how_long_it_works(alice, days, says):
    made_on(signed_in(alice), days=days)
    with tenancy.as_system("tests"):
        until = ApiToken.objects.get().expires_at
    assert (until and round((until - timezone.now()).total_seconds() / 86_400)) == says


def test_there_is_an_end_to_them(alice, monkeypatch):
    monkeypatch.setattr(tokens, "MOST", 1)
    page = signed_in(alice)
    made_on(page)
    assert "Revoke one first" in page.post("/settings/tokens/new/", {"name": "b", "may": "read", "days": ""}).text


def test_nobody_sees_or_revokes_anothers(alice):
    row, secret = issued(alice)
    bob = signed_in(cast.bob())
    assert "No tokens yet" in bob.get("/settings/tokens/").text
    assert bob.post(f"/settings/tokens/{row.pk}/revoke/", {"pk": row.pk}).status_code == 404
    assert tokens.redeem(secret)


@pytest.mark.parametrize(
    ("where", "status", "says"),
    [
        ("/assets/NVDA/candles.csv", 404, "NVDA"),
        ("/nowhere/", 404, "nothing at this address"),
        ("/assets/NVDA/candles.csv?range=%00", 400, "NUL"),
    ],
)
def test_a_program_is_refused_in_json(alice, where, status, says):
    answer = program(issued(alice)[1]).get(where)
    assert answer.status_code == status
    assert says in answer.json()["message"]


def test_probes_answer_whatever_they_carry():
    assert program("chr_wrong").get("/health/live").status_code == 200
