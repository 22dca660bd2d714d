"""`autodistill-seg validate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..command import Command
from ..common_arguments import ANNOTATED_SOURCE
from ..exit_codes import FAILED, OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("dataset", metavar="SOURCE", help=ANNOTATED_SOURCE)
    parser.add_argument("--all", action="store_true", help="list every problem on its own line")


def run(args: argparse.Namespace) -> int:
    """Lists every problem of annotated images."""
    from ...readers import problem_row, read_source, summary_text

    found = read_source(Path(args.dataset), images="checked", progress=not args.quiet)
    if args.json:
        print_json([problem_row(problem) for problem in found.problems])
    else:
        if found.problems:
            lines = map(str, found.problems) if args.all else [summary_text(found.problems)]
            print_text("\n".join(lines))
        for split, truth in found.splits.items():
            instances = sum(len(image.instances) for image in truth.images)
            print_text(f"{split or 'all':<7}  {len(truth.images)} images, {instances} instances")
        print_text(f"{found.errors} errors, {len(found.problems) - found.errors} warnings")
    return FAILED if found.errors else OK


COMMANDS = (
    Command(
        name="validate",
        summary="list every problem of annotated images: COCO, YOLO-seg or a run",
        order=160,
        add_arguments=add_arguments,
        run=run,
    ),
)
