"""`autodistill-seg audit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.config import AUDIT_FOLDS
from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_count_argument, add_run_argument
from ..exit_codes import OK
from ..option_flags import TRAIN_OPTIONS, add_options, overrides
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument(
        "--folds",
        type=int,
        default=AUDIT_FOLDS,
        metavar="N",
        help="students, each trained without one N-th of the images (default: %(default)s)",
    )
    add_count_argument(parser)
    parser.add_argument("--csv", action="store_true", help="print the whole order as CSV")
    add_options(parser, TRAIN_OPTIONS, "options of the students (those of the run are not changed)")


def run(args: argparse.Namespace) -> int:
    """Trains students on folds of the labels, and sorts the labels by what they say."""
    from ...pipeline.label_audit import audit_labels
    from ...review.review_order import review

    folder = RunFolder(Path(args.run))
    config = read_run_config(folder, overrides(args))
    audit = audit_labels(config, folder, args.folds, progress=not args.quiet)
    files = review(folder, args.count, "audit").files
    if args.json:
        print_json({**audit.as_json(), "files": {name: str(path) for name, path in files.items()}})
    elif args.csv:
        print_text(audit.as_csv().rstrip("\n"))
    else:
        print_text("\n".join([audit.as_text(), *(f"{name:<9}{path}" for name, path in files.items())]))
    return OK


COMMANDS = (
    Command(
        name="audit",
        summary="train students on folds of a run's labels, and sort the labels by what they say",
        order=135,
        add_arguments=add_arguments,
        run=run,
    ),
)
