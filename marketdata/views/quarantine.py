"""Candles that failed a check, beside their stored neighbours, and what staff decide about them."""

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count, Max, Min, QuerySet, Window
from django.db.models.functions import RowNumber
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from marketdata import overview, quarantine, sources
from marketdata.loading import may_change
from marketdata.models import QuarantinedCandle, Timeframe, canonical
from marketdata.views import only_those_who_may, paged, searched

A_PAGE = 40
GROUPS_A_PAGE = 20
EXAMPLES = 2  # of each group, where there are several
AT_ONCE = 100  # chosen candles decided about in one go
GROUP_AT_ONCE = 20_000  # candles of a whole group
PROBLEMS_TOLD = 3
STATES = {"held": "Held", "released": "Released", "rejected": "Rejected", "all": "All"}
NUMBERS = ("open", "high", "low", "close", "volume")
DECISIONS = {
    "release": ("Release", "released", quarantine.release_many),
    "reject": ("Reject", "rejected", quarantine.reject_many),
}

_NUMBER = re.compile(r"\d{1,18}(\.\d{1,12})?").fullmatch
PLACES = {"before": "Before", "stored": "Stored for it", "after": "After"}


@require_safe
def held(request: Signed) -> HttpResponse:
    """Held candles (or those decided about) by series and reason: examples of each group, or all of the only one.

    The filters are in the address.
    """
    chosen = _filters(request)
    found = _found(chosen)
    groups = _groups(found)
    alone = len(groups) == 1
    total = sum(group["count"] for group in groups)
    pager, window = paged(request, total if alone else len(groups), A_PAGE if alone else GROUPS_A_PAGE)
    shown = groups if alone else groups[window]
    rows = list(_in_order(found)[window]) if alone else _examples(found, shown)
    context = {
        "groups": _grouped(rows, shown, chosen),
        "alone": alone,
        "total": figures.counted(total, "candle"),
        "states": list(STATES.items()),
        "kinds": QuarantinedCandle.Kind.choices,
        "timeframes": Timeframe.choices,
        "sources": [(name, sources.label(name)) for name in _sources()],
        "filtered": any(chosen[name] for name in ("q", "symbol", "timeframe", "kind", "source")),
        "may_decide": may_change(request.user, QuarantinedCandle),
        "back": request.GET.urlencode(),
        **{name: value for name, value in chosen.items() if name != "q"},
        "search": chosen["q"] or chosen["symbol"],
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
        "symbol": canonical(given.get("symbol", "")[:40]),
        "q": searched(request),
    }


def _found(chosen: dict[str, str]) -> QuerySet[QuarantinedCandle]:
    found = QuarantinedCandle.objects.all()
    if chosen["state"] != "all":
        found = found.filter(state=chosen["state"])
    for name in ("kind", "timeframe", "source"):
        if chosen[name]:
            found = found.filter(**{name: chosen[name]})
    if chosen["symbol"]:
        found = found.filter(asset__symbol=chosen["symbol"])
    return found.filter(asset__in=overview.assets_called(chosen["q"])) if chosen["q"] else found


def _sources() -> list[str]:
    return list(QuarantinedCandle.objects.order_by("source").values_list("source", flat=True).distinct())


def _in_order(found: QuerySet[QuarantinedCandle]) -> QuerySet[QuarantinedCandle]:
    return found.select_related("asset").order_by("asset__symbol", "timeframe", "kind", "open_time", "pk")


def _groups(found: QuerySet[QuarantinedCandle]) -> list[dict[str, Any]]:
    """Every series and reason, with the number of its candles and their span."""
    whose = ("asset__symbol", "timeframe", "kind")
    counted = found.order_by(*whose).values("asset", *whose)
    return list(counted.annotate(count=Count("pk"), first=Min("open_time"), last=Max("open_time")))


def _examples(found: QuerySet[QuarantinedCandle], groups: list[dict[str, Any]]) -> list[QuarantinedCandle]:
    """The first few candles of each group."""
    number = Window(RowNumber(), partition_by=["asset", "timeframe", "kind"], order_by=["open_time", "pk"])
    some = found.filter(asset__in={group["asset"] for group in groups}).annotate(number=number)
    wanted = {(group["asset"], group["timeframe"], group["kind"]) for group in groups}
    rows = _in_order(some.filter(number__lte=EXAMPLES))
    return [row for row in rows if (row.asset_id, row.timeframe, row.kind) in wanted]


def _grouped(
    rows: list[QuarantinedCandle], groups: list[dict[str, Any]], chosen: dict[str, str]
) -> list[dict[str, Any]]:
    """The rows of one page under headings that say how many there are of the kind in all."""
    near = quarantine.neighbours(rows)
    known = {(group["asset"], group["timeframe"], group["kind"]): group for group in groups}
    found = []
    for (asset, timeframe, kind), members in groupby(rows, lambda row: (row.asset, row.timeframe, row.kind)):
        group = known[asset.pk, timeframe, kind]
        shown = [_row(row, near.get(row.pk, {})) for row in members]
        only = {"symbol": asset.symbol, "timeframe": timeframe, "kind": kind}
        kept = {name: chosen[name] for name in ("state", "source") if chosen[name]}
        found.append(
            {
                "symbol": asset.symbol,
                "url": asset.get_absolute_url(),
                "timeframe": timeframe,
                "label": overview.kind_label(kind),
                "count": figures.counted(group["count"], "candle"),
                "span": _span(group, timeframe),
                "more": figures.integer(group["count"] - len(shown)) if group["count"] > len(shown) else "",
                "query": urlencode(only | kept),
                "all": Group(asset.pk, timeframe, kind, chosen["source"]).key if group["count"] > 1 else "",
                "rows": shown,
            }
        )
    return found


