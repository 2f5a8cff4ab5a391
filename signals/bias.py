"""Holds a strategy to looking back only: appending candles must not change what it decided before."""
