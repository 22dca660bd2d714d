"""Checks of a base's options, before anything is loaded: they may come from a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import UsageError


def share(name: str, given: Any) -> float:
    """A number from 0 to 1.

    Raises:
        UsageError: it is not.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise UsageError(f"The base's {name} is {given!r}, which is not a number from 0 to 1.")
    return float(given)


def shares(name: str, given: Any) -> dict[str, float]:
    """Prompt → a number from 0 to 1; empty for None.

    Raises:
        UsageError: it is something else.
    """
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"The base's {name} is {given!r}, not numbers by prompt.", f"Write {name}={{a dog: 0.3}}.")
    return {prompt: share(f"{name} of {prompt!r}", value) for prompt, value in (given or {}).items()}


def texts(name: str, given: Any) -> list[str]:
    """A list of prompts, from one or a sequence; empty for None.

    Raises:
        UsageError: it is something else.
    """
    listed = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        raise UsageError(f"The base's {name} is {given!r}, which is not text.", f"Write {name}=[a toy, a statue].")
    return list(listed)
