"""Lists brought to a universe: kept as rows, decided about, added once, taken back whole."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from chronos.core import jobs as core_jobs
from chronos.core import tenancy
from chronos.core.models import Job
from marketdata import asking
from marketdata.models import Asset, Listing
from marketdata.verdicts import Answer, Verdict
from tests import cast
from universes import catalogue, membership
from universes.jobs import purge
from universes.lists import adding, drafts
from universes.models import SymbolList

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    """A real `Run` really sleeps, so the pauses between attempts are short here."""
    monkeypatch.setattr(asking, "_pause", lambda state: 0.01)


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return cast.signed_in(alice)


@pytest.fixture
def mine(alice):
    with tenancy.acting_as(alice):
        return catalogue.create(alice, "Chips")


def listed(*symbols):
    """These stand in the symbol master."""
    Listing.objects.bulk_create(
        Listing(
            symbol=symbol, spelling=symbol, name=f"{symbol} Inc.", asset_class="stock", exchange="NMS", source="test"
        )
        for symbol in symbols
    )


def brought(page, universe, text="", file=None):
    """What the form answers; the list is at the address that it sends to."""
    given = {"text": text} | ({"file": file} if file else {})
    return page.post(f"/universes/{universe.pk}/import/", given)


def kept(answer):
    assert answer.status_code == 302, answer.text
    with tenancy.as_system("look"):
        return SymbolList.objects.select_related("universe", "owner").get(pk=int(answer.url.split("/")[-2]))


def rows(found):
    with tenancy.as_system("look"):
        return {row.written: row for row in found.rows.all()}


def groups(found):
    return {written: row.group for written, row in rows(found).items()}


def members(universe):
    with tenancy.as_system("look"):
        return [stay.asset.symbol for stay in membership.members(universe)]


def stays(universe):
    with tenancy.as_system("look"):
        return list(universe.memberships.order_by("pk").values())


def asked(found):
    """The job that asks for what nobody here knows, run; what it ended with."""
    with tenancy.as_system("look"):
        job = Job.objects.filter(kind="validate-list", subject_url=found.get_absolute_url()).latest("pk")
    core_jobs.run_job(job.pk)
    with tenancy.as_system("look"):
        job.refresh_from_db()
    return job


def test_it_works(page, mine):
    listed("NVDA", "MSFT")
    answer = brought(page, mine, "nvda MSFT nvda")
    found = kept(answer)
    assert groups(found) == {"nvda": "duplicate", "MSFT": "new"}
    text = page.get(answer.url).text
    assert "2 symbols" in text
    assert "NVDA Inc." in text
    page.post(f"{answer.url}confirm/")
    assert members(mine) == ["NVDA", "MSFT"]
    text = page.get(answer.url).text
    assert "2 symbols added. Not added: 1 duplicate." in text
    assert 'class="toast offer"' in text
    page.post(f"{answer.url}undo/")
    assert members(mine) == []
    assert stays(mine) == []
    assert "2 additions taken back." in page.get(answer.url).text


def test_who_repeats_a_line_that_is_mended_repeats_nothing(page, mine):
    """Two lines said NVDA; the first was meant to be AMD: the second is still to be added."""
    listed("NVDA", "AMD")
    answer = brought(page, mine, "NVDA\nNVDA")
    found = kept(answer)
    with tenancy.as_system("look"):
        first = found.rows.order_by("number").first()
    page.post(f"{answer.url}rows/{first.number}/", {"symbol": "AMD"})
    page.post(f"{answer.url}confirm/")
    assert sorted(members(mine)) == ["AMD", "NVDA"]


def test_nothing_is_added_by_looking(page, mine):
    listed("NVDA")
    page.get(brought(page, mine, "NVDA").url)
    assert members(mine) == []
    assert not Asset.objects.exists()


def test_each_line_is_in_its_group(page, mine, alice, yahoo):
    listed("NVDA", "GOOGL", "AAPL", "MSFT")
    with tenancy.acting_as(alice):
        membership.add(mine, alice, ["AAPL"])
    Asset.objects.create(symbol="LEH", validated_at=timezone.now(), refuted_at=timezone.now())
    found = kept(brought(page, mine, "NVDA AAPL no$good GOGL LEH MSFT"))
    assert groups(found)["GOGL"] == "pending"
    asked(found)
    assert groups(found) == {
        "NVDA": "new", "AAPL": "already", "no$good": "malformed", "GOGL": "unknown", "LEH": "delisted", "MSFT": "new",
    }  # fmt: skip
    assert "GOOGL" in rows(found)["GOGL"].suggestions
    text = page.get(found.get_absolute_url()).text
    assert all(word in text for word in ("Unknown", "Delisted", "Malformed", "Already in", "New"))
    assert "GOGL" in text
    assert "2 symbols" in text


def test_a_suggestion_mends_and_can_be_taken_back(page, mine, yahoo):
    listed("GOOGL", "NVDA")
    found = kept(brought(page, mine, "GOGL"))
    asked(found)
    url = found.get_absolute_url()
    answer = page.post(f"{url}rows/1/", {"use": "GOOGL"}, headers=HTMX)
    assert "GOOGL" in answer.text
    assert 'hx-swap-oob="true"' in answer.text
    row = rows(found)["GOGL"]
    assert (row.symbol, row.group, row.decision) == ("GOOGL", "new", "mend")
    page.post(f"{url}rows/1/", {"decision": ""})
    row = rows(found)["GOGL"]
    assert (row.symbol, row.decision) == ("GOGL", "")
    answer = page.post(f"{url}rows/1/", {"symbol": "no good$"}, headers=HTMX)
    assert answer.status_code == 422
    assert "is no symbol" in answer.text
    page.post(f"{url}rows/1/", {"symbol": "nvda"})
    page.post(f"{url}confirm/")
    assert members(mine) == ["NVDA"]


def test_all_first_suggestions_at_once(page, mine, yahoo):
    listed("GOOGL", "NVDA")
    found = kept(brought(page, mine, "GOGL NVDAA ZZZZZZ"))
    asked(found)
    url = found.get_absolute_url()
    answer = page.post(f"{url}decide/", {"decision": "mend", "group": "unknown"}, headers=HTMX)
    assert "2 first suggestions taken." in answer.text
    page.post(f"{url}decide/", {"decision": "keep", "group": "unknown"})
    page.post(f"{url}confirm/")
    assert set(members(mine)) == {"GOOGL", "NVDA", "ZZZZZZ"}


def test_a_suggestion_that_is_no_symbol_is_passed_over(page, mine, yahoo):
    listed("GOOGL", "NVDA")
    found = kept(brought(page, mine, "GOGL NVDAA"))
    asked(found)
    url = found.get_absolute_url()
    with tenancy.as_system("a directory that has become worse"):
        found.rows.filter(written="NVDAA").update(suggestions=["n$ne", "NVDA"])
    for bad in ("n$ne", "<b>", "x" * 500):
        assert "is no symbol" in page.post(f"{url}rows/2/", {"use": bad}, headers=HTMX).text
    for many in (1, 1):
        answer = page.post(f"{url}decide/", {"decision": "mend", "group": "unknown"}, headers=HTMX)
        assert f"{many} first suggestion taken." in answer.text
    assert [(row.symbol, row.decision) for row in rows(found).values()] == [("GOOGL", "mend"), ("NVDA", "mend")]


def test_what_is_left_out_is_told(page, mine, yahoo):
    listed("NVDA", "MSFT")
    found = kept(brought(page, mine, "NVDA MSFT GOGL x$"))
    asked(found)
    page.post(f"{found.get_absolute_url()}rows/2/", {"decision": "skip"})
    page.post(f"{found.get_absolute_url()}confirm/")
    assert members(mine) == ["NVDA"]
    with tenancy.as_system("look"):
        became = adding.report(found)
    assert became == {"added": 1, "skipped": 1, "unknown": 1, "malformed": 1}
    assert sum(became.values()) == len(rows(found))


def test_a_request_sent_twice_adds_once(page, mine):
    listed("NVDA")
    url = kept(brought(page, mine, "NVDA")).get_absolute_url()
    assert [page.post(f"{url}confirm/").status_code for _ in range(2)] == [302, 302]
    assert len(stays(mine)) == 1
    page.post(f"{url}undo/")
    page.post(f"{url}undo/")
    assert stays(mine) == []
    page.post(f"{url}confirm/")  # an old page: the list is undone, and stays so
    assert stays(mine) == []


def test_two_who_confirm_at_once_add_once(alice, page, mine):
    listed(*(f"A{n}" for n in range(60)))
    url = kept(brought(page, mine, " ".join(f"A{n}" for n in range(60)))).get_absolute_url()
    ready = threading.Barrier(2, timeout=20)
    answers = []

    def confirm():
        client = cast.signed_in(alice)
        ready.wait()
        answers.append(client.post(f"{url}confirm/").status_code)
        connection.close()

    both = [threading.Thread(target=confirm) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert answers == [302, 302]
    assert len(stays(mine)) == 60
    assert "60 symbols added." in page.get(url).text


def many(page, universe, count=600):
    """A list long enough for a job, confirmed; the list and its job."""
    symbols = [f"A{n}" for n in range(count)]
    listed(*symbols)
    found = kept(brought(page, universe, "\n".join(symbols)))
    page.post(f"{found.get_absolute_url()}confirm/")
    with tenancy.as_system("look"):
        return found, Job.objects.get(kind="add-list", subject_url=found.get_absolute_url())


def test_a_long_list_is_a_job_and_a_killed_worker_resumes(page, mine, alice, monkeypatch):
    monkeypatch.setattr(adding, "BATCH", 250)
    found, job = many(page, mine)
    assert stays(mine) == []
    assert "Waiting for a worker" in page.get(found.get_absolute_url()).text
    with tenancy.acting_as(alice):  # a first worker, which dies after a batch
        adding.add_some(found, alice)
    assert len(stays(mine)) == 250
    core_jobs.run_job(job.pk)
    assert len(stays(mine)) == 600
    with tenancy.as_system("look"):
        job.refresh_from_db()
        places = [stay["position"] for stay in stays(mine)]
    assert (job.state, job.progress_done, job.summary) == ("done", 600, "600 symbols added.")
    assert places == list(range(1, 601))
    assert "600 symbols added." in page.get(found.get_absolute_url()).text


def test_a_cancelled_one_can_go_on_or_be_undone(page, mine, alice, monkeypatch):
    monkeypatch.setattr(adding, "BATCH", 250)
    found, job = many(page, mine)
    url = found.get_absolute_url()
    with tenancy.acting_as(alice):
        adding.add_some(found, alice)
        core_jobs.cancel(job)
    text = page.get(url).text
    assert "It was stopped; 350 are not added yet." in text
    assert "Go on" in text
    page.post(f"{url}confirm/")
    with tenancy.as_system("look"):
        again = Job.objects.filter(kind="add-list").latest("pk")
    assert again.pk != job.pk
    page.post(f"{url}undo/")
    core_jobs.run_job(again.pk)  # comes too late, and adds nothing
    assert stays(mine) == []


def test_without_providers_nothing_is_called_unknown_and_all_of_it_can_be_added(page, mine, yahoo):
    yahoo.fail("*", "503")
    listed("GOOGL")
    found = kept(brought(page, mine, "GOGL ZZZZ"))
    assert rows(found)["GOGL"].suggestions[0] == "GOOGL"  # at once: that needs nobody's answer
    job = asked(found)
    assert job.state == "partial"
    assert set(groups(found).values()) == {"unverified"}
    assert "is added, unverified" in page.get(found.get_absolute_url()).text
    answer = page.post(f"{found.get_absolute_url()}decide/", {"decision": "mend", "group": "unverified"}, headers=HTMX)
    assert "1 first suggestion taken." in answer.text
    page.post(f"{found.get_absolute_url()}confirm/")
    assert set(members(mine)) == {"GOOGL", "ZZZZ"}


def test_a_list_is_one_request_of_those_a_person_has(page, mine, settings):
    settings.VALIDATION_REQUESTS_PER_MINUTE = 2
    for _ in range(2):
        brought(page, mine, "ZZZA ZZZB ZZZC")
    answer = brought(page, mine, "ZZZD")
    text = page.get(answer.url).text
    assert "Providers are not asked yet: 2 requests a minute are looked up." in text
    assert "Ask providers" in text
    part = page.post(f"{answer.url}rows/1/", {"symbol": "ZZZE"}, headers=HTMX).text
    assert "Providers are not asked yet" in part
    assert "Providers are not asked yet" not in page.get("/activity/").text  # which has nothing to do with it
    with tenancy.as_system("look"):
        assert Job.objects.filter(kind="validate-list").count() == 2
    settings.VALIDATION_REQUESTS_PER_MINUTE = 9
    page.post(f"{answer.url}ask/")
    page.post(f"{answer.url}ask/")
    with tenancy.as_system("look"):
        assert Job.objects.filter(kind="validate-list").count() == 3


def test_the_page_settles_while_providers_are_asked(page, mine, alice, yahoo):
    found = kept(brought(page, mine, "ZZZA ZZZB"))
    url = found.get_absolute_url()
    with tenancy.as_system("look"):
        job = Job.objects.get(kind="validate-list")
    text = page.get(url).text
    assert f'hx-trigger="job-{job.pk} from:body throttle:2s"' in text
    answer = Answer("ZZZA", "ZZZA", Verdict.UNKNOWN, reason="Yahoo does not know it.")
    with tenancy.acting_as(alice):  # what the job stores after the first answer
        drafts.told(found, [answer])
    text = page.get(f"{url}?show=pending&part=tabs", headers=HTMX).text
    assert "Unknown" in text
    assert 'id="confirm"' in text
    assert "ZZZA" not in text
    assert f"job-{job.pk} from:body" in page.post(f"{url}rows/2/", {"decision": "skip"}, headers=HTMX).text
    asked(found)
    assert "throttle" not in page.get(url).text


def test_an_answer_is_about_what_waits_for_it_alone(page, mine, yahoo):
    found = kept(brought(page, mine, "symbol,joined\nZZZZ,2020-01-01\nZZZZ,03/04/2020"))
    asked(found)
    with tenancy.as_system("look"):
        assert list(found.rows.values_list("group", flat=True)) == ["unknown", "malformed"]


def test_an_answer_that_comes_late_changes_no_decision(page, mine, yahoo):
    listed("GOOGL")
    found = kept(brought(page, mine, "GOGL ZZZZ ZZZZ"))
    page.post(f"{found.get_absolute_url()}rows/1/", {"use": "GOOGL"})
    page.post(f"{found.get_absolute_url()}rows/2/", {"decision": "skip"})
    asked(found)
    with tenancy.as_system("look"):
        told = list(found.rows.values_list("symbol", "group", "decision"))
    assert told == [("GOOGL", "new", "mend"), ("ZZZZ", "unknown", "skip"), ("ZZZZ", "duplicate", "")]


def test_what_is_written_while_providers_are_asked_is_asked_for_too(page, mine, yahoo, monkeypatch):
    found = kept(brought(page, mine, "ZZZA ZZZB"))
    suggest = drafts.suggest

    def meanwhile(*given):
        page.post(f"{found.get_absolute_url()}rows/1/", {"symbol": "ZZZC"})
        suggest(*given)

    monkeypatch.setattr(drafts, "suggest", meanwhile)
    asked(found)
    with tenancy.as_system("look"):
        assert list(found.rows.values_list("symbol", "group")) == [("ZZZC", "unknown"), ("ZZZB", "unknown")]


# --- Taking back -------------------------------------------------------------------------------------------------


def test_an_undo_takes_back_exactly_what_the_list_did(page, mine, alice):
    with tenancy.acting_as(alice):
        membership.add(mine, alice, ["OLD", "EXT", "BACK"], timezone.now() - timedelta(days=9))
        membership.annotate(mine, alice, "EXT", "mine", ["x"])
        membership.remove(mine, alice, ["BACK"])
    before = stays(mine)
    listed("NEW", "PAST")
    text = (
        "symbol,joined,left,note\nNEW,,,hello\nEXT,2020-01-01,,theirs\nBACK,,,\nOLD,,,\nPAST,2019-01-01,2020-01-01,gone"
    )
    found = kept(brought(page, mine, text))
    url = found.get_absolute_url()
    page.post(f"{url}confirm/")
    assert set(members(mine)) == {"OLD", "EXT", "BACK", "NEW"}
    assert len(stays(mine)) == 5  # BACK was taken up again, rather than begun anew
    with tenancy.as_system("look"):
        assert mine.memberships.get(asset__symbol="EXT").joined_at == datetime(2020, 1, 1, tzinfo=UTC)
        assert mine.memberships.get(asset__symbol="EXT").note == "mine"
        assert adding.report(found) == {"added": 3, "extended": 1, "already": 1}
    page.post(f"{url}undo/")
    assert stays(mine) == before


def test_who_has_left_since_the_list_was_looked_at_is_added_again(page, mine, alice):
    listed("NVDA", "AMD")
    with tenancy.acting_as(alice):
        membership.add(mine, alice, ["NVDA", "AMD"])
    found = kept(brought(page, mine, "NVDA\nAMD"))
    with tenancy.acting_as(alice):
        membership.remove(mine, alice, ["AMD"])
    page.post(f"{found.get_absolute_url()}confirm/")
    assert {written: row.outcome for written, row in rows(found).items()} == {"NVDA": "already", "AMD": "added"}
    assert sorted(members(mine)) == ["AMD", "NVDA"]


def test_what_was_changed_since_is_left_as_it_is(page, mine, alice):
    listed("A1", "A2", "A3", "A4")
    found = kept(brought(page, mine, "A1 A2 A3 A4"))
    url = found.get_absolute_url()
    page.post(f"{url}confirm/")
    with tenancy.acting_as(alice):
        membership.annotate(mine, alice, "A1", "worth keeping", [])
        membership.remove(mine, alice, ["A2"])
        membership.arrange(mine, alice, ["A4", "A3"])  # an order is no reason to stay
    page.post(f"{url}undo/")
    assert members(mine) == ["A1"]
    assert [stay["left_at"] is not None for stay in stays(mine)] == [False, True]
    assert "2 members changed since: still in, as changed." in page.get(url).text


def test_a_later_list_keeps_what_it_changed(page, mine):
    listed("A1")
    first = kept(brought(page, mine, "symbol,joined\nA1,2020-01-01"))
    page.post(f"{first.get_absolute_url()}confirm/")
    second = kept(brought(page, mine, "symbol,joined\nA1,2010-01-01"))
    page.post(f"{second.get_absolute_url()}confirm/")
    page.post(f"{first.get_absolute_url()}undo/")
    assert members(mine) == ["A1"]
    page.post(f"{second.get_absolute_url()}undo/")
    assert [stay["joined_at"].year for stay in stays(mine)] == [2020]


def test_a_list_taken_back_can_be_looked_at_again(page, mine, yahoo):
    listed("GOOGL", "NVDA")
    found = kept(brought(page, mine, "GOGL NVDA"))
    asked(found)
    url = found.get_absolute_url()
    page.post(f"{url}rows/1/", {"use": "GOOGL"})
    for verb in ("confirm", "undo", "reopen", "reopen"):
        page.post(f"{url}{verb}/")
    assert groups(found) == {"GOGL": "new", "NVDA": "new"}
    page.post(f"{url}confirm/")
    assert members(mine) == ["GOOGL", "NVDA"]


# --- The past, notes, order --------------------------------------------------------------------------------------


def test_a_past_is_brought_and_what_overlaps_is_told(page, mine):
    listed("AAPL", "GE", "KO")
    Asset.objects.create(symbol="LEH", validated_at=timezone.now(), refuted_at=timezone.now())
    text = ("symbol,joined,left,tags\nAAPL,2010-01-01,2012-01-01,a;b\nAAPL,2015-01-01,,\nGE,2010-01-01,2018-01-01,\n"
            "GE,2017-01-01,2019-01-01,\nLEH,2000-01-01,2008-09-16,\nKO,03/04/2020,,\nAAPL,2015-01-01,,")  # fmt: skip
    found = kept(brought(page, mine, text))
    text = page.get(found.get_absolute_url()).text
    assert "with the days on which members joined and left" in text
    page.post(f"{found.get_absolute_url()}confirm/")
    with tenancy.as_system("look"):
        assert adding.report(found) == {"added": 4, "refused": 1, "malformed": 1, "duplicate": 1}
        refused = found.rows.get(outcome="refused")
        assert refused.reason == "It overlaps a stay that is here: joined 2010-01-01 until 2018-01-01."
        then = [stay.asset.symbol for stay in membership.members(mine, datetime(2008, 1, 1, tzinfo=UTC))]
    assert then == ["LEH"]
    assert members(mine) == ["AAPL"]
    found = kept(brought(page, mine, "symbol,joined,left\nAAPL,2015-01-01,\nLEH,2000-01-01,2008-09-16"))
    assert set(groups(found).values()) == {"already"}


def test_places_of_a_list_follow_those_who_were_there(page, mine, alice):
    listed("A1", "A2", "A3")
    with tenancy.acting_as(alice):
        membership.add(mine, alice, ["OLD"])
    found = kept(brought(page, mine, 'position,symbol,note,tags\n3,A3,,\n1,A1,first,"x;y"\n2,A2,,'))
    page.post(f"{found.get_absolute_url()}confirm/")
    assert members(mine) == ["OLD", "A1", "A2", "A3"]
    with tenancy.as_system("look"):
        stay = mine.memberships.get(asset__symbol="A1")
    assert (stay.note, stay.tags) == ("first", ["x", "y"])


# --- Bad input ---------------------------------------------------------------------------------------------------


def test_what_can_not_be_read_is_said_beside_what_was_written(page, mine):
    url = f"/universes/{mine.pk}/import/"
    for given, says in (
        ({}, "is empty"),
        ({"text": "  "}, "is empty"),
        ({"file": SimpleUploadedFile("cat.csv", b"\xff\xd8\xff\xe0 picture")}, "cat.csv is a picture"),
        ({"text": "NVDA", "file": SimpleUploadedFile("a.csv", b"MSFT")}, "Take one of them out"),
        ({"file": SimpleUploadedFile("big.csv", b"A " * (6 * 2**20))}, "a list has at most 10 MB"),
    ):
        answer = page.post(url, given)
        assert answer.status_code == 422, given
        assert says in answer.text
        assert given.get("text", "") in answer.text
    with tenancy.as_system("look"):
        assert not SymbolList.objects.exists()


def test_a_pasted_text_may_be_as_long_as_a_file_and_no_longer(page, mine):
    listed("NVDA")
    long = "symbol,note\n" + f"NVDA,{'x' * 900}\n" * 4_000
    found = kept(brought(page, mine, long))
    with tenancy.as_system("look"):
        assert found.rows.count() == 4_000
    answer = brought(page, mine, "NVDA " * 2_200_000)
    assert answer.status_code == 400
    assert "more than 10 MB" in answer.text


def test_hostile_lines_are_shown_and_do_nothing(page, mine):
    lines = ["symbol,note", '"=HYPERLINK(""http://x"",""AAPL"")",=1+1', "<script>alert(1)</script>,x",
             "'; DROP TABLE core_user;--,", "NVDA,"]  # fmt: skip
    listed("NVDA")
    found = kept(brought(page, mine, file=SimpleUploadedFile("<b>bad</b>\r\n.csv", "\n".join(lines).encode())))
    text = page.get(f"{found.get_absolute_url()}?show=malformed").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert list(groups(found).values()) == ["malformed"] * 3 + ["new"]
    page.post(f"{found.get_absolute_url()}confirm/")
    assert members(mine) == ["NVDA"]


def test_hostile_parameters_are_no_errors(page, mine):
    listed("NVDA")
    found = kept(brought(page, mine, "NVDA GOGL"))
    url = found.get_absolute_url()
    for query in ("?show=nonsense", "?show=new&page=99", "?page=x", "?q=%25", "?q=" + "x" * 500, "?show=added"):
        assert page.get(url + query).status_code == 200, query
        assert page.get(url + query, headers=HTMX).status_code == 200, query
    for form in ({}, {"decision": "x"}, {"use": "x" * 9999}, {"symbol": "'; --"}, {"decision": "keep", "use": "NVDA"}):
        for address in (f"{url}rows/1/", f"{url}decide/"):
            assert page.post(address, form).status_code == 302, form
            assert page.post(address, form, headers=HTMX).status_code in (200, 422), form
    assert page.post(f"{url}rows/77/", {"decision": "skip"}).status_code == 404
    assert page.get(f"/universes/{mine.pk}/lists/999/").status_code == 404


def test_a_decision_after_it_was_added_changes_nothing(page, mine):
    listed("NVDA", "MSFT")
    found = kept(brought(page, mine, "NVDA MSFT"))
    url = found.get_absolute_url()
    page.post(f"{url}confirm/")
    answer = page.post(f"{url}rows/1/", {"decision": "skip"}, headers=HTMX)
    assert answer.headers["HX-Redirect"] == url
    assert rows(found)["NVDA"].decision == ""


# --- Whose it is -------------------------------------------------------------------------------------------------


def test_a_list_is_its_owners_alone(page, mine, alice):
    listed("NVDA")
    url = kept(brought(page, mine, "NVDA")).get_absolute_url()
    bob, rita = cast.bob(), cast.rita()
    with tenancy.acting_as(alice):
        catalogue.share(mine, alice, ["rita"])
    with tenancy.acting_as(bob):
        his = catalogue.create(bob, "His")
    for who, expected in ((bob, 404), (rita, 403)):
        client = cast.signed_in(who)
        for address in (url, f"/universes/{mine.pk}/import/"):
            assert client.get(address).status_code == expected
        for verb in ("confirm", "undo", "reopen", "decide", "rows/1"):
            assert client.post(f"{url}{verb}/", {"decision": "skip"}).status_code == expected
    swapped = url.replace(f"/{mine.pk}/lists/", f"/{his.pk}/lists/")
    assert cast.signed_in(bob).post(f"{swapped}confirm/").status_code == 404
    assert stays(mine) == []


def test_old_lists_are_purged(page, mine):
    listed("NVDA")
    old, new = (kept(brought(page, mine, "NVDA")) for _ in range(2))
    with tenancy.as_system("make it old"):
        SymbolList.objects.filter(pk=old.pk).update(created_at=timezone.now() - drafts.KEPT - timedelta(hours=1))
    assert purge() == 1
    with tenancy.as_system("look"):
        assert list(SymbolList.objects.values_list("pk", flat=True)) == [new.pk]


def test_5000_known_symbols_are_looked_at_in_a_few_queries(page, mine, django_assert_max_num_queries):
    listed(*(f"A{n}" for n in range(5000)))
    with django_assert_max_num_queries(60):
        found = kept(brought(page, mine, "\n".join(f"a{n}" for n in range(5000))))
    with django_assert_max_num_queries(30):
        assert "5 000 symbols" in page.get(found.get_absolute_url()).text.replace("\u202f", " ")
