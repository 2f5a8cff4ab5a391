"""Numbers as people write them into a form, exactly, and written back so; and what an address has of them."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms

from chronos.core import figures

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_SPACES = re.compile(r"[\s\u00a0\u2009\u202f'’_]")


class Figure(forms.CharField):
    """A number as people write it: 10 000, 0.1, 0,1 or 12 %. None if it is left empty.

    `low` and `high` are its limits, `above` and `below` those that it must not reach itself.
    """

    def __init__(
        self, *, low: int | None = None, above: int | None = None, high: int | None = None, below: int | None = None,
        whole: bool = False, unit: str = "", **more: Any,
    ) -> None:  # fmt: skip
        self.low, self.above, self.high, self.below = low, above, high, below
        self.whole, self.unit = whole, unit
        attrs = {"autocomplete": "off", "inputmode": "numeric" if whole else "decimal", "class": "figure"}
        super().__init__(max_length=40, widget=forms.TextInput(attrs=attrs), **more)

    @property
    def range(self) -> str:
        """ "more than 0 and less than 100 %" """
        limits = (("at least", self.low), ("more than", self.above), ("at most", self.high), ("less than", self.below))
        told = " and ".join(f"{words} {figures.integer(limit)}" for words, limit in limits if limit is not None)
        return f"{told} {self.unit}".rstrip() if told else "a number"

    def clean(self, value: Any) -> Decimal | None:
        text = str(super().clean(value) or "")
        if not text:
            return None
        number = read(text)
        kind = "a whole number" if self.whole else "a number"
        if number is None or (self.whole and number != number.to_integral_value()):
            raise forms.ValidationError(f"{self.label} is {kind}, {self.range}; “{text[:40]}” is none.")
        good = (
            (self.low is None or number >= self.low) and (self.above is None or number > self.above)
            and (self.high is None or number <= self.high) and (self.below is None or number < self.below)
        )  # fmt: skip
        if not good:
            raise forms.ValidationError(f"{self.label} must be {self.range}; it is {text[:40]}.")
        return number

    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, float | int | Decimal) else value


def read(text: str) -> Decimal | None:
    """A comma before three digits groups them, any other one is a decimal point."""
    text = _SPACES.sub("", text).replace("\u2212", "-").removesuffix("%")
    if "," in text:
        grouped = re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text)
        text = text.replace(",", "" if grouped else ".")
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def plain(number: float | int | Decimal) -> str:
    """As a person would type it: 0.1 rather than 0.1000000 or 1E-1."""
    return f"{Decimal(str(number)).normalize():f}"


def percent(fraction: float | None) -> str:
    return "" if fraction is None else plain(Decimal(str(fraction)) * 100)


def fraction(percent: Decimal | None) -> float | None:
    return None if percent is None else float(percent / 100)


def whole(text: str) -> int:
    """A key, page or width of an address; 0 for what is none."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else 0


def day(text: str) -> date | None:
    """A day of an address; None for what is none, or so far off that a day more is none."""
    try:
        found = date.fromisoformat(text.strip()[:10]) if text else None
    except ValueError:
        return None
    return found if found and 1900 < found.year < 2200 else None
