"""What another process does to label: it builds the base once, and is then asked about images, a batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..bases.adapter import BaseAdapter
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import AutodistillSegError, sendable
from ..images.image_opening import KnownImage, OpenedImage, open_unless_known
from .base_source import BaseSource, Item, Outcome, outcome_of


@dataclass(frozen=True)
class LabelingWork:
    """What is sent to the other process.

    Attributes:
        source: the base, as `for_other_process` or `for_other_machine` gives it.
        known: the contents (SHA-256) that are read and not asked about.
        batch_size: the number of images in a batch; None for as many as the base prefers.
        max_megapixels: larger images are failures.
    """

    source: BaseSource
    known: Collection[str] = frozenset()
    batch_size: int | None = None
    max_megapixels: float = MAX_MEGAPIXELS

    def start(self) -> StartedLabeling:
        """Builds the base.

        Raises:
            AutodistillSegError: it cannot be built.
        """
        adapter = self.source.adapter()
        return StartedLabeling(self, adapter, adapter.batch_size(self.batch_size))


@dataclass(frozen=True)
class StartedLabeling:
    """A base that has been built and takes `batch` images at a time."""

    work: LabelingWork
    adapter: BaseAdapter
    batch: int

    def answer(self, items: Sequence[Item]) -> list[Outcome]:
        """The outcome of each item, in order; errors are such that they can be pickled."""
        opened = [self._opened(item) for item in items]
        images = [image for image in opened if isinstance(image, OpenedImage)]
        answers = iter(self.adapter.start([image.pixels for image in images], [image.record for image in images]))
        found = [outcome_of(image, next(answers)) if isinstance(image, OpenedImage) else image for image in opened]
        return [sendable(one) if isinstance(one, AutodistillSegError) else one for one in found]

    def _opened(self, item: Item) -> OpenedImage | KnownImage | AutodistillSegError:
        try:
            return open_unless_known(*item, self.work.known, max_megapixels=self.work.max_megapixels)
        except AutodistillSegError as error:
            return error
