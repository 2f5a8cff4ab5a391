"""`manage.py validate_symbols`: is each of these symbols real?"""

import argparse
import json
import re
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management import CommandError

from marketdata import validation
from marketdata.asking import Foreground
from marketdata.management.arguments import Explained
from marketdata.reporting import DONE, FAILED, PARTIAL, add_json_argument, iso
from marketdata.verdicts import Answer, Verdict

LARGEST = 4 * 2**20  # bytes of a list

EXAMPLES = """
examples:
  manage.py validate_symbols NVDA BRK.B BTC-USDT GOGL
  manage.py validate_symbols --file watchlist.txt --json
  pbpaste | manage.py validate_symbols --file -

A symbol is valid, delisted (it was one), unknown (a provider that should know it does not), unverified (nobody could be
asked) or malformed. What is not known here is asked of the providers, at their pace.

Exit status: 0 all are valid, 1 none is, 3 some are, 2 wrong usage.
"""


class Command(Explained):
    help = "Tell whether symbols are real: by what is kept here, the symbol master, and the providers."
    explanation = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help="such as NVDA, BRK.B, BTC-USDT, ^GSPC")
        parser.add_argument(
            "--file", metavar="PATH", help="a text with symbols between spaces, commas or lines; - is stdin"
        )
        parser.add_argument("--no-asking", action="store_false", dest="asks", help="only what is known here")
        add_json_argument(parser)

    def handle(self, *_: str, **options: Any) -> None:
        wanted = [*options["symbols"], *(_listed_in(options["file"]) if options["file"] else ())]
        if not wanted:
            raise CommandError("Name at least one symbol, or a --file with some.")
        answers = self._answers(wanted, asks=options["asks"])
        for answer in answers:
            self.stdout.write(_line(answer))
        if options["as_json"]:
            told = {
                "symbols": [_for_programs(answer) for answer in answers],
                "counts": Counter(a.verdict for a in answers),
            }
            self.stdout.write(json.dumps(told, ensure_ascii=False))
        valid = sum(answer.verdict == Verdict.VALID for answer in answers)
        status = DONE if valid == len(answers) else PARTIAL if valid else FAILED
        if status:
            raise SystemExit(status)

    def _answers(self, wanted: list[str], *, asks: bool) -> list[Answer]:
        """At the providers' pace; what keeps them goes to stderr."""
        try:
            return validation.check(wanted, asks=asks, wait=Foreground(self.stderr.write))
        except validation.TooMany as error:
            raise CommandError(str(error)) from None


def _listed_in(name: str) -> list[str]:
    """The symbols of a text, whatever separates them; in UTF-8, or else in Latin-1."""
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as source:
            content = source.read(LARGEST + 1)
    except OSError as error:
        raise CommandError(f"{name} can't be read: {error.strerror}.") from None
    if len(content) > LARGEST:
        raise CommandError(f"{name} is larger than {LARGEST >> 20} MB: this is no list of symbols.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [part for part in re.split(r"[\s,;]+", text) if part]


def _line(answer: Answer) -> str:
    name = f" {answer.name}." if answer.name else ""
    near = f" Did you mean {' or '.join(answer.suggestions)}?" if answer.suggestions else ""
    return f"{answer.symbol or repr(answer.written)}: {answer.verdict}.{name} {answer.reason}{near}"


def _for_programs(answer: Answer) -> dict[str, Any]:
    """As the API will have it: times as ISO 8601 with Z."""
    told = asdict(answer) | {"at": iso(answer.at), "suggestions": list(answer.suggestions)}
    return {name: value for name, value in told.items() if name not in ("job", "wait", "sought")}
