"""Writes COCO instance segmentation, one annotation at a time, byte for byte the same for the same input.

supervision's `as_coco` makes a crowd, which RF-DETR does not learn from, of every mask with a hole or in several parts,
and simplifies the others: https://github.com/roboflow/supervision/pull/1163
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any, Literal

from ..core import masks
from ..core.errors import DataError
from ..core.types import Classes, ImageLabels, Instance, TruthImage, TruthInstance
from ..system.files import replacing
from . import segmentation as segmentations
from .image_files import unsafe_file_name

Segmentation = Literal["rle", "polygon"]
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image and its annotations as text of a COCO file that lacks their ids.

    Each of `annotations` is the JSON text before its `id` and `image_id`, and that after them. Sides are in pixels.
    """

    file_name: str
    height: int
    width: int
    annotations: tuple[tuple[str, str], ...]


def write(
    path: Path,
    entries: Iterable[tuple[str, ImageLabels | TruthImage]],
    classes: Classes,
    info: Mapping[str, Any],
    segmentation: Segmentation = "rle",
) -> dict[str, int]:
    """Write the COCO file `path` from (file name inside its folder, labels) pairs, and count its content.

    Ids of images, annotations and categories count from 1, in the order given. Masks are compressed RLE; with
    "polygon" one without holes and in one part becomes a polygon where that is accurate. `iscrowd` is 0 for labels, as
    a reader such as RF-DETR drops crowds, and what it was for a gold set's image, whose area and box are as stated. An
    instance whose mask has no pixel is left out. Memory grows with the number of images only.

    Returns:
        {"images": n, "instances": n, "negatives": n}.

    Raises:
        DataError: a file name leaves the folder or comes twice, a class index is not in `classes`, a mask is not of
            its image's size, or a score is not a number.
    """
    encoded = (encode_image(path, file_name, labels, classes, segmentation) for file_name, labels in entries)
    return write_encoded(path, encoded, classes, info)


def encode_image(
    path: Path, file_name: str, labels: ImageLabels | TruthImage, classes: Classes, segmentation: Segmentation = "rle"
) -> EncodedImage:
    """The text of one image of the COCO file `path`, which `write_encoded` writes; options and errors as of `write`.

    It depends on nothing but the image, so that several processes may encode one file.
    """
    height, width = _size(labels)
    where = f"{path}, image {file_name!r}"
    for instance in labels.instances:
        _check_instance(instance, (height, width), classes, where)
    return EncodedImage(file_name, height, width, _annotations(labels, segmentation))


def write_encoded(
    path: Path, entries: Iterable[EncodedImage], classes: Classes, info: Mapping[str, Any]
) -> dict[str, int]:
    """Write the COCO file `path` from images as `encode_image` gives them for it; see `write`.

    Raises:
        DataError: a file name leaves the folder or comes twice, or two classes share a name.
    """
    if len(set(classes.names)) != len(classes.names):
        raise DataError(f"{path} cannot be written: two classes share a name in {list(classes.names)}.")
    with (
        replacing(path) as partial,
        TemporaryFile("w+", encoding="ascii", newline="\n", dir=path.parent) as images,
        partial.open("w", encoding="ascii", newline="\n") as main,
    ):
        counts = _write_parts(main, images, path, entries)
        _finish(main, images, classes, info)
    return counts


def dumps(value: object) -> str:
    """Compact JSON in ASCII with sorted keys: some readers open a COCO file in the machine's own encoding."""
    return _encode(value)


def category_rows(classes: Classes) -> list[dict[str, Any]]:
    """The `categories` of a COCO file, ids from 1 in the classes' order."""
    return [{"id": i, "name": name, "supercategory": "none"} for i, name in enumerate(classes.names, start=1)]


