"""`manage.py universe`, verb by verb."""

import io
import json
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from chronos.core import tenancy
from marketdata import asking
from marketdata.models import Asset, Listing
from tests import cast
from universes import catalogue, membership

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]


@pytest.fixture(autouse=True)
def alice(monkeypatch):
    monkeypatch.setattr(asking, "_pause", lambda state: 0.01)
    return cast.alice()


def run(*arguments, status=0):
    """What it prints; the last line as JSON if that was asked for."""
    out = io.StringIO()
    ended = 0
    try:
        call_command("universe", *map(str, arguments), stdout=out, stderr=io.StringIO())
    except SystemExit as stop:
        ended = stop.code
    assert ended == status, out.getvalue()
    return json.loads(out.getvalue().splitlines()[-1]) if "--json" in arguments else out.getvalue()


def refused(*arguments):
    with pytest.raises(CommandError) as told:
        run(*arguments)
    return str(told.value)


def listed(*symbols):
    Listing.objects.bulk_create(
        Listing(
            symbol=symbol, spelling=symbol, name=f"{symbol} Inc.", asset_class="stock", exchange="NMS", source="test"
        )
        for symbol in symbols
    )


def test_it_creates_adds_lists_and_removes(alice, tmp_path):
    listed("NVDA", "MSFT", "AAPL")
    told = run("create", "Chips", "NVDA", "--description", "Makers", "--json")
    number = told["universe"]["id"]
    assert told["counts"] == {"added": 1}
    (tmp_path / "list.csv").write_text("symbol;joined;left\nMSFT;2020-01-01;2021-01-01\nAAPL;2019-05-01;\n")
    text = run("add", "chips", "--file", tmp_path / "list.csv")
    assert "2 symbols added." in text
    assert "Chips  (2 members, yours)" in run("list")
    assert [one["symbol"] for one in run("list", number, "--json")["members"]] == ["NVDA", "AAPL"]
    assert [one["symbol"] for one in run("list", number, "--at", "2020-06-01", "--json")["members"]] == ["AAPL", "MSFT"]
    assert "NVDA Inc." in run("list", number)
    told = run("remove", number, "nvda", "GE", "--json", status=3)
    assert (told["removed"], told["missing"]) == (["NVDA"], ["GE"])
    run("remove", number, "GE", status=1)


def test_what_is_not_added_is_told_with_what_was_meant(yahoo, monkeypatch, tmp_path):
    listed("GOOGL", "NVDA")
    run("create", "Mine")
    told = run("add", "Mine", "NVDA", "GOGL", "x$y", "--ask", "--dry-run", "--json", status=3)
    assert told["counts"] == {"new": 1, "unknown": 1, "malformed": 1}
    assert told["lines"][1]["suggestions"][0] == "GOOGL"
    assert run("list", "Mine", "--json")["members"] == []
    text = run("add", "Mine", "NVDA", "GOGL", "x$y", "--ask", status=3)
    assert "Line 2, 'GOGL': unknown." in text
    assert "Did you mean GOOGL" in text
    assert "1 symbol added. Not added: 1 unknown, 1 malformed." in text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffnvda\nzzzz".encode())))
    assert run("add", "Mine", "--file", "-", "--json")["counts"] == {"already": 1, "added": 1}
    run("add", "Mine", "x$y", status=1)


@pytest.mark.parametrize("form", ["csv", "json", "xlsx"])
def test_export_and_create_from_it(tmp_path, form):
    Asset.objects.create(symbol="NVDA", name="NVIDIA")
    run("create", "First", "NVDA", "MSFT", "--description", "Makers")
    run("remove", "First", "MSFT")
    path = tmp_path / f"first.{form}"
    assert "written to" in run("export", "First", "--past", "--output", path)
    run("create", "Second", "--file", path)
    again = tmp_path / f"second.{form}"
    run("export", "Second", "--past", "--output", again)
    if form == "csv":
        assert again.read_text() == path.read_text()
        assert run("export", "First", "--past").encode() == path.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_turnover(alice):
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Mine")
        membership.add(mine, alice, ["NVDA", "MSFT"], datetime(2024, 1, 1, tzinfo=UTC))
        membership.remove(mine, alice, ["MSFT"], datetime(2024, 7, 1, tzinfo=UTC))
        membership.add(mine, alice, ["AMD"], datetime(2024, 7, 1, tzinfo=UTC))
    told = run("turnover", "Mine", "--since", "2024-01-01", "--until", "2025-01-01", "--json")
    assert (told["joins"], told["leaves"], told["average_size"], told["turnover"]) == (1, 1, 2.0, 0.5)
    assert "turnover 50.00%; 1 joined, 1 left, 2.0 members on average." in run(
        "turnover", "Mine", "--since", "2024-01-01", "--until", "2025-01-01"
    )
    assert "begin before it ends" in refused("turnover", "Mine", "--since", "2025-01-01", "--until", "2024-01-01")


def test_mistakes_are_said_in_words(alice, tmp_path):
    assert "sees no universe called 'Nothing'" in refused("list", "Nothing")
    run("create", "Twice")
    run("create", "Twice")
    assert "name one by its number" in refused("list", "twice")
    number = run("create", "Once", "--json")["universe"]["id"]
    assert "Name at least one symbol" in refused("add", number)
    assert "not both" in refused("add", number, "NVDA", "--file", "x.csv")
    assert "can't be read: No such file" in refused("add", number, "--file", tmp_path / "none.csv")
    (tmp_path / "cat.csv").write_bytes(b"\xff\xd8\xff\xe0")
    assert "cat.csv is a picture" in refused("add", number, "--file", tmp_path / "cat.csv")
    assert "1 to 100 characters" in refused("create", " ")
    assert "can't be written" in refused("export", number, "--output", tmp_path / "none" / "x.csv")
    assert "Nobody here is called 'zoe'" in refused("list", "--owner", "zoe")
    bob = cast.bob()
    assert "--owner USERNAME" in refused("list")
    assert "sees no universe" in refused("list", number, "--owner", "bob")
    with tenancy.acting_as(alice):
        catalogue.share(catalogue.visible(alice).get(pk=number), alice, ["bob"])
    assert "Once" in run("list", "--owner", "bob")
    assert "not yours to change" in refused("add", number, "NVDA", "--owner", bob.username)
