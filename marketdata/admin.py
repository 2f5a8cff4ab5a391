"""Curation of assets, their series, and the candles that failed a check. Candles themselves are ingestion's alone."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chronos.core import figures
from chronos.core.admin import ReadOnly, TakesAlong
from marketdata import quarantine
from marketdata.calendars import check_code
from marketdata.jobs import refresh_asset
from marketdata.models import (
    Asset,
    Candle,
    CorporateAction,
    FallbackChain,
    FetchWindow,
    ProviderKey,
    ProviderQuota,
    ProviderState,
    QuarantinedCandle,
    Series,
    Spelling,
    Timeframe,
    TradingCalendar,
    TradingSession,
)

AT_ONCE = 50


class Spellings(admin.TabularInline):  # type: ignore[type-arg]
    model = Spelling
    extra = 1


@admin.register(Asset)
class AssetAdmin(TakesAlong):
    list_display = ("symbol", "name", "asset_class", "exchange", "currency", "sector", "validated_at", "is_sample")
    list_filter = (
        "asset_class",
        "is_sample",
        ("validated_at", admin.EmptyFieldListFilter),
        ("refuted_at", admin.EmptyFieldListFilter),
        "currency",
        "exchange",
    )
    search_fields = ("symbol", "name", "spellings__spelling")
    list_per_page = 50
    inlines = (Spellings,)
    readonly_fields = ("validated_at", "refuted_at", "facts_at", "created_at", "is_sample")
    actions = ("refresh_now",)
    fieldsets = (
        (None, {"fields": ("symbol", "name", "asset_class", "exchange", "currency", "calendar")}),
        ("About it", {"fields": ("sector", "industry", "market_cap", "price_earnings", "dividend_yield", "metadata")}),
        ("State", {"fields": ("validated_at", "refuted_at", "facts_at", "is_sample", "created_at")}),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """A calendar that does not exist is refused while it is written."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "calendar" and field is not None:
            field.validators.append(check_code)
        return field

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
    list_display = ("asset", "timeframe", "candles", "first_open", "last_open", "missing", "source", "revision",
                    "checked_at", "due_at", "failed_at")  # fmt: skip
    list_filter = ("timeframe", "source", "basis", ("failed_at", admin.EmptyFieldListFilter),
                   ("audited_at", admin.EmptyFieldListFilter))  # fmt: skip
    list_select_related = ("asset",)
    list_per_page = 50
    search_fields = ("asset__symbol", "asset__name")
    actions = ("refresh_now",)

    @admin.display(description="Candles", ordering="candle_count")
    def candles(self, series: Series) -> str:
        return figures.integer(series.candle_count)

    @admin.display(description="Missing", ordering="missing_count")
    def missing(self, series: Series) -> str:
        return figures.integer(series.missing_count) if series.audited_at else figures.NOTHING

    @admin.action(description="Refresh now", permissions=["act"])
    def refresh_now(self, request: Any, chosen: QuerySet[Series]) -> None:
        wanted = chosen.filter(asset__is_sample=False).select_related("asset")[:AT_ONCE]
        started = [refresh_asset(series.asset, request.user, Timeframe(series.timeframe)) for series in wanted]
        self.message_user(request, f"{figures.counted(len(started), 'refresh', 'refreshes')} started; see Activity.")


