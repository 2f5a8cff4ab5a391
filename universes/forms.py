"""Forms about universes."""

from typing import Any

from django import forms

from universes.models import Universe


class UniverseForm(forms.Form):
    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    description = forms.CharField(
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What belongs in it, and why.",
    )


class NewUniverseForm(UniverseForm):
    symbols = forms.CharField(
        required=False,
        max_length=40_000,
        help_text="One or many, separated by spaces, commas or lines. More can follow later.",
        widget=forms.Textarea(
            attrs={
                "rows": 3,
                "autocapitalize": "characters",
                "spellcheck": "false",
                "placeholder": "NVDA MSFT BTC-USDT",
            }
        ),
    )


class SymbolsForm(forms.Form):
    symbols = forms.CharField(
        max_length=40_000,
        error_messages={"required": "Write at least one symbol."},
        # Not a one-line input: a browser drops the line ends of a pasted column and runs its symbols together.
        widget=forms.Textarea(
            attrs={
                "rows": 1,
                "autocapitalize": "characters",
                "autocomplete": "off",
                "spellcheck": "false",
                "placeholder": "NVDA, MSFT, BTC-USDT",
            }
        ),
    )


class DeleteForm(forms.Form):
    """Asks for the name: what goes can't be brought back."""

    confirmation = forms.CharField(
        max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, universe: Universe, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.universe = universe
        self.fields["confirmation"].label = f"To confirm, write its name: {universe.name}"
        self.fields["confirmation"].error_messages["required"] = "Write the universe's name to delete it."

    def clean_confirmation(self) -> str:
        written = " ".join(self.cleaned_data["confirmation"].split())
        if written != self.universe.name:
            raise forms.ValidationError(f"That is not its name. It is called {self.universe.name}.")
        return written
