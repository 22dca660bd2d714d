"""Predicts with a model of any kind as people want it: tiles, a confidence for each class, duplicates removed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...bases.detection_instances import check_masks
from ...core.compact_detections import from_detections, to_detections
from ...core.config import PredictConfig
from ...core.config import options as parse_options
from ...images.rgb_image import RgbImage
from ...runtime.duplicate_removal import DuplicateLimits
from ...runtime.output_decoding import Detection
from ...runtime.prediction_rules import PredictionRules
from .class_confidence import Confidence, resolve_confidence

if TYPE_CHECKING:
    import supervision as sv

_log = logging.getLogger(__name__)


def prediction_rules(
    model: Any, confidence: Confidence, options: Mapping[str, Any], source: str | Path | None = None
) -> PredictionRules:
    """The rules of a prediction with a model; `options` are those of `PredictConfig`.

    `source` is where the best confidence of each class is read, the model's own file by default.

    Raises:
        UsageError: an option is unknown or wrong; the best confidence is not known.
        UnknownNameError: there is no such class.
    """
    config: PredictConfig = parse_options(PredictConfig, options, "predict()")
    limits = DuplicateLimits(config.nms_iou, config.nms_iom, config.agnostic_nms_iou)
    place = source or getattr(model, "path", None) or getattr(model, "checkpoint", None)
    values = resolve_confidence(confidence, tuple(model.class_names), place)
    return PredictionRules(values, config.tiles, config.overlap, limits)


def warn_of_large_tiles(rules: PredictionRules, shape: Sequence[int], what: str) -> None:
    """Says it if an image of `shape` (height, width) fits into one tile, where tiles are asked for."""
    if rules.tile is not None and max(shape[:2]) <= rules.tile:
        _log.warning("%s is not larger than a tile of %d pixels: it is predicted whole.", what, rules.tile)


def predict_with_rules(
    model: Any, images: Sequence[RgbImage], rules: PredictionRules, removed: Counter[str] | None = None
) -> list[sv.Detections]:
    """The instances of RGB HWC uint8 images that a model with `class_names` and `predict_batch` finds under the rules.

    `removed` counts what the rules remove as a duplicate.

    Raises:
        BaseModelError: the model gives boxes without masks, or masks of another size than the image.
    """
    names = tuple(model.class_names)

    def find(parts: Sequence[RgbImage], least: float) -> list[list[Detection]]:
        found = model.predict_batch(list(parts), least)
        for pixels, detections in zip(parts, found, strict=True):
            check_masks(detections, pixels.shape)
        return [[one for one in from_detections(part) if 0 <= one.class_id < len(names)] for part in found]

    predicted = rules.predict(find, images, removed)
    return [to_detections(found, image.shape, names) for found, image in zip(predicted, images, strict=True)]
