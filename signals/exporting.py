"""A result as files: everything as JSON, the equity of each bar as CSV, the curves as PNG, and a report to hand on.

All are made of `Findings`, in parts of bounded size where they can be long.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.text import slugify

from chronos.core import figures
from chronos.core.streams import one_by_one, streamed
from signals import drawings, painting
from signals.cells import written
from signals.findings import AT_ONCE, Findings
from signals.measures import MEASURES

if TYPE_CHECKING:
    from signals.engine.terms import Floats

Response = TypeVar("Response", bound=HttpResponseBase)
TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "png": "image/png",
    "html": "text/html; charset=utf-8",
}
ROWS = 16_384  # bars in a part of text
SHORT = 20_000  # bars that are sent without streaming
OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_INDENT_2
HEADLINES = ("total_return", "cagr", "max_drawdown", "sharpe_ratio", "trade_count")  # under a chart's title


def file_name(found: Findings, form: str, what: str = "") -> str:
    """Of ASCII letters alone, so that every system takes it: `NVDA_1d_sma-cross_12_equity.csv`."""
    words = (slugify(found.symbol) or "asset", found.timeframe, slugify(found.name)[:40] or found.kind)
    parts = [words[0].upper(), *words[1:], str(found.made.get("backtest", "")), what]
    return f"{'_'.join(part for part in parts if part)}.{form}"


# --- JSON --------------------------------------------------------------------------------------------------------


def json(found: Findings) -> Iterator[bytes]:
    """One object: what was asked for, how it was made, figures, warnings, trades, and what is still open."""
    head = {
        "strategy": found.name,
        "kind": found.kind,
        "symbol": found.symbol,
        "timeframe": found.timeframe,
        "start": found.first,
        "end": found.last,
        "inputs": found.inputs,
        "made": found.made,
        "metrics": {name: found.metrics[name] for name in _in_order(found.metrics)},
        "warnings": found.warnings,
    }
    yield orjson.dumps(head, option=OPTIONS).removesuffix(b"\n}")
    for name, still_open in (("trades", False), ("open", True)):
        yield f',\n  "{name}": ['.encode()
        between = b"\n"
        for chunk in _chunks(found.trades(still_open)):
            yield between + b",\n".join(orjson.dumps(row, option=orjson.OPT_UTC_Z) for row in chunk)
            between = b",\n"
        yield b"\n  ]"
    yield b"\n}\n"


def _in_order(metrics: dict[str, Any]) -> list[str]:
    """As on a page; what no page shows follows."""
    return [*(name for name in MEASURES if name in metrics), *sorted(metrics.keys() - MEASURES.keys())]


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, AT_ONCE)):
        yield chunk


# --- CSV ---------------------------------------------------------------------------------------------------------


def equity_csv(found: Findings) -> Iterator[bytes]:
    """A line for each bar, with a heading. Numbers are written so that reading them gives the same float again."""
    import pyarrow as pa
    from pyarrow import csv

    from marketdata import sending
    from signals import metrics

    columns: dict[str, Floats | None] = {
        "equity": found.equity,
        "gross": found.gross,
        "hold": found.hold,
        "benchmark": found.benchmark,
        "drawdown": metrics.drawdowns(found.equity),
    }
    times = found.times.view("M8[us]")
    yield (",".join(("open_time", *columns)) + "\r\n").encode()
    options = csv.WriteOptions(include_header=False, quoting_style="none", eol="\r\n")
    for at in range(0, len(times), ROWS):
        part = slice(at, at + ROWS)
        texts = pa.array(sending.texts(times[part]))
        numbers = [
            pa.nulls(len(texts), pa.float64()) if values is None else pa.array(values[part], from_pandas=True)
            for values in columns.values()
        ]
        into = io.BytesIO()
        csv.write_csv(pa.record_batch([texts, *numbers], names=["open_time", *columns]), into, options)
        yield into.getvalue()


def equity_download(found: Findings) -> HttpResponseBase:
    """The CSV as a response. The curves are at hand, so that nothing is asked of the database while it is sent."""
    parts, kind = equity_csv(found), TYPES["csv"]
    short = len(found.times) <= SHORT
    response = HttpResponse(b"".join(parts), content_type=kind) if short else streamed(one_by_one(parts), kind)
    return named(response, found, "csv", "equity")


def named(response: Response, found: Findings, form: str, what: str = "") -> Response:
    """As a file to be kept."""
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name(found, form, what)}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


# --- PNG ---------------------------------------------------------------------------------------------------------


def png(found: Findings, theme: str = "light") -> bytes:
    """Equity beside what it is held against, and the drawdown below. Painted here, by Pillow: no browser is needed."""
    curves = curves_of(found)
    top = drawings.equity(curves, beside=found.inputs["benchmark"] or "Benchmark", marks=12)
    below = drawings.drawdown(curves, marks=12)
    return painting.png(_caption(found), [(top, 0.72), (below, 0.28)], theme)


def curves_of(found: Findings) -> drawings.Curves:
    return drawings.Curves(found.times.view("M8[us]"), found.equity, found.hold, found.benchmark)


def _caption(found: Findings) -> painting.Caption:
    span = f"{figures.day(found.first)} – {figures.day(found.last)}"
    said = [
        f"{MEASURES[name].label} {written(found.metrics.get(name), MEASURES[name].kind)}"
        for name in HEADLINES
        if found.metrics.get(name) is not None
    ]
    number = f"backtest {found.made['backtest']} · " if "backtest" in found.made else ""
    foot = f"Chronos · {number}code {found.made['code_version']} · candles {found.made['fingerprint']}"
    title = f"{found.name} · {found.symbol} {found.timeframe}"
    return painting.Caption(title, f"{span}    {'   ·   '.join(said)}", foot)
