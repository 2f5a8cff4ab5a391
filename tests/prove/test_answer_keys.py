"""Our sessions against the answer keys that exchange_calendars publishes with its source: every market, every day.

The keys are in the source distribution of the very version that is installed, which pip fetches; nothing is kept.
"""

import csv
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from marketdata import calendars, markets
from marketdata.models import Timeframe, TradingSession

pytestmark = [pytest.mark.prove, pytest.mark.usefixtures("house")]
MINUTE = timedelta(minutes=1)
_NO_KEY = {"us_futures"}  # the package publishes none
# The last row of Korea's key has a late opening that the package itself does not have.
_WRONG = {("XKRX", "2026-12-30")}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the keys."""
    folder = tmp_path_factory.mktemp("keys")
    name = "exchange-calendars"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name, "--dest", str(folder),
         f"{name}=={version(name)}"], check=True, timeout=300,
    )  # fmt: skip
    with tarfile.open(next(folder.glob("*.tar.gz"))) as packed:
        packed.extractall(folder, filter="data")
    return next(folder.glob("*/tests/resources"))


def told(path: Path) -> Iterator[tuple[datetime | None, ...]]:
    """Rows of a key: the day, its open, its close, its break's start and end."""
    with path.open() as file:
        for day, opened, closed, paused, again in list(csv.reader(file))[1:]:
            yield tuple(
                datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
                for text in (day, opened, closed, paused, again)
            )


def test_every_market_has_a_key(keys: Path):
    published = {path.stem.upper() for path in keys.glob("x*.csv")}
    assert {code for code in markets.codes() if code.startswith("X")} <= published


def test_our_sessions_are_the_published_ones(keys: Path):
    checked = 0
    for code in sorted(markets.codes() - _NO_KEY - {*markets.RULES}):
        calendars.load(code)
        rows = list(told(keys / f"{code.lower()}.csv"))
        assert len(rows) > 200, code
        first, last = rows[0][0], rows[-1][0]
        assert first
        assert last
        ours = TradingSession.objects.filter(calendar=code, date__range=(first.date(), last.date())).order_by("date")
        stored = list(ours.values_list("date", "opens_at", "closes_at", "break_from", "break_until"))
        covered = calendars.Book().sessions(code)
        assert covered is not None
        within = [row for row in rows if row[0] and covered.covers_from <= row[0].date() <= covered.covers_until]
        wanted = [(day.date(), *times) for day, *times in within if day]
        differing = {(code, row[0].isoformat()) for row in set(stored) ^ set(wanted)}
        assert differing <= _WRONG, code
        if not differing:
            _expected_agrees(code, within)
        checked += len(within)
    print(f"\n{checked:,} sessions of {len(markets.codes()) - 3} markets are the published ones")
    assert checked > 300_000


def _expected_agrees(code: str, rows: list[tuple[datetime | None, ...]]) -> None:
    """Days and the number of minutes of the last ten years in the key."""
    recent = [row for row in rows if row[0] and row[0].year >= rows[-1][0].year - 10]  # type: ignore[union-attr]
    since, until = recent[0][0], recent[-1][0] + timedelta(days=2)  # type: ignore[operator]
    days = calendars.expected(code, Timeframe.D1, since, until - timedelta(days=1)).tolist()  # type: ignore[arg-type]
    assert [day.replace(tzinfo=UTC) for day in days] == [row[0] for row in recent], code
    minutes = 0
    for _, opened, closed, paused, again in recent:
        assert opened
        assert closed
        minutes += (closed - opened) // MINUTE - ((again - paused) // MINUTE if paused and again else 0)
    first, last = recent[0][1], recent[-1][2]
    assert first
    assert last
    assert len(calendars.expected(code, Timeframe.M1, first, last)) == minutes, code


def test_round_the_clock_is_the_published_one_and_currencies_differ_as_said(keys: Path):
    rows = [row for row in told(keys / "24-7.csv") if row[0]]
    first, last = rows[0][0], rows[-1][0]
    assert first
    assert last
    ours = calendars.expected("24/7", Timeframe.D1, first, last + timedelta(days=1)).tolist()
    assert [day.replace(tzinfo=UTC) for day in ours] == [row[0] for row in rows]
    days = {row[0] for row in told(keys / "24-5.csv") if row[0]}
    fx = calendars.expected("24/5", Timeframe.D1, min(days), max(days) + timedelta(days=1)).tolist()
    lacking = days - {day.replace(tzinfo=UTC) for day in fx}
    assert {(day.month, day.day) for day in lacking} == {(12, 25), (1, 1)}
    assert len(days) - len(lacking) == len(fx)
