"""What somebody may have meant by a symbol that nobody knows: near misses, other spellings, former names, companies.

All that a slip of the finger could have made of a symbol is generated and looked up at once, which costs one query
however many symbols are asked for; only what is two slips away is compared to every well-known line.
"""

import re
from collections.abc import Iterable, Iterator

from django.db import connection

from marketdata.directory.folding import words
from marketdata.directory.importance import COINS, WELL_KNOWN, importance
from marketdata.markets import SUFFIXES
from marketdata.models import SYMBOL, AssetClass, canonical
from marketdata.symbols import MONEY

LONGEST = 24  # no symbol that a slip could have made is longer
PULL = 0.6  # by which the most sought line comes before one that nobody seeks: less than a slip, more than its kind

# What a slip costs, the likelier the less; two are worse than any one.
RENAMED, RESPELT, DOUBLED, SWAPPED, OF_THE_NAME, NEIGHBOUR, MISSED, OTHER = 0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0
TWO = 1.8
IN_THE_NAME = 0.95
AT_THE_START = 0.15  # more: people rarely get the first letter wrong

# Shares that are listed under another symbol since, by the companies' own announcements.
FORMER = {
    "FB": "META", "SQ": "XYZ", "ANTM": "ELV", "RDS.A": "SHEL", "RDS-A": "SHEL", "UTX": "RTX", "PCLN": "BKNG",
    "KORS": "CPRI", "LB": "BBWI", "CTL": "LUMN", "MYL": "VTRS", "ABC": "COR", "WLTW": "WTW", "BLL": "BALL",
    "NLOK": "GEN", "SYMC": "GEN", "PKI": "RVTY", "RE": "EG", "PEAK": "DOC", "HCP": "DOC", "FLT": "CPAY",
    "CDAY": "DAY", "HRS": "LHX", "JEC": "J", "ADS": "BFH", "FBHS": "FBIN", "COG": "CTRA", "HFC": "DINO",
    "GPS": "GAP", "DISCA": "WBD", "DISCK": "WBD", "WCG": "CNC", "BBT": "TFC", "COH": "TPR", "TMK": "GL",
    "VIAC": "PARA", "CBS": "PARA", "KSU": "CP", "QRTEA": "QVCGA", "LVNTA": "QVCGA",
}  # fmt: skip
_INDEX_NAMES = {
    "SPX": "^GSPC", "SP500": "^GSPC", "S&P500": "^GSPC", "S&P": "^GSPC", "US500": "^GSPC", "DOW": "^DJI",
    "DJIA": "^DJI", "US30": "^DJI", "NASDAQ": "^IXIC", "NASDAQ100": "^NDX", "NAS100": "^NDX", "US100": "^NDX",
    "RUSSELL2000": "^RUT", "DAX": "^GDAXI", "DAX40": "^GDAXI", "GER40": "^GDAXI", "FTSE100": "^FTSE", "UKX": "^FTSE",
    "CAC40": "^FCHI", "CAC": "^FCHI", "NIKKEI": "^N225", "NIKKEI225": "^N225", "NI225": "^N225", "HANGSENG": "^HSI",
    "EUROSTOXX50": "^STOXX50E", "SX5E": "^STOXX50E", "IBEX35": "^IBEX", "SMI": "^SSMI", "GOLD": "XAU-USD",
    "SILVER": "XAG-USD",
}  # fmt: skip
_COIN_NAMES = {"XBT": "BTC", "BITCOIN": "BTC", "ETHEREUM": "ETH", "SOLANA": "SOL", "RIPPLE": "XRP", "DOGECOIN": "DOGE"}

_ROWS = ("1234567890", "QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM")
_LOOKALIKES = {"0": "O", "O": "0", "1": "IL", "I": "1L", "L": "1I", "5": "S", "S": "5", "8": "B", "B": "8"}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"


def suggestions(symbol: str, limit: int = 3) -> list[str]:
    """Up to `limit` symbols that are stored or listed and may have been meant, the likeliest first; never itself."""
    return suggestions_for([symbol], limit)[symbol]


def suggestions_for(symbols: Iterable[str], limit: int = 3) -> dict[str, list[str]]:
    """`suggestions` of each, by the symbol as it was given: 5,000 cost a second or two."""
    meant = {written: _Meant(written) for written in symbols}
    known = _known({guess for one in meant.values() for guess in one.guesses})
    for one in meant.values():
        one.keep(known)
    _by_name([one for one in meant.values() if one.words])
    far = [one for one in meant.values() if len(one.found) < limit and 5 <= len(one.symbol) <= LONGEST]
    _two_slips(far)
    return {written: one.best(limit) for written, one in meant.items()}


