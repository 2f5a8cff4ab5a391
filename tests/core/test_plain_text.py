"""A NUL character in what is asked: a page that says so, never a fault."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from chronos.core import tenancy
from tests import cast
from universes import catalogue, membership

pytestmark = pytest.mark.usefixtures("house")
SAID = "contains a NUL character"


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def mine(alice):
    with tenancy.acting_as(alice):
        made = catalogue.create(alice, "Chips")
        membership.add(made, alice, ["NVDA"])
    return made


@pytest.mark.parametrize(
    "address",
    ["/assets/%00/", "/assets/%00/figure.json", "/assets/%00/candles.csv", "/assets/?q=%00", "/?a%00b=1",
     "/sign-in/?next=/%00", "/admin/core/job/%00/change/"],
)  # fmt: skip
def test_an_address_with_one_is_refused_on_a_page_of_ours(alice, address):
    answer = client_of(alice).get(address)
    assert answer.status_code == 400
    assert SAID in answer.text
    assert 'aria-label="Rooms"' in answer.text  # still inside, with the way back


@pytest.mark.parametrize(
    "address",
    ["/admin/marketdata/quarantinedcandle/?source=%00", "/admin/core/job/?kind=%00", "/admin/core/job/%00/change/",
     "/admin/autocomplete/?app_label=universes&model_name=membership&field_name=asset&term=%00"],
)  # fmt: skip
def test_the_admin_too(address):
    assert client_of(cast.stella()).get(address).status_code == 400


def test_nobody_in_particular_is_refused_too(services):
    assert Client().get("/assets/%00/").status_code == 400


@pytest.mark.parametrize("text", ["\0", "NVDA\0"])
def test_a_form_with_one_is_refused_and_changes_nothing(alice, mine, text):
    page = client_of(alice)
    address = f"/universes/{mine.pk}/remove/"
    urlencoded = page.post(address, f"symbol={text}".replace("\0", "%00"), "application/x-www-form-urlencoded")
    assert (urlencoded.status_code, SAID in urlencoded.text) == (400, True)
    assert page.post(address, {"symbol": text}).status_code == 400  # multipart
    assert page.post(address, {f"symbol{text}": "NVDA"}).status_code == 400
    with tenancy.acting_as(alice):
        assert membership.members(mine).count() == 1


def test_a_file_may_hold_anything(alice, mine):
    file = SimpleUploadedFile("any.bin", b"\0\1\2")
    answer = client_of(alice).post(f"/universes/{mine.pk}/remove/", {"symbol": "NVDA", "file": file})
    assert answer.status_code < 400
