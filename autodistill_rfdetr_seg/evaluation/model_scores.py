"""The evaluation stage: base and target against the same human gold set, on images the target has never seen.

Without a gold set the target is held against the base's labels of the test split; the files then say `base labels`, as
that measures agreement, not truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from .. import coco
from ..core.config import MAX_MEGAPIXELS, EvaluationConfig, PipelineConfig
from ..core.types import Classes, GroundTruth, ImagePredictions
from ..labels.base_source import BaseSource, source_of
from ..readers import read_gold as read_one
from ..system.files import fingerprint, read_json, write_json
from ..system.run_folder import RunFolder
from ..system.versions import versions
from . import Report, evaluate, recovery
from . import gold_look_alikes as look_alikes
from .gold_coverage import Coverage, sentences
from .gold_predictions import base_predictions, base_predictor, predict_gold, target_predictor
from .gold_sets import Gold, check_gate_names, in_classes, named_sets, predictions_for, read_gold

__all__ = ["Gold", "evaluate_model", "evaluate_model_on_sets", "evaluate_predictions", "evaluate_stage", "read_gold"]

_DEFAULTS = EvaluationConfig()


def evaluate_stage(config: PipelineConfig, run: RunFolder, *, progress: bool = True) -> tuple[dict[str, Any], bool]:
    """Scores base and target; the second value tells whether there was something to do.

    Writes `evaluation/metrics.json`, `details.json` (curves, per image) and the predictions as COCO results, with the
    ids of the gold set's file: one file a model, and where there are several gold sets one a model and set.
    """
    from ..targets import RFDETRSeg, read_run

    gold = read_gold(config, run)
    check_gate_names(config, gold.truth.classes)
    trained = read_run(run.training)
    source = source_of(config)
    options = config.evaluation.model_dump(mode="json", exclude={"gold", "samples", "gates"})
    prints = {
        "gold": gold.truth.fingerprint,
        "dataset": trained.dataset_fingerprint,
        "base": source.provenance.fingerprint,
        "checkpoint_sha256": trained.checkpoint_sha256,
    }
    known = [gold.human, gold.whole.truth.fingerprint, gold.ids_fingerprint]
    held_out = None if gold.held_out is None else gold.held_out.to_dict()
    inputs = fingerprint(prints, options, config.refine.model_dump(mode="json"), known, held_out)
    written = run.evaluation / "metrics.json"
    if written.is_file() and read_json(written).get("inputs") == inputs:
        return read_json(written), False
    run.evaluation.mkdir(parents=True, exist_ok=True)
    base = base_predictions(config, run, gold.whole.truth, progress) if gold.human else None
    model = RFDETRSeg.from_checkpoint(trained.checkpoint, device=config.target.device)
    ask = target_predictor(model, config.evaluation.score_floor, len(gold.truth.classes.names))
    target = predict_gold(ask, gold.whole.truth, max_megapixels=config.inputs.max_megapixels, progress=progress)
    found = {"base": base, "target": target}
    metrics, details = _scores(config, gold, found)
    metrics |= {"fingerprints": prints, "versions": versions(), "inputs": inputs}
    _write_predictions(run, gold, found)
    write_json(run.evaluation / "details.json", details)
    write_json(written, metrics)
    return metrics, True


def results_files(run: RunFolder, gold: Gold, who: str) -> dict[str, Path]:
    """Where the predictions of `base` or `target` lie, by gold set."""
    several = len(gold.sets) > 1
    return {name: run.evaluation / (f"{who}-{name}.json" if several else f"{who}.json") for name in gold.sets}


def _write_predictions(run: RunFolder, gold: Gold, found: Mapping[str, Sequence[ImagePredictions] | None]) -> None:
    for who, predictions in found.items():
        files = {} if predictions is None else results_files(run, gold, who)
        for name, path in files.items():
            part = gold.whole.parts[name]
            coco.write_results(path, predictions_for(part, predictions or ()), part)
        # Of an earlier evaluation there may be files of other sets, whose ids mean nothing here.
        for old in run.evaluation.glob(f"{who}*.json"):
            if old not in files.values():
                old.unlink()


def _scores(
    config: PipelineConfig, gold: Gold, found: Mapping[str, Sequence[ImagePredictions] | None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What metrics.json says of the scores, and what details.json does."""
    reports = {who: _score(config, gold.truth, some, gold.scored.match) for who, some in found.items()}
    whole = reports
    if gold.whole is not gold.scored:
        whole = {who: _score(config, gold.whole.truth, some, gold.whole.match) for who, some in found.items()}
    target = reports["target"]
    assert target is not None and whole["target"] is not None
    notes = sentences(Coverage(**target.coverage), "gold" if gold.human else "test")
    if gold.held_out is not None:
        notes = (*look_alikes.sentences(gold.held_out, whole["target"].mask["ap"]), *notes)
    metrics: dict[str, Any] = {
        "reference": "gold" if gold.human else "base labels",
        "images": target.images,
        "instances": target.instances,
        "images_left_out": gold.left_out,
        "held_out": None if gold.held_out is None else gold.held_out.to_dict(),
        "notes": list(notes),
        "classes": list(gold.truth.classes.names),
        "max_detections": config.evaluation.max_detections,
        "score_floor": config.evaluation.score_floor,
        **_side_by_side(reports),
    }
    if gold.human:
        metrics["all"] = {
            "images": whole["target"].images,
            "instances": whole["target"].instances,
            **_side_by_side(whole),
        }
    if len(gold.sets) > 1:
        sets = {
            name: {who: _score(config, part, some, gold.scored.matches[name]) for who, some in found.items()}
            for name, part in gold.scored.parts.items()
        }
        metrics["sets"] = {
            name: {who: report and report.to_dict() for who, report in scores.items()} for name, scores in sets.items()
        }
    return metrics, {who: None if report is None else report.details for who, report in reports.items()}


