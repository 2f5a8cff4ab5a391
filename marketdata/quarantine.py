"""What a person decides about candles that failed a check: release one into the series, or reject it."""

from django.db import transaction
from django.utils import timezone

from marketdata.checks import NUMBERS
from marketdata.ingestion import Ingested, ingest, schema
from marketdata.models import QuarantinedCandle


class CannotDecide(Exception):
    """The candle can't be released or rejected; the text says why and what can be done."""


def release(held: QuarantinedCandle, by: str) -> Ingested:
    """Store the candle as it came, over the one that is stored for its time; returns what that changed.

    The doubts that put it aside (another candle of the same time, another price basis) are the person's to overrule;
    what no candle can be (a high below its low, a text that is no number, a time in the future) is not.
    Raises `CannotDecide`; then nothing has changed. A released row wins over its rival when the file comes again.
    """
    with transaction.atomic():
        candle = _undecided(held)
        if candle.state == QuarantinedCandle.State.RELEASED:
            raise CannotDecide(f"{candle} was released before, by {candle.decided_by}.")
        counts = _stored(candle)
        _decide(candle, QuarantinedCandle.State.RELEASED, by)
    held.refresh_from_db()
    return counts


def reject(held: QuarantinedCandle, by: str) -> None:
    """Say that the candle is rightly not used. It is kept. Raises `CannotDecide` if it has been released."""
    with transaction.atomic():
        candle = _undecided(held)
        if candle.state == QuarantinedCandle.State.RELEASED:
            raise CannotDecide(
                f"{candle} was released by {candle.decided_by} and is stored; import a better one over it."
            )
        _decide(candle, QuarantinedCandle.State.REJECTED, by)
    held.refresh_from_db()


def _undecided(held: QuarantinedCandle) -> QuarantinedCandle:
    """The row as it is now, held until the transaction ends: two who decide at once do it one after the other."""
    return QuarantinedCandle.objects.select_for_update(of=("self",)).select_related("asset").get(pk=held.pk)


def _stored(candle: QuarantinedCandle) -> Ingested:
    import pyarrow as pa

    row = {"open_time": candle.open_time, **{name: candle.raw.get(name) for name in NUMBERS}}
    counts = ingest(
        candle.asset,
        candle.timeframe,
        pa.Table.from_pylist([row], schema=schema()),
        source=candle.source,
        origin=candle.origin,
        doubt=False,
    )
    if counts.quarantined:
        raise CannotDecide(f"{candle.asset} {candle.timeframe} can't be released: {'; '.join(counts.problems)}.")
    return counts


def _decide(candle: QuarantinedCandle, state: QuarantinedCandle.State, by: str) -> None:
    candle.state, candle.decided_by, candle.decided_at = state, str(by)[:150], timezone.now()
    candle.save(update_fields=["state", "decided_by", "decided_at"])
