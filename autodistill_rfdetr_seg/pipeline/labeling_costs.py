"""The cost of labeling, measured on a sample: seconds, memory, and bytes of labels and dataset."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import coco
from ..core.config import LabelingConfig, PipelineConfig
from ..core.errors import DataError
from ..core.types import ImageLabels
from ..dataset.refine import refine
from ..images.image_formats import check_sides
from ..images.image_header import image_size
from ..images.image_opening import open_rgb
from ..images.rgb_image import write_png
from ..labels.base_source import BaseSource
from ..labels.label_store import ROWS_PER_SHARD, SECONDS_PER_SHARD, LabelStore
from ..labels.labeler import label_images
from ..review.label_preview import Item, Sample, label_sample, restoring_account
from ..system.files import link, read_json, write_json

# Besides the images in progress, a run keeps the names and paths of all images and the dataset's index in memory
# (benchmarks/building.py: 10,000 images against 500).
_BYTES_KEPT_AN_IMAGE = 3000


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per pixel outside of the base (`beside`), and seconds that each run takes `once`; None if not measured.
    `warm_ups` are the images whose time includes the base's warm-up."""

    beside: float | None
    once: float | None
    warm_ups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes: between two images, and the peak while the sample was labeled; None if not known."""

    rest: int | None
    peak: int | None

    def forecast(self, growth: float, images: int) -> int | None:
        """The peak of a run over `images`; the largest has `growth` times the pixels of the largest in the sample."""
        if self.peak is None:
            return None
        work = 0 if self.rest is None else max(0, self.peak - self.rest)
        return round(self.peak + work * max(0.0, growth - 1) + images * _BYTES_KEPT_AN_IMAGE)


def measured_sample(
    config: PipelineConfig, chosen: Sequence[Item], source: BaseSource, folder: Path, progress: bool
) -> tuple[Sample, Timing, Memory]:
    """Labels those of `chosen` that have no labels in `folder/labels` yet, and measures it; `folder` keeps the times.

    Raises:
        DataError: no image could be labeled.
    """
    labels = folder / "labels"
    if not config.labeling.in_this_process:
        # Another process labels, so only the time in the base is known.
        sample = label_sample(config, chosen, source, labels, progress)
        timing = _kept(folder / "timing.json", source, None, None, 0.0, set(sample.new[:1]))
        return sample, timing, Memory(None, None)
    options = config.labeling.model_copy(update={"slice": None})
    # The first image alone loads libraries and warms up the base. Then no image: that takes time too.
    first, empty = [_timed_labels(source, chosen[:1], labels, options, config.inputs.max_megapixels) for _ in range(2)]
    rest = resident_memory()
    sample = label_sample(config, chosen, source, labels, progress)
    memory = Memory(rest, peak_memory())
    pixels = {row.image.path: row.image.height * row.image.width for row in sample.rows}
    if not first[1]:
        return sample, _beside(folder, source, sample, pixels, sample.wall, None, set()), memory
    name = chosen[0][1]
    own = next(row.seconds for row in sample.rows if row.image.path == name)
    if not sample.new:
        timing = _kept(folder / "timing.json", source, max(0.0, first[0] - own), 0.0, pixels[name], {name})
        return sample, timing, memory
    wall = max(0.0, sample.wall - empty[0] - _shard(sample, source)[1])
    return sample, _beside(folder, source, sample, pixels, wall, (first[0] - own, pixels[name]), {name}), memory


def _timed_labels(
    source: BaseSource, items: Sequence[Item], labels: Path, options: LabelingConfig, max_megapixels: float
) -> tuple[float, int]:
    started = time.perf_counter()
    with restoring_account(labels):
        summary = label_images(source, items, labels, options, max_megapixels=max_megapixels, progress=False)
    return time.perf_counter() - started, summary.labeled


def _beside(
    folder: Path,
    source: BaseSource,
    sample: Sample,
    pixels: dict[str, int],
    wall: float,
    first: tuple[float, int] | None,
    warm_ups: set[str],
) -> Timing:
    """The timing of the new images, which took `wall` seconds; `first` is that of the first image."""
    if not sample.new:
        return _kept(folder / "timing.json", source, None, None, 0.0, set())
    fresh = set(sample.new)
    # Files with the same content are labeled once, and their rows have the same seconds.
    once_each = {r.image.sha256: r for r in sample.rows if r.image.path in fresh}.values()
    beside = max(0.0, wall - sum(row.seconds for row in once_each))
    size = float(sum(pixels[name] for name in fresh))
    once = None if first is None else max(0.0, first[0] - beside / size * first[1])
    return _kept(folder / "timing.json", source, beside, once, size, warm_ups)


def _kept(
    path: Path, source: BaseSource, beside: float | None, once: float | None, pixels: float, warm_ups: set[str]
) -> Timing:
    """The timing over all samples with this base, including this one; stored in the file `path`."""
    made = source.provenance.fingerprint
    known = read_json(path) if path.is_file() else {}
    mine = {"pixels": 0.0, "beside": 0.0, "once": None, "warm_ups": [], **known.get(made, {})}
    if beside is not None:
        mine |= {"pixels": mine["pixels"] + pixels, "beside": mine["beside"] + beside}
    if once is not None:
        mine["once"] = once
    mine["warm_ups"] = sorted({*mine["warm_ups"], *warm_ups})
    write_json(path, {**known, made: mine})
    rate = mine["beside"] / mine["pixels"] if mine["pixels"] else None
    return Timing(rate, mine["once"], frozenset(mine["warm_ups"]))


def labels_bytes(sample: Sample, source: BaseSource, images: float, seconds: float) -> float:
    """Bytes of the store with `images` labeled in `seconds`: bytes per row, and bytes per shard outside of rows.

    A sample's own shards are small, so that half and whole are written and compared.
    """
    a_row, beside = _row_and_shard(sample, source)
    full, in_time = images / ROWS_PER_SHARD, seconds / SECONDS_PER_SHARD
    # The number of rows is exact; with a forecast time, the last shard is on average half full.
    shards = math.ceil(full) if full > in_time else max(1.0, in_time + 0.5)
    return a_row * images + beside * shards


def _row_and_shard(sample: Sample, source: BaseSource) -> tuple[float, float]:
    count = min(len(sample.rows), ROWS_PER_SHARD)
    whole = _shard(sample, source, 0, count)[0]
    if count < 2:
        return float(whole), 0.0
    halves = _shard(sample, source, 0, count // 2)[0] + _shard(sample, source, count // 2, count)[0]
    beside = min(max(0.0, float(halves - whole)), float(whole))
    return (whole - beside) / count, beside


def _shard(sample: Sample, source: BaseSource, start: int = 0, end: int = ROWS_PER_SHARD) -> tuple[int, float]:
    """Bytes of a shard with the rows from `start` to `end`, and the seconds to write it."""
    with tempfile.TemporaryDirectory(prefix="autodistill-seg-") as name:
        started = time.perf_counter()
        with LabelStore(Path(name)) as store:
            for row in sample.rows[start:end]:
                store.append(row, source.provenance)
        seconds = time.perf_counter() - started
        return sum(path.stat().st_size for path in Path(name).iterdir()), seconds


def dataset_cost(
    sample: Sample, baked: Sequence[int], source: BaseSource, config: PipelineConfig, folder: Path
) -> tuple[float, float, int]:
    """Bytes and seconds per image of a dataset: annotations, index, and images that are written or copied; links are
    free. And how many of the sample will be copied because they cannot be hard-linked into `folder`."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".plan-") as name:
        path = Path(name) / coco.ANNOTATIONS

        def entries() -> Iterator[tuple[str, ImageLabels]]:
            for row in sample.rows:
                yield f"{row.image.id}.png", refine(row.with_classes(source.classes), config.refine, source.classes)

        started = time.perf_counter()
        coco.write(path, entries(), source.classes, {}, config.dataset.segmentation)
        total = path.stat().st_size
        for at in baked:
            pixels = open_rgb(sample.paths[at], max_megapixels=config.inputs.max_megapixels)
            write_png(Path(name) / "baked.png", pixels)
            total += (Path(name) / "baked.png").stat().st_size
        copied = [
            at for at, _ in enumerate(sample.rows) if at not in baked and not _can_be_linked(sample.paths[at], name)
        ]
        for at in copied:
            shutil.copyfile(sample.paths[at], Path(name) / "copied")
            total += (Path(name) / "copied").stat().st_size
        seconds = time.perf_counter() - started
    for row in sample.rows:
        entry = {"split": "train", "file_name": Path(row.image.path).name, "sha256": row.image.sha256}
        total += len(json.dumps({"images": {row.image.path: {**entry, "id": row.image.id}}}, indent=2))
    return total / len(sample.rows), seconds / len(sample.rows), len(copied)


def _can_be_linked(file: Path, folder: str) -> bool:
    place = Path(folder, "linked")
    linked = link(file, place)
    place.unlink(missing_ok=True)
    return linked


def total_pixels(items: Sequence[Item], max_megapixels: float) -> tuple[int, int, int]:
    """Pixels of all images and of the largest, from their headers, and the number of images that will not be opened:
    there is no file, the header cannot be read, or the image is too large."""
    total, largest, unreadable = 0, 0, 0
    for path, _ in items:
        try:
            height, width = image_size(path, max_megapixels=max_megapixels)
            check_sides(width, height, str(path))
        except DataError:
            unreadable += 1
        else:
            total += width * height
            largest = max(largest, width * height)
    return total, largest, unreadable


def peak_memory() -> int | None:
    """The peak of this process's resident memory in bytes; None if the system does not report it."""
    # On Linux, getrusage counts the memory of the parent for a spawned process.
    with contextlib.suppress(OSError, IndexError, ValueError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def resident_memory() -> int | None:
    """The resident memory of this process in bytes; None if the system does not report it."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    except (ImportError, OSError):
        return None
