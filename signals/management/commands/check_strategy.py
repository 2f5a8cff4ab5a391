"""`manage.py check_strategy`: whether a strategy only looks back, tried on candles of one's own."""

import argparse
import json
import sys
from typing import Any

from django.core.management.base import CommandError

from marketdata.management.arguments import Explained
from marketdata.providers.tabular import FileError
from signals.engine.terms import Impossible
from signals.management import arguments
from signals.strategies import registry
from signals.strategies.declaring import BadParameters

EXPLANATION = """
strategies and their parameters:
{strategies}

The strategy is asked about beginnings of the candles, and what it decided must be what it decides when it knows all of
them. Else it looks ahead, and the function that does so is named: an indicator, or its own rule.

examples:
  manage.py check_strategy rsi-reversion AAPL --param period=7
  manage.py check_strategy my-own-kind prices.csv --timeframe 1h --json

Exit status: 0 it only looks back, 1 it could not be tried, 2 wrong usage, 3 it does not.
"""
UNSOUND = 3


class Command(Explained):
    help = "Check on candles of one's own that a strategy only looks back."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.epilog = EXPLANATION.format(strategies=arguments.kinds_told())
        arguments.add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="the whole report as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        from signals import bias
        from signals.strategies.deciding import StrategyFault

        try:
            kind = registry.kind_named(options["strategy"])
            params = arguments.parameters(kind, options["param"])
            candles, _asset = arguments.read(options, 0)
            report = bias.check(kind, params, candles.bars)
        except (Impossible, BadParameters, FileError, StrategyFault, registry.UnknownKind) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(json.dumps(report.as_data()) if options["json"] else report.text)
        if not report.sound:
            sys.exit(UNSOUND)
