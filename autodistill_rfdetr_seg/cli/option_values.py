"""The text of an option as its value."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..core.bucket_urls import is_bucket_url
from ..core.errors import UsageError


def yaml_value(text: str) -> Any:
    """A value as YAML reads it: 3, 0.5, true, [1, 2], text; `none`, as defaults are shown, is none."""
    try:
        return None if text == "none" else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a value") from error


def integer_or_auto(text: str) -> int | str:
    """A number, or the word auto."""
    return text if text == "auto" else int(text)


def split_fractions(text: str) -> dict[str, float]:
    """`0.8,0.1,0.1` as the fractions of train, valid and test."""
    parts = text.replace("/", ",").split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not three fractions such as 0.8,0.1,0.1")
    return dict(zip(("train", "valid", "test"), map(float, parts), strict=True))


def positive_integer(text: str) -> int:
    """A number of at least 1."""
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def slice_of_images(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8)."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a slice such as 1/4")
    return int(index), int(count)


def absolute_path(text: str) -> str:
    """A path made absolute: the configuration in the run folder must not depend on the current folder."""
    # That of a bucket is refused by the option, under its own name.
    return text if is_bucket_url(text) else str(Path(text).expanduser().resolve())


def name_values(texts: Sequence[str], flag: str, *, last: bool = False) -> dict[str, Any]:
    """`NAME=VALUE` texts as a mapping, values read as YAML.

    The first `=` of a text ends the name, as a value, such as a path, may contain more of them. With `last` it is the
    last one: the name, such as a class, may contain some, and the value is a number.

    Raises:
        UsageError: a text has no name or no `=`, or its value is not YAML.
    """
    found = {}
    for text in texts:
        name, equals, value = text.rpartition("=") if last else text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag} {text!r} is not of the form NAME=VALUE.")
        try:
            found[name.strip()] = yaml_value(value)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{flag} {text!r} has no value: {error}.") from error
    return found


def number_or_per_class(texts: Sequence[str], flag: str) -> float | dict[str, Any]:
    """One number for all classes, or `CLASS=NUMBER` texts as a mapping.

    Raises:
        UsageError: a text is neither.
    """
    if len(texts) == 1 and "=" not in texts[0]:
        try:
            return float(texts[0])
        except ValueError as error:
            raise UsageError(f"{flag} {texts[0]!r} is neither a number nor CLASS=NUMBER.") from error
    return name_values(texts, flag, last=True)
