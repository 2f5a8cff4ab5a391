"""Curation of universes: the public ones above all, which nobody can change on the pages."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest

from chronos.core import figures
from universes.jobs import refresh
from universes.models import Membership, Universe

AT_ONCE = 20


class Members(admin.TabularInline):  # type: ignore[type-arg]
    """Who is or was in it. The asset can't be changed: end the stay and begin another."""

    model = Membership
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


@admin.register(Universe)
class UniverseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "owner", "visibility", "members", "changed_at")
    list_filter = ("visibility", ("owner", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("owner",)
    list_per_page = 50
    search_fields = ("name", "description", "owner__username", "memberships__asset__symbol")
    fields = ("name", "description", "owner", "visibility", "seed", "created_at", "changed_at")
    readonly_fields = ("seed", "created_at", "changed_at")
    autocomplete_fields = ("owner",)
    inlines = (Members, NewMembers)
    actions = ("refresh_now",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Universe]:
        size = Count("memberships", filter=Q(memberships__left_at=None))
        found: QuerySet[Universe] = super().get_queryset(request).annotate(size=size)
        return found

    @admin.display(description="Members", ordering="size")
    def members(self, universe: Any) -> int:
        return int(universe.size)

    def save_model(self, request: HttpRequest, universe: Universe, form: Any, change: bool) -> None:
        """A stay belongs to whom its universe belongs: the row's policy asks for it."""
        super().save_model(request, universe, form, change)
        if change and "owner" in form.changed_data:
            universe.memberships.update(owner_id=universe.owner_id)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for stay in formset.save(commit=False):
            stay.owner_id = form.instance.owner_id
            stay.save()
        for stay in formset.deleted_objects:
            stay.delete()

    @admin.action(description="Refresh now", permissions=["view"])
    def refresh_now(self, request: Any, chosen: QuerySet[Universe]) -> None:
        started = [refresh(universe, request.user) for universe in chosen[:AT_ONCE]]
        self.message_user(request, f"{figures.counted(len(started), 'refresh', 'refreshes')} started; see Activity.")
