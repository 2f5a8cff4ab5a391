"""Universes themselves: listed, made, described, copied, put away, deleted and taken back."""

from typing import Any, Literal

from django.db.models import Q
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.envelope import NextAction, Refused, answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.models import User
from chronos.core.paging import Paged, page_of
from universes import catalogue
from universes.api.common import Id
from universes.loading import owned, seen
from universes.models import Universe

router = Router()


class UniverseOut(Schema):
    """A named set of assets, with a past."""

    id: int
    name: str
    description: str
    owner: str = Field(description="The owner's user name; empty for the house's own.")
    is_mine: bool = Field(description="Whether it is yours to change.")
    visibility: Literal["private", "public"]
    size: int = Field(description="Members now.")
    version: int = Field(description="Raised by each edit of name, description or visibility; name it when you edit.")
    is_archived: bool = Field(description="Kept, but neither listed nor refreshed on schedule.")
    created_at: AwareDatetime
    changed_at: AwareDatetime


class UniverseIn(Schema):
    name: str = Field(min_length=1, max_length=100, examples=["Semiconductors"])
    description: str = Field("", max_length=500, examples=["Makers of chips and of the machines that make them"])


class UniverseReplacement(UniverseIn):
    version: int = Field(ge=1, le=2**31 - 1, description="As you read it. If it is another now, nothing is changed.")


class UniverseChange(Schema):
    name: str | None = Field(None, min_length=1, max_length=100, description="Left out: as it is.")
    description: str | None = Field(None, max_length=500, description="Left out: as it is.")
    version: int = Field(ge=1, le=2**31 - 1, description="As you read it. If it is another now, nothing is changed.")


class UniversesWanted(Paged):
    q: str = Field("", max_length=100, description="Only those with this text in name or description.")
    whose: Literal["all", "mine", "shared", "public"] = Field("all", description="`shared`: opened to you by others.")
    archived: bool = Field(False, description="True: those put away, and only those.")
    order: Literal["name", "-name", "-changed_at", "id", "-id"] = "name"


_ORDERS = {
    "name": ("name", "id"), "-name": ("-name", "-id"), "-changed_at": ("-changed_at", "-id"), "id": ("id",),
    "-id": ("-id",),
}  # fmt: skip


@router.get("/universes", response=answers(list[UniverseOut]), tags=["universes"])
def list_universes(request: Signed, wanted: Query[UniversesWanted]) -> Any:
    """The universes you see: your own, those shared with you, and the public ones."""
    user = request.user
    found = catalogue.visible(user, archived=wanted.archived)
    if wanted.q:
        found = found.filter(Q(name__icontains=wanted.q) | Q(description__icontains=wanted.q))
    if wanted.whose == "mine":
        found = found.filter(owner=user)
    elif wanted.whose == "public":
        found = found.filter(visibility="public")
    elif wanted.whose == "shared":
        found = found.exclude(owner=user).exclude(visibility="public")
    page = page_of(found, wanted, wanted.order, _ORDERS)
    actions = [then("get_universe", "Look at one.", universe_id=page.rows[0].pk)] if page.rows else []
    actions.append(then("create_universe", "Make one of your own."))
    words = page.counted("universe")
    return said([_told(row, user) for row in page.rows], f"{words}.", actions, next_cursor=page.next_cursor)


def _told(found: Universe, user: User, size: int | None = None) -> dict[str, Any]:
    own = ("name", "description", "visibility", "version", "created_at", "changed_at")
    counted = getattr(found, "size", None) if size is None else size
    return {name: getattr(found, name) for name in own} | {
        "id": found.pk,
        "owner": found.owner.username if found.owner else "",
        "is_mine": found.owner_id == user.pk,
        "size": found.memberships.current().count() if counted is None else counted,
        "is_archived": found.archived_at is not None,
    }


@router.post("/universes", response=answers(UniverseOut, 201), tags=["universes"])
def create_universe(request: Signed, given: UniverseIn) -> Any:
    """Make a private universe of your own. Names need not be unique."""
    made = catalogue.create(request.user, given.name, given.description)
    return _answer(request, made, f"{made.name} is made.", status=201)


def _answer(request: Signed, found: Universe, words: str, *, status: int = 200) -> Any:
    user = request.user
    told = _told(found, user)
    return said(told, words, _next(found, user, told["size"]), status=status)


def _next(found: Universe, user: User, size: int) -> list[NextAction]:
    """What fits: an empty one wants members, one with members wants candles."""
    mine = found.owner_id == user.pk
    actions = []
    if size:
        actions.append(then("list_universe_assets", "See its members.", universe_id=found.pk))
        actions.append(then("refresh_universe", "Fetch what is new of its members.", universe_id=found.pk))
    if mine:
        actions.append(then("add_assets", "Add members; `symbols` is still wanted.", universe_id=found.pk, symbols=[]))
    else:
        actions.append(then("duplicate_universe", "Have a copy of your own to change.", universe_id=found.pk))
    return actions


