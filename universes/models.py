"""Universes and who is in them, when."""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.urls import reverse
from django.utils import timezone

from chronos.core.models import User
from marketdata.models import Asset


class Visibility(models.TextChoices):
    """Who sees a universe. A private one is its owner's and those people's to whom a `Share` opens it."""

    PRIVATE = "private", "Private"
    PUBLIC = "public", "Public"


class UniverseQuerySet(models.QuerySet["Universe"]):
    def kept(self) -> "UniverseQuerySet":
        """Without those that were deleted and can still be taken back."""
        return self.filter(deleted_at=None)

    def visible_to(self, user: User) -> "UniverseQuerySet":
        """A person's own, those shared with them and the public ones: what the policies let through anyway."""
        shared = Q(pk__in=Share.objects.filter(reader=user).values("universe_id"))
        return self.kept().filter(Q(owner=user) | Q(visibility=Visibility.PUBLIC) | shared)


class Universe(models.Model):
    """A named set of assets. Its members are dated stays, so that its past can be asked for."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="universes",
        help_text="Nobody for the house's curated universes (domains), which everybody sees.",
    )
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    visibility = models.CharField(max_length=7, choices=Visibility.choices, default=Visibility.PRIVATE)
    seed = models.SlugField(blank=True, help_text="Set on the seeded ones, so that seeding again finds them")
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    version = models.PositiveIntegerField(
        default=1, help_text="Raised by each edit of name, description or visibility, so that a lost update is noticed"
    )
    archived_at = models.DateTimeField(
        null=True, blank=True, help_text="Kept, but out of the way: neither listed nor refreshed"
    )
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="Gone for everybody; its owner can take that back until it is purged"
    )

    objects = UniverseQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name", "pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(owner__isnull=False) | Q(visibility="public"), name="universes_universe_owned_or_public"
            ),
            models.UniqueConstraint(fields=["seed"], condition=~Q(seed=""), name="universes_universe_seed"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("universes:universe", args=[self.pk])

    @property
    def is_domain(self) -> bool:
        """Curated and public: everybody sees it, staff keep it in the admin."""
        return self.owner_id is None

    @property
    def is_public(self) -> bool:
        return self.visibility == Visibility.PUBLIC


class Share(models.Model):
    """Opens a private universe to one more person, who reads it and changes nothing.

    A compound foreign key (migration 0004) holds `owner` equal to the universe's owner: the row's policy need not look
    at the universe, whose own policy looks here.
    """

    universe = models.ForeignKey(Universe, on_delete=models.CASCADE, related_name="shares")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="shares")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["reader__username"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["reader", "universe"], name="universes_share_once"),
            models.CheckConstraint(condition=~Q(reader=F("owner")), name="universes_share_with_somebody_else"),
        ]

    def __str__(self) -> str:
        return f"{self.universe_id} for {self.reader_id}"


class MembershipQuerySet(models.QuerySet["Membership"]):
    def current(self) -> "MembershipQuerySet":
        return self.filter(left_at=None)

    def followed(self) -> "MembershipQuerySet":
        """The open stays in universes that are neither put away nor deleted."""
        return self.current().filter(universe__archived_at=None, universe__deleted_at=None)


_STAY = Func("joined_at", "left_at", function="TSTZRANGE", output_field=DateTimeRangeField())


class Membership(models.Model):
    """One asset's stay in a universe, from `joined_at` until `left_at`; open while it is a member."""

    universe = models.ForeignKey(Universe, on_delete=models.CASCADE, related_name="memberships")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+",
        help_text="The universe's owner, for the row's policy",
    )  # fmt: skip
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="memberships")
    joined_at = models.DateTimeField(default=timezone.now)
    left_at = models.DateTimeField(null=True, blank=True)
    position = models.PositiveIntegerField(default=0, help_text="Its place in the owner's own order, from 1")
    note = models.CharField(max_length=1000, blank=True)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    version = models.PositiveIntegerField(default=1, help_text="Raised by each edit of note or tags")

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["joined_at", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["universe", "asset"], condition=Q(left_at=None), name="universes_membership_one_open_stay"
            ),
            ExclusionConstraint(
                name="universes_membership_no_overlapping_stays",
                expressions=[
                    ("universe", RangeOperators.EQUAL),
                    ("asset", RangeOperators.EQUAL),
                    (_STAY, RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(
                condition=Q(left_at=None) | Q(left_at__gte=F("joined_at")),
                name="universes_membership_leaves_after_joining",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asset} in {self.universe}"


class SymbolList(models.Model):
    """A list that somebody brought to a universe: kept as rows while it is looked at, and after for its undo.

    Compound foreign keys (migration 0005) hold `owner` equal to the universe's owner, and a row's to its list's.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "Not added yet"
        ADDING = "adding", "Being added"
        DONE = "done", "Added"
        UNDONE = "undone", "Undone"

    universe = models.ForeignKey(Universe, on_delete=models.CASCADE, related_name="lists")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    source = models.CharField(max_length=100, help_text="The file's name, or that it was pasted")
    state = models.CharField(max_length=6, choices=State.choices, default=State.DRAFT)
    remarks = models.JSONField(default=list, help_text="What was remarkable about the file")
    beyond = models.PositiveIntegerField(default=0, help_text="Lines that were more than a list may have")
    dated = models.BooleanField(default=False, help_text="It tells when members joined or left")
    base = models.PositiveIntegerField(default=0, help_text="The last place before it was added")
    created_at = models.DateTimeField(auto_now_add=True)
    added_at = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return self.source

    def get_absolute_url(self) -> str:
        return reverse("universes:list", args=[self.universe_id, self.pk])


class SymbolListRow(models.Model):
    """One symbol of a list: as written, what it is taken for, what is to be done with it, what became of it."""

    class Group(models.TextChoices):
        NEW = "new", "New"
        UNKNOWN = "unknown", "Unknown"
        DELISTED = "delisted", "Delisted"
        MALFORMED = "malformed", "Malformed"
        PENDING = "pending", "Being looked up"
        UNVERIFIED = "unverified", "Unverified"
        ALREADY = "already", "Already in"
        DUPLICATE = "duplicate", "Duplicates"

    class Decision(models.TextChoices):
        KEEP = "keep", "Kept as it is"
        SKIP = "skip", "Left out"
        MEND = "mend", "Mended"

    class Outcome(models.TextChoices):
        ADDED = "added", "Added"
        EXTENDED = "extended", "Extended"
        ALREADY = "already", "Already in"
        DUPLICATE = "duplicate", "Duplicate"
        SKIPPED = "skipped", "Left out"
        UNKNOWN = "unknown", "Unknown"
        DELISTED = "delisted", "Delisted"
        MALFORMED = "malformed", "Malformed"
        REFUSED = "refused", "Refused"

    symbol_list = models.ForeignKey(SymbolList, on_delete=models.CASCADE, related_name="rows")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    number = models.PositiveIntegerField(help_text="Its place in the list, from 1")
    line = models.PositiveIntegerField(help_text="The line of the file that it stands in")
    written = models.CharField(max_length=200, blank=True)
    symbol = models.CharField(max_length=60, blank=True, help_text="Canonical; empty if it is none")
    name = models.CharField(max_length=200, blank=True)
    joined_at = models.DateTimeField(null=True, blank=True)
    left_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=1000, blank=True)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    position = models.PositiveIntegerField(default=0)
    group = models.CharField(max_length=10, choices=Group.choices, default=Group.PENDING)
    reason = models.CharField(max_length=300, blank=True)
    suggestions = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    decision = models.CharField(max_length=4, choices=Decision.choices, blank=True)
    outcome = models.CharField(max_length=9, choices=Outcome.choices, blank=True)
    # Which stay it made or changed, and how that was before and after: what an undo goes by. No foreign key, because
    # one is asked without policies, and a stay that somebody else's row names could not be deleted.
    trace = models.JSONField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["symbol_list", "number"], name="universes_listrow_number")
        ]
        indexes: ClassVar = [models.Index(fields=["symbol_list", "group", "number"], name="universes_listrow_group")]

    def __str__(self) -> str:
        return self.written
