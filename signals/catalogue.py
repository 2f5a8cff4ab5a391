"""Strategies as a person's own: found, made, edited, copied, put away, deleted and taken back.

What kinds there are is in `signals.strategies.registry`, which also says what parameters are right.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Max, Q, QuerySet
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.models import User
from signals.models import Backtest, Strategy
from signals.strategies import registry
from signals.strategies.declaring import BadParameters

UNDO = timedelta(seconds=10)  # how long a page offers to take a deletion back
PURGE = timedelta(hours=1)  # after which what was deleted is really gone
NAME, NOTES = 100, 10_000  # characters


class Malformed(ValueError):
    """Something given can't be stored; the text says what and why. `field`: which of name and notes."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Taken(Malformed):
    """The person has another strategy of this name."""

    def __init__(self, name: str) -> None:
        super().__init__("name", f"You have a strategy called “{name}” already, perhaps archived. Choose another name.")


class Outdated(Exception):
    """It has been changed elsewhere since it was read. Nothing was written."""


# --- Finding -----------------------------------------------------------------------------------------------------


def sought(user: User, *, archived: bool = False, text: str = "") -> QuerySet[Strategy]:
    """A person's strategies with these words in name, kind or notes.

    Those put away only if asked for, and then these alone.
    """
    found = Strategy.objects.of(user).filter(archived_at__isnull=not archived)
    for word in text.split():
        kinds = [kind.name for kind in registry.kinds().values() if word.lower() in kind.label.lower()]
        found = found.filter(
            Q(name__icontains=word) | Q(kind__icontains=word) | Q(kind__in=kinds) | Q(notes__icontains=word)
        )
    return found.order_by("name", "pk")


_KEPT = Q(backtests__deleted_at=None)
_OF_RUNS = {
    "runs": Count("backtests", filter=_KEPT),
    "best": Max("backtests__total_return", filter=_KEPT),
    "ran_at": Max("backtests__created_at", filter=_KEPT),
}


def listed(user: User, *, archived: bool = False, text: str = "") -> QuerySet[Strategy]:
    """The same with `runs`, how many backtests, `best`, their best total return, and `ran_at`, when the last came."""
    return sought(user, archived=archived, text=text).annotate(**_OF_RUNS)


def is_taken(user: User, name: str, *, by_other_than: Strategy | None = None) -> bool:
    found = Strategy.objects.of(user).filter(name__iexact=_squeezed(name))
    return found.exclude(pk=by_other_than.pk).exists() if by_other_than else found.exists()


def free_name(user: User, wanted: str) -> str:
    """The wanted name, or with the first number that nobody has."""
    taken = {name.lower() for name in Strategy.objects.of(user).values_list("name", flat=True)}
    return next(name for name in _numbered(_squeezed(wanted)) if name.lower() not in taken)


def _numbered(wanted: str) -> Iterator[str]:
    yield wanted[:NAME]
    for number in count(2):
        yield f"{wanted[: NAME - len(str(number)) - 1]} {number}"


# --- Making and changing -----------------------------------------------------------------------------------------


def create(user: User, name: str, kind: str, parameters: Mapping[str, Any], notes: str = "") -> Strategy:
    """A new strategy; parameters that are not given get their defaults.

    Raises `Malformed`, `Taken`, `registry.UnknownKind` and `BadParameters`.
    """
    checked = _checked(kind, parameters)
    return _insert(Strategy(owner=user, name=_name(name), kind=kind, parameters=checked, notes=_notes(notes)))


def edit(
    strategy: Strategy,
    *,
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    notes: str | None = None,
    version: int | None = None,
) -> Strategy:
    """Change what is given. With `version`, as it was read, a change made since is not overwritten.

    Backtests keep what they ran with. Raises `Outdated` besides what `create` raises.
    """
    told: dict[str, Any] = {}
    if name is not None:
        told["name"] = _name(name)
    if parameters is not None:
        told["parameters"] = _checked(strategy.kind, parameters)
    if notes is not None:
        told["notes"] = _notes(notes)
    return _write(strategy, version, **told)


