"""`autodistill-seg run`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.errors import UsageError
from ...system.config_files import load
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_resume_or_overwrite
from ..option_flags import LABELING_OPTIONS, add_options, overrides
from ..output import print_labeling, print_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("config", metavar="PIPELINE", help="the YAML file of a pipeline; examples are in pipelines/")
    parser.add_argument("--output", metavar="RUN", help="the folder of the run (default: `output` in the file)")
    parser.add_argument("--until", choices=("label", "build"), help="stop after this stage (default: do all stages)")
    add_options(parser, [option for option in LABELING_OPTIONS if option.key == "labeling.slice"])
    add_resume_or_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Runs a whole pipeline, or its first stages."""
    from ...pipeline.runs import label_and_build, run_pipeline, with_ontology

    config = with_ontology(load(Path(args.config), overrides(args)))
    output = args.output or config.output
    if output is None:
        raise UsageError("There is no output folder.", "Give --output RUN, or `output:` in the pipeline file.")
    folder, one_slice = RunFolder(Path(output)), config.labeling.slice
    if one_slice is not None and args.until != "label":
        raise UsageError(
            "A slice of the images is only labeled: the other stages need all of them.", "Add --until label."
        )
    if args.until is not None:
        only = label_and_build(
            config,
            folder,
            build=args.until == "build",
            resume=args.resume,
            overwrite=args.overwrite,
            progress=not args.quiet,
        )
        return print_labeling(args, folder, only, one_slice)
    result = run_pipeline(config, folder, resume=args.resume, overwrite=args.overwrite, progress=not args.quiet)
    return print_run(args, result)


COMMANDS = (
    Command(
        name="run",
        summary="run a whole pipeline from a YAML file",
        order=110,
        add_arguments=add_arguments,
        run=run,
    ),
)
