"""Imports Ray: which releases are accepted, what is set before it, and its messages kept out of sight."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from ..core.errors import DependencyError
from ..system.versions import ReleaseRange, importable

_log = logging.getLogger(__name__)

TESTED = ReleaseRange("ray", "2.50", "2.61")
INSTALL_HINT = "Install it with: pip install 'autodistill-rfdetr-seg[ray]'"


def check_ray() -> None:
    """Checks that Ray is installed, without importing it; warns once about a release that was not tested.

    Raises:
        DependencyError: it is not installed, or is too old.
    """
    try:
        found = TESTED.installed()
    except metadata.PackageNotFoundError as error:
        raise DependencyError(
            "The engine ray needs the package 'ray', which is not installed.", INSTALL_HINT
        ) from error
    if found == "older" or not importable("ray"):
        version = metadata.version("ray")
        raise DependencyError(f"ray {version} is installed; {TESTED.oldest} or newer is needed.", INSTALL_HINT)
    if found == "newer":
        _warn_untested(metadata.version("ray"))


@functools.cache
def _warn_untested(version: str) -> None:
    _log.warning("ray %s has not been tested with this package; ray%s has.", version, TESTED.requirement)


def import_ray() -> Any:
    """The module `ray`; raises as `check_ray`."""
    check_ray()
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise DependencyError(f"ray cannot be imported: {error}.", INSTALL_HINT) from error


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment, and restores them at the end."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def quiet(ray: Any) -> Iterator[None]:
    """Keeps what Ray prints and logs in this process out of sight: an error of ours says what matters of it.

    Even with `log_to_driver=False` Ray prints to stdout that a process has died, and takes no option against it.
    """
    worker = ray._private.worker
    logger = logging.getLogger("ray")
    shown, level = getattr(worker, "_worker_logs_enabled", True), logger.level
    worker._worker_logs_enabled = False
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        worker._worker_logs_enabled = shown
        logger.setLevel(level)
