"""`autodistill-seg predict`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ...core.config import MAX_MEGAPIXELS
from ...core.errors import UsageError
from ...core.plain_text import counted
from ..command import Command
from ..common_arguments import DEVICE, add_resume_or_overwrite
from ..exit_codes import OK, SOME_FAILED
from ..output import print_json, print_text
from ..prediction_arguments import add_prediction_arguments, prediction_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "model",
        metavar="RUN|CHECKPOINT|EXPORT",
        nargs="?",
        help="the folder of a run or an export, or a checkpoint; not with --endpoint",
    )
    parser.add_argument("source", metavar="IMAGE|FOLDER|VIDEO", help="an image, a folder of images, or a video")
    parser.add_argument("--output", metavar="FOLDER", help="write predictions.json (COCO) and pictures here")
    parser.add_argument("--track", action="store_true", help="track instances from frame to frame of a video")
    parser.add_argument("--allow-url", action="store_true", help="allow an http or https URL as the image")
    parser.add_argument("--device", default="auto", help=DEVICE)
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        metavar="X",
        help="skip images larger than X megapixels (default: %(default)s)",
    )
    add_resume_or_overwrite(parser)
    add_prediction_arguments(parser)
    served = parser.add_argument_group("a served model (API key: the environment variable ROBOFLOW_API_KEY)")
    served.add_argument("--endpoint", metavar="URL", help="Roboflow or an Inference server, https://…/PROJECT/VERSION")
    served.add_argument(
        "--class",
        dest="classes",
        metavar="NAME",
        action="append",
        help="a class of the endpoint; repeatable (default: the classes of the project)",
    )
    served.add_argument(
        "--insecure",
        action="store_true",
        help="allow http to another machine: others can read the key and the images",
    )


def run(args: argparse.Namespace) -> int:
    """Finds instances in images or a video."""
    from ...images.frame_files import VIDEO_SUFFIXES
    from ...predict.image_prediction import predict_images
    from ...system.downloads import on_disk

    options = prediction_options(args)
    output = Path(args.output) if args.output else None
    model = _model(args)
    if Path(args.source).suffix.lower() in VIDEO_SUFFIXES:
        return _predict_video(args, model, output, options)
    if args.track:
        raise UsageError("--track works on a video only.", f"{args.source} is not a video.")
    with on_disk(args.source, args.allow_url) as source:
        result = predict_images(
            model,
            source,
            output,
            device=args.device,
            resume=args.resume,
            overwrite=args.overwrite,
            max_megapixels=args.max_megapixels,
            progress=not args.quiet,
            **options,
        )
    if args.json:
        print_json(result.as_json())
    else:
        for name, counts in result.counts.items():
            found = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
            print_text(f"{name}: {found or 'nothing'}")
        if result.duplicates:
            print_text(f"{counted(result.duplicates, 'duplicate')} removed")
        if output:
            print_text(f"written to {output}")
    return SOME_FAILED if result.failures else OK


def _predict_video(args: argparse.Namespace, model: Any, output: Path | None, options: dict[str, Any]) -> int:
    from ...predict.video_prediction import predict_video

    if output is None:
        raise UsageError("The annotated video and its predictions need a folder.", "Give --output FOLDER.")
    found = predict_video(
        model,
        args.source,
        output,
        track=args.track,
        device=args.device,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=not args.quiet,
        **options,
    )
    if args.json:
        print_json(dataclasses.asdict(found))
    else:
        counts = ", ".join(f"{n} {name}" for name, n in found.counts.items() if n)
        print_text(f"{found.frames} frames: {counts or 'nothing'}")
        if found.tracks is not None:
            print_text(f"tracks: {', '.join(f'{n} {name}' for name, n in found.tracks.items() if n) or 'none'}")
        print_text(f"video  {found.video}\nlines  {found.lines}")
    return OK


def _model(args: argparse.Namespace) -> Any:
    """The path of the model, or the model behind the endpoint."""
    if args.endpoint is None:
        if args.model is None:
            raise UsageError("There is no model to predict with.", "Give a model and images, or --endpoint URL.")
        if args.classes or args.insecure:
            raise UsageError("--class and --insecure need --endpoint.")
        return Path(args.model)
    if args.model is not None:
        raise UsageError("Both a model and an --endpoint are given.", "An endpoint takes one image or folder.")
    from ...roboflow_api import EndpointModel

    return EndpointModel(args.endpoint, class_names=args.classes, insecure=args.insecure)


COMMANDS = (
    Command(
        name="predict",
        summary="find instances in images or a video with a trained target",
        order=80,
        add_arguments=add_arguments,
        run=run,
    ),
)
