"""Curation of assets, their series, and the candles that failed a check. Candles themselves are ingestion's alone."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chronos.core import figures
from chronos.core.admin import ReadOnly, TakesAlong
from marketdata import quarantine
from marketdata.jobs import refresh_asset
from marketdata.models import Asset, Candle, ProviderState, QuarantinedCandle, Series, Spelling

AT_ONCE = 50


class Spellings(admin.TabularInline):  # type: ignore[type-arg]
    model = Spelling
    extra = 1


@admin.register(Asset)
class AssetAdmin(TakesAlong):
    list_display = ("symbol", "name", "asset_class", "exchange", "currency", "sector", "validated_at", "is_sample")
    list_filter = ("asset_class", "is_sample", ("validated_at", admin.EmptyFieldListFilter), "currency", "exchange")
    search_fields = ("symbol", "name", "spellings__spelling")
    list_per_page = 50
    inlines = (Spellings,)
    readonly_fields = ("validated_at", "created_at", "is_sample")
    actions = ("refresh_now",)
    fieldsets = (
        (None, {"fields": ("symbol", "name", "asset_class", "exchange", "currency", "calendar")}),
        ("About it", {"fields": ("sector", "industry", "market_cap", "price_earnings", "dividend_yield", "metadata")}),
        ("State", {"fields": ("validated_at", "is_sample", "created_at")}),
    )

    def get_deleted_objects(
        self, objs: Iterable[Asset], request: HttpRequest
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        """An asset with candles stays: no foreign key would take them along, and they would be nobody's."""
        found, counts, needed, protected = super().get_deleted_objects(objs, request)
        protected = [*protected, *map(_why_it_stays, _with_candles(objs))]
        return found, counts, set() if protected else needed, protected

    @admin.action(description="Refresh now", permissions=["change"])
    def refresh_now(self, request: Any, chosen: QuerySet[Asset]) -> None:
        started = [refresh_asset(asset, request.user) for asset in chosen.filter(is_sample=False)[:AT_ONCE]]
        self.message_user(request, f"{figures.counted(len(started), 'refresh', 'refreshes')} started; see Activity.")


def _with_candles(assets: Iterable[Asset]) -> QuerySet[Asset]:
    stored = Candle.objects.filter(asset_id=OuterRef("pk"))
    return Asset.objects.filter(Exists(stored), pk__in=[asset.pk for asset in assets])


def _why_it_stays(asset: Asset) -> str:
    return (
        f"{asset} has stored candles. Nothing here deletes candles, and without their asset nobody would find them:"
        " take it out of its universes instead."
    )


@admin.register(Series)
class SeriesAdmin(ReadOnly):
    list_display = ("asset", "timeframe", "candles", "first_open", "last_open", "source", "revision", "checked_at",
                    "failed_at")  # fmt: skip
    list_filter = ("timeframe", "source", ("failed_at", admin.EmptyFieldListFilter))
    list_select_related = ("asset",)
    list_per_page = 50
    search_fields = ("asset__symbol", "asset__name")
    actions = ("refresh_now",)

    @admin.display(description="Candles", ordering="candle_count")
    def candles(self, series: Series) -> str:
        return figures.integer(series.candle_count)

    @admin.action(description="Refresh now", permissions=["act"])
    def refresh_now(self, request: Any, chosen: QuerySet[Series]) -> None:
        wanted = chosen.filter(asset__is_sample=False).select_related("asset")[:AT_ONCE]
        started = [refresh_asset(series.asset, request.user) for series in wanted]
        self.message_user(request, f"{figures.counted(len(started), 'refresh', 'refreshes')} started; see Activity.")


@admin.register(QuarantinedCandle)
class QuarantinedCandleAdmin(ReadOnly):
    list_display = ("asset", "timeframe", "open_time", "reason", "source", "state", "received_at", "decided_by")
    list_display_links = ("asset", "reason")
    list_filter = ("state", "timeframe", "source")
    list_select_related = ("asset",)
    list_per_page = 50
    search_fields = ("asset__symbol", "reason", "origin")
    date_hierarchy = "received_at"
    fields = ("asset", "timeframe", "open_time", "as_it_came", "reason", "source", "origin", "state", "received_at",
              "decided_at", "decided_by")  # fmt: skip
    actions = (
        "release",
        "reject",
    )

    @admin.display(description="As it came")
    def as_it_came(self, candle: QuarantinedCandle) -> SafeString:
        raw = candle.raw if isinstance(candle.raw, dict) else {"row": candle.raw}
        return format_html("<pre>{}</pre>", "\n".join(f"{column}: {value}" for column, value in raw.items()))

    @admin.action(description="Release: store it after all", permissions=["act"])
    def release(self, request: HttpRequest, chosen: QuerySet[QuarantinedCandle]) -> None:
        self._decide(request, chosen, quarantine.release, "released")

    @admin.action(description="Reject: never use it", permissions=["act"])
    def reject(self, request: HttpRequest, chosen: QuerySet[QuarantinedCandle]) -> None:
        self._decide(request, chosen, quarantine.reject, "rejected")

    def _decide(self, request: HttpRequest, chosen: QuerySet[QuarantinedCandle], verb: Any, word: str) -> None:
        """Each by itself: what can't be released is told, and keeps the others from nothing."""
        decided = 0
        for candle in chosen.select_related("asset"):
            try:
                verb(candle, request.user.get_username())
                decided += 1
            except quarantine.CannotDecide as error:
                self.message_user(request, str(error), messages.ERROR)
        if decided:
            self.message_user(request, f"{figures.counted(decided, 'candle')} {word}.", messages.SUCCESS)


@admin.register(ProviderState)
class ProviderStateAdmin(ReadOnly):
    list_display = ("provider", "answered_at", "failing_since", "failure")
