"""Universes themselves: made, described, copied, shared, put away, deleted and taken back.

Who is in them is in `membership`, their past in `history`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Case, Count, F, Q, QuerySet, When
from django.utils import timezone

from chronos.core import accounts, tenancy
from chronos.core.models import Job, User
from universes.models import Membership, Share, Universe, Visibility

UNDO = timedelta(seconds=10)  # how long a page offers to take a deletion back
PURGE = timedelta(hours=1)  # after which a deleted universe is really gone
READERS = 200  # people that one universe is shared with


class Malformed(ValueError):
    """Something given can't be stored; the text says what and why."""


class Outdated(Exception):
    """Somebody else, or oneself elsewhere, has changed it since it was read. Nothing was written."""


@dataclass(frozen=True)
class Dependents:
    """What goes with a universe."""

    members: int
    past: int  # stays that have ended
    noted: int  # members with a note or tags
    readers: list[str]
    unfinished: int  # jobs about it


# --- Finding -----------------------------------------------------------------------------------------------------


def visible(user: User, *, archived: bool = False) -> QuerySet[Universe]:
    """The universes a person sees, with `size`, the number of members now; their own first, then the others.

    Those put away only if asked for, and then these alone.
    """
    size = Count("memberships", filter=Q(memberships__left_at=None))
    found = Universe.objects.visible_to(user).filter(archived_at__isnull=not archived).annotate(size=size)
    return found.select_related("owner").order_by(Case(When(owner=user, then=0), default=1), "name", "pk")


# --- Making and describing ---------------------------------------------------------------------------------------


def create(user: User, name: str, description: str = "") -> Universe:
    """A new private universe. Names need not be unique. Raises `Malformed`."""
    return Universe.objects.create(owner=user, name=_name(name), description=_description(description))


def edit(universe: Universe, user: User, name: str, description: str = "", *, version: int | None = None) -> Universe:
    """Rename and describe it. With `version`, as it was read, a change made since is not overwritten.

    Raises `Malformed`, `PermissionDenied` on a universe that is not the person's own, and `Outdated`.
    """
    _must_change(universe, user)
    told = {"name": _name(name), "description": _description(description)}
    _write(universe, version, **told)
    return universe


def publish(universe: Universe, user: User, public: bool) -> Universe:
    """Let everybody see it, as only staff may and the database holds them to; or nobody but its owner and readers."""
    must_own(universe, user)
    if public and not user.is_staff:
        raise PermissionDenied("Only staff make a universe public. Share it with named people instead.")
    _write(universe, None, visibility=Visibility.PUBLIC if public else Visibility.PRIVATE)
    return universe


def _write(universe: Universe, version: int | None, **told: object) -> None:
    """One conditional UPDATE: whoever comes second with the same version changes nothing."""
    found = Universe.objects.kept().filter(pk=universe.pk)
    if version is not None:
        found = found.filter(version=version)
    written = found.update(version=F("version") + 1, changed_at=timezone.now(), **told)
    if not written and not Universe.objects.kept().filter(pk=universe.pk, **told).exists():  # unless it is sent twice
        raise Outdated(f"{universe.name} was changed elsewhere since this page was opened.")
    universe.refresh_from_db()


@transaction.atomic
def duplicate(universe: Universe, user: User, name: str = "") -> Universe:
    """A private copy of one's own of any universe one sees: all stays with their dates, order, notes and tags.

    Without a name it is called after the original. Raises `Malformed`.
    """
    copy = create(user, name or f"{universe.name[:92]} (copy)", universe.description)
    Membership.objects.bulk_create(
        (
            Membership(
                universe=copy, owner=user, asset_id=stay.asset_id, joined_at=stay.joined_at, left_at=stay.left_at,
                position=stay.position, note=stay.note, tags=stay.tags,
            )
            for stay in universe.memberships.all()
        ),
        batch_size=2000,
    )  # fmt: skip
    return copy


# --- Putting away, deleting, taking back -------------------------------------------------------------------------


def archive(universe: Universe, user: User, away: bool = True) -> Universe:
    """Put it out of the way, where it is neither listed nor refreshed; or bring it back."""
    _must_change(universe, user)
    _write(universe, None, archived_at=timezone.now() if away else None)
    return universe


