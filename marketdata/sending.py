"""Candles as they are sent to programs: JSON, CSV or a stream of Arrow, in parts of bounded size.

Of a frame of one asset that leaves out what no candle has. All three hold the same candles with the same numbers,
float64 as frames have them: written so shortly that reading them gives the same float again. An absent number is
null, in CSV nothing.

This module imports numpy and pyarrow, which takes a while: import it inside the function that sends.
"""

import io
from collections.abc import Iterator, Mapping
from itertools import repeat

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import csv

from marketdata.columns import Array
from marketdata.frames import Frame

COLUMNS = ("open", "high", "low", "close", "volume", "adj_close", "quote_volume")
OFTEN_ABSENT = COLUMNS[5:]
ROWS = 16_384  # candles in a part of text
UTC = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
BATCH = 65_536  # candles in a batch of Arrow


def json(frame: Frame) -> Iterator[bytes]:
    """The candles as the members of a JSON array, without its brackets."""
    for at in range(0, len(frame), ROWS):
        part = slice(at, at + ROWS)
        columns = [frame[name][0, part].tolist() if name in frame.columns else repeat(None) for name in COLUMNS]
        rows = [
            {"open_time": time, "open": first, "high": high, "low": low, "close": close, "volume": volume,
             "adj_close": adjusted, "quote_volume": traded}
            for time, first, high, low, close, volume, adjusted, traded in zip(
                frame.times[part].tolist(), *columns, strict=False
            )
        ]  # fmt: skip
        yield (b"," if at else b"") + orjson.dumps(rows, option=UTC)[1:-1]


def lines(frame: Frame) -> Iterator[bytes]:
    """The candles as CSV, with a heading."""
    yield (",".join(("open_time", *COLUMNS)) + "\r\n").encode()
    options = csv.WriteOptions(include_header=False, quoting_style="none", eol="\r\n")
    for at in range(0, len(frame), ROWS):
        part = slice(at, at + ROWS)
        arrays = [pa.array(texts(frame.times[part])), *(_numbers(frame, name, part) for name in COLUMNS)]
        into = io.BytesIO()
        csv.write_csv(pa.record_batch(arrays, names=["open_time", *COLUMNS]), into, options)
        yield into.getvalue()


def arrow(frame: Frame, told: Mapping[str, str]) -> Iterator[bytes]:
    """The candles as a stream of Arrow; `told` goes into the metadata of its schema."""
    fields = [pa.field("open_time", pa.timestamp("us", "UTC"), nullable=False)]
    fields += [pa.field(name, pa.float64(), nullable=name in OFTEN_ABSENT) for name in COLUMNS]
    schema = pa.schema(fields, dict(told))
    into = io.BytesIO()
    with pa.ipc.new_stream(into, schema) as writer:
        for at in range(0, len(frame), BATCH):
            part = slice(at, at + BATCH)
            times = pa.array(frame.times[part]).cast(schema.field(0).type)
            arrays = [times, *(_numbers(frame, name, part) for name in COLUMNS)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            yield _taken(into)
    yield _taken(into)


def _taken(into: io.BytesIO) -> bytes:
    found = into.getvalue()
    into.seek(0)
    into.truncate()
    return found


def _numbers(frame: Frame, name: str, part: slice) -> pa.Array:
    if name not in frame.columns:
        return pa.nulls(len(frame.times[part]), pa.float64())
    values = frame[name][0, part]
    return pa.array(values, from_pandas=True) if name in OFTEN_ABSENT else pa.array(values)


def texts(times: Array) -> Array:
    """Moments in RFC 3339, to the second where they all are whole ones, and nearly always they are."""
    whole = not (times.view(np.int64) % 1_000_000).any()
    return np.datetime_as_string(times, unit="s" if whole else "us", timezone="UTC")
