"""`autodistill-seg label`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...system.run_folder import RunFolder
from ..command import Command
from ..exit_codes import OK, SOME_FAILED
from ..labeling_arguments import add_labeling_arguments, labeling_config
from ..option_values import positive_integer
from ..output import print_json, print_labeling, print_text

if TYPE_CHECKING:
    from ...core.config import PipelineConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_labeling_arguments(parser)
    parser.add_argument(
        "--preview",
        type=positive_integer,
        metavar="N",
        help="label only N images, chosen with a seed, and show them on one contact sheet",
    )


def run(args: argparse.Namespace) -> int:
    """Labels images and builds the dataset."""
    from ...pipeline.runs import label_and_build

    config, folder = labeling_config(args), RunFolder(Path(args.output))
    if args.preview is not None:
        return _preview(args, config, folder)
    one_slice = config.labeling.slice
    result = label_and_build(
        config,
        folder,
        build=one_slice is None,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    return print_labeling(args, folder, result, one_slice)


def _preview(args: argparse.Namespace, config: PipelineConfig, folder: RunFolder) -> int:
    from ...pipeline.runs import preview_labels

    count = args.preview
    shown = preview_labels(config, folder, count, resume=args.resume, overwrite=args.overwrite, progress=not args.quiet)
    if args.json:
        print_json(shown.as_json())
    else:
        classes = ", ".join(f"{count} {name}" for name, count in shown.per_class.items())
        print_text(f"{shown.images} images: {classes or 'nothing'}; dropped {sum(shown.rejected.values())}")
        print_text(f"picture  {shown.picture}\npage     {shown.page}")
        print_text(f"to label all images: the same command with --resume instead of --preview {args.preview}")
    return SOME_FAILED if shown.failures else OK


COMMANDS = (
    Command(
        name="label",
        summary="label images with a base and build the dataset",
        order=20,
        add_arguments=add_arguments,
        run=run,
    ),
)
