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
from helpers.fork_server import LIGHT, TRAINING, ForkedCommand, server_with

Process = ForkedCommand | subprocess.Popen[str]
# The commands that import torch and rfdetr wherever they get to work.
NEED_RFDETR = ("train", "predict", "evaluate", "export", "run")


def here(command: list[str]) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `autodistill-seg` with these arguments, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(command)
    return code, out.getvalue(), err.getvalue()


def begin(command: list[str], env: Mapping[str, str] | None = None) -> Process:
    """`autodistill-seg` with these arguments, under way in a process of its own, which has its imports from another."""
    if sys.platform != "linux":
        return begin_new(command, env=env or {})
    server = server_with(*(TRAINING if command[0] in NEED_RFDETR else LIGHT))
    return ForkedCommand(server, command, str(Path.cwd()), {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})


def finish(command: list[str], env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `begin`."""
    return _ended(begin(command, env))


def finish_module(module: str, args: list[str], env: Mapping[str, str]) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `python -m MODULE`, in a process that has torch and rfdetr from another."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    if sys.platform != "linux":
        command = [sys.executable, "-m", module, *args]
        return _ended(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=env)
        )
    return _ended(ForkedCommand(server_with(*TRAINING), args, str(Path.cwd()), env, module))


def begin_new(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """`autodistill-seg` with these arguments, under way in a new interpreter."""
    return subprocess.Popen(
        [sys.executable, "-m", "autodistill_rfdetr_seg", *command],
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
