import django.contrib.postgres.constraints
import django.contrib.postgres.fields
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import BtreeGistExtension
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0003_symbol_master'),
        ('universes', '0002_row_security'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        BtreeGistExtension(),
        migrations.CreateModel(
            name='Share',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['reader__username'],
            },
        ),
        migrations.AddField(
            model_name='membership',
            name='note',
            field=models.CharField(blank=True, max_length=1000),
        ),
        migrations.AddField(
            model_name='membership',
            name='position',
            field=models.PositiveIntegerField(default=0, help_text="Its place in the owner's own order, from 1"),
        ),
        migrations.AddField(
            model_name='membership',
            name='tags',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='membership',
            name='version',
            field=models.PositiveIntegerField(default=1, help_text='Raised by each edit of note or tags'),
        ),
        migrations.AddField(
            model_name='universe',
            name='archived_at',
            field=models.DateTimeField(blank=True, help_text='Kept, but out of the way: neither listed nor refreshed', null=True),
        ),
        migrations.AddField(
            model_name='universe',
            name='deleted_at',
            field=models.DateTimeField(blank=True, help_text='Gone for everybody; its owner can take that back until it is purged', null=True),
        ),
        migrations.AddField(
            model_name='universe',
            name='version',
            field=models.PositiveIntegerField(default=1, help_text='Raised by each edit of name, description or visibility, so that a lost update is noticed'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(expressions=[('universe', '='), ('asset', '='), (models.Func('joined_at', 'left_at', function='TSTZRANGE', output_field=django.contrib.postgres.fields.ranges.DateTimeRangeField()), '&&')], name='universes_membership_no_overlapping_stays'),
        ),
        migrations.AddField(
            model_name='share',
            name='owner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='share',
            name='reader',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='shares', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='share',
            name='universe',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='shares', to='universes.universe'),
        ),
        migrations.AddConstraint(
            model_name='share',
            constraint=models.UniqueConstraint(fields=('reader', 'universe'), name='universes_share_once'),
        ),
        migrations.AddConstraint(
            model_name='share',
            constraint=models.CheckConstraint(condition=models.Q(('reader', models.F('owner')), _negated=True), name='universes_share_with_somebody_else'),
        ),
    ]
