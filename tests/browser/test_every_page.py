"""Every address of the URL conf, looked at wide and narrow, light and dark: what must hold on all of them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from chronos.core import accounts, tenancy, tokens
from chronos.core.models import Job, JobLine
from marketdata import credentials, gaps
from marketdata.models import (
    Candle,
    CorporateAction,
    FallbackChain,
    FetchWindow,
    ProviderQuota,
    ProviderState,
    QuarantinedCandle,
    TradingCalendar,
)
from signals import catalogue as strategies
from signals.models import Backtest
from tests import cast
from tests.browser.conftest import DESK, PHONE
from tests.contracts.pages import addresses
from tests.prices import stored, walk
from tests.signals import runs
from universes import catalogue, membership
from universes.lists import adding, drafts
from universes.lists.parsing import parse_text

pytestmark = pytest.mark.browser

NO_PAGES = ("/figure.json", "/candles.csv", "/members.csv", "/performance.csv", "/performance.json", "/export.csv",
            "/report.html", "/stream/", "/events", "/health/", "/running/", "/autocomplete/")  # fmt: skip
TARGETS = "a[href], button, input:not([type=hidden]), select, textarea, summary"

AUDIT = (Path(__file__).parent / "audit.js").read_text()
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture
def scene(house):
    """Somebody on the staff, with something on every page."""
    stella = cast.stella()
    end = datetime(2013, 3, 1, tzinfo=UTC)
    asset = stored("NVDA", walk(400), exchange="NMS", currency="USD", sector="Technology", validated_at=timezone.now())
    stored("A-VERY-LONG-SYMBOL-INDEED.SAMPLE", walk(300, 68_000), last=end, source="sample", is_sample=True)
    coin = stored("BTC-USDT", walk(40), last=end, asset_class="crypto")
    coin.series.update(missing_count=1)
    Candle.objects.filter(asset=coin, open_time__in=[end - timedelta(days=n) for n in (3, 4, 9)]).delete()
    with tenancy.as_system("tests"):
        held = QuarantinedCandle.objects.create(
            asset=asset,
            timeframe="1d",
            open_time=end,
            raw={"high": "1", "low": "2", "close": "9" * 40},
            kind="impossible",
            reason="its high 1 is below its low 2; " + "x" * 120,
            source="file",
            fingerprint="x",
        )
        job = Job.objects.create(owner=stella, kind="refresh-asset", subject="NVDA", state="running",
                                 progress_done=3, progress_total=12, progress_note="3 of 12 · NVDA",
                                 started_at=timezone.now())  # fmt: skip
        JobLine.objects.create(job=job, owner=stella, text="NVDA 1d: 3 new candles. " + "x" * 200, level="warning")
        Job.objects.create(owner=None, kind="refresh-all", subject="All universes", state="failed",
                           finished_at=timezone.now(), summary="Nothing came: no provider answers.")  # fmt: skip
        ProviderState.objects.create(provider="yahoo", failing_since=timezone.now(), failure="Connection refused. " * 8)
        begun = timezone.now() - timedelta(days=1)
        window, *_ = [
            FetchWindow.objects.create(
                asset=asset, timeframe="1d", provider="yahoo", since=end, until=end + timedelta(days=9), state=state,
                received=7, seconds=1.5, asked_at=begun, error_class="ProviderTimeout", error="It did not answer. " * 9,
            )
            for state in ("answered", "failed", "empty", "asking")
        ]  # fmt: skip
        quota = ProviderQuota.objects.create(provider="twelvedata", day=timezone.now().date(), used=612, limit=800)
        credentials.store("twelvedata", "k3y", "stella")
        split, *_ = [
            CorporateAction.objects.create(asset=asset, kind=kind, ex_date=day, value=4, source="yahoo", currency="USD")
            for kind, day in [("split", date(2012, 1, 3))] + [("dividend", date(2012, 1, n)) for n in range(1, 12)]
        ]
        TradingCalendar.objects.create(
            code="XNYS",
            zone="America/New_York",
            covers_from=date(2012, 1, 1),
            covers_until=date(2013, 6, 1),
            version="4",
        )
        FallbackChain.objects.create(asset_class="stock", providers=["yahoo", "alphavantage"], changed_by="stella")
        gaps.audit(coin.series.get())
        every = IntervalSchedule.objects.create(every=60, period="minutes")
        task = PeriodicTask.objects.create(
            name="Refresh every universe", task="chronos.core.start_scheduled", interval=every
        )
    with tenancy.acting_as(stella):
        token, _ = tokens.issue(stella, "A token with a rather long name that has to go somewhere, too", may_write=True)
        universe = catalogue.create(stella, "A universe with a rather long name that has to go somewhere", "Why it is")
        membership.add(universe, stella, ["NVDA", "NEWCO", "A-VERY-LONG-SYMBOL-INDEED.SAMPLE", "AMD"])
        membership.remove(universe, stella, ["AMD"])
        lines = ["symbol,joined,note", "NVDA,,", "NVDX,,", f"MSFT,2024-01-01,{'why ' * 40}", f"{'A' * 200},,", "TSLA,,"]
        brought = drafts.keep(universe, stella, parse_text("\n".join(lines)), "A list with a rather long name.csv")
        added = drafts.keep(universe, stella, parse_text("AMD NEWCO x$"), "Pasted list")
        adding.confirm(added, stella)
        adding.add_all(added, stella)
        strategy = strategies.create(stella, "A strategy with a rather long name", "sma-cross", {}, "Why it is. " * 20)
        ended = {"finished_at": timezone.now(), "first_open": end, "last_open": end}
        for told in (ended | {"total_return": 12.3456, "trade_count": 12}, ended | {"failure": "Too short. " * 9}, {}):
            backtest = Backtest.objects.create(
                owner=stella, strategy=strategy, strategy_name=strategy.name, kind=strategy.kind, asset=coin,
                timeframe="1d", **told,
            )  # fmt: skip
    elsewhere = SessionStore()
    elsewhere.create()
    session = UserSession.objects.create(
        user=stella, session_key=elsewhere.session_key, ip="2001:db8:85a3:8d3:1319:8a2e:370:7348", user_agent="x" * 180
    )
    with tenancy.acting_as(stella):
        TOTP.activate(stella, "JBSWY3DPEHPK3PXP")
        passkey = Authenticator.objects.create(user=stella, type="webauthn", data={"name": "The laptop, " * 5})
    result = runs.ran(stella, stored("ETH-USDT", runs.swinging(), asset_class="crypto"))
    return {
        "user": stella,
        "backtest": result.pk,
        "token": token.pk,
        "session": session.pk,
        "passkey": passkey.pk,
        "universe": universe.pk,
        "list": brought.pk,
        "added": added.pk,
        "symbol": "NVDA",
        "strategy": strategy.pk,
        "job": job.pk,
        "core_user": stella.pk,
        "core_job": job.pk,
        "marketdata_asset": asset.pk,
        "marketdata_series": asset.series.get().pk,
        "marketdata_quarantinedcandle": held.pk,
        "marketdata_providerstate": "yahoo",
        "marketdata_fetchwindow": window.pk,
        "marketdata_corporateaction": split.pk,
        "marketdata_tradingcalendar": "XNYS",
        "marketdata_fallbackchain": "stock",
        "marketdata_providerkey": "twelvedata",
        "marketdata_providerquota": quota.pk,
        "universes_universe": universe.pk,
        "signals_strategy": strategy.pk,
        "signals_backtest": backtest.pk,
        "django_celery_beat_periodictask": task.pk,
        "django_celery_beat_intervalschedule": every.pk,
    }


# Pages whose inside is in what follows the address: a coin with gaps, a candle to decide about, both wide of the usual.
MORE = ("/assets/BTC-USDT/", "/assets/BTC-USDT/gaps/?timeframe=1d", "/data/?state=gaps", "/data/providers/okx/",
        "/strategies/new/?kind=sma-cross", "/backtests/{signals_backtest}/", "/backtests/compare/?ids={backtest}",
        "/data/quarantine/decide/?decision=release&id={marketdata_quarantinedcandle}",
        "/universes/{universe}/lists/{list}/?show=malformed", "/universes/{universe}/lists/{added}/")  # fmt: skip


def pages(scene, visitor):
    """The addresses that answer a GET with a page; the others are verbs, figures, files and streams."""
    yield from (path.format(**scene) for path in MORE)
    for address in addresses(scene):
        if not any(part in address.path for part in NO_PAGES):
            answer = visitor.page.request.get(visitor.origin + address.path, max_redirects=0)
            if answer.status != 405 and answer.headers.get("content-type", "").startswith("text/html"):
                yield address.path


def faults_of(visitor, path):
    """What is wrong with a page, first as wide as it is, then as narrow as a phone."""
    answer = visitor.open(path)
    if answer.status >= 500:
        return [f"{answer.status}"]
    ours = not path.startswith("/admin/")  # there, what a widget calls itself is Django's
    expected = f"status of {answer.status}"
    if visitor.page.locator(".chart[data-figure]").count():
        visitor.page.wait_for_selector(".chart .main-svg")
        visitor.page.wait_for_function("document.querySelector('.readout .at') !== null")
    said = [text for text in visitor.quiet() if not (answer.status >= 400 and expected in text)]
    visitor.complaints.clear()
    wide = visitor.page.evaluate(AUDIT, [TARGETS, ours])
    resize(visitor.page, PHONE)
    narrow = visitor.page.evaluate(AUDIT, [TARGETS, ours])
    dim = visitor.page.evaluate(CONTRAST) if ours else []
    resize(visitor.page, DESK)
    return [*said, *(f"1440: {fault}" for fault in wide), *(f"360: {fault}" for fault in narrow), *dim]


def resize(page, viewport):
    """Another size, and the page laid out for it: a frame later, a chart after its own pause."""
    page.set_viewport_size(viewport)
    page.wait_for_function(
        """(width) => innerWidth === width &&
           [...document.querySelectorAll('.chart .main-svg')].every((drawing) => drawing.clientWidth < width)""",
        arg=viewport["width"],
    )
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.prove
@pytest.mark.parametrize(
    ("scheme", "admin"),
    [
        ("light", False),
        ("light", True),
        ("dark", False),
    ],
)
def test_every_page(scene, visit, scheme, admin):
    """In the dark the admin differs by its tokens alone, and its contrast is not measured."""
    visitor = visit(scene["user"], DESK, scheme)
    found = [path for path in pages(scene, visitor) if path.startswith("/admin/") == admin]
    assert len(found) > 20
    faults = {path: faults for path in found if (faults := faults_of(visitor, path))}
    assert not faults, "\n".join(f"{path}\n    " + "\n    ".join(list) for path, list in faults.items())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_before_signing_in(visit, scheme):
    visitor = visit(None, DESK, scheme)
    reset = f"/reset/{accounts.reset_key(cast.alice())}/"
    for path in ("/sign-in/", "/sign-in/not-a-secret/", "/sign-up/", "/sign-up/look-into-mail/", "/reset/", reset):
        assert faults_of(visitor, path) == []


def test_pages_with_nothing_in_them(visit):
    visitor = visit(cast.alice(), PHONE)
    for path in (
        "/",
        "/universes/",
        "/universes/new/",
        "/assets/",
        "/assets/?q=zzz",
        "/strategies/",
        "/strategies/new/?kind=sma-cross",
        "/data/",
        "/data/windows/",
        "/data/quarantine/",
        "/activity/",
        "/settings/",
        "/settings/security/",
        "/settings/tokens/",
        "/nowhere/",
    ):
        assert faults_of(visitor, path) == [], path
