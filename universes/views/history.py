"""A universe's past: its size, who joined and left, and how much it turned over in any window."""

import csv
import io
import math
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from marketdata.views import page_number
from universes.history import Change, Past, Turnover
from universes.loading import seen
from universes.models import Universe

PRESETS = (("1y", "1 Y", 366), ("5y", "5 Y", 1827), ("all", "All", None))  # in days
PERIODS = (("month", "Month"), ("quarter", "Quarter"), ("year", "Year"))
MONTHS = {"month": 1, "quarter": 3, "year": 12}
A_PAGE = 50
MOST = 400  # periods that are drawn
SHOWN = 40  # symbols of one day
WIDTH, SIZES, BARS = 960, 150, 110  # of the drawing: across, the panel of sizes, the panel of joins and leaves


@require_safe
def history(request: Signed, pk: int) -> HttpResponse:
    """The window, the period and the page of days are in the address."""
    found = seen(request, pk)
    past = Past(found)
    changes = past.timeline()
    window = _Window(request, changes)
    if window.problem:
        messages.error(request, window.problem)
    periods = past.turnovers(window.marks()) if changes else []
    number = min(page_number(request), max(1, math.ceil(len(changes) / A_PAGE)))
    context: dict[str, Any] = {
        "universe": found,
        "empty": not changes,
        "window": window,
        "presets": [(value, label) for value, label, _ in PRESETS],
        "choices": PERIODS,
        "days": [_day_row(found, change) for change in changes[(number - 1) * A_PAGE : number * A_PAGE]],
        "page": number,
        "pages": max(1, math.ceil(len(changes) / A_PAGE)),
        "total": figures.counted(len(changes), "day"),
    }
    if changes:
        whole = past.turnover(window.since, window.until)
        context |= {
            "whole": _row(whole),
            "periods": [_row(one) for one in reversed(periods)],
            "drawing": _drawing(changes, periods, window),
            "says": _sentence(whole),
        }
    return page(request, "universes/history.html", context, part="past")


@require_safe
def history_csv(request: Signed, pk: int) -> HttpResponse:
    """Joins, leaves, average size and turnover of each period of the window, oldest first."""
    found = seen(request, pk)
    past = Past(found)
    changes = past.timeline()
    window = _Window(request, changes)
    if window.problem:
        raise BadRequest(window.problem.partition(" Shown instead")[0])
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["since", "until", "joins", "leaves", "average_size", "turnover"])
    for one in past.turnovers(window.marks()) if changes else []:
        share = "" if one.turnover is None else f"{one.turnover:.6f}"
        rows.writerow([f"{one.since:%Y-%m-%d}", f"{one.until:%Y-%m-%d}", one.joins, one.leaves,
                       f"{one.average_size:.4f}", share])  # fmt: skip
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="universe_{found.pk}_turnover.csv"'
    return response


# --- The window --------------------------------------------------------------------------------------------------


class _Window:
    """What the address asks for: `since` and `until` as dates, or `range`; `by` is the length of a period."""

    def __init__(self, request: Signed, changes: list[Change]) -> None:
        today = timezone.now().astimezone(UTC).date()
        first = changes[-1].day.date() if changes else today
        given = request.GET
        self.problem, self.range = "", given.get("range", "all")
        since, until = _date(given.get("since", "")), _date(given.get("until", ""))
        if (given.get("since") and since is None) or (given.get("until") and until is None):
            self.problem = "Write both dates as 2024-03-08. Shown instead is the whole past."
            since = until = None
        if since or until:
            self.range = ""
        days = {value: long for value, _, long in PRESETS}.get(self.range)
        start = since or (max(first, today - timedelta(days=days)) if days else first)
        end = min(until, today) if until else today
        if start > end:
            self.problem = (
                f"{start} is after {end}: the window must begin before it ends. Shown instead is the whole past."
            )
            start, end = first, today
        self.since_day, self.until_day = max(start, date(1900, 1, 1)), end
        self.since = _midnight(self.since_day)
        self.until = min(_midnight(end + timedelta(days=1)), timezone.now())  # the last day counts whole
        if self.until <= self.since:
            self.until = self.since + timedelta(seconds=1)
        asked = given.get("by", "")
        self.by = asked if asked in MONTHS else self._usual()

    def _usual(self) -> str:
        """Some thirty periods."""
        months = (self.until_day - self.since_day).days / 30.4
        return "month" if months <= 36 else "quarter" if months <= 120 else "year"

    def marks(self) -> list[datetime]:
        """The window's begin, each first day of a period within, and its end."""
        step = MONTHS[self.by]
        while (self.until_day - self.since_day).days / 30.4 / step > MOST:
            step *= 12
        month = self.since_day.year * 12 + (self.since_day.month - 1)
        marks = [self.since]
        month += step - month % step
        while (mark := datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)) < self.until:
            marks.append(mark)
            month += step
        return [*marks, self.until]


