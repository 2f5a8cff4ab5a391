"""Strategies and the backtests that were made of them: a person's own work, which nobody else sees.

What follows a backtest's `owner` is held by compound foreign keys (migration 0002): a trade and a curve are their
backtest's owner's, a backtest its strategy's and the one's that it repeats. They are checked without policies.
"""

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.urls import reverse

from chronos.core.models import Job, User
from marketdata.models import Asset, Timeframe


class StrategyQuerySet(models.QuerySet["Strategy"]):
    def kept(self) -> "StrategyQuerySet":
        """Without those that were deleted and can still be taken back."""
        return self.filter(deleted_at=None)

    def of(self, user: User) -> "StrategyQuerySet":
        return self.kept().filter(owner=user)


class Strategy(models.Model):
    """A kind of strategy with the parameters that somebody chose for it, under a name of its own."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="strategies")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=100, help_text="Its name in the registry of kinds")
    parameters = models.JSONField(default=dict, blank=True)
    notes = models.TextField(max_length=10_000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    version = models.PositiveIntegerField(
        default=1, help_text="Raised by each edit of name, kind, parameters or notes, so that a lost update is noticed"
    )
    archived_at = models.DateTimeField(null=True, blank=True, help_text="Kept, but out of the way: not listed")
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="Gone; its owner can take that back until it is purged"
    )

    objects = StrategyQuerySet.as_manager()

    runs: int  # how many backtests of it there are, and the best of their returns, where a query says so
    best: float | None

    class Meta:
        ordering: ClassVar = ["name", "pk"]
        verbose_name_plural = "strategies"
        constraints: ClassVar = [
            models.UniqueConstraint(
                F("owner"), Lower("name"), condition=Q(deleted_at=None), name="signals_strategy_name_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("signals:strategy", args=[self.pk])


# What `Backtest.state` says, as conditions. Without an end of its own its job tells; a job that is gone, too.
DONE = Q(finished_at__isnull=False, failure="")
OPEN = Q(finished_at=None, job__state__in=Job.UNFINISHED)
FAILED = (Q(finished_at__isnull=False) & ~Q(failure="")) | Q(finished_at=None, job__state=Job.State.FAILED)
CANCELLED = Q(finished_at=None) & (Q(job__state=None) | ~Q(job__state__in=(*Job.UNFINISHED, Job.State.FAILED)))


def state_of(finished_at: datetime | None, failure: str, of_job: str | None) -> str:
    """`done`, `failed`, `cancelled`, `queued` or `running`: its own end, else its job's."""
    if finished_at:
        return "failed" if failure else "done"
    return of_job if of_job in (*Job.UNFINISHED, Job.State.FAILED) else Job.State.CANCELLED


class BacktestQuerySet(models.QuerySet["Backtest"]):
    def kept(self) -> "BacktestQuerySet":
        """Without those that were deleted and can still be taken back."""
        return self.filter(deleted_at=None)

    def of(self, user: User) -> "BacktestQuerySet":
        """The owner is named although policies ask for it, too: theirs is no condition that an index could serve."""
        return self.kept().filter(owner=user)

    def finished(self) -> "BacktestQuerySet":
        """Those with a result: neither waiting nor failed."""
        return self.filter(DONE)


# Figures that a list shows and sorts by; each is a column beside the whole in `metrics`, with an index of its own.
HEADLINES = ("total_return", "cagr", "sharpe_ratio", "max_drawdown", "win_rate", "profit_factor", "trade_count")


