"""What is measured, and on what: the rows that models, formats and precisions make, the images, and the gold set."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import coco
from ..core.artifact_config import BenchmarkConfig
from ..core.config import MAX_MEGAPIXELS, EvaluationConfig, PipelineConfig
from ..core.errors import DataError, MissingInputError, UnknownNameError, UsageError
from ..core.types import GroundTruth
from ..dataset.dataset_index import split_of_content
from ..evaluation.gold_sets import read_gold
from ..images.image_discovery import discover
from ..images.image_opening import open_rgb
from ..images.rgb_image import RgbImage
from ..readers import read_gold as read_one
from ..system.config_files import read_run_config, run_megapixels
from ..system.file_hash import file_sha256
from ..system.run_folder import RunFolder
from ..targets.export.export_parity import find_samples
from ..targets.export.known_formats import check_format, known_formats
from ..targets.inference.export_record import export_folder, read_export
from ..targets.inference.optimized_torch import TORCH
from ..targets.training.training_folder import checkpoint_of
from . import ultralytics_model as yolo
from .model_process import Wanted

PRECISIONS = ("fp32", "fp16", "bf16")


def find_rows(models: Sequence[Path], weights: Sequence[Path], options: BenchmarkConfig) -> list[Wanted]:
    """The rows, in the order of the models; those of an exported format have their checkpoint's path as yet.

    Raises:
        MissingInputError, DataError: a model is not there, or damaged.
        UnknownNameError, DependencyError: a format is not known, or its package not installed.
    """
    runnable = {name: one for name, one in known_formats().items() if one.open_session is not None}
    known = (*TORCH, *runnable)
    here = [name for name, one in runnable.items() if one.missing_module("fp32") is None]
    formats = options.formats or ("torch", *here)
    for name in formats:
        if name not in known:
            raise UnknownNameError("format", name, known)
        if name in runnable:
            check_format(name, "fp32")
    rows: list[Wanted] = []
    for path in models:
        if (folder := export_folder(path)) is not None:
            record = read_export(folder)
            own = (record["format"], record["precision"], record["model"]["batch_size"])
            rows.append(Wanted(str(path), folder, *own))
            continue
        file = checkpoint_of(path)
        rows += [
            Wanted(str(path), file, name, precision, options.batch_size)
            for name in formats
            for precision in options.precisions
        ]
    for path in weights:
        yolo.check(path)
        precisions = [precision for precision in options.precisions if precision != "bf16"]
        rows += [Wanted(path.name, path, "yolo", precision, options.batch_size) for precision in precisions]
    if not rows:
        raise UsageError("There is nothing to measure.", "Give a run's folder, a checkpoint or an export.")
    return rows


def run_of(model: Path) -> RunFolder | None:
    """The run that a model's path is in; None where it is in none."""
    full = model.resolve()
    folders = [folder for folder in (full, *full.parents[:3]) if (folder / "pipeline.yaml").is_file()]
    return RunFolder(folders[0]) if folders else None


@dataclass(frozen=True)
class Gold:
    """A gold set and how it is scored on; `left_out` images of it were trained on by one of the runs."""

    truth: GroundTruth
    options: EvaluationConfig
    left_out: int


def find_gold(models: Sequence[Path], gold: Path | None) -> Gold | None:
    """The same gold set for all: the one that is given, else the runs' own where they have one and the same.

    Raises:
        MissingInputError, DataError: it is not there, is wrong, or all of it was trained on.
    """
    own = [run for run in map(run_of, models) if run is not None]
    if gold is not None:
        truth, options = read_one(gold, images="checked", max_megapixels=_megapixels(models)), EvaluationConfig()
    else:
        configs: list[tuple[RunFolder, PipelineConfig]] = [(run, read_run_config(run)) for run in own]
        named = {tuple(config.evaluation.gold) for _, config in configs}
        if len(named) != 1 or not next(iter(named)):
            return None
        run, config = configs[0]
        truth, options = read_gold(config, run).truth, config.evaluation
    seen = [split_of_content(run.dataset) for run in own]
    kept = []
    for image in truth.images:
        sha256 = file_sha256(image.path) if any(seen) else ""
        if all(split.get(sha256) in (None, "test") for split in seen):
            kept.append(image)
    if not kept:
        raise DataError("Every image of the gold set was trained on by one of the runs.", "Give another --gold.")
    return Gold(dataclasses.replace(truth, images=tuple(kept)), options, len(truth.images) - len(kept))


def _megapixels(models: Sequence[Path]) -> float:
    """The largest limit of pixels (millions) of the runs that the models are in; the default if there is no run."""
    return max((run_megapixels(run) for run in map(run_of, models) if run is not None), default=MAX_MEGAPIXELS)


@dataclass(frozen=True)
class Images:
    """Decoded images, where they are from, and the milliseconds that decoding each file took (none where drawn)."""

    origin: str
    pixels: tuple[RgbImage, ...]
    decode_ms: tuple[float, ...]


def find_images(given: Path | None, gold: Gold | None, models: Sequence[Path], count: int) -> Images:
    """Up to `count` images in full size: of what is given, else of the gold set, else of a run's test or valid split,
    else drawn. They are spread evenly over the sorted files.

    Raises:
        MissingInputError, DataError: there is no image, or one cannot be read.
    """
    origin, files = _files(given, gold, models)
    limit = _megapixels(models)
    if not files:
        return Images("drawn", tuple(pixels for _, pixels in find_samples(None, None, count).images[:count]), ())
    chosen = files[:: -(-len(files) // count)]
    pixels, times = [], []
    for path in chosen:
        open_rgb(path, max_megapixels=limit)  # from the disk once, so that the decoder alone is timed
        started = time.perf_counter()
        pixels.append(open_rgb(path, max_megapixels=limit))
        times.append((time.perf_counter() - started) * 1000)
    return Images(origin, tuple(pixels), tuple(times))


def _files(given: Path | None, gold: Gold | None, models: Sequence[Path]) -> tuple[str, list[Path]]:
    if given is not None:
        if not given.exists():
            raise MissingInputError(f"There are no images {given}.", "Give an image, or a folder of images.")
        return "given", [given] if given.is_file() else discover(given)
    if gold is not None:
        return "gold set", [image.path for image in gold.truth.images]
    for run in map(run_of, models):
        for split in ("test", "valid") if run is not None else ():
            assert run is not None
            folder = run.dataset / split
            if folder.is_dir() and any(folder.iterdir()):
                return f"{split} split", [image.path for image in coco.read(folder).images]
    return "drawn", []
