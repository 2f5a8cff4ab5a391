"""Assets and their candles: facts shared by everybody, so no tenant here."""

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.urls import reverse
from django.utils import timezone


class AssetClass(models.TextChoices):
    STOCK = "stock", "Stock"
    ETF = "etf", "ETF"
    INDEX = "index", "Index"
    FX = "fx", "Currency pair"
    CRYPTO = "crypto", "Crypto"
    COMMODITY = "commodity", "Commodity"
    FUND = "fund", "Fund"


class CapClass(models.TextChoices):
    """Market capitalisation in classes, as directories of symbols give it; bounds in US dollars."""

    MEGA = "mega", "Mega cap"  # 200 billion and more
    LARGE = "large", "Large cap"  # 10 billion
    MID = "mid", "Mid cap"  # 2 billion
    SMALL = "small", "Small cap"  # 300 million
    MICRO = "micro", "Micro cap"  # 50 million
    NANO = "nano", "Nano cap"


class Timeframe(models.TextChoices):
    """Length of a candle. Those of a day and more are named by their first trading date at 00:00 UTC."""

    M1 = "1m", "1 minute"
    M5 = "5m", "5 minutes"
    M15 = "15m", "15 minutes"
    M30 = "30m", "30 minutes"
    H1 = "1h", "1 hour"
    H4 = "4h", "4 hours"
    D1 = "1d", "1 day"
    W1 = "1w", "1 week"
    MO1 = "1mo", "1 month"

    @property
    def length(self) -> timedelta:
        """How long a candle lasts; a month counts as 31 days."""
        return _LENGTHS[self.value]

    @property
    def is_daily(self) -> bool:
        """Whether candles are named by dates rather than moments."""
        return self.length >= timedelta(days=1)


_LENGTHS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(days=7),
    "1mo": timedelta(days=31),
}

SYMBOL = r"[A-Z0-9^][A-Z0-9.^=_&-]{0,39}"
is_symbol = RegexValidator(
    rf"\A{SYMBOL}\Z", "A symbol has 1 to 40 of the characters A–Z 0–9 . ^ = _ & - and starts with a letter, digit or ^."
)


class AssetQuerySet(models.QuerySet["Asset"]):
    def called(self, text: str) -> "AssetQuerySet":
        """The asset with this canonical symbol, or the one that a provider spells so."""
        written = text.strip()
        ours = Q(symbol=canonical(written)) | Q(symbol=written.upper())
        return self.filter(ours | Q(spellings__spelling__iexact=written)).distinct()


# Metals in dollars, and the future by which Yahoo has them: the contract of the next month, a proxy for the spot price.
FUTURES = {"XAU-USD": "GC=F", "XAG-USD": "SI=F", "XPT-USD": "PL=F", "XPD-USD": "PA=F"}
_METALS = {future: metal for metal, future in FUTURES.items()}
_pair = re.compile(r"([A-Z]{3})?([A-Z]{3})=X")


def canonical(text: str) -> str:
    """The canonical form of a symbol as people write it. Does not validate.

    Upper case; `BTC/USDT` as `BTC-USDT`; Yahoo's `EURUSD=X` as `EUR-USD`, its `JPY=X` as `USD-JPY`, its `GC=F` as
    `XAU-USD`.
    """
    symbol = text.strip().upper().replace("/", "-").replace(" ", "")
    if found := _pair.fullmatch(symbol):
        return f"{found[1] or 'USD'}-{found[2]}"
    return _METALS.get(symbol, symbol)


