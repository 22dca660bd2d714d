"""What a trained model is for: predicting, exporting, timing."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from ...images.frame_files import VIDEO_SUFFIXES
from ...system.downloads import on_disk
from .saying import OK, SOME_FAILED, say, say_json


def predict(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Finds instances in images."""
    from ...predict.image_prediction import predict_images

    if not 0 <= args.confidence <= 1:
        raise UsageError(f"--confidence is {args.confidence:g}; it lies between 0 and 1.")
    output = Path(args.output) if args.output else None
    model = _model_of(args)
    if Path(args.source).suffix.lower() in VIDEO_SUFFIXES:
        return _predict_video(args, model, output)
    if args.track:
        raise UsageError("--track follows instances through a video.", f"{args.source} is none.")
    with on_disk(args.source, args.allow_url) as source:
        result = predict_images(
            model,
            source,
            output,
            confidence=args.confidence,
            device=args.device,
            resume=args.resume,
            overwrite=args.overwrite,
            max_megapixels=args.max_megapixels,
            progress=not args.quiet,
        )
    if args.json:
        say_json(result.as_json())
    else:
        for name, counts in result.counts.items():
            found = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
            say(f"{name}: {found or 'nothing'}")
        if output:
            say(f"written to {output}")
    return SOME_FAILED if result.failures else OK


def _predict_video(args: argparse.Namespace, model: Any, output: Path | None) -> int:
    from ...predict.video_prediction import predict_video

    if output is None:
        raise UsageError("A video needs a folder for the annotated one and its lines.", "Give --output FOLDER.")
    found = predict_video(
        model,
        args.source,
        output,
        confidence=args.confidence,
        track=args.track,
        device=args.device,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    if args.json:
        say_json(dataclasses.asdict(found))
    else:
        say(f"{found.frames} frames: {', '.join(f'{n} {name}' for name, n in found.counts.items() if n) or 'nothing'}")
        if found.tracks is not None:
            say(f"tracks: {', '.join(f'{n} {name}' for name, n in found.tracks.items() if n) or 'none'}")
        say(f"video  {found.video}\nlines  {found.lines}")
    return OK


def _model_of(args: argparse.Namespace) -> Any:
    """Where the model lies that `predict` is to take, or the model behind its endpoint."""
    if args.endpoint is None:
        if args.model is None:
            raise UsageError("There is nothing to predict with.", "Give a model and images, or --endpoint URL.")
        if args.classes or args.insecure:
            raise UsageError("--class and --insecure go with --endpoint only.")
        return Path(args.model)
    if args.model is not None:
        raise UsageError("Both a model and an --endpoint are given.", "An endpoint takes one image or folder.")
    from ...roboflow_api import EndpointModel

    return EndpointModel(args.endpoint, class_names=args.classes, insecure=args.insecure)


def export(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Writes a trained target in another format, or compares an export with it."""
    from ...targets import RFDETRSeg, checkpoint_of
    from ...targets.export.exporter import check_export, export_target
    from ...targets.export.known_formats import find_format

    device = find_format(args.format).exact_device
    target = RFDETRSeg.from_checkpoint(checkpoint_of(Path(args.model)), device=device)
    samples = Path(args.samples) if args.samples else None
    if args.check:
        parity = check_export(target, Path(args.check), samples)
        say_json(parity.as_json()) if args.json else say(parity.sentence())
        return OK
    done = export_target(
        target,
        Path(args.output) if args.output else None,
        format=args.format,
        precision=args.precision,
        batch_size=args.batch_size,
        resolution=args.resolution,
        samples=samples,
        bundle=args.bundle,
        overwrite=args.overwrite,
    )
    if args.json:
        say_json({**done.record, "output": str(done.root), "artifact": str(done.artifact)})
    else:
        say(f"artifact  {done.artifact}")
        say(f"parity    {done.parity.sentence() if done.parity else 'not compared'}")
    return OK


def benchmark(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Measures models."""
    from ...benchmarking import benchmark as measure

    names = ("device", "runs", "warm_up", "rounds", "pause", "batch_size", "confidence")
    result = measure(
        args.models,
        args.images,
        args.gold,
        yolo=args.yolo or (),
        output=args.output,
        overwrite=args.overwrite,
        progress=not args.quiet,
        formats=args.formats and args.formats.split(","),
        precisions=args.precision.split(","),
        **{name: getattr(args, name) for name in names},
    )
    say_json(result.to_dict()) if args.json else say(result.to_markdown())
    return SOME_FAILED if any(row["failed"] for row in result.not_run) else OK
