"""The two functions that every policy asks, and the policies of tokens and jobs."""

from django.db import migrations

# `chronos_scope()` refuses to answer when nobody said whom the query is for: an error, not an empty page. It is a
# restrictive policy of its own, so that no row gets past it by another policy. All three are called in subqueries,
# `(SELECT …)`, so that a statement asks once, not once a row; a table without rows therefore does not ask at all, and
# `tenancy.py` refuses those statements before they are sent.
FUNCTIONS = """
CREATE FUNCTION chronos_scope() RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF coalesce(current_setting('chronos.tenant', true), '') = ''
        AND coalesce(current_setting('chronos.system', true), '') = '' THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'nobody said whom this query is for',
            HINT = 'enter tenancy.acting_as(user) or tenancy.as_system("why")';
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION chronos_tenant() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('chronos.tenant', true), '')::bigint
$$;

CREATE FUNCTION chronos_system() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('chronos.system', true), '') <> ''
$$;
"""

MINE = "(SELECT chronos_system()) OR owner_id = (SELECT chronos_tenant())"

POLICIES = f"""
ALTER TABLE core_apitoken ENABLE ROW LEVEL SECURITY;
ALTER TABLE core_apitoken FORCE ROW LEVEL SECURITY;
CREATE POLICY core_apitoken_scope ON core_apitoken AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY core_apitoken_owner ON core_apitoken
    USING ({MINE}) WITH CHECK ({MINE});

-- The house's own jobs (owner NULL) work on shared facts: everybody reads them, only system work writes them.
ALTER TABLE core_job ENABLE ROW LEVEL SECURITY;
ALTER TABLE core_job FORCE ROW LEVEL SECURITY;
CREATE POLICY core_job_scope ON core_job AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY core_job_owner ON core_job
    USING ({MINE}) WITH CHECK ({MINE});
CREATE POLICY core_job_house ON core_job FOR SELECT
    USING (owner_id IS NULL);

-- A line is its job's: whoever writes one must see the job and be its owner.
ALTER TABLE core_jobline ENABLE ROW LEVEL SECURITY;
ALTER TABLE core_jobline FORCE ROW LEVEL SECURITY;
CREATE POLICY core_jobline_scope ON core_jobline AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY core_jobline_owner ON core_jobline
    USING ({MINE})
    WITH CHECK (({MINE}) AND EXISTS (
        SELECT 1 FROM core_job j WHERE j.id = job_id AND j.owner_id IS NOT DISTINCT FROM core_jobline.owner_id
    ));
CREATE POLICY core_jobline_house ON core_jobline FOR SELECT
    USING (owner_id IS NULL);
"""

UNDO = """
DROP POLICY core_apitoken_scope ON core_apitoken;
DROP POLICY core_apitoken_owner ON core_apitoken;
DROP POLICY core_job_scope ON core_job;
DROP POLICY core_job_owner ON core_job;
DROP POLICY core_job_house ON core_job;
DROP POLICY core_jobline_scope ON core_jobline;
DROP POLICY core_jobline_owner ON core_jobline;
DROP POLICY core_jobline_house ON core_jobline;
ALTER TABLE core_apitoken DISABLE ROW LEVEL SECURITY;
ALTER TABLE core_job DISABLE ROW LEVEL SECURITY;
ALTER TABLE core_jobline DISABLE ROW LEVEL SECURITY;
DROP FUNCTION chronos_scope();
DROP FUNCTION chronos_tenant();
DROP FUNCTION chronos_system();
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]
    operations = [migrations.RunSQL(FUNCTIONS + POLICIES, UNDO)]
