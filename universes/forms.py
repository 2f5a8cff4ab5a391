"""Forms about universes."""

import re

from django import forms


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


class EditForm(UniverseForm):
    """With the version that was shown, so that somebody else's edit is not overwritten unseen."""

    version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)


class ShareForm(forms.Form):
    people = forms.CharField(
        max_length=4000,
        label="Share with",
        help_text="User names or confirmed e-mail addresses, separated by commas. They read it and change nothing.",
        error_messages={"required": "Name at least one person."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    def clean_people(self) -> list[str]:
        return [part.strip() for part in re.split(r"[,;\n]+", self.cleaned_data["people"]) if part.strip()]


class DeleteForm(forms.Form):
    def __init__(self, universe: object) -> None:
        super().__init__()
