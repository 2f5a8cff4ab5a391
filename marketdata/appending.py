"""A few new candles for each of many series, merged in one go: a market's day, an exchange's minute.

One COPY and one INSERT for a thousand series instead of a transaction for each. Only what is beyond question goes this
way: candles that come after all that is stored and lie near the candle before. Everything else (corrections, gaps,
new series, whatever is conspicuous) is handed to `marketdata.ingestion.ingest`, so the outcome is the same.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from marketdata import checks, quality, staging
from marketdata.calendars import calendar_of
from marketdata.ingestion import Ingested, checked, ingest
from marketdata.markets import RULES
from marketdata.models import Asset, AssetClass, Timeframe
from marketdata.sessions import EPOCH, Book

if TYPE_CHECKING:
    import pyarrow as pa

SERIES = 1000  # of one transaction: each has a lock, and PostgreSQL's table of locks is a small one


class Many(NamedTuple):
    """What became of the candles of each asset, by its key; and which assets only got plain next candles."""

    counts: dict[int, Ingested]
    appended: set[int]


def ingest_many(
    candles: Iterable[tuple[Asset, "pa.Table"]],
    timeframe: Timeframe | str,
    *,
    source: str,
    origin: str = "",
    final: bool = True,
    guard: bool = False,
) -> Many:
    """Store candles (tables of `ingestion.schema()`) of many assets, each named once.

    `final` and `guard` as for `ingest`. A thousand series are a transaction; do not call it inside one. Raises
    `ValueError` as `ingest` does.
    """
    timeframe, rest, book = Timeframe(timeframe), iter(candles), Book()
    done = Many({}, set())
    while chunk := [(asset, checked(table)) for asset, table in islice(rest, SERIES)]:
        merged = _Chunk(chunk, timeframe, source, book, final).merge()
        done.appended.update(merged)
        for asset, table in chunk:
            done.counts[asset.pk] = merged.get(asset.pk) or ingest(
                asset, timeframe, table, source=source, origin=origin, final=final, guard=guard
            )
    return done


class _Chunk:
    """Some series in one transaction."""

    def __init__(
        self,
        candles: Sequence[tuple[Asset, "pa.Table"]],
        timeframe: Timeframe,
        source: str,
        book: Book,
        final: bool,
    ) -> None:
        self.timeframe, self.source, self.book, self.final = timeframe, source, book, final
        self._days: dict[str, frozenset[int]] = {}
        self.candles = [
            (asset, table)
            for asset, table in candles
            if table.num_rows and _is_plain(table) and self._on_grid(asset, table)
        ]

    def merge(self) -> dict[int, Ingested]:
        """1. Take the locks, in one order for all. 2. COPY; 3. take out what is stored exactly so, and all of a series
        of which anything needs a closer look; 4. insert; 5. bring the series up to date. By asset, without the others.
        """
        rows = self._rows()
        if not rows.num_rows:
            return {}
        length = round(self.timeframe.length.total_seconds())
        scope: dict[str, Any] = {
            "timeframe": self.timeframe.value,
            "source": self.source,
            "assets": [asset.pk for asset, _ in self.candles],
            "floor": quality.FLOOR[self.timeframe],
            "next": quality.NEXT + 1,
            "step": 86_400 if self.timeframe.is_daily else length,
        }
        with transaction.atomic(), connection.cursor() as cursor:
            scope["now"] = staging.lock_many(cursor, scope["assets"], self.timeframe)
            staging.copy_many(cursor, rows)
            others, counts = staging.append_many(cursor, scope)
        return {
            asset.pk: _told(table, counts.get(asset.pk, 0)) for asset, table in self.candles if asset.pk not in others
        }

    def _rows(self) -> "pa.Table":
        """All rows with the key of their asset, without those of series with a row that is no candle."""
        import numpy as np
        import pyarrow as pa

        if not self.candles:
            return pa.table({})
        rows = pa.concat_tables([table.select(["open_time", *checks.NUMBERS]) for _, table in self.candles])
        lengths = [table.num_rows for _, table in self.candles]
        numbers = np.repeat(np.arange(len(lengths)), lengths)
        bad = {int(numbers[place]) for place in checks.faults(rows, self.timeframe, timezone.now(), final=self.final)}
        keys = np.repeat(np.array([asset.pk for asset, _ in self.candles], dtype=np.int64), lengths)
        rows = rows.add_column(0, "asset_id", pa.array(keys))
        self.candles = [pair for number, pair in enumerate(self.candles) if number not in bad]
        return rows.filter(pa.array(~np.isin(numbers, list(bad)))) if bad else rows

    def _on_grid(self, asset: Asset, table: "pa.Table") -> bool:
        """Whether all opens are surely ones of its market; whether they are those of the series is SQL's to say."""
        if self.timeframe != Timeframe.D1 or asset.asset_class in (AssetClass.CRYPTO, AssetClass.FX):
            return True
        code = calendar_of(asset)
        sessions = self.book.sessions(code) if code not in RULES else None
        if sessions is None:
            return True
        days = self._days_of(code)
        opens = [at for at in table["open_time"].to_pylist() if at is not None]
        return all(not sessions.covers(at) or at.toordinal() - EPOCH in days for at in opens)

    def _days_of(self, code: str) -> frozenset[int]:
        if code not in self._days:
            sessions = self.book.sessions(code)
            self._days[code] = frozenset(sessions.days if sessions else ())
        return self._days[code]


def _is_plain(candles: "pa.Table") -> bool:
    """Whether whoever read the rows found nothing wrong with them."""
    return "fault" not in candles.column_names or candles["fault"].null_count == candles.num_rows


def _told(candles: "pa.Table", inserted: int) -> Ingested:
    import pyarrow.compute as pc

    span = pc.min_max(candles["open_time"]).as_py()
    return Ingested(
        received=candles.num_rows,
        inserted=inserted,
        unchanged=candles.num_rows - inserted,
        first=span["min"].replace(tzinfo=UTC),
        last=span["max"].replace(tzinfo=UTC),
    )