def _span(group: dict[str, Any], timeframe: str) -> str:
    when = figures.day if Timeframe(timeframe).is_daily else figures.moment
    if group["first"] is None or group["first"] == group["last"]:
        return ""
    return f"{when(group['first'])} – {when(group['last'])}"


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


@dataclass(frozen=True)
class Group:
    """All held candles of one series and reason; with `source`, only those that came from there."""

    asset: int
    timeframe: str
    kind: str
    source: str = ""

    @property
    def key(self) -> str:
        return f"{self.asset}:{self.timeframe}:{self.kind}:{self.source}"

    @classmethod
    def named(cls, key: str) -> "Group | None":
        asset, _, rest = key[:100].partition(":")
        timeframe, _, rest = rest.partition(":")
        kind, _, source = rest.partition(":")
        if not (asset.isdecimal() and len(asset) < 19 and timeframe in Timeframe.values):
            return None
        return cls(int(asset), timeframe, kind, source)

    def candles(self, last: int | None = None) -> QuerySet[QuarantinedCandle]:
        """The first of them by time; with `last`, none that came after the candle of that key."""
        found = QuarantinedCandle.objects.filter(
            asset=self.asset, timeframe=self.timeframe, kind=self.kind, state=QuarantinedCandle.State.HELD
        )
        if self.source:
            found = found.filter(source=self.source)
        if last is not None:
            found = found.filter(pk__lte=last)
        return found.select_related("asset").order_by("open_time", "pk")[:GROUP_AT_ONCE]


@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: Signed) -> HttpResponse:
    """Release or reject the chosen candles or a whole group: first a page that says what that does, then the deed."""
    only_those_who_may(request, QuarantinedCandle, "Staff release and reject candles; everybody may look at them.")
    given = request.POST if request.method == "POST" else request.GET
    word = given.get("decision", "")
    if word not in DECISIONS:
        raise Http404("Say whether to release or to reject, and which candles.")
    group = Group.named(given.get("group", ""))
    chosen = _of_group(group, given) if group else _chosen(given)
    if not chosen:
        messages.info(request, "No candle was chosen, so nothing was decided.")
        return redirect(_back(given))
    if request.method != "POST":
        return _decide_page(request, word, chosen, given, group)
    _decide(request, word, chosen)
    return redirect(_back(given))


def _chosen(given: QueryDict) -> list[QuarantinedCandle]:
    """Always in the same order: two who decide about the same series take their locks one after the other."""
    keys = [int(text) for text in given.getlist("id")[:AT_ONCE] if text.isdecimal() and len(text) < 19]
    found = QuarantinedCandle.objects.filter(pk__in=keys).select_related("asset")
    return list(found.order_by("asset_id", "timeframe", "open_time", "pk"))


def _of_group(group: Group, given: QueryDict) -> list[QuarantinedCandle]:
    """What has come since the page that asked was shown is not decided about."""
    last = given.get("last", "")
    return list(group.candles(int(last) if last.isdecimal() and len(last) < 19 else None))


def _back(given: QueryDict) -> str:
    """The list as it was filtered: only ever this list's own address."""
    kept = QueryDict(given.get("back", "")[:500])
    query = [(name, value) for name, values in kept.lists() for value in values]
    return f"{reverse('marketdata:quarantine')}{'?' if query else ''}{urlencode(query)}"


def _decide_page(
    request: Signed, word: str, chosen: list[QuarantinedCandle], given: QueryDict, group: Group | None
) -> HttpResponse:
    shown = chosen[: 2 * EXAMPLES] if group else chosen
    near = quarantine.neighbours(shown)
    rows = [_row(row, near.get(row.pk, {})) for row in shown]
    context = {
        "decision": word,
        "verb": DECISIONS[word][0],
        "rows": rows,
        "group": group.key if group else "",
        "last": max(row.pk for row in chosen),
        "more": figures.integer(len(chosen) - len(rows)) if len(chosen) > len(rows) else "",
        "count": figures.counted(len(chosen), "candle"),
        "over": quarantine.over(chosen),
        "back": given.get("back", "")[:500],
        "back_url": _back(given),
    }
    return page(request, "marketdata/decide.html", context)


def _decide(request: Signed, word: str, chosen: list[QuarantinedCandle]) -> None:
    """What can't be released is told, and keeps the others from nothing."""
    _, past, verb = DECISIONS[word]
    decided = verb(chosen, request.user.get_username())
    for problem in decided.problems[:PROBLEMS_TOLD]:
        messages.error(request, problem)
    if len(decided.problems) > PROBLEMS_TOLD:
        messages.error(request, f"And {figures.integer(len(decided.problems) - PROBLEMS_TOLD)} more like these.")
    if decided.count:
        messages.success(request, f"{figures.counted(decided.count, 'candle')} {past}.")
