"""Who sees a universe besides its owner: those it is shared with, and everybody if staff made it public.

A universe's policy looks at shares, a membership's at its universe, a share's at nothing: no recursion. That a share
is its universe's owner's is held by a compound foreign key, which is checked without policies.
"""

from django.db import migrations

MINE = "(SELECT chronos_system()) OR owner_id = (SELECT chronos_tenant())"
STAFF = "(SELECT is_staff FROM core_user WHERE id = (SELECT chronos_tenant()))"

POLICIES = f"""
ALTER TABLE universes_universe ADD CONSTRAINT universes_universe_of_owner UNIQUE (id, owner_id);
ALTER TABLE universes_share ADD CONSTRAINT universes_share_of_the_owner
    FOREIGN KEY (universe_id, owner_id) REFERENCES universes_universe (id, owner_id) ON UPDATE CASCADE;

ALTER TABLE universes_share ENABLE ROW LEVEL SECURITY;
ALTER TABLE universes_share FORCE ROW LEVEL SECURITY;
CREATE POLICY universes_share_scope ON universes_share AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY universes_share_owner ON universes_share
    USING ({MINE}) WITH CHECK ({MINE});
CREATE POLICY universes_share_reader ON universes_share FOR SELECT
    USING (reader_id = (SELECT chronos_tenant()));
CREATE POLICY universes_share_leave ON universes_share FOR DELETE
    USING (reader_id = (SELECT chronos_tenant()));

-- Only staff make a universe public, whatever the page says.
DROP POLICY universes_universe_owner ON universes_universe;
CREATE POLICY universes_universe_owner ON universes_universe
    USING ({MINE})
    WITH CHECK ((SELECT chronos_system())
        OR (owner_id = (SELECT chronos_tenant()) AND (visibility <> 'public' OR {STAFF})));
DROP POLICY universes_universe_public ON universes_universe;
CREATE POLICY universes_universe_public ON universes_universe FOR SELECT
    USING (visibility = 'public' AND deleted_at IS NULL);
CREATE POLICY universes_universe_reader ON universes_universe FOR SELECT
    USING (deleted_at IS NULL
        AND id IN (SELECT s.universe_id FROM universes_share s WHERE s.reader_id = (SELECT chronos_tenant())));

-- Whoever sees a universe sees who is in it.
DROP POLICY universes_membership_public ON universes_membership;
CREATE POLICY universes_membership_reader ON universes_membership FOR SELECT
    USING (EXISTS (SELECT 1 FROM universes_universe u WHERE u.id = universe_id));
"""

UNDO = f"""
DROP POLICY universes_membership_reader ON universes_membership;
CREATE POLICY universes_membership_public ON universes_membership FOR SELECT
    USING (EXISTS (
        SELECT 1 FROM universes_universe u WHERE u.id = universe_id AND u.visibility = 'public'
    ));
DROP POLICY universes_universe_reader ON universes_universe;
DROP POLICY universes_universe_public ON universes_universe;
CREATE POLICY universes_universe_public ON universes_universe FOR SELECT
    USING (visibility = 'public');
DROP POLICY universes_universe_owner ON universes_universe;
CREATE POLICY universes_universe_owner ON universes_universe
    USING ({MINE}) WITH CHECK ({MINE});
DROP POLICY universes_share_scope ON universes_share;
DROP POLICY universes_share_owner ON universes_share;
DROP POLICY universes_share_reader ON universes_share;
DROP POLICY universes_share_leave ON universes_share;
ALTER TABLE universes_share DISABLE ROW LEVEL SECURITY;
ALTER TABLE universes_share DROP CONSTRAINT universes_share_of_the_owner;
ALTER TABLE universes_universe DROP CONSTRAINT universes_universe_of_owner;
"""


class Migration(migrations.Migration):
    dependencies = [("universes", "0003_sharing_and_dates"), ("core", "0002_row_security")]
    operations = [migrations.RunSQL(POLICIES, UNDO)]
