"""Arguments that several commands have in common."""

from __future__ import annotations

import argparse

from ..core.config import REVIEW_LABELS

RUN_FOLDER = "the folder of a run"
RUN_OR_CHECKPOINT = "the folder of a run, or a checkpoint file"
ANNOTATED_SOURCE = "a COCO file, a folder that contains one (or one for each split), a YOLO data.yaml, or a run"
DEVICE = "auto, cpu, cuda, cuda:1 … (default: %(default)s)"


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """`--json`, `--quiet` and `--debug`, which every command has."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    group.add_argument("-q", "--quiet", action="store_true", help="show no progress, only warnings and errors")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_resume_or_overwrite(parser: argparse.ArgumentParser) -> None:
    """`--resume` and `--overwrite`: what to do with an output folder that is not empty."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--resume", action="store_true", help="continue in an output folder that is not empty")
    choice.add_argument("--overwrite", action="store_true", help="start over in an output folder that is not empty")


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """`RUN`, where a command takes nothing else but a run."""
    parser.add_argument("run", metavar="RUN", help=RUN_FOLDER)


def add_roboflow_project(parser: argparse.ArgumentParser) -> None:
    """`--workspace` and `--project`."""
    group = parser.add_argument_group("Roboflow (API key: the environment variable ROBOFLOW_API_KEY)")
    group.add_argument("--workspace", metavar="W", required=True, help="workspace, as in the URL of its page")
    group.add_argument("--project", metavar="P", required=True, help="project, as in the URL of its page")


def add_count_argument(parser: argparse.ArgumentParser) -> None:
    """`--count`, of the commands that write the contact sheet of a review."""
    parser.add_argument(
        "--count",
        type=int,
        default=REVIEW_LABELS,
        metavar="N",
        help="labels on the contact sheet (default: %(default)s)",
    )
