"""How the symbol master is searched: folded texts, words, and indexes by which a search reads little of the table."""

import django.core.validators
from django.db import migrations, models

# Without accents and case, and as people type it: S&P, AT&T and McDonald's are one word each.
# `marketdata.directory.folding` says the same in Python.
FUNCTIONS = r"""
CREATE FUNCTION marketdata_folded(said text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(replace(replace(
    translate(
        lower(regexp_replace(normalize(said, NFKD), U&'[\0300-\036F]', '', 'g')),
        U&'\00F8\0142\0111\0131&.\0027\2019`', 'oldi'
    ),
    U&'\00DF', 'ss'), U&'\00E6', 'ae'), U&'\0153', 'oe');

CREATE FUNCTION marketdata_words(said text) RETURNS tsvector LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN array_to_tsvector(array_remove(string_to_array(
    regexp_replace(marketdata_folded(said), U&'[\0001-\002F\003A-\0060\007B-\007F]+', ' ', 'g'), ' '), ''));
"""
# After a load, what GIN indexes have put off is done and the planner learns what there is: both are the owner's to do.
SETTLING = """
CREATE FUNCTION marketdata_listing_settle() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM gin_clean_pending_list(indexrelid) FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
        WHERE indrelid = 'public.marketdata_listing'::regclass AND amname = 'gin';
    ANALYZE public.marketdata_listing;
END $$;
"""
# The well-known lines, `marketdata.directory.importance.WELL_KNOWN` and more, have indexes of their own: nearly every
# search ends there.
INDEXES = """
CREATE INDEX marketdata_listing_words ON marketdata_listing USING gin (marketdata_words(name));
CREATE INDEX marketdata_listing_known_words ON marketdata_listing USING gin (marketdata_words(name))
    WHERE importance >= 6000;
CREATE INDEX marketdata_listing_letters ON marketdata_listing USING gin (marketdata_folded(name) gin_trgm_ops);
CREATE INDEX marketdata_listing_known_letters ON marketdata_listing USING gin (marketdata_folded(name) gin_trgm_ops)
    WHERE importance >= 6000;
CREATE INDEX marketdata_listing_known ON marketdata_listing (symbol) WHERE importance >= 6000;
CREATE INDEX marketdata_listing_isin ON marketdata_listing (isin) WHERE isin <> '';
"""
NO_INDEXES = "".join(f"DROP INDEX marketdata_listing_{name};" for name in (
    "words", "known_words", "letters", "known_letters", "known", "isin"))
NO_FUNCTIONS = "DROP FUNCTION marketdata_words(text); DROP FUNCTION marketdata_folded(text);"


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0003_symbol_master'),
    ]

    operations = [
        migrations.AlterField(
            model_name='asset',
            name='symbol',
            field=models.CharField(db_collation='C', max_length=40, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Z0-9^][A-Z0-9.^=_&-]{0,39}\\Z', 'A symbol has 1 to 40 of the characters A–Z 0–9 . ^ = _ & - and starts with a letter, digit or ^.')]),
        ),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        migrations.RunSQL(INDEXES, NO_INDEXES),
        migrations.RunSQL(SETTLING, "DROP FUNCTION marketdata_listing_settle();"),
    ]
