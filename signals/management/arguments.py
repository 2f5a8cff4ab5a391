"""What operators write of strategies and candles on a command line, read."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from marketdata.management.arguments import moment
from marketdata.models import Asset, Timeframe
from signals.strategies import registry
from signals.strategies.declaring import Kind

if TYPE_CHECKING:
    from signals.candles import Candles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """STRATEGY, SYMBOL|FILE, --timeframe, --start, --end, --param, --json."""
    argument = parser.add_argument
    argument("strategy", metavar="STRATEGY", help=f"one of {' '.join(registry.kinds())}")
    argument("source", metavar="SYMBOL|FILE", help="a stored asset, such as NVDA, or a CSV or Parquet file")
    argument("--timeframe", metavar="TIMEFRAME",
             help=f"one of {' '.join(Timeframe.values)} (default: 1d, of a file what it says)")  # fmt: skip
    argument("--start", type=moment, metavar="WHEN", help="first open, such as 2015-01-01 (default: the first)")
    argument("--end", type=moment, metavar="WHEN", help="first open that is not wanted (default: none)")
    argument("--param", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="of the strategy")


def kinds_told() -> str:
    """The kinds and their parameters, a line each."""
    return "\n".join(_told(kind) for kind in registry.kinds().values())


def _told(kind: Kind) -> str:
    several = " ".join(f"{one.name}={one.default}" for one in kind.parameters) or "no parameters"
    return f"  {kind.name:<20} {several}"


def parameters(kind: Kind, pairs: list[str]) -> dict[str, Any]:
    """All parameters, of `fast=20 slow=50`. Raises `BadParameters`."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"{pair!r} is no parameter; write NAME=VALUE, such as fast=20.")
        found[name.strip()] = value.strip()
    return kind.checked(found)


def read(options: dict[str, Any], warmup: int) -> "tuple[Candles, Asset | None]":
    """The candles that are meant, and whose they are if they are stored. Raises `Impossible` and `FileError`."""
    from signals import candles

    path = Path(options["source"])
    start, end = options["start"], options["end"]
    if _is_file(path):
        return candles.from_file(path, options["timeframe"] or "", start, end, warmup), None
    asset = asset_called(options["source"])
    return candles.stored(asset, timeframe(options["timeframe"] or "1d"), start, end, warmup), asset


def _is_file(path: Path) -> bool:
    """A name that is too long for a file is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def asset_called(text: str) -> Asset:
    text = text.encode("utf-8", "replace").decode()  # bytes of a command line that are no text
    found = Asset.objects.called(text).order_by("is_sample").first()
    if found is None:
        raise CommandError(f"There is no file and no asset called {text}; fetch or import it first.")
    return found


def timeframe(text: str) -> Timeframe:
    if text not in Timeframe.values:
        raise CommandError(f"{text!r} is no timeframe; choose one of {' '.join(Timeframe.values)}.")
    return Timeframe(text)
