"""Predictions of a target or a base for gold images: the same way for a run, a Python model and an export."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..bases.detection_instances import indexed_instances
from ..core.config import MAX_MEGAPIXELS, LabelingConfig, PipelineConfig, PredictConfig
from ..core.errors import DataError
from ..core.types import Classes, GroundTruth, ImagePredictions, Instance
from ..dataset.refine import refine
from ..images.image_opening import open_rgb
from ..images.rgb_image import RgbImage
from ..labels.base_source import BaseSource, source_of
from ..labels.label_store import LabelStore
from ..labels.labeler import label_images
from ..labels.stored_labels import StoredLabels
from ..runtime.prediction_rules import PredictionRules
from ..system.run_folder import RunFolder
from .gold_sets import Gold

_log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
# An HWC uint8 RGB image → instances, and the boxes (xywh, pixels) that a model gives with its masks.
Predictor = Callable[[RgbImage], tuple[Sequence[Instance], Sequence[Box] | None]]


def predict_gold(
    predict: Predictor, truth: GroundTruth, *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = True
) -> list[ImagePredictions]:
    """The predictions for each gold image, with the time each took (ms, without decoding).

    The first image is predicted twice, so that warming up is not measured.
    """
    from tqdm import tqdm

    predictions = []
    for at, image in enumerate(tqdm(truth.images, desc="Predicting", unit="image", disable=not progress)):
        pixels = open_rgb(image.path, max_megapixels=max_megapixels)
        if at == 0:
            predict(pixels)
        started = time.perf_counter()
        found, boxes = predict(pixels)
        took = (time.perf_counter() - started) * 1000
        predictions.append(
            ImagePredictions(image.image_id, tuple(found), took, None if boxes is None else tuple(boxes))
        )
    return predictions


def target_predictor(
    model: Any, score_floor: float, classes: int, tiles: int | None = None, overlap: float = PredictConfig().overlap
) -> Predictor:
    """Predicts with a target, exported or not; its instances are gathered above `score_floor`.

    With `tiles` large images are predicted in tiles of that many pixels. Duplicates count as wrong, as they are.
    """
    from ..targets.inference.ruled_prediction import predict_with_rules

    rules = PredictionRules(score_floor, tiles, overlap)

    def predict(pixels: RgbImage) -> tuple[Sequence[Instance], Sequence[Box]]:
        if tiles is None:
            found = model.predict_batch([pixels], score_floor)[0]
        else:
            found = predict_with_rules(model, [pixels], rules)[0]
        kept = indexed_instances(found, pixels.shape[:2], classes, Counter())
        corners = [found.xyxy[at].tolist() for at, _ in kept]
        return [instance for _, instance in kept], [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in corners]

    return predict


def base_predictor(source: BaseSource) -> Predictor:
    """Predicts with a base; prompts are mapped to classes."""
    adapter = source.adapter()
    of_prompt = [index for _, index in source.classes.prompts]

    def predict(pixels: RgbImage) -> tuple[Sequence[Instance], None]:
        found = adapter.ask(pixels).instances
        return [dataclasses.replace(i, class_index=of_prompt[i.class_index]) for i in found], None

    return predict


def base_predictions(
    config: PipelineConfig, run: RunFolder, gold: Gold, progress: bool
) -> list[ImagePredictions] | None:
    """The base's instances for each gold image, refined but without a threshold; images without stored labels are
    labeled now. None for a base that answers by image, unless every gold image is one of the run's."""
    rows = base_rows(config, run, gold, progress)
    if rows is None:
        return None
    classes = Classes.from_ontology(config.ontology)
    rules = config.refine.model_copy(update={"confidence": 0.0, "max_instances": None})
    floor = config.evaluation.score_floor
    predictions = []
    for image_id, row in rows.items():
        found = refine(row.with_classes(classes), rules, classes).instances
        kept = tuple(instance for instance in found if instance.score >= floor)
        predictions.append(ImagePredictions(image_id, kept, row.seconds * 1000))
    return predictions


def base_rows(config: PipelineConfig, run: RunFolder, gold: Gold, progress: bool) -> dict[str, StoredLabels] | None:
    """The base's label row of each gold image, by its id and in the order of the images; images without stored labels
    are labeled now. None as in `base_predictions`.

    Raises:
        DataError: the base could not label an image.
    """
    truth = gold.whole.truth
    rows = _known_rows(config, run, gold, progress)
    unknown = [image for image in truth.images if image.image_id not in rows]
    if unknown and source_of(config).by_image:
        _log.warning(
            "The base %s is not scored: it has no boxes for %d of %d gold images, such as %s.",
            config.base.name,
            len(unknown),
            len(truth.images),
            unknown[0].image_id,
        )
        return None
    if unknown:
        raise DataError(
            f"The base could not label the gold image {unknown[0].path}.", "See evaluation/labels/failures.jsonl."
        )
    return {image.image_id: rows[image.image_id] for image in truth.images}


def _on_ray(config: PipelineConfig) -> LabelingConfig | None:
    """How gold images are labeled: by the engine of the run if that is Ray, otherwise in this process."""
    if config.labeling.engine == "auto":
        return None
    return config.labeling.model_copy(update={"slice": None, "max_failures": None})


def _known_rows(config: PipelineConfig, run: RunFolder, gold: Gold, progress: bool) -> dict[str, StoredLabels]:
    """The base's label row for each gold image by id: from the run's labels if they contain that content."""
    source = source_of(config)
    stored = LabelStore(run.labels)
    by_content = {key.sha256: key for key in stored.keys(source.provenance.fingerprint).values()}
    rows: dict[str, StoredLabels] = {}
    rest: list[tuple[Path, str]] = []
    for image in gold.whole.truth.images:
        key = by_content.get(gold.contents[image.image_id])
        if key is None:
            rest.append((image.path, image.image_id))
        else:
            rows[image.image_id] = stored.read(key)
    # A gold image may have the name of an image of the run: a base that answers by image would mistake it for that one.
    if rest and not source.by_image:
        label_images(
            source,
            rest,
            run.evaluation / "labels",
            _on_ray(config),
            max_megapixels=config.inputs.max_megapixels,
            progress=progress,
        )
        extra = LabelStore(run.evaluation / "labels")
        names = {name for _, name in rest}
        keys = extra.keys(source.provenance.fingerprint)
        rows.update({name: extra.read(key) for name, key in keys.items() if name in names})
    return rows
