"""The real command line, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from typing import Any

from autodistill_rfdetr_seg.cli.command_line import main


def here(command: list[str]) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `autodistill-seg` with these arguments, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(command)
    return code, out.getvalue(), err.getvalue()


def begin(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """`autodistill-seg` with these arguments, under way in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "autodistill_rfdetr_seg", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def finish(command: list[str], **options: Any) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of `begin`."""
    process = begin(command, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err
