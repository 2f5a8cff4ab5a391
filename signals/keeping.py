"""How backtests are kept: noted, deleted, taken back."""

from collections.abc import Iterable

from django.utils import timezone

from chronos.core import jobs
from chronos.core.models import User
from signals.models import Backtest

NOTE = 10_000  # characters


def annotate(backtest: Backtest, note: str) -> None:
    """Write its note, the one thing that changes. Raises `ValueError` in words for what can't be stored."""
    note = note.strip()
    if len(note) > NOTE:
        raise ValueError(f"A note has at most {NOTE:,} characters; this one has {len(note):,}. Shorten it.")
    if "\x00" in note or any("\ud800" <= letter <= "\udfff" for letter in note):
        raise ValueError("The note holds a character that can’t be stored: write it anew.")
    backtest.note = note
    backtest.save(update_fields=["note"])


def delete(pks: Iterable[int], owner: User) -> list[int]:
    """Gone at once, and stopped if they are running; for a while that can be taken back. Which ones it were."""
    found = list(Backtest.objects.of(owner).filter(pk__in=list(pks)).select_related("job").order_by("pk"))
    for one in found:
        if one.job and one.job.unfinished:
            jobs.cancel(one.job)
    gone = [one.pk for one in found]
    Backtest.objects.of(owner).filter(pk__in=gone).update(deleted_at=timezone.now())
    return gone


def undelete(pks: Iterable[int], owner: User) -> list[int]:
    """Take back what was deleted and is not purged yet. Which ones it were."""
    there = Backtest.objects.filter(owner=owner, pk__in=list(pks)).exclude(deleted_at=None)
    back = list(there.values_list("pk", flat=True))
    there.update(deleted_at=None)
    return back
