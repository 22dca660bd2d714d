"""`autodistill-seg build`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK, SOME_FAILED
from ..option_flags import BUILD_OPTIONS, add_options, overrides
from ..output import print_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    add_options(parser, BUILD_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Builds a run's dataset again."""
    from ...pipeline.runs import rebuild_dataset

    folder = RunFolder(Path(args.run))
    config = read_run_config(folder, overrides(args))
    built = rebuild_dataset(config, folder, progress=not args.quiet)
    print_dataset(args, folder, built.missing)
    return SOME_FAILED if built.missing else OK


COMMANDS = (
    Command(
        name="build",
        summary="build the dataset again with other thresholds; the base does not run",
        order=40,
        add_arguments=add_arguments,
        run=run,
    ),
)
