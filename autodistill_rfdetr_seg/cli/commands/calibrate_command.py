"""`autodistill-seg calibrate`."""

from __future__ import annotations

import argparse

from ...core.config import TARGET_PRECISION
from ...core.errors import GateError
from ...core.plain_text import counted
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK
from ..gold_arguments import add_gold_arguments
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    add_gold_arguments(parser)
    parser.add_argument(
        "--target-precision",
        type=float,
        default=TARGET_PRECISION,
        metavar="X",
        help="fraction of right labels to promise for each class (default: %(default)s)",
    )
    parser.add_argument(
        "--drop-failing",
        action="store_true",
        help="give classes without a promise the threshold 1; otherwise they keep theirs",
    )


def run(args: argparse.Namespace) -> int:
    """Chooses and saves the thresholds; ends with exit code 5 if a class that is kept has no promise."""
    from ...evaluation.calibration_text import calibration_text
    from ...pipeline.run_calibration import calibrate

    done = calibrate(
        args.run,
        args.gold,
        target_precision=args.target_precision,
        drop_failing=args.drop_failing,
        crowds=args.crowds,
        save=not args.dry_run,
        progress=not args.quiet,
    )
    found = done.calibration
    if args.json:
        print_json({**found.as_json(), "not_droppable": done.not_droppable, "saved": not args.dry_run})
    else:
        print_text(calibration_text(found))
        for name, count in done.not_droppable.items():
            print_text(f"{counted(count, 'label')} of {name!r} with score 1 cannot be dropped by a threshold")
        print_text("not saved" if args.dry_run else f"saved; next: autodistill-seg build {args.run}")
    if found.failing and not args.drop_failing:
        raise GateError(
            f"No precision of {found.target:g} can be promised for {', '.join(map(repr, found.failing))}.",
            "--drop-failing drops the labels of these classes.",
        )
    return OK


COMMANDS = (
    Command(
        name="calibrate",
        summary="choose each class's confidence threshold for a label precision that is kept",
        order=132,
        add_arguments=add_arguments,
        run=run,
    ),
)
