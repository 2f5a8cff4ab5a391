"""Directories of symbols as they come: files, and the FinanceDatabase package. One shape for all, not judged yet."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED = ("symbol", "name", "type")
COLUMNS = (*NEEDED, "exchange", "mic", "currency", "country", "sector", "industry", "market_cap", "isin", "sp500",
           "source")  # fmt: skip
FINANCEDATABASE = "FinanceDatabase"


class Unreadable(ValueError):
    """A directory that can't be read; the text says why and what to do."""


def read(path: Path) -> "pa.Table":
    """The lines of a Parquet or CSV file (.gz or not), all columns as text; absent ones empty. Raises `Unreadable`."""
    import pyarrow as pa

    if not path.exists():
        raise Unreadable(f"{path}: there is no such file.")
    if path.is_dir():
        raise Unreadable(f"{path} is a directory; name the file in it.")
    try:
        table = _parquet(path) if _is_parquet(path) else _csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Unreadable(f"{path} can't be read as Parquet or as CSV in UTF-8: {said}") from error
    return shaped(table, str(path), path.name)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet(path: Path) -> "pa.Table":
    from pyarrow import parquet

    return parquet.read_table(path)


def _csv(path: Path) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with pa.input_stream(path, compression="gzip" if packed else None) as stream:
        head = stream.read(65536).splitlines()[:1]
    if not head:
        raise Unreadable(f"{path} is empty.")
    names = [name.strip() for name in head[0].decode("utf-8-sig").replace('"', "").split(",")]
    with pa.input_stream(path, compression="gzip" if packed else None) as stream:
        return csv.read_csv(
            stream,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )


def shaped(table: "pa.Table", where: str, source: str) -> "pa.Table":
    """The columns that a directory can have, as text; `source` names the lines that don't say where they are from."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.rename_columns([name.strip().lower() for name in table.column_names])
    lacking = [name for name in NEEDED if name not in table.column_names]
    if lacking:
        there = ", ".join(name[:30] for name in table.column_names[:15]) or "none"
        raise Unreadable(
            f"{where} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}; it has {there}."
            f" A directory has the columns {', '.join(NEEDED)}, and may have {', '.join(COLUMNS[len(NEEDED) :])}."
        )
    columns = []
    for name in COLUMNS:
        if name in table.column_names:
            columns.append(pc.fill_null(table[name].cast(pa.large_string()), ""))
        else:
            columns.append(pa.chunked_array([pa.repeat(pa.scalar(source if name == "source" else "", pa.large_string()),
                                                       table.num_rows)]))  # fmt: skip
    return pa.table(columns, names=list(COLUMNS))


# Which class of the package is which type, and where it has what stands in our columns of other names.
_KINDS = {
    "Equities": ("EQUITY", {}),
    "ETFs": ("ETF", {"sector": "category_group", "industry": "category"}),
    "Funds": ("MUTUALFUND", {"sector": "category_group", "industry": "category"}),
    "Indices": ("INDEX", {"sector": "category_group", "industry": "category"}),
    "Currencies": ("CURRENCY", {"currency": "quote_currency"}),
    "Cryptos": ("CRYPTOCURRENCY", {}),
}


def financedatabase(base_url: str = "", step: Callable[[str], None] = lambda note: None) -> "pa.Table":
    """The lines of the FinanceDatabase package, which downloads them. Raises `Unreadable`."""
    import pyarrow as pa

    try:
        import financedatabase as package
    except ImportError as error:
        raise Unreadable(
            "The package financedatabase is not installed. Install it beside Chronos with"
            " `.venv/bin/python -m pip install 'financedatabase>=2.3,<2.5'`, or give the path of a file instead."
        ) from error
    options = {"base_url": base_url} if base_url else {}
    parts = []
    for kind, (type_name, spelt) in _KINDS.items():
        step(kind.lower())
        try:
            frame = getattr(package, kind)(**options).data
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise Unreadable(
                f"FinanceDatabase could not be downloaded ({kind.lower()}): {said}. Nothing has changed; try again"
                " later, or give the path of a file."
            ) from error
        parts.append(_part(pa, frame, type_name, spelt))
    return pa.concat_tables(parts)


def _part(pa: Any, frame: Any, type_name: str, spelt: dict[str, str]) -> "pa.Table":
    frame = frame.reset_index()
    frame = frame.rename(columns={frame.columns[0]: "symbol"} | {theirs: ours for ours, theirs in spelt.items()})
    if "delisted" in frame:
        frame = frame[frame["delisted"].astype(str) != "True"]
    if "name" not in frame and "summary" in frame:
        frame = frame.assign(name=frame["summary"])
    frame = frame.assign(type=type_name, source=FINANCEDATABASE)
    kept = frame[[name for name in COLUMNS if name in frame]].astype(object).where(lambda cell: cell.notna(), None)
    return shaped(pa.Table.from_pandas(kept.astype("string"), preserve_index=False), type_name, FINANCEDATABASE)
