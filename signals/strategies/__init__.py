"""Strategies: what a kind of strategy declares, the kinds that are built in, and where others are found."""
