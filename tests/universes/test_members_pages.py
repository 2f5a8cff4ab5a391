"""Order, notes and tags of members, as pages and their requests do it."""

import pytest

from chronos.core import tenancy
from tests import cast
from tests.universes.test_universe_pages import HTMX, made, members_of
from universes import catalogue

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return cast.signed_in(alice)


@pytest.fixture
def abc(alice):
    return made(alice, "AAA", "BBB", "CCC")


def stay_of(alice, universe, symbol):
    with tenancy.acting_as(alice):
        return universe.memberships.select_related("asset").get(asset__symbol=symbol)


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ({"symbol": "CCC", "before": "AAA"}, "CCC AAA BBB"),
        ({"symbol": "AAA"}, "BBB CCC AAA"),
        ({"up": "CCC"}, "AAA CCC BBB"),
        ({"down": "CCC"}, "AAA BBB CCC"),
        ({"up": "AAA"}, "AAA BBB CCC"),
        ({"down": "AAA"}, "BBB AAA CCC"),
    ],
)
def test_moving(alice, page, abc, given, order):
    answer = page.post(f"/universes/{abc.pk}/move/", given, headers=HTMX)
    assert answer.status_code == 200
    assert members_of(alice, abc) == order.split()
    assert page.post(f"/universes/{abc.pk}/move/", {"down": "AAA"}).status_code == 302


@pytest.mark.parametrize("given", [{}, {"symbol": "ZZZ"}, {"symbol": "AAA", "before": "ZZZ"}, {"up": "<b>"}])
def test_what_is_no_member_moves_nothing_and_it_is_said(alice, page, abc, given):
    answer = page.post(f"/universes/{abc.pk}/move/", given, headers=HTMX)
    assert answer.status_code == 422
    assert "Nothing was moved" in answer.text
    assert "Nothing was moved" in page.post(f"/universes/{abc.pk}/move/", given, follow=True).text
    assert members_of(alice, abc) == ["AAA", "BBB", "CCC"]


def test_two_tabs_move_at_once_and_nobody_is_lost(alice, page, abc):
    for given in ({"symbol": "CCC", "before": "AAA"}, {"symbol": "BBB", "before": "AAA"}):  # both saw AAA BBB CCC
        page.post(f"/universes/{abc.pk}/move/", given, headers=HTMX)
    assert members_of(alice, abc) == ["CCC", "BBB", "AAA"]


def test_the_table_comes_back_as_it_was_looked_at(page, abc):
    url = f"http://testserver{abc.get_absolute_url()}?q=b&cols=name,tags"
    answer = page.post(f"/universes/{abc.pk}/remove/", {"symbol": "AAA"}, headers=HTMX | {"HX-Current-URL": url})
    assert 'data-symbol="BBB"' in answer.text
    assert 'data-symbol="CCC"' not in answer.text
    elsewhere = page.post(
        f"/universes/{abc.pk}/remove/", {}, headers=HTMX | {"HX-Current-URL": "http://testserver/?q=b"}
    )
    assert 'data-symbol="CCC"' in elsewhere.text


def test_a_note_and_tags_are_written_and_read_again(alice, page, abc):
    url = f"/universes/{abc.pk}/members/AAA/"
    assert 'name="version" value="1"' in page.get(url).text
    assert "<html" not in page.get(url, headers=HTMX).text
    told = {"note": "Why", "tags": "core, AI, Core", "version": "1"}
    answer = page.post(url, told, headers=HTMX)
    assert 'class="edit on"' in answer.text
    stay = stay_of(alice, abc, "AAA")
    assert (stay.note, stay.tags, stay.version) == ("Why", ["core", "AI"], 2)
    assert "core, AI" in page.get(url).text
    assert "is kept" in page.post(url, told | {"version": "2"}, follow=True).text


