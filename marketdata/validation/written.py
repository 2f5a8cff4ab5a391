"""Symbols as people write and paste them: what is meant where only one thing can be, and why it is no symbol elsewhere.

Characters that are only another shape of an ASCII one (full-width ＡＡＰＬ, a typographic hyphen) are read as that, and
it is said. Letters of other alphabets that look like Latin ones are not: АAPL with a Cyrillic А is another text, and
whoever wrote it should see so.
"""

import re
import unicodedata
from dataclasses import dataclass

from marketdata.models import SYMBOL, canonical

SHOWN = 60  # characters of what was written, in an answer
LONGEST = 40
PLAUSIBLE = 12  # characters of what may be suggested
LOOKED_AT = 200  # characters; what is longer is no symbol, whatever is in it

_is_symbol = re.compile(rf"\A{SYMBOL}\Z").match
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d"), "-")
_SAME_SHAPE = ("<wide>", "<narrow>", "<font>", "<noBreak>", "<small>")
# Letters that look like Latin ones, upper and lower case in one: Cyrillic, Greek, Armenian, Cherokee in part.
_LOOK_ALIKE = str.maketrans(
    "АВЕКМНОРСТУХІЈЅԚԜҮ" "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" "ՍՏՕ" "ᎪᏴᏟᎠᎬᎻᎫᏞᎷᏢᏚᎢᏙᎳᏃ",
    "ABEKMHOPCTYXIJSQWY" "ABEZHIKMNOPTYX" "USO" "ABCDEHJLMPSTVWZ",
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """`symbol` is canonical, '' if it is malformed; `note` says how it was read, or why it can't be. `meant`: what it
    probably is, of a malformed one.
    """

    text: str
    symbol: str = ""
    note: str = ""
    meant: str = ""


def read(text: str) -> Written:
    """What is meant by `text`. Never raises, whatever is in it."""
    shown = _shown(text)
    if len(text) > LOOKED_AT:
        return Written(shown, note=f"This is a text of {len(text):,} characters; a symbol has at most {LONGEST}.")
    bare = _trimmed(text)
    if not bare:
        return Written(shown, note="There is no symbol here.")
    plain = _folded(bare)
    if why := _strange(plain):
        return Written(shown, note=why, meant=_salvaged(plain))
    joined = re.sub(r"\s*([-/.])\s*", r"\1", plain.removeprefix("$"))
    symbol = canonical(joined)
    if why := _refused(joined, symbol):
        return Written(shown, note=why, meant=_salvaged(joined))
    return Written(shown, symbol, f"Read as {symbol}." if joined != text.strip() else "")


def _shown(text: str) -> str:
    """The beginning, fit for a page or a log."""
    said = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[: SHOWN + 1].strip())
    return said if len(said) <= SHOWN and len(text) <= LOOKED_AT else f"{said[: SHOWN - 1]}…"


def _trimmed(text: str) -> str:
    """Without what can't be seen at its ends: spaces, marks of direction, a file's byte order mark."""
    first, last = 0, len(text)
    while first < last and _is_unseen(text[first]):
        first += 1
    while last > first and _is_unseen(text[last - 1]):
        last -= 1
    return text[first:last]


def _is_unseen(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) == "Cf"


def _folded(text: str) -> str:
    """With the usual shape of each character that is only another shape of one."""
    if text.isascii():
        return text
    return "".join(_usual(sign) for sign in text.translate(_HYPHENS))


def _usual(sign: str) -> str:
    return _plainest(sign) if unicodedata.decomposition(sign).startswith(_SAME_SHAPE) else sign


def _plainest(sign: str) -> str:
    """The one ASCII character that Unicode takes it for; itself if there is none."""
    plain = unicodedata.normalize("NFKC", sign)
    return plain if plain.isascii() and len(plain) == 1 else sign


def _large(sign: str) -> str:
    return sign.upper() if len(sign.upper()) == 1 else sign


def _strange(text: str) -> str:
    """Why it is no symbol, if a character in it is none of ours; '' if all are."""
    sign = next((sign for sign in text if not sign.isascii() or not sign.isprintable()), "")
    if not sign:
        return ""
    if not sign.isprintable():
        return f"There is a character in it that can’t be seen ({_called(sign)})."
    looks = _large(sign).translate(_LOOK_ALIKE)
    if looks.isascii():
        return f"“{sign}” is {_called(sign)}; it only looks like a Latin {looks}."
    return f"“{sign}” ({_called(sign)}) can’t be part of a symbol."


def _called(sign: str) -> str:
    name = unicodedata.name(sign, "")
    return f"U+{ord(sign):04X} {name.lower()}".strip()


def _refused(text: str, symbol: str) -> str:
    """Why it is no symbol; '' if it can be one."""
    if re.search(r"\s", text):
        return "A symbol has no spaces in it; separate several by commas or lines."
    if len(symbol) > LONGEST:
        return f"It has {len(symbol)} characters; a symbol has at most {LONGEST}."
    if odd := re.search(r"[^A-Z0-9.^=_-]", symbol):
        return f"“{odd[0]}” can’t be part of a symbol."
    if not _is_symbol(symbol):
        return f"A symbol begins with a letter, a digit or ^, not with “{symbol[:1]}”."
    if not re.search(r"[A-Z0-9]", symbol):
        return "A symbol has at least one letter or digit."
    return ""


def _salvaged(text: str) -> str:
    """The symbol that is left when look-alikes are Latin and what can't belong is gone; '' if that is guesswork."""
    pieces = text.split()
    if len(pieces) > 1:  # BRK B; else it is several symbols, or none
        text = "-".join(pieces) if len(pieces) == 2 and len(pieces[1]) == 1 else ""
    latin = "".join(_large(_plainest(sign)) for sign in text).translate(_LOOK_ALIKE)
    head, colon, tail = latin.partition(":")
    if colon and head.isascii() and head.isalpha():  # an exchange before it: NASDAQ:AAPL
        latin = tail
    kept = canonical(re.sub(r"[^A-Z0-9.^=_/-]", "", latin)).lstrip(".=_-")
    lost = [sign for sign in latin if not re.match(r"[A-Z0-9.^=_/-]", sign)]
    if len(lost) > 2 or any(sign.isalnum() for sign in lost) or latin.count("/") > 1 or len(kept) > PLAUSIBLE:
        return ""
    return kept if _is_symbol(kept) and re.search("[A-Z0-9]", kept) else ""
