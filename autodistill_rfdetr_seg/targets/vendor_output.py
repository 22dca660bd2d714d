"""What rfdetr and Lightning log, warn and print is kept off the caller's streams: of the threads that ask for it alone.

A process has one stdout and one way to show a warning. So `quiet` puts something between that knows whose turn it is,
once for all threads that are in it, and takes it away with the last of them. `hushed` changes nothing of the process.
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
# What each thread that is in `quiet` has printed.
_printed: dict[int, io.StringIO] = {}
_between = contextlib.ExitStack()
_hushed = threading.local()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, what this thread's vendors log, warn or print goes to this module's logger at DEBUG (errors as errors).

    rfdetr sets torch's matmul precision when it is imported and when it trains; it is put back.
    """
    me = threading.get_ident()
    with _lock:
        outermost = me not in _printed
        if not _printed:
            _put_between(_between)
        _printed.setdefault(me, io.StringIO())
    try:
        yield
    finally:
        if outermost:
            with _lock:
                printed = _printed.pop(me).getvalue().strip()
                if not _printed:
                    _between.close()
            if printed:
                _log.debug("printed: %s", printed)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Inside, what rfdetr logs in this thread goes to this module's logger at DEBUG; for what logs and no more."""
    logger = logging.getLogger(_LOGGERS[0])
    # Kept for good; added again it is still one.
    logger.addFilter(_not_of_hushed)
    before = getattr(_hushed, "now", False)
    _hushed.now = True
    try:
        yield
    finally:
        _hushed.now = before


def _not_of_hushed(record: logging.LogRecord) -> bool:
    if not getattr(_hushed, "now", False):
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
    """Stdout: of a thread that is quiet what is kept of it, of any other the real one."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(_printed.get(threading.get_ident(), self._real), name)


def _put_between(stack: contextlib.ExitStack) -> None:
    """Changes the process; closing `stack` undoes it."""
    stack.callback(_restore_precision, _matmul_precision())
    # Importing rfdetr adds handlers to its logger. Where it is not imported yet, a handler that is there first keeps
    # it from doing so, and with it from writing to stdout ever after.
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
    # What somebody has put there meanwhile is theirs to take away.
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
