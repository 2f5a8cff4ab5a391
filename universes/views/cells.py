"""The rows of a table of members as HTML: as a template they would cost half of the page's time."""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from chronos.core import figures
from marketdata.quotes import sparkline
from universes import columns
from universes.columns import Column, Member

LOUD = {"unknown", "delisted"}  # states that are told beside the symbol, whatever else is shown


@dataclass(frozen=True)
class Layout:
    """What the rows of one table have in common: its columns but the place and the symbol, and what can be done."""

    shown: tuple[Column, ...]
    sorted_by: str
    base: str  # the universe's address
    state: str  # what the page's address asks for, as it stands there
    placed: bool = True
    editable: bool = False
    movable: bool = False


def rows(members: Iterable[Member], layout: Layout) -> SafeString:
    return mark_safe("\n".join(_row(member, layout) for member in members))  # noqa: S308 - escaped there


def _row(member: Member, layout: Layout) -> str:
    """The standard library escapes here: Django's way costs several times that, a thousand times a page."""
    symbol, sample = html.escape(member.symbol), ' class="sample"' if member.asset.is_sample else ""
    cells = [
        f'<tr{sample} data-symbol="{symbol}"><td class="choose"><label><input type="checkbox" name="symbol"'
        f' value="{symbol}" aria-label="Choose {symbol}"></label></td>'
    ]
    if layout.placed:
        cells.append(f'<td class="number place">{_place(member, symbol, layout)}</td>')
    cells.append(
        f'<th scope="row" class="sym"><a href="{html.escape(member.asset.get_absolute_url())}"'
        f' title="{html.escape(member.asset.name)}">{symbol}</a>{_doubt(member)}</th>'
    )
    cells += [_cell(member, column, layout.sorted_by) for column in layout.shown]
    if layout.editable:
        edit = html.escape(f"{layout.base}members/{quote(member.symbol)}/")
        noted = " on" if member.stay.note or member.stay.tags else ""
        cells.append(
            f'<td class="act"><a class="edit{noted}" href="{edit}" hx-get="{edit}" hx-target="#note-body"'
            f' hx-swap="innerHTML" data-opens="note-dialog" aria-label="Note and tags of {symbol}"'
            f' title="Note and tags"><svg class="icon" aria-hidden="true"><use href="#i-note"/></svg></a></td>'
        )
    return "".join((*cells, "</tr>"))


def _place(member: Member, symbol: str, layout: Layout) -> str:
    """What it is dragged by, or without JavaScript nudged."""
    if not layout.movable:
        return str(member.place)
    move = html.escape(f"{layout.base}move/{'?' if layout.state else ''}{layout.state}")
    nudges = "".join(
        f'<button type="submit" name="{way}" value="{symbol}" formaction="{move}" aria-label="Move {symbol} {way}">'
        f"{arrow}</button>"
        for way, arrow in (("up", "↑"), ("down", "↓"))
    )
    return (
        f'<button type="button" class="grip js-only" aria-label="Move {symbol}, now at {member.place}"'
        f' title="Drag, or press space and the arrows">{member.place}</button>'
        f'<span class="no-js-only nudge">{nudges}</span>'
    )


def _doubt(member: Member) -> str:
    told = member.recognition
    if told is None or not (told.state in LOUD or (told.state == "unverified" and member.past is None)):
        return ""
    return f'<em class="tag warn" title="{html.escape(told.detail)}">{html.escape(told.word)}</em>'


def _cell(member: Member, column: Column, sorted_by: str) -> str:
    kind, title = column.kind, ""
    special = _SPECIAL.get(column.key)
    text: str = special(member) if special else html.escape(column.text(member) or figures.NOTHING)
    if "past" in column.needs and column.key not in ("age", "range"):
        title = columns.basis(member, column)
    if "change" in kind:
        kind = f"{kind} {figures.direction(column.value(member))}"  # type: ignore[arg-type]
    elif kind in ("words", "name"):
        title = column.text(member) if len(text) > 18 else ""
    if column.key == sorted_by:
        kind = f"{kind} sorted"
    told = f' title="{html.escape(title)}"' if title else ""
    return f'<td class="{kind}"{told}>{text}</td>'


def _spark(member: Member) -> SafeString:
    closes = member.closes
    if len(closes) < 2:
        return SafeString("")
    trend = figures.direction(closes[-1] / closes[0] - 1) if closes[0] else "flat"
    return mark_safe(  # noqa: S308 - figures and words of ours
        f'<svg class="spark {trend}" viewBox="0 0 96 24" preserveAspectRatio="none" role="img"'
        f' aria-label="Last {len(closes)} closes"><polyline points="{sparkline(closes)}"/></svg>'
    )


def _range(member: Member) -> SafeString:
    """A bar from the year's lowest to its highest price with a mark at the last close."""
    place = columns.position(member)
    if place is None:
        return SafeString(figures.NOTHING)
    says = columns.basis(member, columns.BY_KEY["range"])
    return mark_safe(  # noqa: S308 - figures and words of ours
        f'<svg class="range" viewBox="0 0 80 12" role="img" aria-label="{says}"><title>{says}</title>'
        f'<path d="M1 6H79"/><circle cx="{1 + 78 * place:.1f}" cy="6" r="4"/></svg>'
    )


def _age(member: Member) -> SafeString:
    fresh = member.fresh
    if fresh is None:
        return SafeString(f'<span class="num">{columns.BY_KEY["age"].text(member)}</span>')
    return format_html('<span class="fresh {}" title="{}">{}</span>', fresh.level, fresh.detail, fresh.word)


def _state(member: Member) -> SafeString:
    told = member.recognition
    if told is None:
        return SafeString("")
    return format_html('<span class="standing {}" title="{}">{}</span>', told.state, told.detail, told.word)


def _tags(member: Member) -> SafeString:
    return format_html_join(
        " ",
        '<a class="tag" href="{}" title="Only members with the tag {}">{}</a>',
        ((f"?{urlencode({'tag': tag})}", tag, tag) for tag in member.stay.tags),
    )


def _note(member: Member) -> SafeString:
    note = member.stay.note
    return format_html('<span class="noted" title="{}">{}</span>', note, note) if note else SafeString("")


def _joined(member: Member) -> SafeString:
    return SafeString(escape(columns.BY_KEY["joined"].text(member)))


_SPECIAL = {
    "trend": _spark, "range": _range, "age": _age, "state": _state, "tags": _tags, "note": _note, "joined": _joined,
}  # fmt: skip
