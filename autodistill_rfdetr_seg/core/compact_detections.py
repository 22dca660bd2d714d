"""supervision's detections with masks that stay compact until `mask` is read."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.instance_mask import Mask, dense_stack
from ..runtime.output_decoding import Detection

if TYPE_CHECKING:
    import supervision as sv


def to_detections(found: Sequence[Detection], shape: tuple[int, ...], class_names: Sequence[str]) -> sv.Detections:
    """Instances of an image of `shape` (height, width) as `sv.Detections`, which computes `mask` when it is first read.

    `xyxy` is (N, 4) float32, `confidence` (N,) float32, `class_id` (N,) int, `data["class_name"]` (N,) object.
    """
    class_id = np.array([one.class_id for one in found], dtype=int)
    result = _compact_class()(
        xyxy=np.array([one.xyxy for one in found], dtype=np.float32).reshape(-1, 4),
        confidence=np.array([one.score for one in found], dtype=np.float32),
        class_id=class_id,
        data={"class_name": np.array([class_names[at] for at in class_id], dtype=object)},
    )
    result.keep_compact([one.compact_mask for one in found], shape[:2])
    return result  # type: ignore[no-any-return]


def from_detections(detections: sv.Detections) -> tuple[Detection, ...]:
    """Detections with masks as the instances of `runtime`, in the same order; those without a class are left out."""
    if detections.class_id is None or detections.confidence is None:
        return ()
    masks = compact_masks(detections)
    if masks is None:
        masks = [] if detections.mask is None else [Mask.from_pixels(np.asarray(one)) for one in detections.mask]
    rows = zip(detections.class_id, detections.confidence, detections.xyxy, masks, strict=True)
    return tuple(Detection(int(class_id), float(score), box, mask) for class_id, score, box, mask in rows)


def compact_masks(detections: sv.Detections) -> Sequence[Mask] | None:
    """The masks of detections, compact; None where they are dense, or not there."""
    return getattr(detections, "compact_masks", None)


@functools.cache
def _compact_class() -> Any:
    import supervision as sv

    class CompactDetections(sv.Detections):
        """As `sv.Detections`; a selection of rows stays compact, a copy has dense masks."""

        compact_masks: list[Mask] | None = None
        _image_shape: tuple[int, ...] = (0, 0)
        _dense: Any = None

        def keep_compact(self, masks: list[Mask], image_shape: tuple[int, ...]) -> None:
            self.compact_masks, self._image_shape = masks, image_shape

        @property
        def mask(self) -> Any:
            """(N, H, W) bool at the image's size, kept once it has been read; None without masks."""
            if self._dense is None and self.compact_masks is not None:
                self._dense = dense_stack(self.compact_masks, *self._image_shape)
            return self._dense

        @mask.setter
        def mask(self, value: Any) -> None:
            self._dense, self.compact_masks = value, None

        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(index) if isinstance(index, str) else self.select(index)

        def select(self, index: Any) -> sv.Detections:
            plain = sv.Detections(
                self.xyxy, self._dense, self.confidence, self.class_id, self.tracker_id, self.data, self.metadata
            )
            part: Any = plain[index]
            if self._dense is not None or self.compact_masks is None:
                return part  # type: ignore[no-any-return]
            rows = np.atleast_1d(np.arange(len(self))[index])
            result = CompactDetections(
                part.xyxy, None, part.confidence, part.class_id, part.tracker_id, part.data, part.metadata
            )
            result.keep_compact([self.compact_masks[at] for at in rows.tolist()], self._image_shape)
            return result

        def __reduce__(self) -> Any:
            given = (self.xyxy, self.mask, self.confidence, self.class_id, self.tracker_id, self.data, self.metadata)
            return sv.Detections, given

    return CompactDetections
