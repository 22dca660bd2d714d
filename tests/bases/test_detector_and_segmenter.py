"""A detector and a segmenter are a base: in Python, as `grounded-sam-hf`, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg import label
from autodistill_rfdetr_seg.bases.adapter import BaseAdapter
from autodistill_rfdetr_seg.bases.base_classes import class_of, identity_of
from autodistill_rfdetr_seg.bases.base_entries import BaseEntry
from autodistill_rfdetr_seg.bases.contract import Masks
from autodistill_rfdetr_seg.bases.detector_and_segmenter import SegmentedBase
from autodistill_rfdetr_seg.bases.registry import BASES, create_base
from autodistill_rfdetr_seg.bases.segmenters.segmenter_registry import create_segmenter
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import BaseModelError, UnknownNameError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.label_account import read_account
from autodistill_rfdetr_seg.labels.label_store import LabelStore
from helpers import tiny_sam

SHAPE = (40, 60)
PICTURE = np.zeros((*SHAPE, 3), np.uint8)


class Filled:
    """A segmenter whose mask is the box itself, less its first column; a box 2 pixels wide has an empty one."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def segment(self, image: Any, boxes_xyxy: Any) -> Masks:
        return self.segment_batch([image], [boxes_xyxy])[0]

    def segment_batch(self, images: Any, boxes_xyxy: Any) -> list[Masks]:
        self.asked.append([len(boxes) for boxes in boxes_xyxy])
        return [self._of(image, boxes) for image, boxes in zip(images, boxes_xyxy, strict=True)]

    def _of(self, image: Any, boxes: Any) -> Masks:
        masks = np.zeros((len(boxes), *image.shape[:2]), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.round().astype(int), strict=True):
            assert 0 <= x0 < x1 <= image.shape[1]
            assert 0 <= y0 < y1 <= image.shape[0]
            if x1 - x0 > 2:
                mask[y0:y1, x0 + 1 : x1] = True
        return Masks(masks, np.linspace(0.5, 0.9, len(boxes)))


class Finds:
    """A detector that only has `predict`, and says what it is told to say of each image in turn."""

    def __init__(self, *said: Any) -> None:
        self.ontology = CaptionOntology({"red": "lamp", "blue": "lamp", "green": "plant"})
        self.said = list(said)
        self.shown: list[Any] = []

    def predict(self, input: Any) -> Any:
        self.shown.append(input)
        return self.said.pop(0)


class FindsBatches(Finds):
    preferred_batch = 3

    def predict_batch(self, images: Any) -> Any:
        return [self.said.pop(0) for _ in images]


def found(*xyxy: list[float], class_id: Any = None, **more: Any) -> sv.Detections:
    ids = np.arange(len(xyxy)) if class_id is None else class_id
    return sv.Detections(xyxy=np.array(xyxy, float), class_id=ids, confidence=np.linspace(0.9, 0.1, len(xyxy)), **more)


def test_boxes_are_cut_to_the_image_and_keep_order_class_and_score() -> None:
    said = found(
        [50, 30, 90, 45],  # beyond the right and lower edge
        [10, 10, 5, 20],  # no width
        [-9, -9, 12, 8],
        [70, 5, 80, 9],  # outside
        [0, 0, 5, 5],
        [20, 20, 30, 30],
        data={"phrase": np.array(list("abcdef")), "words": [*"uvwxyz"]},
    )
    said.xyxy[4, 0] = np.nan
    answer = SegmentedBase(Finds(said), Filled()).predict(PICTURE)
    assert answer.xyxy.tolist() == [[50, 30, 60, 40], [0, 0, 12, 8], [20, 20, 30, 30]]
    assert answer.class_id.tolist() == [0, 2, 5]
    assert answer.metadata["dropped"] == {"box_without_area": 3}
    assert answer.confidence.tolist() == pytest.approx([0.9, 0.58, 0.1])
    assert answer.data["phrase"].tolist() == ["a", "c", "f"]
    assert answer.data["words"] == ["u", "w", "z"]
    assert answer.data["mask_score"].tolist() == pytest.approx([0.5, 0.7, 0.9])
    assert answer.mask.shape == (3, *SHAPE)
    assert answer.mask.sum((1, 2)).tolist() == [9 * 10, 11 * 8, 9 * 10]


