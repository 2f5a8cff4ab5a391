"""The lines of the symbol master: loaded from a directory, looked up, and lent to assets that know less."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Q

from marketdata import markets
from marketdata.directory import sources
from marketdata.directory.importance import importance
from marketdata.models import SYMBOL, Asset, AssetClass, CapClass, Listing, canonical
from marketdata.symbols import likely_class

if TYPE_CHECKING:
    import pyarrow as pa

Unreadable = sources.Unreadable

FEW = 100  # lines that vanish from a directory without anybody being asked, or
SHARE = 0.1  # this part of what is stored of it
EXAMPLES = 10
CHOICES = "directory:choices"  # under which the cache has what a search can be filtered by
AT_ONCE = 2000  # assets whose empty fields are filled in one go

_CLASSES = {
    "EQUITY": AssetClass.STOCK, "STOCK": AssetClass.STOCK, "ETF": AssetClass.ETF, "INDEX": AssetClass.INDEX,
    "CURRENCY": AssetClass.FX, "FX": AssetClass.FX, "CRYPTOCURRENCY": AssetClass.CRYPTO, "CRYPTO": AssetClass.CRYPTO,
    "MUTUALFUND": AssetClass.FUND, "FUND": AssetClass.FUND, "MONEYMARKET": AssetClass.FUND,
    "FUTURE": AssetClass.COMMODITY, "COMMODITY": AssetClass.COMMODITY,
}  # fmt: skip
_CAPS = {f"{cap.value} cap": cap for cap in CapClass} | {cap.value: cap for cap in CapClass}


@dataclass
class Loaded:
    """What a load did. `refused`: lines that can't be stored, by reason, with how many and some of them;
    `twins`: lines that name the same thing as another, which says more; `spared`: stored lines that the directory
    does not have any more, too many to be removed unasked.
    """

    read: int = 0
    stored: int = 0
    inserted: int = 0
    updated: int = 0
    removed: int = 0
    spared: int = 0
    twins: int = 0
    assets: int = 0
    refused: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    @property
    def unchanged(self) -> int:
        return self.stored - self.inserted - self.updated

    def refuse(self, reason: str, spelling: str) -> None:
        many, examples = self.refused.get(reason, (0, []))
        self.refused[reason] = many + 1, examples if len(examples) == EXAMPLES else [*examples, spelling[:60]]


class Line(NamedTuple):
    """A listing before it is stored; the fields are the table's columns, in the order of COPY."""

    symbol: str
    spelling: str
    name: str
    asset_class: str
    exchange: str
    mic: str
    currency: str
    country: str
    sector: str
    industry: str
    cap_class: str
    isin: str
    importance: int
    source: str


# --- Loading -----------------------------------------------------------------------------------------------------


def load(
    directory: "Path | pa.Table", *, replace: bool = False, step: Callable[[str], None] = lambda note: None
) -> Loaded:
    """Store a directory's lines. Raises `Unreadable`. Loading the same again changes nothing.

    1. Its spellings become canonical symbols; of several lines for one symbol the one with most facts stays.
    2. All lines are copied into a temporary table and merged in one statement: equal ones stay untouched, and those
       that the same source does not have any more are removed. Should that be many, the file is rather a part of the
       directory than its newest state: then they are removed only with `replace`.
    3. Stored assets learn what they did not know.
    """
    if isinstance(directory, Path):
        step("reading")
        directory = sources.read(directory)
    done = Loaded(read=directory.num_rows)
    step("sorting out")
    lines = _sorted_out(directory, done)
    done.stored = len(lines)
    step("storing")
    with transaction.atomic():
        _merge(lines, done, replace)
    cache.delete(CHOICES)
    step("filling in assets")
    done.assets = adopt_all()
    return done


def _sorted_out(directory: "pa.Table", done: Loaded) -> list[Line]:
    """One line a symbol; the rest is counted."""
    kept: dict[str, Line] = {}
    columns = [directory[name].to_pylist() for name in sources.COLUMNS]
    for row in zip(*columns, strict=True):
        line = _line(row, done)
        if line is None:
            continue
        other = kept.get(line.symbol)
        if other is None:
            kept[line.symbol] = line
        else:
            done.twins += 1
            if _facts_told(line) > _facts_told(other):
                kept[line.symbol] = line
    return list(kept.values())


