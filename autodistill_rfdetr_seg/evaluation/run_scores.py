"""The scores of the base and the target of a run on its gold sets, and the files of their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import coco
from ..core.config import PipelineConfig
from ..core.types import GroundTruth, ImagePredictions
from ..system.run_folder import RunFolder
from . import Report, evaluate, recovery
from . import gold_look_alikes as look_alikes
from .comparison_sentence import comparison_sentence
from .gold_coverage import Coverage, sentences
from .gold_sets import Gold, predictions_for
from .intervals import compare, comparison_dict
from .training_distance import distance_sentences, distance_table


def results_files(run: RunFolder, gold: Gold, who: str) -> dict[str, Path]:
    """The files with the predictions of `base` or `target`, by gold set."""
    several = len(gold.sets) > 1
    return {name: run.evaluation / (f"{who}-{name}.json" if several else f"{who}.json") for name in gold.sets}


def write_predictions(run: RunFolder, gold: Gold, found: Mapping[str, Sequence[ImagePredictions] | None]) -> None:
    """Writes the predictions of each model as COCO results, and removes those of an earlier evaluation."""
    for who, predictions in found.items():
        files = {} if predictions is None else results_files(run, gold, who)
        for name, path in files.items():
            part = gold.whole.parts[name]
            coco.write_results(path, predictions_for(part, predictions or ()), part)
        # An earlier evaluation may have had other gold sets, whose ids have no meaning here.
        for old in run.evaluation.glob(f"{who}*.json"):
            if old not in files.values():
                old.unlink()


def score_models(
    config: PipelineConfig,
    gold: Gold,
    found: Mapping[str, Sequence[ImagePredictions] | None],
    progress: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores for metrics.json, and the content of details.json."""

    # The report shows the errors of the images that the scores are computed on alone.
    def score(truth: GroundTruth, match: coco.ClassMatch, errors: bool = False) -> dict[str, Report | None]:
        return {who: _score(config, truth, one, match, gold.groups.of, errors, progress) for who, one in found.items()}

    reports = score(gold.truth, gold.scored.match, errors=True)
    whole = reports if gold.whole is gold.scored else score(gold.whole.truth, gold.whole.match)
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
    distances = distance_table(gold.truth, gold.nearest, reports)
    metrics["training_distance"] = distances
    metrics["notes"] += distance_sentences(distances, gold.groups.one_view)
    if gold.human:
        metrics["all"] = {
            "images": whole["target"].images,
            "instances": whole["target"].instances,
            **_side_by_side(whole),
        }
    if len(gold.sets) > 1:
        sets = {name: score(part, gold.scored.matches[name]) for name, part in gold.scored.parts.items()}
        metrics["sets"] = {
            name: {who: report and report.to_dict() for who, report in scores.items()} for name, scores in sets.items()
        }
    details: dict[str, Any] = {who: None if one is None else one.details for who, one in reports.items()}
    details["nearest"] = {name: {"like": one.like, "bits": one.bits} for name, one in gold.nearest.items()}
    return metrics, details


def _side_by_side(reports: Mapping[str, Report | None]) -> dict[str, Any]:
    base, target = reports["base"], reports["target"]
    assert target is not None
    compared = None
    if base is not None and base.resampled is not None and target.resampled is not None:
        compared = compare(base.resampled, target.resampled, target.images, target.instances)
    return {
        "base": None if base is None else base.to_dict(),
        "target": target.to_dict(),
        "recovery": None if base is None else recovery(base, target),
        "intervals": comparison_dict(compared),
        "comparison": None if compared is None else comparison_sentence(compared),
    }


def _score(
    config: PipelineConfig,
    truth: GroundTruth,
    predictions: Sequence[ImagePredictions] | None,
    match: coco.ClassMatch,
    groups: Mapping[str, str],
    errors: bool,
    progress: bool,
) -> Report | None:
    """The report; None if there are no predictions, or if every image of the set was left out."""
    if predictions is None or not truth.images:
        return None
    return evaluate(
        truth,
        predictions_for(truth, predictions),
        max_detections=config.evaluation.max_detections,
        area_from=config.evaluation.area_from,
        crowds=config.evaluation.crowds,
        class_match=match,
        intervals=config.evaluation.replicates != 0,
        groups=groups,
        replicates=config.evaluation.replicates,
        errors=errors,
        progress=progress,
    )