def dependents(universe: Universe, user: User) -> Dependents:
    """What a deletion would take with it."""
    stays = universe.memberships.all()
    return Dependents(
        members=stays.filter(left_at=None).count(),
        past=stays.exclude(left_at=None).count(),
        noted=stays.filter(~Q(note="") | ~Q(tags=[])).count(),
        readers=[str(share.reader) for share in readers(universe)],
        unfinished=Job.objects.of(user).unfinished().filter(subject_url=universe.get_absolute_url()).count(),
    )


def delete(universe: Universe, user: User) -> None:
    """Gone at once for everybody; for a while its owner can take that back. Assets and candles stay: others share them.

    Readers lose it, too, and see it again if it is taken back.
    """
    _must_change(universe, user)
    _write(universe, None, deleted_at=timezone.now())


def undelete(pk: int, user: User) -> Universe | None:
    """The deleted universe as it was, or None if it is not the person's or has been purged."""
    found = Universe.objects.filter(pk=pk, owner=user).exclude(deleted_at=None)
    for universe in found:
        _must_change(universe, user)
    if not found.update(deleted_at=None, version=F("version") + 1):
        return None
    return Universe.objects.get(pk=pk)


def purge() -> int:
    """Remove what was deleted more than an hour ago, with its stays and shares; how many universes that was."""
    with tenancy.as_system("purge deleted universes"):
        gone = Universe.objects.filter(deleted_at__lt=timezone.now() - PURGE)
        count = gone.count()
        gone.delete()
    return count


# --- Sharing -----------------------------------------------------------------------------------------------------


def readers(universe: Universe) -> QuerySet[Share]:
    """To whom it is open, by name. Its owner sees all of them, a reader only themselves."""
    return universe.shares.select_related("reader")


def share(universe: Universe, user: User, whom: Iterable[str]) -> list[User]:
    """Let these people read it, named by user name or e-mail address; returns those who could not before.

    All or nobody: raises `Malformed`, naming whoever is not known here.
    """
    must_own(universe, user)
    people = {person.pk: person for person in (_person(text, user) for text in whom)}
    there = set(universe.shares.values_list("reader_id", flat=True))
    new = [person for pk, person in people.items() if pk not in there]
    if len(there) + len(new) > READERS:
        raise Malformed(f"A universe is shared with at most {READERS} people. Ask staff to make it public instead.")
    try:
        with transaction.atomic():
            Share.objects.bulk_create(
                [Share(universe=universe, owner=user, reader=person) for person in new], ignore_conflicts=True
            )
    except IntegrityError:
        raise Malformed("One of these people has just left. Look at the list again.") from None
    return new


def unshare(universe: Universe, user: User, reader_id: int) -> User | None:
    """Close it to a reader: done by its owner, or by the reader who no longer wants it. None if it was not open."""
    if user.pk not in (universe.owner_id, reader_id):
        raise PermissionDenied(f"{universe.name} is not yours to share.")
    found = universe.shares.filter(reader_id=reader_id).select_related("reader").first()
    if found is None:
        return None
    found.delete()
    return found.reader


def _person(text: str, user: User) -> User:
    """The active person of this name, or whose confirmed address it is; not the sharer."""
    written = text.strip()
    found = User.objects.filter(is_active=True, username=written).first() or accounts.reached_at(written)
    if found is None:
        raise Malformed(
            f"Nobody here is called {written[:60]!r}. Write a user name exactly, or an e-mail address that its owner"
            " has confirmed."
        )
    if found == user:
        raise Malformed("It is yours already: name somebody else.")
    return found


# --- What all verbs ask ------------------------------------------------------------------------------------------


def must_own(universe: Universe, user: User) -> None:
    """The database would refuse as well; this says it in words."""
    if universe.owner_id != user.pk:
        raise PermissionDenied(f"{universe.name} is not yours to change. Duplicate it to have one of your own.")


def _must_change(universe: Universe, user: User) -> None:
    """As the database has it: whoever is staff no more changes nothing about what they made public, but makes it
    private."""
    must_own(universe, user)
    if universe.is_public and not user.is_staff:
        raise PermissionDenied(f"{universe.name} is public, and only staff change that. Make it private first.")


def _name(text: str) -> str:
    text = " ".join(text.split())
    if not text or len(text) > 100:
        raise Malformed("A universe needs a name of 1 to 100 characters.")
    return text


def _description(text: str) -> str:
    text = text.strip()
    if len(text) > 500:
        raise Malformed(f"A description has at most 500 characters; this one has {len(text)}.")
    return text
