"""What the places that candles come from are called on pages."""

from marketdata import providers

_OURS = {"sample": "Bundled sample", "file": "File", "": ""}


def label(name: str) -> str:
    """A source's name as people know it; a source that there is no more keeps its own name."""
    if name in _OURS:
        return _OURS[name]
    return providers.named(name).label if providers.known(name) else name
