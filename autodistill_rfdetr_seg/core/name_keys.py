"""Names that count as the same: keys by which file names and class names are compared."""

from __future__ import annotations

import unicodedata


def name_key(name: str) -> str:
    """The same for names that people, and some file systems, read as one: letter case and the encoding of accents make
    no difference."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def class_key(name: str) -> str:
    """As `name_key`, for the name of a class: the kind and number of spaces make no difference either."""
    return " ".join(name_key(name).split())
