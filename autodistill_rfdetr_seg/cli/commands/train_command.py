"""`autodistill-seg train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.config import TargetConfig, options, with_overrides
from ...core.errors import UsageError
from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_resume_or_overwrite
from ..exit_codes import FAILED, OK
from ..option_flags import TRAIN_OPTIONS, add_options, overrides
from ..output import print_json, print_text

if TYPE_CHECKING:
    from ...targets import Preflight


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("dataset", metavar="RUN|DATASET", help="the folder of a run or dataset, or a data.yaml")
    parser.add_argument("--output", metavar="FOLDER", help="where the checkpoint is written; only for a dataset")
    parser.add_argument("--dry-run", action="store_true", help="print what preflight finds, and stop")
    add_resume_or_overwrite(parser)
    add_options(parser, TRAIN_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Trains on a run's dataset, or on any dataset."""
    from ...dataset.dataset_index import read_dataset
    from ...pipeline.runs import train_again
    from ...pipeline.target_training import check_training, train_target

    source, changes = Path(args.dataset), overrides(args)
    if "target.preset" in changes and {"target.batch_size", "target.grad_accum_steps"} & changes.keys():
        raise UsageError("--preset sets --batch-size and --grad-accum-steps: give only one of the two.")
    if (source / "pipeline.yaml").is_file():
        if args.output:
            raise UsageError("The checkpoint of a run is written to the run's folder.", "Leave --output out.")
        run = RunFolder(source)
        config = read_run_config(run, changes)
        if args.dry_run:
            found = check_training(
                config.target,
                read_dataset(run.dataset),
                run.training,
                max_megapixels=config.inputs.max_megapixels,
                progress=not args.quiet,
            )
            return _print_preflight(args, found)
        result = train_again(config, run, overwrite=args.overwrite, progress=not args.quiet)
    else:
        keys = {key.removeprefix("target."): value for key, value in changes.items()}
        target = options(TargetConfig, with_overrides({}, keys), "the options")
        output = Path(args.output) if args.output else None
        if args.dry_run:
            return _print_preflight(args, check_training(target, source, output, progress=not args.quiet))
        result = train_target(
            target, source, output, resume=args.resume, overwrite=args.overwrite, progress=not args.quiet
        )
    if args.json:
        print_json({"checkpoint": str(result.checkpoint), "checkpoint_sha256": result.checkpoint_sha256})
    else:
        print_text(f"checkpoint  {result.checkpoint}")
    return OK


def _print_preflight(args: argparse.Namespace, found: Preflight) -> int:
    if args.json:
        print_json(found.as_json())
    else:
        print_text(found.as_table())
    return FAILED if found.errors else OK


COMMANDS = (
    Command(
        name="train",
        summary="train the target on the dataset of a run, or on any COCO-seg or YOLO-seg dataset",
        order=60,
        add_arguments=add_arguments,
        run=run,
    ),
)
