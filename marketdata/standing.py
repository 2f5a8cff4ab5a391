"""How the providers stand: whether each answers, what is left of its day, whence its key, and who is asked for what."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Q, Sum

from chronos.core import figures
from marketdata import chains, credentials, providers
from marketdata.models import AssetClass, FetchWindow, ProviderQuota, ProviderState
from marketdata.providers.base import Provider


def provider_rows(now: datetime) -> list[dict[str, Any]]:
    """Every provider that can be asked or was: whether it answers, what is left of today's quota, whence its key."""
    states = {state.provider: state for state in ProviderState.objects.all()}
    quotas = _quotas_of(now)
    asked = _asked_since(now - timedelta(days=1))
    others = sorted({*states, *quotas, *asked} - {*providers.REGISTRY})
    names = [*providers.REGISTRY, *(name for name in others if providers.known(name))]
    return [
        provider_row(providers.named(name), states.get(name), quotas.get(name), asked.get(name), now) for name in names
    ]


def one(provider: Provider, now: datetime) -> dict[str, Any]:
    """The same for one provider."""
    state = ProviderState.objects.filter(pk=provider.name).first()
    asked = _asked_since(now - timedelta(days=1))
    return provider_row(provider, state, _quotas_of(now).get(provider.name), asked.get(provider.name), now)


def provider_row(
    provider: Provider, state: ProviderState | None, quota: "Quota | None", asked: tuple[int, int] | None, now: datetime
) -> dict[str, Any]:
    origin = credentials.origin(provider.name)
    quota = quota or Quota(0, provider.daily_quota, None)
    level, word, detail = _provider_state(provider, state, quota, origin, now)
    windows, failed = asked or (0, 0)
    return {
        "name": provider.name,
        "label": provider.label,
        "classes": ", ".join(kind.label for kind in AssetClass if kind in provider.asset_classes),
        "level": level,
        "word": word,
        "detail": detail,
        "failing": bool(state and state.failing_since),
        "trouble": state.failure if state and state.failing_since else "",
        "answered": figures.ago(state.answered_at, now) if state and state.answered_at else figures.NOTHING,
        "used": quota.used,
        "used_words": figures.integer(quota.used),
        "limit": quota.limit,
        "left": figures.integer(max(0, quota.limit - quota.used)) if quota.limit is not None else "",
        "limit_words": figures.integer(quota.limit) if quota.limit is not None else "",
        "takes_key": provider.name in credentials.VARIABLES,
        "needs_key": provider.needs_key,
        "origin": origin,
        "key": _KEYS[origin] if provider.name in credentials.VARIABLES else "not needed",
        "variable": credentials.VARIABLES.get(provider.name, ""),
        "asked": windows,
        "windows": figures.integer(windows),
        "failed": failed,
    }


_KEYS = {
    "environment": "from the environment",
    "stored": "stored",
    "unreadable": "can’t be read",
    "": "none",
}


@dataclass(frozen=True)
class Quota:
    """What is used of a provider's day, over all its keys; `limit` is None where there is none."""

    used: int
    limit: int | None
    exhausted_at: datetime | None

    @property
    def is_used_up(self) -> bool:
        return self.exhausted_at is not None or (self.limit is not None and self.used >= self.limit)


def _quotas_of(now: datetime) -> dict[str, Quota]:
    rows = ProviderQuota.objects.filter(day=now.astimezone(UTC).date()).values("provider")
    found = rows.annotate(used=Sum("used"), limit=Max("limit"), said=Max("exhausted_at"))
    return {row["provider"]: Quota(row["used"], row["limit"], row["said"]) for row in found}


def _asked_since(since: datetime) -> dict[str, tuple[int, int]]:
    """How many windows each provider was asked for, and how many of those failed."""
    rows = FetchWindow.objects.filter(asked_at__gte=since).order_by().values("provider")
    found = rows.annotate(count=Count("pk"), failed=Count("pk", filter=Q(state=FetchWindow.State.FAILED)))
    return {row["provider"]: (row["count"], row["failed"]) for row in found}


def _provider_state(
    provider: Provider, state: ProviderState | None, quota: Quota, origin: str, now: datetime
) -> tuple[str, str, str]:
    """(level, word, sentence): the worst that stands in the way of asking it now."""
    if provider.needs_key and origin in ("", "unreadable"):
        why = "Its stored key can’t be read, because SECRET_KEY has changed." if origin else "It has no key."
        return "empty", "no key", f"{why} Until one is set the next provider of the chain is asked."
    if state and state.closed_until and state.closed_until > now:
        until = f"{figures.moment(state.closed_until)} UTC"
        failures = figures.counted(state.failures, "question")
        return "failing", f"paused until {state.closed_until:%H:%M}", (
            f"It did not answer {failures} in a row, so nobody asks it until {until}. {state.failure}"
        )  # fmt: skip
    if state and state.failing_since:
        return "failing", "failing", f"No answer since {figures.moment(state.failing_since)} UTC. {state.failure}"
    if quota.is_used_up:
        return "ageing", "quota used up", "Today’s quota is used up; it is asked again after midnight UTC."
    if state and state.answered_at:
        return "fresh", "answering", f"It last answered {figures.ago(state.answered_at, now)}."
    return "empty", "never asked", "Nobody has asked it yet."


def chain_rows() -> list[dict[str, Any]]:
    """For each asset class whom Chronos asks, in which order, and why somebody is passed over."""
    return [
        {
            "asset_class": kind.value,
            "label": kind.label,
            "links": [{"label": link.provider.label, "usable": link.usable, "why": link.why} for link in links],
        }
        for kind, links in chains.every().items()
    ]