class Asset(models.Model):
    """One tradable thing with one canonical symbol."""

    symbol = models.CharField(max_length=40, unique=True, validators=[is_symbol], db_collation="C")
    name = models.CharField(max_length=200, blank=True)
    asset_class = models.CharField(max_length=10, choices=AssetClass.choices, default=AssetClass.STOCK)
    exchange = models.CharField(max_length=40, blank=True)
    currency = models.CharField(max_length=10, blank=True)
    calendar = models.CharField(
        max_length=20, blank=True, help_text="exchange_calendars' name, e.g. XNYS; 24/7 for crypto"
    )
    sector = models.CharField(max_length=100, blank=True)
    industry = models.CharField(max_length=150, blank=True)
    country = models.CharField(max_length=60, blank=True)
    cap_class = models.CharField("market-cap class", max_length=5, choices=CapClass.choices, blank=True)
    market_cap = models.DecimalField(max_digits=24, decimal_places=2, null=True, blank=True)
    price_earnings = models.DecimalField("P/E", max_digits=14, decimal_places=4, null=True, blank=True)
    dividend_yield = models.DecimalField(
        max_digits=10, decimal_places=6, null=True, blank=True, help_text="0.0125 is 1.25 %"
    )
    metadata = models.JSONField(default=dict, blank=True)
    is_sample = models.BooleanField(default=False, help_text="Bundled history that never moves; not for decisions")
    validated_at = models.DateTimeField(
        null=True, blank=True, help_text="When a provider last confirmed that it exists"
    )
    refuted_at = models.DateTimeField(
        null=True, blank=True, help_text="When a provider last said that it does not know it; empty once one does again"
    )
    facts_at = models.DateTimeField(
        null=True, blank=True, help_text="When market cap, P/E, yield, sector and industry were last refreshed"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AssetQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["symbol"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(symbol=Upper("symbol")), name="marketdata_asset_symbol_is_upper"),
        ]

    def __str__(self) -> str:
        return self.symbol

    def get_absolute_url(self) -> str:
        return reverse("marketdata:asset", args=[self.symbol])


class Listing(models.Model):
    """A line of the symbol master: what public directories say of a symbol, whether or not we keep the asset.

    Replaced as a whole by `load_symbols`. Text is as the directory has it; empty where it says nothing.
    """

    symbol = models.CharField(max_length=40, primary_key=True, db_collation="C", help_text="Canonical, as an asset's")
    spelling = models.CharField(max_length=60, help_text="As the directory writes it")
    name = models.CharField(max_length=200, blank=True)
    asset_class = models.CharField(max_length=10, choices=AssetClass.choices)
    exchange = models.CharField(max_length=40, blank=True)
    mic = models.CharField("MIC", max_length=4, blank=True, help_text="ISO 10383 code of the exchange")
    currency = models.CharField(max_length=10, blank=True)
    country = models.CharField(max_length=60, blank=True)
    sector = models.CharField(max_length=100, blank=True)
    industry = models.CharField(max_length=150, blank=True)
    cap_class = models.CharField("market-cap class", max_length=5, choices=CapClass.choices, blank=True)
    isin = models.CharField("ISIN", max_length=12, blank=True)
    importance = models.PositiveSmallIntegerField(
        default=0, help_text="Larger is sought more often: what a search shows first"
    )
    source = models.CharField(max_length=60, help_text="The directory")

    class Meta:
        ordering: ClassVar = ["symbol"]

    def __str__(self) -> str:
        return self.symbol


