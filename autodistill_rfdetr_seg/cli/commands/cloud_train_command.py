"""`autodistill-seg cloud-train`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from ..command import Command
from ..common_arguments import add_roboflow_project
from ..exit_codes import FAILED, INTERRUPTED, OK
from ..option_values import yaml_value
from ..output import print_json, print_text

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("run", metavar="RUN", help="the folder of the run, which records the training")
    parser.add_argument("--size", help="nano, small … (default: the run's)")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the images (default: Roboflow's)")
    parser.add_argument("--version", type=int, metavar="N", help="an existing version (default: create one)")
    parser.add_argument("--preprocessing", type=yaml_value, metavar="JSON", help="of a new version (default: none)")
    parser.add_argument("--augmentation", type=yaml_value, metavar="JSON", help="of a new version (default: none)")
    parser.add_argument("--follow", action="store_true", help="start no training, follow the last one")
    parser.add_argument("--no-wait", action="store_true", help="start the training and do not follow it")
    parser.add_argument("--timeout", type=float, metavar="S", help="follow it for S seconds (default: 12 hours)")
    add_roboflow_project(parser)


def run(args: argparse.Namespace) -> int:
    """Trains at Roboflow."""
    from ...roboflow_api import Place, follow, train
    from ...roboflow_api.roboflow_text import trained_text

    run = RunFolder(Path(args.run))
    place = Place(run.root, args.workspace, args.project)
    size = args.size or read_run_config(run).target.size
    if args.follow:
        training = None
    else:
        training = train(
            place,
            size,
            epochs=args.epochs,
            version=args.version,
            preprocessing=args.preprocessing,
            augmentation=args.augmentation,
        )
    if not (args.no_wait and training):
        try:
            training = follow(place, training, timeout=args.timeout)
        except KeyboardInterrupt:
            again = f"cloud-train {args.run} --workspace {args.workspace} --project {args.project} --follow"
            _log.warning("The training continues at Roboflow. To follow it: autodistill-seg %s", again)
            return INTERRUPTED
    assert training is not None
    if args.json:
        print_json(training.as_json())
    else:
        print_text(trained_text(training))
    return OK if training.finished or args.no_wait else FAILED


COMMANDS = (
    Command(
        name="cloud-train",
        summary="train RF-DETR Seg at Roboflow on the images of a project, and follow the training",
        order=190,
        add_arguments=add_arguments,
        run=run,
    ),
)
