"""An actor as the pool sees it, in a process on some node, and what runs there. One that is lost is not restarted by
Ray: the pool makes another, so that it alone decides what is asked again."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import AutodistillSegError, BaseModelError
from .actor_work import StartedWork, Work
from .node_checks import Needs

# Calls in flight: while one is worked on, the next is there.
IN_FLIGHT = 2


@dataclass(eq=False)
class Call:
    """A call of an actor for some items; `alone` if it is to be the only one that the actor has."""

    items: Sequence[Any]
    alone: bool = False


# What an actor has said: the actor, the call (None for one of its start), and the answer.
Message = tuple["Actor", "Call | None", "Future[Any]"]


class Actor:
    """A process on a node of the cluster that starts the work once and then answers calls in the order of asking.

    It is `waiting` for a place on a node, then `starting`, then `ready`; `lost` when it has ended.
    """

    def __init__(
        self, ray: Any, work: Any, needs: Needs, post: Callable[[Message], None], failed_starts: int = 0
    ) -> None:
        """`work` refers to the pickled work in Ray's store; `post` is called, in some thread, with each message;
        `failed_starts` counts the actors before this one, in its place, that were lost before they were ready."""
        self._ray, self._post = ray, post
        self._handle = (
            ray.remote(WorkProcess)
            .options(
                num_cpus=needs.cpus,
                num_gpus=needs.gpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
            )
            .remote(str(Path.cwd()))
        )
        self._work = work
        self.failed_starts = failed_starts
        self.state: Literal["waiting", "starting", "ready", "lost"] = "waiting"
        self.batch = 1
        self.calls: list[Call] = []
        self.since = time.monotonic()
        self._send(None, self._handle.node.remote())

    def start(self) -> None:
        """Starts the work: it has a place on a node."""
        self._enter("starting")
        self._send(None, self._handle.start.remote(self._work))

    def started(self, batch: int) -> None:
        """It is ready, for that many items at a time."""
        self.batch = batch
        self._enter("ready")

    def ask(self, call: Call) -> None:
        """Passes a call on."""
        if not self.calls:
            self.since = time.monotonic()
        self.calls.append(call)
        self._send(call, self._handle.answer.remote(call.items))

    def answered(self, call: Call) -> None:
        """It has answered the call, and works on the next one from now on."""
        self.calls.remove(call)
        self.since = time.monotonic()

    @property
    def has_room(self) -> bool:
        """Whether it can take another call."""
        return self.state == "ready" and len(self.calls) < IN_FLIGHT and not any(call.alone for call in self.calls)

    def end(self) -> list[Call]:
        """Ends its process; the calls that it has not answered."""
        self.state = "lost"
        unanswered, self.calls = self.calls, []
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._handle, no_restart=True)
        return unanswered

    def _enter(self, state: Literal["starting", "ready"]) -> None:
        self.state, self.since = state, time.monotonic()

    def _send(self, call: Call | None, reference: Any) -> None:
        post = self._post
        reference.future().add_done_callback(lambda answer: post((self, call, answer)))


class WorkProcess:
    """What runs in the process of an actor."""

    def __init__(self, folder: str) -> None:
        # Paths in the arguments of a base may be relative. A node that lacks the folder says what it does not find.
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._started: StartedWork | None = None

    def node(self) -> str:
        """The name of the machine."""
        return node_name()

    def start(self, work: bytes) -> int | AutodistillSegError:
        """Unpickles the work, which came from the process that made this actor, and starts it: how many items it takes
        at a time, or why it cannot be started."""
        try:
            self._started = _unpickled(work).start()
        except AutodistillSegError as error:
            named = BaseModelError(f"{error.message.rstrip('.')} (on the node {node_name()}).", error.hint)
            named.exit_code = error.exit_code
            return named
        return self._started.batch

    def answer(self, items: Sequence[Any]) -> Sequence[Any]:
        """The answer to each item."""
        assert self._started is not None
        return self._started.answer(items)


def node_name() -> str:
    """The name of this machine."""
    return platform.node()


def _unpickled(work: bytes) -> Work:
    from ray import cloudpickle

    try:
        found: Work = cloudpickle.loads(work)
    except Exception as error:
        # Such as a module of the user that this node lacks.
        raise BaseModelError(f"The base cannot be unpickled: {type(error).__name__}: {error}.") from error
    return found
