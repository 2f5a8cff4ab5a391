"""A person's backtests as a table: which columns, which of them by what filters, in what order, and which page.

What is wanted is read from an address (`Wish`), whatever is written there. Two queries count and facet all of them in
one pass each; the rows are those of one page alone.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Case, Count, F, FloatField, Func, IntegerField, Max, Q, QuerySet, Value, When
from django.db.models.expressions import BaseExpression
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import QueryDict

from chronos.core import figures
from chronos.core.models import Job, User
from marketdata.models import Asset, CorporateAction, Series, Timeframe
from signals import backtests, cells, models, numerals, telling
from signals.measures import MEASURES, Measure
from signals.models import HEADLINES, Backtest, Strategy
from signals.strategies import registry

A_PAGE = 50
LONGEST, MOST = 100, 20  # characters of a filter's value, values of one filter
LOOKED_AT = 200  # finished ones that are looked at for what is stale, before those are filtered
BIG = 2**31 - 1
NO_STRATEGY = "no strategy of yours"
A_QUARTER = timedelta(days=92)
STATES = {
    "done": ("done", models.DONE),
    "open": ("waiting or running", models.OPEN),
    "failed": ("failed", models.FAILED),
    "cancelled": ("cancelled", models.CANCELLED),
}


# --- Columns -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """`by` is what it is sorted by, in the database; `text` how it reads, `value` what a file holds.

    `measure`: the figure that it shows, if it is one; those without a column of their own are read out of all metrics.
    """

    key: str
    label: str
    by: str
    text: Callable[[Backtest], str]
    value: Callable[[Backtest], Any]
    unit: str = ""
    kind: str = ""
    short: str = ""
    falling: bool = False  # how it is sorted at first
    note: str = ""
    measure: Measure | None = None

    @property
    def heading(self) -> str:
        return f"{self.short or self.label}{f', {self.unit}' if self.unit else ''}"


def _moment(value: datetime | None) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if value else ""


def span(one: Backtest) -> str:
    """The candles that it ran on; of an unfinished one those that were asked for."""
    first, last = one.first_open or one.start, one.last_open or telling.last_wanted(one)
    if one.finished_at is None and not (first and last):
        return f"from {figures.day(first)}" if first else f"to {figures.day(last)}" if last else "all"
    return f"{figures.day(first)} – {figures.day(last)}" if first and last else figures.NOTHING


def months(one: Backtest) -> str:
    """The same in short, where the months say enough: "Jan 2000 – Mar 2024"."""
    first, last = one.first_open, one.last_open
    return f"{first:%b %Y} – {last:%b %Y}" if first and last and last - first > A_QUARTER else span(one)


def _figure(key: str, name: str, short: str = "", unit: str = "") -> Column:
    measure = MEASURES[name]
    stored = name in HEADLINES
    unit = unit or ("%" if measure.kind in ("change", "share") else "")

    def value(one: Backtest) -> Any:
        return getattr(one, name if stored else f"metric_{name}", None)

    def text(one: Backtest) -> str:
        return cells.written(value(one), measure.kind).removesuffix(" %")

    return Column(
        key, measure.label, name if stored else f"metric_{name}", text, value, unit=unit, short=short,
        kind="number change" if name == "total_return" else "number", falling=measure.better != "lower",
        note=measure.explanation, measure=measure,
    )  # fmt: skip


COLUMNS: tuple[Column, ...] = (
    Column("strategy", "Strategy", "strategy_name", lambda one: one.strategy_name, lambda one: one.strategy_name,
           kind="sym"),
    Column("asset", "Asset", "asset__symbol", lambda one: one.asset.symbol, lambda one: one.asset.symbol, kind="asset"),
    Column("timeframe", "Timeframe", "frame", lambda one: one.timeframe, lambda one: one.timeframe, kind="frame",
           short="Candles"),
    Column("span", "Time range", "first_open", months,
           lambda one: f"{_moment(one.first_open)}/{_moment(one.last_open)}" if one.first_open else "", kind="span"),
    Column("state", "State", "place", lambda one: one.state, lambda one: one.state, kind="standing-of"),
    _figure("return", "total_return", "Return"),
    _figure("cagr", "cagr"),
    _figure("sharpe", "sharpe_ratio", "Sharpe"),
    _figure("drawdown", "max_drawdown", "Drawdown"),
    _figure("win", "win_rate", "Wins"),
    _figure("factor", "profit_factor", "Factor"),
    _figure("trades", "trade_count", "Trades"),
    _figure("hold", "hold_return", "Holding"),
    _figure("volatility", "volatility"),
    _figure("sortino", "sortino_ratio", "Sortino"),
    _figure("calmar", "calmar_ratio", "Calmar"),
    _figure("edge", "psr", "Edge"),
    _figure("expectancy", "expectancy"),
    _figure("exposure", "time_in_market", "In market"),
    _figure("fees", "fees_paid", "Fees"),
    Column("warnings", "Warnings", "warned", lambda one: figures.integer(one.warned) if one.warned else "",
           lambda one: one.warned, kind="number warned", short="Warned", falling=True),
    Column("note", "Note", "note", lambda one: one.note, lambda one: one.note, kind="note"),
    Column("run", "Run", "created_at", lambda one: figures.moment(one.created_at), lambda one: _moment(one.created_at),
           kind="age", falling=True),
)  # fmt: skip
BY_KEY = {column.key: column for column in COLUMNS}
ALWAYS = ("strategy",)
USUAL = ("strategy", "asset", "timeframe", "span", "return", "cagr", "sharpe", "drawdown", "win", "factor", "trades",
         "warnings", "run")  # fmt: skip
NEWEST = BY_KEY["run"]
_FRAMES = [timeframe.value for timeframe in Timeframe]


# --- What an address asks for ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """Whatever in an address is nothing we know is passed over."""

    columns: tuple[Column, ...]
    sort: Column
    falling: bool
    text: str = ""
    filters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stale: bool = False
    since: date | None = None
    until: date | None = None
    trades: int | None = None
    page: int = 1

    @property
    def filtered(self) -> bool:
        return bool(self.text or self.filters or self.stale or self.since or self.until or self.trades is not None)


FILTERS = {"strategy": "Strategy", "kind": "Kind", "asset": "Asset", "timeframe": "Candles", "state": "State"}


def wish(asked: QueryDict, usual: Sequence[str] = ()) -> Wish:
    """Read an address; `usual` are the columns where it names none."""
    named = [key for part in asked.getlist("cols")[:50] for key in part[:500].split(",")]
    sort = asked.get("sort", "")[:LONGEST]
    column, falling = BY_KEY.get(sort.removeprefix("-")), sort.startswith("-")
    if column is None:
        column, falling = NEWEST, True
    filters = {}
    for key in FILTERS:
        wanted = (value.strip()[:LONGEST] for value in asked.getlist(key)[:MOST])
        if values := tuple(dict.fromkeys(value for value in wanted if value)):
            filters[key] = values
    return Wish(
        columns=_chosen(named or usual), sort=column, falling=falling,
        text=" ".join(asked.get("q", "").split())[:LONGEST], filters=filters,
        stale=asked.get("stale") == "1",
        since=numerals.day(asked.get("since", "")), until=numerals.day(asked.get("until", "")),
        trades=_number(asked.get("trades", "")), page=max(1, _number(asked.get("page", "")) or 1),
    )  # fmt: skip


def _chosen(keys: Iterable[str]) -> tuple[Column, ...]:
    known = {key for key in keys if key in BY_KEY}
    wanted = {*ALWAYS, *(known or USUAL)}
    return tuple(column for column in COLUMNS if column.key in wanted)


def _number(text: str) -> int | None:
    text = text.strip()
    return min(int(text), BIG) if text.isascii() and text.isdecimal() and len(text) < 16 else None


# --- What is found -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facet:
    """A value that a filter can have, and how many of all have it."""

    value: str
    words: str
    count: int
    active: bool


@dataclass
class Table:
    """`rows` are those of one page; `matching` counts all that pass, `total` all.

    `facets` are there if they were asked for; `words` are those of the filters that are on, by filter and value.
    """

    wish: Wish
    rows: list[Backtest]
    total: int
    matching: int
    page: int
    pages: int
    facets: dict[str, list[Facet]]
    words: dict[tuple[str, str], str]


def read(user: User, wanted: Wish, *, faceted: bool = True) -> Table:
    """One page of the table. What is stale among its rows is found out now."""
    facets = facets_of(user, wanted) if faceted else {}
    total = Backtest.objects.of(user).count()
    found = matching(user, wanted)
    hits = found.count() if wanted.filtered else total
    pages = max(1, math.ceil(hits / A_PAGE))
    number = min(wanted.page, pages)
    rows = list(_shown(ordered(found, wanted), wanted)[(number - 1) * A_PAGE : number * A_PAGE])
    complete(rows)
    backtests.look_for_stale(rows)
    return Table(wanted, rows, total, hits, number, pages, facets, _words(user, wanted))


def _words(user: User, wanted: Wish) -> dict[tuple[str, str], str]:
    """What people call the values of the filters that are on."""
    kinds = registry.kinds()
    words = {(key, value): value for key, values in wanted.filters.items() for value in values}
    words |= {("kind", value): kinds[value].label for value in wanted.filters.get("kind", ()) if value in kinds}
    words |= {("state", value): STATES[value][0] for value in wanted.filters.get("state", ()) if value in STATES}
    if asked := wanted.filters.get("strategy"):
        mine = Strategy.objects.filter(_with_numbers(asked), owner=user).values_list("pk", "name")
        words |= {("strategy", str(pk)): name for pk, name in mine} | {("strategy", "none"): NO_STRATEGY}
    return words


def whole(user: User, wanted: Wish) -> list[Backtest]:
    """All rows that match, for a file."""
    rows = list(_shown(ordered(matching(user, wanted), wanted), wanted))
    complete(rows)
    return rows


def one(user: User, pk: int, wanted: Wish) -> Backtest | None:
    """The row of one of them."""
    rows = list(_shown(Backtest.objects.of(user).filter(pk=pk), wanted))
    complete(rows)
    backtests.look_for_stale(rows)
    return rows[0] if rows else None


# All that a row or a look at whether it is stale needs: parameters, terms, metrics and warnings may be long.
_ROW = (
    "owner_id", "strategy_id", "strategy_name", "kind", "timeframe", "start", "end", "created_at", "finished_at",
    "failure", "read_from", "first_open", "last_open", "fingerprint", "revision", "checked_revision", "stale",
    "actions_digest", "note", "rerun_of_id", "job_id", *HEADLINES, "asset__symbol", "asset__name", "asset__is_sample",
    "asset__asset_class",
)  # fmt: skip


def _shown(found: QuerySet[Backtest], wanted: Wish) -> QuerySet[Backtest]:
    more = {"warned": _WARNED} | {f"metric_{name}": _metric(name) for name in _extra(wanted)}
    return found.annotate(**more).select_related("asset").only(*_ROW)


def _extra(wanted: Wish) -> list[str]:
    shown = [column.measure.name for column in (*wanted.columns, wanted.sort) if column.measure]
    return [name for name in dict.fromkeys(shown) if name not in HEADLINES]


# Notes stand among them, and are none.
_WARNED: Any = Func(
    F("warnings"), function="jsonb_array_length", output_field=IntegerField(),
    template="""%(function)s(jsonb_path_query_array(%(expressions)s, '$[*] ? (@.level == "warning")'))""",
)  # fmt: skip


def _metric(name: str) -> BaseExpression:
    return Cast(KeyTextTransform(name, "metrics"), FloatField())


def matching(user: User, wanted: Wish) -> QuerySet[Backtest]:
    found: QuerySet[Backtest] = Backtest.objects.of(user)
    for key, values in wanted.filters.items():
        found = found.filter(_FILTERS[key](values))
    for word in wanted.text.split():
        kinds = [kind.name for kind in registry.kinds().values() if word.lower() in kind.label.lower()]
        found = found.filter(
            Q(strategy_name__icontains=word) | Q(kind__icontains=word) | Q(kind__in=kinds)
            | Q(asset__symbol__icontains=word) | Q(asset__name__icontains=word) | Q(note__icontains=word)
        )  # fmt: skip
    if wanted.stale:
        _look_at_revised(user)
        found = found.exclude(stale="")
    if wanted.since:
        found = found.filter(created_at__gte=datetime.combine(wanted.since, time.min, UTC))
    if wanted.until:
        found = found.filter(created_at__lt=datetime.combine(wanted.until, time.min, UTC) + timedelta(days=1))
    if wanted.trades is not None:
        found = found.filter(trade_count__gte=wanted.trades)
    return found


def _with_numbers(values: Sequence[str]) -> Q:
    return Q(pk__in=[int(value) for value in values if value.isascii() and value.isdecimal() and len(value) < 16])


def _of_strategies(values: Sequence[str]) -> Q:
    pks = [int(value) for value in values if value.isascii() and value.isdecimal() and len(value) < 16]
    return Q(strategy__in=pks) | (Q(strategy=None) if "none" in values else Q(pk__in=[]))


def _on_assets(values: Sequence[str]) -> Q:
    """By their keys, which an index has beside the owner."""
    return Q(asset__in=list(Asset.objects.filter(symbol__in=values).values_list("pk", flat=True)))


def _in_states(values: Sequence[str]) -> Q:
    return Q(*(STATES[value][1] for value in values if value in STATES), _connector=Q.OR) or Q(pk__in=[])


_FILTERS: dict[str, Callable[[Sequence[str]], Q]] = {
    "strategy": _of_strategies,
    "kind": lambda values: Q(kind__in=values),
    "asset": _on_assets,
    "timeframe": lambda values: Q(timeframe__in=values),
    "state": _in_states,
}


def ordered(found: QuerySet[Backtest], wanted: Wish) -> QuerySet[Backtest]:
    """What has no figure comes last in either direction; best first is an index of each headline's."""
    by, falling = wanted.sort.by, wanted.falling
    if by == "created_at":
        return found.order_by("-created_at", "-pk") if falling else found.order_by("created_at", "pk")
    if by == "frame":
        length = Case(*(When(timeframe=name, then=Value(place)) for place, name in enumerate(_FRAMES)))
        found = found.annotate(frame=length)
    elif by == "place":
        state = Case(When(finished_at=None, then=Value(0)), When(failure="", then=Value(2)), default=Value(1))
        found = found.annotate(place=state)
    elif by == "warned":
        found = found.annotate(**{by: _WARNED})
    elif by.startswith("metric_"):
        found = found.annotate(**{by: _metric(by.removeprefix("metric_"))})
    order = F(by).desc(nulls_last=True) if falling else F(by).asc(nulls_last=True)
    return found.order_by(order, "-pk")


