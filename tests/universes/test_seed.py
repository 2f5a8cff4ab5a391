"""`manage.py seed`: what a new Chronos begins with, and that seeding again never undoes anything."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.management import call_command
from django.db import connection

from chronos.core import tenancy
from marketdata.models import Asset, Candle, Series, Spelling
from universes.models import Membership, Universe
from universes.seeding import seed_universes

pytestmark = pytest.mark.usefixtures("house")
MEMBERS = {
    "AI/Tech": ["GOOGL", "MSFT", "NVDA"],
    "EV": ["LCID", "RIVN", "TSLA"],
    "Finance": ["BAC", "GS", "JPM"],
    "Crypto": ["BTC-USDT", "ETH-USDT", "SOL-USDT"],
    "Sample": ["AAPL.SAMPLE", "FB.SAMPLE", "GOOG.SAMPLE", "IBM.SAMPLE", "MSFT.SAMPLE"],
}


def seed() -> tuple[list[dict], list[str]]:
    out = io.StringIO()
    call_command("seed", "--json", stdout=out)
    *lines, last = out.getvalue().splitlines()
    return json.loads(last)["assets"], lines


def members() -> dict[str, list[str]]:
    with tenancy.as_system("test"):
        stays = Membership.objects.filter(left_at=None).values_list("universe__name", "asset__symbol")
        found: dict[str, list[str]] = {}
        for name, symbol in sorted(stays):
            found.setdefault(name, []).append(symbol)
        return found


def test_it_works_and_again_changes_nothing():
    rows, lines = seed()
    assert members() == MEMBERS
    assert [row["inserted"] for row in rows] == [3270, 196, 2148, 3270, 3270]
    assert "Universe Crypto: created." in lines
    before = list(Asset.objects.order_by("pk").values()), list(Series.objects.order_by("pk").values())
    rows, lines = seed()
    assert (list(Asset.objects.order_by("pk").values()), list(Series.objects.order_by("pk").values())) == before
    assert members() == MEMBERS
    assert [(row["inserted"], row["unchanged"]) for row in rows][:2] == [(0, 3270), (0, 196)]
    assert lines[0] == "5 of 5 universes were seeded before and are left as they are."
    assert Candle.objects.count() == 12_154


def test_the_universes_are_the_house_s_and_public():
    seed()
    with tenancy.as_system("test"):
        assert set(Universe.objects.values_list("owner", "visibility")) == {(None, "public")}
        assert not Universe.objects.filter(description="").exists()


def test_the_assets_are_described_and_spelt_for_yahoo():
    seed()
    nvidia = Asset.objects.get(symbol="NVDA")
    assert (nvidia.name, nvidia.exchange, nvidia.calendar, nvidia.currency) == (
        "NVIDIA Corporation",
        "NASDAQ",
        "XNAS",
        "USD",
    )
    bitcoin = Asset.objects.get(symbol="BTC-USDT")
    assert (bitcoin.asset_class, bitcoin.calendar, bitcoin.currency) == ("crypto", "24/7", "USDT")
    assert set(Spelling.objects.values_list("asset__symbol", "provider", "spelling")) == {
        (f"{coin}-USDT", "yahoo", f"{coin}-USD") for coin in ("BTC", "ETH", "SOL")
    }
    assert Asset.objects.filter(is_sample=True).count() == 5
    assert not Asset.objects.filter(sector="").exists()


def test_what_an_admin_changed_stays_changed():
    seed()
    with tenancy.as_system("test"):
        Universe.objects.filter(seed="ev").update(name="Electric cars", description="Ours")
        Membership.objects.filter(asset__symbol="JPM").delete()
        Universe.objects.get(seed="crypto").delete()
    Asset.objects.filter(symbol="NVDA").update(name="Nvidia", sector="Chips")
    Spelling.objects.filter(asset__symbol="SOL-USDT").update(spelling="SOL1-USD")
    seed()
    expected = MEMBERS | {"Electric cars": MEMBERS["EV"], "Finance": ["BAC", "GS"]}
    assert members() == {name: symbols for name, symbols in expected.items() if name not in ("EV", "Crypto")}
    assert Asset.objects.filter(symbol="NVDA", name="Nvidia", sector="Chips").exists()
    assert Spelling.objects.filter(spelling="SOL1-USD").exists()


def test_an_asset_that_was_imported_before_gets_its_description():
    Asset.objects.create(symbol="NVDA", sector="Chips")
    seed()
    nvidia = Asset.objects.get(symbol="NVDA")
    assert (nvidia.name, nvidia.sector) == ("NVIDIA Corporation", "Chips")
    assert members() == MEMBERS


def test_two_who_seed_at_once():
    together = Barrier(3)
    seed_universes()
    with tenancy.as_system("test"):  # only the universes are missing: nothing else keeps the three in step
        Universe.objects.all().delete()
    Asset.objects.update(metadata={})

    def alone(_: int) -> int:
        try:
            connection.ensure_connection()
            together.wait(10)
            return len(seed_universes())
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(alone, range(3))) == [0, 0, 5]
    assert members() == MEMBERS
