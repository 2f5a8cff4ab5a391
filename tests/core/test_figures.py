"""How numbers and times read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from chronos.core import figures

NOW = datetime(2026, 3, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0842, "1.0842"),
        (43.21, "43.21"),
        (18204.4, "18\u202f204"),
        (Decimal("4820.5"), "4\u202f820.50"),
        (9.5, "9.50"),
        (0, "0.00"),
        (0.000012345, "0.00001234"),
        (0.25, "0.25"),
        (None, "–"),
        (-3.25, "−3.25"),
        (1e-10, "0.0000000001"),
    ],
)
def test_prices(value, text):
    assert figures.price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_234_567, "1.2\u202fM"),
        (18204, "18\u202f204"),
        (5.8e8, "580\u202fM"),
        (3.41e12, "3.4\u202fT"),
        (None, "–"),
        (0, "0"),
    ],
)
def test_quantities(value, text):
    assert figures.compact(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0124, "+1.24"), (-0.0031, "−0.31"), (0, "0.00"), (-0.00001, "0.00"), (None, "–")]
)
def test_changes(value, text):
    assert figures.percent(value) == text


def test_no_hyphen_stands_for_a_minus_and_no_space_breaks():
    assert "\u2212" in figures.percent(-0.5)
    assert "\u202f" in figures.integer(18204)


@pytest.mark.parametrize(
    ("passed", "text"),
    [(3, "just now"), (240, "4 min ago"), (3 * 3600, "3 h ago"), (3 * 86400, "3 days ago"), (90 * 86400, "9 Dec 2025")],
)
def test_how_long_ago(passed, text):
    assert figures.ago(NOW - timedelta(seconds=passed), NOW) == text


def test_how_long_it_took():
    assert [figures.lasted(timedelta(seconds=s)) for s in (0.42, 12, 200, 7500)] == [
        "0.4 s",
        "12 s",
        "3 min 20 s",
        "2 h 5 min",
    ]


def test_changes_point_the_way_their_text_does():
    assert [figures.direction(change) for change in (0.01, -0.01, 0.00001, None)] == ["gain", "loss", "flat", "flat"]
