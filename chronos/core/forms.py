"""Forms about people."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator

from chronos.core.models import ApiToken, User

if TYPE_CHECKING:
    _UserForm = forms.ModelForm[User]
else:  # Django's form classes take no parameters at run time
    _UserForm = forms.ModelForm

RULES = "At least 8 characters; not only digits, not a common one, not like your name."
PLAIN = {"autocapitalize": "none", "spellcheck": "false"}
LIFETIMES = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "no end"))


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "That name or address and password do not fit together. Passwords are case-sensitive.",
        "inactive": "This account is closed.",
    }
    mishap = ""  # what went wrong beside the form

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "Name or e-mail"
        self.fields["username"].widget.attrs |= {**PLAIN, "autofocus": False, "maxlength": 254}


class SignUpForm(forms.Form):
    username = forms.CharField(
        label="Name",
        max_length=150,
        help_text="You sign in with it. Letters, digits and . + - _",
        widget=forms.TextInput(attrs={**PLAIN, "autocomplete": "username"}),
    )
    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "email"}))
    password = forms.CharField(
        strip=False,
        help_text=RULES,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="Password again", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )
    mishap = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].required = settings.MAIL_CAN_BE_SENT

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        UnicodeUsernameValidator()(name)
        if "@" in name:
            raise forms.ValidationError("Leave out the @: your e-mail address has a field of its own.")
        if User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError("Somebody has this name already.")
        return name

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if "password" in given:
            person = User(username=given.get("username", ""), email=given.get("email", ""))
            try:
                validate_password(given["password"], person)
            except forms.ValidationError as error:
                self.add_error("password", error)
            if given.get("again") != given.get("password", given.get("again")):
                self.add_error("again", "This differs from the one above.")
        email = given.get("email", "")
        if email and not settings.MAIL_CAN_BE_SENT and User.objects.filter(email__iexact=email).exists():
            self.add_error("email", "Somebody has this address already.")
        return given


class ResetForm(forms.Form):
    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "email"}))
    mishap = ""


class CodeForm(forms.Form):
    """Of an authenticator app, or a recovery code; spaces and dashes do not matter."""

    code = forms.CharField(
        max_length=40, widget=forms.TextInput(attrs={**PLAIN, "autocomplete": "one-time-code", "inputmode": "numeric"})
    )


class ProfileForm(_UserForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, hint in (("first_name", "given-name"), ("last_name", "family-name")):
            self.fields[name].widget.attrs["autocomplete"] = hint


class EmailForm(forms.Form):
    email = forms.EmailField(
        label="E-mail", max_length=254, required=False, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


class NameForm(forms.Form):
    name = forms.CharField(max_length=60, widget=forms.TextInput(attrs={"autocomplete": "off"}))


BUDGETS = (("10", "10 min"), ("60", "1 h"), ("240", "4 h"), ("", "any"))


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=100,
        help_text="What it is for: a notebook, a script, a machine.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    may = forms.ChoiceField(
        label="It may",
        choices=(("read", "read"), ("write", "read and write")),
        initial="read",
        widget=forms.RadioSelect,
    )
    days = forms.ChoiceField(
        label="It works for", choices=LIFETIMES, initial="90", required=False, widget=forms.RadioSelect
    )
    minutes = forms.ChoiceField(
        label="Worker time of its jobs, a day", choices=BUDGETS, initial="", required=False, widget=forms.RadioSelect
    )

    def __init__(self, owner: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if ApiToken.objects.filter(owner=self.owner, name=name).exists():
            raise forms.ValidationError("You have a token of this name. Revoke that one, or call this one otherwise.")
        return name


class _Persons(forms.Form):
    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user


class OldPasswordForm(_Persons):
    """The password there is, to show who one is."""

    old = forms.CharField(
        label="Password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    def clean_old(self) -> str:
        old: str = self.cleaned_data["old"]
        if not self.user.check_password(old):
            raise forms.ValidationError("That is not your password.")
        return old


class NewPasswordForm(_Persons):
    new = forms.CharField(
        label="New password",
        strip=False,
        help_text=RULES,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="New password again", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

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


class PasswordForm(NewPasswordForm, OldPasswordForm):
    """Set a password, or change the one there is; the old one is asked for only if there is one."""

    field_order = ("old", "new", "again")

    def __init__(self, user: User, *args: Any, asks_old: bool = True, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.fields["old"].label = "Password now"
        if not asks_old or not user.has_usable_password():
            del self.fields["old"]