def _date(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


# --- What is shown -----------------------------------------------------------------------------------------------


def _row(one: Turnover) -> dict[str, str]:
    last = one.until - timedelta(microseconds=1)
    return {
        "since": figures.day(one.since),
        "until": figures.day(last),
        "joins": figures.integer(one.joins),
        "leaves": figures.integer(one.leaves),
        "size": f"{one.average_size:.1f}",
        "turnover": _share(one),
    }


def _share(one: Turnover) -> str:
    return "" if one.turnover is None else figures.percent(one.turnover, 1).lstrip("+")


def _day_row(found: Universe, change: Change) -> dict[str, Any]:
    return {
        "day": figures.day(change.day),
        "url": f"{found.get_absolute_url()}?at={change.day:%Y-%m-%d}",
        "joined": change.joined[:SHOWN],
        "joined_more": max(0, len(change.joined) - SHOWN),
        "left": change.left[:SHOWN],
        "left_more": max(0, len(change.left) - SHOWN),
        "size": figures.integer(change.size),
    }


def _sentence(whole: Turnover) -> str:
    if whole.turnover is None:
        return "Nothing was in it in this window."
    joined = f"{figures.integer(whole.joins)} joined and {figures.integer(whole.leaves)} left"
    if not whole.joins and not whole.leaves:
        return f"Nobody joined or left after {figures.day(whole.since)}: the members of today are those of then."
    return (
        f"After {figures.day(whole.since)} {joined}, of {whole.average_size:.1f} members on average: a turnover of"
        f" {_share(whole)} %. A backtest on today’s members alone would not have known that."
    )


def _drawing(changes: list[Change], periods: list[Turnover], window: _Window) -> dict[str, Any]:
    """The number of members as steps, and below it a bar up for joins and one down for leaves of each period."""
    start, length = window.since.timestamp(), (window.until - window.since).total_seconds()

    def across(moment: datetime) -> float:
        return min(max((moment.timestamp() - start) / length, 0.0), 1.0) * WIDTH

    oldest = changes[::-1]
    before = [change.size for change in oldest if change.day <= window.since]
    sizes = [(window.since, before[-1] if before else 0)]
    sizes += [(change.day, change.size) for change in oldest if window.since < change.day < window.until]
    most = max(size for _, size in sizes) or 1
    points, level = [], None
    for moment, size in sizes:
        if level is not None:
            points.append(f"{across(moment):.1f},{_down(level, most):.1f}")
        points.append(f"{across(moment):.1f},{_down(size, most):.1f}")
        level = size
    points.append(f"{WIDTH:.1f},{_down(level or 0, most):.1f}")
    tallest = max((max(one.joins, one.leaves) for one in periods), default=0) or 1
    half = BARS / 2
    bars = []
    for one in periods:
        left, right = across(one.since), across(one.until)
        wide = max(1.0, min((right - left) * 0.7, 28))
        x = (left + right - wide) / 2
        up, down = one.joins / tallest * (half - 6), one.leaves / tallest * (half - 6)
        bars.append(
            {
                "x": f"{x:.1f}", "wide": f"{wide:.1f}", "up": f"{up:.1f}", "up_y": f"{half - up:.1f}",
                "down": f"{down:.1f}", "down_y": f"{half:.1f}",
                "title": _bar_title(one),
            }
        )  # fmt: skip
    return {
        "points": " ".join(points),
        "area": f"0,{SIZES} {' '.join(points)} {WIDTH},{SIZES}",
        "levels": [f"{_down(size, most):.1f}" for size in (most, most / 2)],
        "most": figures.integer(most),
        "bars": bars,
        "tallest": figures.integer(tallest),
        "width": WIDTH,
        "sizes": SIZES,
        "height": BARS,
        "half": half,
        "start": figures.day(window.since),
        "end": figures.day(window.until - timedelta(microseconds=1)),
    }


def _bar_title(one: Turnover) -> str:
    row = _row(one)
    share = f", turnover {row['turnover']} %" if row["turnover"] else ""
    return (
        f"{row['since']} to {row['until']}: {row['joins']} joined, {row['leaves']} left,"
        f" {row['size']} members on average{share}"
    )


def _down(size: float, most: int) -> float:
    return SIZES - size / most * (SIZES - 12)
