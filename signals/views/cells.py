"""The rows of a list of backtests as HTML: as a template they would cost half of the page's time."""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from chronos.core import figures
from chronos.core.models import Job
from signals import listing
from signals.listing import Column
from signals.models import Backtest

WORDS = {"queued": "Waiting", "running": "Running", "failed": "Failed", "cancelled": "Cancelled"}


@dataclass(frozen=True)
class Layout:
    """What the rows of one table have in common: its columns but the strategy, which always comes first."""

    shown: tuple[Column, ...]
    sorted_by: str
    query: str  # what the page's address asks for, so that a row comes back with the same columns
    now: datetime


def rows(found: Iterable[Backtest], layout: Layout) -> SafeString:
    base = reverse("signals:backtest", args=[0]).replace("0/", "{}/")
    here = reverse("signals:backtests")
    return mark_safe("\n".join(_row(one, layout, base, here) for one in found))  # noqa: S308 - escaped there


def _row(one: Backtest, layout: Layout, base: str, here: str) -> str:
    """The standard library escapes here: Django's way costs several times that."""
    name, symbol, state = html.escape(one.strategy_name), html.escape(one.asset.symbol), one.state
    waits = state in Job.UNFINISHED
    live = ""
    if waits and one.job_id:
        address = html.escape(f"{here}?{layout.query}{'&' if layout.query else ''}row={one.pk}")
        live = (
            f' data-job="{one.job_id}" hx-get="{address}" hx-trigger="job-{one.job_id} from:body" hx-target="this"'
            ' hx-swap="outerHTML"'
        )
    label = f"Choose {name} on {symbol}, {figures.moment(one.created_at)}"
    cells = [
        f'<tr class="{state}" data-backtest="{one.pk}"{live}><td class="choose"><label><input type="checkbox" name="id"'
        f' value="{one.pk}" aria-label="{label}"></label></td><th scope="row" class="sym">'
        f'<a href="{base.format(one.pk)}" title="{name}">{name}</a>{_marks(one)}</th>'
    ]
    figures_end = False
    for column in layout.shown:
        if column.measure and state != "done":
            if not figures_end:
                wide = sum(1 for each in layout.shown if each.measure)
                cells.append(f'<td class="why" colspan="{wide}">{_why(one, state)}</td>')
                figures_end = True
            continue
        cells.append(_cell(one, column, layout))
    return "".join((*cells, "</tr>"))


def _marks(one: Backtest) -> str:
    found = ""
    if one.stale:
        found += f'<em class="tag warn" title="{html.escape(one.stale)}: run it again">stale</em>'
    if one.asset.is_sample:
        found += '<em class="tag sample" title="Made of bundled history">sample</em>'
    return found


def _why(one: Backtest, state: str) -> str:
    """Instead of figures: how far it is, or why there are none."""
    says = ""
    if state == "failed":
        says = one.failure or (one.job.summary if one.job else "")
    elif state in Job.UNFINISHED and one.job:
        says = one.job.progress_note or ("for a worker" if state == "queued" else "")
    unfinished = "<i data-unfinished hidden></i>" if state in Job.UNFINISHED else ""
    said = html.escape(says)
    kind = "running" if state == "running" else state
    return (
        f'{unfinished}<span class="state {kind}">{WORDS[state]}</span> <span class="soft" title="{said}">{said}</span>'
    )


def _cell(one: Backtest, column: Column, layout: Layout) -> str:
    text, kind, title = html.escape(column.text(one)), column.kind, ""
    if column.key == "run":
        title, text = f"{text} UTC", figures.ago(one.created_at, layout.now)
    elif column.key == "state":
        text = f'<span class="state {one.state}">{WORDS.get(one.state, "Done")}</span>'
    elif column.key == "asset":
        title = html.escape(one.asset.name)
        text = f'{text} <span class="tag frame-tag">{one.timeframe}</span>'
    elif column.key == "span":
        title = listing.span(one)
    elif column.key == "note":
        title = text if len(text) > 24 else ""
    elif column.key == "warnings" and text:
        text = f'<span class="tag warn">{text}</span>'
    if "change" in kind:
        kind = f"{kind} {figures.direction(column.value(one))}"
    if column.key == layout.sorted_by:
        kind = f"{kind} sorted"
    told = f' title="{title}"' if title else ""
    return f'<td class="{kind}"{told}>{text}</td>'
