"""People's strategies and backtests, to look at: what is somebody's own nobody else changes."""

from django.contrib import admin

from chronos.core import figures
from chronos.core.admin import ReadOnly
from signals.models import Backtest, Strategy


@admin.register(Strategy)
class StrategyAdmin(ReadOnly):
    list_display = ("name", "owner", "kind", "created_at", "changed_at", "archived_at", "deleted_at")
    list_filter = (
        "kind",
        ("archived_at", admin.EmptyFieldListFilter),
        ("deleted_at", admin.EmptyFieldListFilter),
        ("owner", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("owner",)
    list_per_page = 50
    view_on_site = False
    search_fields = ("name", "kind", "owner__username")
    fields = ("name", "owner", "kind", "parameters", "notes", "version", "created_at", "changed_at", "archived_at",
              "deleted_at")  # fmt: skip


@admin.register(Backtest)
class BacktestAdmin(ReadOnly):
    list_display = ("pk", "strategy_name", "owner", "asset", "timeframe", "state", "total_return", "trade_count",
                    "duration", "created_at")  # fmt: skip
    list_display_links = ("pk", "strategy_name")
    list_filter = (
        "timeframe",
        "kind",
        ("failure", admin.EmptyFieldListFilter),
        ("deleted_at", admin.EmptyFieldListFilter),
        ("owner", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("owner", "asset")
    list_per_page = 50
    view_on_site = False
    search_fields = ("strategy_name", "asset__symbol", "owner__username")
    ordering = ("-pk",)
    date_hierarchy = "created_at"
    fields = ("strategy_name", "strategy", "kind", "parameters", "owner", "asset", "timeframe", "start", "end", "terms",
              "benchmark", "job", "rerun_of", "created_at", "finished_at", "failure", "duration", "first_open",
              "last_open", "bars", "code_version", "fingerprint", "revision", "actions_digest", "checksum", "warnings",
              "metrics", "note", "deleted_at")  # fmt: skip

    @admin.display(description="State")
    def state(self, backtest: Backtest) -> str:
        return "Failed" if backtest.failed else "Not finished" if backtest.unfinished else "Done"

    @admin.display(description="Seconds", ordering="seconds")
    def duration(self, backtest: Backtest) -> str:
        return figures.NOTHING if backtest.seconds is None else f"{backtest.seconds:.2f}"
