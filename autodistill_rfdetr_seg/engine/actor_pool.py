"""Asks a pool of actors about items: a bounded number of calls is in flight, and what is lost is asked again.

Nobody polls Ray: each answer comes into one queue, from which the driver takes it, whatever the number of actors. What
the driver holds does not grow with the items that are done.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import AutodistillSegError, BaseModelError, RemoteError, UsageError
from .actor_work import Work
from .call_queue import ATTEMPTS, CallQueue
from .node_checks import Crew
from .ray_actor import Actor, Call, Message

_log = logging.getLogger(__name__)

# Seconds between two looks at the actors' times.
_TICK = 0.25


@dataclass(frozen=True)
class TimeLimits:
    """In seconds: for free CPUs and GPUs on the nodes, for starting the work, and for each item (None: no limit)."""

    placement: float
    start: float
    item: float | None = None


def ask_actors(ray: Any, work: Work, items: Sequence[Any], crew: Crew, limits: TimeLimits) -> Iterator[tuple[Any, Any]]:
    """Each item (hashable) with its answer, in the order in which they are done; the error where it has none.

    The calls of an actor that is lost are asked again one by one. An item whose call was being worked on when its actor
    was lost, three times, has an error for an answer; one that took longer than its time likewise. An actor that cannot
    start the work leaves it to the others.

    Raises:
        UsageError: the work cannot be sent to another process.
        RemoteError: no actor found a place on a node in time.
        AutodistillSegError: no actor is left that could start the work.
    """
    pool = _Pool(ray, _sent(ray, work), crew, limits, items)
    try:
        yield from pool.answers()
    finally:
        for actor in pool.actors:
            actor.end()


def _sent(ray: Any, work: Work) -> Any:
    """A reference to the pickled work. It belongs to this process, so that no node can lose it."""
    try:
        return ray.put(ray.cloudpickle.dumps(work))
    except Exception as error:
        # Whatever a foreign object's `__reduce__` raises.
        raise UsageError(
            f"The base cannot be sent to another machine: {type(error).__name__}: {error}.",
            "Give it by name (package.module:Class, or path/to/file.py:Class), or leave out --engine ray.",
        ) from error


class _Pool:
    def __init__(self, ray: Any, work: Any, crew: Crew, limits: TimeLimits, items: Sequence[Any]) -> None:
        self._ray, self._work, self._needs, self._limits = ray, work, crew.needs, limits
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._calls = CallQueue(items)
        self._left = len(items)
        self._placed = self._looked = time.monotonic()
        self._said_waiting = False
        self.actors: list[Actor] = []
        for _ in range(min(crew.actors, len(items))):
            self._add()

    def answers(self) -> Iterator[tuple[Any, Any]]:
        while self._left:
            found: list[tuple[Any, Any]] = []
            try:
                message = self._inbox.get(timeout=_TICK)
            except queue.Empty:
                pass
            else:
                found += self._taken(*message)
            if time.monotonic() - self._looked >= _TICK:
                found += self._late()
            self._left -= len(found)
            yield from found

    def _add(self, failed_starts: int = 0) -> None:
        self.actors.append(Actor(self._ray, self._work, self._needs, self._inbox.put, failed_starts))

    def _replace(self, actor: Actor, failed_starts: int = 0) -> None:
        self.actors.remove(actor)
        self._add(failed_starts)

    def _taken(self, actor: Actor, call: Call | None, answer: Any) -> list[tuple[Any, Any]]:
        """What a message of an actor answers."""
        if actor.state == "lost":
            return []
        # An actor that was lost, or an exception of the work that is no answer, or an answer that cannot be pickled.
        if (error := answer.exception()) is not None:
            return self._lost(actor, error)
        said = answer.result()
        if call is not None:
            actor.answered(call)
            self._give(actor)
            return self._calls.answered(call, said)
        if actor.state == "waiting":
            self._placed = time.monotonic()
            actor.start()
        elif isinstance(said, AutodistillSegError):
            self._drop(actor, said)
        else:
            actor.started(said)
            self._give(actor)
        return []

    def _give(self, actor: Actor) -> None:
        while actor.has_room and (call := self._calls.next(actor.batch, idle=not actor.calls)) is not None:
            actor.ask(call)

    def _lost(self, actor: Actor, error: BaseException) -> list[tuple[Any, Any]]:
        """Replaces an actor that has ended; the answers of items that are given up."""
        failed_starts = 0 if actor.state == "ready" else actor.failed_starts + 1
        lost = actor.end()
        reason = _reason(error)
        if failed_starts == ATTEMPTS:
            text = f"The process of the model was lost {ATTEMPTS} times while it was started; the last time, {reason}."
            self._drop(actor, BaseModelError(text))
            return []
        _log.info("An actor was lost (%s); another takes its place.", reason)
        self._replace(actor, failed_starts)
        return self._again(lost, reason)

    def _again(self, lost: Sequence[Call], reason: str) -> list[tuple[Any, Any]]:
        found = self._calls.lost(lost, reason)
        for other in self.actors:
            self._give(other)
        return found

    def _drop(self, actor: Actor, error: AutodistillSegError) -> None:
        actor.end()
        self.actors.remove(actor)
        if not self.actors:
            raise error
        _log.warning("An actor stopped; the others continue: %s", error.message)

    def _late(self) -> list[tuple[Any, Any]]:
        """Ends actors that take too long; the answers of the items that did."""
        now = self._looked = time.monotonic()
        per_item = self._limits.item or float("inf")
        found: list[tuple[Any, Any]] = []
        for actor in list(self.actors):
            spent = now - actor.since
            if actor.state == "starting" and spent > self._limits.start:
                text = f"The model took longer than {self._limits.start:g} s to be built."
                hint = "If the download of its weights takes that long, set a longer `start_timeout`."
                self._drop(actor, BaseModelError(text, hint))
            elif actor.calls and spent > per_item * len(actor.calls[0].items):
                found += self._too_slow(actor, per_item)
        self._check_places(now)
        return found

    def _too_slow(self, actor: Actor, limit: float) -> list[tuple[Any, Any]]:
        slow, *others = actor.end()
        self._replace(actor)
        found: list[tuple[Any, Any]] = []
        if len(slow.items) == 1:
            found = [(item, BaseModelError(f"The model took longer than {limit:g} s on it.")) for item in slow.items]
            slow = Call(())
        self._calls.return_all([slow, *others])
        return found + self._again((), "")

    def _check_places(self, now: float) -> None:
        waiting = sum(actor.state == "waiting" for actor in self.actors)
        if waiting < len(self.actors):
            self._placed = now if not waiting else self._placed
        if not waiting or now - self._placed < self._limits.placement:
            return
        text = f"free on a node of the Ray cluster in {self._limits.placement:g} s: {self._needs} for each actor"
        if waiting == len(self.actors):
            raise RemoteError(
                f"None of {waiting} actors found what it needs {text}.",
                "See with `ray status` what uses the cluster. What is done is kept: continue with --resume.",
            )
        if not self._said_waiting:
            self._said_waiting = True
            _log.warning(
                "%d of %d actors did not find what they need %s; the others work.", waiting, len(self.actors), text
            )


def _reason(error: BaseException) -> str:
    """Why an actor was lost, in a few words: Ray's own text is a page of possible causes."""
    text = str(error)
    if "running low on memory" in text or type(error).__name__ == "OutOfMemoryError":
        return "its node was short of memory"
    if "node" in type(error).__name__.lower() or "node died" in text or "owner node" in text.lower():
        return "its node went away"
    if type(error).__name__ in ("ActorDiedError", "ActorUnavailableError", "WorkerCrashedError", "ObjectLostError"):
        return "its process ended"
    lines = text.strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {lines[-1]}"