@pytest.mark.parametrize("kind", [Finds, FindsBatches])
def test_one_at_a_time_or_in_batches(kind: Any) -> None:
    said = [found([1, 1, 9, 9]), None, sv.Detections.empty(), found([1, 1, 9, 9], [20, 5, 40, 30])]
    segmenter = Filled()
    base = SegmentedBase(kind(*said), segmenter)
    assert base.preferred_batch == (3 if kind is FindsBatches else 1)
    answers = base.predict_batch([PICTURE] * 4)
    assert [len(answer) for answer in answers] == [1, 0, 0, 2]
    assert segmenter.asked == [[1, 0, 0, 2]]
    assert [BaseAdapter(Finds(one), 3).ask(PICTURE).instances[0].mask_score for one in (answers[0],)] == [0.5]


def test_what_labelling_keeps_of_it() -> None:
    said = found([1, 1, 9, 9], [5, 5, 7, 30], [20, 5, 40, 30], class_id=np.array([1, 0, None], object))
    said.mask = np.ones((3, *SHAPE), bool)  # a detector's own masks are not used
    answer = BaseAdapter(SegmentedBase(Finds(said), Filled()), 3).ask(PICTURE)
    assert [(i.prompt_index, i.score, i.mask_score) for i in answer.instances] == [(1, 0.9, 0.5)]
    assert answer.dropped == {"empty_mask": 1, "unknown_class": 1}
    without = found([1, 1, 9, 9])
    without.class_id = None
    assert BaseAdapter(SegmentedBase(Finds(without), Filled()), 3).ask(PICTURE).dropped == {"unknown_class": 1}


def test_paths_and_pil_images(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((50, 30, 3), np.uint8))
    picture.save(tmp_path / "a.png")
    for given in (picture, str(tmp_path / "a.png")):
        for wanted in ("bgr", "path"):
            detector = Finds(found([0, 0, 99, 99]))
            answer = SegmentedBase(detector, Filled(), wanted).predict(given)  # type: ignore[arg-type]
            assert answer.mask.shape == (1, 50, 30)
            # A detector gets arrays, unless it is of those that want something else.
            (shown,) = detector.shown
            assert shown.shape == (50, 30, 3) if wanted == "bgr" else shown is given


