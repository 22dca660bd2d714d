"""Labeling in worker processes: several bases run at once, and one that hangs can be stopped without loss.

The parent alone writes the store, and waits for all workers at once, those that build their base among them. A worker
that dies or takes too long costs its image, which becomes a failure with a reason; another worker takes its place.
Workers end by themselves when the parent is gone, even from within a base that hangs.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..core.config import MAX_MEGAPIXELS, LabelingConfig
from ..core.errors import AutodistillSegError, BaseModelError, UsageError, sendable
from ..system.child_processes import end_with_parent, leave_interrupts_to_parent
from .base_source import BaseSource, Item, Outcome
from .labeling_work import LabelingWork

_log = logging.getLogger(__name__)


def label_in_workers(
    source: BaseSource,
    items: Sequence[Item],
    known: Collection[str],
    options: LabelingConfig,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[tuple[Item, Outcome]]:
    """Each item with its row, its error, or as a known image where its content (SHA-256) is `known`, in the order in
    which they are done.

    A batch whose worker dies or runs out of its time (`timeout_per_image` each) is asked for again one by one. A worker
    that cannot build its base, or takes longer than `start_timeout`, leaves the work to the others.

    Raises:
        UsageError: the base cannot be sent to another process.
        AutodistillSegError: no worker is left that could build it.
    """
    rest = iter(items)
    alone: deque[Item] = deque()
    crew: list[_Worker] = []

    def hand_out() -> None:
        for worker in crew:
            if not worker.busy:
                given = [alone.popleft()] if alone else list(islice(rest, worker.batch))
                worker.give(given, options.timeout_per_image)

    try:
        for place in range(min(options.workers or 1, len(items))):
            crew.append(_Worker(source, place, known, options, max_megapixels))
        answered = 0
        while answered < len(items):
            for worker in _finished([worker for worker in crew if worker.busy]):
                done, outcomes = worker.items, worker.result() if worker.ready else ()
                if not worker.ready and (error := worker.started()) is not None:
                    worker.stop()
                    crew.remove(worker)
                    if not crew:
                        raise error
                    _log.warning("A worker stopped; the others continue: %s", error.message)
                elif worker.gone:
                    worker.stop()
                    crew.remove(worker)
                    crew.append(_Worker(source, worker.place, known, options, max_megapixels))
                    if len(done) > 1:
                        alone += done
                        outcomes = ()
                # Before the answer is stored, so that the base does not wait for that.
                hand_out()
                answered += len(outcomes)
                yield from zip(done, outcomes, strict=False)
    finally:
        for worker in crew:
            worker.stop()


def _finished(busy: Sequence[_Worker]) -> list[_Worker]:
    """The workers that have started, answered, died, or run out of time; waits until there is one."""
    while True:
        soonest = min(worker.deadline for worker in busy)
        ready = wait([worker.connection for worker in busy], max(0.0, min(soonest - time.monotonic(), 3600.0)))
        done = [w for w in busy if w.connection in ready or w.deadline <= time.monotonic()]
        if done:
            return done


class _Worker:
    """A process that builds a base and is then `ready` to work on `batch` items at a time."""

    def __init__(
        self, source: BaseSource, place: int, known: Collection[str], options: LabelingConfig, max_megapixels: float
    ) -> None:
        context = _process_context()
        self.connection, theirs = context.Pipe()
        self.place = place
        self.items: Sequence[Item] = ()
        self.batch = 1
        self.ready = self.gone = False
        self._timeout = options.start_timeout
        work = LabelingWork(source.for_other_process(), frozenset(known), options.batch_size, max_megapixels)
        self._process = context.Process(target=_work, args=(theirs, dict(os.environ), work, place), daemon=True)
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
        self.deadline = time.monotonic() + self._timeout

    @property
    def busy(self) -> bool:
        """Whether it builds its base or has items that it has not answered."""
        return not self.ready or bool(self.items)

    def started(self) -> AutodistillSegError | None:
        """What kept it from being ready; None where it is now."""
        if not self.connection.poll():
            return BaseModelError(
                f"The base took longer than {self._timeout:g} s to be built.",
                "If the download of its weights takes that long, set a longer --start-timeout.",
            )
        said = self._receive()
        if isinstance(said, AutodistillSegError):
            return said
        self.batch, self.ready = int(said), True
        return None

    def give(self, items: Sequence[Item], timeout: float | None) -> None:
        """Hands it items to work on, where there are any."""
        if not items:
            return
        self.items, self._timeout = items, float("inf") if timeout is None else timeout
        self.deadline = time.monotonic() + self._timeout * len(items)
        with contextlib.suppress(OSError):  # one that has died is found out by its closed end
            self.connection.send(items)

    def result(self) -> Sequence[Outcome]:
        """Its answer to each item; an error where it died or took too long, which goes for all of them."""
        asked, self.items = self.items, ()
        if self.connection.poll():
            answer = self._receive()
            return [answer] if isinstance(answer, AutodistillSegError) else answer
        self.gone = True
        return [BaseModelError(f"The base took longer than {self._timeout:g} s on {asked[0][1]}.")]

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


def _process_context() -> Any:
    """How workers are started: on Linux they are forked from a server process that has what every base imports.

    Elsewhere each is a new interpreter. The server has neither torch, which must see a worker's own GPU only, nor the
    user's modules.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "autodistill.detection"])
    return context


def _work(
    connection: Connection,
    environment: Mapping[str, str],
    work: LabelingWork,
    place: int,
) -> None:
    # The server has that of the moment when it was started.
    os.environ.clear()
    os.environ.update(environment)
    leave_interrupts_to_parent()
    end_with_parent()
    _take_gpu(place)
    # A closed connection is a parent that is gone, or done with us.
    with contextlib.suppress(EOFError, OSError):
        try:
            started = work.start()
        except AutodistillSegError as error:
            connection.send(sendable(error))
            return
        connection.send(started.batch)
        while True:
            connection.send(started.answer(connection.recv()))


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
