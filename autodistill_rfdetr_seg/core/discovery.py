"""What the files of a folder add to the package: a new file there is enough, no list names it."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any


def discovered(folder: ModuleType, attribute: str) -> tuple[Any, ...]:
    """The items of the sequence `attribute` of every module in the package `folder`, by module name, then as listed.

    Cached by the folder's `__path__`: a folder that is added to it is looked into at the next call.

    Raises:
        AttributeError: a module lacks the attribute.
    """
    return _in_folders(folder.__name__, tuple(folder.__path__), attribute)


@cache
def _in_folders(package: str, path: tuple[str, ...], attribute: str) -> tuple[Any, ...]:
    names = sorted(name for _, name, _ in pkgutil.iter_modules(path))
    return tuple(item for name in names for item in getattr(import_module(f"{package}.{name}"), attribute))
