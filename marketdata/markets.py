"""Which market's calendar an asset follows, told by its exchange, its symbol and its class; nothing is guessed.

Exchanges are written as Yahoo Finance writes them (its codes and its names) or as ISO 10383 does. India's National
Stock Exchange keeps the Bombay exchange's days and hours, and exchange_calendars has only the latter.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from django.core.exceptions import ValidationError

from marketdata.models import Asset, AssetClass

ROUND_THE_CLOCK = "24/7"
FX = "24/5"
RULES = (ROUND_THE_CLOCK, FX)


class UnknownCalendar(Exception):
    """No market is called so, or its sessions are not stored; the text says what to do."""


_EXCHANGES = {
    "XNYS": "NYSE NYQ NYS XNAS XASE ARCX BATS OOTC NASDAQ NASDAQGS NASDAQGM NASDAQCM NMS NGM NCM NIM NAS NYSEARCA PCX"
    " NYSEAMERICAN NYSEMKT ASE AMEX BTS CBOEUS CBOEBZX CBOEINDICES WCB CXI OTCMARKETS OTCMARKETSOTCPK PNK OTC SNP"
    " DJI DOWJONES NASDAQGIDS",
    "XLON": "LSE LONDON IOB AIM FTSEINDEX FGI",
    "XETR": "XETRA GER",
    "XFRA": "FWB FRANKFURT FRA", "XSTU": "STUTTGART STU", "XDUS": "DUSSELDORF DUS", "XHAM": "HAMBURG HAM",
    "XPAR": "PARIS PAR EPA", "XAMS": "AMSTERDAM AMS", "XBRU": "BRUSSELS BRU", "XLIS": "LISBON LIS", "XDUB": "IRISH ISE",
    "XMIL": "MILAN MIL", "XMAD": "MCE MADRID", "XSWX": "SIX SWISS EBS VTX", "XWBO": "VIENNA VIE",
    "XSTO": "STOCKHOLM STO", "XCSE": "COPENHAGEN CPH", "XHEL": "HELSINKI HEL", "XOSL": "OSLO OSL OSE",
    "XICE": "ICELAND", "XWAR": "WARSAW WSE", "XPRA": "PRAGUE PRA", "XBUD": "BUDAPEST BUD", "ASEX": "ATHENS ATH",
    "XIST": "ISTANBUL IST", "XTAE": "TASE TELAVIV TLV", "XSAU": "SAUDI SAU TADAWUL", "XJSE": "JOHANNESBURG JNB JSE",
    "XTSE": "TSX TORONTO TOR XTSX TSXV VAN", "BVMF": "BMF B3 SAOPAULO SÃOPAULO SAO", "XMEX": "MEXICO MEX",
    "XBUE": "BUENOSAIRES BUE", "XSGO": "SANTIAGO SGO",
    "XTKS": "JPX TSE TOKYO OSAKA", "XHKG": "HKEX HKSE HKG", "XSHG": "SSE SHANGHAI SHH SHZ SHENZHEN XSHE SZSE",
    "XTAI": "TAIWAN TAI TPE", "XKRX": "KSE KSC KOE KOSDAQ KRX", "XBOM": "BSE BOMBAY NSE NSI XNSE",
    "XASX": "ASX SYDNEY", "XNZE": "NZSE NZE NZX", "XSES": "SES SGX SINGAPORE", "XIDX": "JKT JAKARTA",
    "XBKK": "SET THAILAND", "XKLS": "KLS KUALALUMPUR", "XPHS": "PHS PHILIPPINES",
    "CMES": "CME CBOT COMEX NYMEX CMX NYM CBT", "IEPA": "ICE ICEUS NYFE NYB ICEFUTURES", "XCBF": "CFE",
    ROUND_THE_CLOCK: "CCC CRYPTO", FX: "CCY FX FOREX",
}  # fmt: skip
_BY_NAME = {name: code for code, names in _EXCHANGES.items() for name in (code.upper(), *names.split())} | {
    "BVB": "XBSE", "LUXSE": "XLUX", "XNSE": "XBOM",
}  # fmt: skip

_BY_SUFFIX = {
    "L": "XLON", "IL": "XLON", "DE": "XETR", "F": "XFRA", "SG": "XSTU", "DU": "XDUS", "HM": "XHAM", "PA": "XPAR",
    "AS": "XAMS", "BR": "XBRU", "LS": "XLIS", "IR": "XDUB", "MI": "XMIL", "MC": "XMAD", "SW": "XSWX", "VI": "XWBO",
    "ST": "XSTO", "CO": "XCSE", "HE": "XHEL", "OL": "XOSL", "IC": "XICE", "WA": "XWAR", "PR": "XPRA", "BD": "XBUD",
    "AT": "ASEX", "IS": "XIST", "TA": "XTAE", "SR": "XSAU", "JO": "XJSE", "TO": "XTSE", "V": "XTSE", "SA": "BVMF",
    "MX": "XMEX", "BA": "XBUE", "SN": "XSGO", "T": "XTKS", "HK": "XHKG", "SS": "XSHG", "SZ": "XSHG", "TW": "XTAI",
    "TWO": "XTAI", "KS": "XKRX", "KQ": "XKRX", "NS": "XBOM", "BO": "XBOM", "AX": "XASX", "NZ": "XNZE", "SI": "XSES",
    "JK": "XIDX", "BK": "XBKK", "KL": "XKLS", "PS": "XPHS",
}  # fmt: skip

SUFFIXES = frozenset(_BY_SUFFIX)  # of symbols, each for an exchange

_INDICES = {
    "^GSPC": "XNYS", "^SPX": "XNYS", "^DJI": "XNYS", "^IXIC": "XNYS", "^NDX": "XNYS", "^RUT": "XNYS", "^VIX": "XNYS",
    "^OEX": "XNYS", "^NYA": "XNYS", "^FTSE": "XLON", "^GDAXI": "XETR", "^MDAXI": "XETR", "^TECDAX": "XETR",
    "^FCHI": "XPAR", "^AEX": "XAMS", "^BFX": "XBRU", "^IBEX": "XMAD", "^SSMI": "XSWX", "^OMX": "XSTO",
    "^N225": "XTKS", "^HSI": "XHKG", "^HSCE": "XHKG", "^NSEI": "XBOM", "^BSESN": "XBOM", "^AXJO": "XASX",
    "^AORD": "XASX", "^GSPTSE": "XTSE", "^BVSP": "BVMF", "^MXX": "XMEX", "^KS11": "XKRX", "^TWII": "XTAI",
    "^STI": "XSES", "^JKSE": "XIDX",
}  # fmt: skip
_METALS = ("XAU-", "XAG-", "XPT-", "XPD-")


def canonical_code(text: str) -> str:
    """The calendar that `text` means, such as XNYS for NASDAQ; itself, in its usual case, if it is no other name."""
    text = text.strip()
    return _BY_NAME.get(_key(text)) or (text.lower() if text.lower() == "us_futures" else text.upper())


@cache
def codes() -> frozenset[str]:
    """Every calendar there is, read from the names of the package's files: importing it takes seconds."""
    spec = find_spec("exchange_calendars")
    places = list(spec.submodule_search_locations or ()) if spec else []
    stems = [path.stem for place in places for path in Path(place).glob("exchange_calendar_*.py")]
    return frozenset({stem.removeprefix("exchange_calendar_").upper() for stem in stems} | {*RULES, "us_futures"})


