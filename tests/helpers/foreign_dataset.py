"""A known scene as a COCO dataset in two splits, and ways in which real files differ from the format."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

WIDTH, HEIGHT = 160, 120
CLASSES = ("red", "green")
COLORS = ((200, 40, 40), (40, 180, 60))
Doc = dict[str, Any]
# Class, left, top, width, height of the rectangles of each image.
SCENE = {
    "train": (((0, 16, 68, 24, 24), (0, 10, 10, 32, 32), (1, 102, 18, 29, 40)), ((1, 60, 20, 20, 70),), ()),
    "valid": (((0, 20, 20, 60, 30), (1, 90, 60, 40, 40)),),
}


def draw(objects: tuple[tuple[int, int, int, int, int], ...]) -> Image.Image:
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for index, x, y, width, height in objects:
        pixels[y : y + height, x : x + width] = COLORS[index]
    return Image.fromarray(pixels)


def document(split: str) -> Doc:
    """The sound COCO file of a split; ids of images from 1, of annotations from 1, of categories 1 and 2."""
    rows: list[Doc] = []
    images = []
    for at, objects in enumerate(SCENE[split]):
        images.append({"id": at + 1, "file_name": f"im{at:02}.png", "width": WIDTH, "height": HEIGHT})
        for index, x, y, width, height in objects:
            row: Doc = {"id": len(rows) + 1, "image_id": at + 1, "category_id": index + 1, "iscrowd": 0}
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            rows.append(row | {"segmentation": [corners], "area": width * height, "bbox": [x, y, width, height]})
    categories = [{"id": at + 1, "name": name, "supercategory": ""} for at, name in enumerate(CLASSES)]
    return {"images": images, "annotations": rows, "categories": categories}


def write(root: Path, change: Callable[[Doc], object] = lambda _: None) -> Path:
    """The dataset in `root/{train,valid}`, `change` made to both files."""
    for split, images in SCENE.items():
        folder = root / split
        folder.mkdir(parents=True)
        for at, objects in enumerate(images):
            draw(objects).save(folder / f"im{at:02}.png")
        data = copy.deepcopy(document(split))
        change(data)
        (folder / "_annotations.coco.json").write_text(json.dumps(data))
    return root


def known(split: str) -> dict[str, list[tuple[str, tuple[int, int, int, int]]]]:
    """Class name and box (xywh) of each object, sorted, by the stem of its image: a rectangle is its box."""
    return {
        f"im{at:02}": sorted((CLASSES[index], (x, y, w, h)) for index, x, y, w, h in objects)
        for at, objects in enumerate(SCENE[split])
    }


def each(key: str, value: Any, what: str = "annotations") -> Callable[[Doc], object]:
    """Sets a key of all rows; a function is given the row."""

    def change(data: Doc) -> None:
        for row in data[what]:
            row[key] = value(row) if callable(value) else value

    return change


def without(key: str, what: str = "annotations") -> Callable[[Doc], object]:
    def change(data: Doc) -> None:
        for row in data[what]:
            del row[key]

    return change


def first(**changes: Any) -> Callable[[Doc], object]:
    """Changes the first annotation."""
    return lambda data: data["annotations"][0].update(changes)


def renumber(how: Callable[[int], Any]) -> Callable[[Doc], object]:
    """Gives images other ids, and annotations with them."""

    def change(data: Doc) -> None:
        for row in data["images"]:
            row["id"] = how(row["id"])
        for row in data["annotations"]:
            row["image_id"] = how(row["image_id"])

    return change


def recategorize(how: Callable[[int], Any]) -> Callable[[Doc], object]:
    def change(data: Doc) -> None:
        for row in data["categories"]:
            row["id"] = how(row["id"])
        for row in data["annotations"]:
            row["category_id"] = how(row["category_id"])

    return change


def all_of(*changes: Callable[[Doc], object]) -> Callable[[Doc], object]:
    return lambda data: [change(data) for change in changes]


def _points(row: Doc) -> list[list[float]]:
    flat = row["segmentation"][0]
    return [[flat[at], flat[at + 1]] for at in range(0, len(flat), 2)]


def _runs(row: Doc) -> list[int]:
    """The run lengths of the row's rectangle, down the columns."""
    x, y, width, height = row["bbox"]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    ends = np.flatnonzero(np.diff(mask.ravel(order="F"))) + 1
    return [int(run) for run in np.diff([0, *ends, mask.size])]