def duplicate(strategy: Strategy, user: User) -> Strategy:
    """A copy to change, without the backtests; its kind need not be installed here."""
    while True:
        copy = Strategy(
            owner=user, name=free_name(user, f"{strategy.name[: NAME - 7]} (copy)"), kind=strategy.kind,
            parameters=strategy.parameters, notes=strategy.notes,
        )  # fmt: skip
        with suppress(Taken):  # by another copy, just now
            return _insert(copy)


def _insert(made: Strategy) -> Strategy:
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError:
        raise Taken(made.name) from None
    return made


def _write(strategy: Strategy, version: int | None, **told: Any) -> Strategy:
    """One conditional UPDATE: whoever comes second with the same version changes nothing."""
    found = Strategy.objects.kept().filter(pk=strategy.pk)
    if version is not None:
        found = found.filter(version=version)
    try:
        with transaction.atomic():
            written = found.update(version=F("version") + 1, changed_at=timezone.now(), **told)
    except IntegrityError:
        raise Taken(told["name"]) from None
    if not written and not Strategy.objects.kept().filter(pk=strategy.pk, **told).exists():  # unless it is sent twice
        raise Outdated(f"{strategy.name} was changed elsewhere since this page was opened.")
    strategy.refresh_from_db()
    return strategy


# --- Putting away, deleting, taking back -------------------------------------------------------------------------


def archive(strategy: Strategy, away: bool = True) -> Strategy:
    """Put it out of the way, where it is not listed; or bring it back. Its backtests stay where they are."""
    return _write(strategy, None, archived_at=timezone.now() if away else None)


def delete(strategy: Strategy) -> None:
    """Gone at once; for a while its owner can take that back. Its backtests stay, with what they ran with."""
    _write(strategy, None, deleted_at=timezone.now())


def undelete(pk: int, user: User) -> Strategy | None:
    """The deleted strategy, or None if there is none any more. If its name is taken meanwhile it gets a number."""
    found = Strategy.objects.filter(pk=pk, owner=user).exclude(deleted_at=None)
    for strategy in found:
        name = free_name(user, strategy.name)
        try:
            with transaction.atomic():
                if found.update(deleted_at=None, name=name, version=F("version") + 1):
                    return Strategy.objects.get(pk=pk)
        except IntegrityError:
            raise Taken(name) from None
    return None


def purge() -> int:
    """Remove what was deleted more than an hour ago, and backtests with their trades; how many rows that was."""
    before = timezone.now() - PURGE
    with tenancy.as_system("purge deleted strategies and backtests"):
        backtests, _ = Backtest.objects.filter(deleted_at__lt=before).delete()
        strategies, _ = Strategy.objects.filter(deleted_at__lt=before).delete()
    return backtests + strategies


# --- What all verbs ask ------------------------------------------------------------------------------------------


def _checked(kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    checked = registry.kind_named(kind).checked(parameters)
    texts = {name: value for name, value in checked.items() if isinstance(value, str)}
    if problems := {
        name: f"{name} holds a character that can't be stored." for name, text in texts.items() if _odd(text)
    }:
        raise BadParameters(problems)
    return checked


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _name(text: str) -> str:
    text = _squeezed(text)
    if not text or len(text) > NAME:
        raise Malformed("name", f"A strategy needs a name of 1 to {NAME} characters.")
    if _odd(text):
        raise Malformed("name", "The name holds a character that can't be stored.")
    return text


def _notes(text: str) -> str:
    text = text.strip()
    if len(text) > NOTES:
        raise Malformed("notes", f"Notes have at most {NOTES:,} characters; these have {len(text):,}.")
    if _odd(text):
        raise Malformed("notes", "The notes hold a character that can't be stored.")
    return text


def _odd(text: str) -> bool:
    """Whether PostgreSQL could not keep it: a NUL, or half of a pair."""
    return "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text)
