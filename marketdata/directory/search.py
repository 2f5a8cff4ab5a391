"""Assets and listings found together: what is stored here and what directories know, by symbol, name and facts.

What comes first: the exact symbol; well-known lines whose symbol begins so, then whose name does, then whose name has
all words; the others in the same order; names that contain the text; near misses, when there is little else. Every
step reads a bounded number of rows by an index, and the later ones are only taken when the earlier ones brought too
little: so the answer is quick for `a` and `fund`, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from django.core.cache import cache
from django.db import connection
from django.urls import reverse

from marketdata.directory import exchanges
from marketdata.directory.folding import folded, words
from marketdata.directory.importance import WELL_KNOWN
from marketdata.directory.listings import CHOICES
from marketdata.directory.nearness import suggestions
from marketdata.models import Asset, AssetClass, CapClass, Listing, canonical

DEEPEST = 500  # nobody turns more pages; a word more finds it sooner
LONGEST = 100  # characters of a text that are read
WORDS = 8
FEW = 3  # hits, below which near misses are shown as well
WIDE = 1000  # rows of one step that are put in order
BONUS = 6000  # of importance, for what is stored here
UNLISTED = 20000  # importance of what is stored though no directory has it: somebody wanted it very much
FILTERS = ("asset_class", "exchange", "country", "sector", "industry", "cap_class")

# What half of all names have: nothing is alike because of it, and it would be slow to ask for.
_EVERYWHERE = frozenset((
    "ag", "bank", "capital", "class", "co", "common", "company", "corp", "corporation", "energy", "etf", "financial",
    "fund", "global", "group", "holding", "holdings", "inc", "income", "index", "industries", "international",
    "ishares", "limited", "ltd", "msci", "new", "nv", "of", "plc", "pt", "resources", "sa", "se", "shares", "spa",
    "technologies", "technology", "the", "trust", "ucits", "usd",
))  # fmt: skip

EXACT, SYMBOL, NAME, WORD, OTHER_SYMBOL, OTHER_WORD, INSIDE, NEAR = range(8)


@dataclass(frozen=True)
class Hit:
    """One thing that was found. `asset` if it is stored here, `listing` if a directory has it; one of them is there."""

    symbol: str
    step: int
    asset: Asset | None
    listing: Listing | None

    def _told(self, name: str) -> str:
        stored = getattr(self.asset, name) if self.asset else ""
        return stored or (getattr(self.listing, name) if self.listing else "")

    @property
    def name(self) -> str:
        return self._told("name")

    @property
    def asset_class(self) -> str:
        return AssetClass(self._told("asset_class")).label

    @property
    def exchange(self) -> str:
        return exchanges.name(self._told("exchange"))

    @property
    def country(self) -> str:
        return self._told("country")

    @property
    def currency(self) -> str:
        return self._told("currency")

    @property
    def sector(self) -> str:
        return self._told("sector")

    @property
    def industry(self) -> str:
        return self._told("industry")

    @property
    def cap_class(self) -> str:
        told = self._told("cap_class")
        return CapClass(told).label if told else ""

    @property
    def stored(self) -> bool:
        return self.asset is not None

    @property
    def url(self) -> str:
        return reverse("marketdata:asset", args=[self.symbol])


@dataclass(frozen=True)
class Found:
    """A page of hits, the likeliest first; `more` if a further page has more, `cut` if there are more and none has
    them, `near` if only near misses were found.
    """

    hits: list[Hit] = field(default_factory=list)
    more: bool = False
    cut: bool = False

    @property
    def near(self) -> bool:
        return bool(self.hits) and all(hit.step == NEAR for hit in self.hits)


def find(
    text: str,
    *,
    asset_class: str = "",
    exchange: str = "",
    country: str = "",
    sector: str = "",
    industry: str = "",
    cap_class: str = "",
    stored: bool = False,
    limit: int = 20,
    offset: int = 0,
) -> Found:
    """Search by symbol or name, filtered by facts; without a text, what is stored and then what is sought most.

    `stored`: only what is kept here. Never raises; accents, case and LIKE's signs in the text mean nothing.
    """
    told = (asset_class, exchange, country, sector, industry, cap_class)
    filters = {name: _clean(value) for name, value in zip(FILTERS, told, strict=True) if value}
    limit, offset = max(1, min(limit, DEEPEST)), max(0, min(offset, DEEPEST))
    work = _Search(_clean(text).strip(), filters, stored, offset + limit + 1)
    work.run()
    ranked = work.ranked()
    chosen = ranked[offset : offset + limit]
    left = len(ranked) > offset + limit
    more, cut = left and offset + limit < DEEPEST, left and offset + limit >= DEEPEST
    symbols = [symbol for symbol, _ in chosen]
    assets, listings = Asset.objects.in_bulk(symbols, field_name="symbol"), Listing.objects.in_bulk(symbols)
    hits = [Hit(symbol, step, assets.get(symbol), listings.get(symbol)) for symbol, step in chosen]
    return Found([hit for hit in hits if hit.asset or hit.listing], more, cut)


def _clean(text: str) -> str:
    """What the database can hold, and no more of it than one reads."""
    return text[:LONGEST].replace("\x00", "").encode("utf-8", "ignore").decode()


class _Search:
    """The steps of one search, each adding symbols with the step that found them, until there are enough."""

    def __init__(self, text: str, filters: dict[str, str], stored: bool, enough: int) -> None:
        self.text, self.only_stored, self.enough = text, stored, enough
        self.symbol, self.name, self.words = canonical(text), folded(text), words(text)[:WORDS]
        self.found: dict[str, tuple[int, int]] = {}  # symbol: step, and how much it is sought
        self.fits = "".join(f" AND {name} = %s" for name in filters)
        self.fitting = list(filters.values())
        self.parts: list[tuple[str, list[Any]]] = []

    def run(self) -> None:
        if not self.text:
            self._browse()
            return
        self._exact()
        self._stored()
        if not self.only_stored:
            self._known()
        self._ask()
        if self.only_stored:
            return
        if self._lacking():
            self._others()
            self._ask()
        if self._lacking() and len(self.name) > 2:
            self._listings(INSIDE, *self._inside(), wide=True)
            self._ask()
        if len(self.found) < FEW:
            self._near()

    def ranked(self) -> list[tuple[str, int]]:
        """Symbols with their steps, the likeliest first."""

        def rank(symbol: str) -> tuple[int, int, int, str]:
            step, sought = self.found[symbol]
            return step, -sought, len(symbol), symbol

        return [(symbol, self.found[symbol][0]) for symbol in sorted(self.found, key=rank)]

    def _lacking(self) -> bool:
        return len(self.found) < self.enough

    # --- The steps -----------------------------------------------------------------------------------------------

    def _exact(self) -> None:
        """The symbol itself, with a caret, as a provider spells it; or by its ISIN."""
        written = self.text.upper()
        symbols = [self.symbol, written, f"^{self.symbol}"]
        kept = ""
        if self.only_stored:
            kept = " AND symbol IN (SELECT symbol FROM marketdata_asset)"
        self._listings(EXACT, f"symbol = ANY(%s){kept}", [symbols])
        self._assets(EXACT, "symbol = ANY(%s)", [symbols])
        spelt = "id IN (SELECT asset_id FROM marketdata_spelling WHERE upper(spelling) = %s)"
        self._assets(EXACT, spelt, [written])
        if len(written) == 12:
            self._listings(EXACT, f"isin <> '' AND isin = %s{kept}", [written])

    def _stored(self) -> None:
        """What is stored by the same steps: there is far less of it, and it comes first at equal merit."""
        for step, condition, values in self._likely():
            self._assets(step, condition, values)
        if len(self.name) > 2:
            self._assets(INSIDE, *self._inside())

    def _known(self) -> None:
        for step, condition, values in self._likely():
            self._listings(step, f"importance >= {WELL_KNOWN} AND {condition}", values)

    def _likely(self) -> Iterator[tuple[int, str, list[Any]]]:
        for before in ("", "^"):
            yield SYMBOL, *self._begins(before)
        if query := self._query():
            yield NAME, "marketdata_folded(name) LIKE %s", [_inert(self.name) + "%"]
            yield WORD, "marketdata_words(name) @@ %s::tsquery", [query]

    def _others(self) -> None:
        """The rest of the master."""
        self._listings(OTHER_SYMBOL, *self._begins(), wide=True)
        if query := self._query():
            self._listings(OTHER_WORD, "marketdata_words(name) @@ %s::tsquery", [query], wide=True)

    def _near(self) -> None:
        """Slips in a symbol, then names that look alike among the well-known."""
        near = [symbol for symbol in suggestions(self.text, 5) if symbol not in self.found]
        places = {symbol: len(near) - place for place, symbol in enumerate(near)}
        self._listings(NEAR, "symbol = ANY(%s)", [near])
        self._assets(NEAR, "symbol = ANY(%s)", [near])
        self._ask()
        for symbol in set(near) & set(self.found):
            self.found[symbol] = NEAR, BONUS * 10 + places[symbol]
        telling = " ".join(word for word in self.words if word not in _EVERYWHERE)
        if len(telling) > 3:
            alike = f"importance >= {WELL_KNOWN} AND %s <%% marketdata_folded(name)"
            self._listings(NEAR, alike, [telling])
            self._ask()

    def _browse(self) -> None:
        """What is stored, by symbol, then what is sought most."""
        statement = f"SELECT symbol FROM marketdata_asset WHERE true{self.fits} ORDER BY symbol LIMIT {self.enough}"  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(statement, self.fitting)
            for place, (symbol,) in enumerate(cursor.fetchall()):
                self.found[symbol] = EXACT, -place
        if self.only_stored or not self._lacking():
            return
        self.enough += len(self.found)  # some of those sought most are among the stored
        self._listings(SYMBOL, f"importance >= {WELL_KNOWN}", [])
        self._ask()
        if self._lacking():
            self._listings(OTHER_SYMBOL, f"importance < {WELL_KNOWN}", [], wide=True)
            self._ask()

    # --- What they are made of -----------------------------------------------------------------------------------

    def _begins(self, before: str = "") -> tuple[str, list[Any]]:
        """A range of the key rather than LIKE: no sign of the text means anything."""
        start = before + self.symbol
        return "symbol >= %s AND symbol < %s", [start, start + chr(0x10FFFF)]

    def _inside(self) -> tuple[str, list[Any]]:
        return "marketdata_folded(name) LIKE %s", [f"%{_inert(self.name)}%"]

    def _query(self) -> str:
        """Every word as the beginning of one; of single letters everything would be the beginning."""
        terms = [f"'{word}':*" if len(word) > 1 else f"'{word}'" for word in self.words]
        return " & ".join(terms) if any(len(word) > 1 for word in self.words) else ""

    def _listings(self, step: int, condition: str, values: list[Any], *, wide: bool = False) -> None:
        """`wide`: of very many rows only so many, in the order of the index, are put in order."""
        rows = f"SELECT symbol, importance FROM marketdata_listing WHERE {condition}{self.fits}"  # noqa: S608
        if wide:
            rows = f"SELECT symbol, importance FROM ({rows} LIMIT {max(WIDE, self.enough)}) AS piece"  # noqa: S608
        # With a text the words' index must be asked: down the line of importance every name would be taken apart.
        sought = "importance + 0" if self.text else "importance"
        self._add(step, f"{rows} ORDER BY {sought} DESC, length(symbol), symbol LIMIT {self.enough}", values)

    def _assets(self, step: int, condition: str, values: list[Any]) -> None:
        self._add(
            step,
            f"SELECT a.symbol, coalesce(l.importance, {UNLISTED}) + {BONUS} AS importance FROM"  # noqa: S608
            f" (SELECT symbol FROM marketdata_asset WHERE {condition}{self.fits} LIMIT {WIDE}) AS a"
            " LEFT JOIN marketdata_listing l ON l.symbol = a.symbol"
            f" ORDER BY 2 DESC, length(a.symbol), 1 LIMIT {self.enough}",
            values,
        )

    def _add(self, step: int, rows: str, values: list[Any]) -> None:
        part = f"(SELECT symbol, importance, {step} FROM ({rows}) AS part)"  # noqa: S608
        self.parts.append((part, [*values, *self.fitting]))

    def _ask(self) -> None:
        """All steps that were added, in one statement."""
        statement = " UNION ALL ".join(part for part, _ in self.parts)
        with connection.cursor() as cursor, _by_index(cursor):
            cursor.execute(statement, list(chain.from_iterable(values for _, values in self.parts)))
            for symbol, sought, step in cursor.fetchall():
                before = self.found.get(symbol)
                if before is None or (step, -sought) < (before[0], -before[1]):
                    self.found[symbol] = step, max(sought, before[1] if before else 0)
        self.parts = []


@contextmanager
def _by_index(cursor: Any) -> Iterator[None]:
    """Without plans that read whole tables: with a LIMIT the planner hopes to be lucky early, and is not."""
    cursor.execute("SELECT set_config('enable_seqscan', 'off', false)")
    try:
        yield
    finally:
        if not connection.needs_rollback:
            cursor.execute("SELECT set_config('enable_seqscan', 'on', false)")


def _inert(text: str) -> str:
    """Without meaning for LIKE."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


