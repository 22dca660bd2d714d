"""What actors are to be asked: batches in order, and what was lost one by one, a limited number of times."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from ..core.errors import BaseModelError
from .ray_actor import Call

# An item that was being worked on when its actor was lost, this many times, is not asked about again.
ATTEMPTS = 3


class CallQueue:
    """The calls that are still to be made for some items."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._rest = iter(items)
        self._alone: deque[Any] = deque()
        self._lost: Counter[Any] = Counter()

    def next(self, batch: int, *, idle: bool) -> Call | None:
        """The next call for an actor that takes so many items; None if there is none for it now.

        An item that was lost is asked about alone, by an actor that is `idle`: if that one is lost too, the item is
        the reason, and no other item pays for it.
        """
        if self._alone:
            return Call((self._alone.popleft(),), alone=True) if idle else None
        items = tuple(islice(self._rest, batch))
        return Call(items) if items else None

    def answered(self, call: Call, answers: Sequence[Any]) -> list[tuple[Any, Any]]:
        """The items of a call with their answers."""
        for item in call.items:
            self._lost.pop(item, None)
        return list(zip(call.items, answers, strict=True))

    def lost(self, calls: Sequence[Call], reason: str) -> list[tuple[Any, Any]]:
        """Takes back the unanswered calls of an actor that was lost; items with an error, if it was once too often.

        An actor works on its calls in order, so only the items of the first one can have cost it.
        """
        if not calls:
            return []
        given_up = []
        for item in calls[0].items:
            self._lost[item] += 1
            if self._lost[item] < ATTEMPTS:
                self._alone.append(item)
            else:
                text = f"The process of the model was lost {ATTEMPTS} times on it; the last time, {reason}."
                given_up.append((item, BaseModelError(text)))
                del self._lost[item]
        self.return_all(calls[1:])
        return given_up

    def return_all(self, calls: Sequence[Call]) -> None:
        """Takes back calls that cost nothing; their items are asked about one by one."""
        self._alone.extend(item for call in calls for item in call.items)
