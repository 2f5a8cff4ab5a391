"""The API's operations on universes: the same verbs as on their pages, a module a noun."""

from ninja import Router

from universes import catalogue as verbs
from universes.api import catalogue, history, lists, members, performance, sharing, work
from universes.models import Membership

router = Router()
for noun in (catalogue, members, lists, history, performance, sharing, work):
    router.add_router("", noun.router)

# What the verbs raise, as the API says it: the status, the code and the remedy.
REFUSED: dict[type[Exception], tuple[int, str, str]] = {
    verbs.Malformed: (422, "invalid", "Mend what it names."),
    verbs.Outdated: (409, "outdated", "Read it again, and make your change on the version it has now."),
    Membership.DoesNotExist: (404, "not_found", "Look at the members with list_universe_assets."),
    **lists.REFUSED,
}
