"""Which kinds of strategies there are: the built-in ones, and those that installed packages offer.

A package offers kinds by the entry point group `chronos.strategies`, each naming a `Kind` or a list of them:

    [project.entry-points."chronos.strategies"]
    mine = "my_package.strategies:KINDS"

What can't be had of a package is left out, logged, and told by `faults`: the rest goes on working.
"""

import logging
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from signals.strategies import builtin
from signals.strategies.declaring import Kind

log = logging.getLogger(__name__)
GROUP = "chronos.strategies"


class UnknownKind(LookupError):
    """No kind of strategy has this name."""


def kinds() -> dict[str, Kind]:
    """All kinds by name, the built-in ones first."""
    return _found()[0]


def faults() -> tuple[str, ...]:
    """What packages offer and could not be had, in words for whoever installed them."""
    return _found()[1]


def kind_named(name: str) -> Kind:
    try:
        return kinds()[name]
    except KeyError:
        raise UnknownKind(f"There is no kind of strategy called {name!r}; there are {', '.join(kinds())}.") from None


def forget() -> None:
    """Looks again with the next question; packages are otherwise looked for once in a process."""
    _found.cache_clear()


@cache
def _found() -> tuple[dict[str, Kind], tuple[str, ...]]:
    found = {kind.name: kind for kind in builtin.KINDS}
    faults: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        for kind in _offered(point, faults):
            if kind.name in found:
                faults.append(f"{point.value} offers {kind.name!r}, which {found[kind.name].origin} has already.")
                continue
            found[kind.name] = kind
    for fault in faults:
        log.error("a kind of strategy was left out: %s", fault)
    return found, tuple(faults)


def _offered(point: EntryPoint, faults: list[str]) -> list[Kind]:
    """The kinds behind an entry point, with the package they come from. What is wrong is added to `faults`."""
    try:
        given = point.load()
    except Exception as error:  # whatever a user's own module does on import
        log.exception("strategies could not be loaded", extra={"origin": point.value})
        faults.append(f"{point.value} could not be loaded: {type(error).__name__}: {str(error)[:300]}")
        return []
    several = given if isinstance(given, list | tuple) else [given]
    strange = [one for one in several if not isinstance(one, Kind)]
    faults += [f"{point.value} offers a {type(one).__name__}, not a Kind." for one in strange]
    origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.module
    return [replace(kind, origin=origin) for kind in several if isinstance(kind, Kind)]