class Spelling(models.Model):
    """How one provider writes an asset's symbol, where that differs from ours."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="spellings")
    provider = models.CharField(max_length=40)
    spelling = models.CharField(max_length=60)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["asset", "provider"], name="marketdata_spelling_one_per_provider"),
        ]
        indexes: ClassVar = [models.Index(Upper("spelling"), name="marketdata_spelling_upper")]

    def __str__(self) -> str:
        return f"{self.provider}: {self.spelling}"


class Basis(models.TextChoices):
    """What stored prices are: as they were traded, or divided by every later split."""

    RAW = "raw", "As traded"
    SPLIT = "split", "Split-adjusted"


class Series(models.Model):
    """The candles of one asset in one timeframe, as a whole: what there is of them, from whom, and how fresh.

    The counts below `audited_at` are the last audit's (`marketdata.gaps.audit`): of the candles that the asset's
    calendar lets expect between the first and the last complete one.
    """

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="series")
    timeframe = models.CharField(max_length=4, choices=Timeframe.choices)
    source = models.CharField(max_length=40, blank=True, help_text="Provider of the newest candle")
    revision = models.PositiveIntegerField(
        default=0, help_text="Raised when a stored candle changes or one is added in the past"
    )
    revised_at = models.DateTimeField(null=True, blank=True, help_text="When the revision was last raised")
    candle_count = models.PositiveBigIntegerField(default=0)
    first_open = models.DateTimeField(null=True, blank=True)
    last_open = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True, help_text="When candles were last added or revised")
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When a provider last answered for it")
    failed_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when providers have not answered; empty while they do"
    )
    failure = models.CharField(max_length=300, blank=True)
    basis = models.CharField(max_length=5, choices=Basis.choices, default=Basis.SPLIT)
    due_at = models.DateTimeField(
        null=True, blank=True, db_index=True, help_text="When its market has produced the next candle"
    )
    audited_at = models.DateTimeField(null=True, blank=True, help_text="When the counts of missing candles were made")
    expected_count = models.PositiveBigIntegerField(default=0)
    missing_count = models.PositiveBigIntegerField(default=0)
    untraded_count = models.PositiveBigIntegerField(default=0, help_text="Expected, asked for, and not there")
    held_count = models.PositiveBigIntegerField(default=0, help_text="Expected, and only in quarantine")
    gap_count = models.PositiveIntegerField(default=0, help_text="Runs of missing candles")
    coverage_bar = models.JSONField(
        default=list,
        blank=True,
        help_text="Equal spans of time, oldest first: [have, missing, not traded, quarantined]",
    )

    class Meta:
        verbose_name_plural = "series"
        ordering: ClassVar = ["asset__symbol", "timeframe"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["asset", "timeframe"], name="marketdata_series_one_per_timeframe"),
        ]

    def __str__(self) -> str:
        return f"{self.asset} {self.timeframe}"


def _price(**options: Any) -> "models.DecimalField[Any, Any]":
    return models.DecimalField(max_digits=20, decimal_places=10, **options)


def _volume(**options: Any) -> "models.DecimalField[Any, Any]":
    return models.DecimalField(max_digits=28, decimal_places=8, **options)


class Candle(models.Model):
    """One stored bar. Written by `marketdata.ingestion` alone, by COPY and MERGE; partitioned by timeframe.

    No foreign key is enforced: there is one writer, and it creates the asset first. `adj_close` is the provider's close
    adjusted for splits and dividends, where it gives one. `known_at` is when we first stored this version.
    """

    pk = models.CompositePrimaryKey("asset_id", "timeframe", "open_time")
    asset = models.ForeignKey(Asset, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    timeframe = models.CharField(max_length=4, choices=Timeframe.choices, db_collation="C")
    open_time = models.DateTimeField()
    open = _price()
    high = _price()
    low = _price()
    close = _price()
    adj_close = _price(null=True)
    volume = _volume()
    quote_volume = _volume(null=True)
    source = models.CharField(max_length=40, db_collation="C")
    known_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(low__gte=0, low__lte=F("open"), high__gte=F("open"))
                & Q(low__lte=F("close"), high__gte=F("close"), volume__gte=0)
                & (Q(quote_volume=None) | Q(quote_volume__gte=0))
                & (Q(adj_close=None) | Q(adj_close__gte=0)),
                name="marketdata_candle_is_possible",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} {self.timeframe} {self.open_time:%Y-%m-%d %H:%M}"


class CandleRevision(models.Model):
    """What a candle was before it changed: believed from `known_at` until `superseded_at`."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="+")
    timeframe = models.CharField(max_length=4, choices=Timeframe.choices, db_collation="C")
    open_time = models.DateTimeField()
    open = _price()
    high = _price()
    low = _price()
    close = _price()
    adj_close = _price(null=True)
    volume = _volume()
    quote_volume = _volume(null=True)
    source = models.CharField(max_length=40, db_collation="C")
    known_at = models.DateTimeField()
    superseded_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["asset", "timeframe", "open_time"], name="marketdata_revision_candle"),
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} {self.timeframe} {self.open_time:%Y-%m-%d %H:%M} until {self.superseded_at}"


