"""Predicting a folder: images → target → a COCO file and pictures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import coco
from .bases.adapter import instances_of
from .errors import AutodistillSegError, RemoteError
from .files import check_output, claim_output, replacing
from .images import OpenedImage, allow_megapixels, discover, open_image, relative_paths, write_png
from .records import Classes, ImageLabels
from .report import draw_instances

_log = logging.getLogger(__name__)


@dataclass
class Predicted:
    """What predicting found: instances by class of each image, and the images that failed with the reason."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"images": self.counts, "failures": self.failures}


def predict_images(
    model: str | Path | Any,
    source: str | Path,
    output: str | Path | None = None,
    *,
    confidence: float = 0.5,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    max_megapixels: float | None = None,
    progress: bool = True,
) -> Predicted:
    """Finds instances in one image, or in every image of a folder, with the model of a run, checkpoint or export.

    `model` is where it lies, or a model itself, such as one that is served elsewhere (`EndpointModel`).
    Writes `output/predictions.json` (COCO, a score per annotation, file names relative to `source`) and a picture of
    each image in `output/pictures/`. An image that cannot be read, has more than `max_megapixels` million pixels (None:
    as `allow_megapixels` set it), or that a server fails on is a failure with a reason; the rest is predicted.

    Raises:
        MissingInputError: there is no such source or model.
        OutputExistsError: `output` is not empty.
        RemoteError: the server fails on the first image.
    """
    from tqdm import tqdm

    from .target import load_artifact

    if max_megapixels is not None:
        allow_megapixels(max_megapixels)
    source, output = Path(source), None if output is None else Path(output)
    images = [(source, source.name)] if source.is_file() else relative_paths(discover(source), source)
    if output is not None:
        check_output(output, resume=resume, overwrite=overwrite)
    artifact = load_artifact(Path(model), device) if isinstance(model, str | Path) else model
    if output is not None:
        claim_output(output, resume=resume, overwrite=overwrite)
    classes = Classes(tuple(artifact.class_names))
    result = Predicted()

    def entries() -> Iterator[tuple[str, ImageLabels]]:
        for path, name in tqdm(images, desc="Predicting", unit="image", disable=not progress or len(images) == 1):
            try:
                image = open_image(path, name)
                labels = _labels(artifact, image, classes, confidence)
            except AutodistillSegError as error:
                # A server that has answered nothing yet will not answer the rest.
                if isinstance(error, RemoteError) and not result.counts:
                    raise
                result.failures[name] = error.message
                _log.warning("%s", error)
                continue
            found = Counter(instance.class_index for instance in labels.instances)
            result.counts[name] = {label: found[index] for index, label in enumerate(classes.names)}
            if output is not None:
                _write_picture(output / "pictures", image, labels, classes)
            yield name, labels

    if output is None:
        for _ in entries():
            pass
    else:
        coco.write(output / "predictions.json", entries(), classes, _info(artifact, confidence))
    return result


def _labels(model: Any, image: OpenedImage, classes: Classes, confidence: float) -> ImageLabels:
    # torch warns of arrays that cannot be written to.
    detections = model.predict_batch([image.pixels.copy()], confidence)[0]
    found = instances_of(detections, image.pixels.shape[:2], len(classes.names), Counter())
    return ImageLabels(image.record, tuple(found), source="target")


def _write_picture(folder: Path, image: OpenedImage, labels: ImageLabels, classes: Classes) -> None:
    path = folder / Path(image.record.path).with_suffix(".png")
    with replacing(path) as temporary:
        write_png(temporary, draw_instances(image.pixels, labels.instances, classes))


def _name(model: Any) -> str:
    """A model's file, or what a served one is called."""
    file = getattr(model, "path", None) or getattr(model, "checkpoint", None)
    return str(getattr(file or model, "name", type(model).__name__))


def _info(model: Any, confidence: float) -> Mapping[str, Any]:
    return {
        "description": "Predicted by a model with autodistill-rfdetr-seg.",
        "checkpoint": _name(model),
        "confidence": confidence,
    }
