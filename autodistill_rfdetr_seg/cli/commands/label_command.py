"""`autodistill-seg label`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ...system.run_folder import RunFolder
from ..command import Command
from ..exit_codes import OK, SOME_FAILED
from ..labeling_arguments import add_labeling_arguments, labeling_config
from ..option_values import positive_integer
from ..output import print_dataset, print_json, print_text

if TYPE_CHECKING:
    from ...core.config import PipelineConfig
    from ...labels.base_source import BaseSource
    from ...labels.labeler import LabelSummary

_log = logging.getLogger(__name__)


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
    from ...labels.base_source import source_of
    from ...pipeline.runs import describe_dataset, describe_labels, prepare
    from ...pipeline.stages import build_stage, gaps_of, label_stage

    config = labeling_config(args)
    if args.preview is not None:
        config = config.model_copy(update={"labeling": config.labeling.model_copy(update={"share": None})})
    run = RunFolder(Path(args.output))
    with prepare(config, run, source_of(config), resume=args.resume, overwrite=args.overwrite) as source:
        if args.preview is not None:
            return _preview(args, config, run, source)
        summary = label_stage(config, run, source, progress=not args.quiet)
        _log.info("%s", describe_labels(summary))
        if config.labeling.share is not None:
            _print_slice(args, run, summary, "slice {} of {}".format(*config.labeling.share))
            return SOME_FAILED if summary.failures else OK
        dataset, worked = build_stage(config, run, progress=not args.quiet)
        _log.info("%s", describe_dataset(dataset, worked))
        gaps = dataclasses.replace(gaps_of(config, run), failures=summary.failures)
    print_dataset(args, run, gaps)
    return SOME_FAILED if gaps else OK


def _preview(args: argparse.Namespace, config: PipelineConfig, run: RunFolder, source: BaseSource) -> int:
    from ...pipeline.stages import find_inputs
    from ...review.label_preview import preview

    found = find_inputs(config, run, progress=not args.quiet)
    shown = preview(config, found.items, source, run.root, args.preview, progress=not args.quiet)
    if args.json:
        print_json(shown.as_json())
    else:
        classes = ", ".join(f"{count} {name}" for name, count in shown.per_class.items())
        print_text(f"{shown.images} images: {classes or 'nothing'}; dropped {sum(shown.rejected.values())}")
        print_text(f"picture  {shown.picture}\npage     {shown.page}")
        print_text(f"to label all images: the same command with --resume instead of --preview {args.preview}")
    return SOME_FAILED if shown.failures else OK


def _print_slice(args: argparse.Namespace, run: RunFolder, summary: LabelSummary, name: str) -> None:
    if args.json:
        print_json(dataclasses.asdict(summary))
    else:
        print_text(f"{name} is labeled; when all slices are: autodistill-seg build {run.root}")


COMMANDS = (
    Command(
        name="label",
        summary="label images with a base and build the dataset",
        order=20,
        add_arguments=add_arguments,
        run=run,
    ),
)
