"""The page of a backtest: while it waits, how it failed, what came of it, its trades as table and file."""

import csv
import io
import re
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync

from chronos.core import figures, jobs, tenancy
from signals.engine.terms import Costs, Exits, Terms
from signals.models import Backtest, Trade
from tests import cast
from tests.cast import signed_in
from tests.prices import stored
from tests.signals.runs import asked, ran, swinging, trades_of

pytestmark = pytest.mark.usefixtures("house")
HTMX = {"HX-Request": "true"}


def address(backtest: Backtest, more: str = "") -> str:
    return f"/backtests/{backtest.pk}/{more}"


def plain(html: str) -> str:
    """What one reads of it."""
    return re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", html))


def rows(html: str) -> list[list[str]]:
    """The cells of the table of trades."""
    body = html.partition('class="members trade-rows"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [[plain(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
            for row in re.findall(r"<tr.*?</tr>", body, re.S)]  # fmt: skip


def told(page, path: str) -> list[dict[str, str]]:
    """The rows of a file."""
    answer = page.get(path)

    async def whole() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return list(csv.DictReader(io.StringIO(async_to_sync(whole)().decode())))


class TestAResult:
    def test_it_reads_from_the_verdict_to_how_it_was_made(self):
        alice = cast.alice()
        backtest = ran(alice, terms=Terms(costs=Costs(0.001, 0, 5)))
        page = signed_in(alice).get(address(backtest))
        text = plain(page.text)
        assert page.status_code == 200
        gained = figures.percent(abs(backtest.cagr or 0), 1).lstrip("+")
        assert f"It {'gained' if backtest.cagr > 0 else 'lost'} {gained} % a year over 1.1 years" in text
        assert f"{backtest.trade_count} trades" in text
        for group in ("Return", "Risk", "Ratios", "Against holding", "Certainty", "Trades", "Costs and exposure"):
            assert f"<h3>{group}</h3>" in page.text
        assert "Against the benchmark" not in text
        assert figures.money(backtest.metrics["fees_paid"]) in text
        assert ("0.1 % of each side" in text, "5 bps" in text) == (True, True)
        assert backtest.fingerprint in text
        assert backtest.checksum in text
        assert page.headers["Cache-Control"] == "private, no-store"

    def test_its_months_make_its_years_and_those_the_whole(self):
        alice = cast.alice()
        backtest = ran(alice)
        html = signed_in(alice).get(address(backtest)).text
        table = html.partition('<table class="heat">')[2].partition("</table>")[0]
        grown, years = 1.0, 1.0
        for row in re.findall(r"<tr><th scope=\"row\".*?</tr>", table, re.S):
            cells = [float(text.replace("−", "-")) for text in re.findall(r"<td[^>]*>([^<–]+)</td>", row)]
            for month in cells[:-1]:
                grown *= 1 + month / 100
            years *= 1 + cells[-1] / 100
        assert backtest.total_return == pytest.approx(grown - 1, abs=0.01)
        assert backtest.total_return == pytest.approx(years - 1, abs=0.005)

    def test_the_reasons_of_exits_add_up_to_the_trades(self):
        alice = cast.alice()
        backtest = ran(alice, terms=Terms(exits=Exits(take_profit_1=0.05, max_bars=3)))
        html = signed_in(alice).get(address(backtest)).text
        table = html.partition("plain-table reasons")[2].partition("</table>")[0]
        counts = [int(cells[0]) for cells in re.findall(r"<tr><th scope=\"row\">.*?<td[^>]*>(\d+)()</td>", table)]
        assert sum(counts) == backtest.trade_count
        assert len(counts) >= 2, table
        assert "Time stop" in plain(table)

    def test_warnings_are_read_before_the_figures(self):
        alice = cast.alice()
        backtest = ran(alice, terms=Terms(exits=Exits(stop_loss=0.01, take_profit_1=0.01)))
        html = signed_in(alice).get(address(backtest)).text
        assert {"ambiguous"} <= {one["code"] for one in backtest.warnings}
        assert 0 < html.index("ambiguous inside the candle") < html.index('class="card headline"')
        assert "Up to the best case" in html

    def test_nothing_traded_is_a_result_that_says_why(self):
        alice = cast.alice()
        backtest = ran(alice, terms=Terms(cash=1.0))
        text = plain(signed_in(alice).get(address(backtest)).text)
        assert "It never traded" in text
        assert "the size allowed none of them" in text
        assert "Nothing was ever held" in text
        assert signed_in(alice).get(address(backtest, "charts/equity/?width=900")).status_code == 200
        assert signed_in(alice).get(address(backtest, "charts/returns/")).status_code == 404

    def test_a_position_that_is_never_left_is_told_as_open(self):
        alice = cast.alice()
        text = plain(signed_in(alice).get(address(ran(alice, kind="buy-and-hold"))).text)
        assert "No trade is closed; it was in the market 100 % of the time" in text
        assert "Held to the last bar" not in text  # that is a title, for who points at it
        assert "open" in text

    def test_a_benchmark_has_figures_and_a_line_of_its_own(self):
        alice = cast.alice()
        other = stored("SPY", swinging(400, 300.0))
        html = signed_in(alice).get(address(ran(alice, benchmark=other))).text
        assert "<h3>Against the benchmark</h3>" in html
        assert re.search(r'class="hue-3"><i[^>]*></i><span>SPY</span>', html)

    def test_it_takes_few_queries_however_many_trades(self, django_assert_max_num_queries):
        alice = cast.alice()
        few, many = (
            ran(alice),
            ran(alice, stored("MANY", swinging(1500), asset_class="crypto"), parameters={"fast": 2, "slow": 4}),
        )
        assert many.trade_count > 2 * few.trade_count > 10
        page = signed_in(alice)
        page.get(address(few))
        for backtest in (few, many):
            with django_assert_max_num_queries(32):
                page.get(address(backtest))

    def test_a_past_that_was_revised_makes_it_stale(self):
        alice = cast.alice()
        closes = swinging()
        backtest = ran(alice, stored("GOOG", closes, asset_class="crypto"))
        page = signed_in(alice)
        assert "Stale" not in page.get(address(backtest)).text
        stored("GOOG", [*closes[:100], closes[100] + 1, *closes[101:]])
        assert "Stale: candles that it used were revised since it ran" in plain(page.get(address(backtest)).text)

    def test_a_person_s_words_are_words(self):
        alice = cast.alice()
        backtest = ran(alice)
        with tenancy.acting_as(alice):
            Backtest.objects.update(note="<script>alert(1)</script>", strategy_name="<b>mine</b>")
        html = signed_in(alice).get(address(backtest)).text
        assert ("<script>alert" in html, "<b>mine" in html) == (False, False)


