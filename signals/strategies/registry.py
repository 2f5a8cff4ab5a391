"""Which kinds of strategies there are: the built-in ones, and those that installed packages offer.

A package offers kinds by the entry point group `chronos.strategies`, each naming a `Kind` or a list of them:

    [project.entry-points."chronos.strategies"]
    mine = "my_package.strategies:KINDS"
"""

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from signals.strategies import builtin
from signals.strategies.declaring import Kind

log = logging.getLogger(__name__)
GROUP = "chronos.strategies"


class UnknownKind(LookupError):
    """No kind of strategy has this name."""


@cache
def kinds() -> dict[str, Kind]:
    """All kinds by name, the built-in ones first. A package that can't be loaded is left out, and logged."""
    found = {kind.name: kind for kind in builtin.KINDS}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        for kind in _offered(point):
            if kind.name in found:
                log.error("a kind of strategy is offered twice", extra={"kind": kind.name, "origin": point.value})
                continue
            found[kind.name] = kind
    return found


def kind_named(name: str) -> Kind:
    try:
        return kinds()[name]
    except KeyError:
        raise UnknownKind(f"There is no kind of strategy called {name!r}; there are {', '.join(kinds())}.") from None


def _offered(point: EntryPoint) -> list[Kind]:
    try:
        given = point.load()
    except Exception:  # whatever a user's own module does on import
        log.exception("strategies could not be loaded", extra={"origin": point.value})
        return []
    several = given if isinstance(given, list | tuple) else [given]
    good = [kind for kind in several if isinstance(kind, Kind)]
    if len(good) != len(several):
        log.error("an entry point offers something that is no Kind", extra={"origin": point.value})
    return good
