"""Work done ahead in threads, so that a consumer does not wait for disks and decoders."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, repeat
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_ahead(
    items: Iterable[Item], work: Callable[[Item], Result], count: int, threads: int = 2
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """Each item, in order, with the future of its `work`; that of the next `count` items is running or done.

    Close the generator (`contextlib.closing`) where it may not be used to its end: what has not started is cancelled.
    """
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


def iterate_ahead(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """The items of an iterator that is slow itself, at most `count` ahead, made in one other thread.

    An exception of the iterator is raised after the items before it. Close it as `work_ahead`.
    """
    end = object()
    steps = work_ahead(repeat(None), lambda _: next(items, end), count, threads=1)
    try:
        for _, step in steps:
            item = step.result()
            if item is end:
                return
            yield item  # type: ignore[misc]
    finally:
        steps.close()
