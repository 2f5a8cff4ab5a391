"""Indicators: arrays in, arrays of the same length out, NaN until there is a value. TA-Lib computes them."""