def _side_by_side(reports: Mapping[str, Report | None]) -> dict[str, Any]:
    base, target = reports["base"], reports["target"]
    assert target is not None
    return {
        "base": None if base is None else base.to_dict(),
        "target": target.to_dict(),
        "recovery": None if base is None else recovery(base, target),
    }


def _score(
    config: PipelineConfig,
    truth: GroundTruth,
    predictions: Sequence[ImagePredictions] | None,
    match: coco.ClassMatch,
) -> Report | None:
    """The report; None where there are no predictions, or none of the set's images counts."""
    if predictions is None or not truth.images:
        return None
    return evaluate(
        truth,
        predictions_for(truth, predictions),
        max_detections=config.evaluation.max_detections,
        area_from=config.evaluation.area_from,
        crowds=config.evaluation.crowds,
        class_match=match,
    )


def evaluate_model(
    model: Any,
    gold: GroundTruth | str | Path,
    *,
    score_floor: float = _DEFAULTS.score_floor,
    max_detections: int = _DEFAULTS.max_detections,
    area_from: Literal["file", "mask"] = _DEFAULTS.area_from,
    crowds: Literal["ignore", "objects"] = _DEFAULTS.crowds,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> Report:
    """Scores a model on a gold set (or the COCO file or folder that holds it): a target (`RFDETRSeg`), or any base.

    Classes are matched by name; the report's `notes` say what of the gold set that leaves out. Instances that score
    less than `score_floor` do not count. An image of more than `max_megapixels` million pixels is refused. Whether the
    model has seen the images is not known here: `evaluate_stage` knows it of a run.

    Raises:
        MissingInputError, DataError: the gold set is missing, wrong, or shares no class with the model.
    """
    truth = gold if isinstance(gold, GroundTruth) else read_one(gold, images="checked", max_megapixels=max_megapixels)
    rules = {"max_detections": max_detections, "area_from": area_from, "crowds": crowds}
    return _on_sets(model, {"gold": truth}, score_floor, rules, max_megapixels, progress)[""]


def evaluate_model_on_sets(
    model: Any,
    gold: Sequence[str | Path],
    *,
    score_floor: float = _DEFAULTS.score_floor,
    max_detections: int = _DEFAULTS.max_detections,
    area_from: Literal["file", "mask"] = _DEFAULTS.area_from,
    crowds: Literal["ignore", "objects"] = _DEFAULTS.crowds,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> dict[str, Report]:
    """As `evaluate_model` on one gold set or several: the report of all of them under "", and of several each by name.

    Raises:
        MissingInputError, DataError: as `evaluate_model`.
    """
    rules = {"max_detections": max_detections, "area_from": area_from, "crowds": crowds}
    return _on_sets(model, named_sets(gold, max_megapixels), score_floor, rules, max_megapixels, progress)


def _on_sets(
    model: Any,
    sets: Mapping[str, GroundTruth],
    score_floor: float,
    rules: Mapping[str, Any],
    max_megapixels: float,
    progress: bool,
) -> dict[str, Report]:
    names = getattr(model, "class_names", None)
    if names is not None:
        classes, ask = Classes(tuple(names)), target_predictor(model, score_floor, len(names))
    else:
        source = BaseSource.from_model(model)
        classes, ask = source.classes, base_predictor(source)
    gold = in_classes(sets, classes)
    answers = predict_gold(ask, gold.truth, max_megapixels=max_megapixels, progress=progress)
    found = [_from_floor(one, score_floor) for one in answers]
    reports = {"": evaluate(gold.truth, found, class_match=gold.match, **rules)}
    if len(gold.parts) > 1:
        for name, part in gold.parts.items():
            reports[name] = evaluate(part, predictions_for(part, found), class_match=gold.matches[name], **rules)
    return reports


def evaluate_predictions(
    predictions: str | Path,
    gold: GroundTruth | str | Path,
    *,
    score_floor: float = 0.0,
    max_detections: int = _DEFAULTS.max_detections,
    area_from: Literal["file", "mask"] = _DEFAULTS.area_from,
    crowds: Literal["ignore", "objects"] = _DEFAULTS.crowds,
) -> Report:
    """Scores a file of predictions (COCO results, or what `predict --output` writes) on the gold set that it is of.

    Predictions that score less than `score_floor` do not count. What is read how: `coco.read_results`.

    Raises:
        MissingInputError, DataError: a file is missing or wrong, or the two do not belong together.
    """
    truth = gold if isinstance(gold, GroundTruth) else read_one(gold, images="ignored")
    found = [_from_floor(one, score_floor) for one in coco.read_results(predictions, truth)]
    return evaluate(truth, found, max_detections=max_detections, area_from=area_from, crowds=crowds)


def _from_floor(prediction: ImagePredictions, floor: float) -> ImagePredictions:
    kept = [at for at, instance in enumerate(prediction.instances) if instance.score >= floor]
    boxes = prediction.boxes_xywh
    return ImagePredictions(
        prediction.image_id,
        tuple(prediction.instances[at] for at in kept),
        prediction.milliseconds,
        None if boxes is None else tuple(boxes[at] for at in kept),
    )
