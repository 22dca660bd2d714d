"""`autodistill-seg demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_resume_or_overwrite
from ..output import print_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--output", metavar="RUN", default="runs/demo", help="folder of the run (default: %(default)s)")
    add_resume_or_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Makes images and runs the whole pipeline on them."""
    from ...pipeline.demo_run import run_demo

    folder = RunFolder(Path(args.output))
    result = run_demo(folder, resume=args.resume, overwrite=args.overwrite, progress=not args.quiet)
    return print_run(args, result)


COMMANDS = (
    Command(
        name="demo",
        summary="make images, label them, train a small target and evaluate it; no GPU, no download",
        order=10,
        add_arguments=add_arguments,
        run=run,
    ),
)
