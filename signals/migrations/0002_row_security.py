"""Strategies, backtests, their curves and trades: seen and changed by their owner alone.

That a trade and a curve are their backtest's owner's, and a backtest its strategy's and the one's that it repeats, is
held by compound foreign keys, which are checked without policies. Trades and curves go with their backtest by these, so
that a deletion reads neither. Curves are compressed already: the database need not try.
"""

from django.db import migrations

MINE = "(SELECT chronos_system()) OR owner_id = (SELECT chronos_tenant())"
TABLES = ("signals_strategy", "signals_backtest", "signals_curve", "signals_trade")
COLUMNS = ("times", "equity", "gross", "hold", "benchmark", "optimistic")

PARENTS = """
ALTER TABLE signals_strategy ADD CONSTRAINT signals_strategy_of_owner UNIQUE (id, owner_id);
ALTER TABLE signals_backtest ADD CONSTRAINT signals_backtest_of_owner UNIQUE (id, owner_id);
ALTER TABLE signals_backtest ADD CONSTRAINT signals_backtest_of_the_owner
    FOREIGN KEY (strategy_id, owner_id) REFERENCES signals_strategy (id, owner_id);
ALTER TABLE signals_backtest ADD CONSTRAINT signals_backtest_repeats_the_owners
    FOREIGN KEY (rerun_of_id, owner_id) REFERENCES signals_backtest (id, owner_id);
ALTER TABLE signals_curve ADD CONSTRAINT signals_curve_of_the_owner
    FOREIGN KEY (backtest_id, owner_id) REFERENCES signals_backtest (id, owner_id) ON DELETE CASCADE;
ALTER TABLE signals_trade ADD CONSTRAINT signals_trade_of_the_owner
    FOREIGN KEY (backtest_id, owner_id) REFERENCES signals_backtest (id, owner_id) ON DELETE CASCADE;
"""

STORAGE = "".join(f"ALTER TABLE signals_curve ALTER COLUMN {name} SET STORAGE EXTERNAL;\n" for name in COLUMNS)

POLICIES = "".join(
    f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_scope ON {table} AS RESTRICTIVE USING ((SELECT chronos_scope()));
CREATE POLICY {table}_owner ON {table}
    USING ({MINE}) WITH CHECK ({MINE});
"""
    for table in TABLES
)

UNDO = "".join(
    f"""
DROP POLICY {table}_owner ON {table};
DROP POLICY {table}_scope ON {table};
ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
"""
    for table in TABLES
) + """
ALTER TABLE signals_trade DROP CONSTRAINT signals_trade_of_the_owner;
ALTER TABLE signals_curve DROP CONSTRAINT signals_curve_of_the_owner;
ALTER TABLE signals_backtest DROP CONSTRAINT signals_backtest_repeats_the_owners;
ALTER TABLE signals_backtest DROP CONSTRAINT signals_backtest_of_the_owner;
ALTER TABLE signals_backtest DROP CONSTRAINT signals_backtest_of_owner;
ALTER TABLE signals_strategy DROP CONSTRAINT signals_strategy_of_owner;
"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0001_initial"), ("core", "0002_row_security")]
    operations = [migrations.RunSQL(PARENTS + STORAGE + POLICIES, UNDO)]
