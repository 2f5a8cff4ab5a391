import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('marketdata', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Universe',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('description', models.CharField(blank=True, max_length=500)),
                ('visibility', models.CharField(choices=[('private', 'Private'), ('public', 'Public')], default='private', max_length=7)),
                ('seed', models.SlugField(blank=True, help_text='Set on the seeded ones, so that seeding again finds them')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('owner', models.ForeignKey(blank=True, help_text="Nobody for the house's curated universes (domains), which everybody sees.", null=True, on_delete=django.db.models.deletion.CASCADE, related_name='universes', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['name', 'pk'],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('joined_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('left_at', models.DateTimeField(blank=True, null=True)),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='memberships', to='marketdata.asset')),
                ('owner', models.ForeignKey(blank=True, help_text="The universe's owner, for the row's policy", null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('universe', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='universes.universe')),
            ],
            options={
                'ordering': ['joined_at', 'pk'],
            },
        ),
        migrations.AddConstraint(
            model_name='universe',
            constraint=models.CheckConstraint(condition=models.Q(('owner__isnull', False), ('visibility', 'public'), _connector='OR'), name='universes_universe_owned_or_public'),
        ),
        migrations.AddConstraint(
            model_name='universe',
            constraint=models.UniqueConstraint(condition=models.Q(('seed', ''), _negated=True), fields=('seed',), name='universes_universe_seed'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.UniqueConstraint(condition=models.Q(('left_at', None)), fields=('universe', 'asset'), name='universes_membership_one_open_stay'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.CheckConstraint(condition=models.Q(('left_at', None), ('left_at__gte', models.F('joined_at')), _connector='OR'), name='universes_membership_leaves_after_joining'),
        ),
    ]