class Backtest(models.Model):
    """One run: what was asked for, what it used, what came out. Only its note changes once it is finished.

    Strategy, kind and parameters are kept as they were when it ran: the strategy may change and go since.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="backtests",
                              db_index=False, help_text="The indexes below begin with it")  # fmt: skip
    strategy = models.ForeignKey(Strategy, on_delete=models.SET_NULL, null=True, blank=True, related_name="backtests")
    strategy_name = models.CharField(max_length=100)
    kind = models.CharField(max_length=100)
    parameters = models.JSONField(default=dict, blank=True)

    # A result whose asset or benchmark is gone could neither be understood nor repeated.
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="backtests")
    timeframe = models.CharField(max_length=4, choices=Timeframe.choices)
    start = models.DateTimeField(null=True, blank=True, help_text="Asked for; empty: from the first candle")
    end = models.DateTimeField(null=True, blank=True, help_text="Asked for; empty: to the last candle")
    terms = models.JSONField(default=dict, help_text="Cash, costs, sizing, exits, lot, direction, close_at_end")
    benchmark = models.ForeignKey(Asset, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="backtests",
                            db_constraint=False)  # fmt: skip
    rerun_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="reruns")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    failure = models.TextField(blank=True, help_text="Why there is no result, in words; empty if there is one")
    seconds = models.FloatField(null=True, blank=True, help_text="How long it took")

    read_from = models.DateTimeField(
        null=True, blank=True, help_text="Open of the first candle read, for the warmup too"
    )
    first_open = models.DateTimeField(null=True, blank=True, help_text="Open of the first bar that it could trade on")
    last_open = models.DateTimeField(null=True, blank=True, help_text="Open of the last bar")
    bars = models.PositiveIntegerField(null=True, blank=True)
    code_version = models.CharField(max_length=100, blank=True)
    fingerprint = models.CharField(max_length=200, blank=True, help_text="Of the candles: revision, range, checksum")
    revision = models.PositiveBigIntegerField(null=True, blank=True, help_text="The series' revision when it ran")
    checked_revision = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="The series' revision when its past was last compared with the fingerprint"
    )
    stale = models.CharField(max_length=200, blank=True, help_text="What was revised since; empty if nothing was")
    actions_digest = models.CharField(max_length=64, blank=True, help_text="Of the splits and dividends")
    checksum = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the bytes of trades and equity")

    warnings = models.JSONField(default=list, blank=True, help_text="[{code, level, text}]")
    metrics = models.JSONField(default=dict, blank=True)
    total_return = models.FloatField(null=True, blank=True)
    cagr = models.FloatField("CAGR", null=True, blank=True)
    sharpe_ratio = models.FloatField(null=True, blank=True)
    max_drawdown = models.FloatField(null=True, blank=True)
    win_rate = models.FloatField(null=True, blank=True)
    profit_factor = models.FloatField(null=True, blank=True)
    trade_count = models.PositiveIntegerField(null=True, blank=True)

    note = models.TextField(max_length=10_000, blank=True)
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="Gone; its owner can take that back until it is purged"
    )

    objects = BacktestQuerySet.as_manager()

    warned: int  # how many warnings it has, where a query counts them

    class Meta:
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(failure="") | Q(finished_at__isnull=False), name="signals_backtest_failed_has_time"
            ),
        ]
        # Best first, those without a figure last: the other way round sorts one owner's, which is quick enough.
        indexes: ClassVar = [
            models.Index(fields=["owner", "-created_at", "-id"], name="signals_backtest_newest"),
            models.Index(fields=["owner", "strategy", "-created_at"], name="signals_backtest_strategy"),
            models.Index(fields=["owner", "asset", "-created_at"], name="signals_backtest_asset"),
            models.Index(fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="signals_backtest_purge"),
            *(
                models.Index(
                    F("owner"), F(column).desc(nulls_last=True), F("id").desc(), condition=Q(deleted_at=None),
                    name=f"signals_backtest_{column}",
                )
                for column in HEADLINES
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.strategy_name} on {self.asset} {self.timeframe}"

    def get_absolute_url(self) -> str:
        return reverse("signals:backtest", args=[self.pk])

    @property
    def unfinished(self) -> bool:
        return self.finished_at is None

    @property
    def failed(self) -> bool:
        return bool(self.failure)

    @property
    def state(self) -> str:
        """`done`, `failed`, `cancelled`, `queued` or `running`: its own end, else its job's."""
        return state_of(self.finished_at, self.failure, None if self.finished_at or not self.job else self.job.state)


class Curve(models.Model):
    """A backtest's equity by bar, beside what it is held against: one compressed column of numbers each.

    `times` are int64 microseconds since 1970, all others float64, each of `bars` values. It goes with its backtest by
    the database, which need not look at it for that.
    """

    backtest = models.OneToOneField(Backtest, on_delete=models.DO_NOTHING, related_name="curve", db_constraint=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, related_name="+",
                              db_constraint=False, db_index=False)  # fmt: skip
    bars = models.PositiveIntegerField()
    times = models.BinaryField()
    equity = models.BinaryField()
    gross = models.BinaryField(help_text="Absolute value of what is held")
    hold = models.BinaryField(help_text="The asset bought at the start and held")
    benchmark = models.BinaryField(null=True)
    optimistic = models.BinaryField(null=True, help_text="Equity had every ambiguous exit gone well")

    def __str__(self) -> str:
        return f"curve of backtest {self.backtest_id}"


class Trade(models.Model):
    """One part of a position, closed or, with `is_open`, held to the last bar. Many come at once, by COPY.

    Its backtest's owner, and gone with it, by the database alone, as a curve.
    """

    class Direction(models.TextChoices):
        LONG = "long", "Long"
        SHORT = "short", "Short"

    backtest = models.ForeignKey(Backtest, on_delete=models.DO_NOTHING, related_name="trades", db_constraint=False,
                                 db_index=False)  # fmt: skip
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, related_name="+",
                              db_constraint=False, db_index=False)  # fmt: skip
    number = models.PositiveIntegerField(help_text="Its place in the backtest, from 0")
    position = models.PositiveIntegerField(help_text="Which position it is a part of, from 0")
    direction = models.CharField(max_length=5, choices=Direction.choices)
    quantity = models.DecimalField(max_digits=28, decimal_places=10)
    entry_bar = models.PositiveIntegerField()
    entry_time = models.DateTimeField()
    entry_price = models.DecimalField(max_digits=20, decimal_places=10)
    exit_bar = models.PositiveIntegerField(null=True, blank=True)
    exit_time = models.DateTimeField(null=True, blank=True)
    exit_price = models.DecimalField(max_digits=20, decimal_places=10, null=True, blank=True)
    exit_reason = models.CharField(max_length=20, blank=True)
    fees = models.DecimalField(max_digits=24, decimal_places=8, default=0)
    dividends = models.DecimalField(max_digits=24, decimal_places=8, default=0)
    profit = models.DecimalField(max_digits=24, decimal_places=8)
    profit_percent = models.FloatField(help_text="Of what was paid or received at its entry; 0.05 is 5 %")
    mae = models.FloatField("MAE", help_text="Worst price while held, as fraction of the entry's; at most 0")
    mfe = models.FloatField("MFE", help_text="Best price while held, as fraction of the entry's; at least 0")
    risk = models.DecimalField(max_digits=24, decimal_places=8, null=True, blank=True,
                               help_text="Between entry and first stop, in currency")  # fmt: skip
    ambiguous = models.BooleanField(default=False)
    is_open = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["backtest", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["backtest", "number"], name="signals_trade_number"),
        ]

    def __str__(self) -> str:
        return f"trade {self.number} of backtest {self.backtest_id}"
