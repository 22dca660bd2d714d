"""Lets an early stage call a later one: `RFDETRSeg.evaluate`, a run's model as a base.

An import points from a later folder to an earlier one only. What an early stage offers of a later one is named here,
and the package's own `__init__`, which stands above all folders, says where it is. Nothing is imported before use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES: dict[str, str] = {}


def provide(name: str, home: str) -> None:
    """Says where `name` is: `package.module:attribute`."""
    _HOMES[name] = home


def home_of(name: str) -> str:
    """Where `name` is, as `package.module:attribute`; raises KeyError if it was never registered."""
    return _HOMES[name]


def load(name: str) -> Any:
    """The object itself; its module is imported now. Raises KeyError if it was never registered."""
    module, _, attribute = home_of(name).partition(":")
    return getattr(import_module(module), attribute)
