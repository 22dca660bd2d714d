"""The real command line: in this process, in one that is forked from one with everything imported, or in a new one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autodistill_rfdetr_seg.cli.command_line import main
from helpers.fork_server import LIGHT, PACKAGE, TRAINING, ForkedCommand, server_with

Process = ForkedCommand | subprocess.Popen[str]
# The commands that import torch and rfdetr wherever they get to work.
NEED_RFDETR = ("train", "predict", "evaluate", "export", "run")


def here(command: list[str]) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `autodistill-seg` with these arguments, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(command)
    return code, out.getvalue(), err.getvalue()


def begin(command: list[str], env: Mapping[str, str] | None = None, module: str = PACKAGE) -> Process:
    """`autodistill-seg`, or `python -m` another module, with these arguments, under way in a process of its own, which
    has its imports from another.
    """
    if sys.platform != "linux":
        return begin_new(command, module, env=env or {})
    server = server_with(*(LIGHT if module == PACKAGE and command[0] not in NEED_RFDETR else TRAINING))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return ForkedCommand(server, command, str(Path.cwd()), environment, module)


def finish(command: list[str], env: Mapping[str, str] | None = None, module: str = PACKAGE) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `begin`."""
    return _ended(begin(command, env, module))


def begin_new(command: list[str], module: str = PACKAGE, **options: Any) -> subprocess.Popen[str]:
    """As `begin`, in a new interpreter."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})},
        **options,
    )


def finish_new(command: list[str], **options: Any) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `begin_new`."""
    return _ended(begin_new(command, **options))


def _ended(process: Process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    code = process.returncode
    assert code is not None
    return code, out, err
