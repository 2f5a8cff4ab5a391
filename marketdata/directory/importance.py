"""What a person most likely means, of all that is listed: a number for each line of the symbol master."""

from collections.abc import Sequence

from marketdata.directory.exchanges import EXCHANGES, IN_THE_US
from marketdata.models import AssetClass, CapClass
from marketdata.symbols import FIAT, METALS

WELL_KNOWN = 6000  # from here on a line is looked at first; the partial indexes of the table say the same number

_SIZE = {
    CapClass.MEGA: 12000, CapClass.LARGE: 8000, CapClass.MID: 5000, CapClass.SMALL: 3000, CapClass.MICRO: 1500,
    CapClass.NANO: 800,
}  # fmt: skip
_INDICES = (
    "^GSPC", "^DJI", "^IXIC", "^NDX", "^VIX", "^RUT", "^FTSE", "^GDAXI", "^FCHI", "^STOXX50E", "^STOXX", "^N225",
    "^HSI", "^SPX", "^NYA", "^OEX", "^MID", "^SP600", "^W5000", "^DJT", "^DJU", "^SOX", "^AEX", "^BFX", "^IBEX",
    "^SSMI", "^OMX", "^OMXS30", "^OMXC25", "^OMXH25", "^MDAXI", "^TECDAX", "^FTMC", "^FTAS", "^ATX", "^BVSP", "^MXX",
    "^MERV", "^GSPTSE", "^AXJO", "^AORD", "^NSEI", "^BSESN", "^KS11", "^KQ11", "^TWII", "^STI", "^JKSE", "^KLSE",
    "^NZ50", "^HSCE", "^SSEC", "^TA125", "^TNX", "^TYX", "^FVX", "^IRX", "^XAU", "^XOI", "^HGX", "^BKX", "^VXN",
    "^VVIX", "^SKEW", "^GVZ", "^OVX", "^RUI", "^RUA", "^RUT", "^IXUT", "^NBI", "^XAX",
)  # fmt: skip
_SHARES = (
    "AAPL", "MSFT", "NVDA", "GOOGL", "AMZN", "META", "TSLA", "AVGO", "BRK-B", "JPM", "V", "LLY", "WMT", "MA", "NFLX",
    "ORCL", "XOM", "COST", "JNJ", "HD", "PG", "BAC", "KO", "AMD", "DIS", "PEP", "CSCO", "MCD", "CRM", "INTC", "IBM",
    "ADBE", "NKE", "BA", "GE", "GS", "PFE", "UBER", "PYPL", "QCOM", "T", "PLTR",
)  # fmt: skip
_FUNDS = (
    "SPY", "VOO", "IVV", "QQQ", "VTI", "IWM", "DIA", "VEA", "VWO", "VXUS", "BND", "AGG", "TLT", "GLD", "SLV", "EEM",
    "EFA", "IEMG", "IEFA", "VUG", "VTV", "IJH", "IJR", "VIG", "VYM", "SCHD", "QQQM", "XLK", "XLF", "XLE", "XLV",
    "XLI", "XLY", "XLP", "XLU", "XLB", "XLRE", "XLC", "ARKK", "SMH", "SOXX", "IBIT", "USO", "UNG", "LQD", "HYG",
    "TIP", "SHY", "IEF", "BIL", "SGOV", "JEPI", "TQQQ", "SQQQ", "RSP", "MDY", "VNQ", "GDX", "GDXJ", "KWEB", "FXI",
    "INDA", "EWJ", "VT", "ACWI", "VGT", "MTUM", "USMV", "QUAL", "XBI", "IBB", "KRE", "XOP", "XHB", "ITA", "VXX",
    "UVXY",
)  # fmt: skip
COINS = (
    "BTC", "ETH", "SOL", "XRP", "BNB", "ADA", "DOGE", "AVAX", "DOT", "LTC", "LINK", "BCH", "TRX", "MATIC", "TON",
    "SHIB", "XLM", "UNI", "ATOM", "ETC", "XMR", "FIL", "NEAR", "APT", "ICP", "ARB", "OP", "HBAR", "VET", "AAVE",
    "ALGO", "MKR", "SUI", "USDT", "USDC", "DAI", "EOS", "XTZ",
)  # fmt: skip
_MONIES = (
    "USD", "EUR", "JPY", "GBP", "CHF", "AUD", "CAD", "NZD", "CNY", "HKD", "SEK", "NOK", "INR", "SGD", "MXN", "BRL",
    "KRW", "ZAR",
)  # fmt: skip
_MAJORS = frozenset(_MONIES[:8])
_IN_DOLLARS = frozenset(("EUR", "GBP", "AUD", "NZD"))  # priced in dollars; of the others the dollar is priced in them


def importance(
    symbol: str, asset_class: str, *, exchange: str, country: str, cap_class: str, in_sp500: bool = False
) -> int:
    """From 0 to 32767; compare, don't compute with it.

    Shares count by the size of their company, and far less where they are only traded besides: the line at a US
    exchange comes before the one at the company's home exchange, that before copies in Frankfurt, Mexico or Vienna.
    Members of the S&P 500 come before all other shares. Of indices, funds and coins directories don't say how large
    they are: those that everybody asks for are named here, as are the best-known shares; the rest is found after
    them. Currencies count by how much the two are traded.
    """
    match asset_class:
        case AssetClass.STOCK:
            return _ranked(symbol, _SHARES, 32000) or _share(exchange, country, cap_class) + 10000 * in_sp500
        case AssetClass.ETF | AssetClass.FUND:
            return _fund(symbol, exchange)
        case AssetClass.INDEX:
            return _ranked(symbol, _INDICES, 26000) or (500 if len(symbol) < 7 else 100)
        case AssetClass.FX:
            return _pair(symbol)
        case AssetClass.CRYPTO:
            return _coin(symbol)
        case _:
            return 15000 if symbol[:3] in METALS else 9000


def _share(exchange: str, country: str, cap_class: str) -> int:
    size = _SIZE.get(CapClass(cap_class), 0) if cap_class else 1000
    home = EXCHANGES[exchange].home_of if exchange in EXCHANGES else ""
    if exchange in IN_THE_US:
        return size + (6000 if cap_class else 3000)
    if home and country in ("", home):
        return size + 3000
    return size // 6 + (200 if home else 0)


def _fund(symbol: str, exchange: str) -> int:
    if exchange in IN_THE_US:
        return _ranked(symbol, _FUNDS, 24000) or 6000
    return 2500 if exchange in EXCHANGES and EXCHANGES[exchange].home_of else 400


def _pair(symbol: str) -> int:
    base, _, quote = symbol.partition("-")
    if base not in FIAT or quote not in FIAT or base == quote:
        return 100
    if "USD" not in (base, quote):
        return 14000 if {base, quote} <= _MAJORS else 2000
    other = quote if base == "USD" else base
    customary = (base == other) == (other in _IN_DOLLARS)
    return (_ranked(other, _MONIES, 22000) or 8000) // (1 if customary else 2)


def _coin(symbol: str) -> int:
    base, _, quote = symbol.partition("-")
    worth = {"USD": 1, "USDT": 1, "USDC": 2, "EUR": 2, "BTC": 3, "GBP": 3}.get(quote, 8)
    return (_ranked(base, COINS, 24500) or 5000) // worth


def _ranked(name: str, names: Sequence[str], first: int) -> int:
    """`first` for the first of the names, a little less for each that follows; 0 for what is not among them."""
    return first - 50 * names.index(name) if name in names else 0
