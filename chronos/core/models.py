"""People, their tokens and sign-in links, and jobs."""

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone


class User(AbstractUser):
    """A person, and so a tenant."""

    awaits_confirmation = models.BooleanField(
        default=False,
        help_text="Signed up, and has yet to follow the link in the mail: until then no password lets this person in.",
    )

    class Meta(AbstractUser.Meta):
        pass

    def __str__(self) -> str:
        return self.get_username()


def digest(secret: str) -> str:
    """What is stored of a random secret. The secrets have 256 bits, so a plain hash is enough."""
    return sha256(secret.encode()).hexdigest()


class SignInLink(models.Model):
    """A one-time way in; only its hash is stored. Exempt from tenancy: it is looked up before anyone is signed in."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_in_links")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    LIFETIME = timedelta(hours=1)

    def __str__(self) -> str:
        return f"sign-in link of {self.user_id}, until {self.expires_at:%Y-%m-%d %H:%M}"

    @classmethod
    def issue(cls, user: User, lifetime: timedelta = LIFETIME) -> str:
        """Make a link for `user`; returns its address, the only place where the secret ever is."""
        secret = secrets.token_urlsafe(32)
        cls.objects.create(user=user, digest=digest(secret), expires_at=timezone.now() + lifetime)
        return f"{settings.PUBLIC_URL}{reverse('core:sign-in-link', args=[secret])}"

    @classmethod
    def redeem(cls, secret: str) -> User | None:
        """The person whom this link lets in, once: the conditional update decides between two who come together."""
        now = timezone.now()
        link = cls.objects.filter(digest=digest(secret), used_at=None, expires_at__gt=now, user__is_active=True)
        if not link.update(used_at=now):
            return None
        return cls.objects.select_related("user").get(digest=digest(secret)).user


class ApiToken(models.Model):
    """A program's way in as a person. Its look-up is system work, because the person is not known before it."""

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=4, blank=True, help_text="The secret's last characters, to tell which one it is")
    may_write = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    compute_minutes = models.PositiveIntegerField(
        null=True, blank=True, help_text="Worker time a day that jobs started with it may take; empty: any"
    )

    class Meta:
        ordering: ClassVar = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """What the API answered to a request that is to be done once; kept for a day."""

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    asked = models.CharField(max_length=64, help_text="A hash of the request")
    status = models.PositiveSmallIntegerField(default=0)
    answer = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["owner", "key"], name="core_idempotencykey_once")]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="core_idempotencykey_age")]

    def __str__(self) -> str:
        return self.key


class JobQuerySet(models.QuerySet["Job"]):
    def running_first(self) -> "JobQuerySet":
        """Unfinished jobs first, then the newest."""
        return self.order_by(models.F("finished_at").desc(nulls_first=True), "-pk")

    def unfinished(self) -> "JobQuerySet":
        return self.filter(state__in=Job.UNFINISHED)

    def of(self, user: User) -> "JobQuerySet":
        """A person's own, and the house's (scheduled work on shared facts)."""
        return self.filter(Q(owner=user) | Q(owner=None))


class Job(models.Model):
    """One piece of long work. Only the runner in `chronos.core.jobs` changes its state."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        PARTIAL = "partial", "Partly done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    UNFINISHED = (State.QUEUED, State.RUNNING)

    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="jobs",
                              help_text="Nobody for the house's own scheduled work, seen by all.")  # fmt: skip
    kind = models.CharField(max_length=60)
    subject = models.CharField(max_length=200, help_text="What it is about, in words")
    subject_url = models.CharField(max_length=200, blank=True)
    key = models.CharField(max_length=120, blank=True, help_text="Two unfinished jobs never share owner, kind and key")
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)

    progress_done = models.PositiveIntegerField(default=0)
    progress_total = models.PositiveIntegerField(default=0, help_text="0 while unknown")
    progress_note = models.CharField(max_length=300, blank=True)
    summary = models.CharField(max_length=500, blank=True, help_text="How it ended, in one sentence")
    result = models.JSONField(default=dict)

    attempt = models.PositiveSmallIntegerField(default=0)
    lease = models.UUIDField(null=True, blank=True, help_text="Held by the worker that is running it")
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    rerun_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="reruns",
                                 db_constraint=False)  # fmt: skip
    token = models.ForeignKey(ApiToken, on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs",
                              db_constraint=False, help_text="What it was started with, if by a program")  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    woken_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was last told of it")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["owner", "kind", "key"],
                condition=Q(state__in=("queued", "running")) & ~Q(key=""),
                nulls_distinct=False,
                name="core_job_one_unfinished_per_key",
            ),
            models.CheckConstraint(
                condition=Q(finished_at=None, state__in=("queued", "running"))
                | Q(finished_at__isnull=False, state__in=("done", "partial", "failed", "cancelled")),
                name="core_job_finished_has_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner", "-id"], name="core_job_owner"),
            models.Index(fields=["lease_until"], condition=Q(finished_at=None), name="core_job_unfinished"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("core:job", args=[self.pk])

    @property
    def unfinished(self) -> bool:
        return self.state in self.UNFINISHED

    @property
    def cancelling(self) -> bool:
        return self.unfinished and self.cancel_requested_at is not None

    @property
    def percent(self) -> int | None:
        """0–100, or None while the total is unknown."""
        return min(100, 100 * self.progress_done // self.progress_total) if self.progress_total else None


class JobLine(models.Model):
    """One line of a job's log, written as it happens."""

    class Level(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        ERROR = "error"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="lines")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    level = models.CharField(max_length=7, choices=Level.choices, default=Level.INFO)
    text = models.TextField()

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.text