@router.get("/universes/{universe_id}", response=answers(UniverseOut), tags=["universes"])
def get_universe(request: Signed, universe_id: Id) -> Any:
    """One universe."""
    found = seen(request, universe_id)
    return _answer(request, found, f"{found.name} has {figures.counted(_size(found), 'member')}.")


def _size(found: Universe) -> int:
    return found.memberships.current().count()


@router.put("/universes/{universe_id}", response=answers(UniverseOut), tags=["universes"])
def replace_universe(request: Signed, universe_id: Id, given: UniverseReplacement) -> Any:
    """Rename and describe it. A change made since the version you name is not overwritten."""
    return _edit(request, universe_id, given.name, given.description, given.version)


@router.patch("/universes/{universe_id}", response=answers(UniverseOut), tags=["universes"])
def update_universe(request: Signed, universe_id: Id, given: UniverseChange) -> Any:
    """Change its name or its description alone."""
    return _edit(request, universe_id, given.name, given.description, given.version)


def _edit(request: Signed, pk: int, name: str | None, description: str | None, version: int) -> Any:
    found = owned(request, pk)
    kept = found.description if description is None else description
    try:
        catalogue.edit(found, request.user, found.name if name is None else name, kept, version=version)
    except catalogue.Outdated:
        now = Universe.objects.get(pk=pk)
        raise Refused(
            "outdated", f"{now.name} was changed since you read it: it is at version {now.version}, not {version}.",
            "Read it again, and make your change on the version it has now.", status=409, field="body.version",
            next_actions=[then("get_universe", "Read it again.", universe_id=pk)],
        ) from None  # fmt: skip
    return _answer(request, found, f"{found.name} is at version {found.version}.")


class Dependents(Schema):
    """What goes with a universe."""

    members: int
    past: int = Field(description="Stays that have ended.")
    noted: int = Field(description="Members with a note or tags.")
    readers: list[str] = Field(description="People who read it.")
    unfinished: int = Field(description="Jobs about it that are under way.")


class DeletionWanted(Schema):
    dry_run: bool = Field(False, description="True: say what goes with it, and delete nothing.")


@router.delete("/universes/{universe_id}", response=answers(Dependents), tags=["universes"])
def delete_universe(request: Signed, universe_id: Id, wanted: Query[DeletionWanted]) -> Any:
    """Delete it, for everybody. For an hour you can take that back. Assets and candles stay: others share them."""
    user, found = request.user, owned(request, universe_id)
    goes = catalogue.dependents(found, user)
    data = {name: getattr(goes, name) for name in Dependents.model_fields}
    if wanted.dry_run:
        actions = [then("delete_universe", "Delete it.", universe_id=found.pk)]
        return said(data, f"This would go with {found.name}. Nothing was deleted: this is a dry run.", actions)
    catalogue.delete(found, user)
    actions = [then("undelete_universe", "Take that back, within the hour.", universe_id=found.pk)]
    return said(data, f"{found.name} is deleted.", actions)


@router.post("/universes/{universe_id}/undelete", response=answers(UniverseOut), tags=["universes"])
def undelete_universe(request: Signed, universe_id: Id) -> Any:
    """Take a deletion back, as it was; possible for an hour."""
    found = catalogue.undelete(universe_id, request.user)
    if found is None:
        raise missing(f"You have no deleted universe {universe_id}; after an hour they are gone for good.",
                      "Look at list_universes.")  # fmt: skip
    return _answer(request, found, f"{found.name} is back.")


class CopyIn(Schema):
    name: str = Field("", max_length=100, description="Empty: the original's, with “(copy)”.")


@router.post("/universes/{universe_id}/duplicate", response=answers(UniverseOut, 201), tags=["universes"])
def duplicate_universe(request: Signed, universe_id: Id, given: CopyIn) -> Any:
    """A private copy of your own of any universe you see: all stays with their dates, order, notes and tags."""
    copy = catalogue.duplicate(seen(request, universe_id), request.user, given.name)
    return _answer(request, copy, f"{copy.name} is made.", status=201)


class ArchiveIn(Schema):
    away: bool = Field(True, description="False: bring it back.")


@router.post("/universes/{universe_id}/archive", response=answers(UniverseOut), tags=["universes"])
def archive_universe(request: Signed, universe_id: Id, given: ArchiveIn) -> Any:
    """Put it out of the way, where it is neither listed nor refreshed on schedule; or bring it back."""
    found = catalogue.archive(owned(request, universe_id), request.user, given.away)
    return _answer(request, found, f"{found.name} is {'put away' if given.away else 'back'}.")


class PublishIn(Schema):
    public: bool = Field(description="True: everybody sees it, which only staff may decide. False: nobody but you and"
                         " its readers.")  # fmt: skip


@router.post("/universes/{universe_id}/publish", response=answers(UniverseOut), tags=["universes"])
def publish_universe(request: Signed, universe_id: Id, given: PublishIn) -> Any:
    """Let everybody see it (staff only), or make it private again."""
    found = catalogue.publish(owned(request, universe_id), request.user, given.public)
    return _answer(request, found, f"{found.name} is {found.visibility}.")
