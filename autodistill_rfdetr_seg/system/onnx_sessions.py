"""Opens ONNX files in onnxruntime on a provider, and describes their inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import BaseModelError, DependencyError, UsageError
from .cpu_threads import thread_limit

CPU = "CPUExecutionProvider"


class Port(NamedTuple):
    """An input or output of a model: its name, its type as onnxruntime writes it (`tensor(float)`), and its axes, each
    a number, or text or None if the length is free."""

    name: str
    type: str
    axes: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.type.removeprefix('tensor')}[{', '.join(map(str, self.axes))}]"


def load_session(path: Path, providers: Sequence[Any] = (CPU,), threads: int | None = None) -> Any:
    """An `InferenceSession` that logs errors only; `threads` of a CPU, None for `thread_limit` or else one a core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it warns about every node that it cannot fold
    threads = threads or thread_limit()
    if threads is not None:
        options.intra_op_num_threads = threads
    # By default it prints to stdout and tries again: https://github.com/microsoft/onnxruntime/issues/21424
    return onnxruntime.InferenceSession(str(path), options, providers=list(providers), enable_fallback=0)


def open_model(path: Path, providers: Sequence[str], threads: int | None) -> Any:
    """The session of a file that a user named, on the first of `providers` that can run each of its parts.

    Raises:
        UsageError: this onnxruntime has no such provider, or it cannot work on this machine.
        BaseModelError: the file is not an ONNX model that can be run.
        DependencyError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError(
            "ONNX files need the package 'onnxruntime', which is not installed.",
            "pip install 'autodistill-rfdetr-seg[onnx]'",
        ) from error

    available = onnxruntime.get_available_providers()
    for provider in providers:
        if provider not in available:
            raise UsageError(
                f"This onnxruntime has no provider {provider!r}.",
                f"It has {', '.join(available)}; CUDA comes with the package onnxruntime-gpu.",
            )
    try:
        session = load_session(path, [*providers, *(() if CPU in providers else (CPU,))], threads)
    except Exception as error:  # the runtime's errors have no common root
        said = str(error).strip().splitlines()
        raise BaseModelError(
            f"The ONNX file {path} cannot be loaded: {said[0] if said else type(error).__name__}",
            "Is the file complete, and does this onnxruntime support its operators?",
        ) from error
    if missing := [provider for provider in providers if provider not in session.get_providers()]:
        raise UsageError(f"The provider {missing[0]!r} does not work on this machine.", f"Leave it out to use {CPU}.")
    return session


def inputs_of(session: Any) -> list[Port]:
    """The inputs of a model."""
    return [Port(one.name, one.type, tuple(one.shape)) for one in session.get_inputs()]


def outputs_of(session: Any) -> list[Port]:
    """The outputs of a model."""
    return [Port(one.name, one.type, tuple(one.shape)) for one in session.get_outputs()]
