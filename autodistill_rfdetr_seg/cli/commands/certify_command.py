"""`autodistill-seg certify`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.config import CERTIFY_CHECKS, MOST_MISSED
from ...core.errors import UsageError
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    draw = parser.add_argument_group("without --answers: draw the checks")
    draw.add_argument("--checks", type=int, metavar="N", help=f"checks to draw (default: {CERTIFY_CHECKS})")
    draw.add_argument(
        "--regions",
        type=int,
        metavar="N",
        help="how many of the checks are image regions, in which missed objects are counted (default: half)",
    )
    draw.add_argument("--seed", type=int, metavar="N", help="another seed draws other checks (default: 0)")
    draw.add_argument("--overwrite", action="store_true", help="draw other checks in place of those drawn before")
    answer = parser.add_argument_group("with answers: print the bounds")
    answer.add_argument(
        "--answers",
        metavar="SOURCE",
        help="the answers.json of the page, or the corrected images of the checks as COCO or YOLO",
    )
    answer.add_argument(
        "--most-missed",
        type=float,
        metavar="X",
        help="assume that no region has more than X missed objects for each label and X more "
        f"(default: {MOST_MISSED:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Draws checks, or prints the bounds that follow from the answers to them."""
    folder = RunFolder(Path(args.run))
    return _draw(args, folder) if args.answers is None else _answer(args, folder)


def _draw(args: argparse.Namespace, folder: RunFolder) -> int:
    from ...review.certification_checks import CheckOptions, draw_checks

    if args.most_missed is not None:
        raise UsageError("--most-missed says nothing without --answers.", "Give it when the checks are answered.")
    given = {"checks": args.checks, "regions": args.regions, "seed": args.seed}
    options = CheckOptions(**{name: value for name, value in given.items() if value is not None})
    checks = draw_checks(folder, options, overwrite=args.overwrite, progress=not args.quiet)
    if args.json:
        print_json(checks.as_json())
    else:
        print_text(checks.as_text())
    return OK


def _answer(args: argparse.Namespace, folder: RunFolder) -> int:
    from ...review.certification import certificate_text, certify

    if args.overwrite or any(value is not None for value in (args.checks, args.regions, args.seed)):
        raise UsageError(
            "With --answers no checks are drawn: --checks, --regions, --seed and --overwrite say nothing.",
            "Leave them out; the answers belong to the checks that were drawn.",
        )
    found = certify(folder, Path(args.answers), MOST_MISSED if args.most_missed is None else args.most_missed)
    if args.json:
        print_json(found.as_json())
    else:
        print_text(certificate_text(found))
    return OK


COMMANDS = (
    Command(
        name="certify",
        summary="bound how many labels of a run are right and how many objects were missed, from a few checks",
        order=136,
        add_arguments=add_arguments,
        run=run,
    ),
)
