"""`autodistill-seg deploy`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..command import Command
from ..common_arguments import RUN_OR_CHECKPOINT, add_roboflow_project
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", metavar="RUN|CHECKPOINT", help=RUN_OR_CHECKPOINT)
    parser.add_argument("--version", type=int, metavar="N", required=True, help="the version that gets the model")
    parser.add_argument("--timeout", type=float, metavar="S", help="wait S seconds until it serves (default: 1800)")
    add_roboflow_project(parser)


def run(args: argparse.Namespace) -> int:
    """Uploads a checkpoint to Roboflow."""
    from ...roboflow_api import deploy
    from ...targets import checkpoint_of

    done = deploy(checkpoint_of(Path(args.model)), args.workspace, args.project, args.version, timeout=args.timeout)
    if args.json:
        print_json(done.as_json())
    else:
        print_text(f"deployed, and it answers  {done.endpoint}")
        print_text(f"{done.model_type}, {len(done.classes)} classes, {done.bytes / 1e6:.1f} MB uploaded")
    return OK


COMMANDS = (
    Command(
        name="deploy",
        summary="upload a checkpoint as the model of a Roboflow version, and wait until it serves",
        order=200,
        add_arguments=add_arguments,
        run=run,
    ),
)
