"""Curation of people and of the work that was done for them."""

from collections.abc import Iterable
from typing import Any

from allauth.account.admin import EmailAddress
from allauth.mfa.admin import Authenticator
from allauth.usersessions.admin import UserSession
from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chronos.core import accounts, figures, jobs
from chronos.core.models import Job, JobLine, SignInLink, User

admin.site.unregister(Group)  # rights here are: staff or not
for theirs in (EmailAddress, Authenticator, UserSession):  # people's own affair; staff make a one-time link
    admin.site.unregister(theirs)

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")
LINKS_AT_ONCE = 20


class TakesAlong(admin.ModelAdmin):  # type: ignore[type-arg]
    """What a superuser may delete although rows go along that nobody deletes by themselves; the page names them all."""

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        found, counts, needed, protected = super().get_deleted_objects(objs, request)  # type: ignore[arg-type]
        return found, counts, set() if request.user.is_superuser else needed, protected


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """For what the program writes and people only look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """For the actions: the right to change these rows, which nobody has on a form. Looking on is not enough."""
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}")


@admin.register(User)
class PersonAdmin(TakesAlong, UserAdmin):  # type: ignore[type-arg]
    list_display = ("username", "email", "first_name", "last_name", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "awaits_confirmation", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    actions = ("make_sign_in_link",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def has_sign_in_permission(self, request: HttpRequest) -> bool:
        """A link signs in as its person with all of that person's rights."""
        return bool(request.user.is_superuser)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fields = [str(name) for name in super().get_readonly_fields(request, obj)]
        return fields if request.user.is_superuser else [*fields, *RIGHTS]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        accounts.align(obj)

    @admin.action(description="Make a one-time sign-in link", permissions=["sign_in"])
    def make_sign_in_link(self, request: HttpRequest, chosen: QuerySet[User]) -> TemplateResponse:
        """Shown once, on a page of its own that nothing keeps: a message would go through a cookie."""
        active = list(chosen.filter(is_active=True).order_by("username"))
        context = {
            **self.admin_site.each_context(request),
            "title": "One-time sign-in links",
            "opts": self.opts,
            "made": [(person, SignInLink.issue(person)) for person in active[:LINKS_AT_ONCE]],
            "inactive": list(chosen.filter(is_active=False).order_by("username")),
            "left_out": len(active[LINKS_AT_ONCE:]),
        }
        return TemplateResponse(request, "admin/core/user/sign_in_links.html", context)


def _may_touch(request: HttpRequest, person: User | None) -> bool:
    """Whoever can change a member of staff (a password, an address) can become them: superusers alone do."""
    return bool(request.user.is_superuser) or person is None or not (person.is_staff or person.is_superuser)


@admin.register(Job)
class JobAdmin(ReadOnly):
    list_display = ("pk", "kind", "subject", "owner", "state", "progress", "created_at", "finished_at")
    list_display_links = ("pk", "subject")
    list_filter = ("state", "kind", ("owner", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("owner",)
    list_per_page = 50
    search_fields = ("subject", "kind", "summary", "owner__username")
    ordering = ("-pk",)
    date_hierarchy = "created_at"
    actions = (
        "cancel",
        "run_again",
    )
    fields = ("kind", "subject", "owner", "state", "progress", "summary", "params", "result", "created_at",
              "started_at", "finished_at", "cancel_requested_at", "attempt", "worker", "rerun_of", "log")  # fmt: skip

    @admin.display(description="Progress")
    def progress(self, job: Job) -> str:
        if not job.progress_total:
            return job.progress_note or figures.NOTHING
        return f"{figures.integer(job.progress_done)} of {figures.integer(job.progress_total)}"

    @admin.display(description="Log")
    def log(self, job: Job) -> SafeString:
        lines = list(JobLine.objects.filter(job=job).order_by("-pk")[:200])[::-1]
        rows = format_html_join("\n", "{} {} {}", ((f"{line.at:%H:%M:%S}", line.level, line.text) for line in lines))
        return format_html("<pre>{}</pre>", rows)

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        asked = sum(jobs.cancel(job) for job in chosen)
        self.message_user(request, f"{figures.counted(asked, 'job')} asked to stop; finished ones are left alone.")

    @admin.action(description="Run again", permissions=["act"])
    def run_again(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        started = 0
        for job in chosen.select_related("owner"):
            if job.unfinished:
                self.message_user(request, f"{job} is not finished yet.", messages.WARNING)
                continue
            try:
                jobs.rerun(job)
                started += 1
            except (jobs.UnknownKind, jobs.BadParams) as error:
                self.message_user(request, f"{job} can't be run again: {error}", messages.ERROR)
        self.message_user(request, f"{figures.counted(started, 'job')} started.")
