"""What is measured, and on what: the rows (model, format, precision), the images, and the gold set."""

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
from .model_process import BenchmarkRow


def find_rows(models: Sequence[Path], weights: Sequence[Path], options: BenchmarkConfig) -> list[BenchmarkRow]:
    """The rows, in the order of the models; `path` is the checkpoint, also for formats that are exported later.

    Raises:
        MissingInputError, DataError: a model does not exist or is damaged.
        UnknownNameError, DependencyError: a format is unknown, or its package is not installed.
    """
    runnable = {name: one for name, one in known_formats().items() if one.open_session is not None}
    known = (*TORCH, *runnable)
    installed = [name for name, one in runnable.items() if one.missing_module("fp32") is None]
    formats = options.formats or ("torch", *installed)
    for name in formats:
        if name not in known:
            raise UnknownNameError("format", name, known)
        if name in runnable:
            check_format(name, "fp32")
    rows: list[BenchmarkRow] = []
    for path in models:
        if (folder := export_folder(path)) is not None:
            record = read_export(folder)
            form = (record["format"], record["precision"], record["model"]["batch_size"])
            rows.append(BenchmarkRow(str(path), folder, *form))
            continue
        file = checkpoint_of(path)
        rows += [
            BenchmarkRow(str(path), file, name, precision, options.batch_size)
            for name in formats
            for precision in options.precisions
        ]
    for path in weights:
        yolo.check(path)
        precisions = [precision for precision in options.precisions if precision in ("fp32", "fp16")]
        rows += [BenchmarkRow(path.name, path, "yolo", precision, options.batch_size) for precision in precisions]
    if not rows:
        raise UsageError("There is nothing to measure.", "Give the folder of a run, a checkpoint or an export.")
    return rows


def run_of(model: Path) -> RunFolder | None:
    """The run that contains the path of a model; None if no run does."""
    full = model.resolve()
    folders = [folder for folder in (full, *full.parents[:3]) if (folder / "pipeline.yaml").is_file()]
    return RunFolder(folders[0]) if folders else None


@dataclass(frozen=True)
class BenchmarkGold:
    """A gold set and the options for scoring; `left_out` is the number of its images that a run was trained on."""

    truth: GroundTruth
    options: EvaluationConfig
    left_out: int


def find_gold(models: Sequence[Path], gold: Path | None) -> BenchmarkGold | None:
    """One gold set for all models: `gold`, or the one of the runs if they all have the same; else None.

    Raises:
        MissingInputError, DataError: it does not exist, is invalid, or the runs were trained on all its images.
    """
    runs = [run for run in map(run_of, models) if run is not None]
    if gold is not None:
        truth, options = read_one(gold, images="checked", max_megapixels=_megapixels(models)), EvaluationConfig()
    else:
        configs: list[tuple[RunFolder, PipelineConfig]] = [(run, read_run_config(run)) for run in runs]
        gold_sets = {tuple(config.evaluation.gold) for _, config in configs}
        if len(gold_sets) != 1 or not next(iter(gold_sets)):
            return None
        run, config = configs[0]
        truth, options = read_gold(config, run).truth, config.evaluation
    splits = [split_of_content(run.dataset) for run in runs]
    kept = []
    for image in truth.images:
        sha256 = file_sha256(image.path) if any(splits) else ""
        if all(split.get(sha256) in (None, "test") for split in splits):
            kept.append(image)
    if not kept:
        raise DataError("The runs were trained on every image of the gold set.", "Give another --gold.")
    return BenchmarkGold(dataclasses.replace(truth, images=tuple(kept)), options, len(truth.images) - len(kept))


def _megapixels(models: Sequence[Path]) -> float:
    """The largest limit of pixels (millions) of the runs that the models are in; the default if there is no run."""
    return max((run_megapixels(run) for run in map(run_of, models) if run is not None), default=MAX_MEGAPIXELS)


@dataclass(frozen=True)
class BenchmarkImages:
    """Decoded images, their origin, and the milliseconds to decode each file (empty for drawn images)."""

    origin: str
    pixels: tuple[RgbImage, ...]
    decode_ms: tuple[float, ...]


def find_images(folder: Path | None, gold: BenchmarkGold | None, models: Sequence[Path], count: int) -> BenchmarkImages:
    """Up to `count` images in full size, spread evenly over the sorted files.

    They are from `folder` (or that one image), else from the gold set, else from the test or valid split of a run; if
    there is none of these, they are drawn.

    Raises:
        MissingInputError, DataError: there is no image, or one cannot be read.
    """
    origin, files = _files(folder, gold, models)
    limit = _megapixels(models)
    if not files:
        drawn = tuple(pixels for _, pixels in find_samples(None, None, count).images[:count])
        return BenchmarkImages("drawn", drawn, ())
    chosen = files[:: -(-len(files) // count)]
    pixels, times = [], []
    for path in chosen:
        open_rgb(path, max_megapixels=limit)  # read the file from the disk first, so that only decoding is timed
        started = time.perf_counter()
        pixels.append(open_rgb(path, max_megapixels=limit))
        times.append((time.perf_counter() - started) * 1000)
    return BenchmarkImages(origin, tuple(pixels), tuple(times))


def _files(folder: Path | None, gold: BenchmarkGold | None, models: Sequence[Path]) -> tuple[str, list[Path]]:
    if folder is not None:
        if not folder.exists():
            raise MissingInputError(f"There are no images at {folder}.", "Give an image, or a folder of images.")
        return "given", [folder] if folder.is_file() else discover(folder)
    if gold is not None:
        return "gold set", [image.path for image in gold.truth.images]
    for run in map(run_of, models):
        for split in ("test", "valid") if run is not None else ():
            assert run is not None
            folder = run.dataset / split
            if folder.is_dir() and any(folder.iterdir()):
                return f"{split} split", [image.path for image in coco.read(folder).images]
    return "drawn", []
