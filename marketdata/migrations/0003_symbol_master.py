from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0002_trust'),
    ]

    operations = [
        TrigramExtension(),
        migrations.CreateModel(
            name='Listing',
            fields=[
                ('symbol', models.CharField(db_collation='C', help_text="Canonical, as an asset's", max_length=40, primary_key=True, serialize=False)),
                ('spelling', models.CharField(help_text='As the directory writes it', max_length=60)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('asset_class', models.CharField(choices=[('stock', 'Stock'), ('etf', 'ETF'), ('index', 'Index'), ('fx', 'Currency pair'), ('crypto', 'Crypto'), ('commodity', 'Commodity'), ('fund', 'Fund')], max_length=10)),
                ('exchange', models.CharField(blank=True, max_length=40)),
                ('mic', models.CharField(blank=True, help_text='ISO 10383 code of the exchange', max_length=4, verbose_name='MIC')),
                ('currency', models.CharField(blank=True, max_length=10)),
                ('country', models.CharField(blank=True, max_length=60)),
                ('sector', models.CharField(blank=True, max_length=100)),
                ('industry', models.CharField(blank=True, max_length=150)),
                ('cap_class', models.CharField(blank=True, choices=[('mega', 'Mega cap'), ('large', 'Large cap'), ('mid', 'Mid cap'), ('small', 'Small cap'), ('micro', 'Micro cap'), ('nano', 'Nano cap')], max_length=5, verbose_name='market-cap class')),
                ('isin', models.CharField(blank=True, max_length=12, verbose_name='ISIN')),
                ('importance', models.PositiveSmallIntegerField(default=0, help_text='Larger is sought more often: what a search shows first')),
                ('source', models.CharField(help_text='The directory', max_length=60)),
            ],
            options={
                'ordering': ['symbol'],
            },
        ),
        migrations.AddField(
            model_name='asset',
            name='cap_class',
            field=models.CharField(blank=True, choices=[('mega', 'Mega cap'), ('large', 'Large cap'), ('mid', 'Mid cap'), ('small', 'Small cap'), ('micro', 'Micro cap'), ('nano', 'Nano cap')], max_length=5, verbose_name='market-cap class'),
        ),
        migrations.AddField(
            model_name='asset',
            name='country',
            field=models.CharField(blank=True, max_length=60),
        ),
        migrations.AddField(
            model_name='asset',
            name='refuted_at',
            field=models.DateTimeField(blank=True, help_text='When a provider last said that it does not know it; empty once one does again', null=True),
        ),
    ]
