"""`autodistill-seg repair`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..command import Command
from ..common_arguments import ANNOTATED_SOURCE
from ..exit_codes import OK, SOME_FAILED
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("dataset", metavar="SOURCE", help=ANNOTATED_SOURCE)
    parser.add_argument("--output", metavar="CLEAN", required=True, help="the folder to write")
    parser.add_argument(
        "--trust-images",
        action="store_true",
        help="if a stated size is wrong by a pixel or two, or swapped, use the image's size and move the masks",
    )
    parser.add_argument(
        "--crowds",
        choices=("keep", "objects"),
        default="keep",
        help="annotations with iscrowd 1: keep, or make them objects (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output of an earlier repair")


def run(args: argparse.Namespace) -> int:
    """Writes annotated images as a clean dataset."""
    from ...readers import repair, summary_text
    from ...readers.dataset_repair import CHANGES

    done = repair(
        Path(args.dataset),
        Path(args.output),
        trust_images=args.trust_images,
        crowds=args.crowds,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    if args.json:
        print_json(done.as_json())
    else:
        if done.problems:
            print_text(summary_text(done.problems))
        for split, count in done.counts.items():
            print_text(f"{split or 'all':<7}  {count['images']} images, {count['instances']} instances")
        print_text(f"left out {done.left_out}; every change is listed in {done.root / CHANGES}")
        print_text(f"dataset  {done.root}")
    return SOME_FAILED if done.left_out else OK


COMMANDS = (
    Command(
        name="repair",
        summary="write annotated images as a clean COCO-seg dataset, and list every change",
        order=170,
        add_arguments=add_arguments,
        run=run,
    ),
)
