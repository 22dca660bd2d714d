"""Runs one function over many tasks in several processes, and gives the answers in the order of the tasks.

A process is a new interpreter that imports the function by its name. multiprocessing would import the user's main
module in each one again, and a script that calls this package without `if __name__ == "__main__"` would start over.
The processes end with the one that started them, and a killed one ends the work with an error.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import IO, Any

from ..core.errors import AutodistillSegError
from .child_processes import end_with_parent, leave_interrupts_to_parent

# The paths come before the first import, so that a file in the working folder does not take the place of a module.
_START = f"import sys; sys.path[:] = sys.argv[1:]; from {__name__} import serve; serve()"
# Tasks that wait for each process: it has the next one as soon as it is done.
_WAITING = 2


class TaskProcesses(contextlib.AbstractContextManager["TaskProcesses"]):
    """Processes that compute `function(fixed, task)` of each task; with one, this process does.

    They start when the block begins, and import what the function needs while the tasks are prepared. They end with the
    block.

    Args:
        function: a function of a module, which is found by its name there.
        fixed: what all tasks share, sent to each process once.
        processes: how many work at the same time.
    """

    def __init__(self, function: Callable[..., Any], fixed: Any, processes: int) -> None:
        self._function, self._fixed = function, fixed
        self._count = processes if sys.executable else 1
        self._crew: list[_Process] = []
        self._free: SimpleQueue[_Process] = SimpleQueue()
        self._pool = ThreadPoolExecutor(max(1, self._count), thread_name_prefix="task")

    def __enter__(self) -> TaskProcesses:
        if self._count > 1:
            try:
                for _ in range(self._count):
                    process = _Process()
                    self._crew.append(process)
                    self._pool.submit(self._begin, process)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        # Killed first: a thread waits for the answer of its process.
        for process in self._crew:
            process.stop()
        self._pool.shutdown(cancel_futures=True)

    def run(self, tasks: Iterable[Any]) -> Generator[Any, None, None]:
        """The answers in the order of the tasks, which are taken as they are needed, a few ahead.

        Raises:
            AutodistillSegError: a process died; or what the function raised, as any other of its errors is.
        """
        if self._count <= 1:
            for task in tasks:
                yield self._function(self._fixed, task)
            return
        under_way: deque[Future[Any]] = deque()
        for task in tasks:
            under_way.append(self._pool.submit(self._call, task))
            if len(under_way) >= _WAITING * self._count:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def _begin(self, process: _Process) -> None:
        # If it has died, the first task says so.
        with contextlib.suppress(OSError):
            process.begin((self._function.__module__, self._function.__qualname__, self._fixed))
        self._free.put(process)

    def _call(self, task: Any) -> Any:
        process = self._free.get()
        try:
            return process.call(task)
        finally:
            self._free.put(process)


class _Process:
    """An interpreter that calls one function for each task it is sent, over its standard input and output."""

    def __init__(self) -> None:
        # A session of its own, so that Ctrl-C does not reach it while it starts.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._tasks: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout

    def begin(self, work: tuple[str, str, Any]) -> None:
        """Says which function of which module is called, and what all of its tasks share."""
        _send(self._tasks, work)

    def call(self, task: Any) -> Any:
        """The function's answer to a task; raises what it raised."""
        try:
            _send(self._tasks, task)
            done, answer = pickle.load(self._answers)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            raise AutodistillSegError(
                f"A worker process ended with exit code {self._process.returncode} before it was done.",
                "If memory ran out, use fewer processes: --set dataset.processes=1.",
            ) from error
        if done:
            return answer
        raise _restored(answer)

    def stop(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._tasks, self._answers):
            with contextlib.suppress(OSError):  # a task may be half sent
                stream.close()


def serve() -> None:
    """The work of one process: answers tasks until its standard input ends."""
    leave_interrupts_to_parent()
    end_with_parent()
    tasks = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not come between the answers.
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, OSError):
        module, name, fixed = pickle.load(tasks)
        function = getattr(importlib.import_module(module), name)
        while True:
            task = pickle.load(tasks)
            try:
                answer = True, function(fixed, task)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the task came from
                answer = False, _sendable(error)
            _send(answers, answer)


def _send(stream: IO[bytes], value: Any) -> None:
    pickle.dump(value, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()


def _sendable(error: Exception) -> tuple[type[Exception], Any]:
    """An error as its class and content: the constructors of this package's errors may not take their arguments."""
    if isinstance(error, AutodistillSegError):
        return type(error), (error.message, error.hint)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - a foreign error may refuse in any way
        return RuntimeError, RuntimeError(f"{type(error).__name__}: {error}")
    return type(error), error


def _restored(sent: tuple[type[Exception], Any]) -> Exception:
    kind, content = sent
    if not issubclass(kind, AutodistillSegError):
        error: Exception = content
        return error
    restored = kind.__new__(kind)
    AutodistillSegError.__init__(restored, *content)
    return restored
