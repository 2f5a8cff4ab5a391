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


class MemberForm(forms.Form):
    """A member's note and tags, with the version of them that was read."""

    note = forms.CharField(
        required=False, max_length=1000, widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Why it is in here; only those who see the universe see it.",
    )  # fmt: skip
    tags = forms.CharField(
        required=False,
        max_length=900,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Separated by commas. The table filters by them.",
    )
    version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)

    def clean_tags(self) -> list[str]:
        return str(self.cleaned_data["tags"]).split(",")
