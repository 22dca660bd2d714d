"""`onnx-sam`: masks from boxes by exports of several forms, held against what is drawn; real weights where they are."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.bases.base_classes import identity_of
from autodistill_rfdetr_seg.bases.contract import Masks
from autodistill_rfdetr_seg.bases.segmenters.onnx_sam import OnnxSam
from autodistill_rfdetr_seg.bases.segmenters.segmenter_registry import create_segmenter, find_segmenter
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import BaseModelError, DependencyError, MissingInputError, UsageError
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from helpers import tiny_onnx
from helpers.paths import ROOT, SHARED

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

MODELS, DATA = SHARED / "models", SHARED / "data"
SIZES = ((360, 640), (640, 360), (300, 300), (90, 120))


def made(folder: Path, **options: Any) -> Any:
    return create_segmenter("onnx-sam", {"model": str(folder), "threads": 1, **options})


def picture(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A BGR image with a red block (and a blue one beside it), and where the red one is."""
    image = np.full((height, width, 3), 20, np.uint8)
    red = np.zeros((height, width), bool)
    red[height // 8 : height // 2, width // 4 : 3 * width // 4] = True
    image[red] = (20, 20, 240)
    image[3 * height // 4 :, :] = (240, 20, 20)
    return image, red


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def check(got: Masks, boxes: np.ndarray, red: np.ndarray) -> None:
    height, width = red.shape
    assert got.masks.dtype == bool and got.masks.shape == (len(boxes), height, width)
    for mask, score, (x0, y0, x1, y1) in zip(got.masks, got.scores, boxes, strict=True):
        expected = np.zeros_like(red)
        expected[int(y0) : int(y1), int(x0) : int(x1)] = red[int(y0) : int(y1), int(x0) : int(x1)]
        assert iou(mask, expected) > 0.93
        # The box's share of the square, whose side is the image's longest.
        assert score == pytest.approx((x1 - x0) * (y1 - y0) / max(height, width) ** 2, rel=0.02)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        *(("planar", kind) for kind in ("low", "several", "edge")),
        *((kind, "low") for kind in ("interleaved", "bytes", "planar bytes")),
    ],
)
def test_each_form_of_export_finds_what_is_drawn(
    encoder: str, decoder: str, size: tuple[int, int], tmp_path: Path
) -> None:
    image, red = picture(*size)
    height, width = size
    boxes = np.array([[0.0, 0, width, height * 0.7], [width * 0.5, 0, width, height * 0.3]]).round()
    check(made(tiny_onnx.save_sam(tmp_path, encoder, decoder)).segment(image, boxes), boxes, red)


def test_masks_of_the_image_s_own_size(tmp_path: Path) -> None:
    image, red = picture(300, 300)
    boxes = np.array([[0.0, 0, 300, 200]])
    check(made(tiny_onnx.save_sam(tmp_path, decoder="full")).segment(image, boxes), boxes, red)


def test_an_image_is_encoded_once(tmp_path: Path) -> None:
    segmenter = made(tiny_onnx.save_sam(tmp_path))
    calls: list[Any] = []

    class Counts:
        def __init__(self, session: Any) -> None:
            self.session = session

        def run(self, names: Any, inputs: Any) -> Any:
            calls.append(next(iter(inputs.values())).shape)
            return self.session.run(names, inputs)

    segmenter._encoder = Counts(segmenter._encoder)
    image, red = picture(120, 200)
    boxes = np.array([[0.0, 0, 200, 80], [100, 0, 200, 80], [0, 0, 100, 80]])
    together = segmenter.segment(image, boxes)
    alone = [segmenter.segment(image.copy(), box[None]) for box in boxes]
    assert calls == [(1, 3, 256, 256)]
    assert all(np.array_equal(one.masks[0], mask) for one, mask in zip(alone, together.masks, strict=True))
    # An array that was filled anew is another image; one without boxes is not encoded.
    image[...] = 0
    assert not segmenter.segment(image, boxes).masks.any()
    assert segmenter.segment(np.ones_like(image), np.zeros((0, 4))).masks.shape == (0, 120, 200)
    assert len(calls) == 2
    check(segmenter.segment(picture(120, 200)[0], boxes), boxes, red)


