"""Labelling in processes of their own: several bases at work, and a base that hangs can be ended without loss.

The parent alone writes the store. A worker that dies or takes too long costs its image, which becomes a failure with a
reason; another worker takes its place. Workers end by themselves when the parent is gone, even from within a base that
hangs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..errors import AutodistillSegError, BaseModelError, UsageError
from ..images import OpenedImage, open_image
from .adapter import BaseAdapter
from .source import BaseSource, Outcome, outcome_of

Item = tuple[Path, str]


def asked_in_workers(
    source: BaseSource, items: Sequence[Item], workers: int, timeout: float | None, batch_size: int | None
) -> Iterator[tuple[Item, Outcome]]:
    """Each item with its row or its error, in the order in which they are done.

    A batch whose worker dies or runs out of its time (`timeout` seconds an image) is asked for again one by one.

    Raises:
        UsageError: the base cannot be sent to another process.
        AutodistillSegError: no worker could build it.
    """
    rest = iter(items)
    alone: deque[Item] = deque()
    crew: list[_Worker] = []

    def work_for(worker: _Worker) -> list[Item]:
        return [alone.popleft()] if alone else list(islice(rest, worker.batch))

    try:
        for place in range(min(workers, len(items))):
            crew.append(_Worker(source, place, batch_size))
        busy = {worker.connection: worker for worker in crew if worker.give(work_for(worker), timeout)}
        while busy:
            for worker in _finished(list(busy.values())):
                del busy[worker.connection]
                done, outcomes = worker.items, worker.result()
                if worker.gone:
                    worker.stop()
                    crew.remove(worker)
                    worker = _Worker(source, worker.place, batch_size)
                    crew.append(worker)
                    if len(done) > 1:
                        alone += done
                        outcomes = ()
                yield from zip(done, outcomes, strict=False)
                if worker.give(work_for(worker), timeout):
                    busy[worker.connection] = worker
    finally:
        for worker in crew:
            worker.stop()


def _finished(busy: Sequence[_Worker]) -> list[_Worker]:
    """The workers that have answered, died, or run out of time; waits until there is one."""
    while True:
        soonest = min(worker.deadline for worker in busy)
        ready = wait([worker.connection for worker in busy], max(0.0, min(soonest - time.monotonic(), 3600.0)))
        done = [w for w in busy if w.connection in ready or w.deadline <= time.monotonic()]
        if done:
            return done


class _Worker:
    """A process with a base in it, working on `batch` items at a time."""

    def __init__(self, source: BaseSource, place: int, batch_size: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.place = place
        self.items: Sequence[Item] = ()
        self.deadline = float("inf")
        self.gone = False
        self._timeout: float | None = None
        self._process = context.Process(target=_work, args=(theirs, source.portable(), place, batch_size), daemon=True)
        try:
            self._process.start()
        except (TypeError, AttributeError, ImportError, pickle.PicklingError) as error:
            raise UsageError(
                f"The base cannot be sent to a worker process: {error}.",
                "Give it by name (package.module:Class), or label without --workers and --timeout-per-image.",
            ) from error
        except OSError as error:
            raise BaseModelError(f"A worker process could not be started: {error}.") from error
        theirs.close()
        ready = self._receive()
        if isinstance(ready, AutodistillSegError):
            raise ready
        self.batch = int(ready)

    def give(self, items: Sequence[Item], timeout: float | None) -> bool:
        """Hands it items to work on; False where there are none."""
        self.items, self._timeout = items, timeout
        if not items:
            return False
        self.deadline = float("inf") if timeout is None else time.monotonic() + timeout * len(items)
        with contextlib.suppress(OSError):  # one that has died is found out by its closed end
            self.connection.send(items)
        return True

    def result(self) -> Sequence[Outcome]:
        """Its answer to each item; an error where it died or took too long, which goes for all of them."""
        if self.connection.poll():
            answer = self._receive()
            return [answer] if isinstance(answer, AutodistillSegError) else answer
        self.gone = True
        return [BaseModelError(f"The base took longer than {self._timeout:g} s on {self.items[0][1]}.")]

    def _receive(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.gone = True
            self._process.join(5)
            return BaseModelError(f"The base's worker process ended with exit code {self._process.exitcode}.")

    def stop(self) -> None:
        """Ends the process."""
        self.connection.close()
        self._process.kill()
        self._process.join(5)


def _work(connection: Connection, source: BaseSource, place: int, batch_size: int | None) -> None:
    # Ctrl-C reaches the whole group; the parent decides when workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    _take_gpu(place)
    # A closed connection is a parent that is gone, or done with us.
    with contextlib.suppress(EOFError, OSError):
        try:
            adapter = source.adapter()
        except AutodistillSegError as error:
            connection.send(_sendable(error))
            return
        connection.send(adapter.batch_size(batch_size))
        while True:
            answers = _outcomes(adapter, connection.recv())
            connection.send([_sendable(one) if isinstance(one, AutodistillSegError) else one for one in answers])


def end_with_parent() -> None:
    """Ends this process with its parent, also where the base hangs and would never come to read the closed pipe."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _outcomes(adapter: BaseAdapter, items: Sequence[Item]) -> list[Outcome]:
    opened = [_opened(item) for item in items]
    answers = iter(adapter.start([image.pixels for image in opened if isinstance(image, OpenedImage)]))
    return [outcome_of(image, next(answers)) if isinstance(image, OpenedImage) else image for image in opened]


def _opened(item: Item) -> OpenedImage | AutodistillSegError:
    try:
        return open_image(*item)
    except AutodistillSegError as error:
        return error


def _sendable(error: AutodistillSegError) -> AutodistillSegError:
    """The same message in a class that survives pickling, whatever its own constructor takes."""
    plain = BaseModelError(error.message, error.hint)
    plain.exit_code = error.exit_code
    return plain


@dataclass(frozen=True)
class _Gpus:
    """The GPUs this process may use, by the number the driver gives them."""

    ids: tuple[str, ...]

    @classmethod
    def visible(cls) -> _Gpus:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        if given is not None:
            return cls(tuple(part for part in given.split(",") if part.strip()))
        found = sorted(path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*"))
        return cls(tuple(found))


def _take_gpu(place: int) -> None:
    """One worker a GPU where there are several; must come before torch is imported."""
    gpus = _Gpus.visible().ids
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
