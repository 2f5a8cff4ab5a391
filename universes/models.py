"""Universes and who is in them, when."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from chronos.core.models import User
from marketdata.models import Asset


class Visibility(models.TextChoices):
    PRIVATE = "private", "Private"
    PUBLIC = "public", "Public"


class UniverseQuerySet(models.QuerySet["Universe"]):
    def visible_to(self, user: User) -> "UniverseQuerySet":
        """A person's own and the public ones: what the policies let through anyway, said so that an index is used."""
        return self.filter(Q(owner=user) | Q(visibility=Visibility.PUBLIC))


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


class MembershipQuerySet(models.QuerySet["Membership"]):
    def current(self) -> "MembershipQuerySet":
        return self.filter(left_at=None)


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

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["joined_at", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["universe", "asset"], condition=Q(left_at=None), name="universes_membership_one_open_stay"
            ),
            models.CheckConstraint(
                condition=Q(left_at=None) | Q(left_at__gte=F("joined_at")),
                name="universes_membership_leaves_after_joining",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asset} in {self.universe}"