_is_symbol = re.compile(SYMBOL).fullmatch
_odd = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u2028-\u202e\ufeff]")


def _text(said: str, limit: int) -> str:
    """Without control characters and repeated spaces, and as long as the column is."""
    if not said.isprintable():
        said = _odd.sub(" ", said)
    return " ".join(said.split())[:limit].rstrip()


def _line(row: tuple[str, ...], done: Loaded) -> Line | None:
    written, name, kind, exchange, mic, currency, country, sector, industry, cap, isin, in_sp500, source = row
    spelling = written.strip()
    symbol = canonical(spelling)
    if not spelling:
        done.refuse("has no symbol", name)
        return None
    if not _is_symbol(symbol) or len(spelling) > 60:
        done.refuse("is not written as a symbol can be", spelling)
        return None
    asset_class = _CLASSES.get(kind.strip().upper())
    if asset_class is None:
        done.refuse(f"is of the type {kind.strip()[:20]!r}, which has no class here", spelling)
        return None
    if asset_class == AssetClass.FX and likely_class(symbol) == AssetClass.COMMODITY:
        asset_class = AssetClass.COMMODITY  # gold in dollars is a currency pair to directories
    exchange, country = _text(exchange, 40), _text(country, 60)
    cap_class = _CAPS.get(cap.strip().lower(), "")
    return Line(
        symbol,
        spelling,
        _text(name, 200),
        asset_class.value,
        exchange,
        _text(mic, 4),
        _text(currency, 10),
        country,
        _text(sector, 100),
        _text(industry, 150),
        cap_class,
        _text(isin, 12),
        importance(
            symbol,
            asset_class,
            exchange=exchange,
            country=country,
            cap_class=cap_class,
            in_sp500=in_sp500.strip().lower() in ("true", "1", "yes"),
        ),
        _text(source, 60) or "a file",
    )


def _facts_told(line: Line) -> tuple[int, int]:
    return sum(map(bool, line)), line.importance


