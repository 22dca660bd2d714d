"""`autodistill-seg evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config import EvaluationConfig, options, with_overrides
from ...core.errors import UsageError
from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..exit_codes import OK
from ..option_flags import EVALUATE_OPTIONS, TARGET_TILE_OPTIONS, add_options, overrides
from ..output import print_json, print_metrics, print_text

if TYPE_CHECKING:
    from ...evaluation import Report

# Groups of a run's configuration that `evaluate` does not read, though `--set` accepts them; and the exceptions.
_NOT_READ = ("inputs", "labeling", "split", "dataset", "target", "images", "output")
_READ = ("target.device",)
# Options that need a run: without one there are no training images, and no report.
_OF_A_RUN = {"look_alikes": "--look-alikes", "samples": "evaluation.samples"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("run", metavar="RUN|EXPORT", nargs="?", help="the folder of a run or an export")
    parser.add_argument("--predictions", metavar="FILE", help="score a COCO results file or predictions.json on --gold")
    add_options(parser, EVALUATE_OPTIONS + TARGET_TILE_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Scores a run's base and target, an export, or a file of predictions."""
    changes = overrides(args)
    if args.predictions:
        return _evaluate_file(args, changes)
    if args.run and (Path(args.run) / "export.json").is_file():
        return _evaluate_export(args, changes)
    if not args.run:
        raise UsageError(
            "There is nothing to evaluate.", "Give the folder of a run or an export, or --predictions with --gold."
        )
    return _evaluate_run(args, changes)


def _evaluate_run(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    from ...evaluation import check_gates
    from ...pipeline.runs import evaluate_again

    for key in changes:
        if key.split(".")[0] in _NOT_READ and key not in _READ:
            raise UsageError(
                f"`evaluate` does not read the option {key!r}.",
                "Give it to the command that reads it: build or train.",
            )
    run = RunFolder(Path(args.run))
    config = read_run_config(run, changes)
    metrics = evaluate_again(config, run, progress=not args.quiet)
    print_metrics(args, metrics, {"metrics": run.evaluation / "metrics.json"})
    check_gates(config.evaluation.all_gates, metrics)
    return OK


def _evaluate_file(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    from ...evaluation.model_scores import evaluate_predictions

    config = _evaluation_options(changes, "a file of predictions")
    if config.tiles is not None:
        raise UsageError("--tiles has no meaning for a file of predictions: nothing is predicted.", "Leave it out.")
    if args.run:
        raise UsageError("--predictions is scored without a run or an export.", f"Leave {args.run} out.")
    if len(config.gold) != 1:
        raise UsageError(
            f"A file of predictions is scored on exactly one --gold, not {len(config.gold)}.",
            "Its ids are those of one gold file: score each gold set with its own file.",
        )
    # The file's author chose what it contains: a default floor would drop some of it.
    floor = config.score_floor if "evaluation.score_floor" in changes else 0.0
    report = evaluate_predictions(
        Path(args.predictions),
        config.gold[0],
        score_floor=floor,
        max_detections=config.max_detections,
        area_from=config.area_from,
        crowds=config.crowds,
        replicates=config.replicates,
        errors=True,
        progress=not args.quiet,
    )
    return _print_reports(args, config, {"": report}, floor)


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
        tiles=config.tiles,
        overlap=config.overlap,
        replicates=config.replicates,
        progress=not args.quiet,
    )
    note = "It is not known whether the model was trained on the gold images: `evaluate RUN` checks that."
    return _print_reports(args, config, reports, config.score_floor, note)


def _evaluation_options(changes: Mapping[str, Any], what: str) -> EvaluationConfig:
    for key in changes:
        name = key.removeprefix("evaluation.")
        if name == key or name in _OF_A_RUN:
            raise UsageError(
                f"{_OF_A_RUN.get(name, key)} has no meaning for {what}: it needs a run.",
                "Leave it out, or give the folder of the run.",
            )
    keys = {key.removeprefix("evaluation."): value for key, value in changes.items()}
    config: EvaluationConfig = options(EvaluationConfig, with_overrides({}, keys), "the options")
    return config


def _print_reports(
    args: argparse.Namespace, config: EvaluationConfig, reports: Mapping[str, Report], floor: float, *notes: str
) -> int:
    """Prints the report on all images ("") and on each gold set, with further notes, then checks the gates."""
    from ...evaluation import check_gates
    from ...evaluation.score_tables import one_table

    data = reports[""].to_dict()
    data |= {"score_floor": floor, "notes": [*data["notes"], *notes]}
    sets = {name: report.to_dict() for name, report in reports.items() if name}
    if sets:
        data["sets"] = sets
    if args.json:
        print_json(data)
    else:
        print_text(one_table(data))
    check_gates(config.all_gates, data)
    return OK


COMMANDS = (
    Command(
        name="evaluate",
        summary="score base and target, an export, or a file of predictions against human annotations",
        order=70,
        add_arguments=add_arguments,
        run=run,
    ),
)
