"""`autodistill-seg pull-run`."""

from __future__ import annotations

import argparse

from ..command import Command
from ..common_arguments import RUN_FOLDER
from ..exit_codes import OK
from ..output import print_run_copy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("url", metavar="URL", help="where from: what was given to push-run")
    parser.add_argument("run", metavar="RUN", help=f"{RUN_FOLDER}, which is made")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in the folder")


def run(args: argparse.Namespace) -> int:
    """Copies a run from a bucket."""
    from ...pipeline.run_pull import pull_run

    print_run_copy(args, pull_run(args.url, args.run, overwrite=args.overwrite, progress=not args.quiet), args.run)
    return OK


COMMANDS = (
    Command(
        name="pull-run",
        summary="copy a run from a bucket into a folder, and check it",
        order=174,
        add_arguments=add_arguments,
        run=run,
    ),
)