def check_code(text: str) -> None:
    """Raise `ValidationError` unless `text` names a calendar or is empty."""
    if text and canonical_code(text) not in codes():
        raise ValidationError(unknown(text))


def unknown(text: str) -> str:
    """The sentence for a code that is none."""
    return (
        f"{text!r} is no calendar. Write the market's code, such as XNYS, XLON, XTKS or XHKG, or 24/7 for crypto and"
        " 24/5 for currencies; leave it empty to have it found by the exchange."
    )


def calendar_of(asset: Asset) -> str:
    """The asset's calendar; '' where nothing is sure."""
    if asset.calendar:
        return canonical_code(asset.calendar)
    match asset.asset_class:
        case AssetClass.CRYPTO:
            return ROUND_THE_CLOCK
        case AssetClass.FX:
            return FX
    return _BY_NAME.get(_key(asset.exchange)) or _by_symbol(asset)


def _key(exchange: str) -> str:
    return "".join(letter for letter in exchange.upper() if letter.isalnum() or letter == "/")


def _by_symbol(asset: Asset) -> str:
    symbol = asset.symbol.removesuffix(".SAMPLE")
    if asset.asset_class == AssetClass.INDEX:
        return _INDICES.get(symbol, "")
    if asset.asset_class == AssetClass.COMMODITY:
        return FX if symbol.startswith(_METALS) else "CMES" if symbol.endswith("=F") else ""
    if asset.exchange and not asset.is_sample:  # somewhere, and we do not know where
        return ""
    _, dot, suffix = symbol.rpartition(".")
    if not dot or (len(suffix) == 1 and suffix not in _BY_SUFFIX):  # BRK.B is a class of shares
        return "XNYS" if asset.currency in ("", "USD") else ""
    return _BY_SUFFIX.get(suffix, "")
