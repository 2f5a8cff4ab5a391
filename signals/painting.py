"""Drawings on paper: SVG for a document, that follows its width and theme, and PNG by Pillow, without a browser."""

from __future__ import annotations

import io
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from signals.drawings import Panel

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

# --- SVG ---------------------------------------------------------------------------------------------------------

UNITS = 1000  # of the box that is stretched to the panel's width and height
ABOVE, BELOW = 8, 22  # pixels for half of the highest label, and for the labels of time


def svg(panel: Panel, height: int) -> str:
    """So many pixels high; its style sheet gives the colours, and leaves room for labels at its right."""
    inner = height - ABOVE - BELOW
    parts = [f'<svg class="panel" height="{height}" role="img" aria-label="{escape(panel.title)}">']
    for level in panel.levels:
        y = ABOVE + inner * (1 - level.at)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
    box = f'viewBox="0 0 {UNITS} {UNITS}" preserveAspectRatio="none"'
    parts.append(f'<svg x="0" y="{ABOVE}" width="100%" height="{inner}" {box} overflow="visible">')
    for bar in panel.bars:
        left, top = bar.left * UNITS, (1 - bar.high) * UNITS
        size = f'width="{(bar.right - bar.left) * UNITS * 0.94:.1f}" height="{(bar.high - bar.low) * UNITS:.1f}"'
        parts.append(f'<rect class="{bar.tone}" x="{left:.1f}" y="{top:.1f}" {size}/>')
    for line in panel.lines:
        points = [f"{x * UNITS:.1f} {(1 - y) * UNITS:.1f}" for x, y in line.points.tolist()]
        if line.filled_from is not None and points:
            base = f"{(1 - line.filled_from) * UNITS:.1f}"
            first, last = (points[place].partition(" ")[0] for place in (0, -1))
            parts.append(f'<path class="wash {line.tone}" d="M{first} {base}L{"L".join(points)}L{last} {base}Z"/>')
        parts.append(f'<path class="line {line.tone}" d="M{"L".join(points)}"/>')
    parts.append("</svg>")
    for level in panel.levels:
        y = ABOVE + inner * (1 - level.at) + 4
        parts.append(f'<text x="100%" dx="8" y="{y:.1f}">{escape(level.text)}</text>')
    for moment in panel.moments:
        anchor = "start" if moment.at < 0.04 else "end" if moment.at > 0.96 else "middle"
        parts.append(f'<text x="{moment.at:.2%}" y="{height - 6}" text-anchor="{anchor}">{escape(moment.text)}</text>')
    return "".join([*parts, "</svg>"])


# --- PNG ---------------------------------------------------------------------------------------------------------

TONES = {
    "light": {
        "paper": "#ffffff", "ink": "#161e25", "soft": "#4f5a61", "grid": "#e6eaec", "hue-1": "#00778d",
        "hue-2": "#cc572a", "hue-3": "#6a4fa9", "gain-mark": "#008f7d", "loss-mark": "#d95633", "wash": "#f9e4de",
    },
    "dark": {
        "paper": "#12181d", "ink": "#e6eaed", "soft": "#9da6ad", "grid": "#20272d", "hue-1": "#49c4d8",
        "hue-2": "#f28c5c", "hue-3": "#b699eb", "gain-mark": "#3abca7", "loss-mark": "#e96f49", "wash": "#3a2a27",
    },
}  # fmt: skip
SIZE = WIDTH, HEIGHT = 1400, 900
FINER = 3  # times as large as it will be is what is drawn, so that edges come out smooth
LEFT, RIGHT, HEAD, FOOT, BETWEEN = 40, 96, 120, 64, 44


class Caption(NamedTuple):
    title: str
    subtitle: str
    foot: str


