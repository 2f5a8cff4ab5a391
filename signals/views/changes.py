"""What can be done to a strategy: made, edited, copied, put away, deleted and taken back."""

from contextlib import suppress
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from signals import catalogue, wording
from signals.forms import EditForm, ParametersForm, StrategyForm, all_valid, focus_first_error, refuse
from signals.loading import strategy_of
from signals.models import Backtest, Strategy
from signals.strategies import registry
from signals.strategies.declaring import BadParameters, Kind


@require_http_methods(["GET", "HEAD", "POST"])
def new_strategy(request: Signed) -> HttpResponse:
    """First its kind is chosen, then the form that the kind declares is filled in: `kind` is in the address."""
    asked = request.GET.get("kind", "")
    kind = wording.kind_of(asked)
    if kind is None:
        faults = registry.faults() if request.user.is_staff else ()
        context = {"kinds": list(registry.kinds().values()), "unknown": asked[:100], "faults": faults}
        return page(request, "signals/kinds.html", context, status=404 if asked else 200)
    if request.method != "POST":
        form = StrategyForm(request.user, initial={"name": catalogue.free_name(request.user, kind.label)})
        return _form_page(request, kind, form, ParametersForm(kind))
    form, parameters = StrategyForm(request.user, request.POST), ParametersForm(kind, request.POST)
    if all_valid((form, parameters)):
        given = form.cleaned_data
        try:
            made = catalogue.create(request.user, given["name"], kind.name, parameters.checked, given["notes"])
        except (catalogue.Malformed, BadParameters) as error:
            refuse(error, form, parameters)
        else:
            return redirect(made)
    return _form_page(request, kind, form, parameters, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
def edit_strategy(request: Signed, pk: int) -> HttpResponse:
    """Rename it, choose other parameters. Whoever comes second sees both and decides.

    Of a kind that is not installed here any more only name and notes can be changed.
    """
    found = strategy_of(request, pk)
    kind = wording.kind_of(found.kind)
    if request.method != "POST":
        shown = {"name": found.name, "notes": found.notes, "version": found.version}
        form = EditForm(request.user, initial=shown, strategy=found)
        filled = ParametersForm(kind, values=found.parameters) if kind else None
        return _form_page(request, kind, form, filled, strategy=found)
    form = EditForm(request.user, request.POST, strategy=found)
    parameters, theirs = ParametersForm(kind, request.POST) if kind else None, None
    if all_valid((form, parameters)):
        given = form.cleaned_data
        try:
            catalogue.edit(
                found, name=given["name"], parameters=parameters.checked if parameters else None, notes=given["notes"],
                version=given["version"],
            )  # fmt: skip
        except (catalogue.Malformed, BadParameters) as error:
            refuse(error, form, parameters)
        except catalogue.Outdated:
            theirs = strategy_of(request, pk)
            again = request.POST.copy()
            again["version"] = str(theirs.version)  # so that saving once more is a decision
            form = EditForm(request.user, again, strategy=found)
        else:
            return redirect(found)
    status = 409 if theirs else 422
    return _form_page(request, kind, form, parameters, strategy=found, theirs=theirs, status=status)


def _form_page(
    request: Signed, kind: Kind | None, form: StrategyForm, parameters: ParametersForm | None, *,
    strategy: Strategy | None = None, theirs: Strategy | None = None, status: int = 200,
) -> HttpResponse:  # fmt: skip
    context: dict[str, Any] = {"kind": kind, "form": form, "parameters": parameters, "strategy": strategy}
    if theirs:
        context |= {"theirs": theirs, "their_parameters": wording.sentence(theirs.kind, theirs.parameters)}
    elif status != 200:
        focus_first_error((form, parameters))
    if strategy:
        context["runs"] = Backtest.objects.of(request.user).filter(strategy=strategy).exists()
    return page(request, "signals/strategy_form.html", context, status=status)


@require_POST
def check_strategy(request: Signed) -> HttpResponse:
    """What is wrong so far with a form that somebody is filling in. What is still empty is not complained about."""
    kind = wording.kind_of(request.GET.get("kind", ""))
    given = request.GET.get("strategy", "")
    mine = Strategy.objects.of(request.user)
    known = mine.filter(pk=int(given)).first() if given.isdecimal() and len(given) < 19 else None
    form, parameters = StrategyForm(request.user, request.POST, strategy=known), None
    if kind:
        parameters = ParametersForm(kind, request.POST)
    all_valid((form, parameters))
    fields = [field for one in (form, parameters) if one for field in one.visible_fields()]
    said = [(field, field.errors if field.data not in (None, "") else []) for field in fields]
    general = parameters.non_field_errors() if parameters else []
    return page(request, "signals/checked.html", {"said": said, "general": general})


@require_POST
def duplicate_strategy(request: Signed, pk: int) -> HttpResponse:
    found = strategy_of(request, pk)
    copy = catalogue.duplicate(found, request.user)
    messages.success(request, f"This is a copy of {found.name}, with its parameters and notes, and no backtests yet.")
    return redirect(copy)


@require_POST
def archive_strategy(request: Signed, pk: int) -> HttpResponse:
    """Put it away, or with `back` bring it back."""
    found = strategy_of(request, pk)
    back = "back" in request.POST
    try:
        catalogue.archive(found, away=not back)
    except catalogue.Outdated:
        raise Http404(f"There is no strategy {pk} any more.") from None
    if back:
        messages.success(request, f"{found.name} is back among your strategies.")
        return redirect(found)
    messages.success(request, f"{found.name} is put away. It is under Archived, whole, and its backtests are kept.")
    return redirect("signals:strategies")


@require_http_methods(["GET", "HEAD", "POST"])
def delete_strategy(request: Signed, pk: int) -> HttpResponse:
    """Says what stays; afterwards the list of strategies offers to take it back."""
    found = strategy_of(request, pk)
    if request.method != "POST":
        return page(request, "signals/delete.html", {"strategy": found, "stays": stays(request, found)})
    with suppress(catalogue.Outdated):  # sent twice: it is gone already
        catalogue.delete(found)
    return redirect(f"{reverse('signals:strategies')}?deleted={found.pk}")


def stays(request: Signed, found: Strategy) -> str:
    """The backtests that a deletion leaves alone, in words; nothing if there are none."""
    runs = Backtest.objects.of(request.user).filter(strategy=found).count()
    return figures.counted(runs, "backtest") if runs else ""


@require_POST
def undelete_strategy(request: Signed, pk: int) -> HttpResponse:
    was = Strategy.objects.filter(pk=pk, owner=request.user).first()
    found = catalogue.undelete(pk, request.user)
    if found is None:
        if was and was.deleted_at is None:  # sent twice
            return redirect(was)
        raise Http404(f"There is no deleted strategy {pk} to take back.")
    renamed = was is not None and was.name != found.name
    said = f"{found.name} is back" + (f", under this name because {was.name} is taken." if renamed and was else ".")
    messages.success(request, said)
    return redirect(found)
