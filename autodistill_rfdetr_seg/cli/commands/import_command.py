"""`autodistill-seg import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK, SOME_FAILED
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument(
        "coco", metavar="SOURCE", help="the corrected annotations: a COCO file or folder, or a YOLO data.yaml"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="a person also checked the unchanged images: import every mask as it is in the file",
    )


def run(args: argparse.Namespace) -> int:
    """Imports a person's work into a run and builds its dataset again."""
    from ...pipeline.stages import build_stage
    from ...review.import_corrections import import_labels

    run = RunFolder(Path(args.run))
    config = read_run_config(run)
    summary = import_labels(run, Path(args.coco), everything=args.all)
    build_stage(config, run, progress=not args.quiet)
    if args.json:
        print_json(summary.as_json())
    else:
        print_text(f"{summary.imported} images now have the labels of a person, {summary.unchanged} are unchanged")
        if summary.renamed:
            name, path = next(iter(summary.renamed.items()))
            print_text(f"{len(summary.renamed)} have another name in the file, such as {name} for {path}")
        for one in summary.unmatched:
            print_text(f"not of this run  {one.name}: {one.reason}")
        for hint in dict.fromkeys(one.hint for one in summary.unmatched):
            print_text(f"what to do       {hint}")
    return SOME_FAILED if summary.unmatched else OK


COMMANDS = (
    Command(
        name="import",
        summary="import labels that people corrected; they replace those of the base",
        order=50,
        add_arguments=add_arguments,
        run=run,
    ),
)
