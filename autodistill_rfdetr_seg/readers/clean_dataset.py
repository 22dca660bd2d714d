"""Writes annotated images as a COCO-seg folder of ours, which every reader reads in the same way.

RF-DETR's own reader never reads the original files: it trains on what is written here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .. import coco
from ..coco.annotation import area_differs
from ..core import masks
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.types import Classes, GroundTruth, TruthImage, TruthInstance
from ..images.image_opening import open_image
from ..images.rgb_image import write_png
from ..system.files import fingerprint, link_or_copy
from ..system.folders import flat_stems
from ..system.read_ahead import work_ahead

_AHEAD = 8


class _WrittenFile(NamedTuple):
    """The name of an image's file in the folder, and the SHA-256 of the file that it was made from."""

    name: str
    sha256: str


def joined_classes(splits: Mapping[str, GroundTruth]) -> Classes:
    """The classes of all splits by name, in the order of the first split that has them.

    Ids may differ from file to file, and a file may list only the classes that it uses, so classes are matched by name.
    """
    return Classes(tuple(dict.fromkeys(name for truth in splits.values() for name in truth.classes.names)))


def write_clean(
    splits: Mapping[str, GroundTruth],
    folder: Path,
    *,
    info: Mapping[str, Any],
    leave_out: Callable[[str, TruthImage, DataError], object] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes the splits as `folder/SPLIT/_annotations.coco.json` with the images beside it, and returns what it wrote.

    Each image is decoded once. It is hard-linked if every reader sees the same pixels in it, else they are written as
    PNG, turned as they were annotated. The split "" is written into `folder` itself. Crowds stay crowds. The same input
    gives the same bytes.

    Args:
        leave_out: is called for each image that cannot be decoded (split, image, error), which is left out; without it
            such an image is an error.
        max_megapixels: an image of more million pixels cannot be decoded.

    Returns:
        {"classes": names, "counts": {split: as `coco.write`}, "images": {split: {file name: SHA-256}}, "fingerprint"}.

    Raises:
        DataError: an image cannot be decoded, or is of another size than its masks; the first is named.
    """
    classes = joined_classes(splits)
    counts: dict[str, Mapping[str, int]] = {}
    images: dict[str, dict[str, str]] = {}
    for split, truth in splits.items():
        home = folder / split
        home.mkdir(parents=True, exist_ok=True)
        images[split] = {}
        aligned = coco.align(truth, classes) if truth.classes.names else truth
        bad = None if leave_out is None else partial(leave_out, split)
        entries = _entries(aligned, home, images[split], bad, max_megapixels, progress)
        counts[split] = coco.write(home / coco.ANNOTATIONS, entries, classes, info)
    return {
        "classes": list(classes.names),
        "counts": counts,
        "images": images,
        "fingerprint": fingerprint(list(classes.names), images, {s: t.fingerprint for s, t in splits.items()}),
    }


def _entries(
    truth: GroundTruth,
    home: Path,
    written: dict[str, str],
    leave_out: Callable[[TruthImage, DataError], object] | None,
    max_megapixels: float,
    progress: bool,
) -> Iterator[tuple[str, TruthImage]]:
    from tqdm import tqdm

    stems = _stems(truth)

    def write(image: TruthImage) -> _WrittenFile:
        return _write_image(image, home, stems[image.path], max_megapixels)

    threads = max(2, os.cpu_count() or 2)
    writing = work_ahead(truth.images, write, _AHEAD + threads, threads)
    with closing(writing), tqdm(total=len(truth.images), desc="Preparing", unit="image", disable=not progress) as bar:
        for image, future in writing:
            bar.update()
            try:
                file = future.result()
            except DataError as error:
                if leave_out is None:
                    raise
                leave_out(image, error)
                continue
            written[file.name] = file.sha256
            yield file.name, replace(image, instances=tuple(map(_with_sound_area, image.instances)))


def _write_image(image: TruthImage, home: Path, stem: str, max_megapixels: float) -> _WrittenFile:
    """Links the image into `home` or writes it there as PNG."""
    opened = open_image(image.path, upright=image.upright, max_megapixels=max_megapixels)
    height, width = opened.record.height, opened.record.width
    if (image.height, image.width) != (height, width):
        raise DataError(
            f"{image.path} decodes to {width} x {height} pixels, and its annotations are for {image.width} x "
            f"{image.height}.",
            "Write the file's size into the annotations, or `autodistill-seg repair --trust-images`.",
        )
    name = stem + (opened.link_suffix or ".png")
    if opened.link_suffix:
        link_or_copy(image.path, home / name)
    else:
        write_png(home / name, opened.pixels)
    return _WrittenFile(name, opened.record.sha256)


def _stems(truth: GroundTruth) -> dict[Path, str]:
    """The stem of each image's file in a flat folder, unchanged if that is possible."""
    if not truth.images:
        return {}
    root = Path(os.path.commonpath([image.path.parent for image in truth.images]))
    paths = {image.path.relative_to(root).as_posix(): image.path for image in truth.images}
    stems = flat_stems({name: fingerprint(name) for name in paths})
    return {path: stems[name] for name, path in paths.items()}


def _with_sound_area(one: TruthInstance) -> TruthInstance:
    """The instance without a stated area that differs from the mask's; it is then computed."""
    wrong = one.area is not None and area_differs(one.area, masks.area(one.rle))
    return replace(one, area=None) if wrong else one
