"""Labelling in this process: images are decoded ahead of the base and its masks encoded behind it, in threads, so that
the base waits for neither. `workers.py` does the same job in processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from ..errors import AutodistillSegError
from ..images import OpenedImage, open_image
from ..store import Key
from .adapter import BaseAdapter
from .source import BaseSource, Outcome, outcome_of
from .workers import Item

# Decoded images that wait for the base, and answers that wait to be encoded, beyond a batch of each.
_AHEAD = 3
_BEHIND = 2

_Opened = tuple[Item, Future[OpenedImage]]
_Asked = tuple[Item, Future[Outcome | None]]


def asked_in_threads(
    source: BaseSource, items: Sequence[Item], stored: Mapping[str, Key], batch_size: int | None
) -> Iterator[tuple[Item, Outcome | None]]:
    """Each item, in order, with its row, its error, or None where its content proves to be what is `stored` already.

    Raises:
        AutodistillSegError: the base cannot be built.
    """
    adapter = source.adapter()
    size = adapter.batch_size(batch_size)
    behind: deque[_Asked] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as encoder:
        opened = _opened_ahead(items, size + _AHEAD)
        try:
            while batch := list(islice(opened, size)):
                behind += _asked(adapter, batch, stored, encoder)
                while len(behind) > size + _BEHIND:
                    yield _finished(behind.popleft())
        except KeyboardInterrupt:
            # What the base has answered is kept: it costs the most of all.
            yield from map(_finished, behind)
            raise
        yield from map(_finished, behind)


def _opened_ahead(items: Sequence[Item], ahead: int) -> Iterator[_Opened]:
    """Each image with its decoding under way, `ahead` at a time, so that the base does not wait for the disk."""
    with ThreadPoolExecutor(2, thread_name_prefix="decode") as pool:
        rest = iter(items)
        queue = deque((item, pool.submit(open_image, *item)) for item in islice(rest, ahead))
        try:
            while queue:
                yield queue.popleft()
                queue += [(item, pool.submit(open_image, *item)) for item in islice(rest, 1)]
        finally:
            for _, future in queue:
                future.cancel()


def _asked(
    adapter: BaseAdapter, batch: Sequence[_Opened], stored: Mapping[str, Key], encoder: ThreadPoolExecutor
) -> list[_Asked]:
    """A batch, asked; what is left to do for each image is in the encoder's hands."""
    ready: list[tuple[Item, OpenedImage | AutodistillSegError | None]] = []
    for item, opened in batch:
        try:
            image = opened.result()
        except AutodistillSegError as error:
            ready.append((item, error))
        else:
            key = stored.get(item[1])
            ready.append((item, None if key and key.sha256 == image.record.sha256 else image))
    images = [image for _, image in ready if isinstance(image, OpenedImage)]
    answers = iter(adapter.start([image.pixels for image in images]))
    return [
        (item, encoder.submit(outcome_of, found, next(answers)) if isinstance(found, OpenedImage) else _known(found))
        for item, found in ready
    ]


def _known(outcome: Outcome | None) -> Future[Outcome | None]:
    future: Future[Outcome | None] = Future()
    future.set_result(outcome)
    return future


def _finished(asked: _Asked) -> tuple[Item, Outcome | None]:
    return asked[0], asked[1].result()
