"""How numbers and times read on a page: significance by size, thin-space thousands, a true minus sign.

Cells are formatted here, in Python, and templates only place them: `floatformat` and `date` cost more than the query.
Units stand in the header of a column, so nothing here adds a currency.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal

from django.utils import timezone

Number = float | int | Decimal

NOTHING = "–"
_THIN = "\u202f"  # narrow and unbreakable
_MINUS = "\u2212"
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"))


def _finish(text: str) -> str:
    return text.replace(",", _THIN).replace("-", _MINUS)


def price(value: Number | None) -> str:
    """A price: 1.0842, 43.21, 4 820.50, 68 204; four digits that say something below 1."""
    if value is None:
        return NOTHING
    size = abs(float(value))
    if size >= 10_000:
        return _finish(f"{value:,.0f}")
    if size >= 10 or size == 0:
        return _finish(f"{value:,.2f}")
    text = f"{value:.4f}" if size >= 1 else f"{value:.{_places(size)}f}"
    whole, _, decimals = text.partition(".")
    return _finish(f"{whole}.{decimals.rstrip('0').ljust(2, '0')}")


def _places(size: float) -> int:
    """Decimals that show four significant digits of a number below 1; the database keeps ten."""
    places = 4
    while places < 10 and size < 0.1:
        size *= 10
        places += 1
    return places


def compact(value: Number | None) -> str:
    """A quantity where the order of magnitude matters: 18 204, 1.2 M, 3.41 T."""
    if value is None:
        return NOTHING
    for scale, letter in _SCALES:
        if abs(float(value)) >= scale:
            scaled = float(value) / scale
            return _finish(f"{scaled:,.{1 if abs(scaled) < 100 else 0}f}") + _THIN + letter
    if 0 < abs(float(value)) < 100 and value != int(value):
        return price(value)
    return _finish(f"{value:,.0f}")


def integer(value: int | None) -> str:
    """A count: 18 204."""
    return NOTHING if value is None else _finish(f"{value:,}")


def money(value: Number | None) -> str:
    """An amount of currency, with cents below ten thousand: −1 204.50, 54 101."""
    if value is None:
        return NOTHING
    return _finish(f"{value:,.{2 if abs(float(value)) < 10_000 else 0}f}")


def percent(fraction: Number | None, places: int = 2) -> str:
    """A change, signed, without the sign of its unit: 0.0124 is "+1.24". Zero has no sign."""
    if fraction is None:
        return NOTHING
    rounded = round(float(fraction) * 100, places)
    return _finish(f"{rounded:+,.{places}f}") if rounded else f"{0:.{places}f}"


def ratio(value: Number | None, places: int = 2) -> str:
    """A number without a unit that may be negative: 1.24, −0.31."""
    return NOTHING if value is None else _finish(f"{round(float(value), places) + 0.0:.{places}f}")


def direction(change: Number | None) -> str:
    """`gain`, `loss` or `flat`, as the style sheet calls them."""
    if change is None or abs(float(change)) < 0.00005:  # what `percent` shows as 0.00
        return "flat"
    return "gain" if change > 0 else "loss"


def day(value: date | None) -> str:
    """8 Mar 2024"""
    return f"{value.day} {value:%b %Y}" if value else NOTHING


def moment(value: datetime | None) -> str:
    """8 Mar 2024 14:30, in UTC, which the page says once."""
    return f"{day(value)} {value:%H:%M}" if value else NOTHING


def ago(then: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in the largest unit that says enough: "just now", "4 min ago", "3 h ago", "2 days ago"."""
    if then is None:
        return "never"
    passed = (now or timezone.now()) - then
    if passed < timedelta(seconds=45):
        return "just now"
    if passed < timedelta(hours=1):
        return f"{max(1, round(passed.total_seconds() / 60))} min ago"
    if passed < timedelta(hours=36):
        return f"{max(1, round(passed.total_seconds() / 3600))} h ago"
    if passed < timedelta(days=60):
        return f"{round(passed.total_seconds() / 86_400)} days ago"
    return day(then)


def lasted(span: timedelta) -> str:
    """A duration: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    seconds = span.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    if not minutes:
        return f"{left} s"
    if minutes < 60:
        return f"{minutes} min {left} s"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, one: str, many: str = "") -> str:
    """1 asset, 12 assets."""
    return f"{integer(count)} {one if count == 1 else many or one + 's'}"
