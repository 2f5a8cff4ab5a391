"""The attack battery: everything that one person could try on another's work, on committed data.

`Battlefield` sets the scene; each attack yields the breaches it finds, as sentences. No breach means that the owner
could do what is theirs, that the stranger and the unnamed could not, and that nothing of Alice's has changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import psycopg
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore

from chronos.core import accounts, tenancy
from chronos.core.database import conninfo
from chronos.core.models import ApiToken, IdempotencyKey, Job, JobLine, User
from marketdata.models import Asset
from signals.curves import packed, packed_times
from signals.models import Backtest, Curve, Strategy, Trade
from tests import cast
from universes.models import Membership, Share, SymbolList, SymbolListRow, Universe

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
_THREE_DAYS = packed_times(np.array([1, 2, 3]) * 86_400_000_000)
_EQUITY = packed(np.array([1.0, 3.0, 2.0]))


@dataclass
class Battlefield:
    """Alice has one of everything, and lets Rita read her universe; so has the house; Bob has his own; Eve nothing."""

    alice: User = field(default_factory=cast.alice)
    bob: User = field(default_factory=cast.bob)
    eve: User = field(default_factory=cast.eve)
    rita: User = field(default_factory=cast.rita)
    stella: User = field(default_factory=cast.stella)

    def __post_init__(self) -> None:
        self.asset = Asset.objects.create(symbol="NVDA", name="NVIDIA")
        self.other = Asset.objects.create(symbol="MSFT", name="Microsoft")
        with tenancy.as_system("set the scene"):
            self.hers = self._work_of(self.alice, "Alice's secret plan")
            self.his = self._work_of(self.bob, "Bob's list")
            self.domain = Universe.objects.create(name="AI", visibility="public", seed="ai")
            Membership.objects.create(universe=self.domain, asset=self.asset)
            self.bare = Backtest.objects.create(owner=self.alice, strategy_name="no curve yet", kind="sma-cross",
                                                asset=self.asset, timeframe="1d").pk  # fmt: skip
            self.house_job = Job.objects.create(kind="refresh-all", subject="All universes")
            JobLine.objects.create(job=self.house_job, text="the house's line")
        self.hers_to_sign_in = self._ways_in_of(self.alice, "Alice's secret plan: ")
        self.his_to_sign_in = self._ways_in_of(self.bob, "Bob's ")
        self.before = self.state_of(self.alice)

    def _work_of(self, owner: User, name: str) -> dict[str, int]:
        universe = Universe.objects.create(owner=owner, name=name)
        stay = Membership.objects.create(universe=universe, owner=owner, asset=self.asset)
        job = Job.objects.create(
            owner=owner, kind="refresh-universe", subject=name, params={"universe_id": universe.pk}
        )
        line = JobLine.objects.create(job=job, owner=owner, text=f"a line about {name}")
        share = Share.objects.create(universe=universe, owner=owner, reader=self.rita)
        brought = SymbolList.objects.create(universe=universe, owner=owner, source=f"{name}.csv")
        row = SymbolListRow.objects.create(symbol_list=brought, owner=owner, number=1, line=1, written="MSFT",
                                           symbol="MSFT", group="new", note=name)  # fmt: skip
        token = ApiToken.objects.create(owner=owner, name=f"token of {name}", digest=f"digest of {owner}")
        answered = IdempotencyKey.objects.create(owner=owner, key=f"key of {owner}", asked="hash", answer=name)
        strategy = Strategy.objects.create(owner=owner, name=f"strategy of {name}", kind="sma-cross", notes=name)
        backtest = Backtest.objects.create(owner=owner, strategy=strategy, strategy_name=strategy.name,
                                           kind="sma-cross", asset=self.asset, timeframe="1d", note=name,
                                           finished_at=NOON, read_from=NOON, first_open=NOON, last_open=NOON,
                                           bars=3, stale="its candles are not here any more")  # fmt: skip
        curve = Curve.objects.create(backtest=backtest, owner=owner, bars=3, times=_THREE_DAYS, equity=_EQUITY,
                                     gross=_EQUITY, hold=_EQUITY)  # fmt: skip
        trade = Trade.objects.create(backtest=backtest, owner=owner, number=0, position=0, direction="long",
                                     quantity=1, entry_bar=1, entry_time=backtest.created_at, entry_price=1,
                                     profit=1, profit_percent=1, mae=0, mfe=0)  # fmt: skip
        Authenticator.objects.create(user=owner, type="totp", data={"secret": name})
        passkey = Authenticator.objects.create(user=owner, type="webauthn", data={"name": f"passkey of {name}"})
        return {
            "mfa_authenticator": passkey.pk,
            "universes_universe": universe.pk,
            "universes_share": share.pk,
            "universes_membership": stay.pk,
            "universes_symbollist": brought.pk,
            "universes_symbollistrow": row.pk,
            "signals_strategy": strategy.pk,
            "signals_backtest": backtest.pk,
            "signals_curve": curve.pk,
            "signals_trade": trade.pk,
            "core_job": job.pk,
            "core_jobline": line.pk,
            "core_apitoken": token.pk,
            "core_idempotencykey": answered.pk,
        }

    def _ways_in_of(self, person: User, words: str) -> dict[str, int]:
        """What is not protected by the database but by asking for one person's alone."""
        accounts.align(person)
        session = SessionStore()
        session["_auth_user_id"] = str(person.pk)
        session.create()
        place = UserSession.objects.create(
            user=person, session_key=session.session_key, ip="192.0.2.7", user_agent=words + "browser"
        )
        return {"session": place.pk}

    def state_of(self, owner: User) -> dict[str, list[dict]]:
        with tenancy.as_system("compare"):
            work = {
                model._meta.db_table: list(model.objects.filter(owner=owner).order_by("pk").values())
                for model in (
                    Universe,
                    Share,
                    Membership,
                    SymbolList,
                    SymbolListRow,
                    Job,
                    JobLine,
                    ApiToken,
                    IdempotencyKey,
                    Strategy,
                    Backtest,
                    Curve,
                    Trade,
                )
            }
            keys = {"mfa_authenticator": list(Authenticator.objects.filter(user=owner).order_by("pk").values())}
        ways_in = {
            model._meta.db_table: list(model.objects.filter(user=owner).order_by("pk").values())
            for model in (EmailAddress, UserSession)
        }
        return work | keys | ways_in | {"core_user": list(User.objects.filter(pk=owner.pk).values())}


