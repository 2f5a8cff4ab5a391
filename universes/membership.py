"""Who is in a universe: added, removed, ordered, annotated; now or at a moment of the past."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F, Max, Q, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone

from chronos.core.models import User
from marketdata.directory.listings import unsaved
from marketdata.models import Asset, canonical, is_symbol
from universes.catalogue import Malformed, Outdated, must_own
from universes.models import Membership, Universe

AT_ONCE = 5000  # symbols in one request
NOTE, TAGS, TAG = 1000, 20, 40  # characters, tags, characters of a tag
REGRET = timedelta(minutes=1)  # a stay that ended so short a while ago is taken up again rather than begun anew


@dataclass
class Added:
    """What became of each symbol that was to be added, in canonical form; `malformed` as it was written, with why."""

    added: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)  # of those added: not stored before, so not confirmed yet
    already: list[str] = field(default_factory=list)
    malformed: list[tuple[str, str]] = field(default_factory=list)


def add(universe: Universe, user: User, symbols: Iterable[str], now: datetime | None = None) -> Added:
    """Add members by symbol, as people or providers write them; whatever is well-formed is added.

    A symbol that nobody keeps yet becomes an asset that no provider has confirmed; the next refresh finds out. Two who
    add at once both succeed: whoever comes second finds a member.
    """
    must_own(universe, user)
    now = now or timezone.now()
    report = Added()
    with transaction.atomic():
        Universe.objects.select_for_update().get(pk=universe.pk)
        known = assets_of(symbols, report)
        assets = list({asset.pk: asset for asset in known.values()}.values())
        members = set(universe.memberships.current().values_list("asset_id", flat=True))
        joining = [asset for asset in assets if asset.pk not in members]
        report.already = [asset.symbol for asset in assets if asset.pk in members]
        report.added = [asset.symbol for asset in joining]
        _join(universe, joining, now)
    return report


def remove(universe: Universe, user: User, symbols: Iterable[str], now: datetime | None = None) -> list[str]:
    """End the stays of these members now; returns the symbols that were members. Their past in it stays."""
    must_own(universe, user)
    now = now or timezone.now()
    stays = universe.memberships.current().filter(asset__symbol__in=[canonical(symbol) for symbol in symbols])
    with transaction.atomic():
        leaving = stays.select_for_update(of=("self",)).order_by("asset__symbol").values_list("pk", "asset__symbol")
        found = dict(leaving)
        Membership.objects.filter(pk__in=found).update(left_at=Greatest(now, F("joined_at")))
    return list(found.values())


def arrange(universe: Universe, user: User, symbols: Sequence[str]) -> None:
    """Put these members first, in this order; the others follow as they stood. What is no member is passed over."""
    must_own(universe, user)
    with transaction.atomic():
        stays = _standing(universe)
        first = {canonical(symbol): None for symbol in symbols}  # each once
        _place([stays[symbol] for symbol in first if symbol in stays] + [
            pk for symbol, pk in stays.items() if symbol not in first
        ])  # fmt: skip


def move(universe: Universe, user: User, symbol: str, before: str = "") -> bool:
    """Put one member before another, or last; False if either is no member any more, and then nothing has moved."""
    must_own(universe, user)
    symbol, before = canonical(symbol), canonical(before)
    with transaction.atomic():
        stays = _standing(universe)
        if symbol not in stays or (before and before not in stays):
            return False
        order = [other for other in stays if other != symbol]
        order.insert(order.index(before) if before and before != symbol else len(order), symbol)
        if before != symbol:
            _place([stays[other] for other in order])
    return True


def nudge(universe: Universe, user: User, symbol: str, by: int) -> bool:
    """Move one member that many places down, or up if `by` is negative; False if it is no member any more."""
    must_own(universe, user)
    symbol = canonical(symbol)
    with transaction.atomic():
        stays = _standing(universe)
        if symbol not in stays:
            return False
        order = list(stays)
        place = min(max(0, order.index(symbol) + by), len(order) - 1)
        order.remove(symbol)
        order.insert(place, symbol)
        _place([stays[other] for other in order])
    return True


def _standing(universe: Universe) -> dict[str, int]:
    """The open stays by symbol, in order; the universe is locked, so that two who move at once take turns."""
    Universe.objects.select_for_update().get(pk=universe.pk)
    stays = universe.memberships.current().order_by("position", "asset__symbol")
    return dict(stays.values_list("asset__symbol", "pk"))


def _place(stays: Sequence[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE universes_membership m SET position = o.place"
            " FROM unnest(%s::bigint[]) WITH ORDINALITY AS o (id, place) WHERE m.id = o.id AND m.position <> o.place",
            [list(stays)],
        )


def annotate(
    universe: Universe, user: User, symbol: str, note: str, tags: Iterable[str], *, version: int | None = None
) -> Membership:
    """Write a member's note and tags. With `version`, as it was read, a change made since is not overwritten.

    What is sent twice has been written once, which is no conflict. Raises `Malformed`, `Outdated`, and
    `Membership.DoesNotExist` if it is no member.
    """
    must_own(universe, user)
    told = {"note": clean_note(note), "tags": clean_tags(tags)}
    stay = universe.memberships.current().get(asset__symbol=canonical(symbol))
    found = Membership.objects.filter(pk=stay.pk, **({} if version is None else {"version": version}))
    written = found.update(version=F("version") + 1, **told)
    now = universe.memberships.select_related("asset").get(pk=stay.pk)
    if not written and {"note": now.note, "tags": now.tags} != told:
        raise Outdated(f"The note on {symbol} was changed elsewhere since it was opened.")
    return now


def retag(
    universe: Universe, user: User, symbols: Iterable[str], *, add: Iterable[str] = (), take: Iterable[str] = ()
) -> list[str]:
    """Put tags on several members and take others off; returns the symbols of those that changed.

    A tag is the same whatever its case. All or nothing: raises `Malformed` if one would have too many.
    """
    must_own(universe, user)
    adding, off = clean_tags(add), {tag.casefold() for tag in clean_tags(take)}
    stays = universe.memberships.current().filter(asset__symbol__in=[canonical(symbol) for symbol in symbols])
    changed = []
    with transaction.atomic():
        for stay in stays.select_for_update(of=("self",)).select_related("asset").order_by("asset__symbol"):
            tags = clean_tags([*(tag for tag in stay.tags if tag.casefold() not in off), *adding])
            if tags != stay.tags:
                stay.tags, stay.version = tags, F("version") + 1
                changed.append(stay)
        Membership.objects.bulk_update(changed, ["tags", "version"], batch_size=500)
    return [stay.asset.symbol for stay in changed]


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Without repetitions whatever their case, in the order given. Raises `Malformed`."""
    found: dict[str, str] = {}
    for tag in tags:
        text = " ".join(tag.split())
        if len(text) > TAG or any(not sign.isprintable() for sign in text):
            raise Malformed(f"A tag has at most {TAG} plain characters: {text[:60]!r} does not fit.")
        if text:
            found.setdefault(text.casefold(), text)
    if len(found) > TAGS:
        raise Malformed(f"A member has at most {TAGS} tags; these are {len(found)}.")
    return list(found.values())


