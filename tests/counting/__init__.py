"""A Django app for tests: a kind of job that real workers run, and whose every step can be counted afterwards."""
