"""Checks of a dataset before training: splits, classes, files, queries and small objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core.name_keys import class_key
from ...core.plain_text import short_list
from .dataset_survey import SplitSurvey
from .memory_estimate import ModelShape

Severity = Literal["error", "warning", "ok"]
TINY_PIXELS = 8
# A larger share of tiny objects gets a warning.
_TINY_SHARE = 0.1


@dataclass(frozen=True)
class Finding:
    """The result of a check: `message` says what was found, `hint` what to change."""

    severity: Severity
    check: str
    message: str
    hint: str | None = None


def check_files(
    train: SplitSurvey, valid: SplitSurvey, shape: ModelShape, start_classes: Sequence[str] | None
) -> Iterator[Finding]:
    """The findings on the surveys of both splits; `start_classes` are those of the checkpoint that training starts
    from, None where it starts from none."""
    splits = (train, valid)
    yield from _check_content(splits)
    yield from _check_classes(train, valid, start_classes)
    for split in splits:
        yield from _check_annotations(split)
    yield from _check_queries(splits, shape)
    yield from _check_object_size(train, shape)


def _check_content(splits: Sequence[SplitSurvey]) -> Iterator[Finding]:
    for one in splits:
        objects, images = int(one.instances.sum()), len(one.names)
        empty = int((one.instances == 0).sum())
        yield Finding("ok", f"{one.split} split", f"{images} images ({empty} empty), {objects} instances.")


def _check_classes(train: SplitSurvey, valid: SplitSurvey, start: Sequence[str] | None) -> Iterator[Finding]:
    problems = list(_class_problems(train, valid, start))
    for severity, message, hint in problems:
        yield Finding(severity, "classes", message, hint)
    if not problems:
        yield Finding("ok", "classes", f"{len(train.classes)}, all of them in the train split.")


def _class_problems(
    train: SplitSurvey, valid: SplitSurvey, start: Sequence[str] | None
) -> Iterator[tuple[Severity, str, str | None]]:
    names = list(train.classes)
    by_class_key: dict[str, str] = {}
    for name in names:
        other = by_class_key.setdefault(class_key(name), name)
        if other != name:
            yield (
                "warning",
                f"{other!r} and {name!r} differ only in case or spaces.",
                "Join them if they are one class.",
            )
    unused = [name for name in names if not train.per_class[name]]
    if unused:
        yield "warning", f"Without an instance in train: {_quoted(unused)}.", "They cannot be learned."
    unseen = [name for name in unused if valid.per_class[name]]
    if unseen:
        yield "warning", f"In valid and not in train: {_quoted(unseen)}.", "Put some into train: they count as misses."
    if start is None:
        return
    if list(start) != names and sorted(start) == sorted(names):
        message = f"The checkpoint's classes have another order: {_quoted(start)} there, {_quoted(names)} here."
        yield "warning", message, "Class outputs are reused by position, so they must be learned again."
    elif list(start) != names:
        message = f"The checkpoint knows {_quoted(start)}; the dataset has {_quoted(names)}."
        yield "warning", message, "Boxes and masks carry over; classes at another position are learned again."


def _check_annotations(one: SplitSurvey) -> Iterator[Finding]:
    if not one.problems:
        yield Finding("ok", f"{one.split} files", "masks, boxes and image files agree.")
    for group in one.problems:
        kind = group[0].kind
        done = f": {kind.treatment}" if kind.treatment and kind.severity == "warning" else ""
        first = f"{group[0].file.name}, {group[0].detail}"
        message = f"{len(group)} x {kind.name}{done} (first: {first})."
        yield Finding(kind.severity, f"{one.split} files", message, kind.hint or None)


def _check_queries(splits: Sequence[SplitSurvey], shape: ModelShape) -> Iterator[Finding]:
    most = [(int(one.instances.max(initial=0)), one) for one in splits]
    for count, one in most:
        if count <= shape.queries:
            continue
        over = int((one.instances > shape.queries).sum())
        worst = one.names[int(one.instances.argmax())]
        message = f"{over} images have more instances than the model's {shape.queries} queries; {worst!r} has {count}."
        # More queries than the published weights have are possible, but the added ones start from nothing.
        hint = (
            f"The rest is never learned: cut tiles, use a larger model size, or num_queries={count} num_select={count}."
        )
        yield Finding("warning", f"{one.split} queries", message, hint)
    if all(count <= shape.queries for count, _ in most):
        message = f"at most {max(count for count, _ in most)} instances an image, {shape.queries} queries."
        yield Finding("ok", "queries", message)


def tiny_share(one: SplitSurvey, resolution: int) -> float:
    """The share of objects whose box, at the model's resolution, has a geometric mean side under `TINY_PIXELS`."""
    if not len(one.boxes):
        return 0.0
    return float((np.sqrt(np.maximum(one.boxes, 0).prod(axis=1)) * resolution < TINY_PIXELS).mean())


def _check_object_size(train: SplitSurvey, shape: ModelShape) -> Iterator[Finding]:
    share = tiny_share(train, shape.resolution)
    median = int(np.median(train.sizes.max(axis=1))) if len(train.sizes) else 0
    text = f"{share:.0%} of objects are under {TINY_PIXELS} px at {shape.resolution} px (images: {median} px, median)"
    if share > _TINY_SHARE:
        hint = "Cut the images into tiles, or use a larger model size or resolution."
        yield Finding("warning", "object size", f"{text}.", hint)
    else:
        yield Finding("ok", "object size", f"{text}.")


def _quoted(names: Sequence[str]) -> str:
    return short_list(map(repr, names))
