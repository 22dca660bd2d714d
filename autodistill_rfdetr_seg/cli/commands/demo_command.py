"""`autodistill-seg demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_resume_or_overwrite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--output", metavar="RUN", default="runs/demo", help="folder of the run (default: %(default)s)")
    add_resume_or_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Makes images and runs the whole pipeline on them."""
    from ...pipeline.demo import pipeline, write_scenes
    from ...system.files import check_output
    from ...system.locks import locked
    from .run_command import run_config

    folder = RunFolder(Path(args.output))
    scenes = folder.root / "scenes"
    check_output(folder.root, resume=args.resume, overwrite=args.overwrite)
    # No other process may label the scenes while they are drawn.
    with locked(folder.labels, lend=True):
        if not args.resume or not scenes.is_dir():
            write_scenes(scenes)
        return run_config(args, pipeline(scenes), folder, claimed=True)


COMMANDS = (
    Command(
        name="demo",
        summary="make images, label them, train a small target and evaluate it; no GPU, no download",
        order=10,
        add_arguments=add_arguments,
        run=run,
    ),
)
