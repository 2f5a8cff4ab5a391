"""1,000 labelled symbols: how many are told right with the symbol master loaded, and none called unknown without proof.

The symbol master is made of the list's real ones, but for every twentieth, which only the providers know, among
neighbours one slip away. With CHRONOS_SYMBOL_MASTER, a file of the shape that `load_symbols` takes, it is that instead.
"""

import os
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from marketdata import asking
from marketdata.asking import Foreground
from marketdata.models import Asset, Listing, canonical
from marketdata.validation import Answer, Verdict, check
from tests.loopback import market
from tests.loopback.yahoo import Yahoo
from tests.marketdata import labels
from tests.marketdata.labels import Label

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]

MASTER = os.environ.get("CHRONOS_SYMBOL_MASTER", "")
NOISE = 5  # neighbours of each real symbol
HELD_OUT = 20  # every such line is missing from the directory
KINDS = {"stock": "EQUITY", "etf": "ETF", "index": "INDEX", "fx": "CURRENCY", "crypto": "CRYPTOCURRENCY"}
LABELS = labels.read()


class Impatient(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


@pytest.fixture
def master() -> None:
    if MASTER:
        from marketdata.directory.listings import load

        load(Path(MASTER))
        return
    dice = random.Random(7)
    labelled = {canonical(label.written) for label in LABELS}
    real = [label for label in LABELS if label.origin == "real"]
    lines = {canonical(label.symbol): label for number, label in enumerate(real) if number % HELD_OUT}
    lines |= {label.symbol: label for label in LABELS if label.origin in ("leftover", "bare")}
    for label in real:
        for _ in range(NOISE):
            near = canonical(labels.slip(label.symbol, dice))
            if near not in labelled and near not in lines and len(near) <= 40:
                lines[near] = Label(near, "", "noise", symbol=near, name="Noise Inc.", asset_class=label.asset_class)
    Listing.objects.bulk_create(
        Listing(
            symbol=symbol,
            spelling=label.symbol,
            name="" if label.origin == "bare" else label.name,
            exchange=label.exchange,
            asset_class=label.asset_class,
            source="tests",
        )
        for symbol, label in lines.items()
    )


@pytest.fixture
def kept() -> None:
    """Assets that were confirmed once, and not for a year."""
    long_ago = timezone.now() - timedelta(days=400)
    Asset.objects.bulk_create(
        Asset(symbol=label.written, name=label.name, validated_at=long_ago, refuted_at=long_ago)
        for label in LABELS
        if label.kept
    )


def wrong(answers: list[Answer]) -> list[str]:
    return [
        f"{label.written[:40]!r} ({label.origin}): {answer.verdict}, expected {label.expected}. {answer.reason}"
        for label, answer in zip(LABELS, answers, strict=True)
        if answer.verdict != label.expected or (label.expected == "valid" and answer.symbol != canonical(label.symbol))
    ]


def test_the_list_is_what_it_says() -> None:
    assert Counter(label.origin for label in LABELS) == {
        "real": 600, "delisted": 94, "leftover": 3, "bare": 3, "mistyped": 200, "hostile": 100,
    }  # fmt: skip
    assert len({label.written for label in LABELS}) == 1000
    assert len({label.exchange for label in LABELS}) > 90
    assert {label.asset_class for label in LABELS} > set(KINDS)
    assert not {label.written for label in LABELS if label.origin == "mistyped"} & {label.symbol for label in LABELS}


def test_at_least_990_of_1000_are_right(master, kept, yahoo: Yahoo, settings, capsys) -> None:
    settings.YAHOO_REQUESTS_PER_SECOND = 10_000.0
    for label in LABELS:
        if label.origin == "real":
            yahoo.listings[label.symbol] = market.Listing(label.symbol, label.name, 50, kind=KINDS[label.asset_class])
    answers = check([label.written for label in LABELS], wait=Impatient(), suggests=False)
    missed = wrong(answers)
    with capsys.disabled():
        print(f"\n{1000 - len(missed)} of 1,000 labelled symbols are right; wrong:", *missed or ["none"], sep="\n  ")  # noqa: T201
    assert len(missed) <= 10
    assert not [line for line in missed if "(real)" in line or "(hostile)" in line]
    if not MASTER:
        assert {answer.source for answer in answers} >= {"directory", "yahoo"}


@pytest.mark.parametrize("fault", ["503", "garbage"])
def test_with_the_providers_down_none_is_called_unknown(
    master, kept, yahoo: Yahoo, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    yahoo.fail("*", fault)
    monkeypatch.setattr(asking, "_pause", lambda state: 0.0)
    answers = check([label.written for label in LABELS], wait=Impatient(), suggests=False)
    found = Counter(answer.verdict for answer in answers)
    assert found[Verdict.UNKNOWN] == 0
    assert found[Verdict.PENDING] == 0
    assert found[Verdict.UNVERIFIED] > 200
    assert found[Verdict.VALID] >= 500
    assert not [answer for answer in answers if not answer.reason]
