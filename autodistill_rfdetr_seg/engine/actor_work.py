"""What an actor does. It is pickled and sent to the actor's process; what it starts stays there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class StartedWork(Protocol):
    """Work that is ready, in the actor's process; `batch` is how many items it takes at a time."""

    @property
    def batch(self) -> int:
        """The number of items to pass at a time."""
        ...

    def answer(self, items: Sequence[Any]) -> Sequence[Any]:
        """The answer to each item, in order. An item's failure is an answer: an error that can be pickled."""
        ...


class Work(Protocol):
    """Work to be started in each actor once, such as building a base."""

    def start(self) -> StartedWork:
        """The same, ready.

        Raises:
            AutodistillSegError: it cannot be started on this machine.
        """
        ...
