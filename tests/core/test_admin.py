"""What staff without all rights may do in the admin, and what a superuser may delete there."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.models import Job, JobLine, SignInLink, User
from tests import cast
from tests.cast import signed_in

pytestmark = pytest.mark.usefixtures("house")

USERS, JOBS = "/admin/core/user/", "/admin/core/job/"


def staff(*codenames: str) -> Client:
    """Sam, of the staff, with these rights and no others."""
    sam = cast.person("sam", is_staff=True)
    sam.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert sam.user_permissions.count() == len(codenames)
    return signed_in(sam)


def act(page, url, action, *chosen):
    return page.post(url, {"action": action, "_selected_action": [row.pk for row in chosen]})


def person_form(person, **changes):
    form = {"username": person.username, "first_name": "", "last_name": "", "email": "", "is_active": "on"}
    return form | changes


def test_only_a_superuser_makes_sign_in_links():
    stella = cast.stella()
    page = staff("view_user", "change_user")
    assert "make_sign_in_link" not in page.get(USERS).text
    answer = act(page, USERS, "make_sign_in_link", stella)
    assert "/sign-in/" not in answer.text + str(answer.cookies)
    assert not SignInLink.objects.exists()


def test_a_sign_in_link_is_on_the_page_and_nowhere_else():
    alice, gone = cast.alice(), cast.person("gone", is_active=False)
    page = signed_in(cast.stella())
    answer = act(page, USERS, "make_sign_in_link", alice, gone)
    assert answer.status_code == 200
    assert answer.text.count("/sign-in/") == 1
    assert "No link for gone" in answer.text
    assert "no-store" in answer["Cache-Control"]
    assert "messages" not in answer.cookies
    assert "/sign-in/" not in str(answer.cookies) + str(dict(page.session))
    address = answer.text.split("<code>")[1].split("</code>")[0]
    newcomer = Client()
    newcomer.get(address, follow=True)
    assert newcomer.session["_auth_user_id"] == str(alice.pk)


@pytest.mark.parametrize("right", ["is_superuser", "is_staff"])
def test_only_a_superuser_gives_rights(right):
    alice = cast.alice()
    page = staff("view_user", "change_user")
    answer = page.post(f"{USERS}{alice.pk}/change/", person_form(alice, first_name="Al", **{right: "on"}))
    assert answer.status_code == 302
    alice.refresh_from_db()
    assert (alice.first_name, alice.is_staff, alice.is_superuser) == ("Al", False, False)
    signed_in(cast.stella()).post(f"{USERS}{alice.pk}/change/", person_form(alice, **{right: "on"}))
    alice.refresh_from_db()
    assert getattr(alice, right)


@pytest.mark.parametrize("where", ["change", "password", "delete"])
def test_only_a_superuser_touches_staff(where):
    stella, page = cast.stella(), staff("view_user", "change_user", "delete_user")
    password = dict.fromkeys(("password1", "password2"), "quite-A-secret")
    form = person_form(stella, email="sam@example.org", post="yes", **password)
    assert page.post(f"{USERS}{stella.pk}/{where}/", form).status_code == 403
    page.post(USERS, {"action": "delete_selected", "_selected_action": [stella.pk], "post": "yes"})
    stella.refresh_from_db()
    assert stella.email == "stella@example.org"
    assert not stella.has_usable_password()


def two_jobs(owner):
    fields = {"owner": owner, "kind": "refresh-asset", "params": {"asset_id": 1}}
    with tenancy.as_system("tests"):
        waiting = Job.objects.create(subject="A", **fields)
        ended = Job.objects.create(subject="B", state="done", finished_at=timezone.now(), **fields)
        JobLine.objects.create(job=ended, owner=owner, text="It began")
    return waiting, ended


@pytest.mark.parametrize(("rights", "may"), [(["view_job"], False), (["view_job", "change_job"], True)])
def test_looking_at_jobs_is_not_ruling_them(rights, may):
    alice = cast.alice()
    waiting, ended = two_jobs(alice)
    page = staff(*rights)
    assert ("run_again" in page.get(JOBS).text) is may
    act(page, JOBS, "cancel", waiting)
    act(page, JOBS, "run_again", ended)
    with tenancy.as_system("tests"):
        waiting.refresh_from_db()
        assert (waiting.state, Job.objects.count()) == (("cancelled", 3) if may else ("queued", 2))


@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_superuser_deletes_a_person_and_sees_what_goes_along(in_bulk):
    alice, page = cast.alice(), signed_in(cast.stella())
    two_jobs(alice)
    url = USERS if in_bulk else f"{USERS}{alice.pk}/delete/"
    form = {"action": "delete_selected", "_selected_action": [alice.pk]} if in_bulk else {}
    asked = page.post(url, form) if in_bulk else page.get(url)
    assert "Jobs: 2" in asked.text
    assert "permission" not in asked.text
    assert page.post(url, form | {"post": "yes"}).status_code == 302
    with tenancy.as_system("tests"):
        assert not User.objects.filter(username="alice").exists()
        assert not Job.objects.exists()


def test_others_of_the_staff_do_not_delete_a_person_s_work():
    alice = cast.alice()
    two_jobs(alice)
    page = staff("view_user", "delete_user")
    assert page.post(f"{USERS}{alice.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(username="alice").exists()


def test_a_job_by_itself_is_deleted_by_nobody():
    waiting, _ = two_jobs(cast.alice())
    assert signed_in(cast.stella()).post(f"{JOBS}{waiting.pk}/delete/", {"post": "yes"}).status_code == 403
