"""The export formats that are there: those of the folder `formats`."""

from __future__ import annotations

from ...core.discovery import discovered
from ...core.errors import DependencyError, UnknownNameError, UsageError
from . import formats
from .export_format import ExportFormat


def known_formats() -> dict[str, ExportFormat]:
    """Every format of the folder `formats` by its name, those that can be run here first."""
    found: tuple[ExportFormat, ...] = discovered(formats, "FORMATS")
    return {one.name: one for one in sorted(found, key=lambda one: (one.open_session is None, one.name))}


def find_format(name: str) -> ExportFormat:
    """The format of that name or alias.

    Raises:
        UnknownNameError: there is no such format; the nearest is suggested.
    """
    known = known_formats()
    for one in known.values():
        if name == one.name or name in one.aliases:
            return one
    raise UnknownNameError("export format", name, known)


def check_format(name: str, precision: str) -> ExportFormat:
    """The format of that name or alias, which can be written here in that precision.

    Raises:
        UnknownNameError: there is no such format; the nearest is suggested.
        UsageError: it has no such precision.
        DependencyError: what it needs is not installed.
    """
    found = find_format(name)
    if precision not in found.precisions:
        raise UsageError(f"{found.name} has no precision {precision!r}.", f"It has {', '.join(found.precisions)}.")
    if (module := found.missing_module(precision)) is not None:
        raise DependencyError(
            f"Exporting to {found.name} in {precision} needs {module}, which is not installed.",
            f"Install it with: {found.install}",
        )
    return found
