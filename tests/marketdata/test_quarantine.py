"""Deciding about candles that failed a check."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from marketdata.ingestion import ingest
from marketdata.models import Asset, Candle, CandleRevision, CorporateAction, QuarantinedCandle
from marketdata.quarantine import CannotDecide, Decided, reject, reject_many, release, release_many
from tests.marketdata.candles import closes, day, row, table

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def acme() -> Asset:
    return Asset.objects.create(symbol="ACME")


def put(asset: Asset, *rows: dict, **options):
    return ingest(asset, "1d", table(list(rows)), source="test", **options)


def held() -> QuarantinedCandle:
    return QuarantinedCandle.objects.get()


def test_release_stores_the_candle_over_the_one_that_is_there(acme):
    put(acme, row(day(1)), row(day(1), close="10"))
    candle = held()
    assert release(candle, "stella").updated == 1
    assert (candle.state, candle.decided_by) == ("released", "stella")
    assert candle.decided_at is not None
    assert closes(acme) == {day(1): 10}
    assert CandleRevision.objects.get().close == 11


def test_a_split_that_happened_meanwhile_counts(acme):
    """Everything else was divided when it became known; what was held then is when it is released."""
    put(acme, row(day(0)), row(day(1)), row(day(1), close="10"))
    split = day(2).date()
    QuarantinedCandle.objects.update(received_at=day(1) + timedelta(hours=22))
    CorporateAction.objects.create(asset=acme, kind="split", ex_date=split, value=4, source="test")
    release(held(), "stella")
    stored = Candle.objects.get(asset=acme, open_time=day(1))
    assert (stored.high, stored.close) == (Decimal(12) / 4, Decimal(10) / 4)
    assert stored.volume == 4 * Decimal(held().raw["volume"])
    assert closes(acme)[day(0)] == 11


def test_but_not_one_that_it_knew_of(acme):
    put(acme, row(day(0)), row(day(1)), row(day(1), close="10"))
    CorporateAction.objects.create(asset=acme, kind="split", ex_date=day(2).date(), value=4, source="test")
    release(held(), "stella")
    assert closes(acme)[day(1)] == 10


def test_the_released_one_wins_when_both_come_again(acme):
    rows = row(day(1)), row(day(1), close="10"), row(day(1), close="9")
    put(acme, *rows)
    release(QuarantinedCandle.objects.get(raw__close="10"), "stella")
    for _ in range(2):
        result = put(acme, *rows)
        assert (result.updated, result.unchanged, result.quarantined) == (0, 1, 2)
    assert closes(acme) == {day(1): 10}


def test_what_no_candle_can_be_is_not_released(acme):
    put(acme, row(day(1), high="1"))
    with pytest.raises(CannotDecide, match=r"ACME 1d can't be released: .*its high 1 is below its low 9"):
        release(held(), "stella")
    assert (held().state, held().decided_by) == ("held", "")
    assert not Candle.objects.exists()


def test_a_row_without_a_time_is_not_released(acme):
    put(acme, row(None, time="yesterday"))
    with pytest.raises(CannotDecide, match="it has no time"):
        release(held(), "stella")


def test_a_doubt_about_being_over_is_the_person_s_to_overrule(acme):
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    put(acme, row(today), final=False)
    assert release(held(), "stella").inserted == 1


def test_reject_keeps_the_row_and_stores_nothing(acme):
    put(acme, row(day(1), high="1"))
    reject(held(), "stella")
    assert (held().state, held().decided_by) == ("rejected", "stella")
    put(acme, row(day(1), high="1"))
    assert held().state == "rejected", "the same row met again is not asked about again"


def test_a_rejected_one_may_be_released_after_all_but_not_the_other_way(acme):
    put(acme, row(day(1)), row(day(1), close="10"))
    reject(held(), "stella")
    release(held(), "stella")
    with pytest.raises(CannotDecide, match="was released by stella and is stored"):
        reject(held(), "bob")
    with pytest.raises(CannotDecide, match="was released before, by stella"):
        release(held(), "bob")


# --- Many at once ------------------------------------------------------------------------------------------------


def hundredfold(number: int) -> dict:
    return row(day(number), open="1000", high="1200", low="900", close="1100")


def test_a_stretch_is_released_at_once(acme):
    beta = Asset.objects.create(symbol="BETA")
    for asset in (acme, beta):
        put(asset, *(row(day(number)) for number in range(30)), *(hundredfold(number) for number in range(30, 40)))
    assert QuarantinedCandle.objects.filter(kind="unit").count() == 20
    assert release_many(QuarantinedCandle.objects.all(), "stella") == Decided(20)
    assert set(QuarantinedCandle.objects.values_list("state", "decided_by")) == {("released", "stella")}
    assert Candle.objects.count() == 80
    assert len(closes(beta)) == 40


def test_what_can_not_be_stored_keeps_the_others_from_nothing(acme):
    put(acme, row(day(1), high="1"), row(day(2)), row(day(2), close="10"), row(day(3)), row(day(3), close="9"))
    release(QuarantinedCandle.objects.get(raw__close="9"), "bob")
    found = release_many(QuarantinedCandle.objects.select_related("asset"), "stella")
    assert found.count == 1
    assert sorted(problem.split(":")[0] for problem in found.problems) == ["ACME 1d", "ACME 1d can't be released"]
    assert closes(acme) == {day(2): 10, day(3): 9}


def test_many_are_rejected_but_for_what_is_stored(acme):
    put(acme, row(day(1), high="1"), row(day(2)), row(day(2), close="10"))
    release(QuarantinedCandle.objects.get(raw__close="10"), "bob")
    found = reject_many(QuarantinedCandle.objects.all(), "stella")
    assert found.count == 1
    assert found.problems[0].endswith("was released by bob and is stored; import a better one over it.")
    assert set(QuarantinedCandle.objects.values_list("state", "decided_by")) == {
        ("rejected", "stella"), ("released", "bob"),
    }  # fmt: skip
