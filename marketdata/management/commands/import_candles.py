"""`manage.py import_candles`: candles from files."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marketdata import splits
from marketdata.appending import ingest_many
from marketdata.directory.listings import adopt
from marketdata.ingestion import Ingested, ingest
from marketdata.management.arguments import Explained
from marketdata.models import Asset, AssetClass, Timeframe
from marketdata.providers.files import FileSeries, NoCandles, Wishes, reading
from marketdata.providers.tabular import FileError
from marketdata.reporting import EXIT_CODES, Bar, Report, Row, add_json_argument
from marketdata.symbols import likely_class

FEW = 20  # candles of a series in a file that has several
ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz", ".parquet", ".pq")

EXPLANATION = f"""
files: CSV (delimiter , ; tab or |), CSV.gz and Parquet with the usual headings: date or timestamp, open, high, low,
close, volume, and if there are: adj close, quote volume, symbol, interval. Several symbols may share a file.

A plain date names a candle of a day or more. Other times need an offset from UTC in the file, or --timezone.
What can't be a candle is kept in quarantine with the reason; the rest is stored. Importing again changes nothing.
Splits that show in daily closes beside adjusted closes are stored, and the series is kept as traded.

examples:
  manage.py import_candles prices/
  manage.py import_candles AAPL.csv --timeframe 1h --timezone America/New_York
  manage.py import_candles unadjusted.csv.gz --symbol AAPL-RAW

{EXIT_CODES}
"""


class Command(Explained):
    help = "Store the candles of files, or of all files in directories."
    explanation = EXPLANATION

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        argument = parser.add_argument
        argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, or a directory to look through")
        argument("--symbol", default="", help="whose candles they are (default: the column symbol, or the file's name)")
        argument("--timeframe", default="", choices=Timeframe.values, metavar="TIMEFRAME",
                 help=f"{' '.join(Timeframe.values)} (default: by the column interval or the distances)")  # fmt: skip
        argument("--asset-class", default="", choices=AssetClass.values, metavar="CLASS",
                 help=f"of new assets: {' '.join(AssetClass.values)} (default: by the symbol's shape)")  # fmt: skip
        argument("--timezone", default="", metavar="ZONE",
                 help="whose clock times without an offset are, such as America/New_York")  # fmt: skip
        argument("--replace", action="store_true",
                 help="also replace a stored series most of whose candles differ, which is otherwise kept")  # fmt: skip
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        report = Report(self.stdout, as_json=options["as_json"])
        wishes = Wishes(**{name: options[name] for name in ("symbol", "timeframe", "asset_class", "timezone")})
        work = _Import(report, wishes, replace=options["replace"])
        files = list(_files(options["paths"], report))
        with report.progress("Importing", total=len(files)) as bar:
            for path, asked_for in files:
                work.file(path, bar, asked_for=asked_for)
                bar.advance(note=path.name)
        if status := report.finish():
            raise SystemExit(status)


def _files(paths: list[Path], report: Report) -> Iterator[tuple[Path, bool]]:
    """Every file, and whether it was named itself; those found in a directory may turn out to be something else."""
    for path in paths:
        if not path.exists():
            report.trouble(f"{path}: there is no such file or directory.")
        elif not path.is_dir():
            yield path, True
        else:
            yield from ((found, False) for found in sorted(path.rglob("*")) if found.is_file())


class _Import:
    def __init__(self, report: Report, wishes: Wishes, *, replace: bool) -> None:
        self.report, self.wishes, self.replace = report, wishes, replace

    def file(self, path: Path, bar: Bar, *, asked_for: bool) -> None:
        """All series of one file; what goes wrong with it becomes a row or a line, never an exception."""
        if not asked_for and not path.name.lower().endswith(ENDINGS):
            self.report.say(f"{path}: skipped, it is not CSV or Parquet.")
            return
        try:
            with reading(path, self.wishes) as contents:
                for symbol, error in contents.failures.items():
                    self._failed(path, symbol, error)
                stored = self._few(path, contents.series)
                for place, series in enumerate(contents.series):
                    if done := stored.get(place) or self._series(path, series):
                        self._tell(path, series.timeframe, contents.trouble, *done)
        except NoCandles as error:
            if asked_for:
                self._failed(path, self.wishes.symbol, str(error))
            else:
                self.report.say(f"{path}: skipped, it {error}.")
        except FileError as error:
            self._failed(path, self.wishes.symbol, str(error))

    def _failed(self, path: Path, symbol: str, error: str) -> None:
        text = f"{path}: {error}."
        self.report.add(Row(symbol or path.name, self.wishes.timeframe, status="failed", error=text))

    def _few(self, path: Path, found: list[FileSeries]) -> dict[int, tuple[Asset, Ingested, bool]]:
        """Many series with a few candles each, such as a market's day, are stored in one go: by their place, what
        became of those whose asset is stored already, and whether that could bring a split to light.
        """
        done: dict[int, tuple[Asset, Ingested, bool]] = {}
        some = {place: one for place, one in enumerate(found) if one.candles.num_rows <= FEW}
        symbols = [one.symbol for one in some.values()]
        known = Asset.objects.filter(is_sample=False).in_bulk(symbols, field_name="symbol") if len(some) > 1 else {}
        for timeframe in {one.timeframe for one in some.values()}:
            of_it = {one.symbol: (n, one) for n, one in some.items() if one.timeframe == timeframe}
            of_it = {symbol: which for symbol, which in of_it.items() if symbol in known}
            counts, appended = ingest_many(
                [(known[symbol], one.candles) for symbol, (_, one) in of_it.items()],
                timeframe,
                source="file",
                origin=path.name,
                final=False,
                guard=not self.replace,
            )
            for symbol, (place, one) in of_it.items():
                asset = known[symbol]
                plain = asset.pk in appended and one.candles.num_rows == 1
                done[place] = asset, counts[asset.pk], not plain
        return done

    def _series(self, path: Path, series: FileSeries) -> tuple[Asset, Ingested, bool] | None:
        """None if it must not be stored, which is told."""
        asset = self._asset(series.symbol)
        if asset.is_sample:
            self._failed(
                path, asset.symbol, f"{asset} is the bundled sample, which stays as it is: give another --symbol"
            )
            return None
        counts = ingest(
            asset,
            series.timeframe,
            series.candles,
            source="file",
            origin=path.name,
            guard=not self.replace,
            final=False,
        )
        return asset, counts, True

    def _tell(
        self, path: Path, timeframe: Timeframe, trouble: str, asset: Asset, counts: Ingested, may_split: bool
    ) -> None:
        if may_split and counts.changed and (told := splits.derive(asset, timeframe).words):
            self.report.say(f"{asset}: {told}")
        self.report.add(_row(path, asset.symbol, timeframe, counts, trouble))

    def _asset(self, symbol: str) -> Asset:
        """The asset of that symbol; a new one has the class that was asked for, or that its symbol looks like, and
        what the directory says.
        """
        asset_class = self.wishes.asset_class or likely_class(symbol)
        asset, created = Asset.objects.get_or_create(symbol=symbol, defaults={"asset_class": asset_class})
        if created and not self.wishes.asset_class:
            adopt([asset])
        return asset


def _row(path: Path, symbol: str, timeframe: Timeframe, counts: Ingested, trouble: str) -> Row:
    faults = []
    if trouble:
        faults.append(f"{path}: {trouble}.")
    if counts.quarantined:
        faults.append(f"Quarantined of {path}: {'; '.join(counts.problems)}.")
    return Row.of(symbol, timeframe.value, counts, "partial" if faults else "done", " ".join(faults) or None)
