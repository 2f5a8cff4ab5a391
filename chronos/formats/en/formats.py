"""How the admin writes times; pages format in Python (chronos.core.figures)."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y H:i"
TIME_FORMAT = "H:i"