def owner_of(table: str) -> str:
    """The column that says whose a row is; allauth calls it otherwise."""
    return "user_id" if table == "mfa_authenticator" else "owner_id"


def raw_breaches(field: Battlefield) -> Iterator[str]:
    """SQL as the app role, in the way an injected statement would come."""
    with psycopg.connect(conninfo(settings.DATABASES["default"]), autocommit=True) as connection:
        yield from _unnamed(connection)
        yield from _stranger(connection, field)
        yield from _reader(connection, field)
        yield from _owner(connection, field)
    if field.state_of(field.alice) != field.before:
        yield "something of Alice's has changed"


def _unnamed(connection: psycopg.Connection) -> Iterator[str]:
    for table in tenancy.PROTECTED:
        for statement in (f"SELECT 1 FROM {table}", f"UPDATE {table} SET id = id", f"DELETE FROM {table}"):
            if not _refused(connection, None, statement):
                yield f"nobody in particular could: {statement}"


def _stranger(connection: psycopg.Connection, field: Battlefield) -> Iterator[str]:
    bob, alice = field.bob.pk, field.alice.pk
    for table, pk in field.hers.items():
        for statement in (
            f"SELECT 1 FROM {table} WHERE id = {pk}",
            f"UPDATE {table} SET id = id WHERE id = {pk}",
            f"DELETE FROM {table} WHERE id = {pk}",
        ):
            if _rows(connection, bob, statement):
                yield f"Bob could: {statement}"
        # Without a condition nothing is read, and so no policy for reading asked.
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {owner_of(table)} = {field.eve.pk}"):
            if _rows(connection, field.eve.pk, statement):
                yield f"Eve could: {statement}"
        if not _refused(
            connection, bob, f"UPDATE {table} SET {owner_of(table)} = {alice} WHERE id = {field.his[table]}"
        ):
            yield f"Bob could give Alice his row of {table}"
        taken = f"UPDATE {table} SET {owner_of(table)} = {bob} WHERE id = {pk}"
        if _rows(connection, bob, taken):
            yield f"Bob could take Alice's row of {table}"
    hers, his, house = field.hers, field.his, field.house_job.pk
    universe = "INSERT INTO universes_universe (owner_id, name, description, visibility, seed, created_at, changed_at,"
    universe += " version)"
    stay = (
        "INSERT INTO universes_membership (universe_id, owner_id, asset_id, joined_at, position, note, tags, version)"
    )
    rest = "now(), 0, '', '{}', 1"
    share = "INSERT INTO universes_share (universe_id, owner_id, reader_id, created_at)"
    brought = (
        "INSERT INTO universes_symbollist (universe_id, owner_id, source, state, remarks, beyond, dated, base,"
        " created_at)"
    )
    of_list = "'x', 'draft', '[]', 0, false, 0, now()"
    row = (
        "INSERT INTO universes_symbollistrow (symbol_list_id, owner_id, number, line, written, symbol, name, note,"
        ' tags, position, "group", reason, suggestions, decision, outcome)'
    )
    of_row = "9, 9, 'x', 'X', '', '', '{}', 0, 'new', '', '{}', '', ''"
    line = "INSERT INTO core_jobline (job_id, owner_id, at, level, text)"
    token = "INSERT INTO core_apitoken (owner_id, name, digest, hint, may_write, created_at)"
    job = (
        "INSERT INTO core_job (owner_id, kind, subject, subject_url, key, params, state, progress_done, progress_total,"
        " progress_note, summary, result, attempt, worker, created_at)"
    )
    strategy = "INSERT INTO signals_strategy (owner_id, name, kind, parameters, notes, created_at, changed_at, version)"
    of_strategy = "'x', 'sma-cross', '{}', '', now(), now(), 1"
    backtest = (
        "INSERT INTO signals_backtest (owner_id, strategy_id, rerun_of_id, asset_id, strategy_name, kind, parameters,"
        " timeframe, terms, created_at, failure, code_version, fingerprint, actions_digest, checksum, warnings,"
        " metrics, note, stale)"
    )
    of_backtest = f"{field.asset.pk}, 'x', 'x', '{{}}', '1d', '{{}}', now(), '', '', '', '', '', '[]', '{{}}', '', ''"
    curve = "INSERT INTO signals_curve (backtest_id, owner_id, bars, times, equity, gross, hold)"
    of_curve = "1, '', '', '', ''"
    trade = (
        "INSERT INTO signals_trade (backtest_id, owner_id, number, position, direction, quantity, entry_bar,"
        " entry_time, entry_price, exit_reason, fees, dividends, profit, profit_percent, mae, mfe, ambiguous, is_open)"
    )
    of_trade = "9, 9, 'long', 1, 1, now(), 1, '', 0, 0, 0, 0, 0, 0, false, false"
    her_strategy, her_backtest = hers["signals_strategy"], hers["signals_backtest"]
    his_backtest = his["signals_backtest"]
    other, his_stay = field.other.pk, field.his["universes_membership"]
    for what, statement in {
        "create a universe of Alice's": f"{universe} VALUES ({alice}, 'x', '', 'private', '', now(), now(), 1)",
        "publish his own": "UPDATE universes_universe SET visibility = 'public'"
        f" WHERE id = {field.his['universes_universe']}",
        "create a public one": f"{universe} VALUES ({bob}, 'x', '', 'public', '', now(), now(), 1)",
        "share Alice's as Alice": f"{share} VALUES ({hers['universes_universe']}, {alice}, {bob}, now())",
        "create a domain": f"{universe} VALUES (NULL, 'x', '', 'public', '', now(), now(), 1)",
        "put a stay into Alice's universe": f"{stay} VALUES ({hers['universes_universe']}, {bob}, {other}, {rest})",
        "put a stay into the domain": f"{stay} VALUES ({field.domain.pk}, {bob}, {other}, {rest})",
        "move his stay into Alice's universe": "UPDATE universes_membership"
        f" SET universe_id = {hers['universes_universe']} WHERE id = {his_stay}",
        "bring a list as Alice": f"{brought} VALUES ({hers['universes_universe']}, {alice}, {of_list})",
        "put a row into Alice's list as Alice": f"{row} VALUES ({hers['universes_symbollist']}, {alice}, {of_row})",
        "write into the log of Alice's job": f"{line} VALUES ({hers['core_job']}, {bob}, now(), 'info', 'x')",
        "write into the log of the house's job": f"{line} VALUES ({house}, NULL, now(), 'info', 'x')",
        "make a strategy of Alice's": f"{strategy} VALUES ({alice}, {of_strategy})",
        "make a backtest of Alice's": f"{backtest} VALUES ({alice}, {her_strategy}, NULL, {of_backtest})",
        "put a trade into Alice's backtest as Alice": f"{trade} VALUES ({her_backtest}, {alice}, {of_trade})",
        "draw a curve of Alice's backtest as Alice": f"{curve} VALUES ({her_backtest}, {alice}, {of_curve})",
        "make a passkey of Alice's": "INSERT INTO mfa_authenticator (user_id, type, data, created_at)"
        f" VALUES ({alice}, 'webauthn', '{{}}', now())",
        "make a token of Alice's": f"{token} VALUES ({alice}, 'x', 'x', '', true, now())",
        "start a job as Alice": f"{job} VALUES ({alice}, 'k', '', '', '', '{{}}', 'queued', 0, 0, '', '', '{{}}', 0,"
        " '', now())",
    }.items():
        if not _refused(connection, bob, statement):
            yield f"Bob could {what}"
    for what, statement in {  # here the compound foreign key stands guard: it is asked without policies
        "share Alice's universe as his": f"{share} VALUES ({hers['universes_universe']}, {bob}, {field.eve.pk}, now())",
        "bring a list to Alice's universe": f"{brought} VALUES ({hers['universes_universe']}, {bob}, {of_list})",
        "bring a list to the domain": f"{brought} VALUES ({field.domain.pk}, {bob}, {of_list})",
        "put a row into Alice's list": f"{row} VALUES ({hers['universes_symbollist']}, {bob}, {of_row})",
        "move his list to Alice's universe": "UPDATE universes_symbollist SET universe_id ="
        f" {hers['universes_universe']} WHERE id = {his['universes_symbollist']}",
        "move his row into Alice's list": f"UPDATE universes_symbollistrow SET symbol_list_id ="
        f" {hers['universes_symbollist']}, number = 7 WHERE id = {his['universes_symbollistrow']}",
        "backtest Alice's strategy": f"{backtest} VALUES ({bob}, {her_strategy}, NULL, {of_backtest})",
        "repeat Alice's backtest": f"{backtest} VALUES ({bob}, NULL, {her_backtest}, {of_backtest})",
        "say that his backtest is of Alice's strategy": "UPDATE signals_backtest"
        f" SET strategy_id = {her_strategy} WHERE id = {his_backtest}",
        "say that his backtest repeats Alice's": "UPDATE signals_backtest"
        f" SET rerun_of_id = {her_backtest} WHERE id = {his_backtest}",
        "put a trade into Alice's backtest": f"{trade} VALUES ({her_backtest}, {bob}, {of_trade})",
        "move his trade into Alice's backtest": "UPDATE signals_trade"
        f" SET backtest_id = {her_backtest}, number = 7 WHERE id = {his['signals_trade']}",
        "draw a curve of Alice's backtest": f"{curve} VALUES ({field.bare}, {bob}, {of_curve})",
        "move his curve to Alice's backtest": "UPDATE signals_curve"
        f" SET backtest_id = {field.bare} WHERE id = {his['signals_curve']}",
        "move his share to Alice's universe": "UPDATE universes_share SET universe_id ="
        f" {hers['universes_universe']}, reader_id = {field.eve.pk}"
        f" WHERE id = {field.his['universes_share']}",
    }.items():
        if not _refused(connection, bob, statement, psycopg.errors.ForeignKeyViolation):
            yield f"Bob could {what}"
    for what, statement in {
        "rename the domain": f"UPDATE universes_universe SET name = 'x' WHERE id = {field.domain.pk}",
        "empty the domain": f"DELETE FROM universes_membership WHERE universe_id = {field.domain.pk}",
        "cancel the house's job": f"UPDATE core_job SET state = 'cancelled' WHERE id = {house}",
        "delete the house's log": f"DELETE FROM core_jobline WHERE job_id = {house}",
    }.items():
        if _rows(connection, bob, statement):
            yield f"Bob could {what}"


