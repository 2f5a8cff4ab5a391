"""Lists that people bring, and their rows: seen and changed by their owner alone.

That a list is its universe's owner's, and a row its list's owner's, is held by compound foreign keys, which are checked
without policies.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


MINE = "(SELECT chronos_system()) OR owner_id = (SELECT chronos_tenant())"

POLICIES = "".join(
    f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_scope ON {table} AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY {table}_owner ON {table}
    USING ({MINE}) WITH CHECK ({MINE});
"""
    for table in ("universes_symbollist", "universes_symbollistrow")
)

PARENTS = """
ALTER TABLE universes_symbollist ADD CONSTRAINT universes_symbollist_of_the_owner
    FOREIGN KEY (universe_id, owner_id) REFERENCES universes_universe (id, owner_id) ON UPDATE CASCADE;
ALTER TABLE universes_symbollist ADD CONSTRAINT universes_symbollist_of_owner UNIQUE (id, owner_id);
ALTER TABLE universes_symbollistrow ADD CONSTRAINT universes_symbollistrow_of_the_owner
    FOREIGN KEY (symbol_list_id, owner_id) REFERENCES universes_symbollist (id, owner_id) ON UPDATE CASCADE;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('universes', '0004_sharing_policies'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SymbolList',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(help_text="The file's name, or that it was pasted", max_length=100)),
                ('state', models.CharField(choices=[('draft', 'Not added yet'), ('adding', 'Being added'), ('done', 'Added'), ('undone', 'Undone')], default='draft', max_length=6)),
                ('remarks', models.JSONField(default=list, help_text='What was remarkable about the file')),
                ('beyond', models.PositiveIntegerField(default=0, help_text='Lines that were more than a list may have')),
                ('dated', models.BooleanField(default=False, help_text='It tells when members joined or left')),
                ('base', models.PositiveIntegerField(default=0, help_text='The last place before it was added')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('added_at', models.DateTimeField(blank=True, null=True)),
                ('undone_at', models.DateTimeField(blank=True, null=True)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('universe', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='lists', to='universes.universe')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='SymbolListRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(help_text='Its place in the list, from 1')),
                ('line', models.PositiveIntegerField(help_text='The line of the file that it stands in')),
                ('written', models.CharField(blank=True, max_length=200)),
                ('symbol', models.CharField(blank=True, help_text='Canonical; empty if it is none', max_length=60)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('joined_at', models.DateTimeField(blank=True, null=True)),
                ('left_at', models.DateTimeField(blank=True, null=True)),
                ('note', models.CharField(blank=True, max_length=1000)),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), blank=True, default=list, size=None)),
                ('position', models.PositiveIntegerField(default=0)),
                ('group', models.CharField(choices=[('new', 'New'), ('unknown', 'Unknown'), ('delisted', 'Delisted'), ('malformed', 'Malformed'), ('pending', 'Being looked up'), ('unverified', 'Unverified'), ('already', 'Already in'), ('duplicate', 'Duplicates')], default='pending', max_length=10)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('suggestions', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=60), blank=True, default=list, size=None)),
                ('decision', models.CharField(blank=True, choices=[('keep', 'Kept as it is'), ('skip', 'Left out'), ('mend', 'Mended')], max_length=4)),
                ('outcome', models.CharField(blank=True, choices=[('added', 'Added'), ('extended', 'Extended'), ('already', 'Already in'), ('duplicate', 'Duplicate'), ('skipped', 'Left out'), ('unknown', 'Unknown'), ('delisted', 'Delisted'), ('malformed', 'Malformed'), ('refused', 'Refused')], max_length=9)),
                ('trace', models.JSONField(blank=True, null=True)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('symbol_list', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rows', to='universes.symbollist')),
            ],
            options={
                'ordering': ['number'],
                'indexes': [models.Index(fields=['symbol_list', 'group', 'number'], name='universes_listrow_group')],
                'constraints': [models.UniqueConstraint(fields=('symbol_list', 'number'), name='universes_listrow_number')],
            },
        ),
        migrations.RunSQL(PARENTS + POLICIES, migrations.RunSQL.noop),  # backwards the tables go, and these with them
    ]