_COLUMNS = Line._fields
_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS listing_stage (LIKE marketdata_listing) ON COMMIT DELETE ROWS
"""
_GONE = """
SELECT count(*) FILTER (WHERE s.symbol IS NULL), count(*)
FROM marketdata_listing l LEFT JOIN listing_stage s ON s.symbol = l.symbol WHERE l.source = ANY(%s)
"""
_MERGE = f"""
WITH done AS (
    MERGE INTO marketdata_listing l USING listing_stage s ON l.symbol = s.symbol
    WHEN MATCHED AND ({", ".join(f"l.{name}" for name in _COLUMNS)})
        IS DISTINCT FROM ({", ".join(f"s.{name}" for name in _COLUMNS)})
        THEN UPDATE SET {", ".join(f"{name} = s.{name}" for name in _COLUMNS[1:])}
    WHEN NOT MATCHED THEN INSERT ({", ".join(_COLUMNS)}) VALUES ({", ".join(f"s.{name}" for name in _COLUMNS)})
    WHEN NOT MATCHED BY SOURCE AND l.source = ANY(%s) THEN DELETE
    RETURNING merge_action() AS what
)
SELECT what, count(*) FROM done GROUP BY what
"""  # noqa: S608


def _merge(lines: list[Line], done: Loaded, replace: bool) -> None:
    told_by = sorted({line.source for line in lines})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('marketdata.directory', 0))")
        cursor.execute(_STAGE)
        cursor.execute("DELETE FROM listing_stage")
        _copy(cursor, lines)
        cursor.execute("ANALYZE listing_stage")
        cursor.execute(_GONE, [told_by])
        gone, stored = cursor.fetchone()
        if gone > max(FEW, SHARE * stored) and not replace:
            done.spared, told_by = gone, []
        cursor.execute("SET LOCAL gin_pending_list_limit = '16MB'")  # by the row it would take ten times as long
        cursor.execute(_MERGE, [told_by])
        counts = dict(cursor.fetchall())
        if counts:
            cursor.execute("SELECT marketdata_listing_settle()")
    done.inserted, done.updated = counts.get("INSERT", 0), counts.get("UPDATE", 0)
    done.removed = counts.get("DELETE", 0)


def _copy(cursor: Any, lines: list[Line]) -> None:
    """In the order of symbols, so that the table lies as its key does."""
    import pyarrow as pa
    from pyarrow import csv

    text = pa.BufferOutputStream()
    ordered = sorted(lines)
    columns = [pa.array([line[place] for line in ordered]) for place in range(len(_COLUMNS))]
    csv.write_csv(
        pa.table(columns, names=list(_COLUMNS)),
        text,
        csv.WriteOptions(include_header=False, quoting_style="all_valid"),  # an empty text is not NULL
    )
    with cursor.copy(f"COPY listing_stage ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT csv)") as stream:
        stream.write(memoryview(text.getvalue()))


# --- Looking up --------------------------------------------------------------------------------------------------


def listed(symbols: Iterable[str]) -> dict[str, Listing]:
    """The lines of these canonical symbols, by symbol; one query however many."""
    wanted = [symbol for symbol in set(symbols) if _is_symbol(symbol)]
    return Listing.objects.in_bulk(wanted) if wanted else {}


def any_loaded() -> bool:
    """Whether there is a symbol master at all."""
    return Listing.objects.exists()


def unsaved(symbols: Iterable[str]) -> list[Asset]:
    """New assets of these canonical symbols, in their order, with what the directory says of them."""
    wanted = list(symbols)
    known = listed(wanted)
    return [
        Asset(
            symbol=symbol,
            **({"asset_class": likely_class(symbol)} | (facts_of(known[symbol]) if symbol in known else {})),
        )
        for symbol in wanted
    ]


# --- What assets learn from it -----------------------------------------------------------------------------------

_LENT = ("name", "exchange", "currency", "country", "sector", "industry", "cap_class")


def facts_of(listing: Listing) -> dict[str, str]:
    """What an asset can take over, by field; what the directory does not say is left out."""
    told = {name: getattr(listing, name) for name in _LENT if getattr(listing, name)}
    told["asset_class"] = listing.asset_class
    if calendar := _calendar(listing):
        told["calendar"] = calendar
    return told


def _calendar(listing: Listing) -> str:
    """Its exchange's calendar; '' where nothing is sure."""
    asset = Asset(
        symbol=listing.symbol, asset_class=listing.asset_class, exchange=listing.exchange, currency=listing.currency
    )
    code = markets.calendar_of(asset)
    if not code and listing.mic:
        code = markets.canonical_code(listing.mic)
    return code if code in markets.codes() else ""


def adopt(assets: Sequence[Asset]) -> int:
    """Fill what these stored assets do not know yet from their listings; returns how many have learnt something."""
    found = listed(asset.symbol for asset in assets)
    changed: dict[tuple[str, ...], list[Asset]] = {}
    for asset in assets:
        if asset.symbol in found and not asset.is_sample and (told := fill(asset, found[asset.symbol])):
            changed.setdefault(tuple(told), []).append(asset)
    for fields, alike in changed.items():
        Asset.objects.bulk_update(alike, fields, batch_size=AT_ONCE)
    return sum(map(len, changed.values()))


def fill(asset: Asset, listing: Listing) -> list[str]:
    """Set what the asset does not know yet, unsaved; returns the names of the fields.

    Its class is only a guess by the symbol's shape until a provider has confirmed it.
    """
    told = facts_of(listing)
    class_told = told.pop("asset_class")
    new = {name: value for name, value in told.items() if not getattr(asset, name)}
    if asset.validated_at is None and not asset.is_sample and asset.asset_class != class_told:
        new["asset_class"] = class_told
    for name, value in new.items():
        setattr(asset, name, value)
    return list(new)


def adopt_all() -> int:
    """`adopt` for every stored asset that lacks something."""
    lacking = Q()
    for name in (*_LENT, "calendar"):
        lacking |= Q(**{name: ""})
    known = Asset.objects.filter(lacking | Q(validated_at=None), is_sample=False)
    return sum(adopt(some) for some in _batches(known.filter(symbol__in=Listing.objects.values("symbol"))))


def _batches(assets: Iterable[Asset]) -> Iterator[list[Asset]]:
    some: list[Asset] = []
    for asset in list(assets):
        some.append(asset)
        if len(some) == AT_ONCE:
            yield some
            some = []
    if some:
        yield some
