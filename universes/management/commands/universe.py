"""`manage.py universe`: universes made, filled, looked at and taken away, on behalf of the person who owns them."""

import argparse
import io
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.management.base import CommandError
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.figures import counted
from chronos.core.models import User
from marketdata.asking import Foreground
from marketdata.management.arguments import Explained, moment
from marketdata.reporting import DONE, EXIT_CODES, FAILED, PARTIAL, add_json_argument, iso
from universes import catalogue, exporting, history, membership
from universes.lists import adding, drafts, parsing, reading, verdicts
from universes.models import SymbolList, SymbolListRow, Universe

LISTED = 20  # lines of a list that are named, of each kind

EXAMPLES = """
examples:
  manage.py universe create "US large caps" NVDA MSFT --owner alice
  manage.py universe add "US large caps" --file watchlist.csv --ask
  pbpaste | manage.py universe add 12 --file - --dry-run
  manage.py universe list "US large caps" --at 2024-03-08
  manage.py universe export 12 --past --output chips.xlsx
  manage.py universe turnover 12 --since 2024-01-01 --until 2025-01-01 --json

A universe is named by its number or its name. A list may be CSV, XLSX, TXT or JSON; with columns joined and left it
brings past membership. What add did can be undone for a week, on the universe's Import page.
"""