# --- What can be chosen ------------------------------------------------------------------------------------------

REMEMBERED = 3600


def choices() -> dict[str, list[tuple[str, str]]]:
    """What each filter can be, as (value, label): what occurs among listings and assets. Kept for an hour, and made
    anew when a directory is loaded.
    """
    kept: dict[str, list[tuple[str, str]]] | None = cache.get(CHOICES)
    if kept is None:
        kept = {name: _choices(name) for name in FILTERS}
        cache.set(CHOICES, kept, REMEMBERED)
    return kept


# One look a value, rather than every row: a loose scan of the index.
_VALUES = """
WITH RECURSIVE told AS (
    SELECT min({name}) AS value FROM marketdata_listing WHERE {name} <> ''
    UNION ALL
    SELECT (SELECT min({name}) FROM marketdata_listing WHERE {name} <> '' AND {name} > told.value)
    FROM told WHERE told.value IS NOT NULL
)
SELECT value FROM told WHERE value IS NOT NULL UNION SELECT {name} FROM marketdata_asset WHERE {name} <> ''
"""


def _choices(name: str) -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_VALUES.format(name=name))
        told = {value for (value,) in cursor.fetchall()}
    match name:
        case "asset_class":
            return [(value, label) for value, label in AssetClass.choices if value in told]
        case "cap_class":
            return [(value, label) for value, label in CapClass.choices if value in told]
        case "exchange":
            return sorted(((value, exchanges.name(value)) for value in told), key=lambda pair: folded(pair[1]))
        case _:
            return [(value, value) for value in sorted(told, key=folded)]
