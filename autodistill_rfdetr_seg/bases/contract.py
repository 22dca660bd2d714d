"""What a base and a segmenter are, and what more they may offer. By duck typing: nothing of ours must be imported.

A **base** is an autodistill `DetectionBaseModel`: it has `ontology` (a `CaptionOntology`) and `predict(image)`, which
takes an HWC uint8 BGR array and returns an `sv.Detections` with `class_id` (the index of the prompt), `confidence` in
0..1 and `mask` (N, H, W) bool. Two arrays (N,) of `detections.data` are stored as well: `mask_score`, the segmenter's
own score in 0..1, and `stability`. `detections.metadata["dropped"]` (reason → number) counts what the base left out.
Each of these is used if the base has it:

- `predict_batch(images)` → one `sv.Detections` per image; `preferred_batch` (int) is the best number of images.
- `segment(image, boxes_xyxy)` → `Masks`: masks for boxes. Stability can then move the boxes.
- `within_image(image)`: the base learns something (a threshold, the light) from a whole image. It is called once for
  each image that is cut into tiles, with the image as `predict` takes it (a path is valid during the call only). The
  object it returns has `predict(window)` for the part (top, left, bottom, right) of that image, in pixels of the part;
  bottom and right are exclusive. For a base without it, each tile is an image.
- `for_images(records)`: the answer depends on which image it is, not on its pixels alone (boxes from a file). It is
  called with an `ImageRecord` for each image (name, size and hash). The object it returns has `predict(image)`, and
  `predict_batch(images)` if the base has it, for these images in this order; an exception is the failure of the image.
  Such a base is never run on tiles or for stability, and each copy of a file is passed to it. Before that,
  `expect(items)`, if there is one, gets (path, name) of all images, and returns sentences for the user.
- `identity(args)`, a class or static method: what determines its answers, from the constructor's arguments and without
  loading anything (a folder of weights becomes a hash of its files; a device without influence is left out). It is
  JSON-ready and stored with every label; labels with another identity are made again. An object that the user has built
  has an attribute `settings` for this; without it, its public attributes with plain values are used.
- `classes(args)`, likewise: the class names of a base that knows no other prompts. They are used if the user gives no
  ontology.

A base that gives boxes without masks is a **detector**; with a **segmenter** it is a whole base
(`detector_and_segmenter.py`).
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
    """An autodistill `DetectionBaseModel`: what labeling needs of it."""

    ontology: Any

    def predict(self, input: Any) -> Any:
        """The `sv.Detections` of one image."""
        ...


class Segmenter(Protocol):
    """Masks from boxes.

    `segment_batch(images, boxes_xyxy)` → `list[Masks]`, for images of any sizes, is used if there is one.
    """

    def segment(self, image: BgrImage, boxes_xyxy: Boxes) -> Masks:
        """Masks for boxes (N, 4), XYXY pixels, of an HWC uint8 BGR image; N may be 0."""
        ...


def answers_by_image(base: Any) -> bool:
    """Whether a base (or its class) has `for_images`."""
    return callable(getattr(base, "for_images", None))


def same_class(first: Sequence[Instance], second: Sequence[Instance], classes: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Whether instances of two answers of a base are of the same class, (N, M) bool.

    Their `class_index` is the prompt's; `classes` has the class of each prompt. If empty, each prompt is a class.
    """
    one, two = (np.array([i.class_index for i in some], dtype=np.intp) for some in (first, second))
    if classes:
        one, two = (np.asarray(classes, dtype=np.intp)[some] for some in (one, two))
    return np.equal(one[:, None], two)
