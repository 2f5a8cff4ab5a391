"""The list of strategies, and one with its backtests."""

from datetime import datetime
from typing import Any

from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.expressions import OrderBy
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from chronos.core.models import User
from signals import catalogue, wording
from signals.loading import strategy_of
from signals.models import Backtest, Strategy, state_of
from signals.views.columns import Column, headed, sort_of

STATES = {"queued": "Waiting", "running": "Running", "failed": "Failed", "cancelled": "Cancelled"}
AT_ONCE = 50  # strategies on a page
NEWEST = 20  # backtests on a strategy's page
# What a list of backtests shows of each: parameters, terms, metrics and warnings may be long.
COLUMNS = ("pk", "strategy_id", "strategy_name", "asset__symbol", "timeframe", "first_open", "last_open", "created_at",
           "finished_at", "failure", "job__state", "job__summary", "stale", "total_return", "cagr", "sharpe_ratio",
           "max_drawdown", "trade_count")  # fmt: skip


SORTS = {
    column.key: column
    for column in (
        Column("name", "Name", "name", "sym"),
        Column("runs", "Backtests", "runs", "number", falling=True),
        Column(
            "best", "Best, %", "best", "number best", falling=True, note="The highest total return of its backtests"
        ),
        Column("ran", "Last run", "ran_at", "age", falling=True),
    )
}


@require_safe
def strategies(request: Signed) -> HttpResponse:
    """A person's strategies, each with what its backtests showed. All that is chosen is in the address.

    `archived=1` shows what was put away instead; `deleted=` is the one that has just gone and can be taken back.
    """
    archived, text = request.GET.get("archived") == "1", request.GET.get("q", "").strip()[:100]
    column, falling = sort_of(request.GET, SORTS, SORTS["name"])
    found = catalogue.listed(request.user, archived=archived, text=text).order_by(_order(column, falling), "name", "pk")
    total = catalogue.sought(request.user, archived=archived, text=text).count()
    pages = max(1, -(-total // AT_ONCE))
    number = min(_number(request.GET.get("page", "")) or 1, pages)
    shown = list(found[(number - 1) * AT_ONCE : number * AT_ONCE])
    anything = bool(total) or Strategy.objects.of(request.user).filter(archived_at__isnull=not archived).exists()
    context = {
        "rows": _rows(request, shown), "total": figures.counted(total, "strategy", "strategies"), "anything": anything,
        "search": text, "sort": f"{'-' if falling else ''}{column.key}", "archived": archived,
        "columns": {key: headed(request, one, column, falling, "deleted") for key, one in SORTS.items()},
        "page": number, "pages": pages, "deleted": _deleted(request),
        "put_away": 0 if archived else Strategy.objects.of(request.user).exclude(archived_at=None).count(),
    }  # fmt: skip
    return page(request, "signals/strategies.html", context, part="list")


def _order(column: Column, falling: bool) -> OrderBy:
    """What has no figure comes last in either direction."""
    by = F(column.by)
    return by.desc(nulls_last=True) if falling else by.asc(nulls_last=True)


def _rows(request: Signed, shown: list[Strategy]) -> list[dict[str, Any]]:
    now = timezone.now()
    best, last = _best_and_last(request.user, shown)
    return [
        {
            "strategy": strategy,
            "kind": wording.label_of(strategy.kind),
            "parameters": wording.sentence(strategy.kind, strategy.parameters),
            "trouble": wording.trouble(strategy.kind, strategy.parameters),
            "runs": figures.integer(strategy.runs),
            "best": run(best[strategy.pk], now) if strategy.pk in best else None,
            "last": run(last[strategy.pk], now) if strategy.pk in last else None,
        }
        for strategy in shown
    ]


def _best_and_last(user: User, shown: list[Strategy]) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """By strategy, its backtest with the best return and its newest: found by indexes, however many there are."""
    runs = Backtest.objects.of(user)
    newest = runs.filter(strategy=OuterRef("pk")).order_by("-created_at", "-pk").values("pk")[:1]
    last = dict(Strategy.objects.filter(pk__in=[one.pk for one in shown]).values_list("pk", Subquery(newest)))
    best = {one.pk: one.best for one in shown if one.best is not None}
    wanted = Q(pk__in=last.values()) | Q(strategy__in=best, total_return__in=set(best.values()))
    rows = list(runs.filter(wanted).values(*COLUMNS).order_by("pk"))
    return (
        {row["strategy_id"]: row for row in rows if row["total_return"] == best.get(row["strategy_id"], "none")},
        {row["strategy_id"]: row for row in rows if row["pk"] == last.get(row["strategy_id"])},
    )


def _deleted(request: Signed) -> Strategy | None:
    """The strategy that the address says was just deleted, while that is recent enough to offer it back."""
    pk = _number(request.GET.get("deleted", ""))
    recent = timezone.now() - catalogue.UNDO
    return Strategy.objects.filter(pk=pk, owner=request.user, deleted_at__gt=recent).first() if pk else None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else 0


# --- One strategy ------------------------------------------------------------------------------------------------


@require_safe
def strategy(request: Signed, pk: int) -> HttpResponse:
    """What it is, and its newest backtests."""
    found = strategy_of(request, pk)
    runs = Backtest.objects.of(request.user).filter(strategy=found)
    now = timezone.now()
    newest = [run(row, now) for row in runs.order_by("-created_at", "-pk").values(*COLUMNS)[:NEWEST]]
    total = runs.count() if len(newest) == NEWEST else len(newest)
    kind = wording.kind_of(found.kind)
    context = {
        "strategy": found,
        "kind": kind,
        "kind_label": wording.label_of(found.kind),
        "parameters": wording.parameters(found.kind, found.parameters),
        "trouble": wording.trouble(found.kind, found.parameters),
        "warmup": wording.warmup(found.kind, found.parameters),
        "runs": newest,
        "total": figures.counted(total, "backtest"),
        "more": total > len(newest),
        "stays": figures.counted(total, "backtest") if total else "",
        "made": figures.ago(found.created_at, now),
        "changed": figures.ago(found.changed_at, now) if found.version > 1 else "",
        "changed_at": figures.moment(found.changed_at),
    }
    return page(request, "signals/strategy.html", context)


# --- A backtest in a list ----------------------------------------------------------------------------------------


def run(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A backtest's cells, of the `COLUMNS` of its row. For `signals/runs.html`, wherever that stands."""
    spans = row["first_open"] and row["last_open"]
    state = state_of(row["finished_at"], row["failure"], row["job__state"])
    return {
        "pk": row["pk"],
        "strategy_pk": row["strategy_id"],
        "strategy": row["strategy_name"],
        "symbol": row["asset__symbol"],
        "timeframe": row["timeframe"],
        "range": f"{figures.day(row['first_open'])} – {figures.day(row['last_open'])}" if spans else figures.NOTHING,
        "state": state,
        "says": STATES.get(state, ""),
        "failure": row["failure"] or (row["job__summary"] if state == "failed" else ""),
        "stale": row["stale"],
        "total_return": figures.percent(row["total_return"]),
        "direction": figures.direction(row["total_return"]),
        "cagr": figures.percent(row["cagr"]),
        "sharpe_ratio": figures.ratio(row["sharpe_ratio"]),
        "max_drawdown": figures.percent(row["max_drawdown"]),
        "trades": figures.integer(row["trade_count"]),
        "when": figures.ago(row["created_at"], now),
        "at": figures.moment(row["created_at"]),
    }
