"""`autodistill-seg build`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from ...system.config_files import read_run_config, save_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK, SOME_FAILED
from ..option_flags import BUILD_OPTIONS, add_options, overrides
from ..output import print_dataset

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    add_options(parser, BUILD_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Builds a run's dataset again."""
    from ...pipeline.runs import describe_dataset
    from ...pipeline.stages import build_stage, gaps_of

    run = RunFolder(Path(args.run))
    config = read_run_config(run, overrides(args))
    dataset, worked = build_stage(config, run, progress=not args.quiet)
    save_run_config(run, config)
    _log.info("%s", describe_dataset(dataset, worked))
    gaps = gaps_of(config, run)
    print_dataset(args, run, gaps)
    return SOME_FAILED if gaps else OK


COMMANDS = (
    Command(
        name="build",
        summary="build the dataset again with other thresholds; the base does not run",
        order=40,
        add_arguments=add_arguments,
        run=run,
    ),
)