def _rle(row: Doc) -> Doc:
    """The row's rectangle as a compressed RLE."""
    packed = coco_mask.frPyObjects({"counts": _runs(row), "size": [HEIGHT, WIDTH]}, HEIGHT, WIDTH)
    return {"counts": packed["counts"].decode(), "size": [HEIGHT, WIDTH]}


# Read as it is meant, each with the kind of warning that counts it, "" where nothing is to be said.
READ: dict[str, tuple[Callable[[Doc], object], str]] = {
    "no-area": (without("area"), "area is missing"),
    "area-null": (each("area", None), "area is missing"),
    "area-text": (each("area", lambda row: str(row["area"])), "area is not a number"),
    "area-negative": (each("area", -1), "area is not a number"),
    "area-nan": (each("area", float("nan")), "area is not a number"),
    "area-of-the-box": (each("area", lambda row: row["area"] * 3), "area is not the mask's"),
    "no-iscrowd": (without("iscrowd"), "iscrowd is missing"),
    "iscrowd-null": (each("iscrowd", None), "iscrowd is in another form"),
    "iscrowd-text": (each("iscrowd", "0"), "iscrowd is in another form"),
    "iscrowd-false": (each("iscrowd", False), "iscrowd is in another form"),
    "no-bbox": (without("bbox"), "box is missing"),
    "bbox-text": (each("bbox", lambda row: list(map(str, row["bbox"]))), "box is not four numbers"),
    "bbox-negative": (each("bbox", lambda row: [*row["bbox"][:2], -row["bbox"][2], 4]), "box is not four numbers"),
    "bbox-zero": (each("bbox", lambda row: [*row["bbox"][:2], 0, 0]), "box is not the mask's"),
    "bbox-nan": (first(bbox=[float("nan"), 68, 24, 24]), "box is not four numbers"),
    "bbox-corners": (each("bbox", lambda row: [20, 20, 150, 110]), "box is not the mask's"),
    "seg-flat": (each("segmentation", lambda row: row["segmentation"][0]), "mask is written in another form"),
    "seg-points": (each("segmentation", lambda row: [_points(row)]), "mask is written in another form"),
    "seg-bare-points": (each("segmentation", _points), "mask is written in another form"),
    "seg-number-text": (
        each("segmentation", lambda row: [list(map(str, row["segmentation"][0]))]),
        "mask is written in another form",
    ),
    "seg-degenerate-part": (
        each("segmentation", lambda row: [*row["segmentation"], [1, 1, 2, 2]]),
        "polygon of fewer than 3 points",
    ),
    "seg-point-objects": (
        each("segmentation", lambda row: [[{"x": x, "y": y} for x, y in _points(row)]]),
        "mask is written in another form",
    ),
    "seg-nested": (each("segmentation", lambda row: [[row["segmentation"]]]), "mask is written in another form"),
    "seg-third-values": (
        each("segmentation", lambda row: [[value for x, y in _points(row) for value in (x, y, 2)]]),
        "mask is written in another form",
    ),
    "seg-third-values-odd": (
        each("segmentation", lambda row: [[v for x, y in [*_points(row), _points(row)[0]] for v in (x, y, 0)]]),
        "mask is written in another form",
    ),
    "seg-third-values-points": (
        each("segmentation", lambda row: [[[x, y, 1] for x, y in _points(row)]]),
        "mask is written in another form",
    ),
    "seg-json-text": (each("segmentation", lambda row: json.dumps(_rle(row))), "mask is written in another form"),
    "rle-counts-float": (
        each("segmentation", lambda row: _rle(row) | {"counts": list(map(float, _runs(row)))}),
        "mask is written in another form",
    ),
    "rle-counts-number-text": (
        each("segmentation", lambda row: _rle(row) | {"counts": list(map(str, _runs(row)))}),
        "mask is written in another form",
    ),
    "rle-counts-of-bytes": (
        each("segmentation", lambda row: _rle(row) | {"counts": str(_rle(row)["counts"].encode())}),
        "mask is written in another form",
    ),
    "rle-counts-line-end": (
        each("segmentation", lambda row: _rle(row) | {"counts": _rle(row)["counts"] + "\n"}),
        "mask is written in another form",
    ),
    "rle-size-text": (
        each("segmentation", lambda row: _rle(row) | {"size": [str(HEIGHT), str(WIDTH)]}),
        "mask is written in another form",
    ),
    "rle-and-polygon": (
        each("segmentation", lambda row: [row["segmentation"][0], _rle(row)]), "mask is written in another form"
    ),
    "category-by-name": (
        each("category_id", lambda row: CLASSES[row["category_id"] - 1]), "category is given by its name"
    ),
    "category-name-key": (
        lambda data: [row.update(category_name=CLASSES[row.pop("category_id") - 1]) for row in data["annotations"]],
        "category is given by its name",
    ),
    "image-ids-38-digits": (renumber(lambda n: 10**37 + n), ""),
    "image-ids-from-0": (renumber(lambda n: n - 1), ""),
    "image-ids-reversed": (renumber(lambda n: 100 - 7 * n), ""),
    "image-ids-float": (renumber(float), "id is a whole number in another form"),
    "image-ids-number-text": (renumber(lambda n: f"{n:06}"), "id is a whole number in another form"),
    "image-ids-text": (renumber(lambda n: f"a{n}"), "id is text"),
    "category-ids-text": (recategorize(str), "id is a whole number in another form"),
    "category-ids-float": (recategorize(float), "id is a whole number in another form"),
    "category-ids-huge": (recategorize(lambda n: 10**20 + n), ""),
    "category-ids-negative": (recategorize(lambda n: n - 5), ""),
    "annotation-no-id": (without("id"), "annotation id is missing or used twice"),
    "annotation-same-id": (each("id", 1), "annotation id is missing or used twice"),
    "annotation-ids-text": (each("id", lambda row: f"x{row['id']}"), ""),
    "no-supercategory": (without("supercategory", "categories"), ""),
    "names-with-spaces": (
        each("name", lambda row: f" {row['name']} ", "categories"),
        "category name has spaces around it",
    ),
    "size-float": (
        all_of(each("width", 160.0, "images"), each("height", 120.0, "images")),
        "image size is in another form",
    ),
    "size-null": (each("width", None, "images"), "image size is missing"),
    "no-size": (all_of(without("width", "images"), without("height", "images")), "image size is missing"),
    "row-twice": (lambda data: data["images"].append(dict(data["images"][0])), "row is listed twice"),
    "backslash": (
        each("file_name", lambda row: f"images\\{row['file_name']}", "images"),
        "file name is written in another way",
    ),
    "absolute": (
        each("file_name", lambda row: f"/data/{row['file_name']}", "images"),
        "file name is written in another way",
    ),
    "windows": (
        each("file_name", lambda row: f"C:\\data\\{row['file_name']}", "images"),
        "file name is written in another way",
    ),
    "parent": (
        each("file_name", lambda row: f"../../media/{row['file_name']}", "images"),
        "file name is written in another way",
    ),
    "case": (
        each("file_name", lambda row: row["file_name"].upper(), "images"),
        "file name is written in another way",
    ),
    "file-name-under-another-key": (
        lambda data: [row.update(filename=row.pop("file_name")) for row in data["images"]],
        "file name is under another key",
    ),
    "query": (
        each("file_name", lambda row: f"https://example.com/a/{row['file_name']}?sig=a/b&x=1", "images"),
        "file name is written in another way",
    ),
    "no-suffix": (
        each("file_name", lambda row: row["file_name"].removesuffix(".png"), "images"),
        "file name is written in another way",
    ),
    "names-with-line-breaks": (
        lambda data: data["categories"].append({"id": 3, "name": "a\nb"}), "category name has line breaks"
    ),
    "no-info-extra-keys": (each("attributes", {"occluded": False}), ""),
}  # fmt: skip

