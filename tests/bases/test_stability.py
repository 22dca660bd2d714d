"""Stability: the base asked again, its masks held against themselves; what refine and review make of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg import coco, label
from autodistill_rfdetr_seg.bases import stability
from autodistill_rfdetr_seg.bases.adapter import BaseAdapter
from autodistill_rfdetr_seg.bases.contract import Masks
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, ImageRecord, Instance
from autodistill_rfdetr_seg.dataset.dataset_index import read_index
from autodistill_rfdetr_seg.dataset.refine import refine
from autodistill_rfdetr_seg.labels.label_account import read_account
from autodistill_rfdetr_seg.labels.label_store import LabelStore
from autodistill_rfdetr_seg.review.review_order import review_ranks
from helpers.shapes import detections

SHAPE = (48, 64)
BGR_RED = (0, 0, 200)


def picture() -> npt.NDArray[np.uint8]:
    """RGB: a red square on grey, left of the middle."""
    pixels = np.full((*SHAPE, 3), 100, np.uint8)
    pixels[12:36, 6:30] = BGR_RED[::-1]
    return pixels


def red(bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return (bgr[:, :, 2] > 150) & (bgr[:, :, 0] < 50)


class RedAndGhost(DetectionBaseModel):
    """Finds what is red, and, in the very picture alone, a ghost of another prompt at the right."""

    def __init__(self) -> None:
        self.ontology = CaptionOntology({"red": "square", "ghost": "ghost"})
        self.asked: list[tuple[int, ...]] = []

    def predict(self, input: npt.NDArray[np.uint8]) -> sv.Detections:
        self.asked.append(input.shape[:2])
        found = [red(input)]
        if np.array_equal(input, picture()[:, :, ::-1]):
            found.append(np.zeros(input.shape[:2], bool))
            found[1][10:20, 40:60] = True
        return detections(np.stack(found), [0, 1][: len(found)], [0.8, 0.9][: len(found)])


class Batched(RedAndGhost):
    def predict_batch(self, images: list[Any]) -> list[sv.Detections]:
        return [self.predict(image) for image in images]


class Segments(RedAndGhost):
    """Segments what is red where the box's centre is, else the box's upper half."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[npt.NDArray[np.float64]] = []

    def segment(self, image: npt.NDArray[np.uint8], boxes_xyxy: npt.NDArray[np.float64]) -> Masks:
        self.calls.append(boxes_xyxy)
        found = np.zeros((len(boxes_xyxy), *image.shape[:2]), bool)
        for mask, (x0, y0, x1, y1) in zip(found, boxes_xyxy, strict=True):
            if red(image)[int(y0 + y1) // 2, int(x0 + x1) // 2]:
                mask[:] = red(image)
            else:
                mask[round(y0) : round((y0 + y1) / 2), round(x0) : round(x1)] = True
        return Masks(found, np.ones(len(found)))


def asked(model: Any, pixels: npt.NDArray[np.uint8], **options: Any) -> dict[int, float | None]:
    found = BaseAdapter(model, 2, stability=True, **options).ask(pixels).instances
    return {one.class_index: one.stability for one in found}


def test_what_stays_is_stable_and_what_is_gone_is_not() -> None:
    base = RedAndGhost()
    found = asked(base, picture())
    assert found[0] == pytest.approx(1, abs=0.03)
    assert found[1] == 0
    # the picture, then mirrored, at two thirds, brighter
    assert base.asked == [(48, 64), (48, 64), (32, 43), (48, 64)]
    assert found == asked(RedAndGhost(), picture())


def test_off_asks_once() -> None:
    base = RedAndGhost()
    answer = BaseAdapter(base, 2).ask(picture())
    assert [one.stability for one in answer.instances] == [None, None]
    assert len(base.asked) == 1


def test_nothing_found_is_not_asked_again() -> None:
    class Nothing(RedAndGhost):
        def predict(self, input: npt.NDArray[np.uint8]) -> sv.Detections:
            self.asked.append(input.shape[:2])
            return sv.Detections.empty()

    base = Nothing()
    assert asked(base, picture()) == {}
    assert len(base.asked) == 1


def test_agreement_with_a_mirrored_answer() -> None:
    """A base that says the same whatever it sees: columns 20 to 40 of 64 come back as 24 to 44."""
    mask = np.zeros(SHAPE, bool)
    mask[10:30, 20:40] = True
    middle = np.zeros(SHAPE, bool)
    middle[10:30, 22:42] = True
    mirrored = stability.views_of(segments=True)[0]
    one, two = Instance(0, masks.encode(mask), 0.5), Instance(1, masks.encode(middle), 0.5)
    assert stability.agreement([one, two], [two, one], mirrored).tolist() == [16 / 24, 1]
    # of the same class only, and each with its best
    other = Instance(1, masks.encode(mask), 0.5)
    assert stability.agreement([one, two], [other, two], mirrored).tolist() == [0, 1]
    assert stability.agreement([one], [], mirrored).tolist() == [0]
    # another prompt of the class that wins in the mirror is no disagreement
    assert stability.agreement([one, two], [other, two], mirrored, classes=[5, 5]).tolist() == [18 / 22, 1]


class Synonyms(DetectionBaseModel):
    """Finds what is red, by another prompt in the mirror than in the picture."""

    def __init__(self) -> None:
        self.ontology = CaptionOntology({"dog": "dog", "puppy": "dog", "cat": "cat"})

    def predict(self, input: npt.NDArray[np.uint8]) -> sv.Detections:
        found = red(input)
        left = bool(found[:, : input.shape[1] // 2].sum() > found[:, input.shape[1] // 2 :].sum())
        return detections(found[None], [0 if left else 1], [0.8])


def test_another_prompt_of_the_class_costs_no_stability_and_parts_no_object(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    # A square across the middle, where two tiles meet: the one finds it by "puppy", the other by "dog".
    pixels = np.full((*SHAPE, 3), 100, np.uint8)
    pixels[12:36, 14:48] = BGR_RED[::-1]
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    Image.fromarray(picture()).save(tmp_path / "photos" / "b.png")
    for tiles in (None, 32):
        out = tmp_path / f"run{tiles}"
        options: Any = {"tiles": tiles, "overlap": 0.1, "split": {"train": 0.5, "valid": 0.5, "test": 0}}
        label(Synonyms(), tmp_path / "photos", out, stability=True, progress=False, **options)
        store = LabelStore(out / "labels")
        rows = {row.image.path: row for row in store.read_all(store.keys(read_account(out / "labels").fingerprint))}
        (wide,), (left,) = rows["a.png"].instances, rows["b.png"].instances
        assert masks.area(wide.rle) == 24 * 34
        assert min(wide.stability or 0, left.stability or 0) > 0.9
        assert read_account(out / "labels").args["stability"] is True
        # Asked otherwise, it is another base's label.
        resumed = label(Synonyms(), tmp_path / "photos", out, resume=True, progress=False, **options)
        assert "stability" not in read_account(out / "labels").args
        assert sum(count["instances"] for count in resumed.counts.values()) == 2


@pytest.mark.parametrize("segments", [True, False])
def test_views_bring_a_mask_back_to_where_it_was(segments: bool) -> None:
    bgr = picture()[:, :, ::-1]
    for view in stability.views_of(segments):
        changed = view.change(picture())
        assert changed.dtype == np.uint8
        back = masks.encode(view.back(red(changed[:, :, ::-1]), SHAPE))
        assert masks.iou_matrix([back], [masks.encode(red(bgr))])[0, 0] > 0.9, view.name
    # 250 does not wrap around to dark
    assert stability.views_of(False)[2].change(np.full((2, 2, 3), 250, np.uint8)).min() == 255


def test_moved_boxes_move_a_little_and_the_same_each_time() -> None:
    boxes = np.array([[10.0, 20, 30, 60], [0, 0, 10, 10]])
    there = stability.moved(boxes, 64, 64)
    assert there.shape == (2 * stability.MOVES, 4)
    shift = there[: stability.MOVES] - boxes[0]
    assert (np.abs(shift[:, [0, 2]]) <= 2).all() and (np.abs(shift[:, [1, 3]]) <= 4).all()
    assert (np.abs(shift) > 0).all()
    assert there.min() == 0
    assert np.array_equal(there, stability.moved(boxes, 64, 64))
    assert np.array_equal(there[: stability.MOVES], stability.moved(boxes[:1], 64, 64))


def test_a_segmenter_is_asked_with_moved_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Segments()
    found = asked(base, picture())
    assert found[0] == 1
    # mirrored it is gone (0), and upper halves agree to about a half: their mean is about a quarter
    assert found[1] == pytest.approx(0.25, abs=0.05)
    assert base.asked == [SHAPE, SHAPE]
    assert [len(boxes) for boxes in base.calls] == [2 * stability.MOVES]
    assert np.abs(base.calls[0][: stability.MOVES] - [6, 12, 30, 36]).max() <= 2.4
    monkeypatch.setattr(stability, "MOST_BYTES", 3 * SHAPE[0] * SHAPE[1])
    bounded = Segments()
    assert asked(bounded, picture()) == found
    assert [len(boxes) for boxes in bounded.calls] == [3, 3, 2]


def test_batches_say_what_single_images_do() -> None:
    other = np.roll(picture(), 20, axis=1)
    adapter = BaseAdapter(Batched(), 2, stability=True)
    together = [[(i.class_index, i.stability) for i in one().instances] for one in adapter.start([picture(), other])]
    assert together == [list(asked(RedAndGhost(), pixels).items()) for pixels in (picture(), other)]
    assert [len(one) for one in together] == [2, 1]


def test_tiled_images_are_asked_whole_again_without_boxes() -> None:
    base = Segments()
    large = np.pad(picture(), ((0, 30), (40, 20), (0, 0)), constant_values=100)
    found = asked(base, large, tiles=64, overlap=0.5)
    assert found[0] == pytest.approx(1, abs=0.05)
    assert base.calls == []


def test_a_question_that_fails_does_not_count() -> None:
    class OnlyLarge(Segments):
        def predict(self, input: npt.NDArray[np.uint8]) -> sv.Detections:
            if len(self.asked) == 1:
                self.asked.append(input.shape[:2])
                raise RuntimeError("out of memory")
            return super().predict(input)

        def segment(self, image: Any, boxes_xyxy: Any) -> Masks:
            found = super().segment(image, boxes_xyxy)
            return Masks(found.masks[:1], found.scores) if self.short else found

        short = False

    assert asked(OnlyLarge(), picture())[0] == 1
    short = OnlyLarge()
    short.short = True
    assert asked(short, picture()) == {0: None, 1: None}


def test_a_stability_that_the_base_gives_stays() -> None:
    rle = masks.encode(red(picture()[:, :, ::-1]))
    given, none = Instance(0, rle, 0.5, stability=0.3), Instance(0, rle, 0.5)
    found = stability.with_stability([given, none], [np.array([1.0, 1.0]), np.array([0.5, 0.5])])
    assert [one.stability for one in found] == [0.3, 0.75]


def test_refine_drops_what_is_unstable() -> None:
    mask = np.zeros((3, 30, 30), bool)
    for at in range(3):
        mask[at, 10 * at : 10 * at + 8] = True
    scored = zip(mask, (0.9, 0.8, 0.7), (0.4, 0.5, None), strict=True)
    found = tuple(Instance(0, masks.encode(m), score, stability=value) for m, score, value in scored)
    labels = ImageLabels(ImageRecord("0" * 16, "x.png", 30, 30, "0" * 64), found)
    classes = Classes(("x",), (("x", 0),))
    kept = refine(labels, RefineConfig(min_stability=0.5), classes)
    assert [one.score for one in kept.instances] == [0.8, 0.7]
    assert [(one.instance.score, one.reason) for one in kept.rejected] == [(0.9, "unstable")]
    assert len(refine(labels, RefineConfig(), classes).instances) == 3


def test_ranking_takes_both_places() -> None:
    # places by margin 1, 2, 3, 4 and by stability 2, 3, 1, the last has none
    assert np.argsort(review_ranks([0.1, 0.2, 0.3, 0.4], [0.5, 0.9, 0.2, None])).tolist() == [0, 2, 1, 3]
    assert review_ranks([0.3, 0.1], [None, None]).tolist() == [0.75, 0.25]
    assert review_ranks([0.1, 0.1], [0.9, 0.2]).argmin() == 1
    assert review_ranks([], []).tolist() == []


BASE = '''
import numpy as np, supervision as sv
from autodistill.detection import DetectionBaseModel

class Base(DetectionBaseModel):
    """A red object, and of the unchanged image a ghost beside it; red is 200 there, and more in the brighter view."""
    def __init__(self, ontology):
        self.ontology = ontology
    def predict(self, input):
        red = (input[:, :, 2] > 150) & (input[:, :, 0] < 50)
        ghost = np.zeros_like(red)
        if input.shape[:2] == (48, 64) and input[0, 0, 1] == 1:
            ghost[2:8, 40:60] = True
        found = [m for m in (red, ghost) if m.any()]
        xyxy = sv.mask_to_xyxy(np.stack(found)).astype(float)
        n = len(found)
        return sv.Detections(xyxy=xyxy, mask=np.stack(found), class_id=np.arange(n), confidence=np.full(n, 0.8))
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stability")
    (root / "images").mkdir()
    (root / "base.py").write_text(BASE)
    for at in range(4):
        pixels = np.roll(picture(), 4 * at, axis=0)
        pixels[0, 0, 1] = 1
        Image.fromarray(pixels).save(root / "images" / f"{at}.png")
    assert (
        main(
            [
                *("label", str(root / "images"), "--base", f"{root / 'base.py'}:Base", "--output", str(root / "run")),
                *("--class", "red=square", "--class", "ghost", "--stability", "--split", "0.5,0.5,0", "-q"),
                "--near-duplicates=null",
            ]
        )
        == 0
    )
    return root / "run"


def test_store_and_dataset_keep_it(run: Path) -> None:
    store = LabelStore(run / "labels")
    rows = list(store.read_all(store.keys(read_account(run / "labels").fingerprint)))
    told = [{i.class_index: i.stability for i in row.instances} for row in rows]
    assert len(told) == 4
    for one in told:
        assert one[0] == pytest.approx(1, abs=0.05)
        # mirrored and smaller it is gone; the brighter view is of the same size, and 1 * 1.1 is 1
        assert one[1] == pytest.approx(1 / 3)
    written = {
        round(row["stability"], 2)
        for split in ("train", "valid")
        for rows_ in coco.read_rows(run / "dataset" / split).values()
        for row in rows_
    }
    assert 0.33 in written and max(written) > 0.95


def test_review(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", str(run), "--count", "3", "-q"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["label", "class", "score", "stability", "reasons", "image"]
    with (run / "review.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class_name"] for row in rows] == ["ghost"] * 4 + ["square"] * 4
    assert {row["reasons"] for row in rows[:4]} == {"unstable"}
    assert {row["image"] for row in rows} == {f"{at}.png" for at in range(4)}
    data = json.loads((run / "review.json").read_text(encoding="utf-8"))
    assert data[0]["stability"] == pytest.approx(1 / 3, abs=1e-5)
    assert printed[1].split()[0] == f"{data[0]['split']}:{data[0]['annotation_id']}"
    page = (run / "review.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3
    assert "1 to check" in page and "Dropped" not in page
    with Image.open(run / "review.png") as sheet:
        assert sheet.width == 1200
    assert main(["explain", str(run), printed[1].split()[0], "-q"]) == 0
    assert "score       0.800, stability 0.333" in capsys.readouterr().out
    assert main(["review", str(run), "--count", "0", "-q"]) == 2


def test_the_rule_from_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(run), "--min-stability", "0.5", "-q"]) == 0
    index = read_index(run / "dataset")
    assert index["rejected"] == {"unstable": 4}
    capsys.readouterr()
    assert main(["explain", str(run), "train:1", "-q"]) == 0
    assert "at least 0.5" in capsys.readouterr().out
    assert main(["review", str(run), "--json", "-q"]) == 0
    labels = json.loads(capsys.readouterr().out)["labels"]
    assert [one["class_name"] for one in labels] == ["square"] * 4
