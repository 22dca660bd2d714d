from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.pipeline.runs import label
from autodistill_rfdetr_seg.review.compare_runs import Comparison, compare
from autodistill_rfdetr_seg.review.comparison_text import comparison_text
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.shapes import detections, disc

Found = tuple[str, np.ndarray, float]
NAMES = ["bolt", "nut"]
BIG, MOVED, AWAY = disc(60, 60, 20, 20, 15), disc(60, 60, 22, 20, 15), disc(60, 60, 50, 50, 6)
TRAIN_ONLY = {"train": 1.0, "valid": 0, "test": 0}


class ByGrey(DetectionBaseModel):
    """Says of each image what `answers` holds for its gray value."""

    def __init__(self, answers: dict[int, list[Found]]) -> None:
        self.ontology = CaptionOntology({name: name for name in NAMES})
        self._answers = answers

    def predict(self, input: np.ndarray) -> sv.Detections:
        found = self._answers[int(input[0, 0, 0])]
        if not found:
            return sv.Detections.empty()
        return detections(
            np.stack([m for _, m, _ in found]), [NAMES.index(n) for n, _, _ in found], [s for *_, s in found]
        )


def made(root: Path, answers: dict[int, list[Found]], **options: Any) -> RunFolder:
    images = root / "images"
    images.mkdir(parents=True)
    for gray in answers:
        Image.fromarray(np.full((60, 60, 3), gray, np.uint8)).save(images / f"{gray:03}.png")
    label(ByGrey(answers), images, root / "run", progress=False, **{"split": TRAIN_ONLY, **options})
    return RunFolder(root / "run")


def counts(comparison: Comparison, name: str) -> list[int]:
    return list(comparison.per_class[name].values())


def test_a_copy_differs_in_nothing(tmp_path: Path) -> None:
    run = made(tmp_path, {1: [("bolt", BIG, 0.9), ("nut", AWAY, 0.5)], 2: []})
    shutil.copytree(run.root, tmp_path / "copy")
    found = compare(run, RunFolder(tmp_path / "copy"))
    assert found.totals == {"a": 2, "b": 2, "same": 2, "changed": 0, "gained": 0, "lost": 0}
    assert (found.images, found.only_a, found.only_b, dict(found.options)) == ((), (), (), {})


def test_gained_lost_and_changed(tmp_path: Path) -> None:
    a = made(
        tmp_path / "a",
        {
            1: [("bolt", BIG, 0.9), ("nut", AWAY, 0.5)],
            2: [("bolt", BIG, 0.9)],
            3: [("bolt", BIG, 0.90), ("nut", AWAY, 0.5)],
            4: [("bolt", BIG, 0.9)],
        },
    )
    b = made(
        tmp_path / "b",
        {
            1: [("bolt", MOVED, 0.9)],
            2: [("nut", BIG, 0.95)],
            3: [("bolt", BIG, 0.91), ("nut", AWAY, 0.52)],
            5: [("nut", BIG, 0.7)],
        },
    )
    found = compare(a, b)
    assert found.images_in_both == 3
    assert (found.only_a, found.only_b) == (("004.png",), ("005.png",))
    one, two, three = found.images
    assert [label_.class_name for label_ in one.lost] == ["nut"]
    assert one.changed[0].what == ("mask",)
    assert one.changed[0].iou == pytest.approx((BIG & MOVED).sum() / (BIG | MOVED).sum())
    assert two.changed[0].what == ("class", "score")
    assert (two.changed[0].a.reference, two.changed[0].b.reference) == ("train:3", "train:2")
    assert [change.what for change in three.changed] == [("score",)]
    assert three.same == 1
    # a, b, same, changed, gained, lost
    assert counts(found, "bolt") == [4, 2, 1, 2, 0, 1]
    assert counts(found, "nut") == [2, 3, 0, 1, 1, 1]
    assert found.totals["a"] == found.totals["same"] + found.totals["changed"] + found.totals["lost"]
    text = comparison_text(found)
    assert text.splitlines()[-3].split() == ["001.png", "1", "0", "1"]
    assert "1 only in B: 005.png" in text
    assert json.loads(json.dumps(found.as_json()))["images"][0]["path"] == "001.png"


def test_the_same_class_is_matched_before_a_better_overlap(tmp_path: Path) -> None:
    loose = {"nms_iou": None, "nms_iom": None, "agnostic_nms_iou": None}
    a = made(tmp_path / "a", {1: [("bolt", BIG, 0.9)]}, refine=loose)
    b = made(tmp_path / "b", {1: [("nut", BIG, 0.9), ("bolt", MOVED, 0.9)]}, refine=loose)
    (image,) = compare(a, b).images
    assert [label_.class_name for label_ in image.gained] == ["nut"]
    assert image.changed[0].what == ("mask",)


def test_options_and_splits(tmp_path: Path) -> None:
    answers: dict[int, list[Found]] = {gray: [("bolt", BIG, 0.4 + gray / 100)] for gray in range(1, 21)}
    a = made(tmp_path / "a", answers, split={"train": 0.5, "valid": 0.5, "test": 0})
    b = made(
        tmp_path / "b", answers, split={"train": 0.5, "valid": 0.5, "test": 0, "seed": 7}, refine={"confidence": 0.5}
    )
    found = compare(a, b)
    assert found.options == {"refine.confidence": (0.0, 0.5), "split.seed": (0, 7)}
    assert counts(found, "bolt") == [20, 11, 11, 0, 0, 9]
    moved = {image.path for image in found.moved}
    train = {
        run: {e["file_name"] for e in json.loads(p.read_text())["images"]}
        for run, p in (
            ("a", a.dataset / "train" / "_annotations.coco.json"),
            ("b", b.dataset / "train" / "_annotations.coco.json"),
        )
    }
    assert moved == train["a"] ^ train["b"]
    assert moved


def test_another_picture_of_the_same_name(tmp_path: Path) -> None:
    a = made(tmp_path / "a", {1: [("bolt", BIG, 0.9)]})
    images = tmp_path / "b" / "images"
    images.mkdir(parents=True)
    Image.fromarray(np.full((80, 60, 3), 1, np.uint8)).save(images / "001.png")
    taller = np.pad(BIG, ((0, 20), (0, 0)))
    label(ByGrey({1: [("bolt", taller, 0.9)]}), images, tmp_path / "b" / "run", progress=False, split=TRAIN_ONLY)
    (image,) = compare(a, RunFolder(tmp_path / "b" / "run")).images
    assert (image.content, len(image.gained), len(image.lost)) == (True, 1, 1)


def test_a_run_without_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset"):
        compare(RunFolder(tmp_path), RunFolder(tmp_path))
