"""`autodistill-seg plan`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.config import PLAN_IMAGES
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
        "--count",
        type=positive_integer,
        default=PLAN_IMAGES,
        metavar="N",
        help="images to sample (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Labels a sample and forecasts the rest."""
    from ...pipeline.labeling_plan import forecast_text
    from ...pipeline.runs import plan_labeling

    forecast = plan_labeling(
        labeling_config(args),
        RunFolder(Path(args.output)),
        args.count,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    if args.json:
        print_json(forecast.as_json())
    else:
        print_text(forecast_text(forecast))
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
