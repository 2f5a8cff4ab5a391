"""Servers on this machine that speak a provider's protocol, faults included."""
