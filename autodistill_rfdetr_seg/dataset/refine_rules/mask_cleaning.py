"""Removes small islands from masks and fills small holes in them. Rejects nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...core import masks
from ...core.types import Instance, Rle
from ..refine_rule import ApplyRule, Outcome, RefineRule, RuleContext, RuleStep, StepOutcome, area_in_pixels


def clean_masks(instances: Sequence[Instance], island_area: float, hole_area: float) -> Outcome:
    """Removes islands under `island_area` pixels and fills holes up to `hole_area` pixels; 0 switches each off."""
    if not (island_area or hole_area):
        return list(instances), []
    return [dataclasses.replace(i, rle=_cleaned(i, island_area, hole_area)) for i in instances], []


def _cleaned(instance: Instance, island_area: float, hole_area: float) -> Rle:
    # Nothing is lost by the crop: what touches its edge from inside is no hole in the whole image either.
    mask, top, left = masks.decode_box(instance.rle)
    if island_area:
        mask = masks.remove_islands(mask, island_area)
    if hole_area:
        mask = masks.fill_holes(mask, hole_area)
    return masks.encode_at(mask, top, left, instance.rle.height, instance.rle.width)


def _limits(context: RuleContext) -> tuple[float, float]:
    config, size = context.config, context.image_pixels
    return area_in_pixels(config.island_area, size), area_in_pixels(config.hole_area, size)


def _prepare(context: RuleContext) -> ApplyRule:
    islands, holes = _limits(context)
    return lambda found: clean_masks(found, islands, holes)


def _explain(step: RuleStep) -> tuple[StepOutcome, str]:
    islands, holes = _limits(step.context)
    if not (islands or holes):
        return "off", ""
    old, new = masks.decode(step.before.rle), masks.decode(step.after.rle)
    removed, filled = int((old & ~new).sum()), int((new & ~old).sum())
    limits = f"under {islands:g} and up to {holes:g} pixels"
    detail = f"islands: {removed} pixels removed; holes: {filled} pixels filled ({limits})"
    return "changed" if removed or filled else "passed", detail


RULES = (RefineRule("clean", 30, _prepare, _explain, {}),)
