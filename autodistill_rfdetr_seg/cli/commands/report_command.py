"""`autodistill-seg report`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK
from ..output import print_json, print_text

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument("--output", metavar="FILE", help="where the page is written (default: RUN/report.html)")


def run(args: argparse.Namespace) -> int:
    """Writes the report page of a run."""
    from ...pipeline.stages import report_stage

    folder = RunFolder(Path(args.run))
    page = Path(args.output) if args.output else folder.report
    if not report_stage(read_run_config(folder), folder, page):
        _log.info("report: it is up to date (nothing to do)")
    if args.json:
        print_json({"report": str(page), "picture": str(folder.picture)})
    else:
        print_text(f"report   {page}\npicture  {folder.picture}")
    return OK


COMMANDS = (
    Command(
        name="report",
        summary="write the report page of a run again",
        order=120,
        add_arguments=add_arguments,
        run=run,
    ),
)