class TestBeforeAndWithoutAResult:
    def test_it_waits_and_becomes_the_result(self):
        alice = cast.alice()
        backtest = asked(alice)
        page = signed_in(alice)
        waiting = page.get(address(backtest))
        assert "It waits for a worker" in waiting.text
        assert f'hx-trigger="job-{backtest.job_id} from:body, load delay:120ms"' in waiting.text
        assert f'data-job="{backtest.job_id}"' in waiting.text
        jobs.run_job(backtest.job_id)
        after = page.get(address(backtest), headers=HTMX | {"HX-Target": "backtest"})
        assert "<html" not in after.text
        assert 'class="card verdict"' in after.text
        assert 'hx-trigger="job-' not in after.text

    def test_one_that_was_asked_for_long_ago_waits_to_be_told(self):
        alice = cast.alice()
        backtest = asked(alice)
        with tenancy.acting_as(alice):
            Backtest.objects.update(created_at=backtest.created_at.replace(year=2020))
        assert "load delay" not in signed_in(alice).get(address(backtest)).text

    def test_a_failure_is_told_with_its_remedy(self):
        alice = cast.alice()
        backtest = asked(alice)
        with tenancy.acting_as(alice):  # as if most candles had gone in the meantime
            Backtest.objects.update(parameters={"fast": 10, "slow": 900})
        jobs.run_job(backtest.job_id)
        text = plain(signed_in(alice).get(address(backtest)).text)
        assert "There is no result" in text
        assert "The history is too short" in text
        assert "Choose a longer range" in text

    def test_one_that_was_stopped_says_so(self):
        alice = cast.alice()
        backtest = asked(alice)
        with tenancy.acting_as(alice):
            jobs.cancel(backtest.job)
        assert "stopped before there was a result" in plain(signed_in(alice).get(address(backtest)).text)

    def test_what_is_not_there_yet_can_t_be_drawn(self):
        alice = cast.alice()
        assert signed_in(alice).get(address(asked(alice), "charts/equity/")).status_code == 404

    def test_another_s_does_not_exist(self):
        backtest = ran(cast.alice())
        bob, nobody = signed_in(cast.bob()), cast.Client()
        for more in ("", "charts/equity/", "charts/price/", "charts/returns/", "charts/excursions/", "trades/",
                     "trades.csv"):  # fmt: skip
            assert bob.get(address(backtest, more)).status_code == 404, more
            assert bob.get(address(backtest, more), headers=HTMX).status_code == 404, more
            assert nobody.get(address(backtest, more)).status_code == 302, more

    def test_a_deleted_one_does_not_either(self):
        alice = cast.alice()
        backtest = ran(alice)
        with tenancy.acting_as(alice):
            Backtest.objects.update(deleted_at=backtest.created_at)
        assert signed_in(alice).get(address(backtest)).status_code == 404


