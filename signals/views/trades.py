"""The trades of a backtest: a table that is sorted, narrowed and turned by the address, and the same as a file."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import OrderBy
from django.http import HttpRequest, QueryDict, StreamingHttpResponse
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from chronos.core import figures, tenancy
from chronos.core.hypermedia import Signed
from chronos.core.models import User
from chronos.core.streams import streamed
from chronos.core.tokens import open_to_tokens
from marketdata.views.assets import exact
from signals import numerals, telling
from signals.loading import backtest_of
from signals.models import Backtest, Trade
from signals.views.columns import Column, headed, sort_of

AT_ONCE = 50
CSV_ROWS = 5_000  # read at once for a file
CSV_COLUMNS = (
    "number", "position", "direction", "quantity", "entry_bar", "entry_time", "entry_price", "exit_bar", "exit_time",
    "exit_price", "exit_reason", "fees", "dividends", "profit", "profit_percent", "mae", "mfe", "risk", "ambiguous",
    "is_open",
)  # fmt: skip
SHAPING = ("sort", "direction", "reason", "ended", "ambiguous", "since", "until")  # what of an address is about trades
ENDS = {"won": "Won", "lost": "Lost", "open": "Still open"}


COLUMNS = {
    column.key: column
    for column in (
        Column("number", "#", "number", "sym", note="In the order of exits"),
        Column("direction", "Side", "direction", "side"),
        Column("quantity", "Quantity", "quantity", "number quantity", True),
        Column("entry", "Entry", "entry_time", "when entry"),
        Column("entry_price", "at", "entry_price", "number at"),
        Column("exit", "Exit", "exit_time", "when exit"),
        Column("exit_price", "at", "exit_price", "number at"),
        Column("reason", "Left by", "exit_reason", "reason"),
        Column("bars", "Bars", "held", "number bars", True, "From entry to exit"),
        Column("profit", "Profit", "profit", "number profit", True, "Fees and dividends included"),
        Column("change", "%", "profit_percent", "number change", True, "Of what was paid or received at its entry"),
        Column("mae", "MAE, %", "mae", "number mae", False, "How far it went against its entry at worst"),
        Column("mfe", "MFE, %", "mfe", "number mfe", True, "How far it went in favour at best"),
        Column("fees", "Fees", "fees", "number fees", True),
    )
}


def table(request: HttpRequest, backtest: Backtest) -> dict[str, Any]:
    """A page of the trades that the address asks for. `trade`: one that is marked, on whose page one lands."""
    asked = request.GET
    column, falling = sort_of(asked, COLUMNS, COLUMNS["number"])
    every = Trade.objects.filter(backtest=backtest)
    found = narrowed(every, asked)
    total, chosen = found.count(), _number(asked.get("trade", ""), -1)
    pages = max(1, -(-total // AT_ONCE))
    plain = not any(asked.get(key) for key in SHAPING)
    number = _number(asked.get("page", ""), 0)
    if not number:
        number = chosen // AT_ONCE + 1 if plain and chosen >= 0 else 1
    number = min(max(number, 1), pages)
    shown = found.order_by(_order(column, falling), "number")[(number - 1) * AT_ONCE : number * AT_ONCE]
    there = set(every.values_list("direction", "exit_reason", "ambiguous", "is_open").distinct())
    return {
        "rows": [row(backtest, trade, chosen) for trade in shown],
        "columns": [headed(request, one, column, falling, "trade") for one in COLUMNS.values()],
        "total": figures.counted(total, "trade"),
        "narrowed": any(asked.get(key) for key in SHAPING if key != "sort"),
        "any_trades": bool(there),
        "page": number,
        "pages": pages,
        "query": shaping(asked),
        "sort": asked.get("sort", ""),
        "asked": {key: asked.get(key, "")[:20] for key in SHAPING},
        "directions": _choices({direction for direction, *_ in there}, dict(Trade.Direction.choices)),
        "reasons": [
            (word, telling.reason(word)) for word in telling.REASONS if word in {each for _, each, *_ in there}
        ],
        "ends": [(key, label) for key, label in ENDS.items() if key != "open" or any(row[3] for row in there)],
        "has_ambiguous": any(row[2] for row in there),
    }


def _choices(there: set[str], labels: dict[Any, Any]) -> list[tuple[str, str]]:
    return [(value, label) for value, label in labels.items() if value in there] if len(there) > 1 else []


def narrowed(found: QuerySet[Trade], asked: QueryDict) -> QuerySet[Trade]:
    """Those that the address asks for; what it says and can't mean anything is left aside."""
    if asked.get("direction") in Trade.Direction.values:
        found = found.filter(direction=asked["direction"])
    if asked.get("reason") in telling.REASONS:
        found = found.filter(exit_reason=asked["reason"])
    ended = asked.get("ended")
    if ended == "open":
        found = found.filter(is_open=True)
    elif ended in ENDS:
        found = found.filter(Q(profit__gt=0) if ended == "won" else Q(profit__lte=0), is_open=False)
    if asked.get("ambiguous") == "1":
        found = found.filter(ambiguous=True)
    if since := numerals.day(asked.get("since", "")):
        found = found.filter(entry_time__gte=datetime.combine(since, time(), UTC))
    if until := numerals.day(asked.get("until", "")):
        found = found.filter(entry_time__lt=datetime.combine(until, time(), UTC) + timedelta(days=1))
    return found


