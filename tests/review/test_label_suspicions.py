"""What held-out predictions say against labels, on drawn masks: each kind of error is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autodistill_rfdetr_seg.coco import ground_truth
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Classes, ImagePredictions, Instance, Rle, TruthImage, TruthInstance
from autodistill_rfdetr_seg.review.audit_order import audit_items, students_text
from autodistill_rfdetr_seg.review.label_suspicions import find_suspicions
from autodistill_rfdetr_seg.review.label_table import Candidate, Entry
from autodistill_rfdetr_seg.review.student_agreement import StudentAgreement, measure_students

CLASSES = Classes(("nut", "bolt"), (("nut", 0), ("bolt", 1)))
SIDE = 20


def square(column: int, moved: int = 0) -> Rle:
    """The mask of a square of 10 pixels in the cell `column` of an image of 5 cells."""
    mask = np.zeros((SIDE, 5 * SIDE), bool)
    left = SIDE * column + 5 + moved
    mask[5:15, left : left + 10] = True
    return masks.encode(mask)


def image(name: str, *labels: TruthInstance) -> TruthImage:
    return TruthImage(name, Path(name), SIDE, 5 * SIDE, labels)


def label(column: int, class_index: int = 0, moved: int = 0) -> TruthInstance:
    return TruthInstance(class_index, square(column, moved))


def found(column: int, score: float, class_index: int = 0, moved: int = 0) -> Instance:
    return Instance(class_index, square(column, moved), score)


# Ten images of two squares that the student finds, and one with an error of each kind: cell 0 was dropped, cell 1 is
# shifted, cell 2 has another class, and cell 4 is empty.
GOOD = [image(f"good_{at}", label(0), label(1, 1)) for at in range(10)]
BAD = image("wrong", label(1, moved=5), label(2, 1), label(4))
ALL = [*GOOD, BAD]
FOUND = [ImagePredictions(one.image_id, (found(0, 0.9), found(1, 0.9, 1), found(3, 0.3))) for one in GOOD]
FOUND.append(ImagePredictions("wrong", (found(0, 0.95), found(1, 0.9), found(2, 0.9), found(2, 0.02, 1))))
KNOWN = {one.image_id: (0, 1) for one in ALL}


def test_each_kind_is_found_with_its_tail() -> None:
    suspicions = find_suspicions(ALL, FOUND, KNOWN)
    said = {(one.kind, one.index) for one in suspicions if one.image_id == "wrong"}
    assert said == {("missed", None), ("badly_drawn", 0), ("wrong_class", 1), ("spurious", 2)}
    assert {one.image_id for one in suspicions if one.tail < 0.5} == {"wrong"}
    tail = {one.kind: one.tail for one in suspicions if one.image_id == "wrong"}
    # One of 23 labels each; of 22 the student is sure.
    assert tail["wrong_class"] == tail["spurious"] == pytest.approx(1 / 23)
    assert tail["badly_drawn"] == pytest.approx(1 / 22)
    # The student is sure of no other object without a label, so all 22 labels that it finds stand against this one.
    assert tail["missed"] == pytest.approx(1 / 22)
    moved = next(one for one in suspicions if one.kind == "badly_drawn")
    assert moved.iou == pytest.approx(50 / 150)


def test_a_missed_object_is_proposed_once_and_weighed_against_what_is_found() -> None:
    twice = ImagePredictions("wrong", (found(0, 0.8), found(0, 0.7, 1, moved=1), found(1, 0.9, moved=5)))
    (one,) = [one for one in find_suspicions(ALL, [*FOUND[:-1], twice], KNOWN) if one.kind == "missed"]
    assert one.found is not None and (one.found.score, one.found.class_index) == (0.8, 0)
    assert one.tail == pytest.approx(1 / 21)


def test_the_tail_of_a_missed_object_counts_what_is_as_sure() -> None:
    # 20 labels are found with 0.9; in cell 4 of three images there is an object without a label.
    extra = {"good_0": 0.95, "good_1": 0.8, "good_2": 0.7}
    some = [
        ImagePredictions(
            one.image_id, (*one.instances, found(4, extra[one.image_id])) if one.image_id in extra else one.instances
        )
        for one in FOUND[:-1]
    ]
    tails = [one.tail for one in find_suspicions(GOOD, some, KNOWN) if one.kind == "missed"]
    assert tails == pytest.approx([1 / 20, 2 / 20, 3 / 20])


def test_labels_of_classes_that_a_student_does_not_know_are_not_judged() -> None:
    known = dict.fromkeys(KNOWN, (0,))
    nuts = [ImagePredictions(one.image_id, tuple(i for i in one.instances if i.class_index == 0)) for one in FOUND]
    suspicions = find_suspicions(ALL, nuts, known)
    assert not [one for one in suspicions if one.image_id != "wrong"]
    assert {one.index for one in suspicions} == {None, 0, 2}


def test_nothing_in_gives_nothing_out() -> None:
    assert find_suspicions([], [], {}) == []
    alone = image("empty")
    assert find_suspicions([alone], [ImagePredictions("empty", ())], {"empty": (0,)}) == []


def test_scores_are_compared_with_the_threshold_of_their_class() -> None:
    weak = [ImagePredictions(one.image_id, (found(0, 0.9), found(1, 0.04, 1), found(3, 0.01, 1))) for one in GOOD]
    student = StudentAgreement.measure(ground_truth(CLASSES, tuple(GOOD)), weak)
    assert student.known == ("nut", "bolt") and student.ap50 == pytest.approx(1)
    assert student.classes["bolt"]["confidence"] == pytest.approx(0.025)
    nut, bolt, other = student.recalibrated(weak)[0].instances
    # 0.04 has 1.625 times the odds of 0.025, and 0.01 has 0.394 times.
    assert (bolt.score, other.score) == pytest.approx((1.625 / 2.625, 0.3939 / 1.3939), abs=1e-4) and nut.score >= 0.5
    # The student finds no bolt: nothing that it says of bolts counts.
    blind = [ImagePredictions(one.image_id, one.instances[:1]) for one in weak]
    student = StudentAgreement.measure(ground_truth(CLASSES, tuple(GOOD)), blind)
    assert student.known == ("nut",)
    assert "does not know bolt" in students_text([student])[0]
    # Three labels are too few to know a class by.
    few = StudentAgreement.measure(ground_truth(CLASSES, tuple(GOOD[:3])), weak[:3])
    assert few.known == () and few.untested == CLASSES.names
    text = students_text([few])[0]
    assert "it was asked about fewer than 5 labels of nut, bolt, and says nothing against these labels" in text
    assert "order is by score and stability alone" in students_text([few])[-1]


def test_a_class_with_few_labels_is_tested_on_those_of_several_students() -> None:
    """Three students have two images each, with a nut and a bolt; then two of them find nothing."""
    folds = [ground_truth(CLASSES, tuple(GOOD[at : at + 2])) for at in (0, 2, 4)]
    right = [
        [ImagePredictions(one.image_id, (found(0, 0.9), found(1, 0.4, 1))) for one in fold.images] for fold in folds
    ]
    alone = StudentAgreement.measure(folds[0], right[0])
    assert alone.known == () and alone.classes["nut"]["tested"] == 2
    students = measure_students(folds, right)
    assert {one.known for one in students} == {("nut", "bolt")}
    assert students[1].classes["bolt"] == {"f1": 1, "confidence": pytest.approx(0.2), "labels": 2, "tested": 6}
    blind = [*right[:1], *([ImagePredictions(one.image_id, ()) for one in fold.images] for fold in folds[1:])]
    # Together they find two of six bolts: an F1 of 0.5, that of one alone would be 1.
    assert measure_students(folds, blind)[0].classes["bolt"]["f1"] == pytest.approx(0.5)
    # A student with five labels is tested on its own.
    large = [ground_truth(CLASSES, tuple(GOOD[:5])), folds[2]]
    own = [[*right[0], *right[1], right[2][0]], right[2]]
    assert [one.classes["nut"]["tested"] for one in measure_students(large, own)] == [5, 2]


def candidates(images: list[TruthImage], scores: list[float]) -> list[Candidate]:
    entries = [(one.image_id, instance) for one in images for instance in one.instances]
    return [
        Candidate(
            Entry("train", name, at + 1, CLASSES.names[one.class_index], score, None, None, ()),
            score,
            Instance(one.class_index, one.rle, score),
            Path(name),
        )
        for at, ((name, one), score) in enumerate(zip(entries, scores, strict=True))
    ]


def test_one_order_of_students_and_scores() -> None:
    split = {one.image_id: "train" for one in ALL}
    scores = [0.9] * 20 + [0.9, 0.9, 0.5]
    items = audit_items(ALL, FOUND, KNOWN, candidates(ALL, scores), CLASSES, split)
    # The spurious label has the lowest score too, so both speak against it.
    assert (items[0].kind, items[0].annotation_id) == ("spurious", 23)
    assert items[0].rank == pytest.approx(1 / 23 * 0.5 / 23)
    assert {one.kind for one in items[1:4]} == {"wrong_class", "badly_drawn", "missed"}
    (missed,) = [one for one in items if one.annotation_id is None]
    assert missed.rle == square(0) and missed.score is None and missed.rank == pytest.approx(0.5 / 22)


def test_without_students_scores_alone_order_and_without_scores_nothing_does() -> None:
    nobody: dict[str, tuple[int, ...]] = {one.image_id: () for one in ALL}
    none = [ImagePredictions(one.image_id, ()) for one in ALL]
    split = {one.image_id: "train" for one in ALL}
    scores = [0.5 + at / 100 for at in range(23)][::-1]
    items = audit_items(ALL, none, nobody, candidates(ALL, scores), CLASSES, split)
    assert [one.score for one in items] == sorted(scores)
    assert {one.kind for one in items} == {None}
    equal = audit_items(ALL, none, nobody, candidates(ALL, [1.0] * 23), CLASSES, split)
    assert {one.rank for one in equal} == {None}


def test_of_right_labels_no_more_have_a_tail_than_it_says() -> None:
    """A simulation: students that are sure by chance, masks that are moved by chance, and not one wrong label."""
    rng = np.random.default_rng(0)
    images = [image(f"{at}", label(0), label(1, 1), label(3)) for at in range(100)]
    predictions = [
        ImagePredictions(
            one.image_id,
            tuple(
                found(column, float(rng.uniform(0.2, 1)), of_class, int(rng.integers(-5, 6)))
                for column, truth in ((0, 0), (1, 1), (3, 0))
                for of_class in (truth, 1 - truth)
            ),
        )
        for one in images
    ]
    suspicions = find_suspicions(images, predictions, {one.image_id: (0, 1) for one in images})
    assert {"spurious", "wrong_class", "badly_drawn"} <= {one.kind for one in suspicions}
    for level in (0.01, 0.05, 0.1, 0.2):
        for kind in ("spurious", "wrong_class", "badly_drawn"):
            below = sum(one.tail <= level for one in suspicions if one.kind == kind)
            assert below <= level * 300
