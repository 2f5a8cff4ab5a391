"""Lists of symbols that people bring: read, kept as rows, checked, confirmed, added and undone."""
