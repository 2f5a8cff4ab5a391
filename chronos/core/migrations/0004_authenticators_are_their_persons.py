"""Row security for allauth's table of authenticator secrets, recovery codes and passkeys, as for our own."""

from django.db import migrations

MINE = "(SELECT chronos_system()) OR user_id = (SELECT chronos_tenant())"

POLICIES = f"""
ALTER TABLE mfa_authenticator ENABLE ROW LEVEL SECURITY;
ALTER TABLE mfa_authenticator FORCE ROW LEVEL SECURITY;
CREATE POLICY mfa_authenticator_scope ON mfa_authenticator AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY mfa_authenticator_owner ON mfa_authenticator
    USING ({MINE}) WITH CHECK ({MINE});
"""

UNDO = """
DROP POLICY mfa_authenticator_scope ON mfa_authenticator;
DROP POLICY mfa_authenticator_owner ON mfa_authenticator;
ALTER TABLE mfa_authenticator DISABLE ROW LEVEL SECURITY;
ALTER TABLE mfa_authenticator NO FORCE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0003_accounts"), ("mfa", "0003_authenticator_type_uniq")]
    operations = [migrations.RunSQL(POLICIES, UNDO)]
