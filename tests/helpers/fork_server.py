"""A process that has imported what a command needs, and forks for each command that a test runs in a process.

Importing takes seconds, the command itself a fraction of one. The forked process is a real one, with streams, signals
and an exit code of its own; `python -m autodistill_rfdetr_seg` runs in it as it would in a new interpreter. All worker
processes of a session share one server; it ends when the last of them has ended.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

PACKAGE = "autodistill_rfdetr_seg"
LIGHT = (
    *("numpy", "cv2", "supervision", "pyarrow.parquet", "pyarrow.compute", "pycocotools.mask", "PIL.Image", "yaml"),
    *("autodistill.detection", "skimage.measure", "scipy.ndimage", "simplejpeg", "tqdm"),
    *("autodistill_rfdetr_seg.pipeline.runs", "autodistill_rfdetr_seg.labels.worker_labeling"),
    *("autodistill_rfdetr_seg.cli.command_line", "autodistill_rfdetr_seg.cli.commands"),
)
TRAINING = (*LIGHT, "torch", "torchvision", "pytorch_lightning", "rfdetr", "rfdetr.training")
# Two passes of descriptors and one message for each command; the environment is the most of it.
_MOST_BYTES = 1 << 17


class ForkedCommand:
    """A command under way in a forked process: the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, server: socket.socket, args: list[str], cwd: str, env: dict[str, str], module: str = PACKAGE
    ) -> None:
        encoding = env.get("PYTHONIOENCODING", "utf-8")
        pipes = [os.pipe() for _ in range(3)]
        message = json.dumps({"module": module, "args": args, "cwd": cwd, "env": env}).encode()
        assert len(message) < _MOST_BYTES
        socket.send_fds(server, [message], [end for _, end in pipes])
        for _, end in pipes:
            os.close(end)
        self.args = args
        self.stdout, self.stderr = (os.fdopen(pipes[at][0], encoding=encoding) for at in (0, 1))
        self._status = os.fdopen(pipes[2][0], "rb")
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        told = ["", ""]

        def read(at: int) -> None:
            told[at] = (self.stdout, self.stderr)[at].read()

        readers = [threading.Thread(target=read, args=(at,), daemon=True) for at in (0, 1)]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.stdout.close()
        self.stderr.close()
        return told[0], told[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def server_with(*modules: str) -> socket.socket:
    """A connection to the session's server with these modules, which is started unless there is one."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    # A name in Linux's abstract namespace: it is no file, and goes with the socket.
    name = f"\0autodistill-seg-tests-{session}-{hashlib.sha256(' '.join(modules).encode()).hexdigest()[:16]}"
    started = None
    for _ in range(1000):
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A connection that the server has not accepted as it ends is reset, so what counts is its greeting.
        with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
            mine.connect(name)
            if mine.recv(1):
                return mine
        mine.close()
        if started is None or started.poll() is not None:
            started = _start(name, modules)
        time.sleep(0.02)
    raise TimeoutError("The server of forked processes did not start.")


def _start(name: str, modules: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a server, which listens at once; where another has the name already, it ends again."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "helpers.fork_server", name[1:], *modules]
    return subprocess.Popen(command, env=env, start_new_session=True, stdin=subprocess.DEVNULL)


def _serve(listener: socket.socket) -> str:
    """Forks for each message; returns in the forked process alone, with its streams and environment set, the module to
    run.

    Ends once nobody is connected any more.
    """
    connections: list[socket.socket] = []
    while True:
        ready, _, _ = select.select([listener, *connections], [], [])
        if listener in ready:
            connections.append(listener.accept()[0])
            with contextlib.suppress(BrokenPipeError):
                connections[-1].send(b"!")
        for connection in set(ready) - {listener}:
            message, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, 3)
            if not message:
                connection.close()
                connections.remove(connection)
            elif os.fork() == 0:
                for one in (listener, *connections):
                    one.close()
                wanted = json.loads(message)
                _become(wanted, descriptors)
                return str(wanted["module"])
            for descriptor in descriptors:
                os.close(descriptor)
        if not connections:
            os._exit(0)


def _become(wanted: dict[str, Any], descriptors: list[int]) -> None:
    out, err, status = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        _keep(child, out, err, status)
    os.close(status)
    for source, stream in ((out, 1), (err, 2)):
        os.dup2(source, stream)
        os.close(source)
    env = wanted["env"]
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding=encoding, closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = os.fdopen(  # type: ignore[misc]
        2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False
    )
    os.environ.clear()
    os.environ.update(env)
    os.chdir(wanted["cwd"])
    sys.argv = ["autodistill-seg", *wanted["args"]]


def _keep(child: int, out: int, err: int, status: int) -> NoReturn:
    """Tells the number of the process, and how it ended."""
    os.close(out)
    os.close(err)
    with os.fdopen(status, "w") as file:
        print(child, file=file, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=file, flush=True)
    os._exit(0)


if __name__ == "__main__":
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(f"\0{sys.argv[1]}")
    except OSError:  # another has the name
        sys.exit()
    listener.listen(64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sys.argv[2:]:
            importlib.import_module(name)
    # A process with threads may hang once it is forked. That of pyarrow's allocator is prepared for it.
    threads = {file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")}
    assert len(threads - {"jemalloc_bg_thd"}) == 1, threads
    # What is imported is not walked through, and so not copied, in each forked process.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    runpy.run_module(_serve(listener), run_name="__main__", alter_sys=True)