def clean_note(text: str) -> str:
    text = text.strip()
    if len(text) > NOTE:
        raise Malformed(f"A note has at most {NOTE} characters; this one has {len(text)}.")
    return text


def members(universe: Universe, at: datetime | None = None) -> QuerySet[Membership]:
    """The stays of those who are members now, or were at a moment; in the owner's order, with their assets.

    A stay counts from `joined_at` until just before `left_at`.
    """
    stays = universe.memberships.select_related("asset").order_by("position", "asset__symbol")
    if at is None:
        return stays.current()
    return stays.filter(Q(left_at=None) | Q(left_at__gt=at), joined_at__lte=at)


def former(universe: Universe) -> QuerySet[Membership]:
    """Stays that have ended, the latest first."""
    return universe.memberships.select_related("asset").exclude(left_at=None).order_by("-left_at", "asset__symbol")


def split_symbols(text: str) -> list[str]:
    """Symbols out of what somebody pasted: separated by spaces, commas, semicolons, tabs or lines."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


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


def assets_of(symbols: Iterable[str], report: Added) -> dict[str, Asset]:
    """The assets by canonical symbol, in the order given: found by symbol or a provider's spelling, else created.

    `report` gets what is malformed and what was created.
    """
    wanted = _well_formed(symbols, report)
    known = stored(wanted)
    new = [symbol for symbol in wanted if symbol not in known]
    # in one order for everybody: two who add the same would else wait for each other
    Asset.objects.bulk_create(unsaved(sorted(new)), ignore_conflicts=True)
    known |= {asset.symbol: asset for asset in Asset.objects.filter(symbol__in=new)}
    report.created = new
    return {symbol: known[symbol] for symbol in wanted}


def stored(symbols: Iterable[str]) -> dict[str, Asset]:
    """Of these canonical symbols those that are kept here, found by symbol or a provider's spelling."""
    wanted = list(symbols)
    known = {asset.symbol: asset for asset in Asset.objects.filter(symbol__in=wanted)}
    return known | _by_spelling([symbol for symbol in wanted if symbol not in known])


def _by_spelling(symbols: Sequence[str]) -> dict[str, Asset]:
    """Assets by the way a provider spells them, where exactly one asset is spelt so."""
    if not symbols:
        return {}
    found: dict[str, set[Asset]] = {}
    for asset in Asset.objects.filter(spellings__spelling__in=symbols).prefetch_related("spellings"):
        for spelling in asset.spellings.all():
            found.setdefault(spelling.spelling, set()).add(asset)
    return {symbol: next(iter(found[symbol])) for symbol in symbols if len(found.get(symbol, ())) == 1}


def last_place(universe: Universe) -> int:
    """Of all members there ever were, so that one who comes last stands last."""
    return universe.memberships.aggregate(last=Max("position"))["last"] or 0


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
    place = last_place(universe)
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
