"""`autodistill-seg predict`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config import MAX_MEGAPIXELS
from ...core.errors import UsageError
from ...core.plain_text import counted
from ...images.live_frames import is_camera, is_stream_url
from ...system.downloads import is_url
from ..command import Command
from ..common_arguments import DEVICE, add_resume_or_overwrite
from ..exit_codes import OK, SOME_FAILED
from ..output import print_json, print_text
from ..prediction_arguments import add_engine_arguments, add_prediction_arguments, engine_config, prediction_options

if TYPE_CHECKING:
    from ...predict.image_prediction import PredictedImages
    from ...predict.stream_prediction import PredictedStream
    from ...predict.video_prediction import PredictedVideo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "model",
        metavar="RUN|CHECKPOINT|EXPORT",
        nargs="?",
        help="the folder of a run or an export, or a checkpoint; not with --endpoint",
    )
    parser.add_argument(
        "source",
        metavar="IMAGE|FOLDER|VIDEO|CAMERA|URL",
        help="an image, a folder of images, a video, the number of a camera, or the URL of an image or a stream",
    )
    parser.add_argument("--output", metavar="FOLDER", help="write predictions.json (COCO) and pictures here")
    parser.add_argument("--track", action="store_true", help="track instances from frame to frame of a video or stream")
    parser.add_argument("--allow-url", action="store_true", help="allow the URL of an image or a stream")
    parser.add_argument("--device", default="auto", help=DEVICE)
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        metavar="X",
        help="skip images larger than X megapixels (default: %(default)s)",
    )
    add_resume_or_overwrite(parser)
    live = parser.add_argument_group("a camera, a stream, or a folder that is being filled (Ctrl-C ends it)")
    live.add_argument("--stream", action="store_true", help="an http URL is a stream (rtsp URLs always are)")
    live.add_argument("--watch", action="store_true", help="go on with the images that come into the folder")
    live.add_argument("--duration", type=float, metavar="SECONDS", help="end after that time (default: never)")
    live.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="end with an error where a stream gives no frame for that time (default: %(default)s)",
    )
    add_prediction_arguments(parser)
    add_engine_arguments(parser)
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

    options = {"device": args.device, "overwrite": args.overwrite, **prediction_options(args)}
    output = Path(args.output) if args.output else None
    engine = engine_config(args)
    live = (is_camera(args.source) and not Path(args.source).exists()) or is_stream_url(args.source) or args.stream
    video = Path(args.source).suffix.lower() in VIDEO_SUFFIXES
    if engine.engine == "ray":
        _refuse_without_files(args, live or video)
    model = _model(args)
    if live:
        return _predict_stream(args, model, output, options)
    if args.watch:
        return _watch(args, model, output, options)
    if args.duration is not None:
        raise UsageError("--duration needs a camera, a stream or --watch.", f"{args.source} ends by itself.")
    if video:
        return _predict_video(args, model, output, options)
    if args.track:
        raise UsageError("--track works on a video or a stream only.", f"{args.source} is neither.")
    with on_disk(args.source, args.allow_url) as source:
        result = predict_images(
            model,
            source,
            output,
            resume=args.resume,
            max_megapixels=args.max_megapixels,
            progress=not args.quiet,
            **options,
            **engine.model_dump(),
        )
    return _print_images(args, result, output)


def _refuse_without_files(args: argparse.Namespace, frames: bool) -> None:
    """Refuses what the nodes of a Ray cluster cannot read as a file."""
    if args.endpoint is not None:
        raise UsageError("--engine ray does not ask an --endpoint.", "Leave out --engine: the server runs the model.")
    if frames or args.watch or is_url(args.source):
        what = "a folder with --watch" if args.watch else "a video, a stream or a URL"
        raise UsageError(
            f"--engine ray predicts image files, not {what}: {args.source}.",
            "Give an image or a folder of images, or leave out --engine.",
        )


def _print_images(args: argparse.Namespace, result: PredictedImages, output: Path | None) -> int:
    if args.json:
        print_json(result.as_json())
    else:
        for name, counts in result.counts.items():
            print_text(f"{name}: {_by_name(counts) or 'nothing'}")
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
        resume=args.resume,
        progress=not args.quiet,
        **options,
    )
    if args.json:
        print_json(dataclasses.asdict(found))
    else:
        _print_frames(found, f"{found.frames} frames")
    return OK


def _print_frames(found: PredictedVideo | PredictedStream, frames: str) -> None:
    print_text(f"{frames}: {_by_name(found.counts) or 'nothing'}")
    if found.tracks is not None:
        print_text(f"tracks: {_by_name(found.tracks) or 'none'}")
    if found.video is not None:
        print_text(f"video  {found.video}\nlines  {found.lines}")


def _by_name(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _watch(args: argparse.Namespace, model: Any, output: Path | None, options: dict[str, Any]) -> int:
    from ...predict.folder_watch import watch_folder

    if output is None:
        raise UsageError(
            "The predictions of a folder that is watched need a folder of their own.", "Give --output FOLDER."
        )
    result = watch_folder(
        model,
        args.source,
        output,
        duration=args.duration,
        resume=args.resume,
        max_megapixels=args.max_megapixels,
        progress=not args.quiet,
        **options,
    )
    return _print_images(args, result, output)


def _predict_stream(args: argparse.Namespace, model: Any, output: Path | None, options: dict[str, Any]) -> int:
    from ...predict.stream_prediction import predict_stream

    if args.watch or args.resume:
        raise UsageError("--watch and --resume have no meaning for a stream.", "Leave them out.")

    def show(line: Mapping[str, Any]) -> None:
        if output is not None:
            return
        # Without files the lines go to stdout, each as soon as it is there.
        text = json.dumps(line, ensure_ascii=False)
        if not args.json:
            found = Counter(one["class"] for one in line["instances"])
            text = f"{line['seconds']:.2f} s: {_by_name(found) or 'nothing'}"
        print_text(text)
        sys.stdout.flush()

    found = predict_stream(
        model,
        args.source,
        output,
        allow_url=args.allow_url,
        track=args.track,
        timeout=args.timeout,
        duration=args.duration,
        progress=not args.quiet and output is not None,
        on_frame=show,
        **options,
    )
    if args.json:
        if output is not None:
            print_json(dataclasses.asdict(found))
        return OK
    _print_frames(found, f"{found.frames} of {found.received} frames ({found.dropped} dropped)")
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
        summary="find instances in images, a video or a stream with a trained target",
        order=80,
        add_arguments=add_arguments,
        run=run,
    ),
)