# Refused: each with the kind of error, and how its first place ends.
REFUSED: dict[str, tuple[Callable[[Doc], object], str, str]] = {
    "no-seg-key": (
        lambda data: data["annotations"][0].pop("segmentation"), "annotation has no mask", "annotation id 1"
    ),
    "seg-null": (first(segmentation=None), "annotation has no mask", "annotation id 1"),
    "seg-empty": (first(segmentation=[]), "annotation has no mask", "annotation id 1"),
    "seg-empty-dict": (first(segmentation={}), "annotation has no mask", "annotation id 1"),
    "seg-text": (first(segmentation="not an rle"), "mask cannot be read", "annotation id 1"),
    "seg-2-points": (first(segmentation=[[1, 2, 3, 4]]), "mask cannot be read", "annotation id 1"),
    "seg-odd": (first(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "mask cannot be read", "annotation id 1"),
    "seg-nan": (first(segmentation=[[float("nan"), 1, 9, 1, 9, 9]]), "mask cannot be read", "annotation id 1"),
    "seg-far-out": (first(segmentation=[[-1e6, 0, 1e6, 0, 50, 1e6]]), "mask cannot be read", "annotation id 1"),
    "seg-shares": (
        first(segmentation=[[0.1, 0.1, 0.9, 0.1, 0.9, 0.75]]), "mask cannot be read", "annotation id 1"
    ),
    "seg-third-values-no-box": (
        first(segmentation=[[16, 68, 0, 40, 68, 0, 40, 92, 0, 16, 92, 0]], bbox=None),
        "mask cannot be read", "annotation id 1",
    ),
    "no-category": (first(category_id=None), "annotation has no category id", "annotation id 1"),
    "name-half-character": (
        lambda data: data["categories"][0].update(name="r\ud800d"), "category has no name", ".json"
    ),
    "annotations-null": (lambda data: data.update(annotations=None), "not a COCO file", ".json"),
    "rle-of-another-size": (
        first(segmentation={"counts": [0, 100], "size": [10, 10]}), "mask cannot be read", "annotation id 1"
    ),
    "rle-swapped": (
        first(segmentation={"counts": [0, 160 * 120], "size": [160, 120]}), "mask cannot be read", "annotation id 1"
    ),
    "iscrowd-2": (first(iscrowd=2), "iscrowd is not 0 or 1", "annotation id 1"),
    "unknown-category": (first(category_id=9), "unknown category id", "annotation id 1"),
    "unknown-image": (first(image_id=77), "unknown image id", "image id 77, annotation id 1"),
    "name-null": (lambda data: data["categories"][0].update(name=None), "category has no name", ".json"),
    "name-true": (lambda data: data["categories"][0].update(name=True), "category has no name", ".json"),
    "name-twice": (lambda data: data["categories"][1].update(name="red"), "two categories share a name", ".json"),
    "image-id-1.5": (lambda data: data["images"][0].update(id=1.5), "row has no id", ".json"),
    "image-id-twice": (
        lambda data: data["images"].append(dict(data["images"][0], file_name="im09.png")), "id used twice", "image id 1"
    ),
    "same-file-two-ids": (
        lambda data: data["images"].append(dict(data["images"][0], id=99)), "image is listed twice", "image id 99"
    ),
    "file-missing": (
        lambda data: data["images"][0].update(file_name="gone.png"), "image file is missing", "image id 1"
    ),
    "file-null": (
        lambda data: data["images"][0].update(file_name=None), "file name is not one inside the folder", "image id 1"
    ),
    "size-swapped": (
        lambda data: data["images"][0].update(width=120, height=160), "width and height are swapped", "image id 1"
    ),
    "size-off-by-one": (
        lambda data: data["images"][0].update(width=161), "image size is not the file's", "image id 1"
    ),
    "size-zero": (lambda data: data["images"][0].update(width=0), "image size is not two numbers over 0", "image id 1"),
    "annotations-dict": (
        lambda data: data.update(annotations={str(row["id"]): row for row in data["annotations"]}),
        "not a COCO file",
        ".json",
    ),
    "no-categories": (lambda data: data.pop("categories"), "not a COCO file", ".json"),
}  # fmt: skip
