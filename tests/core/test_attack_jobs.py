"""Every kind of long work, attacked: started by a stranger with the ids of Alice's rows, in a worker."""

import pytest

from chronos.core import jobs, tenancy
from chronos.core.models import Job, JobLine
from tests.contracts.attack import Battlefield

pytestmark = pytest.mark.usefixtures("house")

# What a parameter may name. A kind with a parameter that is not known here fails until it is: somebody's own row, whose
# table is given, or what is everybody's.
OWNED = {"universe_id": "universes_universe", "list_id": "universes_symbollist",
         "backtest_id": "signals_backtest"}  # fmt: skip
SHARED = {"asset_id", "timeframe", "since", "symbols", "provider", "kind", "parameters"}


def owned_kinds() -> list[str]:
    return [name for name, kind in sorted(jobs._kinds.items()) if set(kind.params.model_fields) & set(OWNED)]


def test_every_parameter_of_every_kind_is_known():
    unknown = {
        (name, parameter)
        for name, kind in jobs._kinds.items()
        for parameter in kind.params.model_fields
        if parameter not in OWNED and parameter not in SHARED
    }
    assert not unknown, "say in OWNED or SHARED what these name, so that they are attacked"
    assert len(owned_kinds()) >= 2


@pytest.mark.parametrize("who", ["bob", "eve"])
@pytest.mark.parametrize("kind", owned_kinds())
def test_a_stranger_gets_nothing_out_of(kind, who):
    field = Battlefield()
    person = getattr(field, who)
    wanted = jobs.kind_named(kind).params.model_fields
    params = {name: field.hers[table] for name, table in OWNED.items() if name in wanted}
    with tenancy.acting_as(person):
        started = jobs.start(kind, params, owner=person, subject="Mine")
    jobs.run_job(started.pk)
    with tenancy.acting_as(person):
        ended = Job.objects.get(pk=started.pk)
        told = [ended.summary, str(ended.result), *JobLine.objects.filter(job=started).values_list("text", flat=True)]
    assert ended.state == "failed"
    assert "not there any more" in ended.summary
    assert not [text for text in told if "Alice" in text or "NVDA" in text]
    assert field.state_of(field.alice) == field.before


@pytest.mark.parametrize("kind", owned_kinds())
def test_nor_by_writing_them_into_a_waiting_job(kind):
    """Parameters are read when the job runs, with the rights of the job's owner, whoever wrote them."""
    field = Battlefield()
    with tenancy.acting_as(field.bob):
        mine = {
            name: field.his[table] for name, table in OWNED.items() if name in jobs.kind_named(kind).params.model_fields
        }
        started = jobs.start(kind, mine, owner=field.bob, subject="Mine")
        Job.objects.filter(pk=started.pk).update(params={name: field.hers[OWNED[name]] for name in mine})
    jobs.run_job(started.pk)
    with tenancy.acting_as(field.bob):
        assert Job.objects.get(pk=started.pk).state == "failed"
    assert field.state_of(field.alice) == field.before


def test_running_somebody_elses_again_is_not_possible():
    field = Battlefield()
    with tenancy.acting_as(field.bob):
        assert not Job.objects.filter(pk=field.hers["core_job"]).exists()
        with pytest.raises(Job.DoesNotExist):
            jobs.rerun(Job.objects.get(pk=field.hers["core_job"]))
