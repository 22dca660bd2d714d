"""Keeps what rfdetr and Lightning log, warn and print off the caller's streams, in the threads that ask for it only.

A process has one stdout and one way to show a warning. So `quiet` replaces both while any thread is in it, and routes
what each thread writes. `quiet_logs` changes nothing in the process.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_LOGGERS = ("rf-detr", "rfdetr", "pytorch_lightning", "lightning", "lightning_fabric", "transformers")
_log = logging.getLogger(__name__)

_lock = threading.Lock()
# What each thread in `quiet` has printed.
_printed: dict[int, io.StringIO] = {}
_replacements = contextlib.ExitStack()
_quiet_logs = threading.local()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Sends what vendors log, warn or print in this thread to this module's logger at DEBUG (errors as errors).

    rfdetr sets torch's matmul precision when it is imported and when it trains; it is restored.
    """
    thread = threading.get_ident()
    with _lock:
        outermost = thread not in _printed
        if not _printed:
            _replace_outputs(_replacements)
        _printed.setdefault(thread, io.StringIO())
    try:
        yield
    finally:
        if outermost:
            with _lock:
                printed = _printed.pop(thread).getvalue().strip()
                if not _printed:
                    _replacements.close()
            if printed:
                _log.debug("printed: %s", printed)


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Sends what rfdetr logs in this thread to this module's logger at DEBUG; for calls that neither print nor warn."""
    logger = logging.getLogger(_LOGGERS[0])
    # The filter stays; adding it again has no effect.
    logger.addFilter(_is_loud)
    before = getattr(_quiet_logs, "now", False)
    _quiet_logs.now = True
    try:
        yield
    finally:
        _quiet_logs.now = before


def _is_loud(record: logging.LogRecord) -> bool:
    if not getattr(_quiet_logs, "now", False):
        return True
    _forward(record)
    return False


def _forward(record: logging.LogRecord) -> None:
    level = record.levelno if record.levelno >= logging.ERROR else logging.DEBUG
    _log.log(level, "%s: %s", record.name, record.getMessage())


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _forward(record)


class _Routed:
    """Stdout: a buffer for a thread in `quiet`, the real stdout for any other."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(_printed.get(threading.get_ident(), self._real), name)


def _replace_outputs(stack: contextlib.ExitStack) -> None:
    """Replaces the process's outputs; closing `stack` restores them."""
    stack.callback(_restore_precision, _matmul_precision())
    # Importing rfdetr adds a handler that writes to stdout to its logger, unless the logger already has one.
    for logger in map(logging.getLogger, _LOGGERS):
        stack.callback(_restore_logger, logger, logger.handlers, logger.propagate)
        logger.handlers, logger.propagate = [_Forward()], False
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("default")
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if threading.get_ident() in _printed:
            _log.debug("%s: %s", category.__name__, message)
        else:
            shown(message, category, *where, **more)

    warnings.showwarning = show
    real = sys.stdout
    sys.stdout = routed = _Routed(real)
    stack.callback(_restore_stdout, routed, real)


def _restore_stdout(routed: Any, real: Any) -> None:
    # Another replacement made meanwhile stays.
    if sys.stdout is routed:
        sys.stdout = real


def _restore_logger(logger: logging.Logger, handlers: list[logging.Handler], propagate: bool) -> None:
    logger.handlers, logger.propagate = handlers, propagate


def _matmul_precision() -> str | None:
    torch = sys.modules.get("torch")
    return torch.get_float32_matmul_precision() if torch is not None else None


def _restore_precision(precision: str | None) -> None:
    if precision != _matmul_precision():
        import torch

        torch.set_float32_matmul_precision(precision or "highest")
