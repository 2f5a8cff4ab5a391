"""Texts as they are compared: without accents and case, S&P and AT&T one word each.

`marketdata_folded` and `marketdata_words` in the database (migration 0004) do the same to what is stored.
"""

import re
import unicodedata

_marks = re.compile("[\u0300-\u036f]")
_between = re.compile(r"[\x00-/:-`{-\x7f]+")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe"} | dict.fromkeys("&.'’`")
)


def folded(text: str) -> str:
    """`Société Générale` as `societe generale`, `S&P 500` as `sp 500`."""
    bare = _marks.sub("", unicodedata.normalize("NFKD", text))
    return "".join(map(str.lower, bare)).translate(_LETTERS)


def words(text: str) -> list[str]:
    """Its words, folded, in their order."""
    return [word for word in _between.sub(" ", folded(text)).split(" ") if word]
