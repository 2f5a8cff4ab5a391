"""The page and the fragment that say whether a symbol is real, and the command."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from marketdata.models import Asset, Listing
from tests import cast
from tests.loopback.yahoo import Yahoo

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
PAGE = "/assets/validate/"


@pytest.fixture
def client() -> Client:
    return cast.signed_in(cast.alice())


def fragment(client: Client, symbol: str, **more) -> str:
    answer = client.get(PAGE, {"symbol": symbol, **more}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return answer.content.decode()


def only_job() -> Job:
    with tenancy.as_system("tests"):
        return Job.objects.get()


class TestPage:
    def test_it_asks_for_a_symbol(self, client: Client) -> None:
        page = client.get(PAGE).content.decode()
        assert "<h1>Check a symbol</h1>" in page
        assert "data-unfinished" not in page

    def test_what_is_known_is_told_at_once(self, client: Client) -> None:
        Listing.objects.create(
            symbol="VOD.L", spelling="VOD.L", name="Vodafone", exchange="LSE", asset_class="stock", source="tests"
        )
        page = fragment(client, "vod.l")
        assert "Vodafone" in page
        assert "Valid" in page
        assert "Stock" in page
        assert "<h1>" not in page
        assert '<a href="/assets/VOD.L/">VOD.L</a>' in page
        assert client.get("/assets/VOD.L/").status_code == 200

    def test_what_is_not_is_asked_and_settles_by_itself(self, client: Client, yahoo: Yahoo) -> None:
        page = fragment(client, "NVDA")
        job = only_job()
        assert "Being asked" in page
        assert f'data-job="{job.pk}"' in page
        assert f'hx-trigger="job-{job.pk} from:body"' in page
        assert f'hx-get="{PAGE}?symbol=NVDA&amp;job={job.pk}"' in page
        assert fragment(client, "NVDA", job=job.pk) == page  # asked for again while it lasts
        jobs.run_job(job.pk)
        page = fragment(client, "NVDA", job=job.pk)
        assert "Valid" in page
        assert "NVIDIA Corporation" in page
        assert "hx-trigger" not in page

    def test_a_job_that_was_stopped_is_not_begun_again_by_itself(self, client: Client) -> None:
        fragment(client, "NVDA")
        job = only_job()
        with tenancy.as_system("tests"):
            jobs.cancel(job)
        page = fragment(client, "NVDA", job=job.pk)
        assert "Not verified" in page
        assert "hx-trigger" not in page
        assert only_job().pk == job.pk
        assert "Being asked" in fragment(client, "NVDA", job="²" * 30)  # asked anew by who does not wait for it

    def test_too_many_questions_wait_and_settle_by_themselves(self, client: Client, settings) -> None:
        settings.VALIDATION_REQUESTS_PER_MINUTE = 1
        fragment(client, "NOSUCH1")
        page = fragment(client, "NOSUCH2")
        assert "Waiting" in page
        assert "asked 1 times a minute for one person" in page
        assert 's" hx-target="this"' in page
        assert 'hx-trigger="load delay:' in page

    def test_near_misses_can_be_chosen(self, client: Client) -> None:
        Listing.objects.create(
            symbol="GOOGL", spelling="GOOGL", name="Alphabet", exchange="NMS", asset_class="stock", source="tests"
        )
        page = fragment(client, "GOGL")
        assert "Did you mean" in page
        assert f'href="{PAGE}?symbol=GOOGL" data-suggestion="GOOGL"' in page

    def test_hostile_text_is_shown_as_text(self, client: Client) -> None:
        page = fragment(client, '<script>alert("1")</script>')
        assert "Not a symbol" in page
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
        assert fragment(client, "x" * 10_240).count("x") < 400
        assert "AAPL" in fragment(client, "АAPL")
        assert 'data-suggestion="AAPL"' in fragment(client, "АAPL")

    def test_a_browser_that_only_looks_ahead_asks_nobody(self, client: Client) -> None:
        assert client.head(PAGE, {"symbol": "NVDA"}).status_code == 200
        client.get(PAGE, {"symbol": "NVDA"}, headers={"Sec-Purpose": "prefetch"})
        with tenancy.as_system("tests"):
            assert not Job.objects.exists()

    def test_a_stranger_is_sent_to_the_door(self) -> None:
        assert Client().get(PAGE, {"symbol": "NVDA"}).status_code == 302


class TestCommand:
    def run(self, *arguments: str) -> tuple[int, str]:
        out = StringIO()
        try:
            call_command("validate_symbols", *arguments, stdout=out, stderr=StringIO())
        except SystemExit as end:
            return int(end.code or 0), out.getvalue()
        return 0, out.getvalue()

    def test_it_works(self, yahoo: Yahoo) -> None:
        status, out = self.run("NVDA", "nvdx", "=AAPL", "--json")
        told = json.loads(out.splitlines()[-1])
        assert status == 3
        assert told["counts"] == {"valid": 1, "unknown": 1, "malformed": 1}
        assert [one["written"] for one in told["symbols"]] == ["NVDA", "nvdx", "=AAPL"]
        assert told["symbols"][0]["name"] == "NVIDIA Corporation"
        assert told["symbols"][0]["at"].endswith("Z")
        assert told["symbols"][2]["suggestions"] == ["AAPL"]
        assert out.startswith("NVDA: valid. NVIDIA Corporation.")

    def test_a_file_of_any_shape(self, tmp_path) -> None:
        now = timezone.now()
        Asset.objects.bulk_create(Asset(symbol=name, validated_at=now) for name in ("NVDA", "MSFT", "AAPL"))
        place = tmp_path / "list.txt"
        place.write_bytes("\ufeffNVDA;MSFT\r\n\tAAPL,\n".encode())
        assert self.run("--file", str(place)) == (0, self.run("NVDA", "MSFT", "AAPL")[1].replace("\ufeff", ""))
        place.write_bytes("NVDA Müller".encode("latin-1"))
        assert self.run("--file", str(place), "--no-asking")[0] == 3

    def test_nothing_is_asked_when_told_so(self) -> None:
        status, out = self.run("NVDA", "--no-asking")
        assert (status, out) == (1, "NVDA: unverified. Nobody was asked.\n")

    def test_wrong_usage_is_explained(self, tmp_path) -> None:
        with pytest.raises(CommandError, match="at least one symbol"):
            self.run()
        with pytest.raises(CommandError, match=r"none\.txt can't be read: No such file"):
            self.run("--file", str(tmp_path / "none.txt"))
        with pytest.raises(CommandError, match="at most 5,000"):
            self.run(*(f"S{number}" for number in range(5001)), "--no-asking")
