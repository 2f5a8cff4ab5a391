"""Candles that failed a check, beside their stored neighbours, and what staff decide about them."""

import re
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import connection
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from marketdata import overview, quarantine, sources
from marketdata.models import QuarantinedCandle, Timeframe
from marketdata.views import may_change, only_those_who_may, paged, searched

A_PAGE = 40
AT_ONCE = 100  # candles decided about in one go
STATES = {"held": "Held", "released": "Released", "rejected": "Rejected", "all": "All"}
NUMBERS = ("open", "high", "low", "close", "volume")
DECISIONS = {
    "release": ("Release", "released", quarantine.release_many),
    "reject": ("Reject", "rejected", quarantine.reject_many),
}

# `at` arrives with each candle, so that one statement finds the neighbours of a whole page.
_NEIGHBOURS = """
SELECT wanted.id, near.place, near.open_time, near.open, near.high, near.low, near.close, near.volume, near.source
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[]) AS wanted (id, asset_id, timeframe, at)
CROSS JOIN LATERAL (
    (SELECT 'before' AS place, c.* FROM marketdata_candle c
     WHERE c.asset_id = wanted.asset_id AND c.timeframe = wanted.timeframe AND c.open_time < wanted.at
     ORDER BY c.open_time DESC LIMIT 1)
    UNION ALL
    (SELECT 'stored', c.* FROM marketdata_candle c
     WHERE c.asset_id = wanted.asset_id AND c.timeframe = wanted.timeframe AND c.open_time = wanted.at)
    UNION ALL
    (SELECT 'after', c.* FROM marketdata_candle c
     WHERE c.asset_id = wanted.asset_id AND c.timeframe = wanted.timeframe AND c.open_time > wanted.at
     ORDER BY c.open_time LIMIT 1)
) AS near
"""
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,12})?").fullmatch
PLACES = {"before": "Before", "stored": "Stored for it", "after": "After"}


@require_safe
def held(request: Signed) -> HttpResponse:
    """Held candles (or those decided about), grouped by series and reason. The filters are in the address."""
    chosen = _filters(request)
    found = _found(chosen)
    total = found.count()
    pager, window = paged(request, total, A_PAGE)
    rows = list(found.select_related("asset").order_by("asset__symbol", "timeframe", "kind", "open_time", "pk")[window])
    context = {
        "groups": _grouped(rows, found),
        "total": figures.counted(total, "candle"),
        "states": list(STATES.items()),
        "kinds": QuarantinedCandle.Kind.choices,
        "timeframes": Timeframe.choices,
        "sources": [(name, sources.label(name)) for name in _sources()],
        "filtered": any(chosen[name] for name in ("q", "timeframe", "kind", "source")),
        "may_decide": may_change(request, QuarantinedCandle),
        "back": request.GET.urlencode(),
        **{name: value for name, value in chosen.items() if name != "q"},
        "search": chosen["q"],
        **pager,
    }
    return page(request, "marketdata/quarantine.html", context, part="list")


def _filters(request: HttpRequest) -> dict[str, str]:
    """What the address says, with the words that mean nothing left out."""
    given = request.GET
    state, kind, timeframe = given.get("state", "held"), given.get("kind", ""), given.get("timeframe", "")
    return {
        "state": state if state in STATES else "held",
        "kind": kind if kind in QuarantinedCandle.Kind.values else "",
        "timeframe": timeframe if timeframe in Timeframe.values else "",
        "source": given.get("source", "")[:40],
        "q": searched(request),
    }


def _found(chosen: dict[str, str]) -> QuerySet[QuarantinedCandle]:
    found = QuarantinedCandle.objects.all()
    if chosen["state"] != "all":
        found = found.filter(state=chosen["state"])
    for name in ("kind", "timeframe", "source"):
        if chosen[name]:
            found = found.filter(**{name: chosen[name]})
    return found.filter(asset__in=overview.assets_called(chosen["q"])) if chosen["q"] else found


def _sources() -> list[str]:
    return list(QuarantinedCandle.objects.order_by("source").values_list("source", flat=True).distinct())


def _grouped(rows: list[QuarantinedCandle], found: QuerySet[QuarantinedCandle]) -> list[dict[str, Any]]:
    """The rows of one page under headings that say how many there are of the kind in all."""
    near = neighbours(rows)
    whole = found.filter(asset__in={row.asset_id for row in rows}).order_by().values("asset", "timeframe", "kind")
    counts = {(g["asset"], g["timeframe"], g["kind"]): g["count"] for g in whole.annotate(count=Count("pk"))}
    return [
        {
            "symbol": asset.symbol,
            "url": asset.get_absolute_url(),
            "timeframe": timeframe,
            "label": overview.kind_label(kind),
            "count": figures.counted(counts.get((asset.pk, timeframe, kind), 0), "candle"),
            "rows": [_row(row, near.get(row.pk, {})) for row in group],
        }
        for (asset, timeframe, kind), group in groupby(rows, lambda row: (row.asset, row.timeframe, row.kind))
    ]


