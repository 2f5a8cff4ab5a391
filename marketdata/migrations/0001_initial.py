import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models


# Django has no words for partitions. By timeframe, because every reader and writer names one: a scan, a vacuum or a
# drop of the minutes leaves the days alone, and the largest can be partitioned again by time when they have grown.
TIMEFRAMES = ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1mo")
CANDLE = """
CREATE TABLE marketdata_candle (
    asset_id bigint NOT NULL,
    timeframe varchar(4) COLLATE "C" NOT NULL,
    open_time timestamptz NOT NULL,
    open numeric(20, 10) NOT NULL,
    high numeric(20, 10) NOT NULL,
    low numeric(20, 10) NOT NULL,
    close numeric(20, 10) NOT NULL,
    adj_close numeric(20, 10),
    volume numeric(28, 8) NOT NULL,
    quote_volume numeric(28, 8),
    source varchar(40) COLLATE "C" NOT NULL,
    known_at timestamptz NOT NULL,
    PRIMARY KEY (asset_id, timeframe, open_time),
    CONSTRAINT marketdata_candle_is_possible CHECK (
        low >= 0 AND low <= open AND low <= close AND high >= open AND high >= close AND volume >= 0
        AND (quote_volume IS NULL OR quote_volume >= 0) AND (adj_close IS NULL OR adj_close >= 0)
    )
) PARTITION BY LIST (timeframe);
""" + "".join(
    f"CREATE TABLE marketdata_candle_{name} PARTITION OF marketdata_candle FOR VALUES IN ('{name}');\n" for name in TIMEFRAMES
)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='ProviderState',
            fields=[
                ('provider', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('answered_at', models.DateTimeField(blank=True, null=True)),
                ('failing_since', models.DateTimeField(blank=True, null=True)),
                ('failure', models.CharField(blank=True, max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name='Asset',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('symbol', models.CharField(db_collation='C', max_length=40, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Z0-9^][A-Z0-9.^=_-]{0,39}\\Z', 'A symbol has 1 to 40 of the characters A–Z 0–9 . ^ = _ - and starts with a letter, digit or ^.')])),
                ('name', models.CharField(blank=True, max_length=200)),
                ('asset_class', models.CharField(choices=[('stock', 'Stock'), ('etf', 'ETF'), ('index', 'Index'), ('fx', 'Currency pair'), ('crypto', 'Crypto'), ('commodity', 'Commodity'), ('fund', 'Fund')], default='stock', max_length=10)),
                ('exchange', models.CharField(blank=True, max_length=40)),
                ('currency', models.CharField(blank=True, max_length=10)),
                ('calendar', models.CharField(blank=True, help_text="exchange_calendars' name, e.g. XNYS; 24/7 for crypto", max_length=20)),
                ('sector', models.CharField(blank=True, max_length=100)),
                ('industry', models.CharField(blank=True, max_length=150)),
                ('market_cap', models.DecimalField(blank=True, decimal_places=2, max_digits=24, null=True)),
                ('price_earnings', models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True, verbose_name='P/E')),
                ('dividend_yield', models.DecimalField(blank=True, decimal_places=6, help_text='0.0125 is 1.25 %', max_digits=10, null=True)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('is_sample', models.BooleanField(default=False, help_text='Bundled history that never moves; not for decisions')),
                ('validated_at', models.DateTimeField(blank=True, help_text='When a provider last confirmed that it exists', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['symbol'],
                'constraints': [models.CheckConstraint(condition=models.Q(('symbol', django.db.models.functions.text.Upper('symbol'))), name='marketdata_asset_symbol_is_upper')],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(CANDLE, 'DROP TABLE marketdata_candle')],
            state_operations=[
                migrations.CreateModel(
                    name='Candle',
                    fields=[
                        ('pk', models.CompositePrimaryKey('asset_id', 'timeframe', 'open_time', blank=True, editable=False, primary_key=True, serialize=False)),
                        ('timeframe', models.CharField(choices=[('1m', '1 minute'), ('5m', '5 minutes'), ('15m', '15 minutes'), ('30m', '30 minutes'), ('1h', '1 hour'), ('4h', '4 hours'), ('1d', '1 day'), ('1w', '1 week'), ('1mo', '1 month')], db_collation='C', max_length=4)),
                        ('open_time', models.DateTimeField()),
                        ('open', models.DecimalField(decimal_places=10, max_digits=20)),
                        ('high', models.DecimalField(decimal_places=10, max_digits=20)),
                        ('low', models.DecimalField(decimal_places=10, max_digits=20)),
                        ('close', models.DecimalField(decimal_places=10, max_digits=20)),
                        ('adj_close', models.DecimalField(decimal_places=10, max_digits=20, null=True)),
                        ('volume', models.DecimalField(decimal_places=8, max_digits=28)),
                        ('quote_volume', models.DecimalField(decimal_places=8, max_digits=28, null=True)),
                        ('source', models.CharField(db_collation='C', max_length=40)),
                        ('known_at', models.DateTimeField()),
                        ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='marketdata.asset')),
                    ],
                    options={
                        'constraints': [models.CheckConstraint(condition=models.Q(('high__gte', models.F('open')), ('low__gte', 0), ('low__lte', models.F('open')), ('high__gte', models.F('close')), ('low__lte', models.F('close')), ('volume__gte', 0), models.Q(('quote_volume', None), ('quote_volume__gte', 0), _connector='OR'), models.Q(('adj_close', None), ('adj_close__gte', 0), _connector='OR')), name='marketdata_candle_is_possible')],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name='CandleRevision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('timeframe', models.CharField(choices=[('1m', '1 minute'), ('5m', '5 minutes'), ('15m', '15 minutes'), ('30m', '30 minutes'), ('1h', '1 hour'), ('4h', '4 hours'), ('1d', '1 day'), ('1w', '1 week'), ('1mo', '1 month')], db_collation='C', max_length=4)),
                ('open_time', models.DateTimeField()),
                ('open', models.DecimalField(decimal_places=10, max_digits=20)),
                ('high', models.DecimalField(decimal_places=10, max_digits=20)),
                ('low', models.DecimalField(decimal_places=10, max_digits=20)),
                ('close', models.DecimalField(decimal_places=10, max_digits=20)),
                ('adj_close', models.DecimalField(decimal_places=10, max_digits=20, null=True)),
                ('volume', models.DecimalField(decimal_places=8, max_digits=28)),
                ('quote_volume', models.DecimalField(decimal_places=8, max_digits=28, null=True)),
                ('source', models.CharField(db_collation='C', max_length=40)),
                ('known_at', models.DateTimeField()),
                ('superseded_at', models.DateTimeField()),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='marketdata.asset')),
            ],
            options={
                'indexes': [models.Index(fields=['asset', 'timeframe', 'open_time'], name='marketdata_revision_candle')],
            },
        ),
        migrations.CreateModel(
            name='QuarantinedCandle',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('timeframe', models.CharField(choices=[('1m', '1 minute'), ('5m', '5 minutes'), ('15m', '15 minutes'), ('30m', '30 minutes'), ('1h', '1 hour'), ('4h', '4 hours'), ('1d', '1 day'), ('1w', '1 week'), ('1mo', '1 month')], max_length=4)),
                ('open_time', models.DateTimeField(blank=True, help_text='Empty if the time itself could not be read', null=True)),
                ('raw', models.JSONField(help_text='The row as it came, by column')),
                ('reason', models.CharField(max_length=300)),
                ('source', models.CharField(max_length=40)),
                ('origin', models.CharField(blank=True, help_text="File and row, or the provider's spelling", max_length=300)),
                ('state', models.CharField(choices=[('held', 'Held'), ('released', 'Released'), ('rejected', 'Rejected')], default='held', max_length=8)),
                ('received_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by', models.CharField(blank=True, max_length=150)),
                ('fingerprint', models.CharField(help_text='The same row met again is not kept twice', max_length=64)),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='quarantined', to='marketdata.asset')),
            ],
            options={
                'ordering': ['-received_at', 'pk'],
                'constraints': [models.UniqueConstraint(fields=('asset', 'timeframe', 'fingerprint'), name='marketdata_quarantine_once')],
            },
        ),
        migrations.CreateModel(
            name='Series',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('timeframe', models.CharField(choices=[('1m', '1 minute'), ('5m', '5 minutes'), ('15m', '15 minutes'), ('30m', '30 minutes'), ('1h', '1 hour'), ('4h', '4 hours'), ('1d', '1 day'), ('1w', '1 week'), ('1mo', '1 month')], max_length=4)),
                ('source', models.CharField(blank=True, help_text='Provider of the newest candle', max_length=40)),
                ('revision', models.PositiveIntegerField(default=0, help_text='Raised when a stored candle changes or one is added in the past')),
                ('candle_count', models.PositiveBigIntegerField(default=0)),
                ('first_open', models.DateTimeField(blank=True, null=True)),
                ('last_open', models.DateTimeField(blank=True, null=True)),
                ('changed_at', models.DateTimeField(blank=True, help_text='When candles were last added or revised', null=True)),
                ('checked_at', models.DateTimeField(blank=True, help_text='When a provider last answered for it', null=True)),
                ('failed_at', models.DateTimeField(blank=True, help_text='Since when providers have not answered; empty while they do', null=True)),
                ('failure', models.CharField(blank=True, max_length=300)),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='series', to='marketdata.asset')),
            ],
            options={
                'verbose_name_plural': 'series',
                'ordering': ['asset__symbol', 'timeframe'],
                'constraints': [models.UniqueConstraint(fields=('asset', 'timeframe'), name='marketdata_series_one_per_timeframe')],
            },
        ),
        migrations.CreateModel(
            name='Spelling',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('provider', models.CharField(max_length=40)),
                ('spelling', models.CharField(max_length=60)),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='spellings', to='marketdata.asset')),
            ],
            options={
                'indexes': [models.Index(django.db.models.functions.text.Upper('spelling'), name='marketdata_spelling_upper')],
                'constraints': [models.UniqueConstraint(fields=('asset', 'provider'), name='marketdata_spelling_one_per_provider')],
            },
        ),
    ]