def complete(rows: Sequence[Backtest]) -> None:
    """Give those without an end their job, all at once."""
    waiting = [row for row in rows if row.finished_at is None]
    jobs = Job.objects.in_bulk([row.job_id for row in waiting if row.job_id]) if waiting else {}
    for row in waiting:
        row.job = jobs.get(row.job_id) if row.job_id else None


def _look_at_revised(user: User) -> None:
    """Finished ones whose candles have another revision than when they were last looked at, the newest first; and all
    that ran before a split or dividend of their asset was learnt or corrected."""
    finished = Backtest.objects.of(user).finished().filter(stale="")
    looked = finished.order_by().values_list("asset_id", "timeframe", "checked_revision").distinct()
    every = set(looked)
    now = Series.objects.filter(asset__in={asset for asset, *_ in every}).order_by()
    revisions = {(asset, name): revision for asset, name, revision in now.values_list("asset", "timeframe", "revision")}
    doubtful = Q(pk__in=[])
    for asset, timeframe, revision in every:
        if revisions.get((asset, timeframe)) != revision:
            doubtful |= Q(asset=asset, timeframe=timeframe, checked_revision=revision)
    if doubtful != Q(pk__in=[]):
        backtests.look_for_stale(finished.filter(doubtful).select_related("asset").only(*_ROW)[:LOOKED_AT])
    acted = Q(pk__in=[])
    changes = CorporateAction.objects.filter(asset__in={asset for asset, *_ in every}).values_list("asset")
    for asset, learnt, corrected in changes.annotate(Max("known_at"), Max("superseded_at")):
        acted |= Q(asset=asset, finished_at__lt=max(learnt, corrected or learnt))
    if acted != Q(pk__in=[]):
        backtests.look_for_actions(finished.filter(acted))


