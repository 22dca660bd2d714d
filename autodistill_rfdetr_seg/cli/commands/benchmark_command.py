"""`autodistill-seg benchmark`."""

from __future__ import annotations

import argparse

from ...core.artifact_config import BenchmarkConfig
from ..command import Command
from ..common_arguments import DEVICE
from ..exit_codes import OK, SOME_FAILED
from ..output import print_json, print_text

# Flag, key of BenchmarkConfig, type, metavar, help.
_OPTIONS = (
    ("--runs", "runs", int, "N", "measured calls per row"),
    ("--warm-up", "warm_up", int, "N", "calls before the measured ones, in each round"),
    ("--rounds", "rounds", int, "N", "rounds; the rows take turns in each"),
    ("--pause", "pause", float, "SECONDS", "pause between two calls, for a device that gets hot"),
    ("--batch-size", "batch_size", int, "N", "images per call"),
    ("--confidence", "confidence", float, "X", "find instances with a score above X"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    defaults = BenchmarkConfig()
    parser.add_argument("models", metavar="MODEL", nargs="+", help="the folder of a run or an export, or a checkpoint")
    parser.add_argument("--images", metavar="FOLDER", help="images to measure on (default: the gold set's or run's)")
    parser.add_argument("--gold", metavar="GOLD", help="human annotations for mask AP (default: the run's)")
    parser.add_argument(
        "--formats",
        metavar="LIST",
        help="from torch,torchscript,inductor,onnx,openvino,tensorrt (default: those installed)",
    )
    parser.add_argument(
        "--precision",
        metavar="LIST",
        default=",".join(defaults.precisions),
        help="fp32,fp16,bf16 (default: %(default)s)",
    )
    parser.add_argument("--yolo", metavar="FILE", action="append", help="also measure these YOLO -seg weights")
    parser.add_argument("--device", default=defaults.device, help=DEVICE)
    for flag, key, kind, metavar, text in _OPTIONS:
        default = getattr(defaults, key)
        parser.add_argument(flag, type=kind, metavar=metavar, default=default, help=f"{text} (default: %(default)s)")
    parser.add_argument("--output", metavar="FOLDER", help="keep benchmark.md, benchmark.json and the exports here")
    parser.add_argument("--overwrite", action="store_true", help="write to an output folder that is not empty")


def run(args: argparse.Namespace) -> int:
    """Measures models."""
    from ...benchmarking import benchmark

    result = benchmark(
        args.models,
        args.images,
        args.gold,
        yolo=args.yolo or (),
        output=args.output,
        overwrite=args.overwrite,
        progress=not args.quiet,
        formats=args.formats and args.formats.split(","),
        precisions=args.precision.split(","),
        device=args.device,
        **{key: getattr(args, key) for _, key, *_ in _OPTIONS},
    )
    print_json(result.to_dict()) if args.json else print_text(result.to_markdown())
    return SOME_FAILED if any(row["failed"] for row in result.not_run) else OK


COMMANDS = (
    Command(
        name="benchmark",
        summary="measure latency and mask AP of a trained target in each format",
        order=100,
        add_arguments=add_arguments,
        run=run,
    ),
)