class Command(Explained):
    help = "Make universes, add and remove members, list, export and measure them."
    explanation = f"{EXAMPLES}\n{EXIT_CODES}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", title="verbs")

        def verb(name: str, says: str, *, universe: bool = True, symbols: bool = False) -> argparse.ArgumentParser:
            added: argparse.ArgumentParser = verbs.add_parser(name, help=says, description=says)
            if universe:
                added.add_argument("universe", metavar="UNIVERSE", help="its number or its name")
            if symbols:
                added.add_argument("symbols", nargs="*", metavar="SYMBOL", help="such as NVDA, BRK.B, BTC-USDT, ^GSPC")
                added.add_argument(
                    "--file", metavar="PATH", help="a list of symbols: CSV, XLSX, TXT or JSON; - is stdin"
                )
            added.add_argument("--owner", metavar="USERNAME", help="whose (default: the only person there is)")
            return added

        create = verb("create", "Make a private universe.", universe=False)
        create.add_argument("name", metavar="NAME")
        create.add_argument("symbols", nargs="*", metavar="SYMBOL", help="its first members")
        create.add_argument("--file", metavar="PATH", help="a list of them: CSV, XLSX, TXT or JSON; - is stdin")
        create.add_argument("--description", default="", metavar="TEXT", help="what belongs in it, and why")
        add = verb("add", "Add members by symbol or from a list.", symbols=True)
        for adds in (create, add):
            says = "ask providers about what is not known here first; what they don't know is left out"
            adds.add_argument("--ask", action="store_true", help=says)
        add.add_argument("--dry-run", action="store_true", help="only say what each line is taken for")
        verb("remove", "End the stays of members; their past is kept.", symbols=True)
        lists = verbs.add_parser("list", help="List universes, or the members of one.")
        lists.add_argument("universe", nargs="?", metavar="UNIVERSE", help="its number or its name")
        lists.add_argument("--owner", metavar="USERNAME", help="whose (default: the only person there is)")
        lists.add_argument("--at", type=moment, metavar="WHEN", help="as it was then, such as 2024-03-08")
        export = verb("export", "Write the members, or all stays there ever were, as a file.")
        export.add_argument("--format", choices=tuple(exporting.TYPES), help="default: by the file's name, else CSV")
        export.add_argument("--output", type=Path, metavar="FILE", help="where to (default: the standard output)")
        export.add_argument("--past", action="store_true", help="also the stays that have ended")
        turnover = verb("turnover", "(joined + left) / 2 / average size, over a window.")
        turnover.add_argument("--since", type=moment, metavar="WHEN", help="default: when it got its first members")
        turnover.add_argument("--until", type=moment, metavar="WHEN", help="the first moment after it (default: now)")
        for one in (create, add, lists, turnover, verbs.choices["remove"]):
            add_json_argument(one)

    def handle(self, *_: str, verb: str, **options: Any) -> None:
        user = _person(options["owner"])
        run: Callable[[User, dict[str, Any]], int] = getattr(self, f"_{verb}")
        try:
            status = run(user, options)
        except (catalogue.Malformed, reading.Unreadable, PermissionDenied) as error:
            raise CommandError(str(error)) from None
        if status:
            raise SystemExit(status)

    # --- Changing ---

    def _create(self, user: User, options: dict[str, Any]) -> int:
        parsed, source = _list(options) if options["symbols"] or options["file"] else (None, "")
        with tenancy.acting_as(user):
            description = options["description"] or (parsed.about.get("description", "") if parsed else "")
            made = catalogue.create(user, options["name"], description)
        self.stdout.write(f"{made.name} is there, as number {made.pk}.")
        if parsed is None:
            self._tell(options, {"universe": _told(made)})
            return DONE
        return self._bring(made, user, parsed, source, options)

    def _add(self, user: User, options: dict[str, Any]) -> int:
        parsed, source = _list(options)
        return self._bring(_universe(options["universe"], user), user, parsed, source, options)

    def _bring(
        self, universe: Universe, user: User, parsed: parsing.Parsed, source: str, options: dict[str, Any]
    ) -> int:
        """The same list as on the page, with its decisions as they are without anybody deciding."""
        with tenancy.acting_as(user):
            found = drafts.keep(universe, user, parsed, source)
            symbols = drafts.symbols_waiting(found) if options["ask"] else []
        answers = list(verdicts.ask(symbols, Foreground(self.stderr.write))) if symbols else []
        with tenancy.acting_as(user):
            drafts.told(found, answers)
            if options.get("dry_run"):
                return self._shown(found, options)
            adding.confirm(found, user)
        while True:
            with tenancy.acting_as(user):
                if not adding.add_some(found, user):
                    adding.finish(found)
                    return self._shown(found, options)

    def _shown(self, found: SymbolList, options: dict[str, Any]) -> int:
        """What became of the lines, or would; 0 if all are in."""
        rows = list(found.rows.order_by("number"))
        for remark in found.remarks:
            self.stdout.write(remark)
        if found.beyond:
            self.stdout.write(f"{found.beyond:,} lines were more than a list may have, and were not read.")
        kinds: dict[str, list[SymbolListRow]] = {}
        for row in rows:
            kinds.setdefault(row.outcome or row.group, []).append(row)
        for kind, some in kinds.items():
            if kind in _TROUBLED:
                for row in some[:LISTED]:
                    near = f" Did you mean {' or '.join(row.suggestions)}?" if row.suggestions else ""
                    self.stdout.write(f"Line {row.line}, {row.written[:60]!r}: {kind}. {row.reason}{near}".rstrip())
                if len(some) > LISTED:
                    self.stdout.write(f"… and {len(some) - LISTED:,} more that are {kind}.")
        counts = {kind: len(some) for kind, some in kinds.items()}
        if options.get("dry_run"):
            self.stdout.write(", ".join(f"{many:,} {kind}" for kind, many in counts.items()) + ". Nothing was added.")
        else:
            self.stdout.write(adding.sentence(counts))
        lines = [
            {"line": row.line, "written": row.written, "symbol": row.symbol, "state": row.outcome or row.group,
             "reason": row.reason, "suggestions": row.suggestions}
            for row in rows
        ]  # fmt: skip
        told = {"universe": _told(found.universe), "list": found.pk, "counts": counts, "lines": lines}
        self._tell(options, told)
        troubled = sum(many for kind, many in counts.items() if kind in _TROUBLED)
        return DONE if not troubled and not found.beyond else FAILED if troubled == len(rows) else PARTIAL

    def _remove(self, user: User, options: dict[str, Any]) -> int:
        parsed, _ = _list(options)
        symbols = [entry.symbol or entry.written for entry in parsed.entries]
        universe = _universe(options["universe"], user)
        with tenancy.acting_as(user):
            removed = membership.remove(universe, user, symbols)
        missing = sorted(set(symbols) - set(removed))
        self.stdout.write(f"{counted(len(removed), 'member')} removed from {universe.name}; their past in it is kept.")
        for symbol in missing[:LISTED]:
            self.stdout.write(f"{symbol[:60]} is no member.")
        self._tell(options, {"universe": _told(universe), "removed": removed, "missing": missing})
        return DONE if not missing else PARTIAL if removed else FAILED

    # --- Looking ---

    def _list(self, user: User, options: dict[str, Any]) -> int:
        if options["universe"] is None:
            return self._universes(user, options)
        universe = _universe(options["universe"], user)
        with tenancy.acting_as(user):
            members = list(membership.members(universe, options["at"]))
        for stay in members:
            self.stdout.write(f"{stay.asset.symbol:<14} {stay.joined_at:%Y-%m-%d}  {stay.asset.name}".rstrip())
        told = [
            {"symbol": stay.asset.symbol, "name": stay.asset.name, "joined": iso(stay.joined_at),
             "left": iso(stay.left_at), "note": stay.note, "tags": stay.tags}
            for stay in members
        ]  # fmt: skip
        self._tell(options, {"universe": _told(universe), "at": iso(options["at"]), "members": told})
        return DONE

    def _universes(self, user: User, options: dict[str, Any]) -> int:
        with tenancy.acting_as(user):
            found = list(catalogue.visible(user))
        told = []
        for universe in found:
            whose = "yours" if universe.owner_id == user.pk else str(universe.owner or "public")
            size: int = universe.size  # type: ignore[attr-defined]
            self.stdout.write(f"{universe.pk:>6}  {universe.name}  ({counted(size, 'member')}, {whose})")
            told.append(_told(universe) | {"members": size, "owner": universe.owner and str(universe.owner)})
        self._tell(options, {"universes": told})
        return DONE

    def _export(self, user: User, options: dict[str, Any]) -> int:
        universe = _universe(options["universe"], user)
        path: Path | None = options["output"]
        form = options["format"] or (exporting.form_of(path) if path else "csv")
        with tenancy.acting_as(user):
            if path is None:
                out = io.BytesIO()
                exporting.write(universe, form, out, past=options["past"])
                _standard_output(self.stdout, out.getvalue(), form)
                return DONE
            part = path.with_name(f"{path.name}.part")  # the whole file or none
            try:
                with part.open("wb") as file:
                    stays = exporting.write(universe, form, file, past=options["past"])
                part.replace(path)
            except OSError as error:
                raise CommandError(f"{path} can't be written: {error.strerror or error}.") from None
            finally:
                part.unlink(missing_ok=True)
        self.stdout.write(f"{counted(stays, 'stay')} of {universe.name} written to {path}.")
        return DONE

    def _turnover(self, user: User, options: dict[str, Any]) -> int:
        universe = _universe(options["universe"], user)
        since: datetime = options["since"] or history.FIRST
        until: datetime = options["until"] or timezone.now()
        with tenancy.acting_as(user):
            found = history.turnover(universe, since, until)
        share = "no members then" if found.turnover is None else f"turnover {found.turnover:.2%}"
        self.stdout.write(
            f"{universe.name}, {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}: {share};"
            f" {found.joins:,} joined, {found.leaves:,} left, {found.average_size:,.1f} members on average."
        )
        told = {"universe": _told(universe), "since": iso(found.since), "until": iso(found.until), "joins": found.joins,
                "leaves": found.leaves, "average_size": found.average_size, "turnover": found.turnover}  # fmt: skip
        self._tell(options, told)
        return DONE

    def _tell(self, options: dict[str, Any], told: dict[str, Any]) -> None:
        if options["as_json"]:
            self.stdout.write(json.dumps(told, ensure_ascii=False))


