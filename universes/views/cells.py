"""The cells of a table of members as HTML: an include a cell would cost more than the queries of the page."""

import html
from typing import Any
from urllib.parse import quote, urlencode

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from chronos.core import figures
from marketdata.quotes import sparkline
from universes import columns
from universes.columns import Column, Member

LOUD = {"unknown", "delisted"}  # states that are told beside the symbol, whatever else is shown


def row(member: Member, shown: tuple[Column, ...], sorted_by: str, base: str) -> dict[str, Any]:
    """One member's row: what stands in each of the chosen columns but the place and the symbol."""
    asset = member.asset
    silent, told = member.past is None, member.recognition
    return {
        "symbol": member.symbol,
        "url": asset.get_absolute_url(),
        "name": asset.name,
        "place": member.place,
        "sample": asset.is_sample,
        "silent": silent,
        "state": told.word if told and (told.state in LOUD or (told.state == "unverified" and silent)) else "",
        "state_detail": told.detail if told else "",
        "edit": f"{base}members/{quote(member.symbol)}/",
        "noted": bool(member.stay.note or member.stay.tags),
        "cells": mark_safe("".join(_cell(member, column, sorted_by) for column in shown)),  # noqa: S308 - escaped there
    }


def _cell(member: Member, column: Column, sorted_by: str) -> str:
    """As HTML. The standard library escapes here: Django's way costs several times that, a thousand times a page."""
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
