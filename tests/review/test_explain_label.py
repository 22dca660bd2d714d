from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg.core.errors import DataError, UsageError
from autodistill_rfdetr_seg.pipeline.runs import label
from autodistill_rfdetr_seg.review.explain_label import Explanation, explain
from autodistill_rfdetr_seg.review.explanation_text import explanation_text
from autodistill_rfdetr_seg.system.files import read_json
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.shapes import detections, disc


class TwoBase(DetectionBaseModel):
    """A large disc with a hole and a speck, the same disc again a little moved, and a small one of another prompt."""

    def __init__(self) -> None:
        self.ontology = CaptionOntology({"a bolt": "bolt", "a big screw": "bolt", "a nut": "nut"})
        self.weights_sha256 = "abc123"

    def predict(self, input: np.ndarray) -> sv.Detections:
        ring = disc(100, 100, 30, 50, 20) & ~disc(100, 100, 30, 50, 2)
        ring[95:97, 95:97] = True
        shifted = disc(100, 100, 32, 50, 20)
        masks = np.stack([shifted, disc(100, 100, 80, 30, 8), ring, disc(100, 100, 80, 70, 2)])
        return detections(masks, [0, 2, 1, 2], [0.6, 0.5, 0.9, 0.3])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root = tmp_path_factory.mktemp("explain")
    (root / "images" / "b").mkdir(parents=True)
    for at, name in enumerate(("a.png", "b/c.png")):
        Image.fromarray(np.full((100, 100, 3), at, np.uint8)).save(root / "images" / name)
    refine: dict[str, Any] = {"hole_area": 50, "island_area": 10, "min_area": 20, "confidence": {"nut": 0.2}}
    split = {"train": 1.0, "valid": 0, "test": 0}
    label(TwoBase(), root / "images", root / "run", refine=refine, split=split, progress=False)
    return RunFolder(root / "run")


def steps(explanation: Explanation) -> dict[str, tuple[str, str]]:
    return {step.rule: (step.outcome, step.detail) for step in explanation.steps}


def test_where_a_label_came_from(run: RunFolder) -> None:
    found = explain(run, "train:3")
    assert found.image["path"] == "b/c.png"
    assert Path(found.image["dataset_file"]).read_bytes() == Path(found.image["file"]).read_bytes()
    assert (found.class_name, found.prompt, found.score) == ("bolt", "a big screw", 0.9)
    assert found.base["name"].endswith(":TwoBase")
    assert found.base["weights"] == {"weights_sha256": "abc123"}
    assert found.base["versions"]["numpy"] == np.__version__
    assert found.base["fingerprint"] == read_json(run.labels / "labels.json")["fingerprint"]
    whole = int(disc(100, 100, 30, 50, 20).sum())
    assert (found.raw_area, found.area) == (whole - 13 + 4, whole)


def test_what_each_rule_did(run: RunFolder) -> None:
    first = steps(explain(run, "train:1"))
    assert first["stability"] == ("off", "stability unknown")
    assert list(first) == ["confidence", "stability", "clean", "area", "nms", "agnostic_nms", "max_instances"]
    assert first["confidence"][0] == "off"
    assert first["clean"] == (
        "changed",
        "islands: 4 pixels removed; holes: 13 pixels filled (under 10 and up to 50 pixels)",
    )
    assert first["max_instances"] == ("off", "number 1 of 2 by score; limit none")
    second = steps(explain(run, "train:2"))
    assert second["confidence"] == ("passed", "score 0.500, at least 0.2")
    assert second["clean"][0] == "passed"
    assert second["nms"][1].startswith("no mask of its class with a better score touches it")


def test_what_a_label_displaced(run: RunFolder) -> None:
    (displaced,) = explain(run, "train:1").displaced
    one, other = disc(100, 100, 30, 50, 20), disc(100, 100, 32, 50, 20)
    assert (displaced.class_name, displaced.score, displaced.reason) == ("bolt", 0.6, "mask_nms")
    assert displaced.iou == pytest.approx((one & other).sum() / (one | other).sum())
    assert displaced.share_of_smaller == pytest.approx((one & other).sum() / one.sum())
    # The small nut was dropped for its area: the other nut has no part in that.
    assert explain(run, "train:2").displaced == ()


def test_text_and_json(run: RunFolder) -> None:
    found = explain(run, "train:1")
    text = explanation_text(found)
    assert text.startswith("train:1  bolt\n")
    assert "'a big screw'" in text
    assert "bolt 0.600  mask_nms  IoU 0.8" in text
    assert json.loads(json.dumps(found.as_json()))["steps"][2]["outcome"] == "changed"


@pytest.mark.parametrize("reference", ["train:5", "train:0", "valid:1", "train", "train:x", "train:-1", "train:²", ""])
def test_an_unknown_label(run: RunFolder, reference: str) -> None:
    with pytest.raises(UsageError) as caught:
        explain(run, reference)
    assert caught.value.hint == "Labels are train:1 to train:4."


def test_labels_that_have_changed_since_the_build(run: RunFolder) -> None:
    file = run.dataset / "train" / "_annotations.coco.json"
    before = file.read_bytes()
    data = json.loads(before)
    data["annotations"][0]["area"] += 1
    file.unlink()
    file.write_text(json.dumps(data))
    try:
        with pytest.raises(DataError, match=r"labels of a\.png have changed"):
            explain(run, "train:1")
        assert explain(run, "train:3").area == explain(run, "train:3").raw_area + 9
    finally:
        file.write_bytes(before)


def test_weights_are_named_wherever_they_stand_in_the_arguments() -> None:
    from autodistill_rfdetr_seg.review.explain_label import _weights

    args = {
        "checkpoint_sha256": "ab12",
        "detector": {"mode": "joint", "weights": {"model": "idea/tiny", "revision": "a2bb"}},
        "segmenter": {"name": "sam2", "sha256": "cd34"},
        "box_threshold": 0.3,
    }
    assert dict(_weights(args)) == {
        "checkpoint_sha256": "ab12",
        "detector.weights.model": "idea/tiny at a2bb",
        "detector.weights.revision": "a2bb",
        "segmenter.sha256": "cd34",
    }
