from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv

from autodistill_rfdetr_seg.bases.adapter import BaseAdapter
from autodistill_rfdetr_seg.bases.detection_instances import instances_from_detections
from autodistill_rfdetr_seg.bases.registry import BASES, create_base, find_base, register_base
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import BaseModelError, DependencyError, UnknownNameError, UsageError
from autodistill_rfdetr_seg.core.types import Classes
from helpers.shapes import detections, disc

SHAPE = (40, 60)
TWO = np.stack([disc(40, 60, 15, 15, 8), disc(40, 60, 40, 20, 8)])
CLASSES = Classes.from_ontology({"bright": "lamp"})


class Says:
    """A base that answers what it was made with, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: Any = None

    def predict(self, image: Any) -> Any:
        self.asked = image
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ask(answer: Any, prompts: int = 2) -> Any:
    return BaseAdapter(Says(answer), prompts).ask(np.zeros((*SHAPE, 3), np.uint8))


def test_masks_scores_and_prompts() -> None:
    answer = ask(detections(TWO, [1, 0], [0.25, 0.75]))
    assert [(i.class_index, i.score) for i in answer.instances] == [(1, 0.25), (0, 0.75)]
    assert np.array_equal(masks.decode(answer.instances[1].rle), TWO[1])


@pytest.mark.parametrize("nothing", [None, sv.Detections.empty()])
def test_nothing_found(nothing: Any) -> None:
    assert ask(nothing).instances == ()


def test_missing_scores_count_as_sure() -> None:
    assert [i.score for i in ask(detections(TWO, [0, 1])).instances] == [1.0, 1.0]


def test_classes_beyond_the_ontology_and_bad_scores_are_dropped_and_counted() -> None:
    dropped: Counter[str] = Counter()
    found = detections(TWO, [0, 2], [0.5, 0.5])
    assert len(instances_from_detections(found, SHAPE, 2, dropped)) == 1
    found = detections(TWO, [0, -1], [float("nan"), 0.5])
    assert instances_from_detections(found, SHAPE, 2, dropped) == []
    found = sv.Detections(xyxy=np.zeros((2, 4)), mask=TWO, class_id=np.array([None, 1], object), confidence=np.ones(2))
    assert [i.class_index for i in instances_from_detections(found, SHAPE, 2, dropped)] == [1]
    assert dropped == {"unknown_class": 3, "no_finite_score": 1}


def test_empty_masks_are_dropped() -> None:
    answer = ask(sv.Detections(xyxy=np.zeros((1, 4)), mask=np.zeros((1, *SHAPE), bool), class_id=np.array([0])))
    assert (answer.instances, answer.dropped) == ((), {"empty_mask": 1})


def test_boxes_without_masks_name_bases_with_masks() -> None:
    with pytest.raises(BaseModelError) as error:
        ask(sv.Detections(xyxy=np.ones((1, 4)), class_id=np.array([0])))
    assert "without masks" in error.value.message
    assert "threshold" in str(error.value.hint)


def test_masks_of_the_wrong_size_say_both_sizes() -> None:
    with pytest.raises(BaseModelError, match=r"60x40 .* 40x60"):
        ask(sv.Detections(xyxy=np.ones((1, 4)), mask=np.ones((1, 60, 40), bool), class_id=np.array([0])))


def test_a_base_that_raises_is_named() -> None:
    with pytest.raises(BaseModelError, match="ZeroDivisionError: oops"):
        ask(ZeroDivisionError("oops"))


class Knows(Says):
    """A base that binds itself to a whole image; the answer to a part is a mask of it all, scored by its size."""

    def __init__(self) -> None:
        super().__init__(None)
        self.wholes: list[Any] = []
        self.windows: list[tuple[int, int, int, int]] = []

    def within_image(self, image: Any) -> Any:
        self.wholes.append(image)
        bound = Says(None)
        bound.predict = self._part  # type: ignore[method-assign]
        return bound

    def _part(self, window: tuple[int, int, int, int]) -> Any:
        self.windows.append(window)
        top, left, bottom, right = window
        if top > 0:
            raise ZeroDivisionError("below")
        return detections(np.ones((1, bottom - top, right - left), bool), [0], [0.5])


def test_a_base_that_wants_the_whole_image_gets_it_once_and_only_for_tiles() -> None:
    rgb = np.zeros((*SHAPE, 3), np.uint8)
    rgb[..., 0] = 200
    model = Knows()
    for tiles in (None, 60, 100):
        BaseAdapter(model, 1, "bgr", tiles, 0.2).ask(rgb)
    assert (model.wholes, model.asked.shape) == ([], (*SHAPE, 3))
    answer = BaseAdapter(model, 1, "bgr", 40, 0.25).ask(rgb)
    assert len(model.wholes) == 1
    assert model.wholes[0].shape == (*SHAPE, 3)
    assert model.wholes[0][0, 0].tolist() == [0, 0, 200]
    assert model.windows == [(0, 0, 40, 40), (0, 20, 40, 60)]
    assert [masks.area(i.rle) for i in answer.instances] == [40 * 60]
    with pytest.raises(BaseModelError, match="ZeroDivisionError: below"):
        BaseAdapter(model, 1, "bgr", 30, 0.25).ask(rgb)


def test_a_base_without_it_gets_contiguous_tiles() -> None:
    model = Says(None)
    shapes = []

    def predict(image: Any) -> None:
        assert image.flags["C_CONTIGUOUS"]
        shapes.append(image.shape)

    model.predict = predict  # type: ignore[method-assign]
    BaseAdapter(model, 1, "bgr", 40, 0.0).ask(np.zeros((101, 33, 3), np.uint8))
    assert shapes == [(40, 33, 3)] * 3


def test_what_a_base_is_given() -> None:
    rgb = np.zeros((*SHAPE, 3), np.uint8)
    rgb[..., 0] = 200
    model = Says(None)
    BaseAdapter(model, 1).ask(rgb)
    assert model.asked[0, 0].tolist() == [0, 0, 200]
    assert model.asked.flags["C_CONTIGUOUS"]
    BaseAdapter(model, 1, "pil").ask(rgb)
    assert model.asked.getpixel((0, 0)) == (200, 0, 0)

    class Reads(Says):
        def predict(self, image: Any) -> Any:
            from PIL import Image

            self.asked = Image.open(image).getpixel((0, 0))

    reader = Reads(None)
    BaseAdapter(reader, 1, "path").ask(rgb)
    assert reader.asked == (200, 0, 0)


class Batches(Says):
    """A base that takes batches, unless one of the images is black in its corner, and answers with their corners."""

    preferred_batch = 3

    def __init__(self) -> None:
        super().__init__(None)
        self.sizes: list[int] = []

    def predict_batch(self, images: Any) -> Any:
        self.sizes.append(len(images))
        if any(not image[0, 0].any() for image in images):
            raise ValueError("black")
        return [detections(TWO[:1], [0], [image[0, 0, 2] / 255]) for image in images]

    def predict(self, image: Any) -> Any:
        return self.predict_batch([image])[0]


def test_batches_are_asked_at_once_and_one_bad_image_costs_no_other() -> None:
    model = Batches()
    adapter = BaseAdapter(model, 1)
    assert (adapter.batch_size(None), adapter.batch_size(5)) == (3, 5)
    assert (BaseAdapter(model, 1, "path").batch_size(5), BaseAdapter(Says(None), 1).batch_size(5)) == (1, 1)
    images = [np.full((*SHAPE, 3), value, np.uint8) for value in (51, 102, 204)]
    scores = [pending().instances[0].score for pending in adapter.start(images)]
    assert (scores, model.sizes) == ([0.2, 0.4, 0.8], [3])
    images[1][:] = 0
    first, bad, last = adapter.start(images)
    assert [pending().instances[0].score for pending in (first, last)] == [0.2, 0.8]
    with pytest.raises(BaseModelError, match="ValueError: black"):
        bad()
    assert model.sizes == [3, 3, 1, 1, 1]


def test_further_scores_are_kept() -> None:
    found = detections(TWO, [0, 1], [0.5, 0.5])
    found.data = {"mask_score": np.array([0.9, 1.5]), "stability": np.array([0.25, float("nan")])}
    one, two = ask(found).instances
    assert (one.mask_score, one.stability, two.mask_score, two.stability) == (0.9, 0.25, 1.0, None)


def test_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'threshold'"):
        find_base("treshold")
    with pytest.raises(UnknownNameError, match="argument"):
        create_base("threshold", CLASSES, {"opennig": 3})
    with pytest.raises(DependencyError, match="no_such_package"):
        create_base("no_such_package:Base", CLASSES)
    with pytest.raises(UsageError, match="no 'Nothing'"):
        create_base("autodistill_rfdetr_seg.core.types:Nothing", CLASSES)
    with pytest.raises(UsageError, match="predict"):
        create_base("autodistill_rfdetr_seg.core.types:Classes", CLASSES)


FILE_BASE = """
from autodistill.detection import DetectionBaseModel
import supervision as sv

class Blind(DetectionBaseModel):
    def __init__(self, ontology, level=1):
        self.ontology, self.level = ontology, level

    def predict(self, input):
        return sv.Detections.empty()
"""


def test_any_class_by_module_or_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE_BASE)
    base = create_base(f"{tmp_path / 'mine.py'}:Blind", CLASSES, {"level": 7})
    assert (base.level, base.ontology.prompts()) == (7, ["bright"])
    register_base("mine", "autodistill_rfdetr_seg.bases.threshold.threshold_base:ThresholdBase")
    try:
        assert create_base("mine", CLASSES).ontology.classes() == ["lamp"]
    finally:
        del BASES["mine"]
