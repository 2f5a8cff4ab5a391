"""Forms about people."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password

from chronos.core.models import User

if TYPE_CHECKING:
    _UserForm = forms.ModelForm[User]
else:  # Django's form classes take no parameters at run time
    _UserForm = forms.ModelForm


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "That name and password do not fit together. Both are case-sensitive.",
        "inactive": "This account is closed.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs |= {"autocapitalize": "none", "spellcheck": "false", "autofocus": False}
        self.fields["username"].label = "Name"


class ProfileForm(_UserForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")
        labels: ClassVar = {"email": "E-mail"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, hint in (("first_name", "given-name"), ("last_name", "family-name"), ("email", "email")):
            self.fields[name].widget.attrs["autocomplete"] = hint


class PasswordForm(forms.Form):
    """Set a password, or change the one there is; the old one is asked for only if there is one."""

    old = forms.CharField(
        label="Password now", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    new = forms.CharField(
        label="New password",
        strip=False,
        help_text="At least 8 characters; not only digits, not a common one, not like your name.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="New password again", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if not user.has_usable_password():
            del self.fields["old"]

    def clean_old(self) -> str:
        old: str = self.cleaned_data["old"]
        if not self.user.check_password(old):
            raise forms.ValidationError("That is not your password.")
        return old

    def clean_new(self) -> str:
        new: str = self.cleaned_data["new"]
        validate_password(new, self.user)
        return new

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if "new" in given and given.get("again") != given["new"]:
            self.add_error("again", "This differs from the one above.")
        return given

    def save(self) -> None:
        self.user.set_password(self.cleaned_data["new"])
        self.user.save(update_fields=["password"])
