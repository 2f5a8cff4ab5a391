"""Universes and their members: the verbs that pages, commands and programs share, and point-in-time reading."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from chronos.core.models import User
from marketdata.models import Asset, canonical, is_symbol
from marketdata.symbols import likely_class
from universes.models import Membership, Universe

AT_ONCE = 1000  # symbols in one request
REGRET = timedelta(minutes=1)  # a stay that ended so short a while ago is taken up again rather than begun anew


class Malformed(ValueError):
    """A name or description that can't be stored; the text says why."""


@dataclass
class Added:
    """What became of each symbol that was to be added, in canonical form; `malformed` as it was written, with why."""

    added: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)  # of those added: not stored before, so not confirmed yet
    already: list[str] = field(default_factory=list)
    malformed: list[tuple[str, str]] = field(default_factory=list)


def visible(user: User) -> QuerySet[Universe]:
    """The universes a person sees, with `size`, the number of members now; their own first, then the public ones."""
    size = Count("memberships", filter=Q(memberships__left_at=None))
    return Universe.objects.visible_to(user).annotate(size=size).order_by("owner_id", "name", "pk")


def create(user: User, name: str, description: str = "") -> Universe:
    """A new private universe. Names need not be unique. Raises `Malformed`."""
    return Universe.objects.create(owner=user, name=_name(name), description=_description(description))


def rename(universe: Universe, user: User, name: str, description: str = "") -> Universe:
    """Raises `Malformed`, and `PermissionDenied` on a universe that is not the person's own."""
    _must_own(universe, user)
    universe.name, universe.description = _name(name), _description(description)
    universe.save(update_fields=["name", "description", "changed_at"])
    return universe


def delete(universe: Universe, user: User) -> int:
    """The universe and its dated stays, of which the number is returned. Assets and candles stay: others share them."""
    _must_own(universe, user)
    stays = universe.memberships.count()
    universe.delete()
    return stays


def add(universe: Universe, user: User, symbols: Iterable[str], now: datetime | None = None) -> Added:
    """Add members by symbol, as people or providers write them; whatever is well-formed is added.

    A symbol that nobody keeps yet becomes an asset that no provider has confirmed; the next refresh finds out. Two who
    add at once both succeed: whoever comes second finds a member.
    """
    _must_own(universe, user)
    now = now or timezone.now()
    report = Added()
    wanted = _well_formed(symbols, report)
    with transaction.atomic():
        Universe.objects.select_for_update().get(pk=universe.pk)
        assets = _assets(wanted, report)
        members = set(universe.memberships.current().values_list("asset_id", flat=True))
        joining = [asset for asset in assets if asset.pk not in members]
        report.already = [asset.symbol for asset in assets if asset.pk in members]
        report.added = [asset.symbol for asset in joining]
        _join(universe, joining, now)
    return report


def remove(universe: Universe, user: User, symbols: Iterable[str], now: datetime | None = None) -> list[str]:
    """End the stays of these members now; returns the symbols that were members. Their past in it stays."""
    _must_own(universe, user)
    now = now or timezone.now()
    stays = universe.memberships.current().filter(asset__symbol__in=[canonical(symbol) for symbol in symbols])
    with transaction.atomic():
        leaving = list(stays.select_for_update(of=("self",)).select_related("asset").order_by("asset__symbol"))
        for stay in leaving:
            stay.left_at = max(now, stay.joined_at)
        Membership.objects.bulk_update(leaving, ["left_at"])
    return [stay.asset.symbol for stay in leaving]


def members(universe: Universe, at: datetime | None = None) -> QuerySet[Membership]:
    """The stays of those who are members now, or were at a moment; by symbol, with their assets.

    A stay counts from `joined_at` until just before `left_at`.
    """
    stays = universe.memberships.select_related("asset").order_by("asset__symbol")
    if at is None:
        return stays.current()
    return stays.filter(Q(left_at=None) | Q(left_at__gt=at), joined_at__lte=at)


def former(universe: Universe) -> QuerySet[Membership]:
    """Stays that have ended, the latest first."""
    return universe.memberships.select_related("asset").exclude(left_at=None).order_by("-left_at", "asset__symbol")


def split_symbols(text: str) -> list[str]:
    """Symbols out of what somebody pasted: separated by spaces, commas, semicolons, tabs or lines."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def _must_own(universe: Universe, user: User) -> None:
    """The database would refuse as well; this says it in words."""
    if universe.owner_id != user.pk:
        raise PermissionDenied(f"{universe.name} is not yours to change.")


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


def _well_formed(symbols: Iterable[str], report: Added) -> dict[str, str]:
    """Canonical symbol to how it was written, without repetitions; the others go to `report.malformed`."""
    wanted: dict[str, str] = {}
    for written in symbols:
        symbol = canonical(written)
        try:
            is_symbol(symbol)
        except ValidationError as error:
            report.malformed.append((written[:60], error.messages[0]))
            continue
        if len(wanted) >= AT_ONCE and symbol not in wanted:
            report.malformed.append((written, f"More than {AT_ONCE} at once; add it next."))
            continue
        wanted.setdefault(symbol, written)
    return wanted


def _assets(wanted: dict[str, str], report: Added) -> list[Asset]:
    """The assets of these symbols in the order given: found by symbol or a provider's spelling, else created."""
    known = {asset.symbol: asset for asset in Asset.objects.filter(symbol__in=wanted)}
    unknown = [symbol for symbol in wanted if symbol not in known]
    known |= _by_spelling(unknown)
    new = [symbol for symbol in unknown if symbol not in known]
    Asset.objects.bulk_create(  # in one order for everybody: two who add the same would else wait for each other
        [Asset(symbol=symbol, asset_class=likely_class(symbol)) for symbol in sorted(new)], ignore_conflicts=True
    )
    known |= {asset.symbol: asset for asset in Asset.objects.filter(symbol__in=new)}
    report.created = new
    return list({known[symbol].pk: known[symbol] for symbol in wanted}.values())


def _by_spelling(symbols: Sequence[str]) -> dict[str, Asset]:
    """Assets by the way a provider spells them, where exactly one asset is spelt so."""
    if not symbols:
        return {}
    found: dict[str, set[Asset]] = {}
    for asset in Asset.objects.filter(spellings__spelling__in=symbols).prefetch_related("spellings"):
        for spelling in asset.spellings.all():
            found.setdefault(spelling.spelling, set()).add(asset)
    return {symbol: next(iter(found[symbol])) for symbol in symbols if len(found.get(symbol, ())) == 1}


def _join(universe: Universe, joining: Sequence[Asset], now: datetime) -> None:
    """Begin stays, or take up again those that ended a moment ago: an undo leaves no trace."""
    ended = universe.memberships.filter(asset__in=joining, left_at__gte=now - REGRET).order_by("left_at")
    again = {stay.asset_id: stay for stay in ended}
    for stay in again.values():
        stay.left_at = None
    Membership.objects.bulk_update(again.values(), ["left_at"])
    new = [asset for asset in joining if asset.pk not in again]
    left = dict(
        universe.memberships.filter(asset__in=new).values_list("asset").annotate(last=Max("left_at")).order_by()
    )
    place = universe.memberships.aggregate(last=Max("position"))["last"] or 0
    Membership.objects.bulk_create(
        [
            Membership(
                universe=universe,
                owner_id=universe.owner_id,
                asset=asset,
                joined_at=max(now, left.get(asset.pk, now)),  # a clock that was set back must not make stays overlap
                position=place + index,
            )
            for index, asset in enumerate(new, start=1)
        ]
    )