def neighbours(rows: list[QuarantinedCandle]) -> dict[int, dict[str, list[Any]]]:
    """By id of a held candle: the stored candles before, at and after its time; one query."""
    timed = [row for row in rows if row.open_time]
    if not timed:
        return {}
    columns: list[Any] = [
        [row.pk for row in timed],
        [row.asset_id for row in timed],
        [row.timeframe for row in timed],
        [row.open_time for row in timed],
    ]
    found: dict[int, dict[str, list[Any]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_NEIGHBOURS, columns)
        for pk, place, *candle in cursor.fetchall():
            found.setdefault(pk, {})[place] = candle
    return found


def _row(row: QuarantinedCandle, near: dict[str, list[Any]]) -> dict[str, Any]:
    raw = row.raw if isinstance(row.raw, dict) else {}
    when = figures.day if Timeframe(row.timeframe).is_daily else figures.moment
    stored = {place: _stored(candle, when) for place, candle in near.items()}
    at = when(row.open_time) if row.open_time else str(raw.get("time") or "no time")[:40]
    lines = [stored["before"] | {"place": PLACES["before"]}] if "before" in stored else []
    values = [_written(raw.get(name)) for name in NUMBERS]
    lines += [{"place": "As received", "at": at, "values": values, "source": sources.label(row.source), "held": True}]
    lines += [stored[place] | {"place": PLACES[place]} for place in ("stored", "after") if place in stored]
    decided = f"{row.get_state_display()} by {row.decided_by or 'nobody named'}, {figures.ago(row.decided_at)}"
    return {
        "pk": row.pk,
        "name": f"{row.asset.symbol} {row.timeframe} {at}",
        "at": at,
        "reason": row.reason,
        "origin": row.origin,
        "source": sources.label(row.source),
        "received": figures.ago(row.received_at),
        "received_at": f"{figures.moment(row.received_at)} UTC",
        "state": row.state,
        "decided": "" if row.state == QuarantinedCandle.State.HELD else decided,
        "lines": lines,
        "over": "stored" in stored,
    }


def _stored(candle: list[Any], when: Any) -> dict[str, Any]:
    at, first, high, low, close, volume, source = candle
    values = [_written(value) for value in (first, high, low, close, volume)]
    return {"at": when(at), "values": values, "source": sources.label(source)}


def _written(value: Any) -> str:
    """A number in all its digits, for comparing; whatever else came as it came, if it is not too long."""
    text = figures.NOTHING if value is None or value == "" else str(value)
    if _NUMBER(text):
        whole, _, decimals = text.partition(".")
        decimals = decimals.rstrip("0")
        return figures.integer(int(whole)) + (f".{decimals}" if decimals else "")
    return text if len(text) <= 18 else f"{text[:17]}…"


# --- Deciding ----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: Signed) -> HttpResponse:
    """Release or reject the chosen candles: first a page that says what that does to each, then the deed."""
    only_those_who_may(request, QuarantinedCandle, "Staff release and reject candles; everybody may look at them.")
    given = request.POST if request.method == "POST" else request.GET
    word = given.get("decision", "")
    if word not in DECISIONS:
        raise Http404("Say whether to release or to reject, and which candles.")
    chosen = _chosen(given)
    if not chosen:
        messages.info(request, "No candle was chosen, so nothing was decided.")
        return redirect(_back(given))
    if request.method != "POST":
        return _decide_page(request, word, chosen, given)
    _decide(request, word, chosen)
    return redirect(_back(given))


def _chosen(given: QueryDict) -> list[QuarantinedCandle]:
    """Always in the same order: two who decide about the same series take their locks one after the other."""
    keys = [int(text) for text in given.getlist("id")[:AT_ONCE] if text.isdecimal() and len(text) < 19]
    found = QuarantinedCandle.objects.filter(pk__in=keys).select_related("asset")
    return list(found.order_by("asset_id", "timeframe", "open_time", "pk"))


def _back(given: QueryDict) -> str:
    """The list as it was filtered: only ever this list's own address."""
    kept = QueryDict(given.get("back", "")[:500])
    query = [(name, value) for name, values in kept.lists() for value in values]
    return f"{reverse('marketdata:quarantine')}{'?' if query else ''}{urlencode(query)}"


def _decide_page(request: Signed, word: str, chosen: list[QuarantinedCandle], given: QueryDict) -> HttpResponse:
    near = neighbours(chosen)
    rows = [_row(row, near.get(row.pk, {})) for row in chosen]
    context = {
        "decision": word,
        "verb": DECISIONS[word][0],
        "rows": rows,
        "count": figures.counted(len(rows), "candle"),
        "over": sum(row["over"] for row in rows),
        "back": given.get("back", "")[:500],
        "back_url": _back(given),
    }
    return page(request, "marketdata/decide.html", context)


def _decide(request: Signed, word: str, chosen: list[QuarantinedCandle]) -> None:
    """What can't be released is told, and keeps the others from nothing."""
    _, past, verb = DECISIONS[word]
    decided = verb(chosen, request.user.get_username())
    for problem in decided.problems:
        messages.error(request, problem)
    if decided.count:
        messages.success(request, f"{figures.counted(decided.count, 'candle')} {past}.")
