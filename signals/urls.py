from django.urls import path

from signals.views import backtests, changes, comparison, exports, guard, results, starting, strategies, trades

app_name = "signals"
urlpatterns = [
    path("strategies/", strategies.strategies, name="strategies"),
    path("strategies/new/", changes.new_strategy, name="new-strategy"),
    path("strategies/check/", changes.check_strategy, name="check-strategy"),
    path("strategies/<int:pk>/", strategies.strategy, name="strategy"),
    path("strategies/<int:pk>/edit/", changes.edit_strategy, name="edit-strategy"),
    path("strategies/<int:pk>/duplicate/", changes.duplicate_strategy, name="duplicate-strategy"),
    path("strategies/<int:pk>/archive/", changes.archive_strategy, name="archive-strategy"),
    path("strategies/<int:pk>/delete/", changes.delete_strategy, name="delete-strategy"),
    path("strategies/<int:pk>/undelete/", changes.undelete_strategy, name="undelete-strategy"),
    path("strategies/<int:pk>/look-ahead/", guard.look_ahead, name="look-ahead"),
    path("backtests/", backtests.backtests, name="backtests"),
    path("backtests/list.csv", backtests.backtests_csv, name="backtests-csv"),
    path("backtests/new/", starting.new_backtest, name="new-backtest"),
    path("backtests/new/check/", starting.check_backtest, name="check-backtest"),
    path("backtests/new/assets/", starting.backtest_assets, name="backtest-assets"),
    path("backtests/compare/", comparison.compare, name="compare-backtests"),
    path("backtests/compare/chart/", comparison.compare_chart, name="compare-chart"),
    path("backtests/delete/", backtests.delete_backtests, name="delete-backtests"),
    path("backtests/undelete/", backtests.undelete_backtests, name="undelete-backtests"),
    path("backtests/rerun/", backtests.rerun_backtests, name="rerun-backtests"),
    path("backtests/<int:pk>/", results.backtest, name="backtest"),
    path("backtests/<int:pk>/charts/<slug:name>/", results.chart, name="backtest-chart"),
    path("backtests/<int:pk>/trades/", results.backtest_trades, name="backtest-trades"),
    path("backtests/<int:pk>/trades.csv", trades.trades_csv, name="backtest-trades-csv"),
    path("backtests/<int:pk>/rerun/", backtests.rerun_backtest, name="rerun-backtest"),
    path("backtests/<int:pk>/cancel/", backtests.cancel_backtest, name="cancel-backtest"),
    path("backtests/<int:pk>/delete/", backtests.delete_backtest, name="delete-backtest"),
    path("backtests/<int:pk>/note/", backtests.note_backtest, name="note-backtest"),
    path("backtests/<int:pk>/result.json", exports.result_json, name="backtest-json"),
    path("backtests/<int:pk>/equity.csv", exports.equity_csv, name="backtest-equity-csv"),
    path("backtests/<int:pk>/chart.png", exports.chart_png, name="backtest-png"),
    path("backtests/<int:pk>/report.html", exports.report, name="backtest-report"),
]