def test_a_lost_update_is_refused_and_both_are_shown(alice, page, abc):
    url = f"/universes/{abc.pk}/members/AAA/"
    page.post(url, {"note": "theirs", "tags": "x", "version": "1"}, headers=HTMX)
    late = page.post(url, {"note": "mine", "tags": "y", "version": "1"}, headers=HTMX)
    assert late.status_code == 422
    assert late.headers["HX-Retarget"] == "#note-body"
    assert "theirs" in late.text
    assert ">\nmine</textarea>" in late.text
    assert stay_of(alice, abc, "AAA").note == "theirs"
    for _ in range(2):  # pressed twice: the second is no conflict with the first
        assert page.post(url, {"note": "mine", "tags": "y", "version": "2"}, headers=HTMX).status_code == 200
    assert stay_of(alice, abc, "AAA").note == "mine"


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"note": "x" * 1001, "tags": "", "version": "1"}, "at most 1000"),
        ({"note": "", "tags": "t" * 41, "version": "1"}, "at most 40"),
        ({"note": "", "tags": ",".join(map(str, range(21))), "version": "1"}, "at most 20"),
        ({"note": "", "tags": "", "version": "x"}, "open it again"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_typed(alice, page, abc, told, says):
    answer = page.post(f"/universes/{abc.pk}/members/AAA/", told, headers=HTMX)
    assert answer.status_code == 422
    assert says in answer.text
    assert stay_of(alice, abc, "AAA").version == 1


def test_tagging_several(alice, page, abc):
    url, chosen = f"/universes/{abc.pk}/tag/", ["AAA", "BBB", "ZZZ"]
    answer = page.post(url, {"symbol": chosen, "tag": "core, AI", "act": "add"}, headers=HTMX)
    assert "put on 2 members" in answer.text
    page.post(url, {"symbol": ["AAA"], "tag": "CORE", "act": "take"}, headers=HTMX)
    assert stay_of(alice, abc, "AAA").tags == ["AI"]
    assert stay_of(alice, abc, "BBB").tags == ["core", "AI"]
    assert stay_of(alice, abc, "BBB").version == 2
    for given in ({"symbol": chosen}, {"tag": "x"}, {"symbol": ["AAA"], "tag": "x" * 41}):
        assert page.post(url, given, headers=HTMX).status_code == 422


def test_a_tag_in_the_table_filters_by_it(page, abc):
    page.post(f"/universes/{abc.pk}/tag/", {"symbol": "BBB", "tag": "R&D <zz>"}, headers=HTMX)
    text = page.get(abc.get_absolute_url()).text
    assert 'href="?tag=R%26D+%3Czz%3E"' in text
    assert "<zz>" not in text


def test_neither_a_stranger_nor_a_reader_moves_tags_or_annotates(alice, abc):
    rita = cast.rita()
    with tenancy.acting_as(alice):
        catalogue.share(abc, alice, ["rita"])
    for person, status in ((cast.bob(), 404), (rita, 403)):
        client = cast.signed_in(person)
        told = {"symbol": "AAA", "tag": "x", "note": "x", "version": "1"}
        for path in ("move/", "tag/", "members/AAA/"):
            assert client.post(f"/universes/{abc.pk}/{path}", told).status_code == status
            assert client.post(f"/universes/{abc.pk}/{path}", told, headers=HTMX).status_code == status
        assert client.get(f"/universes/{abc.pk}/members/AAA/").status_code == status
    assert members_of(alice, abc) == ["AAA", "BBB", "CCC"]
    assert stay_of(alice, abc, "AAA").version == 1


def test_who_is_no_member_has_no_page(page, abc):
    assert page.get(f"/universes/{abc.pk}/members/ZZZ/").status_code == 404


# --- Whether the symbols are real --------------------------------------------------------------------------------


def test_providers_are_asked_about_those_that_nobody_has_confirmed(alice, page, abc):
    from chronos.core.models import Job
    from marketdata.models import Asset

    Asset.objects.filter(symbol="AAA").update(validated_at="2026-01-02T00:00Z")
    assert "2 not confirmed" in page.get(abc.get_absolute_url()).text
    answer = page.post(f"/universes/{abc.pk}/check/", headers=HTMX)
    with tenancy.acting_as(alice):
        job = Job.objects.get(kind="validate-symbols")
    assert job.params["symbols"] == ["BBB", "CCC"]
    assert f"job-{job.pk} from:body" in answer.text
    Asset.objects.update(validated_at="2026-01-02T00:00Z")
    assert "nothing left to ask" in page.post(f"/universes/{abc.pk}/check/", headers=HTMX).text
    assert "nothing left to ask" in page.post(f"/universes/{abc.pk}/check/", follow=True).text
    assert "not confirmed" not in page.get(abc.get_absolute_url()).text
    assert cast.signed_in(cast.bob()).post(f"/universes/{abc.pk}/check/").status_code == 404
