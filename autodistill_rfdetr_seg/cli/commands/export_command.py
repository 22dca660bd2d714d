"""`autodistill-seg export`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.artifact_config import ExportConfig
from ...core.plain_text import counted
from ..command import Command
from ..common_arguments import RUN_OR_CHECKPOINT
from ..exit_codes import OK
from ..output import print_json, print_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    from ...targets.export.known_formats import known_formats

    defaults = ExportConfig()
    parser.add_argument("model", metavar="RUN|CHECKPOINT", help=RUN_OR_CHECKPOINT)
    parser.add_argument(
        "--format", default=defaults.format, help=f"{', '.join(known_formats())} (default: %(default)s)"
    )
    parser.add_argument("--output", metavar="FOLDER", help="default: export/FORMAT-PRECISION in the run")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default=defaults.precision,
        help="fp32, fp16 or int8, which must keep the mask AP (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=defaults.batch_size,
        metavar="N",
        help="images per inference (default: any number where the format has that, else 1)",
    )
    parser.add_argument(
        "--resolution", type=int, metavar="N", help="side of the input in pixels (default: the model's own)"
    )
    parser.add_argument("--samples", metavar="FOLDER", help="images to compare on (default: the run's held-out ones)")
    parser.add_argument(
        "--calibration", metavar="FOLDER", help="images that int8 learns from (default: the run's train split)"
    )
    parser.add_argument("--bundle", action="store_true", help="add files to run and check it without torch; ONNX only")
    parser.add_argument("--check", metavar="EXPORT", help="write nothing, only compare an existing export")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")


def run(args: argparse.Namespace) -> int:
    """Writes a trained target in another format, or compares an export with it."""
    from ...targets import RFDETRSeg, checkpoint_of
    from ...targets.export.exporter import check_export, export_target
    from ...targets.export.int8_accuracy import accuracy_sentence
    from ...targets.export.known_formats import find_format

    device = find_format(args.format).exact_device
    target = RFDETRSeg.from_checkpoint(checkpoint_of(Path(args.model)), device=device)
    samples = Path(args.samples) if args.samples else None
    if args.check:
        parity = check_export(target, Path(args.check), samples)
        print_json(parity.as_json()) if args.json else print_text(parity.sentence())
        return OK
    done = export_target(
        target,
        Path(args.output) if args.output else None,
        format=args.format,
        precision=args.precision,
        batch_size=args.batch_size,
        resolution=args.resolution,
        samples=samples,
        calibration=Path(args.calibration) if args.calibration else None,
        bundle=args.bundle,
        overwrite=args.overwrite,
    )
    if args.json:
        print_json({**done.record, "output": str(done.root), "artifact": str(done.artifact)})
    else:
        print_text(f"artifact  {done.artifact}")
        print_text(f"input     {_input_text(done.record['model'])}")
        print_text(f"parity    {done.parity.sentence() if done.parity else 'not compared'}")
        if (accuracy := done.record["accuracy"]) is not None:
            print_text(f"accuracy  {accuracy_sentence(accuracy)}")
    return OK


def _input_text(spec: Mapping[str, Any]) -> str:
    """What the export fixed of the input, and what it left open."""
    side, count, most = spec["input_size"], spec["batch_size"], spec["most_images"]
    text = f"{side} x {side} pixels (fixed; images are resized to it), "
    if count:
        return f"{text}{counted(count, 'image')} at once (fixed{'' if count == 1 else '; fewer are filled up'})"
    return f"{text}{'any number of images' if most is None else f'1 to {most} images'} at once"


COMMANDS = (
    Command(
        name="export",
        summary="export a trained target to ONNX, OpenVINO, TensorRT …, and check that it finds the same instances",
        order=90,
        add_arguments=add_arguments,
        run=run,
    ),
)
