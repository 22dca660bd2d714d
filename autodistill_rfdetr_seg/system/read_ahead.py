"""Work done ahead in threads, so that whoever uses the results does not wait for disks and decoders."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    items: Iterable[Item], work: Callable[[Item], Result], count: int, threads: int = 2
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """Each item, in order, with its `work` under way or done; that of `count` items is, at a time."""
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        rest = iter(items)
        queue = deque((item, pool.submit(work, item)) for item in islice(rest, count))
        try:
            while queue:
                yield queue.popleft()
                queue += [(item, pool.submit(work, item)) for item in islice(rest, 1)]
        finally:
            for _, future in queue:
                future.cancel()
