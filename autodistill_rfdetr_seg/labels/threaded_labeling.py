"""Labeling in this process: images are decoded ahead of the base and its masks encoded behind it, in threads, so that
the base waits for neither. `worker_labeling` does the same in processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice

from ..bases.adapter import BaseAdapter
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import AutodistillSegError
from ..images.image_opening import KnownImage, OpenedImage, open_unless_known
from ..system.read_ahead import work_ahead
from .base_source import BaseSource, Item, Outcome, outcome_of

# Decoded images that wait for the base, and answers that wait to be encoded, beyond a batch of each.
_AHEAD = 3
_BEHIND = 2

_Opened = tuple[Item, Future[OpenedImage | KnownImage]]
_Asked = tuple[Item, Future[Outcome]]


def known_items_first(
    items: Sequence[Item], known: Collection[str], max_megapixels: float = MAX_MEGAPIXELS
) -> Iterator[tuple[Item, Outcome]]:
    """The items before the first that a base must be built for: with `known` content (SHA-256), or unreadable."""
    if not known:
        return
    with closing(_opened_ahead(items, _AHEAD, known, max_megapixels)) as opened:
        for item, reading in opened:
            try:
                image = reading.result()
            except AutodistillSegError as error:
                yield item, error
            else:
                if isinstance(image, OpenedImage):
                    return
                yield item, image


def label_in_threads(
    source: BaseSource,
    items: Sequence[Item],
    known: Collection[str],
    batch_size: int | None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[tuple[Item, Outcome]]:
    """Each item, in order, with its row, its error, or as a known image where its content (SHA-256) is `known`.

    Raises:
        AutodistillSegError: the base cannot be built.
    """
    adapter = source.adapter()
    size = adapter.batch_size(batch_size)
    behind: deque[_Asked] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as encoder:
        opened = _opened_ahead(items, size + _AHEAD, known, max_megapixels)
        try:
            while batch := list(islice(opened, size)):
                behind += _asked(adapter, batch, encoder)
                while len(behind) > size + _BEHIND:
                    yield _finished(behind.popleft())
        except KeyboardInterrupt:
            # What the base has answered is kept: it costs the most of all.
            yield from map(_finished, behind)
            raise
        yield from map(_finished, behind)


def _opened_ahead(
    items: Sequence[Item], count: int, known: Collection[str], max_megapixels: float
) -> Generator[_Opened, None, None]:
    return work_ahead(
        items, lambda item: open_unless_known(item[0], item[1], known, max_megapixels=max_megapixels), count
    )


def _asked(adapter: BaseAdapter, batch: Sequence[_Opened], encoder: ThreadPoolExecutor) -> list[_Asked]:
    """A batch, asked; what is left to do for each image is in the encoder's hands."""
    ready: list[tuple[Item, OpenedImage | KnownImage | AutodistillSegError]] = []
    for item, opened in batch:
        try:
            ready.append((item, opened.result()))
        except AutodistillSegError as error:
            ready.append((item, error))
    images = [image for _, image in ready if isinstance(image, OpenedImage)]
    answers = iter(adapter.start([image.pixels for image in images], [image.record for image in images]))
    return [
        (item, encoder.submit(outcome_of, found, next(answers)) if isinstance(found, OpenedImage) else _done(found))
        for item, found in ready
    ]


def _done(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


def _finished(asked: _Asked) -> tuple[Item, Outcome]:
    return asked[0], asked[1].result()
