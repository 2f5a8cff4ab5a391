"""The list of backtests: filtered, sorted and paged by its address; what is done to its rows; its file."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from marketdata import actions
from marketdata.models import Asset, CorporateAction
from marketdata.providers.base import Action
from signals import backtests, listing
from signals.models import Backtest, Strategy
from tests import cast
from tests.cast import signed_in
from tests.prices import stored, walk

pytestmark = pytest.mark.usefixtures("house")
PART = {"HX-Request": "true"}


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return signed_in(alice)


def made(person, symbol="GOOG", **fields) -> Backtest:
    """One with a result, as far as a list shows it."""
    asset, _ = Asset.objects.get_or_create(symbol=symbol, defaults={"name": f"{symbol} Inc."})
    usual = {
        "strategy_name": "Trend", "kind": "sma-cross", "timeframe": "1d", "total_return": 0.1, "trade_count": 40,
        "finished_at": timezone.now(), "first_open": datetime(2020, 1, 2, tzinfo=UTC),
        "last_open": datetime(2024, 3, 8, tzinfo=UTC),
    }  # fmt: skip
    with tenancy.acting_as(person):
        return Backtest.objects.create(owner=person, asset=asset, **usual | fields)


def unfinished(person, state=Job.State.QUEUED, **fields) -> Backtest:
    with tenancy.acting_as(person):
        ended = None if state in Job.UNFINISHED else timezone.now()
        job = Job.objects.create(owner=person, kind="backtest", subject="x", state=state, finished_at=ended)
    return made(person, finished_at=None, total_return=None, trade_count=None, first_open=None, last_open=None, job=job,
                **fields)  # fmt: skip


def shown(answer) -> list[int]:
    """The backtests of a page in their order."""
    return [int(pk) for pk in re.findall(r'data-backtest="(\d+)"', answer.text)]


def there(person) -> list[int]:
    with tenancy.acting_as(person):
        return sorted(Backtest.objects.of(person).values_list("pk", flat=True))


# What four backtests have, by field; and the columns that are sorted by it, with what counts.
SORTED = {
    "total_return": (0.1, -0.2, None, 0.3),
    "trade_count": (5, 1, None, 9),
    "profit_factor": (1.5, 0.2, None, 3.0),
    "strategy_name": ("B", "A", "C", "D"),
    "timeframe": ("1d", "5m", "1h", "1w"),
    "metrics": ({"sortino_ratio": 2}, {"sortino_ratio": -1}, {}, {"sortino_ratio": 11}),
    "warnings": (["warning"], ["note", "note", "note"], ["warning"] * 2, ["warning"] * 3),
}
SORTS = {
    "return": ("total_return", float),
    "trades": ("trade_count", int),
    "factor": ("profit_factor", float),
    "strategy": ("strategy_name", str),
    "timeframe": ("timeframe", ("5m", "1h", "1d", "1w").index),
    "sortino": ("metrics", lambda metrics: metrics.get("sortino_ratio")),
    "warnings": ("warnings", lambda levels: levels.count("warning")),
}


class TestTable:
    def test_it_shows_what_each_ran_on_and_what_came_out(self, alice, page):
        warned = [{"code": code, "level": level, "text": "x"} for code, level in
                  (("few", "warning"), ("free", "warning"), ("open", "note"))]  # fmt: skip
        run = made(alice, cagr=0.0312, sharpe_ratio=0.873, max_drawdown=-0.2, win_rate=0.55, profit_factor=1.4,
                   warnings=warned, stale="candles that it used were revised")  # fmt: skip
        row = page.get("/backtests/").text.partition("<tbody>")[2].partition("</tbody>")[0]
        assert f'href="/backtests/{run.pk}/"' in row
        for text in ("Trend", "GOOG", "Jan 2020 – Mar 2024", "+10.00", "+3.12", "0.87", "−20.00", "55.00", "1.40",
                     ">40<", ">2<", ">stale<", "just now"):  # fmt: skip
            assert text in row, text

    def test_of_an_unfinished_one_it_says_the_days_that_were_asked_for(self, alice, page):
        run = unfinished(alice, start=datetime(2010, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 1, tzinfo=UTC))
        assert "1 Jan 2010 – 31 Dec 2019" in page.get("/backtests/").text
        assert "Daily candles from 1 Jan 2010 to 31 Dec 2019" in page.get(f"/backtests/{run.pk}/").text

    def test_newest_first_fifty_a_page(self, alice, page):
        every = [made(alice).pk for _ in range(53)]
        assert shown(page.get("/backtests/")) == every[::-1][:50]
        assert shown(page.get("/backtests/?page=2")) == every[:3][::-1]
        assert shown(page.get("/backtests/?page=99")) == every[:3][::-1]
        assert "53 backtests" in page.get("/backtests/").text

    def test_nobody_elses(self, alice, page):
        made(cast.bob())
        assert "No backtest yet" in page.get("/backtests/").text

    def test_sorted_by_any_column_and_what_is_not_known_comes_last(self, alice, page):
        four = [dict(zip(SORTED, values, strict=True)) for values in zip(*SORTED.values(), strict=True)]
        for fields in four:
            fields["warnings"] = [{"code": "x", "level": level, "text": "x"} for level in fields["warnings"]]
        runs = [made(alice, **fields).pk for fields in four]
        for key, (field, size) in SORTS.items():
            by = {pk: None if value is None else size(value) for pk, value in zip(runs, SORTED[field], strict=True)}
            known = sorted((pk for pk in runs if by[pk] is not None), key=by.__getitem__)
            rest = [pk for pk in runs if by[pk] is None]
            assert shown(page.get(f"/backtests/?sort={key}")) == known + rest, key
            assert shown(page.get(f"/backtests/?sort=-{key}")) == known[::-1] + rest, key

    def test_a_heading_turns_the_order_round_and_keeps_the_rest_of_the_address(self, alice, page):
        made(alice)
        text = page.get("/backtests/?kind=sma-cross&sort=-return&page=1").text
        assert 'aria-sort="descending"><a id="sort-return" href="?kind=sma-cross&amp;sort=return"' in text
        assert 'id="sort-sharpe" href="?kind=sma-cross&amp;sort=-sharpe"' in text

    def test_columns_are_chosen_and_remembered_by_the_browser(self, alice, page):
        made(alice, metrics={"sortino_ratio": 1.234})
        text = page.get("/backtests/?cols=asset,sortino").text
        assert "1.23" in text
        assert "sort-return" not in text
        assert "sort-sortino" in page.get("/backtests/").text
        assert "sort-return" in page.get("/backtests/?cols=usual").text

    def test_few_queries_however_many(self, alice, page, django_assert_max_num_queries):
        for n in range(12):
            made(alice, symbol=f"S{n % 4}")
            unfinished(alice)
        with django_assert_max_num_queries(18):
            assert len(shown(page.get("/backtests/"))) == 24


FILTERS = [
    ("asset=AMD", "old"),
    ("kind=donchian", "hourly"),
    ("kind=donchian&kind=sma-cross&asset=AMD", "old"),
    ("timeframe=1h", "hourly"),
    ("strategy={strategy}", "mine"),
    ("strategy=none&asset=AMD", "old"),
    ("state=done", "hourly mine old"),
    ("state=failed", "lost failed"),
    ("state=open", "waits"),
    ("state=cancelled", "stopped"),
    ("state=open&state=cancelled", "stopped waits"),
    ("stale=1", "mine"),
    ("trades=40", "hourly mine"),
    ("q=few luck", "old"),
    ("q=100 %25", "old"),
    ("q=donchian", "hourly"),
    ("q=amd", "old"),
    ("q=turtle", "hourly"),
    ("strategy=x&asset=", ""),
    ("until=2001-01-01", ""),
    ("since=2001-01-01&state=done", "hourly mine old"),
    ("since=soon&until=never&trades=many&sort=beauty&page=-1&state=done", "hourly mine old"),
]


class TestFilters:
    @pytest.fixture
    def runs(self, alice) -> dict[str, int]:
        with tenancy.acting_as(alice):
            trend = Strategy.objects.create(owner=alice, name="My trend", kind="sma-cross")
        return {
            "old": made(alice, symbol="AMD", trade_count=3, note="Too few trades, 100 % luck").pk,
            "mine": made(alice, strategy=trend, strategy_name="My trend", stale="revised").pk,
            "hourly": made(alice, kind="donchian", strategy_name="Donchian", timeframe="1h", trade_count=100).pk,
            "failed": made(alice, failure="The history is too short.", total_return=None, trade_count=None).pk,
            "waits": unfinished(alice).pk,
            "stopped": unfinished(alice, state=Job.State.CANCELLED).pk,
            "lost": unfinished(alice, state=Job.State.FAILED).pk,
            "strategy": trend.pk,
        }

    def test_each_alone_and_together(self, page, runs):
        for query, names in FILTERS:
            answer = page.get("/backtests/?" + query.format(**runs))
            assert shown(answer) == [runs[name] for name in names.split()], query

    def test_what_is_on_is_said_and_can_be_taken_off(self, page, runs):
        text = page.get("/backtests/?kind=donchian&trades=40&q=don").text
        assert "1 of 7 backtests" in text
        assert "Kind: Donchian channel (turtle)" in text
        assert 'href="?kind=donchian&amp;trades=40"' in text
        assert "No backtest is like that" in page.get("/backtests/?q=nothing+like+it").text

    def test_what_the_form_leaves_empty_is_in_no_link(self, page, runs):
        cols = "".join(f"&cols={key}" for key in listing.USUAL)
        text = page.get(f"/backtests/?q=&since=&trades=&kind=donchian{cols}", headers=PART).text
        assert 'id="sort-sharpe" href="?kind=donchian&amp;sort=-sharpe"' in text

    def test_facets_count_all(self, page, runs):
        assert 'name="kind"' not in page.get("/backtests/").text
        text = page.get("/backtests/?stale=1", headers=PART | {"HX-Target": "facets"}).text
        assert "<table" not in text
        assert 'name="kind"' in page.get("/backtests/?filters=1").text
        assert 'name="kind" value="gone" checked' in page.get("/backtests/?kind=gone").text
        for value, words, count in (
            ("donchian", "Donchian channel (turtle)", 1), ("done", "done", 3), ("failed", "failed", 2),
            ("open", "waiting or running", 1), ("cancelled", "cancelled", 1),
        ):  # fmt: skip
            assert re.search(
                rf'value="{value}"><span>{re.escape(words)}</span><span class="soft num">{count}</span>', text
            ), value

    def test_the_part_has_its_address(self, page, runs):
        part = page.get("/backtests/?q=&kind=donchian&since=", headers=PART | {"HX-Trigger": "find"})
        assert "<html" not in part.text
        assert part.headers["HX-Replace-Url"] == "/backtests/?kind=donchian"

    def test_the_file_has_all_that_match_in_full(self, alice, page, runs):
        made(alice, strategy_name="=1+1", total_return=0.123456789, metrics={"psr": 0.5})
        answer = page.get("/backtests/list.csv?state=done&cols=return,trades,edge,span&sort=-return")
        rows = list(csv.reader(io.StringIO(answer.text)))
        assert rows[0] == ["backtest", "strategy", "span", "total_return", "trade_count", "psr"]
        assert rows[1][1:] == ["'=1+1", "2020-01-02T00:00:00Z/2024-03-08T00:00:00Z", "0.123456789", "40", "0.5"]
        assert len(rows) == 5


class TestLive:
    def test_a_row_follows_its_job_and_comes_back_with_its_columns(self, alice, page):
        run = unfinished(alice)
        text = page.get("/backtests/?cols=asset,return&sort=run").text
        address = re.search(rf'data-job="{run.job_id}" hx-get="([^"]+)"', text)[1].replace("&amp;", "&")
        row = page.get(address, headers=PART)
        assert row.text.startswith(f'<tr class="queued" data-backtest="{run.pk}" data-job="{run.job_id}"')
        assert "Waiting" in row.text
        with tenancy.acting_as(alice):
            Backtest.objects.filter(pk=run.pk).update(finished_at=timezone.now(), total_return=0.05)
        row = page.get(address, headers=PART).text
        assert "data-job" not in row
        assert "+5.00" in row
        assert row.count("<td") == 3  # the box, the asset, the return
        assert page.get("/backtests/?row=999999", headers=PART).text == ""
        assert signed_in(cast.bob()).get(address, headers=PART).text == ""

    def test_why_there_is_no_result_is_said(self, alice, page):
        made(alice, failure="The history is <too> short.", total_return=None)
        text = page.get("/backtests/").text
        assert "The history is &lt;too&gt; short." in text
        assert "<too>" not in text

    def test_a_revised_past_is_found_where_it_is_looked_at(self, alice, page):
        asset = stored("AMD", walk(60))
        with tenancy.acting_as(alice):
            run = backtests.start(backtests.Wish(listing.registry.kind_named("buy-and-hold"), {}, asset,
                                                 listing.Timeframe.D1), alice)  # fmt: skip
        jobs.run_job(run.job_id)
        assert ">stale<" not in page.get("/backtests/").text
        assert shown(page.get("/backtests/?stale=1")) == []
        stored("AMD", [*walk(59), round(walk(60)[-1] * 1.01, 2)])
        assert shown(page.get("/backtests/?stale=1")) == [run.pk]
        assert ">stale<" in page.get("/backtests/").text

    def test_so_is_a_dividend_that_is_learnt(self, alice, page):
        asset = stored("AMD", walk(60))
        with tenancy.acting_as(alice):
            one, other = (
                backtests.start(backtests.Wish(listing.registry.kind_named("buy-and-hold"), {}, asset,
                                               listing.Timeframe.D1, end=end), alice)
                for end in (None, timezone.now() - timedelta(days=20))
            )  # fmt: skip
        for run in (one, other):
            jobs.run_job(run.job_id)
        told = Action(CorporateAction.Kind.DIVIDEND, (timezone.now() - timedelta(days=9)).date(), Decimal("0.5"))
        actions.learn(asset, "file", "raw", [told])
        assert shown(page.get("/backtests/?stale=1")) == [one.pk]


class TestElsewhere:
    def test_the_home_page_asks_for_the_newest_five(self, alice, page):
        assert 'hx-get="/backtests/latest/"' in page.get("/").text
        assert "Run the first" in page.get("/backtests/latest/", headers=PART).text
        runs = [made(alice, strategy_name=f"Run {n}").pk for n in range(6)]
        part = page.get("/backtests/latest/", headers=PART).text
        assert [int(pk) for pk in re.findall(r'href="/backtests/(\d+)/"', part)] == runs[:0:-1]
        assert "<html" not in part
        assert page.get("/backtests/latest/").status_code == 302

    @pytest.mark.parametrize("state", list(Job.State))
    def test_what_has_no_end_of_its_own_is_as_its_job_says(self, alice, page, state):
        run = unfinished(alice, state=state)
        part = page.get("/backtests/latest/", headers=PART).text
        says = {"queued": "Waiting", "running": "Running", "failed": "Failed"}.get(state, "Cancelled")
        assert f'<span class="state {run.state}">{says}</span>' in part


class TestVerbs:
    def test_deleted_and_taken_back(self, alice, page):
        runs = [made(alice).pk for _ in range(3)]
        answer = page.post("/backtests/delete/?kind=sma-cross&sort=return", {"id": runs[:2]})
        assert answer.url == f"/backtests/?kind=sma-cross&sort=return&deleted={runs[0]},{runs[1]}"
        assert there(alice) == runs[2:]
        text = page.get(answer.url).text
        assert "2 backtests are deleted." in text
        assert 'action="/backtests/undelete/?kind=sma-cross&amp;sort=return"' in text
        back = page.post("/backtests/undelete/", {"id": runs[:2]}, follow=True)
        assert "2 backtests are back." in back.text
        assert there(alice) == runs
        assert page.post("/backtests/undelete/", {"id": runs[:2]}).status_code == 302  # sent twice

    def test_the_offer_ends(self, alice, page):
        run = made(alice, deleted_at=timezone.now() - timedelta(seconds=11))
        assert "is deleted" not in page.get(f"/backtests/?deleted={run.pk}").text

    def test_one_that_runs_is_stopped_when_it_is_deleted(self, alice, page):
        run = unfinished(alice)
        assert page.post(f"/backtests/{run.pk}/delete/").url == f"/backtests/?deleted={run.pk}"
        with tenancy.acting_as(alice):
            assert Job.objects.get(pk=run.job_id).state == Job.State.CANCELLED
        assert page.post(f"/backtests/{run.pk}/delete/").status_code == 404

    def test_cancelled(self, alice, page):
        run = unfinished(alice)
        assert page.post(f"/backtests/{run.pk}/cancel/", {"back": "/backtests/"}).url == "/backtests/"
        with tenancy.acting_as(alice):
            assert Backtest.objects.select_related("job").get(pk=run.pk).state == "cancelled"
        again = page.post(f"/backtests/{run.pk}/cancel/", {"back": "https://example.org/"})
        assert again.url == f"/backtests/{run.pk}/"

    def test_run_again(self, alice, page):
        asset = stored("AMD", walk(60))
        run = made(alice, symbol=asset.symbol, kind="buy-and-hold", terms={})
        answer = page.post(f"/backtests/{run.pk}/rerun/")
        with tenancy.acting_as(alice):
            again = Backtest.objects.select_related("job").latest("pk")
        assert answer.url == again.get_absolute_url()
        assert (again.rerun_of_id, again.kind, again.job.state) == (run.pk, "buy-and-hold", "queued")

    def test_what_cant_be_run_again_says_why(self, alice, page):
        gone, bare = made(alice, kind="gone"), made(alice, symbol="BARE", parameters={"fast": 1, "slow": 2})
        answer = page.post(f"/backtests/{gone.pk}/rerun/", follow=True)
        assert answer.redirect_chain == [(f"/backtests/new/?again={gone.pk}", 302)]
        assert "no kind of strategy called" in answer.text
        told = page.post("/backtests/rerun/", {"id": [gone.pk, bare.pk]}, follow=True).text
        assert "Not run again" in told
        assert "BARE has no 1d candles" in told
        assert there(alice) == [gone.pk, bare.pk]

    def test_nothing_chosen_does_nothing_and_says_so(self, page):
        for verb in ("delete", "rerun"):
            assert "Nothing was chosen" in page.post(f"/backtests/{verb}/", follow=True).text

    def test_a_note(self, alice, page):
        run = made(alice)
        page.post(f"/backtests/{run.pk}/note/", {"note": " Why it was run. "})
        with tenancy.acting_as(alice):
            assert Backtest.objects.get(pk=run.pk).note == "Why it was run."
        long = page.post(f"/backtests/{run.pk}/note/", {"note": "x" * 10_001})
        assert long.status_code == 422
        assert "at most 10,000 characters" in long.text
        assert "x" * 10_001 in long.text

    def test_nobody_else_can(self, alice):
        run, bob = made(alice), signed_in(cast.bob())
        for verb in ("rerun", "cancel", "delete", "note"):
            assert bob.post(f"/backtests/{run.pk}/{verb}/", {"note": "x"}).status_code == 404
        bob.post("/backtests/delete/", {"id": run.pk})
        bob.post("/backtests/rerun/", {"id": run.pk})
        assert there(alice) == [run.pk]
