"""Every address of the URL conf, with something real in it.

A route that is added later must be given its parameters here: until then `addresses` raises, and with it the battery
that attacks them and the browser tests that look at them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse

# Parameters by the route's name, else by its namespace. A `{name}` is looked up in the scene.
PARAMETERS: dict[str, dict[str, str]] = {
    "universes": {"pk": "{universe}", "symbol": "{symbol}", "list_pk": "{list}", "row": "1", "form": "csv"},
    "api": {
        "asset_class": "stock",
        "universe_id": "{universe}",
        "symbol": "{symbol}",
        "job_id": "{job}",
        "token_id": "{token}",
        "username": "rita",
        "list_id": "{list}",
        "number": "1",
        "strategy_id": "{strategy}",
        "backtest_id": "{backtest}",
    },
    "signals": {"pk": "{strategy}"},
    "signals:backtest": {"pk": "{backtest}"},
    "signals:backtest-chart": {"pk": "{backtest}", "name": "equity"},
    "signals:backtest-trades": {"pk": "{backtest}"},
    "signals:backtest-trades-csv": {"pk": "{backtest}"},
    "signals:backtest-json": {"pk": "{backtest}"},
    "signals:backtest-equity-csv": {"pk": "{backtest}"},
    "signals:backtest-png": {"pk": "{backtest}"},
    "signals:backtest-report": {"pk": "{backtest}"},
    "signals:rerun-backtest": {"pk": "{backtest}"},
    "signals:cancel-backtest": {"pk": "{backtest}"},
    "signals:delete-backtest": {"pk": "{backtest}"},
    "signals:note-backtest": {"pk": "{backtest}"},
    "marketdata": {"symbol": "{symbol}", "provider": "twelvedata", "asset_class": "stock"},
    "core:job": {"pk": "{job}"},
    "core:cancel-job": {"pk": "{job}"},
    "core:rerun-job": {"pk": "{job}"},
    "core:sign-in-link": {"secret": "not-a-secret-that-was-ever-issued"},
    "core:confirm-email": {"key": "not-a-key-that-was-ever-mailed"},
    "core:reset-with-key": {"key": "1-not-a-key-that-was-ever-mailed"},
    "core:rename-passkey": {"pk": "{passkey}"},
    "core:remove-passkey": {"pk": "{passkey}"},
    "core:end-session": {"pk": "{session}"},
    "core:revoke-token": {"pk": "{token}"},
}
# What names somebody's own row; the others are shared facts.
OWN = ("{universe}", "{strategy}", "{backtest}", "{job}", "{passkey}", "{session}", "{token}")
# Routes of Django's own that are no pages.
PASSED_OVER = {"admin:jsi18n", "admin:view_on_site", "admin:app_list"}


@dataclass(frozen=True)
class Address:
    """One route, made concrete. `owned` if its parameters name somebody's own row."""

    route: str
    path: str
    owned: bool


def addresses(scene: dict[str, Any]) -> Iterator[Address]:
    """All of them; `scene` gives what PARAMETERS names, and the admin's objects by model label."""
    for name, pattern in _named(get_resolver(), ""):
        if name in PASSED_OVER:
            continue
        wanted = set(pattern.pattern.converters) if pattern.pattern.converters else set()
        if name.startswith("admin:"):
            yield from _of_the_admin(name, wanted, scene)
            continue
        known = PARAMETERS.get(name) or PARAMETERS.get(name.partition(":")[0], {})
        missing = wanted - set(known)
        assert not missing, f"tests/contracts/pages.py does not know {missing} of the route {name!r}: add a sample"
        values = {key: known[key].format(**scene) for key in wanted}
        owned = any(sample in known[key] for key in wanted for sample in OWN)
        yield Address(name, reverse(name, kwargs=values), owned)


def _of_the_admin(name: str, wanted: set[str], scene: dict[str, Any]) -> Iterator[Address]:
    """An object's pages need one: `scene["universes_universe"]`; models without one there are passed over."""
    if "object_id" not in wanted:
        if not wanted:
            yield Address(name, reverse(name), False)
        return
    model = name.split(":")[1].rpartition("_")[0]
    if model in scene:
        yield Address(name, reverse(name, kwargs={"object_id": scene[model]}), True)


def _named(resolver: URLResolver, space: str) -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from _named(entry, inner)
        elif entry.name:
            yield f"{space}{entry.name}", entry