class _Meant:
    """One mistyped symbol: `guesses` by what they cost; `found`, those that exist, with how much they are sought."""

    def __init__(self, written: str) -> None:
        self.symbol = canonical(written[:200])
        self.words = _name_words(written)
        self.guesses: dict[str, float] = {}
        self.found: dict[str, tuple[float, int]] = {}
        if 0 < len(self.symbol) <= LONGEST:
            for guess, cost in _respelt(written.strip().upper(), self.symbol):
                self._guess(guess, cost)
            for guess, cost in _slips(self.symbol):
                self._guess(guess, cost)

    def _guess(self, guess: str, cost: float) -> None:
        if guess != self.symbol and cost < self.guesses.get(guess, 9):
            self.guesses[guess] = cost

    def keep(self, known: dict[str, int]) -> None:
        self.found = {guess: (cost, known[guess]) for guess, cost in self.guesses.items() if guess in known}

    def add(self, symbol: str, cost: float, sought: int) -> None:
        if symbol != self.symbol and cost < self.found.get(symbol, (9, 0))[0]:
            self.found[symbol] = cost, sought

    def best(self, limit: int) -> list[str]:
        def rank(symbol: str) -> tuple[float, int, str]:
            cost, sought = self.found[symbol]
            return cost - PULL * sought / 32768, len(symbol), symbol

        return sorted(self.found, key=rank)[:limit]


# --- Other spellings ---------------------------------------------------------------------------------------------


def _respelt(written: str, symbol: str) -> Iterator[tuple[str, float]]:
    """What is spelt otherwise elsewhere: separators, carets, suffixes, prefixes of venues, former symbols."""
    for table in (FORMER, _INDEX_NAMES):
        if symbol in table:
            yield table[symbol], RENAMED
    yield "^" + symbol.lstrip("^"), RESPELT
    yield symbol.lstrip("^"), RESPELT
    if ":" in written:  # NASDAQ:AAPL
        yield canonical(written.rpartition(":")[2]), RENAMED
    yield from _pairs(symbol)
    yield from _classes_of_shares(symbol)
    yield from _venues(symbol)


def _pairs(symbol: str) -> Iterator[tuple[str, float]]:
    """BTCUSD as BTC-USD, XBT-USD as BTC-USD, a coin in dollars as in tether; EURUSD as EUR-USD."""
    bare = re.sub(r"[^A-Z0-9]", "", symbol)
    if coin := _COIN_NAMES.get(bare, bare if bare in COINS else ""):
        yield f"{coin}-USD", RESPELT
        yield f"{coin}-USDT", RESPELT + 0.05
    for quote in sorted(MONEY, key=len, reverse=True):
        base = bare.removesuffix(quote)
        if 2 <= len(base) < len(bare):
            base = _COIN_NAMES.get(base, base)
            yield f"{base}-{quote}", RESPELT
            if base in COINS:
                for other in ("USD", "USDT", "USDC", "EUR"):
                    yield f"{base}-{other}", DOUBLED


def _classes_of_shares(symbol: str) -> Iterator[tuple[str, float]]:
    """BRK.B, BRK_B, BRKB and BRK.B.US as BRK-B."""
    bare = symbol.removesuffix(".US")
    yield bare, RENAMED
    for separator in "-.=_":
        yield re.sub(r"[.=_&-]", separator, bare), RESPELT
    yield re.sub(r"[.=_&-]", "", bare), RESPELT
    if bare[-1:] in "ABC" and 3 <= len(bare) <= 6 and bare.isalpha():
        yield f"{bare[:-1]}-{bare[-1]}", RESPELT
    base, dot, last = bare.rpartition(".")
    if dot and last in ("O", "OQ", "N", "NY", "A", "K", "P"):  # as Reuters has New York and Nasdaq
        yield base, RESPELT


def _venues(symbol: str) -> Iterator[tuple[str, float]]:
    """7203 as 7203.T, SIE as SIE.DE, SIE.F too, 0700HK as 0700.HK, 700.HK as well."""
    base, dot, suffix = symbol.rpartition(".")
    if not dot:
        base, suffix = symbol, ""
        for length in (1, 2, 3):
            if symbol[-length:] in SUFFIXES and len(symbol) > length + 1:
                yield f"{symbol[:-length]}.{symbol[-length:]}", RESPELT
                yield f"{symbol[: -length - 1]}.{symbol[-length:]}", OTHER
    elif suffix not in SUFFIXES and len(suffix) > 3:
        return
    digits = base.isdigit()
    for other in SUFFIXES:
        if other != suffix:
            yield f"{base}.{other}", (RESPELT if digits and not dot else DOUBLED)
        if digits and len(base) < 6:
            for width in (4, 6):
                yield f"{base.zfill(width)}.{other}", (RESPELT if other == suffix else NEIGHBOUR)
    if dot:
        yield base, NEIGHBOUR


# --- Slips of the finger -----------------------------------------------------------------------------------------


def _beside() -> dict[str, str]:
    """The keys beside each key."""
    found: dict[str, set[str]] = {key: set(alike) for key, alike in _LOOKALIKES.items()}
    for above, row in zip(("", *_ROWS), _ROWS, strict=False):
        for place, key in enumerate(row):
            near = {*row[max(0, place - 1) : place + 2], *above[place : place + 2]} - {key}
            found.setdefault(key, set()).update(near)
            for other in near:
                found.setdefault(other, set()).add(key)
    return {key: "".join(sorted(keys)) for key, keys in found.items()}