def png(caption: Caption, panels: list[tuple[Panel, float]], theme: str) -> bytes:
    """The panels one below the other, each with its share of the height; labels of time below the last."""
    from PIL import Image, ImageDraw

    tones = TONES[theme]
    drawn = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), tones["paper"])
    large = ImageDraw.Draw(drawn)
    boxes = _boxes([share for _, share in panels])
    for (panel, _), box in zip(panels, boxes, strict=True):
        _paint(large, panel, box, tones)
    image = drawn.resize(SIZE, Image.Resampling.BOX)
    small = ImageDraw.Draw(image)
    for (panel, _), box in zip(panels, boxes, strict=True):
        _label(small, panel, box, tones, with_moments=box is boxes[-1])
    _write(small, (LEFT, 28), caption.title, _font(24), tones["ink"], most=WIDTH - 2 * LEFT)
    _write(small, (LEFT, 64), caption.subtitle, _font(14), tones["soft"], most=WIDTH - 2 * LEFT)
    _write(small, (LEFT, HEIGHT - 22), caption.foot, _font(11), tones["soft"], most=WIDTH - 2 * LEFT)
    into = io.BytesIO()
    image.save(into, "PNG")
    return into.getvalue()


class _Box(NamedTuple):
    """Where a panel lies, in pixels."""

    left: float
    top: float
    width: float
    height: float

    def across(self, share: float) -> float:
        return self.left + share * self.width

    def down(self, share: float) -> float:
        return self.top + (1 - share) * self.height


def _boxes(shares: list[float]) -> list[_Box]:
    room = HEIGHT - HEAD - FOOT - BETWEEN * (len(shares) - 1)
    found, top = [], float(HEAD)
    for share in shares:
        height = room * share / sum(shares)
        found.append(_Box(LEFT, top, WIDTH - LEFT - RIGHT, height))
        top += height + BETWEEN
    return found


def _paint(into: ImageDraw, panel: Panel, box: _Box, tones: dict[str, str]) -> None:
    import numpy as np

    for level in panel.levels:
        y = box.down(level.at) * FINER
        ends = (box.left * FINER, y, (box.left + box.width) * FINER, y)
        into.line(ends, fill=tones["grid"], width=FINER)
    for line in panel.lines:
        across, up = line.points[:, 0], line.points[:, 1]
        points = np.column_stack([box.left + across * box.width, box.top + (1 - up) * box.height]) * FINER
        flat = points.ravel().tolist()
        if line.filled_from is not None and len(points) > 1:
            base = box.down(line.filled_from) * FINER
            into.polygon([flat[0], base, *flat, flat[-2], base], fill=tones["wash"])
        if len(points) > 1:
            into.line(flat, fill=tones[line.tone], width=2 * FINER, joint="curve")


def _label(into: ImageDraw, panel: Panel, box: _Box, tones: dict[str, str], *, with_moments: bool) -> None:
    small = _font(12)
    into.text((LEFT, box.top - 12), panel.title, font=_font(14), fill=tones["ink"], anchor="ls")
    if len(panel.lines) > 1:
        x = LEFT + _font(14).getlength(panel.title) + 28
        for line in reversed(panel.lines):
            into.line((x, box.top - 16, x + 18, box.top - 16), fill=tones[line.tone], width=3)
            into.text((x + 25, box.top - 12), line.name, font=small, fill=tones["soft"], anchor="ls")
            x += 25 + small.getlength(line.name) + 24
    for level in panel.levels:
        at = (box.left + box.width + 10, box.down(level.at))
        into.text(at, level.text, font=small, fill=tones["soft"], anchor="lm")
    if with_moments:
        for moment in panel.moments:
            at = (box.across(moment.at), box.top + box.height + 10)
            into.text(at, moment.text, font=small, fill=tones["soft"], anchor="mt")


def _write(into: ImageDraw, at: tuple[float, float], text: str, font: FreeTypeFont, tone: str, *, most: float) -> None:
    """One line; what is too long is cut."""
    if font.getlength(text) > most:
        while text and font.getlength(text + "…") > most:
            text = text[:-1]
        text += "…"
    into.text(at, text, font=font, fill=tone, anchor="lm")


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    spec = find_spec("ziafont")
    assert spec
    assert spec.origin
    return ImageFont.truetype(Path(spec.origin).parent / "fonts" / "DejaVuSans.ttf", size)