def _reader(connection: psycopg.Connection, field: Battlefield) -> Iterator[str]:
    """Rita reads Alice's universe and who is in it, can leave it, and can do nothing else with it."""
    rita, hers, his = field.rita.pk, field.hers, field.his
    for table in ("universes_universe", "universes_membership", "universes_share"):
        seen = f"SELECT 1 FROM {table} WHERE id IN ({hers[table]}, {his[table]})"
        if _rows(connection, rita, seen) != 2:
            yield f"Rita could not: {seen}"
        for statement in (f"UPDATE {table} SET id = id WHERE id = {hers[table]}",
                          f"UPDATE {table} SET owner_id = {rita} WHERE id = {hers[table]}"):  # fmt: skip
            if _rows(connection, rita, statement):
                yield f"Rita could: {statement}"
    for table in ("core_job", "core_jobline", "core_apitoken", "core_idempotencykey", "mfa_authenticator",
                  "universes_symbollist", "universes_symbollistrow", "signals_strategy", "signals_backtest",
                  "signals_curve", "signals_trade"):  # fmt: skip
        if _rows(connection, rita, f"SELECT 1 FROM {table} WHERE id = {hers[table]}"):
            yield f"Rita could see Alice's row of {table}"
    for table in ("universes_universe", "universes_membership"):
        if _rows(connection, rita, f"DELETE FROM {table} WHERE id = {hers[table]}"):
            yield f"Rita could delete Alice's row of {table}"
    if _rows(connection, rita, f"DELETE FROM universes_share WHERE id = {hers['universes_share']}") != 1:
        yield "Rita could not leave Alice's universe"
    gone = f"UPDATE universes_universe SET deleted_at = now() WHERE id = {hers['universes_universe']}"
    for table, column in (("universes_universe", "id"), ("universes_membership", "universe_id")):
        if _rows(connection, rita, f"SELECT 1 FROM {table} WHERE {column} = {hers['universes_universe']}", first=gone,
                 by=field.alice.pk):  # fmt: skip
            yield f"Rita could see what Alice deleted in {table}"


