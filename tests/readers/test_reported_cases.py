"""Files of the kind that public bug reports are about, where they are at hand: `../shared/cases`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.core.errors import AutodistillSegError
from autodistill_rfdetr_seg.core.types import GroundTruth, Rle
from autodistill_rfdetr_seg.readers import read_source
from autodistill_rfdetr_seg.targets.training.training_data import find_dataset
from helpers.paths import SHARED

CASES = SHARED / "cases"
MUTATIONS = CASES / "32-preflight-vs-train"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")

# The kind of error for which each of these files is refused; all others are read as the scene that they are of.
REFUSED = {
    "ann-empty-dict-seg": "annotation has no mask",
    "far-out": "mask cannot be read",
    "name-null": "category has no name",
    "nan-poly": "mask cannot be read",
    "no-seg-key": "annotation has no mask",
    "rle-wrong-size": "mask cannot be read",
    "same-file-two-ids": "image is listed twice",
    "seg-2pts": "mask cannot be read",
    "seg-null": "annotation has no mask",
    "seg-rle-text": "mask cannot be read",
}


def scene(truth: GroundTruth) -> list[tuple[str, list[Rle]]]:
    """The masks of each image; class names differ from file to file, and their order does not."""
    return [
        (image.path.name, [one.rle for one in sorted(image.instances, key=lambda one: one.class_index)])
        for image in truth.images
    ]


def names() -> list[str]:
    return sorted(path.name for path in MUTATIONS.iterdir() if path.is_dir()) if MUTATIONS.is_dir() else []


@pytest.mark.parametrize("name", names())
def test_each_is_read_as_the_scene_or_refused_by_name(name: str, tmp_path: Path) -> None:
    data = find_dataset(MUTATIONS / name)
    errors = Counter(problem.kind.name for problem in data.source.problems if problem.severity == "error")
    if name in REFUSED:
        assert set(errors) == {REFUSED[name]}
        return
    assert not errors
    sound = read_source(MUTATIONS / "no-info").splits
    data.prepare(tmp_path, progress=False)
    prepared = read_source(data.folder(tmp_path))
    assert prepared.problems == ()
    for split, truth in sound.items():
        assert scene(data.splits[split]) == scene(prepared.splits[split]) == scene(truth)


# Images and objects of each split of what is read.
READ = {
    "01-ls-backslash/result.json": {"": (6, 18)},
    "01-ls-backslash/up.json": {"": (6, 18)},
    "02-cvat-layout": {"": (6, 18)},
    "02-cvat-layout/coco2017": {"train": (6, 18), "valid": (6, 18)},
    "07-roboflow-fish": {"train": (6, 18), "valid": (6, 18), "test": (6, 18)},
    "08-absolute/abs.json": {"": (6, 18)},
    "10-self-not-1/gold.json": {"": (1, 2)},
    "12-yolo-mixed": {"train": (6, 12), "valid": (6, 12)},
    "14-same-box": {"train": (6, 24), "valid": (6, 24)},
    "16-dots/yolo": {"train": (6, 18), "valid": (6, 18)},
    "19-bom": {"train": (6, 18), "valid": (6, 18)},
    "19-bom/yolo": {"train": (6, 18), "valid": (6, 18)},
    "24-yolo-float-class": {"train": (6, 18), "valid": (6, 18)},
    "26-yolo-subset-txt": {"train": (2, 6), "valid": (1, 3)},
    "37-splits/name": {"train": (6, 18), "valid": (6, 18)},
    "37-splits/subset": {"train": (6, 18), "valid": (6, 6)},
    "37-splits/val": {"train": (6, 18), "valid": (6, 18)},
    "41-mixed-odd/odd.json": {"": (6, 18)},
    "41-mixed-odd/part.json": {"": (6, 18)},
}


@pytest.mark.parametrize("name", READ)
def test_these_are_read_whole(name: str) -> None:
    found = read_source(CASES / name)
    assert found.errors == 0
    counts = {s: (len(t.images), sum(len(i.instances) for i in t.images)) for s, t in found.splits.items()}
    assert counts == READ[name]


TOLD = {
    "06-ann-dict/dict.json": "`annotations` must be a list, not dict",
    "13-yaml-windows-path": "Users",
    "15-same-stem/yolo": "whose labels are these",
    "17-yaml-bool": "in quotes",
    "20-swapped-size": "the file says 120 x 160 pixels, but 'im00.png' is 160 x 120",
    "22-same-file-two-ids/two.json": "is that of image id 1 too",
    "41-mixed-odd/gz.json": "compressed by gzip",
    "41-mixed-odd/rle-wh.json": "width before height",
}


@pytest.mark.parametrize("name", TOLD)
def test_these_are_refused_in_a_sentence(name: str) -> None:
    try:
        said = [problem.message for problem in read_source(CASES / name).problems if problem.severity == "error"]
    except AutodistillSegError as error:
        said = [str(error)]
    assert said and TOLD[name] in said[0]
