"""The sessions of markets for tests, stored as `calendars.load` stores them, which is slow to do for every test."""

from django.db import connection

from marketdata import calendars
from marketdata.markets import RULES

_TABLES = {
    "marketdata_tradingcalendar": "code, zone, covers_from, covers_until, version, loaded_at",
    "marketdata_tradingsession": "calendar, date, opens_at, closes_at, break_from, break_until",
}
_kept: dict[str, dict[str, bytes]] = {}


def known(*codes: str) -> None:
    """Have these markets' sessions in the database: made by the package the first time, then copied."""
    for code in codes:
        if code in RULES or not code:
            continue
        if code not in _kept:
            calendars.load(code)
            _kept[code] = {table: _out(table, columns, code) for table, columns in _TABLES.items()}
            continue
        with connection.cursor() as cursor:
            for table, rows in _kept[code].items():
                with cursor.copy(f"COPY {table} ({_TABLES[table]}) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.write(rows)


def _out(table: str, columns: str, code: str) -> bytes:
    rows = f"SELECT {columns} FROM {table} WHERE {columns.partition(',')[0]} = %s"
    with connection.cursor() as cursor, cursor.copy(f"COPY ({rows}) TO STDOUT (FORMAT BINARY)", [code]) as copy:
        return b"".join(bytes(block) for block in copy)
