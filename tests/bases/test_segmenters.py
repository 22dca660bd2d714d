"""SAM, SAM-HQ and SAM 2 as segmenters: the same masks as transformers' documented way, however they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill_rfdetr_seg.bases import hub
from autodistill_rfdetr_seg.bases.base_classes import identity_of
from autodistill_rfdetr_seg.bases.contract import Masks
from autodistill_rfdetr_seg.bases.segmenters import box_segmenter
from autodistill_rfdetr_seg.bases.segmenters.segmenter_registry import SEGMENTERS, create_segmenter, find_segmenter
from autodistill_rfdetr_seg.core.errors import BaseModelError, MissingInputError, UnknownNameError, UsageError
from helpers import tiny_sam

KINDS = ("sam", "sam-hq", "sam2")
SIZES = ((90, 120), (150, 70), (90, 120), (128, 128))
COUNTS = (3, 0, 7, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("weights")
    return {kind: tiny_sam.save(kind, root / kind) for kind in (*KINDS, "sam2-video")}


@pytest.fixture(scope="module")
def scenes() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """BGR images with blocks in them, and boxes of as many as COUNTS says."""
    rng = np.random.default_rng(5)
    images, boxes = [], []
    for (height, width), count in zip(SIZES, COUNTS, strict=True):
        image = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        low = rng.uniform(0, 0.6, (count, 2)) * (width, height)
        high = low + rng.uniform(0.2, 0.4, (count, 2)) * (width, height)
        for x0, y0, x1, y1 in np.hstack([low, high]).astype(int):
            image[y0:y1, x0:x1] = rng.integers(0, 255, 3)
        images.append(image)
        boxes.append(np.hstack([low, high]))
    return images, boxes


def made(kind: str, folder: Path, **options: Any) -> Any:
    return create_segmenter(kind, {"model": str(folder), "device": "cpu", **options})


def documented(kind: str, folder: Path, image: np.ndarray, boxes: np.ndarray) -> Masks:
    """transformers' own page: processor, model, post_process_masks; RGB, one image, all its boxes."""
    import torch
    import transformers

    names = {"sam": "Sam", "sam-hq": "SamHQ", "sam2": "Sam2"}
    model = getattr(transformers, f"{names[kind]}Model").from_pretrained(folder).eval()
    processor = getattr(transformers, f"{names[kind]}Processor").from_pretrained(folder)
    inputs = processor(images=image[:, :, ::-1].copy(), input_boxes=[boxes.tolist()], return_tensors="pt")
    with torch.no_grad():
        said = model(
            pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float(), multimask_output=False
        )
    sizes = [inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
    masks = processor.post_process_masks([said.pred_masks[0]], *sizes)[0]
    return Masks(masks[:, 0].numpy(), said.iou_scores.clamp(0, 1).flatten().double().numpy())


def worst_iou(one: np.ndarray, other: np.ndarray) -> float:
    both, either = (one & other).sum((1, 2)), (one | other).sum((1, 2))
    return float(np.where(either, both / np.maximum(either, 1), 1).min())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_masks_as_the_documented_way(
    kind: str, folders: dict[str, Path], scenes: tuple[list[np.ndarray], list[np.ndarray]]
) -> None:
    images, boxes = scenes
    together = made(kind, folders[kind]).segment_batch(images, boxes)
    for image, mine, got in zip(images, boxes, together, strict=True):
        assert got.masks.shape == (len(mine), *image.shape[:2])
        assert got.masks.dtype == bool
        if not len(mine):
            assert got.scores.shape == (0,)
            continue
        expected = documented(kind, folders[kind], image, mine)
        assert worst_iou(got.masks, expected.masks) > 0.995
        assert np.allclose(got.scores, expected.scores, atol=1e-5)
        # Masks that differ from box to box and are neither empty nor full: the comparison above means something.
        assert 0.02 < expected.masks.mean() < 0.98
    assert worst_iou(together[2].masks[:1], together[2].masks[1:2]) < 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_one_by_one_is_the_same(
    kind: str, folders: dict[str, Path], scenes: tuple[list[np.ndarray], list[np.ndarray]]
) -> None:
    images, boxes = scenes
    together = made(kind, folders[kind]).segment_batch(images, boxes)
    alone, single = made(kind, folders[kind]), made(kind, folders[kind], boxes_per_pass=1)
    for image, mine, got in zip(images, boxes, together, strict=True):
        # Whatever else is in the batch, to the bit: a run that was resumed must end in the same labels.
        same = alone.segment(image, mine)
        assert np.array_equal(same.masks, got.masks)
        assert np.array_equal(same.scores, got.scores)
        for at, box in enumerate(mine):
            by_itself = single.segment(image, box[None])
            assert worst_iou(by_itself.masks, got.masks[at : at + 1]) > 0.995
            assert by_itself.scores[0] == pytest.approx(got.scores[at], abs=1e-5)


def test_the_encoder_takes_batches_and_the_result_does_not_depend_on_them(
    folders: dict[str, Path],
    scenes: tuple[list[np.ndarray], list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, boxes = scenes
    one = made("sam2", folders["sam2"]).segment_batch(images, boxes)
    monkeypatch.setattr(box_segmenter, "_CPU_IMAGES", 3)
    segmenter = made("sam2", folders["sam2"])
    assert segmenter.preferred_batch == 3
    seen = count_encoded(segmenter)
    three = segmenter.segment_batch(images, boxes)
    assert seen == [3]
    for a, b in zip(one, three, strict=True):
        assert worst_iou(a.masks, b.masks) > 0.999 if len(a.masks) else not len(b.masks)


def count_encoded(segmenter: Any) -> list[int]:
    """How many images each pass of the encoder has."""
    seen: list[int] = []
    real = segmenter._features

    def counted(pixels: Any) -> Any:
        seen.append(len(pixels))
        return real(pixels)

    segmenter._features = counted
    return seen


def test_an_image_is_encoded_once(folders: dict[str, Path], scenes: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    images, boxes = scenes
    segmenter = made("sam2", folders["sam2"])
    seen = count_encoded(segmenter)
    segmenter.segment_batch(images, boxes)
    assert sum(seen) == 3  # the one without boxes is not looked at
    # Asked again with other boxes, in any order, as copies of the arrays; and the same image twice in a batch.
    for at in (2, 0, 3):
        segmenter.segment(images[at].copy(), boxes[at] + 2.5)
    again = segmenter.segment_batch([images[0], images[0]], [boxes[0], boxes[0][:1]])
    assert sum(seen) == 3
    assert np.array_equal(again[0].masks[:1], again[1].masks)
    # A mirrored view of an image is another.
    assert not np.array_equal(segmenter.segment(images[0][:, ::-1], boxes[0]).masks, again[0].masks)
    assert sum(seen) == 4
    # An array that is filled anew is another image.
    frame = images[0].copy()
    before = segmenter.segment(frame, boxes[0])
    frame[:] = images[2]
    after = segmenter.segment(frame, boxes[0])
    assert np.array_equal(after.masks, made("sam2", folders["sam2"]).segment(images[2], boxes[0]).masks)
    assert not np.array_equal(before.masks, after.masks)
    # Bounded: twice the largest batch.
    rng = np.random.default_rng(0)
    for _ in range(20):
        segmenter.segment(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8), np.array([[5.0, 5, 30, 30]]))
    assert len(segmenter._kept) == 6
    segmenter.segment(images[0], boxes[0])
    assert sum(seen) == 4 + 20 + 1


def test_a_lower_data_type_is_the_encoders_alone(
    folders: dict[str, Path], scenes: tuple[list[np.ndarray], list[np.ndarray]]
) -> None:
    images, boxes = scenes
    exact = made("sam", folders["sam"]).segment(images[2], boxes[2])
    low = made("sam", folders["sam"], dtype="bfloat16").segment(images[2], boxes[2])
    assert worst_iou(exact.masks, low.masks) > 0.8
    assert not np.array_equal(exact.scores, low.scores)


def test_masks_come_to_size_in_parts(
    folders: dict[str, Path],
    scenes: tuple[list[np.ndarray], list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, boxes = scenes
    segmenter = made("sam", folders["sam"], boxes_per_pass=7)
    expected = segmenter.segment(images[2], boxes[2])
    monkeypatch.setattr(box_segmenter, "_PIXELS_AT_A_TIME", 2 * 90 * 120)
    parts: list[int] = []
    real = segmenter._upsampled

    def counted(logits: Any, of: Any) -> Any:
        parts.append(len(logits))
        return real(logits, of)

    segmenter._upsampled = counted
    assert np.array_equal(segmenter.segment(images[2], boxes[2]).masks, expected.masks)
    assert parts == [2, 2, 2, 1]


def test_out_of_memory_halves_what_is_done_at_a_time(
    folders: dict[str, Path], scenes: tuple[list[np.ndarray], list[np.ndarray]]
) -> None:
    import torch

    images, boxes = scenes
    segmenter = made("sam2", folders["sam2"], boxes_per_pass=7)
    expected = segmenter.segment(images[2], boxes[2])
    real, sizes = segmenter._model.prompt_encoder._embed_boxes, []

    def limited(boxes: Any) -> Any:
        sizes.append(boxes.shape[1])
        if boxes.shape[1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(boxes)

    segmenter._model.prompt_encoder._embed_boxes = limited
    got = segmenter.segment(images[2], boxes[2])
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert worst_iou(got.masks, expected.masks) > 0.995

    def never(pixels: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    segmenter._features = never
    with pytest.raises(BaseModelError, match="too little memory"):
        segmenter.segment(images[0], boxes[0])


def test_published_sam2_weights_are_the_video_models(
    folders: dict[str, Path], scenes: tuple[list[np.ndarray], list[np.ndarray]], tmp_path: Path
) -> None:
    import transformers

    images, boxes = scenes
    folder = folders["sam2-video"]
    model = transformers.Sam2Model.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    transformers.Sam2Processor.from_pretrained(folder).save_pretrained(tmp_path)
    got = made("sam2", folder).segment(images[2], boxes[2])
    assert worst_iou(got.masks, documented("sam2", tmp_path, images[2], boxes[2]).masks) > 0.995
    # The weights are the file's, not new random ones.
    video = transformers.Sam2VideoModel.from_pretrained(folder).state_dict()
    name = "mask_decoder.iou_prediction_head.proj_out.bias"
    assert np.array_equal(model.state_dict()[name].numpy(), video[name].numpy())


def test_boxes_beyond_the_image_or_without_sense_end_nothing(folders: dict[str, Path]) -> None:
    image = np.zeros((50, 60, 3), np.uint8)
    for kind in KINDS:
        boxes = np.array([[-20.0, -10, 90, 70], [5, 5, 5, 5], [np.nan, 0, 10, 10]])
        got = made(kind, folders[kind]).segment(image, boxes)
        assert got.masks.shape == (3, 50, 60)
        assert np.isfinite(got.scores).all()
        assert ((got.scores >= 0) & (got.scores <= 1)).all()


def test_identity_is_the_weights_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    entry = find_segmenter("sam2")
    here = identity_of(entry, {"model": str(folders["sam2"])})
    assert here == identity_of(
        entry, {"model": str(folders["sam2"]), "device": "cuda:1", "dtype": "bfloat16", "boxes_per_pass": 3}
    )
    assert here != identity_of(entry, {"model": str(tiny_sam.save("sam2", tmp_path / "other", seed=1))})
    default = identity_of(entry, {})
    assert default == {"model": "facebook/sam2.1-hiera-base-plus", "revision": "main"}
    assert identity_of(entry, {"revision": "abc"})["revision"] == "abc"
    for name, one in SEGMENTERS.items():
        if not one.weights:  # files of the user's own: test_onnx_sam.py
            continue
        assert identity_of(one, {})["model"] == one.weights[0][0], name
    segmenter = made("sam2", folders["sam2"])
    assert next(iter(here.values())) in segmenter.settings.values()
    # Nothing that changes by itself shows among what a model at hand is known by.
    assert [name for name in vars(segmenter) if not name.startswith("_")] == ["settings"]


def test_what_is_wrong_is_said(folders: dict[str, Path]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'sam2'"):
        create_segmenter("sam_2")
    with pytest.raises(UnknownNameError, match="boxes_per_pass"):
        create_segmenter("sam2", {"boxes_per_pas": 3})
    with pytest.raises(MissingInputError):
        create_segmenter("sam", {"model": "./nowhere"})
    for wrong in (0, "many"):
        with pytest.raises(UsageError, match="boxes_per_pass"):
            made("sam", folders["sam"], boxes_per_pass=wrong)
    with pytest.raises(UsageError, match="float8"):
        made("sam", folders["sam"], dtype="float8")


def test_halving_is_for_memory_alone() -> None:
    def work(part: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        hub.Batches().run(work, [1, 2], 2)
