"""Who may see and change universes and their memberships.

A membership's policies look at its universe, a universe's look at nothing: no recursion.
"""

from django.db import migrations

MINE = "(SELECT chronos_system()) OR owner_id = (SELECT chronos_tenant())"
# The parent too: a foreign key is checked without policies, so it would let a stay into somebody else's universe.
PARENT = """EXISTS (
        SELECT 1 FROM universes_universe u
        WHERE u.id = universe_id AND u.owner_id IS NOT DISTINCT FROM universes_membership.owner_id
    )"""

POLICIES = f"""
ALTER TABLE universes_universe ENABLE ROW LEVEL SECURITY;
ALTER TABLE universes_universe FORCE ROW LEVEL SECURITY;
CREATE POLICY universes_universe_scope ON universes_universe AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY universes_universe_owner ON universes_universe
    USING ({MINE}) WITH CHECK ({MINE});
CREATE POLICY universes_universe_public ON universes_universe FOR SELECT
    USING (visibility = 'public');

ALTER TABLE universes_membership ENABLE ROW LEVEL SECURITY;
ALTER TABLE universes_membership FORCE ROW LEVEL SECURITY;
CREATE POLICY universes_membership_scope ON universes_membership AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY universes_membership_owner ON universes_membership
    USING ({MINE}) WITH CHECK (({MINE}) AND {PARENT});
CREATE POLICY universes_membership_public ON universes_membership FOR SELECT
    USING (EXISTS (
        SELECT 1 FROM universes_universe u WHERE u.id = universe_id AND u.visibility = 'public'
    ));
"""

UNDO = """
DROP POLICY universes_universe_scope ON universes_universe;
DROP POLICY universes_universe_owner ON universes_universe;
DROP POLICY universes_universe_public ON universes_universe;
DROP POLICY universes_membership_scope ON universes_membership;
DROP POLICY universes_membership_owner ON universes_membership;
DROP POLICY universes_membership_public ON universes_membership;
ALTER TABLE universes_universe DISABLE ROW LEVEL SECURITY;
ALTER TABLE universes_membership DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("universes", "0001_initial"), ("core", "0002_row_security")]
    operations = [migrations.RunSQL(POLICIES, UNDO)]
