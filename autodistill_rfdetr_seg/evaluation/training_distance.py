"""The scores of gold images by how near the nearest training image is, and what they say about other images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.plain_text import counted, number
from ..core.types import GroundTruth
from .evaluator import Report
from .gold_look_alikes import LookAlike

# With fewer images or instances the AP of a part says nothing.
_LEAST_IMAGES, _LEAST_INSTANCES = 5, 10
_PARTS = 3
# A difference between the nearest and the farthest images that is worth a sentence.
_FALLS = 0.05


def distance_table(
    truth: GroundTruth, nearest: Mapping[str, LookAlike], reports: Mapping[str, Report | None]
) -> list[dict[str, Any]]:
    """The gold images in up to three parts of equal size, from the nearest to training images to the farthest.

    Each is {"low", "high": the bits of 64 by which the nearest training image differs, "images", "instances", "base",
    "target": mask AP on these images, or None}. Empty if there are too few images, or their distances are unknown.
    """
    known = [at for at, image in enumerate(truth.images) if image.image_id in nearest]
    bits = np.array([nearest[truth.images[at].image_id].bits for at in known])
    parts = min(_PARTS, len(known) // _LEAST_IMAGES)
    if parts < 2 or len(np.unique(bits)) < 2:
        return []
    # Images of one distance stay in one part.
    edges = np.unique(np.quantile(bits, np.arange(1, parts) / parts, method="lower"))
    place = np.searchsorted(edges, bits, side="left")
    table = []
    for part in np.unique(place).tolist():
        inside = [known[at] for at in np.flatnonzero(place == part).tolist()]
        weights = np.zeros((1, len(truth.images)))
        weights[0, inside] = 1
        instances = sum(not one.crowd for at in inside for one in truth.images[at].instances)
        row: dict[str, Any] = {
            "low": int(bits[place == part].min()),
            "high": int(bits[place == part].max()),
            "images": len(inside),
            "instances": instances,
        }
        for who, report in reports.items():
            resampled = None if report is None else report.resampled
            scored = resampled is not None and instances >= _LEAST_INSTANCES
            value = float(resampled.mask_ap(weights)[0]) if scored and resampled is not None else np.nan
            row[who] = None if np.isnan(value) else value
        table.append(row)
    return table


def distance_sentences(table: list[dict[str, Any]], one_view: bool) -> tuple[str, ...]:
    """What the scores mean for images that differ more from the training images."""
    notes = []
    if one_view:
        notes.append(
            "The gold images look like one another, as those of one fixed camera do: the scores are about this view, "
            "and say nothing about another one."
        )
    scored = [row for row in table if row.get("target") is not None]
    if len(scored) > 1 and scored[0]["target"] - scored[-1]["target"] > _FALLS:
        near, far = scored[0], scored[-1]
        notes.append(
            f"The target's mask AP is {number(near['target'])} on the {counted(near['images'], 'gold image')} nearest "
            f"to training images and {number(far['target'])} on the {far['images']} farthest: on images unlike the "
            "training images, expect the lower one or less."
        )
    return tuple(notes)
