"""The API's operations on strategies and backtests: the same verbs as on their pages, a module a noun."""

from collections.abc import Callable
from typing import Any

from ninja import Router

from chronos.core.envelope import Refused
from signals import catalogue
from signals.api import backtests, comparison, refusals, strategies
from signals.engine.terms import Impossible
from signals.strategies import registry
from signals.strategies.declaring import BadParameters

router = Router()
for noun in (strategies, backtests, comparison):
    router.add_router("", noun.router)

# What the verbs raise, as the API says it.
HANDLERS: dict[type[Exception], Callable[[Any], Refused]] = {
    BadParameters: refusals.bad_parameters,
    registry.UnknownKind: refusals.unknown_kind,
    Impossible: refusals.impossible,
    catalogue.Malformed: refusals.malformed,
    catalogue.Taken: refusals.taken,
    catalogue.Outdated: refusals.outdated,
}
