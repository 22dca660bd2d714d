"""Imports rfdetr: which releases are accepted, and how its errors are recognized. Only this module imports it."""

from __future__ import annotations

import functools
import importlib
import logging
import pickle
from importlib import metadata
from typing import Any

from ..core.errors import DependencyError
from ..system.versions import ReleaseRange
from .vendor_output import quiet

_log = logging.getLogger(__name__)

# Of what later releases are to remove, none is used here up to 2.0 (1.12: `datasets.aug_config`, 1.13: `eval_ema_only`,
# 1.14: `ModelConfig.amp`, `fp16_eval`); 2.0 is to remove `RFDETRSegPreview`.
TESTED = ReleaseRange("rfdetr", "1.11.2", "1.12")
_PIP = f"pip install 'rfdetr[train]{TESTED.requirement}'"
INSTALL_HINT = f"Install it with: {_PIP}"
# What rfdetr, Lightning and torch raise.
VENDOR_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OSError,
    EOFError,
    AssertionError,
    pickle.UnpicklingError,
)


def check_release() -> None:
    """Refuses a release of rfdetr with known faults; warns once about one that was not tested.

    Raises:
        DependencyError: it is older than the tested releases.
        PackageNotFoundError: none is installed.
    """
    found, version = TESTED.installed(), metadata.version("rfdetr")
    if found == "older":
        raise DependencyError(
            f"rfdetr {version} is installed; {TESTED.oldest} or newer is needed: earlier ones can corrupt the weights "
            "without an error when two threads predict at once, and lose the input size of a stripped checkpoint.",
            INSTALL_HINT,
        )
    if found == "newer":
        _warn_untested(version)


@functools.cache
def _warn_untested(version: str) -> None:
    _log.warning(
        "rfdetr %s has not been tested with this package; rfdetr%s has. If something fails, install that: %s",
        *(version, TESTED.requirement, _PIP),
    )


def import_rfdetr(module: str = "rfdetr") -> Any:
    """The module of rfdetr of that name, imported quietly.

    Raises:
        DependencyError: rfdetr, or what it trains with, is not installed, or is too old.
    """
    try:
        check_release()
        with quiet():
            return importlib.import_module(module)
    except (ImportError, metadata.PackageNotFoundError) as error:
        raise DependencyError(f"rfdetr cannot be imported ({error}).", INSTALL_HINT) from error


def first_line(error: BaseException) -> str:
    """The first line of a vendor's message, as a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."