def test_it_is_an_autodistill_base(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c", "d", "e"):
        cv2.imwrite(str(tmp_path / "in" / f"{name}.jpg"), PICTURE)
    base = SegmentedBase(Finds(*[found([1, 1, 20, 20], [5, 5, 7, 30])] * 5), Filled())
    assert isinstance(base, DetectionBaseModel)
    base.label(str(tmp_path / "in"), ".jpg", str(tmp_path / "out"))
    lines = [p.read_text().split() for p in (tmp_path / "out").rglob("labels/*.txt")]
    assert len(lines) == 5
    # One polygon each: the empty mask of the narrow box leaves nothing.
    assert all(line[0] == "0" and line.count("0") == 1 for line in lines)


def test_a_detector_alone_is_told_of_segmenters() -> None:
    with pytest.raises(BaseModelError, match="boxes without masks") as error:
        BaseAdapter(Finds(found([1, 1, 9, 9])), 3).ask(PICTURE)
    assert "--segmenter onnx-sam or sam or sam-hq or sam2" in str(error.value.hint)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("weights")
    saved = {"one": tiny_sam.save("sam2", root / "one"), "other": tiny_sam.save("sam2", root / "other", seed=1)}
    return saved | {"sam": tiny_sam.save("sam", root / "sam")}


def test_a_base_at_hand_is_known_by_both_its_parts(weights: dict[str, Path]) -> None:
    def fingerprint(name: str, **options: Any) -> str:
        segmenter = create_segmenter("sam2", {"model": str(weights[name]), "device": "cpu", **options})
        return BaseSource.from_model(SegmentedBase(Finds(), segmenter)).provenance.fingerprint

    assert fingerprint("one") == fingerprint("one", dtype="bfloat16", boxes_per_pass=2)
    assert fingerprint("one") != fingerprint("other")


# Grounding DINO's place, taken by a detector that finds what is bright.
DETECTOR = """
import cv2
import numpy as np
import supervision as sv

class Bright:
    def __init__(self, ontology, box_threshold=0.35, device="auto", dtype="auto", model=None, masks=False):
        self.ontology, self.box_threshold = ontology, box_threshold

    identity = staticmethod(dict)

    def predict(self, image):
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[:, :, 1] > 150).astype(np.uint8))
        x, y, w, h = stats[1:, 0], stats[1:, 1], stats[1:, 2], stats[1:, 3]
        found = sv.Detections(
            xyxy=np.stack([x, y, x + w, y + h], 1).astype(float),
            class_id=np.zeros(count - 1, int),
            confidence=np.clip(w * h / 1000, 0, 1),
        )
        return found[found.confidence >= self.box_threshold]
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(30, 60, (48, 70, 3)).astype(np.uint8)
        pixels[5:20, 4 + number : 34 + number] = 200
        pixels[30:44, 40:60] = 230
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "detector.py").write_text(DETECTOR)
    return tmp_path / "photos"


def test_grounded_sam_of_parts(photos: Path, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from autodistill_rfdetr_seg.bases import grounded_sam_hf
    from autodistill_rfdetr_seg.bases.grounded_sam_hf import GroundedSAMHF

    bright = class_of(BASES, "bright", BaseEntry(f"{photos.parent / 'detector.py'}:Bright", "", masks=False))
    monkeypatch.setattr(grounded_sam_hf, "GroundingDino", bright)
    args = {"segmenter": "sam2", "segmenter_model": str(weights["one"]), "device": "cpu", "box_threshold": 0.3}
    base = create_base("grounded-sam-hf", Classes.from_ontology({"a lamp": "lamp"}), args)
    assert isinstance(base, GroundedSAMHF)
    assert isinstance(base, DetectionBaseModel)
    assert base.ontology.prompts() == ["a lamp"]
    images = [cv2.imread(str(path)) for path in sorted(photos.iterdir())]
    answers = base.predict_batch(images)
    expected = create_segmenter("sam2", {"model": str(weights["one"]), "device": "cpu"})
    for image, answer in zip(images, answers, strict=True):
        assert answer.confidence.tolist() == [0.45]  # the other box, of 280 pixels, is below the threshold
        masks = expected.segment(image, answer.xyxy)
        assert np.array_equal(answer.mask, masks.masks)
        assert answer.data["mask_score"].tolist() == masks.scores.tolist()
    jittered = base.segment(images[0], answers[0].xyxy + 1)
    assert np.array_equal(jittered.masks, expected.segment(images[0], answers[0].xyxy + 1).masks)
    with pytest.raises(UnknownNameError, match="did you mean 'box_threshold'"):
        GroundedSAMHF({"a lamp": "lamp"}, segmenter_model=str(weights["one"]), box_treshold=0.3)

    def identity(**changed: Any) -> Any:
        return identity_of(BASES["grounded-sam-hf"], {**args, **changed})

    assert identity()["segmenter"] == {"name": "sam2", **identity_of_sam2(weights["one"])}
    assert identity()["detector"]["box_threshold"] == 0.3
    assert identity() != identity(segmenter_model=str(weights["other"]))
    assert identity() != identity(segmenter="sam", segmenter_model=str(weights["sam"]))
    json.dumps(identity())


def test_grounded_sam_hf_with_a_segmenter_that_has_no_device(tmp_path: Path) -> None:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    from helpers import tiny_dino, tiny_onnx

    dino = str(tiny_dino.save_tiny_dino(tmp_path / "dino"))
    files = {"segmenter": "onnx-sam", "segmenter_model": str(tiny_onnx.save_sam(tmp_path / "sam"))}
    args = {"model": dino, "device": "cpu", "box_threshold": 0.0, "text_threshold": 0.0, **files}
    base = create_base("grounded-sam-hf", Classes.from_ontology({"a red cat": "cat"}), args)
    found = base.predict(np.full((60, 80, 3), 90, np.uint8))
    assert len(found) and found.mask.shape[1:] == (60, 80) and "mask_score" in found.data
    assert "encoder_sha256" in identity_of(BASES["grounded-sam-hf"], args)["segmenter"]


def identity_of_sam2(folder: Path) -> Any:
    from autodistill_rfdetr_seg.bases.segmenters.transformers_segmenters import Sam2

    return Sam2.identity({"model": str(folder)})


def command(photos: Path, output: Path, *more: str, segmenter: str = "sam2", model: Path | None = None) -> list[str]:
    base = f"{photos.parent / 'detector.py'}:Bright"
    parts = ["--base", base, "--base-arg", "box_threshold=0.1", "--class", "bright=lamp"]
    if model is not None:
        parts += ["--segmenter", segmenter, "--segmenter-arg", f"model={model}"]
    return ["label", str(photos), *parts, "--output", str(output), *more]


def rows(run: Path) -> dict[str, list[tuple[Any, float, float | None]]]:
    labels = read_account(run / "labels")
    store = LabelStore(run / "labels")
    stored = store.read_all(store.keys(labels.fingerprint))
    return {row.image.path: [(i.rle.counts, i.score, i.mask_score) for i in row.instances] for row in stored}


def test_a_detector_and_a_segmenter_on_the_command_line(
    photos: Path, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(command(photos, run, "--segmenter-arg", "device=cpu", model=weights["one"])) == 0
    labels = rows(run)
    assert len(labels) == 6
    # What the store holds is what the segmenter says of the detector's boxes.
    segmenter = create_segmenter("sam2", {"model": str(weights["one"])})
    masks = segmenter.segment(cv2.imread(str(photos / "0.png")), np.array([[4.0, 5, 34, 20], [40, 30, 60, 44]]))
    kept = [(score, mask_score) for _, score, mask_score in labels["0.png"]]
    assert kept == [(0.45, pytest.approx(masks.scores[0])), (0.28, pytest.approx(masks.scores[1]))]
    from autodistill_rfdetr_seg.core.masks import encode

    assert [counts for counts, _, _ in labels["0.png"]] == [encode(mask).counts for mask in masks.masks]

    # The same weights on another device, or so many boxes at a time, are the same labels; other weights are not.
    capsys.readouterr()
    for more in (("device=auto",), ("dtype=float32", "boxes_per_pass=1")):
        options = [word for one in more for word in ("--segmenter-arg", one)]
        assert main(command(photos, run, "--resume", *options, model=weights["one"])) == 0
        assert "0 images labeled, 6 already had labels" in capsys.readouterr().err
    assert main(command(photos, run, "--resume", model=weights["other"])) == 0
    assert "6 images labeled, 0 already had labels" in capsys.readouterr().err
    assert rows(run)["0.png"] != labels["0.png"]
    assert main(command(photos, run, "--resume", segmenter="sam", model=weights["sam"])) == 0
    assert "6 images labeled, 0 already had labels" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_build_both(photos: Path, weights: dict[str, Path], tmp_path: Path) -> None:
    for name, more in (("here", ()), ("there", ("--workers", "1"))):
        assert main(command(photos, tmp_path / name, "-q", *more, model=weights["one"])) == 0
    assert rows(tmp_path / "here") == rows(tmp_path / "there")


def test_mistakes_on_the_command_line(
    photos: Path, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(photos, tmp_path / "a", model=tmp_path / "nowhere")) == 3
    assert "no folder of weights" in capsys.readouterr().err
    assert main(command(photos, tmp_path / "b", segmenter="smm2", model=weights["one"])) == 2
    assert "did you mean 'sam2'" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    assert main(command(photos, tmp_path / "b", "--segmenter-arg", f"model={weights['one']}")) == 2
    assert "no segmenter" in capsys.readouterr().err
    # Without a segmenter every image fails, with the way out in the message.
    assert main(command(photos, tmp_path / "c")) != 0
    assert "--segmenter onnx-sam or sam or sam-hq or sam2" in capsys.readouterr().err


def test_a_base_of_parts_in_python(photos: Path, weights: dict[str, Path], tmp_path: Path) -> None:
    detector = create_base(f"{photos.parent / 'detector.py'}:Bright", Classes.from_ontology({"bright": "lamp"}))
    segmenter = create_segmenter("sam2", {"model": str(weights["one"])})
    dataset = label(SegmentedBase(detector, segmenter), photos, tmp_path / "run", progress=False)
    assert dataset.classes.names == ("lamp",)
    assert read_account(tmp_path / "run" / "labels").args["segmenter"].items() >= segmenter.settings.items()
