"""The sources of candles. A new one is one file here and one line below."""