def rising(closes: list[float]) -> list[float]:
    return [*closes, *(round(closes[-1] * 1.02**n, 2) for n in range(1, 8))]


@pytest.fixture
def busy() -> tuple[Backtest, list[Trade], cast.Client]:
    """More trades than a page of the table has, some stopped, some sold short, the last still open."""
    alice = cast.alice()
    backtest = ran(
        alice, stored("BUSY", rising(swinging(900)), asset_class="crypto"), parameters={"fast": 2, "slow": 5},
        terms=Terms(direction="both", exits=Exits(stop_loss=0.03), costs=Costs(0.0005)),
    )  # fmt: skip
    return backtest, trades_of(backtest, alice), signed_in(alice)


class TestTrades:
    def test_all_of_them_are_there_page_by_page(self, busy):
        backtest, every, page = busy
        found = []
        for number in range(1, -(-len(every) // 50) + 1):
            found += rows(page.get(address(backtest, f"?page={number}")).text)
        assert [row[0] for row in found] == [str(trade.number + 1) for trade in every]
        assert [row[9] for row in found] == [figures.money(trade.profit) for trade in every]

    def test_it_is_sorted_by_each_column_both_ways(self, busy):
        backtest, every, page = busy
        for key, value in (("profit", lambda one: one.profit), ("mae", lambda one: one.mae),
                           ("quantity", lambda one: one.quantity), ("entry", lambda one: one.entry_time)):  # fmt: skip
            for sign, falling in (("", False), ("-", True)):
                shown = rows(page.get(address(backtest, f"?sort={sign}{key}")).text)
                places = [value(every[int(row[0]) - 1]) for row in shown]
                assert places == sorted(map(value, every), reverse=falling)[:50], (sign, key)

    def test_what_is_open_comes_last_whichever_way_exits_are_sorted(self, busy):
        backtest, every, page = busy
        left = [trade for trade in every if not trade.is_open]
        assert len(left) == len(every) - 1
        pages = -(-len(every) // 50)
        for sign in ("", "-"):
            assert rows(page.get(address(backtest, f"?sort={sign}exit&page={pages}")).text)[-1][5] == "open"

    def test_it_is_narrowed_and_the_file_with_it(self, busy):
        backtest, every, page = busy
        for query, fits in (
            ("direction=short", lambda one: one.direction == "short"),
            ("reason=stop_loss", lambda one: one.exit_reason == "stop_loss"),
            ("ended=won", lambda one: one.profit > 0 and not one.is_open),
            ("ended=lost&direction=long", lambda one: one.profit <= 0 and not one.is_open and one.direction == "long"),
            ("ended=open", lambda one: one.is_open),
            ("reason=nonsense&since=yesterday&page=-4", lambda one: True),
        ):
            wanted = [trade for trade in every if fits(trade)]
            assert wanted, query
            html = page.get(address(backtest, f"?{query}")).text
            assert figures.counted(len(wanted), "trade") in plain(html), query
            assert [row[0] for row in rows(html)] == [str(trade.number + 1) for trade in wanted][:50], query
            filed = told(page, address(backtest, f"trades.csv?{query}"))
            assert [int(row["number"]) for row in filed] == [trade.number for trade in wanted], query

    def test_a_range_of_days_is_of_entries_both_days_included(self, busy):
        backtest, every, page = busy
        first, last = every[10].entry_time.date(), every[20].entry_time.date()
        wanted = [trade for trade in every if first <= trade.entry_time.date() <= last]
        shown = rows(page.get(address(backtest, f"?since={first}&until={last}")).text)
        assert [row[0] for row in shown] == [str(trade.number + 1) for trade in wanted]

    @pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "2024-13-45", "' OR 1=1 --"])
    def test_a_day_that_is_none_is_passed_over(self, busy, day):
        backtest, _, page = busy
        answer = page.get(address(backtest), {"until": day, "since": day})
        assert answer.status_code == 200
        assert "No trade fits" not in answer.text

    def test_none_that_fits_is_no_empty_table(self, busy):
        backtest, _, page = busy
        assert "No trade fits" in page.get(address(backtest, "?until=1990-01-01")).text

    def test_the_file_is_exact_and_adds_up(self, busy):
        backtest, every, page = busy
        filed = told(page, address(backtest, "trades.csv"))
        for row, trade in zip(filed, every, strict=True):
            for name in ("quantity", "entry_price", "exit_price", "profit", "fees"):
                assert Decimal(row[name]) == getattr(trade, name)
        total = sum(Decimal(row["profit"]) for row in filed)
        assert float(total) == pytest.approx(backtest.metrics["final_equity"] - 10_000, abs=1e-4)
        assert (filed[-1]["is_open"], filed[-1]["exit_time"]) == ("true", "")

    def test_a_trade_that_is_looked_at_is_found_on_its_page(self, busy):
        backtest, every, page = busy
        number = 55
        html = page.get(address(backtest, f"?trade={number}")).text
        assert f'<tr id="trade-{number}" class="chosen"' in html
        one = every[number]
        assert f"at {figures.price(one.entry_price)} on {figures.day(one.entry_time)}" in plain(html)
        assert f"Trade {number + 1} of {len(every)}" in html
        assert (f"trade={number - 1}" in html, f"trade={number + 1}" in html) == (True, True)
        assert "Page 2 of" in html

    def test_a_part_is_had_alone_or_leads_to_the_page(self, busy):
        backtest, _, page = busy
        part = page.get(address(backtest, "trades/?sort=-profit"), headers=HTMX)
        assert part.text.lstrip().startswith("<section")
        assert "verdict" not in part.text
        alone = page.get(address(backtest, "trades/?sort=-profit"))
        assert 'class="card verdict"' in alone.text
        assert rows(alone.text) == rows(part.text)
        for target in ("equity", "price", "trades"):
            part = page.get(address(backtest), headers=HTMX | {"HX-Target": target})
            assert f'<section class="card" id="{target}"' in part.text
            assert part.text.count("<section") == 1
