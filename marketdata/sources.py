"""What the places that candles come from are called on pages."""

from marketdata import providers

_OURS = {"sample": "Bundled sample", "file": "File", "": ""}


def label(name: str) -> str:
    """A source's name as people know it; a source that is not registered any more keeps its own name."""
    if name in _OURS:
        return _OURS[name]
    registered = providers.REGISTRY.get(name)
    return registered.label if registered else name