_BESIDE = _beside()


def _slips(symbol: str) -> Iterator[tuple[str, float]]:
    """Everything that one slip can have been made of, with what the slip costs; the venue's suffix is left alone."""
    base, dot, suffix = symbol.rpartition(".")
    if not dot or suffix not in SUFFIXES:
        base, tail = symbol, ""
    else:
        tail = dot + suffix
    first = 1 if base.startswith("^") else 0
    alphabet = (_LETTERS if re.search("[A-Z]", base) else "") + (_DIGITS if re.search("[0-9]", base) else "")
    for place in range(first, len(base)):
        early = AT_THE_START if place == first else 0
        before, here, after = base[:place], base[place], base[place + 1 :]
        repeats = here in (before[-1:], after[:1])
        yield before + after + tail, (DOUBLED if repeats else MISSED + early)
        if after and after[0] != here:
            yield before + after[0] + here + after[1:] + tail, SWAPPED + early
        for other in {*alphabet, *_BESIDE.get(here, "")} - {here}:
            # AAPL as APPL: the wrong one of two letters was doubled
            shifted = other in (before[-1:], after[:1]) and repeats
            near = other in _BESIDE.get(here, "")
            cost = DOUBLED if shifted else NEIGHBOUR + early if near else OTHER + early
            yield before + other + after + tail, cost
    for place in range(first, len(base) + 1):
        before, after = base[:place], base[place:]
        for other in alphabet:
            doubled = other in (before[-1:], after[:1])
            early = AT_THE_START if place == first and not doubled else 0
            yield before + other + after + tail, (DOUBLED if doubled else MISSED + early)


# --- What exists -------------------------------------------------------------------------------------------------

_is_symbol = re.compile(SYMBOL).fullmatch
_KNOWN = """
WITH guessed AS (SELECT string_to_array(%(symbols)s, ' ') AS symbols)
SELECT symbol, importance FROM marketdata_listing WHERE symbol = ANY((SELECT symbols FROM guessed)::text[])
UNION ALL SELECT symbol, 0 FROM marketdata_asset WHERE symbol = ANY((SELECT symbols FROM guessed)::text[])
"""


def _known(guesses: Iterable[str]) -> dict[str, int]:
    """Those of them that exist, with how much they are sought. Whatever trades against money is taken as existing, if
    the coin is well known: directories have few of the pairs that exchanges have.
    """
    possible = [guess for guess in guesses if _is_symbol(guess)]
    found = {guess: _of_a_pair(guess) for guess in possible if "-" in guess and _of_a_pair(guess)}
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, {"symbols": " ".join(possible)})
        for symbol, sought in cursor.fetchall():
            found[symbol] = max(sought, found.get(symbol, 0))
    return found


def _of_a_pair(symbol: str) -> int:
    base, _, quote = symbol.partition("-")
    if base not in COINS or quote not in ("USD", "USDT"):
        return 0
    return importance(symbol, AssetClass.CRYPTO, exchange="", country="", cap_class="")


# --- Names of companies ------------------------------------------------------------------------------------------

_NAMED = f"""
SELECT place, symbol, importance, begins FROM unnest(%(queries)s::text[], %(beginnings)s::text[])
    WITH ORDINALITY AS asked (query, beginning, place)
CROSS JOIN LATERAL (
    SELECT symbol, importance, starts_with(marketdata_folded(name), beginning) AS begins FROM marketdata_listing
    WHERE marketdata_words(name) @@ query::tsquery AND importance >= {WELL_KNOWN}
    ORDER BY begins DESC, importance DESC LIMIT 3
) AS best
"""  # noqa: S608


def _name_words(written: str) -> list[str]:
    """The words of what may be a company's name rather than a symbol."""
    said = words(written[:60])
    plain = [word for word in said if word.isascii() and word.isalnum()]
    return said if said and len(plain) == len(said) and max(map(len, said)) > 2 and not written.startswith("^") else []


def _by_name(asked: list[_Meant]) -> None:
    if not asked:
        return
    with connection.cursor() as cursor:
        scope = {
            "queries": [" & ".join(one.words) for one in asked],
            "beginnings": [" ".join(one.words) for one in asked],
        }
        cursor.execute(_NAMED, scope)
        for place, symbol, sought, begins in cursor.fetchall():
            asked[place - 1].add(symbol, OF_THE_NAME if begins else IN_THE_NAME, sought)


# --- Two slips ---------------------------------------------------------------------------------------------------


def _two_slips(asked: list[_Meant]) -> None:
    """Compared with every well-known line: two slips away of the others is nearly everything."""
    if not asked:
        return
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT symbol, importance FROM marketdata_listing WHERE importance >= {WELL_KNOWN}")  # noqa: S608
        pool = dict(cursor.fetchall())
    if not pool:
        return
    names = list(pool)
    for one in asked:
        for symbol, _, _ in process.extract_iter(one.symbol, names, scorer=OSA.distance, score_cutoff=2):
            one.add(symbol, TWO + AT_THE_START * (symbol[0] != one.symbol[0]), pool[symbol])
