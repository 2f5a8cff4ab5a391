"""Forms about candles and those who give them."""

from datetime import UTC, date, datetime, time
from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone

from chronos.core import figures
from marketdata.models import AssetClass, Timeframe
from marketdata.providers import for_asset_class

EARLIEST = date(1900, 1, 1)
CHOICES = 5  # providers that a chain's form has room for


class BackfillForm(forms.Form):
    """Which candles, and since when."""

    timeframe = forms.ChoiceField(choices=Timeframe.choices, initial=Timeframe.D1)
    since = forms.DateField(
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "min": EARLIEST.isoformat()}),
        error_messages={"invalid": "Write the date as 2020-01-31."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["since"].help_text = f"Left empty: {usual_depth()}."

    def clean_since(self) -> datetime | None:
        day: date | None = self.cleaned_data["since"]
        if day is None:
            return None
        if day >= timezone.now().date():
            raise forms.ValidationError("Choose a day that is over.")
        if day < EARLIEST:
            raise forms.ValidationError("No source here reaches back so far; choose a day after 1900.")
        return datetime.combine(day, time.min, UTC)


def usual_depth() -> str:
    """How far back a backfill goes by itself: "five years of days …", as the settings have it."""
    days = settings.BACKFILL_DAYS
    return ", ".join(f"{_span(days[kind])} of {kind}" for kind in ("days", "hours", "minutes"))


def _span(days: int) -> str:
    years = round(days / 365.25)
    if years >= 1 and abs(days - years * 365.25) < 5:
        return figures.counted(years, "year")
    return figures.counted(days, "day")


class KeyForm(forms.Form):
    """A provider's key. Never filled in: what was typed is not shown again, not even when it was refused."""

    secret = forms.CharField(
        label="API key",
        max_length=1000,
        strip=True,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Paste the key as the provider shows it."},
    )


class ChainForm(forms.Form):
    """Whom to ask first, second, third … for assets of one class; an empty place is passed over."""

    def __init__(self, asset_class: AssetClass, current: list[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = {provider.name: provider.label for provider in for_asset_class(asset_class)}
        labels |= {name: name for name in current if name not in labels}
        nobody = [("", "nobody")]
        for place in range(min(CHOICES, len(labels))):
            self.fields[f"choice_{place + 1}"] = forms.ChoiceField(
                label=("First", "Second", "Third", "Fourth", "Fifth")[place],
                choices=[*nobody, *labels.items()],
                required=False,
                initial=current[place] if place < len(current) else "",
            )

    @property
    def names(self) -> list[str]:
        """Those chosen, in their order."""
        return [name for name in self.cleaned_data.values() if name]
