"""Opens exported models in the runtime of their format."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import AutodistillSegError, DataError, DependencyError, MissingInputError, UsageError
from ..export.export_format import Session
from ..export.known_formats import find_format, known_formats
from ..rfdetr_import import first_line


def open_session(kind: str, path: Path, precision: str, device: str) -> Session:
    """An exported model, loaded on a device (`auto`, `cpu`, `cuda`, `cuda:N`; for OpenVINO also its own names).

    Raises:
        UnknownNameError: there is no such format.
        UsageError: there is no runner for the format, or no such device.
        MissingInputError: the file is not there.
        DependencyError: the runtime is not installed.
        DataError: the file is damaged.
    """
    format = find_format(kind)
    if format.open_session is None:
        runnable = [name for name, one in known_formats().items() if one.open_session is not None]
        raise UsageError(f"Models in the format {kind} cannot be run here.", f"These can: {', '.join(runnable)}.")
    if not path.exists():
        raise MissingInputError(f"There is no {path}, which the export's record names.")
    try:
        return format.open_session(path, precision, device)
    except ImportError as error:
        raise DependencyError(
            f"{kind} models need a package that is not installed ({first_line(error)})",
            f"Install it with: {format.install}",
        ) from error
    except AutodistillSegError:
        raise
    except Exception as error:  # each runtime has its own, without a common root
        raise DataError(f"{path} cannot be loaded as {kind}: {first_line(error)}") from error
