"""What labelling a whole folder would take and give, forecast from a seeded sample of it."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import coco
from .bases.source import BaseSource
from .config import PipelineConfig
from .files import read_json, write_json
from .images import open_rgb, write_png
from .previewing import Item, Sample, choose, instances_per_image, label_sample
from .records import Classes
from .tables import number, table

Range = tuple[float, float]

_RESAMPLES = 1000
_TIMING = "timing.json"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What labelling all `images` would take and give, from `sampled` of them; intervals are 90 %.

    Seconds are those of one process without building the base, from the sample's seconds a pixel; `base_seconds` is the
    base's own share. `overhead_measured` is False where the sample was stored before or a worker was asked: `seconds`
    then is the base's share alone. `memory_bytes` is this process's peak so far (None where the system does not tell).
    `per_class` is class → {"per_image", "interval", "instances" (in all)}; `rejected` is reason → number an image.
    Intervals are None where fewer than two images were sampled.
    """

    images: int
    sampled: int
    failures: tuple[Mapping[str, str], ...]
    unreadable: int
    seconds: float
    seconds_interval: Range | None
    base_seconds: float
    overhead_measured: bool
    memory_bytes: int | None
    labels_bytes: int
    dataset_bytes: int
    baked_images: int
    instances: float
    instances_interval: Range | None
    per_class: Mapping[str, Mapping[str, Any]]
    negatives_share: float
    rejected: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return dataclasses.asdict(self)


def plan(
    config: PipelineConfig,
    items: Sequence[Item],
    source: BaseSource,
    folder: Path,
    count: int = 20,
    *,
    seed: int = 0,
    progress: bool = True,
) -> Forecast:
    """Labels a seeded sample of `items` into `folder/labels` and forecasts what all of them would take and give.

    What is stored there already is not asked for again; how long it took is kept beside it.

    Raises:
        UsageError, DataError: as `preview`.
    """
    # One process, whatever the run will use: the sample is too small for several to be measured.
    labeling = config.labeling.model_copy(update={"workers": 0})
    in_worker = labeling.timeout_per_image is not None
    source = source if in_worker else source.built()
    chosen = choose(items, count, seed)
    labels = folder / "labels"
    sample = label_sample(config.model_copy(update={"labeling": labeling}), chosen, source, labels, progress)
    overhead, warm_ups = _timing(folder / _TIMING, source, sample, measured=not in_worker)
    pixels = np.array([row.image.height * row.image.width for row in sample.rows], dtype=np.float64)
    all_pixels, unreadable = _total_pixels(items, float(pixels.mean()))
    draws = _draws(len(sample.rows), seed)
    warm = [at for at, row in enumerate(sample.rows) if row.image.path not in warm_ups]
    timed = warm if len(warm) >= 3 else list(range(len(sample.rows)))
    base = np.array([sample.rows[at].seconds for at in timed])
    base_seconds = float(base.sum() / pixels[timed].sum() * all_pixels)
    rest = (overhead or 0.0) * (len(items) - unreadable)
    # A share that failed in the sample takes its time too, but gives no labels.
    good = len(items) * len(sample.rows) / (len(sample.rows) + len(sample.summary.failures))
    per_class = instances_per_image(sample.labels, source.classes)
    found = np.array([len(one.instances) for one in sample.labels], dtype=np.float64)
    spread = _interval(found, draws)
    baked = [at for at, row in enumerate(sample.rows) if row.link_suffix is None]
    return Forecast(
        images=len(items),
        sampled=len(sample.rows),
        failures=sample.summary.failures,
        unreadable=unreadable,
        seconds=base_seconds + rest,
        seconds_interval=_seconds_interval(base, pixels[timed], all_pixels, rest, seed),
        base_seconds=base_seconds,
        overhead_measured=overhead is not None,
        memory_bytes=peak_memory(),
        labels_bytes=round(_labels_bytes(labels) * good),
        dataset_bytes=round(_dataset_bytes(sample, baked, source.classes, config, folder) * good),
        baked_images=round(len(baked) / len(sample.rows) * good),
        instances=float(found.mean()) * good,
        instances_interval=None if spread is None else (spread[0] * good, spread[1] * good),
        per_class={
            name: {
                "per_image": float(column.mean()),
                "interval": _interval(column, draws),
                "instances": float(column.mean()) * good,
            }
            for name, column in per_class.items()
        },
        negatives_share=float((found == 0).mean()),
        rejected={reason: n / len(sample.rows) for reason, n in sample.rejected().items()},
    )


