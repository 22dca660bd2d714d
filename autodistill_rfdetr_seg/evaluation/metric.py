"""An overall metric: its name, the function that computes it, and its position in the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core.discovery import discovered
from . import metric_definitions
from .coco_arrays import CocoArrays


@dataclass(frozen=True)
class Metric:
    """A number for a whole evaluation: `compute` returns 0..1, or None if undefined.

    `name` is its key in metrics.json and in gates (`target.mask.NAME`). The table of the report shows it as `title`
    with `hint` next to it, sorted by `order`; `{max}` in the title is the maximum number of detections per image.
    Without a title it is not in the table. `for_boxes` says whether the table shows it for boxes too.
    """

    name: str
    compute: Callable[[CocoArrays], float | None]
    order: int
    title: str = ""
    hint: str = ""
    for_boxes: bool = False


def all_metrics() -> tuple[Metric, ...]:
    """Every metric of the folder `metric_definitions`, sorted by `order`."""
    return tuple(sorted(discovered(metric_definitions, "METRICS"), key=lambda metric: (metric.order, metric.name)))


def summary(arrays: CocoArrays) -> dict[str, float | None]:
    """Every overall metric by name: 0..1, or None if undefined."""
    return {metric.name: metric.compute(arrays) for metric in all_metrics()}
