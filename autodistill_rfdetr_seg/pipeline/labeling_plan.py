"""Forecasts what labeling all images would cost and find, from a seeded sample."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.config import PLAN_IMAGES, PipelineConfig
from ..core.plain_text import byte_size, number, table
from ..labels.base_source import BaseSource
from ..labels.stored_labels import StoredLabels
from ..review.label_preview import Item, instances_per_image, seeded_sample
from .labeling_costs import dataset_cost, labels_bytes, measured_sample, total_pixels

Range = tuple[float, float]

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Forecast:
    """What labeling all `images` would cost and find, from `sampled` of them; intervals are 90 %.

    Seconds are those of one process, from the sample's seconds per pixel: `base_seconds` is the time in the base,
    `start_seconds` the time that each run takes once (start, building the base, its first image), `dataset_seconds` the
    time for building the dataset. `overhead_measured` is False if the sample had labels already or a worker process
    made them: `seconds` then is the time in the base only. `memory_bytes` is the peak of that process, scaled from the
    sample to the largest image; None if the system does not report it, or a worker process labeled.
    `baked_images` are written as new files, `copied_images` are copied, the others are hard-linked.
    `per_class` is class → {"per_image", "interval", "instances" (in all images)}; `rejected` is reason → number per
    image. Intervals are None if fewer than two images were sampled.
    """

    images: int
    sampled: int
    failures: tuple[Mapping[str, str], ...]
    unreadable: int
    seconds: float
    seconds_interval: Range | None
    base_seconds: float
    start_seconds: float
    dataset_seconds: float
    overhead_measured: bool
    memory_bytes: int | None
    labels_bytes: int
    dataset_bytes: int
    baked_images: int
    copied_images: int
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
    count: int = PLAN_IMAGES,
    *,
    seed: int = 0,
    begun: float = 0.0,
    progress: bool = True,
) -> Forecast:
    """Labels a seeded sample of `items` into `folder/labels` and forecasts the rest.

    Images with stored labels are not labeled again; how long they took is stored as well. `begun` is the time in
    seconds that the process has used before, which a run takes too.

    Raises:
        UsageError, DataError: as `preview`.
    """
    # One process, whatever the run uses: the sample is too small to measure several.
    one = {"workers": 0, "actors": 1 if config.labeling.engine == "ray" else None}
    config = config.model_copy(update={"labeling": config.labeling.model_copy(update=one)})
    started = time.perf_counter()
    if config.labeling.in_this_process:
        source = source.with_model()
    built = time.perf_counter() - started
    source = source.with_items(items)
    sample, timing, memory = measured_sample(config, seeded_sample(items, count, seed), source, folder, progress)
    pixels = np.array([row.image.height * row.image.width for row in sample.rows], dtype=np.float64)
    all_pixels, largest, unreadable = total_pixels(items, config.inputs.max_megapixels)
    draws = _draws(len(sample.rows), seed)
    warm = [at for at, row in enumerate(sample.rows) if row.image.path not in timing.warm_ups]
    timed = warm if len(warm) >= 3 else list(range(len(sample.rows)))
    base = np.array([sample.rows[at].seconds for at in timed])
    base_seconds = float(base.sum() / pixels[timed].sum() * all_pixels)
    # The fraction that failed in the sample takes time too, but gives no labels.
    good = len(items) * len(sample.rows) / (len(sample.rows) + len(sample.summary.failures))
    per_class = instances_per_image(sample.labels, source.classes)
    found = np.array([len(one.instances) for one in sample.labels], dtype=np.float64)
    spread = _interval(found, draws)
    baked = [at for at, row in enumerate(sample.rows) if row.link_suffix is None]
    dataset_bytes, dataset_seconds, copied = dataset_cost(sample, baked, source, config, folder)
    once = begun + built + (timing.once or 0.0) + _warm_up(sample.rows, timing.warm_ups, base_seconds / all_pixels)
    rest = 0.0 if timing.beside is None else once + timing.beside * all_pixels + dataset_seconds * good
    return Forecast(
        images=len(items),
        sampled=len(sample.rows),
        failures=sample.summary.failures,
        unreadable=unreadable,
        seconds=base_seconds + rest,
        seconds_interval=_seconds_interval(base, pixels[timed], all_pixels, rest, seed),
        base_seconds=base_seconds,
        start_seconds=once,
        dataset_seconds=dataset_seconds * good,
        overhead_measured=timing.beside is not None,
        memory_bytes=memory.forecast(largest / pixels.max(), len(items)),
        labels_bytes=round(labels_bytes(sample, source, good, base_seconds + (timing.beside or 0.0) * all_pixels)),
        dataset_bytes=round(dataset_bytes * good),
        baked_images=round(len(baked) / len(sample.rows) * good),
        copied_images=round(copied / len(sample.rows) * good),
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
    """The forecast as text."""
    f = forecast
    time_range = "" if f.seconds_interval is None else f" ({' to '.join(map(_duration, f.seconds_interval))})"
    parts = {"the base": f.base_seconds, "once": f.start_seconds, "the dataset": f.dataset_seconds}
    listed = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in parts.items())
    rest = f"of it {listed}" if f.overhead_measured else "in the base only"
    memory = "not known" if f.memory_bytes is None else byte_size(f.memory_bytes)
    baked = f", {f.baked_images} images written as new files" if f.baked_images else ""
    copied = f", {f.copied_images} images copied, because they cannot be hard-linked"
    images = baked + (copied if f.copied_images else "") or ", images linked"
    expected = "" if f.instances_interval is None else " ({:.0f} to {:.0f})".format(*f.instances_interval)
    lines = [
        f"{f.images} images, forecast from {f.sampled} of them (in brackets: 90 % interval)",
        f"time       {_duration(f.seconds)}{time_range} in one process, {rest}",
        f"memory     {memory} at most in that process",
        f"disk       labels {byte_size(f.labels_bytes)}, dataset {byte_size(f.dataset_bytes)}{images}",
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


def _warm_up(rows: Sequence[StoredLabels], warm_ups: Collection[str], rate: float) -> float:
    """Seconds that the base's first image took more than the next, at `rate` seconds a pixel."""
    more = [r.seconds - rate * r.image.height * r.image.width for r in rows if r.image.path in warm_ups]
    return max(0.0, min(more, default=0.0))


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


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
