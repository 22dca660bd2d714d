"""From a dataset to a model and its scores, and whole runs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config import PipelineConfig, TargetConfig, options
from ...core.errors import UsageError
from ...dataset.dataset_index import read_dataset
from ...labels.base_source import source_of
from ...pipeline.runs import check_gates, prepare, run_stages, with_ontology
from ...pipeline.stages import check_training, gaps_of, train_stage, train_target
from ...system.config_files import load, save_run_config
from ...system.run_folder import RunFolder
from .saying import OK, SOME_FAILED, say, say_json, say_metrics
from .settings import nested, of_run

if TYPE_CHECKING:
    from ...targets import Preflight

_log = logging.getLogger(__name__)


def train(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Trains on a run's dataset, or on any dataset."""
    source = Path(args.dataset)
    if "target.preset" in changes and {"target.batch_size", "target.grad_accum_steps"} & changes.keys():
        raise UsageError("--preset chooses --batch-size and --grad-accum-steps: give one of the two.")
    if (source / "pipeline.yaml").is_file():
        if args.output:
            raise UsageError("A run's checkpoint goes into the run's folder; --output is for a dataset.")
        run = RunFolder(source)
        config = of_run(run, changes)
        if args.dry_run:
            found = check_training(
                config.target,
                read_dataset(run.dataset),
                run.training,
                max_megapixels=config.inputs.max_megapixels,
                progress=not args.quiet,
            )
            return _say_preflight(args, found)

        def save() -> None:
            save_run_config(run, config)

        result, worked = train_stage(config, run, overwrite=args.overwrite, begun=save, progress=not args.quiet)
        if not worked:
            save()
            _log.info("train: the checkpoint is there, from the same dataset and options (nothing to do)")
    else:
        keys = {key.removeprefix("target."): value for key, value in changes.items()}
        target = options(TargetConfig, nested(keys), "the options")
        output = Path(args.output) if args.output else None
        if args.dry_run:
            return _say_preflight(args, check_training(target, source, output, progress=not args.quiet))
        result = train_target(
            target, source, output, resume=args.resume, overwrite=args.overwrite, progress=not args.quiet
        )
    if args.json:
        say_json({"checkpoint": str(result.checkpoint), "checkpoint_sha256": result.checkpoint_sha256})
    else:
        say(f"checkpoint  {result.checkpoint}")
    return OK


def _say_preflight(args: argparse.Namespace, found: Preflight) -> int:
    if args.json:
        say_json(found.as_json())
    else:
        say(found.as_table())
    return 1 if found.errors else OK


def run(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Runs a whole pipeline."""
    config = with_ontology(load(Path(args.config), changes))
    output = args.output or config.output
    if output is None:
        raise UsageError("There is no output folder.", "Give --output RUN, or `output:` in the pipeline.")
    return _run_config(args, config, RunFolder(Path(output)))


def demo(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Makes images and runs the whole pipeline on them."""
    from ...pipeline.demo import pipeline, write_scenes
    from ...system.files import check_output
    from ...system.locks import locked

    folder = RunFolder(Path(args.output))
    scenes = folder.root / "scenes"
    check_output(folder.root, resume=args.resume, overwrite=args.overwrite)
    # The scenes are not drawn under the hands of another process that labels them.
    with locked(folder.labels, lend=True):
        if not args.resume or not scenes.is_dir():
            write_scenes(scenes)
        return _run_config(args, pipeline(scenes), folder, claimed=True)


def _run_config(args: argparse.Namespace, config: PipelineConfig, folder: RunFolder, *, claimed: bool = False) -> int:
    from ...labels.labeler import read_failures
    from ...system.files import read_json

    resume = args.resume or claimed
    with prepare(config, folder, source_of(config), resume=resume, overwrite=args.overwrite) as source:
        for result in run_stages(config, folder, source, progress=not args.quiet):
            _log.info("%s", result)
    metrics = read_json(folder.evaluation / "metrics.json")
    places = {"report": folder.report, "metrics": folder.evaluation / "metrics.json", "picture": folder.picture}
    say_metrics(args, metrics, {**places, "checkpoint": folder.training / "checkpoint_best_total.pth"})
    check_gates(config, metrics)
    return SOME_FAILED if read_failures(folder.labels) or gaps_of(config, folder) else OK