def shaping(asked: QueryDict) -> str:
    """What of an address says which trades, in which order."""
    kept = QueryDict(mutable=True)
    for key in SHAPING:
        if value := asked.get(key, ""):
            kept[key] = value[:20]
    return kept.urlencode()


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else otherwise


def _order(column: Column, falling: bool) -> OrderBy:
    """What has no figure, as the exit of what is still open, comes last in either direction."""
    by = F("exit_bar") - F("entry_bar") if column.by == "held" else F(column.by)
    return OrderBy(by, descending=falling, nulls_last=True)


def row(backtest: Backtest, trade: Trade, chosen: int = -1) -> dict[str, Any]:
    """A trade's cells."""
    held = None if trade.exit_bar is None else trade.exit_bar - trade.entry_bar
    return {
        "number": trade.number,
        "name": trade.number + 1,
        "direction": trade.direction,
        "side": trade.get_direction_display(),
        "quantity": figures.price(trade.quantity) if trade.quantity % 1 else figures.integer(int(trade.quantity)),
        "entered": telling.moment(backtest, trade.entry_time),
        "entry_price": figures.price(trade.entry_price),
        "left": telling.moment(backtest, trade.exit_time),
        "exit_price": figures.price(trade.exit_price),
        "reason": "" if trade.is_open else telling.reason(trade.exit_reason),
        "bars": figures.integer(held),
        "unit": "bar" if held == 1 else "bars",
        "profit": figures.money(trade.profit),
        "change": figures.percent(trade.profit_percent),
        "way": figures.direction(trade.profit_percent),
        "mae": figures.percent(trade.mae, 1),
        "mfe": figures.percent(trade.mfe, 1),
        "fees": figures.money(trade.fees),
        "ambiguous": trade.ambiguous,
        "open": trade.is_open,
        "chosen": trade.number == chosen,
    }


# --- As a file ---------------------------------------------------------------------------------------------------


@open_to_tokens
@require_safe
def trades_csv(request: Signed, pk: int) -> StreamingHttpResponse:
    """All trades that the address asks for, in the order of their exits, exactly as stored."""
    found = backtest_of(request, pk)
    response = streamed(_csv(found.pk, request.user, request.GET), "text/csv; charset=utf-8")
    name = f"{slugify(str(found)) or 'backtest'}_{pk}_trades.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _csv(pk: int, user: User, asked: QueryDict) -> AsyncIterator[str]:
    yield ",".join(CSV_COLUMNS) + "\r\n"
    after: int | None = -1
    while after is not None:
        text, after = await sync_to_async(_csv_rows)(pk, user, asked, after)
        yield text


def _csv_rows(pk: int, user: User, asked: QueryDict, after: int) -> tuple[str, int | None]:
    """Some rows, and the number to go on from. The stream outlives the request, so it says whose it is."""
    with tenancy.acting_as(user):
        found = narrowed(Trade.objects.filter(backtest=pk, number__gt=after), asked).order_by("number")
        rows = list(found.values_list(*CSV_COLUMNS)[:CSV_ROWS])
    text = "".join(",".join(_cell(value) for value in row) + "\r\n" for row in rows)
    return text, rows[-1][0] if len(rows) == CSV_ROWS else None


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, (int, float, str)):
        return repr(value) if isinstance(value, float) else str(value)
    return exact(value)