def test_several_threads_ask_one_session(tmp_path: Path) -> None:
    segmenter = made(tiny_onnx.save_sam(tmp_path))
    pictures = [picture(100 + 8 * at, 160) for at in range(12)]

    def ask(at: int) -> None:
        image, red = pictures[at % len(pictures)]
        boxes = np.array([[0.0, 0, 160, image.shape[0] * 0.7 // 1]])
        check(segmenter.segment(image, boxes), boxes, red)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(48)))


def test_boxes_beyond_the_image_or_without_sense_end_nothing(tmp_path: Path) -> None:
    boxes = np.array([[-20.0, -10, 90, 70], [5, 5, 5, 5], [np.nan, 0, 10, 10]])
    got = made(tiny_onnx.save_sam(tmp_path)).segment(np.zeros((50, 60, 3), np.uint8), boxes)
    assert got.masks.shape == (3, 50, 60) and np.isfinite(got.scores).all()
    assert ((got.scores >= 0) & (got.scores <= 1)).all()


def test_identity_is_the_files_contents(tmp_path: Path) -> None:
    entry = find_segmenter("onnx-sam")
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    for folder in (one, same):
        tiny_onnx.save_sam(folder, prefix="mobile_")
    tiny_onnx.save_sam(other, encoder="bytes", prefix="mobile_")
    told = identity_of(entry, {"model": str(one)})
    assert set(told) == {"encoder_sha256", "decoder_sha256"}
    files = {"encoder": str(same / "mobile_encoder.onnx"), "decoder": str(same / "mobile_decoder.onnx")}
    assert told == identity_of(entry, {**files, "threads": 3, "providers": "CPUExecutionProvider"})
    assert told != identity_of(entry, {"model": str(other)})
    assert told != identity_of(entry, {"model": str(one), "normalise": False})
    segmenter = made(one)
    assert segmenter.settings == told
    assert [name for name in vars(segmenter) if not name.startswith("_")] == ["settings"]
    # The same path with other weights in it.
    (one / "mobile_encoder.onnx").write_bytes((other / "mobile_encoder.onnx").read_bytes())
    assert identity_of(entry, {"model": str(one)}) == identity_of(entry, {"model": str(other)})


def test_what_is_wrong_with_files_is_said(tmp_path: Path) -> None:
    folder = tiny_onnx.save_sam(tmp_path / "sam")
    with pytest.raises(MissingInputError, match="no weights are fetched"):
        create_segmenter("onnx-sam")
    with pytest.raises(MissingInputError, match="There is no folder"):
        made(tmp_path / "nowhere")
    with pytest.raises(MissingInputError, match=r"no ONNX file .*x\.onnx, which was given as the decoder"):
        made(folder, decoder=str(tmp_path / "x.onnx"))
    tiny_onnx.save_sam(folder, prefix="other_")
    with pytest.raises(MissingInputError, match=r"file is the encoder: it holds other_encoder\.onnx, sam_encoder"):
        made(folder)
    check_files = {part: str(folder / f"sam_{part}.onnx") for part in ("encoder", "decoder")}
    assert made(folder, **check_files).settings
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(BaseModelError, match=r"bad\.onnx cannot be loaded"):
        made(folder, encoder=str(tmp_path / "bad.onnx"), decoder=check_files["decoder"])
    swapped = {"encoder": check_files["decoder"], "decoder": check_files["encoder"]}
    with pytest.raises(UsageError, match=r"encoder has one input.*image_embeddings \(float\)\[1, 3, 64, 64\], point_c"):
        create_segmenter("onnx-sam", swapped)
    with pytest.raises(UsageError, match=r"lacks image_embeddings.*Its inputs: image \(float\)\[batch, 3, 256, 256\]"):
        create_segmenter("onnx-sam", {"encoder": check_files["encoder"], "decoder": check_files["encoder"]})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"threads": True}, "threads is True"),
        ({"normalise": "no"}, "normalise is 'no'"),
        ({"providers": ["NoSuchProvider"]}, "no provider 'NoSuchProvider'"),
        ({"providers": 3}, "providers is 3"),
        ({"providers": []}, r"providers is \[\]"),
    ],
)
def test_what_is_wrong_with_options_is_said(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        made(tiny_onnx.save_sam(tmp_path), **options)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ("float[1, 3, 256, 512] image", "sides must be equal"),
        ("float[1, 3, 256, width] image", "sides must be equal"),
        ("float[4, 3, 256, 256] image", "takes one image"),
        ("float[1, 3] image", "takes one image"),
        ("float16[1, 3, 256, 256] image", "takes one image"),
        ("float[1, 4, 256, 256] image", "must be 3 colors"),
        ("float[1, 3, 256, 3] image", "must be 3 colors"),
    ],
)
def test_forms_that_are_not_known_are_refused_by_name(inputs: str, why: str, tmp_path: Path) -> None:
    folder = tiny_onnx.save_sam(tmp_path)
    name = inputs.partition("[")[2].partition("]")[0]
    kind = inputs.partition("[")[0]
    tiny_onnx._save(folder / "sam_encoder.onnx", f"g ({inputs}) => ({kind}[{name}] out) {{ out = Identity (image) }}")
    with pytest.raises(UsageError, match=rf"{why}.*image \({kind}\)\[{name}\]".replace("[", r"\[", 0)) as error:
        made(folder)
    assert "export_onnx_model.py" in str(error.value.hint)


def test_without_onnxruntime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxruntime" else real(name, *a))
    with pytest.raises(DependencyError, match="'onnxruntime', which is not installed") as error:
        made(tiny_onnx.save_sam(tmp_path))
    assert error.value.hint == "pip install 'autodistill-rfdetr-seg[onnx]'"
    # The class by itself, too.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match="need the package 'onnxruntime'"):
        OnnxSam(str(tiny_onnx.save_sam(tmp_path)))


