"""What the verbs of strategies raise, as a refusal that names the fields."""

from chronos.core.envelope import Problem, Refused, then
from signals.catalogue import Malformed, Outdated, Taken
from signals.engine.terms import Impossible
from signals.strategies.declaring import BadParameters
from signals.strategies.registry import UnknownKind


def bad_parameters(error: BadParameters) -> Refused:
    problems = [Problem(field=f"body.parameters.{name}"[:200], message=text) for name, text in error.problems.items()]
    return Refused(
        "invalid", str(error), "Mend the parameters that `problems` names; list_strategy_kinds says what each takes.",
        field=problems[0].field if problems else "body.parameters", problems=problems[:50],
        next_actions=[then("list_strategy_kinds", "See what each parameter takes.")],
    )  # fmt: skip


def unknown_kind(error: UnknownKind) -> Refused:
    return Refused(
        "unknown_kind", str(error.args[0]), "Take a kind's `name` of list_strategy_kinds.", field="body.kind",
        next_actions=[then("list_strategy_kinds", "See which kinds there are.")],
    )  # fmt: skip


def malformed(error: Malformed) -> Refused:
    return Refused("invalid", str(error), "Mend what it names.", field=f"body.{error.field}")


def taken(error: Taken) -> Refused:
    return Refused("taken", str(error), "Choose another name.", status=409, field="body.name")


def outdated(error: Outdated) -> Refused:
    return Refused("outdated", str(error), "Read it again, and make your change on what it is now.", status=409)


def impossible(error: Impossible) -> Refused:
    """What no run can be made of; its name is that of a field of run_backtest, but for the asset."""
    field = {"asset": "symbol", "rule": "kind"}.get(error.name, error.name)
    return Refused("invalid", str(error), "Mend what it names.", field=f"body.{field}")