class QuarantinedCandle(models.Model):
    """A candle that failed a check: kept as it came, not used, never deleted by the program. No CHECKs here."""

    class State(models.TextChoices):
        HELD = "held", "Held"
        RELEASED = "released", "Released"
        REJECTED = "rejected", "Rejected"

    class Kind(models.TextChoices):
        """What is wrong with it. Of the doubts a second source, later candles or a person may think otherwise."""

        UNREADABLE = "unreadable", "Unreadable"
        IMPOSSIBLE = "impossible", "Impossible numbers"
        GRID = "grid", "Off the grid of times"
        UNFINISHED = "unfinished", "Not over yet"
        TWIN = "twin", "Second for its time"
        FOREIGN = "foreign", "Another series"
        SPIKE = "spike", "Spike"
        UNIT = "unit", "Jump of unit"
        FROZEN = "frozen", "Frozen without volume"

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="quarantined")
    timeframe = models.CharField(max_length=4, choices=Timeframe.choices)
    open_time = models.DateTimeField(null=True, blank=True, help_text="Empty if the time itself could not be read")
    raw = models.JSONField(help_text="The row as it came, by column")
    kind = models.CharField(max_length=10, choices=Kind.choices, blank=True, help_text="Empty if it came before kinds")
    reason = models.CharField(max_length=300)
    source = models.CharField(max_length=40)
    origin = models.CharField(max_length=300, blank=True, help_text="File and row, or the provider's spelling")
    state = models.CharField(max_length=8, choices=State.choices, default=State.HELD)
    received_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    fingerprint = models.CharField(max_length=64, help_text="The same row met again is not kept twice")

    class Meta:
        ordering: ClassVar = ["-received_at", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["asset", "timeframe", "fingerprint"], name="marketdata_quarantine_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["asset", "timeframe", "state", "open_time"], name="marketdata_quarantine_series"),
            models.Index(fields=["asset", "timeframe"], condition=Q(state="held"), name="marketdata_quarantine_held"),
        ]

    def __str__(self) -> str:
        return f"{self.asset} {self.timeframe}: {self.reason}"


