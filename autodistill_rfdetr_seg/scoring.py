"""The evaluation stage: base and target against the same human gold set, on images the target has never seen.

Without a gold set the target is held against the base's labels of the test split; the files then say `base labels`, as
that measures agreement, not truth.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import coco
from .bases.adapter import usable
from .bases.source import BaseSource
from .config import EvaluationConfig, PipelineConfig
from .dataset import read_dataset, split_of_content
from .errors import DataError
from .evaluation import Report, evaluate, recovery
from .files import fingerprint, read_json, write_json
from .images import RgbImage, file_sha256, open_rgb
from .labeling import label_images
from .records import Classes, GroundTruth, ImagePredictions, Instance, TruthImage
from .refine import refine
from .stages import RunFolder, source_of
from .store import LabelStore, StoredLabels
from .versions import versions

_log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
# An HWC uint8 RGB image → instances, and the boxes (xywh) that a model gives beside its masks.
Ask = Callable[[RgbImage], tuple[Sequence[Instance], Sequence[Box] | None]]


@dataclass(frozen=True)
class Gold:
    """What predictions are held against: the `truth` of all sets together, the names of the `sets` (an image's id
    starts with its set's name where there are several), and whether people made it."""

    truth: GroundTruth
    sets: tuple[str, ...]
    human: bool
    left_out: int = 0


def read_gold(config: PipelineConfig, run: RunFolder) -> Gold:
    """The gold set, less the images whose content the target was trained or selected on.

    Raises:
        DataError: nothing is left, or its classes are not the run's.
    """
    dataset = read_dataset(run.dataset)
    if not config.evaluation.gold:
        test = run.dataset / "test"
        if not test.is_dir():
            raise DataError(
                "There is nothing to evaluate on: no gold set is given, and the dataset has no test split.",
                "Give --gold COCO.json, or a share above 0 to the test split.",
            )
        return Gold(coco.align(coco.read(test), dataset.classes), ("test",), human=False)
    paths = [Path(path) for path in config.evaluation.gold]
    names = _set_names(paths)
    split_of = split_of_content(run.dataset)
    images: list[TruthImage] = []
    prints: list[str] = []
    left_out = 0
    for path, name in zip(paths, names, strict=True):
        truth = coco.align(coco.read(path), dataset.classes)
        held_out = [image for image in truth.images if split_of.get(file_sha256(image.path)) in (None, "test")]
        left_out += len(truth.images) - len(held_out)
        prefix = f"{name}/" if len(names) > 1 else ""
        images += [dataclasses.replace(image, image_id=prefix + image.image_id) for image in held_out]
        prints.append(fingerprint(truth.fingerprint, [image.image_id for image in held_out]))
    if not images:
        raise DataError(
            f"No image of the gold set is held out: all {left_out} are in the train or valid split.",
            "Keep some annotated images out of the folder that is labelled, or give the test split a share.",
        )
    return Gold(GroundTruth(dataset.classes, tuple(images), fingerprint(prints)), names, True, left_out)


def _set_names(paths: Sequence[Path]) -> tuple[str, ...]:
    names = [path.stem.split(".")[0] if path.is_file() else path.name for path in paths]
    if any(name.startswith("_") for name in names):
        names = [path.parent.name if path.is_file() else path.name for path in paths]
    return tuple(name if names.count(name) == 1 else f"{name}-{at}" for at, name in enumerate(names, 1))


def evaluate_stage(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> tuple[dict[str, Any], bool]:
    """Scores base and target; the second value tells whether there was something to do.

    Writes `evaluation/metrics.json`, `details.json` (curves, per image) and the predictions as COCO results.
    """
    from .target import RFDETRSeg, read_run

    gold = read_gold(config, run)
    trained = read_run(run.training)
    source = source_of(config)
    options = config.evaluation.model_dump(mode="json", exclude={"gold", "samples"})
    prints = {
        "gold": gold.truth.fingerprint,
        "dataset": trained.dataset_fingerprint,
        "base": source.provenance.fingerprint,
        "checkpoint_sha256": trained.checkpoint_sha256,
    }
    inputs = fingerprint(prints, options, config.refine.model_dump(mode="json"), gold.human)
    written = run.evaluation / "metrics.json"
    if written.is_file() and read_json(written).get("inputs") == inputs:
        return read_json(written), False
    run.evaluation.mkdir(parents=True, exist_ok=True)
    base = _base_predictions(config, run, gold.truth, progress) if gold.human else None
    model = RFDETRSeg.from_checkpoint(trained.checkpoint, device=config.target.device)
    ask = _asking_target(model, config.evaluation.score_floor, len(gold.truth.classes.names))
    target = predict_gold(ask, gold.truth, progress=progress)
    reports = {
        "base": None if base is None else _score(config, gold.truth, base),
        "target": _score(config, gold.truth, target),
    }
    metrics = _metrics(config, gold, prints, reports)
    metrics["inputs"] = inputs
    if len(gold.sets) > 1:
        metrics["sets"] = {
            name: {
                who: None if found is None else _score(config, *_of_set(gold.truth, found, name)).to_dict()
                for who, found in (("base", base), ("target", target))
            }
            for name in gold.sets
        }
    for who, found in (("base", base), ("target", target)):
        if found is not None:
            coco.write_results(run.evaluation / f"{who}.json", found, gold.truth)
    write_json(
        run.evaluation / "details.json",
        {who: None if report is None else report.details for who, report in reports.items()},
    )
    write_json(written, metrics)
    return metrics, True


def evaluate_model(
    model: Any,
    gold: GroundTruth | str | Path,
    *,
    score_floor: float = EvaluationConfig().score_floor,
    max_detections: int = EvaluationConfig().max_detections,
    area_from: Literal["file", "mask"] = EvaluationConfig().area_from,
    progress: bool = True,
) -> Report:
    """Scores a model on a gold set (or the COCO file or folder that holds it): a target (`RFDETRSeg`), or any base.

    Classes are matched by name. A target's instances are gathered above `score_floor`; a base's are taken as it gives
    them.

    Raises:
        MissingInputError, DataError: the gold set is missing, wrong, or shares no class with the model.
    """
    names = getattr(model, "class_names", None)
    if names is not None:
        classes, ask = Classes(tuple(names)), _asking_target(model, score_floor, len(names))
    else:
        source = BaseSource.of_model(model)
        classes, ask = source.classes, _asking_base(source)
    truth = coco.align(gold if isinstance(gold, GroundTruth) else coco.read(gold), classes)
    found = predict_gold(ask, truth, progress=progress)
    return evaluate(truth, found, max_detections=max_detections, area_from=area_from)


def _asking_target(model: Any, score_floor: float, classes: int) -> Ask:
    def ask(pixels: RgbImage) -> tuple[Sequence[Instance], Sequence[Box]]:
        found = model.predict_batch([pixels], score_floor)[0]
        kept = usable(found, pixels.shape[:2], classes, Counter())
        corners = [found.xyxy[at].tolist() for at, _ in kept]
        return [instance for _, instance in kept], [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in corners]

    return ask


def _asking_base(source: BaseSource) -> Ask:
    adapter = source.adapter()
    of_prompt = [index for _, index in source.classes.prompts]

    def ask(pixels: RgbImage) -> tuple[Sequence[Instance], None]:
        found = adapter.ask(pixels).instances
        return [dataclasses.replace(i, class_index=of_prompt[i.class_index]) for i in found], None

    return ask


def _score(config: PipelineConfig, truth: GroundTruth, predictions: Sequence[ImagePredictions]) -> Report:
    return evaluate(
        truth,
        predictions,
        max_detections=config.evaluation.max_detections,
        area_from=config.evaluation.area_from,
    )


def _of_set(
    truth: GroundTruth, predictions: Sequence[ImagePredictions], name: str
) -> tuple[GroundTruth, list[ImagePredictions]]:
    images = tuple(image for image in truth.images if image.image_id.startswith(f"{name}/"))
    ids = {image.image_id for image in images}
    return dataclasses.replace(truth, images=images), [p for p in predictions if p.image_id in ids]


def _metrics(
    config: PipelineConfig, gold: Gold, prints: Mapping[str, str], reports: Mapping[str, Report | None]
) -> dict[str, Any]:
    base, target = reports["base"], reports["target"]
    assert target is not None
    return {
        "reference": "gold" if gold.human else "base labels",
        "images": target.images,
        "instances": target.instances,
        "images_left_out": gold.left_out,
        "classes": list(gold.truth.classes.names),
        "max_detections": config.evaluation.max_detections,
        "score_floor": config.evaluation.score_floor,
        "base": None if base is None else base.to_dict(),
        "target": target.to_dict(),
        "recovery": None if base is None else recovery(base, target),
        "fingerprints": dict(prints),
        "versions": versions(),
    }


def _base_predictions(
    config: PipelineConfig, run: RunFolder, truth: GroundTruth, progress: bool
) -> list[ImagePredictions] | None:
    """What the base says of each gold image, refined but not thresholded; images it has not seen are labelled now. None
    of a base that answers by image, unless every gold image is one of the run's."""
    rows = _base_rows(config, run, truth, progress)
    unknown = [image.image_id for image in truth.images if image.image_id not in rows]
    if unknown and source_of(config).by_image:
        _log.warning(
            "The base %s is not scored: it has no answer to %d of %d gold images, such as %s.",
            config.base.name,
            len(unknown),
            len(truth.images),
            unknown[0],
        )
        return None
    classes = Classes.from_ontology(config.ontology)
    rules = config.refine.model_copy(update={"confidence": 0.0, "max_instances": None})
    floor = config.evaluation.score_floor
    predictions = []
    for image in truth.images:
        row = rows.get(image.image_id)
        if row is None:
            raise DataError(
                f"The base could not label the gold image {image.path}.", "See evaluation/labels/failures.jsonl."
            )
        found = refine(row.with_classes(classes), rules, classes).instances
        kept = tuple(instance for instance in found if instance.score >= floor)
        predictions.append(ImagePredictions(image.image_id, kept, row.seconds * 1000))
    return predictions


def _base_rows(config: PipelineConfig, run: RunFolder, truth: GroundTruth, progress: bool) -> dict[str, StoredLabels]:
    """The base's stored answer to each gold image by id: from the run's labels where its content is among them."""
    source = source_of(config)
    labelled = LabelStore(run.labels)
    by_content = {key.sha256: key for key in labelled.keys(source.provenance.fingerprint).values()}
    rows: dict[str, StoredLabels] = {}
    rest: list[tuple[Path, str]] = []
    for image in truth.images:
        key = by_content.get(file_sha256(image.path))
        if key is None:
            rest.append((image.path, image.image_id))
        else:
            rows[image.image_id] = labelled.read(key)
    # A gold image may be called as one of the run is: a base that answers by image would give it that one's answer.
    if rest and not source.by_image:
        label_images(source, rest, run.evaluation / "labels", progress=progress)
        extra = LabelStore(run.evaluation / "labels")
        names = {name for _, name in rest}
        keys = extra.keys(source.provenance.fingerprint)
        rows.update({name: extra.read(key) for name, key in keys.items() if name in names})
    return rows


def predict_gold(ask: Ask, truth: GroundTruth, *, progress: bool = True) -> list[ImagePredictions]:
    """What `ask` says of each gold image, with its time.

    The first image is asked about twice, so that none pays for warming up. Decoding is not timed.
    """
    from tqdm import tqdm

    predictions = []
    for at, image in enumerate(tqdm(truth.images, desc="Predicting", unit="image", disable=not progress)):
        pixels = open_rgb(image.path)
        if at == 0:
            ask(pixels)
        started = time.perf_counter()
        found, boxes = ask(pixels)
        took = (time.perf_counter() - started) * 1000
        predictions.append(
            ImagePredictions(image.image_id, tuple(found), took, None if boxes is None else tuple(boxes))
        )
    return predictions
