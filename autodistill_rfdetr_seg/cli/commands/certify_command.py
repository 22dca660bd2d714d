"""`autodistill-seg certify`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.config import CERTIFY_CHECKS, MOST_MISSED
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument(
        "--checks", type=int, default=CERTIFY_CHECKS, metavar="N", help="checks to draw (default: %(default)s)"
    )
    parser.add_argument(
        "--regions",
        type=int,
        metavar="N",
        help="how many of the checks are image regions, in which missed objects are counted (default: half)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other checks (default: %(default)s)")
    parser.add_argument(
        "--most-missed",
        type=float,
        default=MOST_MISSED,
        metavar="X",
        help="assume that no region has more than X missed objects for each label and X more (default: %(default)s)",
    )
    parser.add_argument(
        "--answers",
        metavar="SOURCE",
        help="the answers.json of the page, or the corrected images of the checks as COCO or YOLO; prints the bounds",
    )
    parser.add_argument("--overwrite", action="store_true", help="draw other checks in place of those drawn before")


def run(args: argparse.Namespace) -> int:
    """Draws checks, or prints the bounds that follow from the answers to them."""
    from ...review.certification import certificate_text, certify
    from ...review.certification_checks import CheckOptions, draw_checks

    folder = RunFolder(Path(args.run))
    if args.answers is not None:
        found = certify(folder, Path(args.answers))
        if args.json:
            print_json(found.as_json())
        else:
            print_text(certificate_text(found))
        return OK
    options = CheckOptions(args.checks, args.regions, args.seed, args.most_missed)
    checks = draw_checks(folder, options, overwrite=args.overwrite, progress=not args.quiet)
    if args.json:
        print_json(checks.as_json())
    else:
        print_text(checks.as_text())
    return OK


COMMANDS = (
    Command(
        name="certify",
        summary="bound how many labels of a run are right and how many objects were missed, from a few checks",
        order=135,
        add_arguments=add_arguments,
        run=run,
    ),
)