@admin.register(QuarantinedCandle)
class QuarantinedCandleAdmin(ReadOnly):
    list_display = ("asset", "timeframe", "open_time", "kind", "reason", "source", "state", "received_at", "decided_by")
    list_display_links = ("asset", "reason")
    list_filter = ("state", "kind", "timeframe", "source")
    list_select_related = ("asset",)
    list_per_page = 50
    search_fields = ("asset__symbol", "reason", "origin")
    date_hierarchy = "received_at"
    fields = ("asset", "timeframe", "open_time", "as_it_came", "kind", "reason", "source", "origin", "state",
              "received_at", "decided_at", "decided_by")  # fmt: skip
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
        self._decide(request, chosen, quarantine.release_many, "released")

    @admin.action(description="Reject: never use it", permissions=["act"])
    def reject(self, request: HttpRequest, chosen: QuerySet[QuarantinedCandle]) -> None:
        self._decide(request, chosen, quarantine.reject_many, "rejected")

    def _decide(self, request: HttpRequest, chosen: QuerySet[QuarantinedCandle], verb: Any, word: str) -> None:
        """What can't be released is told, and keeps the others from nothing."""
        decided = verb(chosen.select_related("asset"), request.user.get_username())
        for problem in decided.problems:
            self.message_user(request, problem, messages.ERROR)
        if decided.count:
            self.message_user(request, f"{figures.counted(decided.count, 'candle')} {word}.", messages.SUCCESS)


@admin.register(FetchWindow)
class FetchWindowAdmin(ReadOnly):
    list_display = ("asset", "timeframe", "provider", "since", "until", "state", "received", "inserted", "seconds",
                    "asked_at")  # fmt: skip
    list_filter = ("state", "provider", "timeframe", "error_class")
    list_select_related = ("asset",)
    list_per_page = 50
    search_fields = ("asset__symbol", "error")
    date_hierarchy = "asked_at"
    show_full_result_count = False  # a ledger grows


@admin.register(CorporateAction)
class CorporateActionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Looked at here. A wrong one is deleted, and what the source tells next is learnt afresh."""

    list_display = ("asset", "kind", "ex_date", "value", "basis", "source", "derived", "known_at", "superseded_at")
    list_filter = ("kind", "source", "derived", ("superseded_at", admin.EmptyFieldListFilter))
    list_select_related = ("asset",)
    list_per_page = 50
    search_fields = ("asset__symbol",)
    date_hierarchy = "ex_date"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(TradingCalendar)
class TradingCalendarAdmin(ReadOnly):
    list_display = ("code", "zone", "covers_from", "covers_until", "version", "loaded_at")
    search_fields = ("code",)
    fields = ("code", "zone", "covers_from", "covers_until", "version", "loaded_at", "next_sessions")

    @admin.display(description="Next sessions, UTC")
    def next_sessions(self, calendar: TradingCalendar) -> SafeString:
        """The next ten, half-days and breaks as they are."""
        coming = TradingSession.objects.filter(calendar=calendar.code, date__gte=timezone.now().date())
        lines = [
            f"{session.date:%a %Y-%m-%d}  {session.opens_at:%H:%M} – {session.closes_at:%H:%M}"
            + (f", break {session.break_from:%H:%M} – {session.break_until:%H:%M}" if session.break_from else "")
            for session in coming.order_by("date")[:10]
        ]
        return format_html("<pre>{}</pre>", "\n".join(lines) or "None are stored: this market is a rule, not a list.")


@admin.register(FallbackChain)
class FallbackChainAdmin(ReadOnly):
    """Changed on the Data page, where the names are checked."""

    list_display = ("asset_class", "order", "changed_at", "changed_by")
    fields = ("asset_class", "order", "changed_at", "changed_by")

    @admin.display(description="Order")
    def order(self, chain: FallbackChain) -> str:
        return " → ".join(map(str, chain.providers))


@admin.register(ProviderKey)
class ProviderKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Set on the Data page; to delete one here forgets it. The secret is shown nowhere."""

    list_display = ("provider", "set_at", "set_by")
    fields = ("provider", "set_at", "set_by")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ProviderQuota)
class ProviderQuotaAdmin(ReadOnly):
    list_display = ("provider", "day", "used", "limit", "exhausted_at")
    list_filter = ("provider",)
    date_hierarchy = "day"
    ordering = ("-day", "provider")


@admin.register(ProviderState)
class ProviderStateAdmin(ReadOnly):
    list_display = ("provider", "answered_at", "failing_since", "failure", "failures", "closed_until")
