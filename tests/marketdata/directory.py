"""Lines for a symbol master: real names that everybody knows, and as many made-up ones as a test wants."""

import random
from collections.abc import Iterable
from pathlib import Path

HEAD = ("symbol", "name", "type", "exchange", "mic", "currency", "country", "sector", "industry", "market_cap", "isin",
        "sp500", "source")  # fmt: skip
US, IT = "United States", "Information Technology"

_SHORT = {"US": US, "IT": IT, "Comm": "Communication Services", "Cons": "Consumer Discretionary"} | {
    size: f"{size} Cap" for size in ("Mega", "Large", "Mid", "Small")
}
_REAL = """
AAPL|Apple Inc.|EQUITY|NMS|XNAS|USD|US|IT|Technology Hardware|Mega|US0378331005|True
AAPL.MX|Apple Inc.|EQUITY|MEX|XMEX|MXN|US|IT|Technology Hardware|Mega|US0378331005
APC.DE|Apple Inc.|EQUITY|GER|XETR|EUR|US|IT|Technology Hardware|Mega|US0378331005
APLE|Apple Hospitality REIT, Inc.|EQUITY|NYQ|XNYS|USD|US|Real Estate|REITs|Mid
MSFT|Microsoft Corporation|EQUITY|NMS|XNAS|USD|US|IT|Software|Mega|US5949181045|True
GOOGL|Alphabet Inc.|EQUITY|NMS|XNAS|USD|US|Comm|Media|Mega||True
GOOG|Alphabet Inc.|EQUITY|NMS|XNAS|USD|US|Comm|Media|Mega||True
GOGO|Gogo Inc.|EQUITY|NMS|XNAS|USD|US|Comm|Media|Small
META|Meta Platforms, Inc.|EQUITY|NMS|XNAS|USD|US|Comm|Media|Mega||True
TSLA|Tesla, Inc.|EQUITY|NMS|XNAS|USD|US|Cons|Automobiles|Mega||True
NVDA|NVIDIA Corporation|EQUITY|NMS|XNAS|USD|US|IT|Semiconductors|Mega||True
T|AT&T Inc.|EQUITY|NYQ|XNYS|USD|US|Comm|Telecoms|Mega||True
MCD|McDonald’s Corporation|EQUITY|NYQ|XNYS|USD|US|Cons|Restaurants|Mega||True
BRK-B|Berkshire Hathaway Inc.|EQUITY|NYQ|XNYS|USD|US|Financials|Insurance|Mega||True
BRK/B|Berkshire Hathaway Inc.|EQUITY|ASE|XASE|USD|US|Financials||Mega
BRK-A|Berkshire Hathaway Inc.|EQUITY|NYQ|XNYS|USD|US|Financials|Insurance|Mega
TM|Toyota Motor Corporation|EQUITY|NYQ|XNYS|USD|Japan|Cons|Automobiles|Mega
7203.T|Toyota Motor Corporation|EQUITY|JPX|XJPX|JPY|Japan|Cons|Automobiles|Mega
0700.HK|Tencent Holding Ltd.|EQUITY|HKG|XHKG|HKD|China|Comm|Media|Mega
SIE.DE|Siemens Aktiengesellschaft|EQUITY|GER|XETR|EUR|Germany|Industrials|Machinery|Large
SHEL.L|Shell plc |EQUITY|LSE|XLON|GBP|United Kingdom|Energy|Oil & Gas|Large|GB00BP6MXD84
GLE.PA|Société Générale SA|EQUITY|PAR|XPAR|EUR|France|Financials|Banks|Large
MAERSK-B.CO|A.P. Møller - Mærsk A/S|EQUITY|CPH|XCSE|DKK|Denmark|Industrials|Marine|Large
M&M.NS|Mahindra & Mahindra Limited|EQUITY|NSE|XNSE|INR|India|Cons|Automobiles|Large
SPY|SPDR S&P 500 ETF Trust|ETF|PCX|ARCX|USD||Equities|Large Cap
VTI|Vanguard Total Stock Market Index Fund ETF Shares|ETF|PCX|ARCX|USD||Equities|Blend
VXUS|Vanguard Total International Stock Index Fund ETF Shares|ETF|NGM|XNAS|USD||Equities|Blend
IS3N.DE|iShares Core MSCI Emerging Markets IMI UCITS ETF|ETF|GER|XETR|EUR||Equities|Emerging Markets
^GSPC|S&P 500|INDEX|SNP||USD||Equities
^IXIC|NASDAQ Composite|INDEX|NIM||USD||Equities
^GDAXI|DAX PERFORMANCE-INDEX|INDEX|GER|XETR|EUR||Equities
EURUSD=X|EUR/USD|CURRENCY|CCY||USD
JPY=X|USD/JPY|CURRENCY|CCY||JPY
XAUUSD=X|XAU/USD|CURRENCY|CCY||USD
BTC-USD|Bitcoin USD|CRYPTOCURRENCY|CCC||USD
ETH-USD|Ethereum USD|CRYPTOCURRENCY|CCC||USD
VFIAX|Vanguard 500 Index Fund Admiral Shares|MUTUALFUND|NAS||USD||Equities|Large Cap
"""


