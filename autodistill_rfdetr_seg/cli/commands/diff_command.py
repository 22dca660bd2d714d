"""`autodistill-seg diff`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import RUN_FOLDER
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("run", metavar="RUN_A", help=RUN_FOLDER)
    parser.add_argument("other", metavar="RUN_B", help="the folder of another run, or an older copy of the same run")


def run(args: argparse.Namespace) -> int:
    """Shows how two datasets differ."""
    from ...review.compare_runs import compare
    from ...review.comparison_text import comparison_text

    found = compare(RunFolder(Path(args.run)), RunFolder(Path(args.other)), progress=not args.quiet)
    if args.json:
        print_json(found.as_json())
    else:
        print_text(comparison_text(found))
    return OK


COMMANDS = (
    Command(
        name="diff",
        summary="show the labels gained, lost and changed between the datasets of two runs",
        order=150,
        add_arguments=add_arguments,
        run=run,
    ),
)