def test_a_detector_of_one_s_own_labels_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`examples/own_base.py` as the command line takes it; other weights at the same path are labelled again."""
    example = ROOT / "examples" / "own_base.py"
    (tmp_path / "images").mkdir()
    for at in range(3):
        image, red = picture(120, 200)
        image[0, 0] = at
        Image.fromarray(image[..., ::-1]).save(tmp_path / "images" / f"{at}.png")
    # In 64ths: the whole upper part of the image, scoring 0.6; one below the floor; one of another class.
    rows = [[0, 0, 64, 44, 0.6, 39], [0, 0, 10, 10, 0.1, 39], [0, 0, 64, 64, 0.9, 0]]
    detector = tiny_onnx.save_detector(tmp_path / "detector.onnx", rows)
    sam = tiny_onnx.save_sam(tmp_path / "sam")
    args = ["label", str(tmp_path / "images"), "--base", f"{example}:OnnxDetector", "--class", "bottle=flask"]
    args += ["--base-arg", f"weights={detector}", "--segmenter", "onnx-sam", "--segmenter-arg", f"model={sam}"]
    args += ["--output", str(tmp_path / "run"), "--split", "1,0,0"]
    assert main([*args, "-q"]) == 0, capsys.readouterr().err
    truth = coco.read(tmp_path / "run" / "dataset" / "train")
    assert truth.classes.names == ("flask",) and len(truth.images) == 3
    for one in truth.images:
        (instance,) = one.instances
        assert iou(masks.decode(instance.rle), red) > 0.93
    (row,) = coco.read_rows(tmp_path / "run" / "dataset" / "train")["0.png"]
    assert row["score"] == pytest.approx(0.6) and row["mask_score"] == pytest.approx(200 * 82.5 / 200**2, rel=0.02)
    account = json.loads((tmp_path / "run" / "labels" / "labels.json").read_text())
    assert len(account["args"]["weights"]["sha256"]) == 64
    assert len(account["args"]["segmenter_args"]["encoder_sha256"]) == 64

    def fingerprint() -> str:
        assert main([*args, "--resume", "-q"]) == 0, capsys.readouterr().err
        told = json.loads((tmp_path / "run" / "labels" / "labels.json").read_text())
        return str(told["fingerprint"])

    assert fingerprint() == account["fingerprint"]
    tiny_onnx.save_detector(detector, [[0, 0, 64, 44, 0.7, 39]])
    assert fingerprint() != account["fingerprint"]
    (row,) = coco.read_rows(tmp_path / "run" / "dataset" / "train")["0.png"]
    assert row["score"] == pytest.approx(0.7)


@pytest.mark.slow
@pytest.mark.skipif(not (MODELS / "sam_encoder.onnx").is_file(), reason="../shared/models is not here")
def test_people_s_boxes_by_real_weights() -> None:
    truth = coco.read(DATA / "fruits_nuts" / "train")
    segmenter = made(MODELS, threads=2)
    found = []
    for image in truth.images[:2]:
        boxes = np.array([one.bbox_xywh for one in image.instances])
        boxes[:, 2:] += boxes[:, :2]
        got = segmenter.segment(np.ascontiguousarray(open_rgb(image.path)[:, :, ::-1]), boxes)
        rles = [masks.encode(mask) for mask in got.masks]
        found += [masks.iou_matrix([a], [b.rle])[0, 0] for a, b in zip(rles, image.instances, strict=True)]
    assert len(found) > 10 and np.mean(found) > 0.92


@pytest.mark.slow
@pytest.mark.skipif(not (MODELS / "detector_coco80.onnx").is_file(), reason="../shared/models is not here")
def test_the_example_s_detector_equals_the_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from autodistill.detection import CaptionOntology

    from autodistill_rfdetr_seg.bases.detector_and_segmenter import SegmentedBase

    monkeypatch.syspath_prepend(str(SHARED / "baselines"))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    ontology = CaptionOntology({"bottle": "bottle"})
    for name in ("onnx_teacher", "own_base"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    teacher = importlib.import_module("onnx_teacher").OnnxTeacher(ontology, floor=0.4)
    own = importlib.import_module("own_base").OnnxDetector(ontology, str(MODELS / "detector_coco80.onnx"), floor=0.4)
    base = SegmentedBase(own, made(MODELS, threads=2))
    bgr = np.ascontiguousarray(open_rgb(DATA / "bottles_gold" / "f0024.png")[:, :, ::-1])
    theirs, ours = teacher.predict(bgr), base.predict(bgr)
    assert len(theirs) == len(ours) > 0
    assert np.allclose(theirs.xyxy, ours.xyxy, atol=1e-3) and np.allclose(theirs.confidence, ours.confidence)
    assert min(iou(a, b) for a, b in zip(theirs.mask, ours.mask, strict=True)) > 0.99
