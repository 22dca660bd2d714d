"""`autodistill-seg review`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_count_argument, add_run_argument
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    add_count_argument(parser)
    parser.add_argument(
        "--order",
        choices=("scores", "audit"),
        default="scores",
        help="by score and stability, or by the run's last audit (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Sorts labels by what to check first."""
    from ...review.review_order import review, review_text

    found = review(RunFolder(Path(args.run)), args.count, args.order, progress=not args.quiet)
    if args.json:
        print_json(found.as_json())
    else:
        print_text(review_text(found))
    return OK


COMMANDS = (
    Command(
        name="review",
        summary="sort the labels of a run by what to check first, and show the first ones",
        order=130,
        add_arguments=add_arguments,
        run=run,
    ),
)
