"""What a dataset's files tell before the first step: splits, classes, masks, images, queries, small objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .memory import Shape
from .survey import Survey

Severity = Literal["error", "warning", "ok"]
TINY_PIXELS = 8
# Of all objects: over this share tiny ones are worth a word, and wrong boxes are no slip.
_TINY_SHARE = 0.1
_WRONG_SHARE = 0.01
# Training stops at these, with whatever count; the rest of what is wrong with a mask only teaches badly.
_FATAL = {
    "image id used twice": "Give every image its own id.",
    "unknown image id": "Remove the annotation, or list its image.",
    "unknown category id": "Remove the annotation, or list its category.",
    "image file is missing": "Put the file there, or remove its row.",
    "image file is outside of the folder": "Copy it into the split's folder.",
    "image file cannot be opened": "Remove it, or save it again.",
    "image size is not the file's": "Masks would be laid over the wrong pixels: write width and height again.",
    "image size is not two numbers over 0": "Write the file's width and height.",
    "box is not four numbers": "Write x, y, width and height in pixels: compute them from the mask.",
    "mask cannot be read": "`autodistill-seg validate` lists each with its reason.",
    "line is not numbers": "Write `class x y x y …`.",
}
_ADVICE = {
    "box is not the mask's": "RF-DETR learns boxes from `bbox`: compute them from the masks.",
    "box is missing": "RF-DETR's reader needs `bbox`: compute it from the mask.",
    "mask is empty": "Remove the annotation: it teaches a box without a mask.",
    "image is turned by EXIF": "RF-DETR reads it unturned: save it upright.",
    "polygon reaches outside of the image": "Cut it off at the image's edge.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `message` says what was found, `hint` what to change."""

    severity: Severity
    check: str
    message: str
    hint: str | None = None


def of_files(train: Survey, valid: Survey, shape: Shape, start_classes: Sequence[str] | None) -> Iterator[Finding]:
    """Every check that the surveys of both splits are enough for; `start_classes` are the starting checkpoint's."""
    splits = (train, valid)
    yield from _content(splits)
    yield from _classes(train, valid, start_classes)
    for split in splits:
        yield from _faults(split)
    yield from _queries(splits, shape)
    yield from _tiny(train, shape)


def _content(splits: Sequence[Survey]) -> Iterator[Finding]:
    for one in splits:
        objects, images = int(one.instances.sum()), len(one.names)
        empty = int((one.instances == 0).sum())
        looked, masks = one.looked_at
        text = f"{images} images ({empty} empty), {objects} instances; {looked} images and {masks} masks looked at"
        yield Finding("ok", f"{one.split} split", f"{text}.")
        if one.unmasked:
            message = f"{one.unmasked} of {objects} objects have a box and no mask."
            yield Finding("warning", f"{one.split} masks", message, "Label with a base that segments, or remove them.")
        if one.crowds:
            message = f"{one.crowds} annotations are crowds, which RF-DETR leaves out: they become background."
            yield Finding("warning", f"{one.split} crowds", message, "Split them into instances where there are many.")


def _classes(train: Survey, valid: Survey, start: Sequence[str] | None) -> Iterator[Finding]:
    problems = list(_class_problems(train, valid, start))
    for severity, message, hint in problems:
        yield Finding(severity, "classes", message, hint)
    if not problems:
        yield Finding("ok", "classes", f"{len(train.classes)}, all of them in the train split.")


def _class_problems(
    train: Survey, valid: Survey, start: Sequence[str] | None
) -> Iterator[tuple[Severity, str, str | None]]:
    names = list(train.classes.values())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield "error", f"Two categories are called {twice[0]!r}.", "Join them under one id."
    loose: dict[str, str] = {}
    for name in names:
        other = loose.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            yield (
                "warning",
                f"{other!r} and {name!r} differ in case or space alone.",
                "Join them if they are one class.",
            )
    shared = set(train.classes) & set(valid.classes)
    moved = sorted(number for number in shared if train.classes[number] != valid.classes[number])
    if moved:
        first = f"{moved[0]} is {train.classes[moved[0]]!r} in train and {valid.classes[moved[0]]!r} in valid"
        yield "error", f"Category ids mean different classes: {first}.", "Write both files with the same categories."
    unused = [name for number, name in train.classes.items() if not train.per_class[number]]
    if unused:
        yield (
            "warning",
            f"Without an instance in train: {_listed(unused)}.",
            "They cannot be learnt.",
        )
    unseen = [name for number, name in valid.classes.items() if valid.per_class[number] and name in unused]
    if unseen:
        yield "warning", f"In valid and not in train: {_listed(unseen)}.", "Give train some: they count as misses."
    if start is None:
        return
    if list(start) != names and sorted(start) == sorted(names):
        message = f"The checkpoint's classes have another order: {_listed(start)} there, {_listed(names)} here."
        yield "warning", message, "Its class outputs are taken by place, and have to be learnt again."
    elif list(start) != names:
        message = f"The checkpoint knows {_listed(start)}; the dataset has {_listed(names)}."
        yield "warning", message, "Boxes and masks carry over; classes at another place are learnt anew."


def _faults(one: Survey) -> Iterator[Finding]:
    _, masks = one.looked_at
    if not one.faults:
        yield Finding("ok", f"{one.split} files", "masks, boxes and image files fit each other.")
    for kind, fault in sorted(one.faults.items(), key=lambda item: item[0] not in _FATAL):
        many = kind.startswith("box") and fault.count > _WRONG_SHARE * max(masks, 1)
        severity: Severity = "error" if kind in _FATAL or many else "warning"
        yield Finding(
            severity, f"{one.split} files", f"{kind}: {fault.count}, first {fault.first}.", (_FATAL | _ADVICE)[kind]
        )


def _queries(splits: Sequence[Survey], shape: Shape) -> Iterator[Finding]:
    most = [(int(one.instances.max(initial=0)), one) for one in splits]
    for count, one in most:
        if count <= shape.queries:
            continue
        over = int((one.instances > shape.queries).sum())
        worst = one.names[int(one.instances.argmax())]
        message = f"{over} images hold more than the model's {shape.queries} queries; {worst!r} has {count}."
        # More than the published weights have is possible, but the added ones start from nothing.
        hint = (
            f"What is over is never learnt: cut tiles, take a larger size, or num_queries={count} num_select={count}."
        )
        yield Finding("warning", f"{one.split} queries", message, hint)
    if all(count <= shape.queries for count, _ in most):
        message = f"at most {max(count for count, _ in most)} instances an image, {shape.queries} queries."
        yield Finding("ok", "queries", message)


def tiny_share(one: Survey, resolution: int) -> float:
    """The share of objects whose box, at the model's resolution, has a geometric mean side under `TINY_PIXELS`."""
    if not len(one.boxes):
        return 0.0
    return float((np.sqrt(np.maximum(one.boxes, 0).prod(axis=1)) * resolution < TINY_PIXELS).mean())


def _tiny(train: Survey, shape: Shape) -> Iterator[Finding]:
    share = tiny_share(train, shape.resolution)
    median = int(np.median(train.sizes.max(axis=1))) if len(train.sizes) else 0
    text = f"{share:.0%} of objects are under {TINY_PIXELS} px at {shape.resolution} px (images: {median} px, median)"
    if share > _TINY_SHARE:
        hint = "Cut the images into tiles, or take a larger size or resolution."
        yield Finding("warning", "object size", f"{text}.", hint)
    else:
        yield Finding("ok", "object size", f"{text}.")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
