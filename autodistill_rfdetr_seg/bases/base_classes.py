"""From a registered name to an object: importing the class of an entry, checking its arguments, building it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ..core.errors import AutodistillSegError, BaseModelError, DependencyError, UnknownNameError, UsageError
from ..core.moved_modules import current_module
from .base_entries import BaseEntry, Registry
from .weight_hashes import with_hashes


def code_of(entry: BaseEntry) -> dict[str, bytes]:
    """The content of the user's Python file that an entry is in, by its path; empty for a module.

    Raises:
        UsageError: there is no such file.
    """
    name = entry.target.rpartition(":")[0]
    return {name: _existing_file(Path(name)).read_bytes()} if name.endswith(".py") else {}


def class_of(registry: Registry, name: str, entry: BaseEntry, code: Mapping[str, bytes] = MappingProxyType({})) -> Any:
    """The class of an entry of `registry`, imported now; `name` is what the user wrote. `code` is the content of
    Python files by their path (`code_of`), on a machine that does not have them.

    Raises:
        DependencyError: a package that it needs is not installed.
        UsageError: there is no such class, or it lacks the method of a base or segmenter.
    """
    module_name, _, attribute = entry.target.rpartition(":")
    found: Any = _module(module_name, entry, code)
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise UsageError(
            f"There is no {attribute!r} in {module_name!r}.", "Write it as package.module:Class."
        ) from error
    if not inspect.isclass(found) or not callable(getattr(found, registry.method, None)):
        raise UsageError(f"The {registry.kind} {name!r} is not a class with a `{registry.method}` method.")
    return found


def build(cls: Any, what: str, args: Mapping[str, Any], **fixed: Any) -> Any:
    """An object of a class; `args` are the user's, `fixed` are ours, and `what` names it in messages.

    Raises:
        UnknownNameError: the constructor has no such argument; the nearest is suggested.
        BaseModelError: the constructor failed.
    """
    parameters = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        known = [p for p in parameters if p not in fixed]
        for argument in args:
            if argument not in known:
                raise UnknownNameError(f"argument of {what}:", argument, known)
    try:
        return cls(**fixed, **args)
    except AutodistillSegError:
        raise
    except Exception as error:
        raise BaseModelError(f"The {what} could not be built: {type(error).__name__}: {error}.") from error


def identity_of(entry: BaseEntry, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """What decides the answers of a base or segmenter built with `args` (see `contract`). Loads no model.

    For a class that is not imported early the arguments count, and the content of files that they name.

    Raises:
        UsageError: an argument has a type that it cannot have.
    """
    identity = class_attribute(entry, "identity")
    try:
        return with_hashes(args) if identity is None else identity({**args, **entry.args})
    except (TypeError, AttributeError) as error:
        # Options are checked where they are used; this is for what was not foreseen.
        written = ", ".join(f"{name}={value!r}" for name, value in args.items())
        raise UsageError(f"The arguments of the base cannot be used ({written}): {error}.") from error


def class_attribute(entry: BaseEntry, name: str) -> Any:
    """That attribute of the entry's class; None if there is none or the class is not imported early."""
    if not entry.is_imported_early:
        return None
    module, _, attribute = entry.target.rpartition(":")
    return getattr(getattr(importlib.import_module(current_module(module)), attribute), name, None)


def _module(name: str, entry: BaseEntry, code: Mapping[str, bytes]) -> Any:
    try:
        if entry.package and importlib.util.find_spec(entry.package) is None:
            raise ModuleNotFoundError(name=entry.package)
        if name in code:
            return _module_of_code(Path(name), code[name])
        return _module_of_file(Path(name)) if name.endswith(".py") else importlib.import_module(current_module(name))
    except ModuleNotFoundError as error:
        missing = error.name or name
        hint = f"pip install 'autodistill-rfdetr-seg[{entry.extra}]'" if entry.extra else f"Install {missing!r} first."
        raise DependencyError(f"The base needs the package {missing!r}, which is not installed.", hint) from error
    except ImportError as error:
        raise DependencyError(f"The module {name!r} cannot be imported: {error}.") from error


def _module_of_file(path: Path) -> Any:
    """The module of a Python file, without a change to `sys.path`."""
    spec = importlib.util.spec_from_file_location(path.stem, _existing_file(path))
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python module.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _module_of_code(path: Path, code: bytes) -> Any:
    """The module of a Python file by its content; it knows the path that the file has elsewhere."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(code, str(path), "exec"), module.__dict__)
    return module


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"There is no Python file {path}.", "Write a base as path/to/file.py:Class.")
    return path
