"""Curation of universes: the public ones above all, which nobody can change on the pages."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.forms import ModelForm
from django.forms.formsets import DELETION_FIELD_NAME
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest

from chronos.core import figures
from universes.jobs import refresh
from universes.models import Membership, Share, Universe

AT_ONCE = 20


class StayForm(ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any] | None:
        given = super().clean() or self.cleaned_data
        joined, left = given.get("joined_at"), given.get("left_at")
        if joined and left and left < joined:
            self.add_error("left_at", "It left before it joined: give a later time here or an earlier one there.")
        return given


class Stays(BaseInlineFormSet):  # type: ignore[type-arg]
    """Refuses overlapping stays of an asset, across both tables of the page: the database would, without words."""

    def clean(self) -> None:
        super().clean()
        stays = self._stays()
        for form in self.forms:
            if form.cleaned_data.get(DELETION_FIELD_NAME):
                continue
            asset_id, joined = form.instance.asset_id, form.cleaned_data.get("joined_at")
            if asset_id is None or joined is None or form.has_error("left_at"):
                continue
            left = form.cleaned_data.get("left_at")
            if any(joined < (end or FOREVER) and begin < (left or FOREVER) for begin, end in stays[asset_id]):
                field = "left_at" if "left_at" in form.fields else "asset"
                form.add_error(field, f"{form.instance.asset} {AGAIN[field]}")
            stays[asset_id].append((joined, left))

    def _stays(self) -> defaultdict[int, list[tuple[datetime, datetime | None]]]:
        """Stays outside this table by asset. The other table, checked before, leaves its own on the universe.

        The universe's row is locked as by whoever adds a member on the pages: nobody joins between check and save.
        """
        if "stays" not in vars(self.instance):
            self.instance.stays = defaultdict(list)
            if self.instance.pk is not None:
                Universe.objects.select_for_update(of=("self",)).filter(pk=self.instance.pk).first()
                shown = [form.instance.pk for form in self.forms if form.instance.pk]
                others = Membership.objects.filter(universe=self.instance).exclude(pk__in=shown)
                for asset_id, joined, left in others.values_list("asset_id", "joined_at", "left_at"):
                    self.instance.stays[asset_id].append((joined, left))
        return vars(self.instance)["stays"]  # type: ignore[no-any-return]


FOREVER = datetime.max.replace(tzinfo=UTC)
AGAIN = {
    "asset": "is a member already at that time: end its stay above before it joins again.",
    "left_at": "was in this universe at that time already, by another stay: no two stays of an asset may overlap.",
}


class Members(admin.TabularInline):  # type: ignore[type-arg]
    """Who is or was in it. The asset can't be changed: end the stay and begin another."""

    model = Membership
    form = StayForm
    formset = Stays
    verbose_name_plural = "Stays"
    extra = 0
    max_num = 0
    can_delete = True
    fields = ("asset", "joined_at", "left_at")
    readonly_fields = ("asset",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("asset", "universe").order_by("left_at", "asset__symbol")


class NewMembers(admin.TabularInline):  # type: ignore[type-arg]
    """Apart from those who are in it, because a chooser in every row would cost a query a row."""

    model = Membership
    form = StayForm
    formset = Stays
    verbose_name = "new member"
    verbose_name_plural = "New members"
    extra = 1
    fields = ("asset", "joined_at")
    autocomplete_fields = ("asset",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).none()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Readers(admin.TabularInline):  # type: ignore[type-arg]
    """Who else sees a private universe. A domain needs none: everybody sees it."""

    model = Share
    verbose_name = "reader"
    verbose_name_plural = "Readers"
    extra = 0
    fields = ("reader", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("reader",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Share]:
        return super().get_queryset(request).select_related("reader", "universe")


@admin.register(Universe)
class UniverseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "owner", "visibility", "members", "changed_at")
    list_filter = (
        "visibility",
        ("archived_at", admin.EmptyFieldListFilter),
        ("owner", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("owner",)
    list_per_page = 50
    search_fields = ("name", "description", "owner__username", "memberships__asset__symbol")
    fields = (
        "name", "description", "owner", "visibility", "seed", "created_at", "changed_at", "archived_at", "deleted_at",
    )  # fmt: skip
    readonly_fields = ("seed", "created_at", "changed_at", "archived_at", "deleted_at")
    autocomplete_fields = ("owner",)
    inlines = (Members, NewMembers)
    actions = ("refresh_now",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Universe]:
        size = Count("memberships", filter=Q(memberships__left_at=None))
        found: QuerySet[Universe] = super().get_queryset(request).annotate(size=size)
        return found

    def get_inlines(self, request: HttpRequest, obj: Universe | None) -> Any:
        return (*self.inlines, Readers) if obj and obj.owner_id else self.inlines

    @admin.display(description="Members", ordering="size")
    def members(self, universe: Any) -> int:
        return int(universe.size)

    def save_model(self, request: HttpRequest, universe: Universe, form: Any, change: bool) -> None:
        """A stay belongs to whom its universe belongs: the row's policy asks for it.

        Nobody reads what is their own, and a domain has neither readers nor lists of somebody's.
        """
        if change and "owner" in form.changed_data:
            mine = Q() if universe.owner_id is None else Q(reader=universe.owner_id)
            universe.shares.filter(mine).delete()
            if universe.owner_id is None:
                universe.lists.all().delete()
        super().save_model(request, universe, form, change)
        if change and "owner" in form.changed_data:
            universe.memberships.update(owner_id=universe.owner_id)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """What ends is written before what begins: at no moment has an asset two open stays."""
        rows = formset.save(commit=False)
        for row in formset.deleted_objects:
            row.delete()
        for row in sorted(rows, key=lambda row: isinstance(row, Membership) and row.left_at is None):
            if isinstance(row, Share) and form.instance.owner_id in (None, row.reader_id):
                continue  # who sees it anyway
            row.owner_id = form.instance.owner_id
            row.save()

    @admin.action(description="Refresh now", permissions=["change"])
    def refresh_now(self, request: Any, chosen: QuerySet[Universe]) -> None:
        started = [refresh(universe, request.user) for universe in chosen[:AT_ONCE]]
        self.message_user(request, f"{figures.counted(len(started), 'refresh', 'refreshes')} started; see Activity.")
