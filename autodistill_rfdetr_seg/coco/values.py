"""Reads values of a user's JSON file as they are obviously meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..core.types import FileId
from .problems import as_number

_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
_EXACT = 2**53  # from here on a float cannot represent every whole number


class Id(NamedTuple):
    """An id of a file: `key` is equal for ids that mean the same, `stated` is the id as in the file, without a
    decimal point.

    `form` is "plain" for an integer, "number" for text or a float that is a whole number, "text" for other text.
    """

    key: FileId
    stated: FileId
    form: str


def as_id(value: object) -> Id | None:
    """The id that a JSON value is, or None if it is not an id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Id(value, value, "plain")
    if isinstance(value, float):
        return Id(int(value), int(value), "number") if value.is_integer() and abs(value) <= _EXACT else None
    if isinstance(value, str) and (text := value.strip()):
        whole = whole_number(text)
        return Id(text, value, "text") if whole is None else Id(whole, value, "number")
    return None


def in_order(keys: Iterable[FileId]) -> list[FileId]:
    """Keys of ids ascending, numbers before text."""
    return sorted(keys, key=lambda key: (isinstance(key, str), key))


def is_text(text: str) -> bool:
    """Whether a text has no half of a character (a lone surrogate), which cannot be written to a file."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def whole_number(text: str) -> int | None:
    """The whole number that the text is, decimals of zeros allowed, or None."""
    text = re.sub(r"\.0*\Z", "", text.strip())
    return int(text) if _WHOLE.fullmatch(text) else None


def number_of(value: object) -> float | None:
    """As `as_number`, but text that is a number is one too."""
    if not isinstance(value, str):
        return as_number(value)
    try:
        return as_number(float(value))
    except ValueError:
        return None
