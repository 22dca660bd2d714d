"""What a base is, what more it may be able to do, and what segments boxes. All by duck typing: none needs our imports.

A **base** is autodistill's `DetectionBaseModel`: `ontology` (a `CaptionOntology`) and `predict(image)`, given an HWC
uint8 BGR array, giving an `sv.Detections` with `class_id` the prompt's index, `confidence` in 0..1 and `mask` (N, H, W)
bool. Of `detections.data` two arrays of shape (N,) are kept: `mask_score`, the segmenter's own score in 0..1, and
`stability`; `detections.metadata["dropped"]` (reason → number) counts what the base left out itself. What else a base
can do, it says by having it:

- `predict_batch(images)` → one `sv.Detections` an image; `preferred_batch` (int) is how many at a time suit it.
- `segment(image, boxes_xyxy)` → `Masks`: masks for boxes, which makes it possible to ask again with other boxes.
- `within_image(image)`, where it takes something (a threshold, the light) from an image as a whole. It is called once
  an image that is asked about in tiles, with the image as `predict` takes one (a path is good during the call only),
  and gives an object whose `predict(window)` answers for the part (top, left, bottom, right) of that image, in the
  part's own pixels; bottom and right are the first outside. A base without it is shown each tile as an image.
- `for_images(records)`, where the answer hangs on which image it is, not on its pixels alone (boxes from a file). It is
  called with an `ImageRecord` an image (its name, size and hash) and gives an object whose `predict(image)`, and
  `predict_batch(images)` where the base has one, answer about just these images in this order; what it raises is the
  failure of an image. Such a base is never asked in tiles or again for stability, and copies of a file are asked about
  one by one. `expect(items)`, where it has that as well, is told before that (path, name) of all images that it may be
  asked about, and gives sentences for the user.
- `identity(args)`, a class or static method: what decides its answers, told from the constructor's arguments without
  loading anything (a folder of weights becomes a hash of its files, a device or data type that does not count is left
  out). JSON-ready; it is kept with every label, and labels with another identity count as not there. An object that is
  handed over says the same by an attribute `settings`; without it, its public attributes that are plain values count.

- `classes(args)`, likewise: the class names of a base that knows no other prompts. They are what it labels where no
  ontology is given.

A base that gives boxes without masks is a **detector**; a **segmenter** makes it a whole base (`boxes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..core.types import Instance

BgrImage = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float64]
# What a base's `predict` takes: an HWC uint8 BGR array, a path, or a PIL image (RGB).
ImageInput = Literal["bgr", "path", "pil"]


class Masks(NamedTuple):
    """Masks for the boxes of one image: (N, H, W) bool, and the segmenter's own score of each, (N,) in 0..1."""

    masks: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]


class Base(Protocol):
    """An autodistill `DetectionBaseModel`, as far as labelling needs one."""

    ontology: Any

    def predict(self, input: Any) -> Any:
        """The `sv.Detections` of one image."""
        ...


class Segmenter(Protocol):
    """Masks from boxes.

    One that can also do several images at once says so by having `segment_batch(images, boxes_xyxy)` → `list[Masks]`,
    images of whatever sizes.
    """

    def segment(self, image: BgrImage, boxes_xyxy: Boxes) -> Masks:
        """Masks for boxes (N, 4), XYXY pixels, of an HWC uint8 BGR image; N may be 0."""
        ...


def answers_by_image(base: Any) -> bool:
    """Whether a base (or its class) has `for_images`."""
    return callable(getattr(base, "for_images", None))


def same_class(first: Sequence[Instance], second: Sequence[Instance], classes: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Whether (N, M) instances of a base's answers are of one class.

    Their `class_index` is the prompt's; `classes` has the class of each prompt. Empty, each prompt is its own class.
    """
    one, two = (np.array([i.class_index for i in some], dtype=np.intp) for some in (first, second))
    if classes:
        one, two = (np.asarray(classes, dtype=np.intp)[some] for some in (one, two))
    return np.equal(one[:, None], two)
