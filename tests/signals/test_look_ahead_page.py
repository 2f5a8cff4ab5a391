"""The page that asks whether a strategy looks ahead: asked, answered by the job, told with days."""

import pytest

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from signals import catalogue
from tests import cast
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def asked():
    alice = cast.alice()
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Turtles", "donchian", {}, "")
    return alice, cast.signed_in(alice), f"/strategies/{mine.pk}/look-ahead/"


def test_it_works(asked):
    alice, client, address = asked
    stored("ACME", walk(400), calendar="24/7")
    assert b"what it decides knowing less must be what it decides knowing all" in client.get(address).content
    answer = client.post(address, {"symbol": "acme", "timeframe": "1d"})
    assert (answer.status_code, answer["Location"]) == (302, address)
    assert b"Waiting for a worker" in client.get(address).content
    with tenancy.acting_as(alice):
        job = Job.objects.get(kind="check-strategy")
    jobs.run_job(job.pk)
    page = client.get(address).content.decode()
    assert "It only looks back" in page
    assert "400 candles" in page
    assert "Donchian" in page


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"symbol": "NOPE", "timeframe": "1d"}, "There is no asset called NOPE here; fetch or import it first."),
        ({"symbol": "ACME", "timeframe": "1h"}, "ACME has no 1h candles; choose one that it has: 1d."),
        ({"symbol": "", "timeframe": "1d"}, "This field is required."),
    ],
)
def test_what_can_not_be_asked_is_explained(asked, given, words):
    _, client, address = asked
    stored("ACME", walk(60), calendar="24/7")
    answer = client.post(address, given)
    assert answer.status_code == 422
    assert words in answer.content.decode()


def test_nobody_else_s(asked):
    _, _, address = asked
    assert cast.signed_in(cast.eve()).get(address).status_code == 404