def _owner(connection: psycopg.Connection, field: Battlefield) -> Iterator[str]:
    """What must work: a policy that refuses everybody would pass all the rest."""
    for table, pk in field.hers.items():
        for statement in (f"SELECT 1 FROM {table} WHERE id = {pk}", f"UPDATE {table} SET id = id WHERE id = {pk}"):
            if _rows(connection, field.alice.pk, statement) != 1:
                yield f"Alice could not: {statement}"
    for what, statement in {
        "see the domain": f"SELECT 1 FROM universes_universe WHERE id = {field.domain.pk}",
        "see the domain's members": f"SELECT 1 FROM universes_membership WHERE universe_id = {field.domain.pk}",
        "see the house's job": f"SELECT 1 FROM core_job WHERE id = {field.house_job.pk}",
        "see the house's log": f"SELECT 1 FROM core_jobline WHERE job_id = {field.house_job.pk}",
    }.items():
        if _rows(connection, field.eve.pk, statement) != 1:
            yield f"Eve could not {what}"


def _rows(
    connection: psycopg.Connection, tenant: int | None, statement: str, *, first: str = "", by: int | None = None
) -> int:
    """How many rows the statement met, after `first` that another does; rolled back. -1 if it was refused."""
    try:
        with connection.transaction(force_rollback=True):
            if first:
                connection.execute("SELECT set_config('chronos.tenant', %s, true)", [str(by)])
                connection.execute(first)
            if tenant:
                connection.execute("SELECT set_config('chronos.tenant', %s, true)", [str(tenant)])
            return connection.execute(statement).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return 0 if tenant else -1
    except psycopg.IntegrityError:  # a constraint stopped it: the policies had let it through
        return 1


def _refused(
    connection: psycopg.Connection,
    tenant: int | None,
    statement: str,
    by: type[psycopg.Error] = psycopg.errors.InsufficientPrivilege,
) -> bool:
    """Whether the database raised, rather than doing it or finding nothing."""
    try:
        with connection.transaction(force_rollback=True):
            if tenant:
                connection.execute("SELECT set_config('chronos.tenant', %s, true)", [str(tenant)])
            connection.execute(statement)
    except psycopg.Error as error:
        return isinstance(error, by)
    return False