def _write_parts(main: IO[str], images: IO[str], path: Path, entries: Iterable[EncodedImage]) -> dict[str, int]:
    """Stream annotations to `main` and images to `images`: sorted keys put the annotations first."""
    counts = {"images": 0, "instances": 0, "negatives": 0}
    names: set[str] = set()
    main.write('{"annotations":[')
    for entry in entries:
        reason = unsafe_file_name(entry.file_name)
        name = str(PurePosixPath(entry.file_name)) if "/" in entry.file_name else entry.file_name
        if reason or name in names:
            raise DataError(f"{path} cannot be written: {reason or f'the image {entry.file_name!r} is there twice'}.")
        names.add(name)
        counts["images"] += 1
        number = counts["images"]
        size = {"height": entry.height, "width": entry.width}
        row = dumps({"id": number, "file_name": entry.file_name, **size})
        images.write(f"\n{row}" if number == 1 else f",\n{row}")
        if not entry.annotations:
            counts["negatives"] += 1
            continue
        rows = [
            f'\n{before},"id":{at},"image_id":{number},{after}'
            for at, (before, after) in enumerate(entry.annotations, start=counts["instances"] + 1)
        ]
        main.write(("," if counts["instances"] else "") + ",".join(rows))
        counts["instances"] += len(rows)
    return counts


def _size(labels: ImageLabels | TruthImage) -> tuple[int, int]:
    image = labels if isinstance(labels, TruthImage) else labels.image
    return image.height, image.width


def _annotations(labels: ImageLabels | TruthImage, segmentation: Segmentation) -> tuple[tuple[str, str], ...]:
    """The text of each annotation before and after its ids, as in `EncodedImage`."""
    instances: Sequence[Instance | TruthInstance] = labels.instances
    rles = [instance.rle for instance in instances]
    found = []
    for instance, area, box in zip(instances, masks.areas(rles), masks.boxes_xywh(rles), strict=True):
        if not area:
            continue
        polygon = segmentations.to_polygon(instance.rle) if segmentation == "polygon" else None
        row = {
            "area": area,
            "bbox": list(box),
            "category_id": instance.class_index + 1,
            "iscrowd": 0,
            "segmentation": polygon or segmentations.to_json(instance.rle),
        }
        row |= _of_truth(instance) if isinstance(instance, TruthInstance) else _of_label(instance)
        # Sorted keys: those before `id`, and those after `image_id`.
        before = {key: value for key, value in row.items() if key < "id"}
        found.append((dumps(before)[:-1], dumps({key: row[key] for key in row.keys() - before.keys()})[1:]))
    return tuple(found)


def _of_label(instance: Instance) -> dict[str, Any]:
    score = round(float(instance.score), 6)
    return {"score": score, "source": instance.source, **further_scores(instance)}


def _of_truth(instance: TruthInstance) -> dict[str, Any]:
    stated: dict[str, Any] = {"iscrowd": int(instance.crowd)}
    if instance.score is not None:
        stated["score"] = round(float(instance.score), 6)
    if instance.area is not None:
        stated["area"] = instance.area
    if instance.bbox_xywh is not None:
        stated["bbox"] = list(instance.bbox_xywh)
    return stated


def further_scores(instance: Instance) -> dict[str, float]:
    """`mask_score` and `stability`, if the instance has them."""
    scores = {"mask_score": instance.mask_score, "stability": instance.stability}
    return {name: round(float(value), 6) for name, value in scores.items() if value is not None}


def _check_instance(
    instance: Instance | TruthInstance, expected: tuple[int, int], classes: Classes, where: str
) -> None:
    size = (instance.rle.height, instance.rle.width)
    if size != expected:
        raise DataError(f"{where}: a mask is {size[1]} x {size[0]} pixels, the image {expected[1]} x {expected[0]}.")
    if not 0 <= instance.class_index < len(classes.names):
        raise DataError(f"{where}: there is no class {instance.class_index} among {list(classes.names)}.")
    if isinstance(instance, Instance) and not math.isfinite(instance.score):
        raise DataError(f"{where}: an instance's score is {instance.score}.")


def _finish(main: IO[str], images: IO[str], classes: Classes, info: Mapping[str, Any]) -> None:
    main.write(f'\n],"categories":{dumps(category_rows(classes))},"images":[')
    images.seek(0)
    shutil.copyfileobj(images, main)
    main.write(f'\n],"info":{dumps(dict(info))}}}\n')
