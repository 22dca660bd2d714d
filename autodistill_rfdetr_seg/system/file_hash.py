"""The SHA-256 of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..core.errors import DataError


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, hex; raises DataError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()
