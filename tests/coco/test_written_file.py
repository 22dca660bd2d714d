"""Files that this package wrote, read image by image, against the reader of any COCO file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.coco.written_file import WrittenFile
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, ImageRecord, Instance
from autodistill_rfdetr_seg.dataset.dataset_index import BuiltDataset, read_head, read_index, write_index
from autodistill_rfdetr_seg.system.files import write_json, write_json_list

# Names that look like the ends of parts of a file.
CLASSES = Classes(('a\n],"categories":', 'b"images":[', "für"))
# Labels of each image: none at first, in the middle, twice, and at the end.
COUNTS = (0, 3, 1, 0, 0, 2, 5, 0)


def entries() -> Iterator[tuple[str, ImageLabels]]:
    rng = np.random.default_rng(1)
    for at, count in enumerate(COUNTS):
        height, width = 20 + at, 30 - at
        instances = []
        for number in range(count):
            mask = np.zeros((height, width), bool)
            top, left = (int(value) for value in rng.integers(0, 10, 2))
            mask[top : top + 9, left : left + 3 + number] = True
            stability = 0.25 if number % 2 else None
            instances.append(Instance(number % 3, masks.encode(mask), float(rng.random()), stability=stability))
        name = f'],"info":{at} ü.png'
        yield name, ImageLabels(ImageRecord(str(at), name, height, width, ""), tuple(instances))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / coco.ANNOTATIONS
    coco.write(file, entries(), CLASSES, {"description": '\n],"info":', "empty": []})
    return file


@pytest.mark.parametrize("edited", [False, True])
def test_each_image_has_the_annotations_that_the_reader_of_any_file_gives_it(path: Path, edited: bool) -> None:
    truth, rows = coco.read(path), coco.read_rows(path)
    with coco.open_labels(path, edited=edited) as file:
        assert file.names == [image.image_id for image in truth.images]
        assert file.sizes.tolist() == [[image.height, image.width] for image in truth.images]
        assert list(file.class_names.values()) == list(CLASSES.names)
        for at in (6, 0, 1, 2, 3, 4, 5, 7, 1):  # in any order
            found = [{key: row[key] for key in row if key != "segmentation"} for row in file.annotations(at)]
            assert found == rows[file.names[at]]
            assert len(found) == COUNTS[at]
            assert file.rles(at) == [one.rle for one in truth.images[at].instances]
        image_of = {row["id"]: at for at, name in enumerate(file.names) for row in rows[name]}
        assert {number: file.image_of(number) for number in range(1, 12)} == image_of
        assert file.image_of(0) is file.image_of(12) is None


def test_a_file_without_annotations(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    coco.write(file, [(f"{at}.png", ImageLabels(ImageRecord("", "", 4, 5, ""), ())) for at in range(2)], CLASSES, {})
    with WrittenFile(file) as found:
        assert [found.annotations(at) for at in range(2)] == [[], []]
        assert found.image_of(1) is None


@pytest.mark.parametrize("change", ["indented", "cut", "other order", "empty"])
def test_a_file_that_was_written_otherwise_is_refused(path: Path, change: str) -> None:
    document, data = json.loads(path.read_bytes()), path.read_bytes()
    changed = {
        "indented": json.dumps(document, indent=1).encode(),
        "cut": data[:-40],
        "other order": json.dumps(dict(reversed(document.items()))).encode(),
        "empty": b"{}",
    }
    path.write_bytes(changed[change])
    with pytest.raises(DataError, match="is not a COCO file as this package writes it"):
        WrittenFile(path)


def test_parts_have_the_rows_and_ids_of_the_whole(path: Path) -> None:
    whole = json.loads(path.read_bytes())
    parts = coco.write_parts(path, 3)
    assert [part.name for part in parts] == [f"_annotations.part-{at}-of-3.coco.json" for at in (1, 2, 3)]
    documents = [json.loads(part.read_bytes()) for part in parts]
    assert [len(one["images"]) for one in documents] == [3, 3, 2]
    for key in ("images", "annotations"):
        assert [row for one in documents for row in one[key]] == whole[key]
    for one, part in zip(documents, parts, strict=True):
        assert (one["categories"], one["info"]) == (whole["categories"], whole["info"])
        images = {row["id"] for row in one["images"]}
        assert {row["image_id"] for row in one["annotations"]} <= images
        assert len(coco.read(part).images) == len(images)
        # A part is a file of the same kind.
        assert part.read_bytes().startswith(b'{"annotations":[\n')
    assert coco.write_parts(path, len(COUNTS)) == []
    # The folder is read by its whole file.
    assert coco.locate(path.parent) == path


def test_the_index_is_written_and_read_as_one_text_is(tmp_path: Path) -> None:
    images = {
        f'{at} "ü\\{{.png': {"split": "train", "file_name": f"{at}.png", "sha256": "ab", "id": "}"} for at in range(3)
    }
    images["1.png"] = {**next(iter(images.values())), "source": "human"}
    head = {"inputs": "x", "counts": {"train": {"images": 4}}, "fingerprint": "", "images of": {"a": {}}}
    for some in (images, {}):
        write_json(tmp_path / "one.json", {**head, "images": some})
        write_index(tmp_path, head, some.items())
        assert (tmp_path / "dataset.json").read_bytes() == (tmp_path / "one.json").read_bytes()
        for indent in (2, None):  # as it was written, and by another tool
            (tmp_path / "dataset.json").write_text(json.dumps({**head, "images": some}, indent=indent))
            assert read_head(tmp_path) == head
            assert dict(BuiltDataset(tmp_path, head, False).images()) == some == read_index(tmp_path)["images"]


def test_a_list_is_written_as_one_text_is(tmp_path: Path) -> None:
    for items in ([{"a": ["x\ny", []], "b": {}}, {"é": 1.5}], []):
        write_json(tmp_path / "one.json", items)
        write_json_list(tmp_path / "list.json", iter(items))
        assert (tmp_path / "list.json").read_bytes() == (tmp_path / "one.json").read_bytes()
