"""Arguments of the commands that learn from a run's gold set."""

from __future__ import annotations

import argparse

from .option_values import absolute_path


def add_gold_arguments(parser: argparse.ArgumentParser) -> None:
    """`--gold`, `--crowds` and `--dry-run`."""
    parser.add_argument(
        "--gold",
        action="append",
        type=absolute_path,
        default=[],
        metavar="PATH",
        help="human annotations: a COCO file or folder, or a YOLO data.yaml; repeatable (default: the run's)",
    )
    parser.add_argument(
        "--crowds",
        choices=["ignore", "objects"],
        help="annotations with iscrowd 1: ignore, or take as objects (default: the run's)",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the result and save nothing")