class FetchWindow(models.Model):
    """The coverage ledger: one window of time asked of one provider, and what became of the question.

    A window that was answered vouches for the candles with since ≤ open < settled_until: they were final when they
    were asked for, so asking again would bring nothing new. A row left `asking` was interrupted.
    """

    class State(models.TextChoices):
        ASKING = "asking", "Being asked"
        ANSWERED = "answered", "Answered"
        EMPTY = "empty", "Answered: nothing there"
        FAILED = "failed", "Failed"

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="windows")
    timeframe = models.CharField(max_length=4, choices=Timeframe.choices, db_collation="C")
    provider = models.CharField(max_length=40, db_collation="C")
    since = models.DateTimeField()
    until = models.DateTimeField(help_text="Exclusive")
    settled_until = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.ASKING)
    received = models.PositiveIntegerField(default=0)
    inserted = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    quarantined = models.PositiveIntegerField(default=0)
    exhausted = models.BooleanField(default=False, help_text="The provider has nothing older than this window")
    error_class = models.CharField(max_length=40, blank=True)
    error = models.CharField(max_length=300, blank=True)
    asked_at = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="From the question to the answer, waits included")
    job_id = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-asked_at", "-pk"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(since__lt=F("until")), name="marketdata_window_has_length"),
            models.CheckConstraint(
                condition=Q(settled_until=None) | Q(settled_until__lte=F("until")),
                name="marketdata_window_settled_in_it",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["asset", "timeframe", "provider", "since"], name="marketdata_window_series"),
            models.Index(fields=["-asked_at"], name="marketdata_window_newest"),
            models.Index(fields=["asset", "timeframe", "-asked_at"], name="marketdata_window_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.asset_id} {self.timeframe} {self.since:%Y-%m-%d %H:%M}"


class CorporateAction(models.Model):
    """A split or a dividend of one asset: believed from `known_at` until `superseded_at`.

    `value` of a split is new shares per old one (4 for 4:1, 0.1 for a reverse 1:10); of a dividend or a capital gain
    the money per share, of the shares of that day (`basis` raw) or divided by all later splits (`basis` split).
    """

    class Kind(models.TextChoices):
        SPLIT = "split", "Split"
        DIVIDEND = "dividend", "Dividend"
        CAPITAL_GAIN = "capital_gain", "Capital gain"

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="actions")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    ex_date = models.DateField(help_text="First trading day at the new price")
    value = models.DecimalField(max_digits=24, decimal_places=12)
    basis = models.CharField(max_length=5, choices=Basis.choices, default=Basis.SPLIT)
    currency = models.CharField(max_length=10, blank=True)
    source = models.CharField(max_length=40, db_collation="C")
    derived = models.BooleanField(default=False, help_text="Found in the prices rather than told by the source")
    known_at = models.DateTimeField(default=timezone.now)
    superseded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-ex_date", "kind"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["asset", "kind", "ex_date"], condition=Q(superseded_at=None), name="marketdata_action_once"
            ),
            models.CheckConstraint(condition=Q(value__gt=0), name="marketdata_action_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} {self.kind} {self.ex_date}"


class TradingCalendar(models.Model):
    """How far the sessions of one market are stored; made from exchange_calendars by `marketdata.calendars.load`."""

    code = models.CharField(max_length=20, primary_key=True)
    zone = models.CharField(max_length=40, help_text="IANA time zone")
    covers_from = models.DateField()
    covers_until = models.DateField(help_text="The last day that the sessions are known for")
    version = models.CharField(max_length=20, help_text="Of the package that said so")
    loaded_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.code


class TradingSession(models.Model):
    """One trading day of one market, in UTC; half-days and breaks included."""

    calendar = models.CharField(max_length=20, db_collation="C")
    date = models.DateField()
    opens_at = models.DateTimeField()
    closes_at = models.DateTimeField()
    break_from = models.DateTimeField(null=True, blank=True)
    break_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["calendar", "date"], name="marketdata_session_once"),
            models.CheckConstraint(condition=Q(opens_at__lt=F("closes_at")), name="marketdata_session_has_length"),
        ]

    def __str__(self) -> str:
        return f"{self.calendar} {self.date}"


class FallbackChain(models.Model):
    """Which providers are asked for assets of a class, in this order; without a row the usual order counts."""

    asset_class = models.CharField(max_length=10, choices=AssetClass.choices, primary_key=True)
    providers = models.JSONField(default=list, help_text="Names, first choice first")
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.CharField(max_length=150, blank=True)

    def __str__(self) -> str:
        return self.get_asset_class_display()


class ProviderKey(models.Model):
    """A provider's API key, encrypted; written and read by `marketdata.credentials` alone."""

    provider = models.CharField(max_length=40, primary_key=True)
    secret = models.BinaryField()
    set_at = models.DateTimeField(default=timezone.now)
    set_by = models.CharField(max_length=150, blank=True)

    def __str__(self) -> str:
        return self.provider


class ProviderQuota(models.Model):
    """How much of a provider's daily quota is used: kept here, so that no restart forgets it."""

    provider = models.CharField(max_length=40)
    key = models.CharField(max_length=16, blank=True, help_text="A fingerprint of the API key; empty without one")
    day = models.DateField(help_text="UTC")
    used = models.PositiveIntegerField(default=0)
    limit = models.PositiveIntegerField(null=True, blank=True)
    exhausted_at = models.DateTimeField(null=True, blank=True, help_text="When the provider said that it was enough")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "key", "day"], name="marketdata_quota_once"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.day}"


class ProviderState(models.Model):
    """Whether a provider answers: what the pages' banner says, and the circuit breaker's memory."""

    provider = models.CharField(max_length=40, primary_key=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=300, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="Questions in a row that it did not answer")
    closed_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then nobody asks it; then one question tries whether it is back"
    )

    def __str__(self) -> str:
        return self.provider


def available_at(open_time: datetime, timeframe: Timeframe) -> datetime:
    """When a candle is complete, by its length alone; a market's calendar may say earlier."""
    return open_time + timeframe.length
