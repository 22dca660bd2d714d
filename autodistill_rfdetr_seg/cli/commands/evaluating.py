"""Scores of a run, of an exported model, or of a file of predictions."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.config import EvaluationConfig, options
from ...core.errors import UsageError
from ...evaluation import Report, check_gates
from ...evaluation.score_tables import one_table
from ...system.config_files import save_run_config
from ...system.run_folder import RunFolder
from .saying import OK, say, say_json, say_metrics
from .settings import nested, of_run

_log = logging.getLogger(__name__)

# What `evaluate` does not read of a run's configuration, though `--set` knows it.
_NOT_READ = ("inputs", "labeling", "split", "dataset", "target", "images", "output")
_READ = ("target.device",)
# Of a run alone: without one there are no training images, and no report.
_OF_A_RUN = {"look_alikes": "--look-alikes", "samples": "evaluation.samples"}


def evaluate(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Scores a run's base and target, an export, or a file of predictions."""
    if args.predictions:
        return _evaluate_file(args, changes)
    if args.run and (Path(args.run) / "export.json").is_file():
        return _evaluate_export(args, changes)
    if not args.run:
        raise UsageError(
            "There is nothing to evaluate.", "Give the folder of a run or an export, or --predictions with --gold."
        )
    from ...evaluation.model_scores import evaluate_stage

    for key in changes:
        if key.split(".")[0] in _NOT_READ and key not in _READ:
            raise UsageError(
                f"`evaluate` does not read the option {key!r}.", "Give it to the command of its stage: build or train."
            )
    run = RunFolder(Path(args.run))
    config = of_run(run, changes)
    metrics, worked = evaluate_stage(config, run, progress=not args.quiet)
    save_run_config(run, config)
    if not worked:
        _log.info("evaluate: the same checkpoint has been scored on the same images (nothing to do)")
    say_metrics(args, metrics, {"metrics": run.evaluation / "metrics.json"})
    check_gates(config.evaluation.gates, metrics)
    return OK


def _evaluate_file(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    from ...evaluation.model_scores import evaluate_predictions

    config = _evaluation_options(changes, "a file of predictions")
    if args.run:
        raise UsageError("--predictions is scored without a run or an export.", f"Leave {args.run} out.")
    if len(config.gold) != 1:
        raise UsageError(
            f"A file of predictions is scored on exactly one --gold, not {len(config.gold)}.",
            "Its ids are those of one gold file: score each gold set with its own file.",
        )
    # The file holds what its maker kept: a floor that nobody asked for would drop some of it.
    floor = config.score_floor if "evaluation.score_floor" in changes else 0.0
    report = evaluate_predictions(
        Path(args.predictions),
        config.gold[0],
        score_floor=floor,
        max_detections=config.max_detections,
        area_from=config.area_from,
        crowds=config.crowds,
    )
    return _say_reports(args, config, {"": report}, floor)


def _evaluate_export(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    from ...evaluation.model_scores import evaluate_model_on_sets
    from ...targets import load_artifact

    config = _evaluation_options(changes, "an export")
    if not config.gold:
        raise UsageError("An export is scored on a gold set, and none is given.", "Give --gold COCO.json.")
    reports = evaluate_model_on_sets(
        load_artifact(Path(args.run)),
        config.gold,
        score_floor=config.score_floor,
        max_detections=config.max_detections,
        area_from=config.area_from,
        crowds=config.crowds,
        progress=not args.quiet,
    )
    unknown = "Whether the export's model has seen the gold images is not known here: `evaluate RUN` looks for that."
    return _say_reports(args, config, reports, config.score_floor, unknown)


def _evaluation_options(changes: Mapping[str, Any], what: str) -> EvaluationConfig:
    for key in changes:
        name = key.removeprefix("evaluation.")
        if name == key or name in _OF_A_RUN:
            raise UsageError(
                f"{_OF_A_RUN.get(name, key)} has no meaning for {what}: it is for a run.",
                "Leave it out, or give the run's folder.",
            )
    keys = {key.removeprefix("evaluation."): value for key, value in changes.items()}
    config: EvaluationConfig = options(EvaluationConfig, nested(keys), "the options")
    return config


def _say_reports(
    args: argparse.Namespace, config: EvaluationConfig, reports: Mapping[str, Report], floor: float, *notes: str
) -> int:
    """Prints the report of all ("") and of each gold set, with further notes, then looks at the gates."""
    data = reports[""].to_dict()
    data |= {"score_floor": floor, "notes": [*data["notes"], *notes]}
    sets = {name: report.to_dict() for name, report in reports.items() if name}
    if sets:
        data["sets"] = sets
    if args.json:
        say_json(data)
    else:
        say(one_table(data))
    check_gates(config.gates, data)
    return OK
