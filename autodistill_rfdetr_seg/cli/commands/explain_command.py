"""`autodistill-seg explain`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_run_argument
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument("label", metavar="SPLIT:ID", help="split and annotation id, such as train:12")


def run(args: argparse.Namespace) -> int:
    """Shows where a label comes from."""
    from ...review.explain_label import explain
    from ...review.explanation_text import explanation_text

    found = explain(RunFolder(Path(args.run)), args.label)
    if args.json:
        print_json(found.as_json())
    else:
        print_text(explanation_text(found))
    return OK


COMMANDS = (
    Command(
        name="explain",
        summary="show where a label comes from: prompt, base, scores and every rule it passed",
        order=140,
        add_arguments=add_arguments,
        run=run,
    ),
)
