"""For programs: answers to what is done once, the time a token's jobs may take, and which token started a job."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


MINE = "(SELECT chronos_system()) OR owner_id = (SELECT chronos_tenant())"

POLICIES = f"""
ALTER TABLE core_idempotencykey ENABLE ROW LEVEL SECURITY;
ALTER TABLE core_idempotencykey FORCE ROW LEVEL SECURITY;
CREATE POLICY core_idempotencykey_scope ON core_idempotencykey AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY core_idempotencykey_owner ON core_idempotencykey
    USING ({MINE}) WITH CHECK ({MINE});
"""


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0004_authenticators_are_their_persons'),
    ]

    operations = [
        migrations.AddField(
            model_name='apitoken',
            name='compute_minutes',
            field=models.PositiveIntegerField(blank=True, help_text='Worker time a day that jobs started with it may take; empty: any', null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='token',
            field=models.ForeignKey(blank=True, db_constraint=False, help_text='What it was started with, if by a program', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='jobs', to='core.apitoken'),
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=200)),
                ('asked', models.CharField(help_text='A hash of the request', max_length=64)),
                ('status', models.PositiveSmallIntegerField(default=0)),
                ('answer', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['created_at'], name='core_idempotencykey_age')],
                'constraints': [models.UniqueConstraint(fields=('owner', 'key'), name='core_idempotencykey_once')],
            },
        ),
        migrations.RunSQL(POLICIES, migrations.RunSQL.noop),  # backwards the table goes, and its policies with it
    ]
