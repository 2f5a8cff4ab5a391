"""Curation of people and of the work that was done for them."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chronos.core import figures, jobs
from chronos.core.models import Job, JobLine, SignInLink, User

admin.site.unregister(Group)  # rights here are: staff or not


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """For what the program writes and people only look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    list_display = ("username", "email", "first_name", "last_name", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    actions = ("make_sign_in_link",)

    @admin.action(description="Make a one-time sign-in link")
    def make_sign_in_link(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        """Shown once, to whoever asked; only its hash is stored."""
        for person in chosen.filter(is_active=True)[:20]:
            link = SignInLink.issue(person)
            self.message_user(request, f"{person} can sign in once within an hour: {link}", messages.SUCCESS)


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

    @admin.action(description="Cancel", permissions=["view"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        asked = sum(jobs.cancel(job) for job in chosen)
        self.message_user(request, f"{figures.counted(asked, 'job')} asked to stop; finished ones are left alone.")

    @admin.action(description="Run again", permissions=["view"])
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
