from django.urls import path

from signals.views import changes, exports, guard, results, strategies, trades

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
    path("backtests/<int:pk>/", results.backtest, name="backtest"),
    path("backtests/<int:pk>/charts/<slug:name>/", results.chart, name="backtest-chart"),
    path("backtests/<int:pk>/trades/", results.backtest_trades, name="backtest-trades"),
    path("backtests/<int:pk>/trades.csv", trades.trades_csv, name="backtest-trades-csv"),
    path("backtests/<int:pk>/result.json", exports.result_json, name="backtest-json"),
    path("backtests/<int:pk>/equity.csv", exports.equity_csv, name="backtest-equity-csv"),
    path("backtests/<int:pk>/chart.png", exports.chart_png, name="backtest-png"),
    path("backtests/<int:pk>/report.html", exports.report, name="backtest-report"),
]