def forecast_text(forecast: Forecast) -> str:
    """The forecast for reading in a terminal."""
    f = forecast
    time_range = "" if f.seconds_interval is None else f" ({' to '.join(map(_duration, f.seconds_interval))})"
    rest = f"{_duration(f.base_seconds)} of it the base" if f.overhead_measured else "the base's share alone"
    memory = "not known" if f.memory_bytes is None else _size(f.memory_bytes)
    baked = f", {f.baked_images} images written anew" if f.baked_images else ", images linked"
    expected = "" if f.instances_interval is None else " ({:.0f} to {:.0f})".format(*f.instances_interval)
    lines = [
        f"{f.images} images, forecast from {f.sampled} of them (in brackets: 90 % interval)",
        f"time       {_duration(f.seconds)}{time_range} in one process, {rest}",
        f"memory     {memory} at most so far in this process",
        f"disk       labels {_size(f.labels_bytes)}, dataset {_size(f.dataset_bytes)}{baked}",
        f"instances  {f.instances:.0f}{expected}; nothing in {f.negatives_share:.0%} of the images",
        "",
    ]
    rows = [
        [
            name,
            number(one["per_image"], ".2f"),
            "–" if one["interval"] is None else "{:.2f} to {:.2f}".format(*one["interval"]),
            number(one["instances"], ".0f"),
        ]
        for name, one in f.per_class.items()
    ]
    lines.append(table(["class", "an image", "90 % interval", "in all"], rows))
    if f.rejected:
        lines += ["", "rejected an image: " + ", ".join(f"{reason} {n:.2f}" for reason, n in f.rejected.items())]
    lines += [f"failed  {failure['path']}: {failure['reason']}" for failure in f.failures]
    return "\n".join(lines)


def peak_memory() -> int | None:
    """The most memory (bytes, resident) this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _timing(path: Path, source: BaseSource, sample: Sample, *, measured: bool) -> tuple[float | None, set[str]]:
    """Seconds an image beside the base's own, and the images whose time holds the base's warm-up.

    Both come from all samples taken with this base; None where none was measured.
    """
    made = source.provenance.fingerprint
    known = read_json(path) if path.is_file() else {}
    mine = known.get(made, {"images": 0, "overhead": 0.0, "warm_ups": []})
    if sample.fresh:
        # Files of one content are labelled once, and their rows hold the same seconds.
        own = sum({r.image.sha256: r.seconds for r in sample.rows if r.image.path in sample.fresh}.values())
        warm_ups = sorted({*mine["warm_ups"], sample.fresh[0]})
        mine = {**mine, "warm_ups": warm_ups}
        if measured:
            rest = max(0.0, sample.wall - own)
            mine |= {"images": mine["images"] + len(sample.fresh), "overhead": mine["overhead"] + rest}
        write_json(path, {**known, made: mine})
    overhead = mine["overhead"] / mine["images"] if mine["images"] else None
    return overhead, set(mine["warm_ups"])


def _total_pixels(items: Sequence[Item], usual: float) -> tuple[float, int]:
    """Pixels of all images, from their headers, and the number that have none to read.

    A header may be beyond Pillow and the image not (`usual` pixels then count), or there may be no file.
    """
    from PIL import Image

    total, unreadable = 0.0, 0
    for path, _ in items:
        try:
            with Image.open(path) as image:
                total += image.width * image.height
        except (OSError, SyntaxError, Image.DecompressionBombError):
            unreadable += 1
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            total += usual
    return total, unreadable


def _draws(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Bootstrap samples: places of shape (resamples, count)."""
    return np.random.default_rng(seed).integers(0, count, (_RESAMPLES, count))


def _interval(values: npt.NDArray[np.float64], draws: npt.NDArray[np.int64]) -> Range | None:
    """The bootstrap 90 % interval of the mean."""
    return None if len(values) < 2 else _percentiles(values[draws].mean(axis=1))


def _seconds_interval(
    base: npt.NDArray[np.float64], pixels: npt.NDArray[np.float64], total: float, rest: float, seed: int
) -> Range | None:
    if len(base) < 2:
        return None
    draws = _draws(len(base), seed)
    return _percentiles(base[draws].sum(axis=1) / pixels[draws].sum(axis=1) * total + rest)


def _percentiles(values: npt.NDArray[np.float64]) -> Range:
    low, high = np.percentile(values, [5, 95])
    return float(low), float(high)


def _labels_bytes(folder: Path) -> float:
    """Bytes of the store an image; a little high, as a sample's shards are small."""
    import pyarrow.parquet as pq

    shards = sorted(folder.glob("part-*.parquet"))
    rows = sum(pq.read_metadata(shard).num_rows for shard in shards)
    return float(sum(shard.stat().st_size for shard in shards) / max(1, rows))


def _dataset_bytes(
    sample: Sample, baked: Sequence[int], classes: Classes, config: PipelineConfig, folder: Path
) -> float:
    """Bytes of a built dataset an image, measured: annotations, and images written anew; a linked one costs nothing."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".plan-") as name:
        path = Path(name) / coco.ANNOTATIONS
        entries = ((f"{labels.image.id}.png", labels) for labels in sample.labels)
        coco.write(path, entries, classes, {}, config.dataset.segmentation)
        total = path.stat().st_size
        for at in baked:
            write_png(Path(name) / "baked.png", open_rgb(sample.paths[at]))
            total += (Path(name) / "baked.png").stat().st_size
    return total / len(sample.labels)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _size(count: float) -> str:
    units = ("B", "kB", "MB", "GB")
    for unit in units[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {units[-1]}"
