"""Chronos: a self-hosted workbench for market research."""
