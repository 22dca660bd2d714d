"""Labeling by the actors of a Ray cluster: `worker_labeling` on many machines. The files of the images and weights have
the same paths on all nodes. This process alone writes the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ..core.config import MAX_MEGAPIXELS, LabelingConfig
from ..engine.image_actors import ask_about_images
from .base_source import BaseSource, Item, Outcome
from .labeling_work import LabelingWork


def label_in_actors(
    source: BaseSource,
    items: Sequence[Item],
    known: Collection[str],
    options: LabelingConfig,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[tuple[Item, Outcome]]:
    """Each item with its row, its error, or as a known image where its content (SHA-256) is `known`, in the order in
    which they are done.

    Raises as `ask_about_images`; the base may not be one that can be sent to another machine.
    """
    work = LabelingWork(source.for_other_machine(), frozenset(known), options.batch_size, max_megapixels)
    return ask_about_images(work, items, options, options.timeout_per_image)