_TROUBLED = ("unknown", "delisted", "malformed", "refused")


def _told(universe: Universe) -> dict[str, Any]:
    return {"id": universe.pk, "name": universe.name}


def _person(name: str | None) -> User:
    """Who is acted for: the one named, or the only one there is."""
    active = User.objects.filter(is_active=True)
    if name:
        found = list(active.filter(username=name))
        if not found:
            raise CommandError(f"Nobody here is called {name!r}.")
        return found[0]
    found = list(active.order_by("pk")[:2])
    if len(found) != 1:
        raise CommandError("Say whose with --owner USERNAME." if found else "There is nobody here yet; sign in first.")
    return found[0]


def _universe(text: str, user: User) -> Universe:
    """By number or name, of those that the person sees: their own first."""
    with tenancy.acting_as(user):
        visible = Universe.objects.visible_to(user)
        if text.isascii() and text.isdigit() and len(text) < 19 and (found := visible.filter(pk=int(text)).first()):
            return found
        named = list(visible.filter(name__iexact=" ".join(text.split())).order_by("pk"))
    mine = [universe for universe in named if universe.owner_id == user.pk] or named
    if len(mine) > 1:
        numbers = ", ".join(str(universe.pk) for universe in mine)
        raise CommandError(f"There are {len(mine)} universes called {text[:100]}: name one by its number ({numbers}).")
    if not mine:
        raise CommandError(f"{user} sees no universe called {text[:100]!r}; `universe list` shows what there is.")
    return mine[0]


def _list(options: dict[str, Any]) -> tuple[parsing.Parsed, str]:
    """The list that is meant, and what it is called."""
    name, symbols = options["file"], options["symbols"]
    if name and symbols:
        raise CommandError("Name symbols, or a --file with some, not both.")
    if not name:
        if not symbols:
            raise CommandError("Name at least one symbol, or a --file with some.")
        return parsing.parse_text("\n".join(symbols), "What was given"), "Command line"
    if name == "-":
        data = sys.stdin.buffer.read(reading.BIGGEST + 1)
        return parsing.parse_file("The standard input", len(data), io.BytesIO(data)), "Standard input"
    path = Path(name)
    try:
        with path.open("rb") as file:
            return parsing.parse_file(path.name, path.stat().st_size, file), path.name
    except OSError as error:
        raise CommandError(f"{name} can't be read: {error.strerror or error}.") from None


def _standard_output(out: Any, data: bytes, form: str) -> None:
    if form != "xlsx":
        out.write(data.decode(), ending="")
    elif hasattr(sys.stdout, "buffer") and not out.isatty():
        sys.stdout.buffer.write(data)
    else:
        raise CommandError("A workbook does not go on a screen: say where to with --output FILE.")