# --- Facets ------------------------------------------------------------------------------------------------------

_Group = tuple[tuple[int | None, str, int, str, str], int]


def _groups(user: User) -> list[_Group]:
    """How many there are of each combination of what is filtered by, in one pass."""
    state = Case(When(finished_at=None, then=Value("?")), When(failure="", then=Value("done")), default=Value("failed"))
    found = Backtest.objects.of(user).annotate(ended=state).order_by()
    rows = found.values_list("strategy_id", "kind", "asset_id", "timeframe", "ended").annotate(count=Count("pk"))
    return [
        ((strategy, kind, asset, timeframe, ended), count) for strategy, kind, asset, timeframe, ended, count in rows
    ]


def facets_of(user: User, wanted: Wish) -> dict[str, list[Facet]]:
    """The values of each filter among all, the commonest first."""
    counts: dict[str, Counter[Any]] = {key: Counter() for key in FILTERS}
    for (strategy, kind, asset, timeframe, ended), count in _groups(user):
        for key, value in (("strategy", strategy), ("kind", kind), ("asset", asset), ("timeframe", timeframe),
                           ("state", ended)):  # fmt: skip
            counts[key][value] += count
    if counts["state"].pop("?", 0):
        _split_waiting(user, counts["state"])
    names = dict(
        Strategy.objects.filter(owner=user, pk__in=[pk for pk in counts["strategy"] if pk]).values_list("pk", "name")
    )
    symbols = dict(Asset.objects.filter(pk__in=list(counts["asset"])).values_list("pk", "symbol"))
    kinds = registry.kinds()
    told: dict[str, Counter[tuple[str, str]]] = {key: Counter() for key in FILTERS}
    for pk, count in counts["strategy"].items():
        told["strategy"][(str(pk), names.get(pk, "deleted")) if pk else ("none", NO_STRATEGY)] += count
    for kind, count in counts["kind"].items():
        told["kind"][kind, kinds[kind].label if kind in kinds else kind] += count
    for asset, count in counts["asset"].items():
        told["asset"][symbols[asset], symbols[asset]] += count
    for timeframe, count in counts["timeframe"].items():
        told["timeframe"][timeframe, timeframe] += count
    for state, count in counts["state"].items():
        told["state"][state, STATES[state][0]] += count
    for key, values in wanted.filters.items():
        known = {value for value, _ in told[key]}
        told[key].update({(value, value): 0 for value in values if value not in known})
    return {
        key: [Facet(value, words, count, value in wanted.filters.get(key, ())) for (value, words), count in
              sorted(each.items(), key=lambda item: (-item[1], item[0][1].casefold()))]
        for key, each in told.items()
        if len(each) > 1 or key in wanted.filters
    }  # fmt: skip


def _split_waiting(user: User, states: Counter[str]) -> None:
    """Those without an end are waiting, running, or were stopped: their jobs know."""
    waiting = Backtest.objects.of(user).filter(finished_at=None).order_by()
    for state, count in waiting.values_list("job__state").annotate(count=Count("pk")):
        states["open" if state in Job.UNFINISHED else "failed" if state == Job.State.FAILED else "cancelled"] += count
