"""`autodistill-seg run`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UsageError
from ...system.config_files import load
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_resume_or_overwrite
from ..exit_codes import OK, SOME_FAILED
from ..option_flags import add_options, overrides
from ..output import print_metrics

if TYPE_CHECKING:
    from ...core.config import PipelineConfig

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("config", metavar="PIPELINE", help="the YAML file of a pipeline; examples are in pipelines/")
    parser.add_argument("--output", metavar="RUN", help="the folder of the run (default: `output` in the file)")
    add_options(parser, ())
    add_resume_or_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Runs a whole pipeline."""
    from ...pipeline.runs import with_ontology

    config = with_ontology(load(Path(args.config), overrides(args)))
    output = args.output or config.output
    if output is None:
        raise UsageError("There is no output folder.", "Give --output RUN, or `output:` in the pipeline file.")
    return run_config(args, config, RunFolder(Path(output)))


def run_config(args: argparse.Namespace, config: PipelineConfig, folder: RunFolder, *, claimed: bool = False) -> int:
    """Runs a whole pipeline."""
    from ...labels.base_source import source_of
    from ...labels.labeler import read_failures
    from ...pipeline.runs import check_gates, prepare, run_stages
    from ...pipeline.stages import gaps_of
    from ...system.files import read_json

    resume = args.resume or claimed
    with prepare(config, folder, source_of(config), resume=resume, overwrite=args.overwrite) as source:
        for result in run_stages(config, folder, source, progress=not args.quiet):
            _log.info("%s", result)
    metrics = read_json(folder.evaluation / "metrics.json")
    places = {"report": folder.report, "metrics": folder.evaluation / "metrics.json", "picture": folder.picture}
    print_metrics(args, metrics, {**places, "checkpoint": folder.training / "checkpoint_best_total.pth"})
    check_gates(config, metrics)
    return SOME_FAILED if read_failures(folder.labels) or gaps_of(config, folder) else OK


COMMANDS = (
    Command(
        name="run",
        summary="run a whole pipeline from a YAML file",
        order=110,
        add_arguments=add_arguments,
        run=run,
    ),
)
