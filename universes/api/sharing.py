"""Who else reads a universe."""

from typing import Annotated, Any

from ninja import Path, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.envelope import answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.models import User
from universes import catalogue
from universes.api.common import Id
from universes.loading import owned, seen
from universes.models import Universe

router = Router()


class Reader(Schema):
    username: str
    since: AwareDatetime


class ReadersIn(Schema):
    people: list[Annotated[str, Field(max_length=254)]] = Field(
        min_length=1, max_length=catalogue.READERS, description="User names, or e-mail addresses that are confirmed."
    )


@router.get("/universes/{universe_id}/readers", response=answers(list[Reader]), tags=["sharing"])
def list_readers(request: Signed, universe_id: Id) -> Any:
    """Who reads it. Its owner sees all of them, a reader only themselves."""
    return _readers(seen(request, universe_id), "", request.user)


def _readers(found: Universe, words: str, user: User) -> Any:
    data = [{"username": share.reader.username, "since": share.created_at} for share in catalogue.readers(found)]
    actions = []
    if data:
        why = "Close it to one." if found.owner_id == user.pk else "Read it no more."
        actions.append(then("unshare_universe", why, universe_id=found.pk, username=data[0]["username"]))
    return said(data, words or f"{figures.counted(len(data), 'reader')} of {found.name}.", actions, total=len(data))


@router.post("/universes/{universe_id}/readers", response=answers(list[Reader]), tags=["sharing"])
def share_universe(request: Signed, universe_id: Id, given: ReadersIn) -> Any:
    """Let these people read it and who was in it when; they change nothing. All of them, or nobody."""
    found = owned(request, universe_id)
    new = catalogue.share(found, request.user, given.people)
    names = ", ".join(sorted(person.username for person in new)) or "nobody who did not before"
    return _readers(found, f"{found.name} is now read by {names}.", request.user)


@router.delete("/universes/{universe_id}/readers/{username}", response=answers(None), tags=["sharing"])
def unshare_universe(request: Signed, universe_id: Id, username: Annotated[str, Path(max_length=150)]) -> Any:
    """Close it to a reader; or, as the reader, read it no more."""
    found, user = seen(request, universe_id), request.user
    share = catalogue.readers(found).filter(reader__username=username).first()
    if share is None or catalogue.unshare(found, user, share.reader_id) is None:
        raise missing(f"{found.name} is not open to {username}.", "Look at list_readers.")
    return said(None, f"{found.name} is closed to {username}.")
