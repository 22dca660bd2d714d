"""What an overall metric is: its name, the function that computes it, and its place in the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core.discovery import discovered
from . import metric_definitions
from .coco_arrays import CocoArrays


@dataclass(frozen=True)
class Metric:
    """A number of a whole evaluation: `compute` returns 0..1, or None where it is undefined.

    `name` is its key in metrics.json and in gates (`target.mask.NAME`). The report's table shows it under `title`, with
    `hint` beside it, by rising `order`; `{max}` in the title is the number of detections an image. Without a title the
    table leaves it out. `for_boxes` tells whether the table shows it for boxes too.
    """

    name: str
    compute: Callable[[CocoArrays], float | None]
    order: int
    title: str = ""
    hint: str = ""
    for_boxes: bool = False


def all_metrics() -> tuple[Metric, ...]:
    """Every metric of the folder `metric_definitions`, by `order`."""
    return tuple(sorted(discovered(metric_definitions, "METRICS"), key=lambda metric: (metric.order, metric.name)))


def summary(arrays: CocoArrays) -> dict[str, float | None]:
    """Every overall metric by name, 0..1, None where undefined."""
    return {metric.name: metric.compute(arrays) for metric in all_metrics()}
