"""`autodistill-seg plan`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.run_folder import RunFolder
from ..command import Command
from ..exit_codes import OK
from ..labeling_arguments import add_labeling_arguments, labeling_config
from ..option_values import positive_integer
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_labeling_arguments(parser)
    parser.add_argument(
        "--count", type=positive_integer, default=20, metavar="N", help="images to sample (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Labels a sample and forecasts the whole."""
    import time

    from ...labels.base_source import source_of
    from ...pipeline.labeling_plan import forecast_text, plan
    from ...pipeline.runs import prepare
    from ...pipeline.stages import find_inputs

    config = labeling_config(args)
    config = config.model_copy(update={"labeling": config.labeling.model_copy(update={"share": None})})
    run = RunFolder(Path(args.output))
    with prepare(config, run, source_of(config), resume=args.resume, overwrite=args.overwrite) as source:
        # Before the images are searched: the frames of a video are extracted now, and not again by the run.
        begun = time.process_time()
        found = find_inputs(config, run, progress=not args.quiet)
        result = plan(config, found.items, source, run.root, args.count, begun=begun, progress=not args.quiet)
    if args.json:
        print_json(result.as_json())
    else:
        print_text(forecast_text(result))
    return OK


COMMANDS = (
    Command(
        name="plan",
        summary="label a sample and forecast time, memory, disk space and number of labels for all images",
        order=30,
        add_arguments=add_arguments,
        run=run,
    ),
)
