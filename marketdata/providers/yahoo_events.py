"""What Yahoo's chart answer tells besides candles: splits, dividends, capital gains, and since when it has prices.

Read from the answer itself, not from yfinance's data frame: that has floats, has no row for an event on a day whose
bar is null, and drops what lies before its first bar.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from marketdata.models import CorporateAction
from marketdata.providers.base import Action

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONEY = {"dividends": CorporateAction.Kind.DIVIDEND, "capitalGains": CorporateAction.Kind.CAPITAL_GAIN}


@dataclass(frozen=True)
class Told:
    """The actions with their ex-dates in the exchange's zone, oldest first; `begins` is the first trading moment."""

    actions: tuple[Action, ...] = ()
    begins: datetime | None = None


def read(answer: str) -> Told:
    """The text of a v8 chart answer. Raises `ValueError`, `KeyError`, `TypeError` or `ArithmeticError` if it is none.

    Amounts are exact: the decimals that stand there. A split is numerator / denominator, to twelve decimals.
    """
    result = json.loads(answer, parse_float=Decimal, parse_int=Decimal)["chart"]["result"][0]
    meta, events = result["meta"], result.get("events") or {}
    zone = ZoneInfo(str(meta["exchangeTimezoneName"]))
    currency = str(meta.get("currency") or "")
    found = [_split(told, zone) for told in (events.get("splits") or {}).values()]
    for name, kind in _MONEY.items():
        for told in (events.get(name) or {}).values():
            paid_in = str(told.get("currency") or currency)
            found.append(Action(kind, _day(told["date"], zone), Decimal(told["amount"]), paid_in))
    first = meta.get("firstTradeDate")
    begins = None if first is None else _EPOCH + timedelta(seconds=int(first))
    return Told(tuple(sorted(found, key=lambda one: (one.ex_date, one.kind))), begins)


def _split(told: Mapping[str, Any], zone: ZoneInfo) -> Action:
    value = (Decimal(told["numerator"]) / Decimal(told["denominator"])).quantize(Decimal("1E-12"))
    return Action(CorporateAction.Kind.SPLIT, _day(told["date"], zone), value)


def _day(seconds: Decimal, zone: ZoneInfo) -> date:
    return (_EPOCH + timedelta(seconds=int(seconds))).astimezone(zone).date()


def first_open(told: Told, zone: ZoneInfo, *, dated: bool) -> datetime | None:
    """When the history begins, as candles are named: by the date at 00:00Z, or by the moment."""
    if told.begins is None or not dated:
        return told.begins
    return datetime.combine(told.begins.astimezone(zone).date(), time(), UTC)
