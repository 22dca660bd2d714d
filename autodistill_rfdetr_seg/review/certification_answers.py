"""Reads the answers to the checks of a certification: the JSON that the page saves, or corrected annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import coco
from ..core.errors import DataError, MissingInputError
from ..core.plain_text import counted, short_list
from ..readers import read_source
from ..system.config_files import run_megapixels
from ..system.files import read_json
from ..system.run_folder import RunFolder
from .certification_checks import Checks
from .certification_truth import judge_items
from .import_corrections import match_source


@dataclass(frozen=True)
class Answers:
    """Whether each checked label is right, and the numbers of wrong labels and of missed objects of each region, by
    their references."""

    right: Mapping[str, bool]
    regions: Mapping[str, tuple[int, int]]

    def as_json(self, sample: str) -> dict[str, Any]:
        """The form that the page saves."""
        labels = {name: "right" if right else "wrong" for name, right in self.right.items()}
        regions = {name: {"wrong": wrong, "missed": missed} for name, (wrong, missed) in self.regions.items()}
        return {"sample": sample, "labels": labels, "regions": regions}


def read_answers(run: RunFolder, checks: Checks, source: Path) -> Answers:
    """The answers in `source`: the page's JSON, or a COCO or YOLO dataset with the corrected images of the checks.

    Raises:
        MissingInputError, DataError: it does not exist or is invalid, or a check has no answer.
    """
    if not source.exists():
        raise MissingInputError(f"There is nothing at {source}.", "Give the answers.json that the page saved.")
    document = read_json(source) if source.is_file() and source.suffix.lower() == ".json" else None
    if isinstance(document, dict) and "sample" in document:
        answers = _from_page(document, checks, source)
    else:
        answers = _from_annotations(run, checks, source)
    labels, regions = checks.references
    missing = [name for name in labels if name not in answers.right]
    missing += [name for name in regions if name not in answers.regions]
    if missing:
        total = len(labels) + len(regions)
        raise DataError(
            f"{len(missing)} of {counted(total, 'check')} have no answer in {source}: {short_list(missing, 3)}.",
            "Answer all of them: leaving out the difficult ones would make the bounds wrong.",
        )
    return answers


def _from_page(document: Mapping[str, Any], checks: Checks, source: Path) -> Answers:
    if document["sample"] != checks.name:
        raise DataError(f"The answers in {source} are to other checks than those in {checks.folder}.")
    labels, regions = document.get("labels"), document.get("regions")
    if not isinstance(labels, dict) or not isinstance(regions, dict):
        raise DataError(f"{source} has no answers: `labels` and `regions` must be objects.")
    of_region = {one.reference: one for one in checks.region_items}
    right = {}
    for name, value in labels.items():
        if value not in ("right", "wrong"):
            raise DataError(f"{source}: the answer to {name} is {value!r}; it must be 'right' or 'wrong'.")
        right[name] = value == "right"
    counts = {}
    for name, value in regions.items():
        wrong, missed = (value.get(key) for key in ("wrong", "missed")) if isinstance(value, dict) else (None, None)
        if type(wrong) is not int or type(missed) is not int or min(wrong, missed) < 0:
            raise DataError(f"{source}: the answer to {name} is {value!r}; it must have numbers `wrong` and `missed`.")
        if name in of_region and wrong > of_region[name].labels:
            raise DataError(f"{source}: {name} has {wrong} wrong labels of {of_region[name].labels}.")
        counts[name] = (wrong, missed)
    return Answers(right, counts)


def _from_annotations(run: RunFolder, checks: Checks, source: Path) -> Answers:
    """The answers that follow from corrected annotations: labels are matched with them at mask IoU 0.5, as in COCOeval.

    A label that is matched with a crowd counts as right, and a crowd is not a missed object.
    """
    annotated = read_source(source, images="ignored", max_megapixels=run_megapixels(run))
    coco.refuse_errors(annotated.problems)
    coco.log_warnings(annotated.problems)
    found = match_source(run, annotated)
    truths = {path: image for image, path in found.matched if path in checks.images}
    judged = judge_items(checks.items, truths)
    right = {one.reference: judged.right[one.reference] for one in checks.label_items if one.image in truths}
    regions = {
        one.reference: (judged.wrong[one.reference], judged.missed[one.reference])
        for one in checks.region_items
        if one.image in truths
    }
    return Answers(right, regions)
