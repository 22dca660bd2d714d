"""`autodistill-seg push`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ...core.config import PROJECT_LICENSE
from ..command import Command
from ..common_arguments import add_roboflow_project, add_run_argument
from ..exit_codes import OK, SOME_FAILED
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument("--tag", dest="tags", metavar="T", action="append", help="a tag for every image; repeatable")
    parser.add_argument("--batch", metavar="NAME", help="the batch to upload to (default: the name of the run)")
    parser.add_argument("--split-from-run", action="store_true", help="keep the run's splits (default: all to train)")
    parser.add_argument("--overwrite", action="store_true", help="replace annotations that are in the project")
    parser.add_argument("--create", action="store_true", help="create the project if it does not exist")
    parser.add_argument(
        "--license", default=PROJECT_LICENSE, help="license of a created project (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent; needs no API key")
    add_roboflow_project(parser)


def run(args: argparse.Namespace) -> int:
    """Uploads the dataset of a run to Roboflow."""
    from ...roboflow_api import PushOptions, push
    from ...roboflow_api.roboflow_text import pushed_text

    root = Path(args.run)
    options = PushOptions(
        tags=args.tags or (),
        batch=args.batch or root.resolve().name,
        split_from_run=args.split_from_run,
        overwrite=args.overwrite,
        create=args.create,
        license=args.license,
    )
    result = push(root, args.workspace, args.project, options, dry_run=args.dry_run, progress=not args.quiet)
    if args.json:
        print_json(dataclasses.asdict(result))
    else:
        print_text(pushed_text(result))
    return SOME_FAILED if result.failures else OK


COMMANDS = (
    Command(
        name="push",
        summary="upload the dataset of a run to a Roboflow project: images, masks, splits and tags",
        order=180,
        add_arguments=add_arguments,
        run=run,
    ),
)
