"""Forms about strategies; the fields of their parameters are made of what a kind declares."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from chronos.core.models import User
from signals import catalogue
from signals.models import Strategy
from signals.strategies.declaring import BadParameters, Kind, Parameter, Value

PLAIN = {"autocomplete": "off"}


class ParametersForm(forms.Form):
    """A field for each parameter of a kind. Embedded in another form it keeps its `prefix`.

    `values` fill it in instead of the defaults. When it is valid, `checked` has all parameters, typed.
    """

    checked: dict[str, Value]

    def __init__(
        self, kind: Kind, data: Mapping[str, Any] | None = None, *, values: Mapping[str, Any] | None = None,
        prefix: str = "p",
    ) -> None:  # fmt: skip
        known = {parameter.name: parameter.default for parameter in kind.parameters}
        given = {name: value for name, value in (values or {}).items() if name in known}
        super().__init__(data, prefix=prefix, initial=known | given)
        self.kind = kind
        for parameter in kind.parameters:
            self.fields[parameter.name] = _field(parameter)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        try:
            self.checked = self.kind.checked(given)
        except BadParameters as error:
            # What is wrong between two is not known while one of them is missing.
            known = _wrong_alone(self.kind, given) if self.errors else set(error.problems)
            for name, problem in error.problems.items():
                if name in known:
                    self.add_error(name if name in self.fields else None, problem)
        return given


def _wrong_alone(kind: Kind, given: Mapping[str, Any]) -> set[str]:
    wrong = set()
    for parameter in kind.parameters:
        try:
            parameter.typed(given.get(parameter.name, parameter.default))
        except ValueError:
            wrong.add(parameter.name)
    return wrong


def _field(parameter: Parameter) -> Any:
    """Numbers are read as text: what is wrong with them the declaration says better than a field of Django's."""
    usually = "yes" if parameter.default is True else "no" if parameter.default is False else f"{parameter.default}"
    told: dict[str, Any] = {"label": parameter.label, "help_text": _help(parameter, usually)}
    field: Any
    if parameter.type is bool:
        field = forms.BooleanField(required=False, **told)
    elif parameter.type is str and parameter.choices:
        field = forms.ChoiceField(choices=[(choice, choice) for choice in parameter.choices], **told)
    else:
        range_of = "" if parameter.type is str else f" {parameter.range[0].upper()}{parameter.range[1:]}."
        needed = f"{parameter.label} is missing.{range_of} Usually {usually}."
        field = forms.CharField(
            widget=forms.TextInput(attrs=PLAIN) if parameter.type is str else _number(parameter),
            error_messages={"required": needed}, max_length=200, **told,
        )  # fmt: skip
    field.unit = parameter.unit
    return field


def _number(parameter: Parameter) -> forms.Widget:
    whole = parameter.type is int
    attrs: dict[str, Any] = {**PLAIN, "step": parameter.step or (1 if whole else "any")}
    attrs |= {"inputmode": "numeric" if whole else "decimal"}
    bounds = {"min": parameter.low, "max": parameter.high}
    attrs |= {name: f"{bound:g}" if whole else bound for name, bound in bounds.items() if bound is not None}
    return forms.NumberInput(attrs=attrs)


def _help(parameter: Parameter, usually: str) -> str:
    if parameter.type in (bool, str):
        return f"{parameter.help} Usually {usually}.".lstrip()
    return f"{parameter.help} {parameter.range[0].upper()}{parameter.range[1:]}; usually {usually}.".lstrip()


class StrategyForm(forms.Form):
    """What every strategy has besides its parameters."""

    name = forms.CharField(max_length=catalogue.NAME, widget=forms.TextInput(attrs=PLAIN))
    notes = forms.CharField(
        max_length=catalogue.NOTES,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Why it should work, and what would show that it does not.",
    )

    def __init__(self, user: User, *args: Any, strategy: Strategy | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user, self.strategy = user, strategy

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if catalogue.is_taken(self.user, name, by_other_than=self.strategy):
            raise forms.ValidationError(str(catalogue.Taken(name)))
        return name


class EditForm(StrategyForm):
    """With the version that was shown, so that an edit made elsewhere is not overwritten unseen."""

    version = forms.IntegerField(min_value=1, max_value=2**31 - 1, widget=forms.HiddenInput)


def refuse(error: Exception, form: StrategyForm, parameters: ParametersForm | None) -> None:
    """Put a verb's refusal below the field that it is about."""
    if isinstance(error, catalogue.Malformed):
        form.add_error(error.field, str(error))
    elif isinstance(error, BadParameters) and parameters is not None:
        for name, problem in error.problems.items():
            parameters.add_error(name if name in parameters.fields else None, problem)


def all_valid(forms_of_page: Iterable[forms.Form | None]) -> bool:
    """All are asked, so that everything that is wrong is shown at once; the first of it gets the focus."""
    valid = [form is None or form.is_valid() for form in forms_of_page]
    return all(valid)


def focus_first_error(forms_of_page: Iterable[forms.Form | None]) -> None:
    for form in forms_of_page:
        for name in form.fields if form else ():
            if form and name in form.errors:
                form.fields[name].widget.attrs["autofocus"] = True
                return