def _row(line: str) -> tuple[str, ...]:
    cells = [_SHORT.get(cell, cell) for cell in line.split("|")]
    return (*cells, *[""] * (len(HEAD) - 1 - len(cells)), "directory A")


REAL = [_row(line) for line in _REAL.strip().splitlines()]

_FIRST = (
    "North", "South", "East", "West", "New", "First", "Global", "Pacific", "Atlantic", "Alpine", "Nordic", "Royal",
    "United", "General", "National", "Premier", "Advanced", "Applied", "Digital", "Quantum", "Silver", "Golden",
    "Iron", "Blue", "Green", "Red", "Summit", "River", "Ocean", "Delta",
)  # fmt: skip
_SECOND = (
    "Energy", "Capital", "Mining", "Therapeutics", "Software", "Motors", "Foods", "Steel", "Water", "Solar", "Media",
    "Bank", "Insurance", "Logistics", "Aerospace", "Semiconductor", "Robotics", "Pharma", "Realty", "Holdings",
    "Partners", "Growth", "Income", "Bond", "Equity", "Index",
)  # fmt: skip
_LAST = (
    "Inc.", "Corp.", "Ltd.", "plc", "AG", "SA", "NV", "Group", "Fund", "ETF", "Trust", "Company", "Limited",
    "Corporation",
)  # fmt: skip
_SECTORS = (
    "Financials",
    "Industrials",
    "Materials",
    "Energy",
    "Utilities",
    "Equities",
    IT,
    "Health Care",
    "Real Estate",
)
_PLACES = (
    ("NYQ", "XNYS", "USD", US, ""), ("NMS", "XNAS", "USD", US, ""), ("GER", "XETR", "EUR", "Germany", ".DE"),
    ("MUN", "XMUN", "EUR", "Germany", ".MU"), ("BER", "XBER", "EUR", US, ".BE"), ("JPX", "XJPX", "JPY", "Japan", ".T"),
    ("LSE", "XLON", "GBP", "United Kingdom", ".L"), ("NSE", "XNSE", "INR", "India", ".NS"),
)  # fmt: skip
_CAPS = ("Mega Cap", "Large Cap", "Mid Cap", "Small Cap", "Micro Cap", "Nano Cap", "Nano Cap", "", "", "")


def made_up(many: int, seed: int = 1) -> list[tuple[str, ...]]:
    """`many` lines that no exchange has, the same for the same seed; a third of them indices, as in life."""
    chance = random.Random(seed)
    rows: dict[str, tuple[str, ...]] = {}
    while len(rows) < many:
        letters = "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=chance.choice((3, 4, 4, 5, 5, 6))))
        name = f"{chance.choice(_FIRST)} {letters.title()} {chance.choice(_SECOND)} {chance.choice(_LAST)}"
        exchange, mic, currency, country, suffix = chance.choice(_PLACES)
        sector = chance.choice(_SECTORS)
        kind = chance.choices(("EQUITY", "INDEX", "ETF", "CRYPTOCURRENCY"), (40, 35, 21, 2))[0]
        if kind == "INDEX":
            symbol = f"^{'NQ' if len(rows) % 3 else ''}{letters}"
            row = (symbol, name, kind, "NIM", "", "USD", "", "Equities", "", "", "", "")
        elif kind == "CRYPTOCURRENCY":
            row = (f"{letters}-USD", f"{letters.title()} USD", kind, "CCC", "", "USD", "", "", "", "", "", "")
        else:
            cap, at_large = chance.choice(_CAPS) if kind == "EQUITY" else "", f"{sector} at large"
            row = (letters + suffix, name, kind, exchange, mic, currency, country, sector, at_large, cap, "", "")
        rows[row[0]] = (*row, "directory A")
    return list(rows.values())


def table(rows: Iterable[tuple[str, ...]] = REAL):
    """Lines as `load` takes them."""
    import pyarrow as pa

    from marketdata.directory import sources

    columns = list(zip(*rows, strict=True))
    return sources.shaped(pa.table([pa.array(column) for column in columns], names=list(HEAD)), "a test", "a test")


def load(rows: Iterable[tuple[str, ...]] = REAL, **options):
    from marketdata.directory import listings

    return listings.load(table(rows), **options)


def write_csv(path: Path, rows: Iterable[tuple[str, ...]] = REAL, head: tuple[str, ...] = HEAD) -> Path:
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return path
