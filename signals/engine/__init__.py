"""The simulation: one kernel decides entries, stops, targets and exits, for backtests and whatever follows them."""
