"""The secrets an installation makes for itself, in one file that only its user can read."""

import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Keys:
    """Generated passwords; `secret_key` is Django's and the root of the app role's password."""

    secret_key: str
    postgres_password: str
    owner_password: str
    valkey_password: str


def load_or_create(path: Path) -> Keys:
    """The keys stored at `path`, made on the first call. Safe when two processes arrive at once: one file wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Keys(*(secrets.token_urlsafe(48) for _ in range(4)))
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(made), file)
        try:
            os.link(temporary, path)  # fails if another process was first, and never shows half a file
        except FileExistsError:
            pass
        finally:
            Path(temporary).unlink()
    return Keys(**json.loads(path.read_text()))
