"""Write the API's document: the contract that programs rely on."""

from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Write the OpenAPI document of the API to docs/openapi.json, or to another file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", nargs="?", type=Path, default=settings.BASE_DIR / "docs" / "openapi.json")

    def handle(self, *args: Any, path: Path, **options: Any) -> None:
        from chronos.api import api

        document = api.get_openapi_schema()
        how = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
        path.write_bytes(orjson.dumps(document, option=how) + b"\n")
        self.stdout.write(f"{len(document['paths'])} addresses are written to {path}.")
