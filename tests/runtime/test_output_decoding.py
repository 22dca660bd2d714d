"""One decode for every form of a model. It must give what rfdetr gives, which resizes each mask to the whole image."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import supervision as sv
from hypothesis import given, settings
from hypothesis import strategies as st

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.compact_detections import compact_masks, to_detections
from autodistill_rfdetr_seg.runtime.bilinear import resize_pixels
from autodistill_rfdetr_seg.runtime.instance_mask import Mask, masks_from_logits
from autodistill_rfdetr_seg.runtime.instance_matching import mask_iou
from autodistill_rfdetr_seg.runtime.output_decoding import Detection, decode_output

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
# A pixel may differ where the resized logit is 0 but for rounding: one in so many of the masks' border pixels.
BORDER_PIXELS_TO_ONE = 10_000


def vendor_masks(logits: FloatArray, height: int, width: int) -> BoolArray:
    """The masks as rfdetr makes them, all of them in full size."""
    import torch

    given_size = {"size": (height, width), "mode": "bilinear", "align_corners": False}
    resized = torch.nn.functional.interpolate(torch.from_numpy(logits)[:, None], **given_size)
    result: BoolArray = (resized > 0)[:, 0].numpy()
    return result


def border_pixels(stack: BoolArray) -> int:
    return int((stack[:, 1:] != stack[:, :-1]).sum() + (stack[:, :, 1:] != stack[:, :, :-1]).sum())


def discs(random: np.random.Generator, count: int, grid: tuple[int, int], least: float, most: float) -> FloatArray:
    """Logits of discs with a rough border; they may reach out of the grid, or cover all of it."""
    rows, columns = np.mgrid[: grid[0], : grid[1]] + 0.5
    made = []
    for _ in range(count):
        y, x = random.uniform(-0.1, 1.1, 2) * grid
        radius = random.uniform(least, most) * max(grid)
        made.append(3 * (radius - np.hypot(rows - y, columns - x)) + random.normal(0, 0.5, grid))
    return np.array(made, dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    grid=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    kind=st.sampled_from(["discs", "noise", "specks", "full", "empty"]),
)
def test_masks_are_rfdetrs(seed: int, grid: tuple[int, int], size: tuple[int, int], kind: str) -> None:
    random = np.random.default_rng(seed)
    logits = discs(random, 5, grid, 0.02, 0.8)
    if kind == "noise":
        logits = random.normal(0, 1, logits.shape).astype(np.float32)
    elif kind == "specks":
        logits = np.where(random.random(logits.shape) < 0.03, 5, -1).astype(np.float32)
    elif kind != "discs":
        logits = np.full(logits.shape, 0.5 if kind == "full" else -0.5, dtype=np.float32)
    wanted = vendor_masks(logits, *size)
    found = masks_from_logits(logits, *size)
    dense = np.array([mask.dense() for mask in found])
    assert int((dense != wanted).sum()) <= 1 + border_pixels(wanted) // BORDER_PIXELS_TO_ONE
    for mask, whole in zip(found, dense, strict=True):
        crop = mask.crop()
        assert crop.pixels.sum() == whole.sum() == mask.area()
        assert np.array_equal(whole[crop.top : crop.bottom, crop.left : crop.right], crop.pixels)
        assert masks.encode_crop(crop, *size) == masks.encode(whole)
        assert np.array_equal(Mask.from_pixels(whole).dense(), whole)


def test_large_frames_differ_in_one_border_pixel_of_ten_thousand() -> None:
    random = np.random.default_rng(1)
    wrong = border = 0
    for height, width in ((1080, 1920), (1079, 33), (2160, 3840), (7, 4001)):
        logits = discs(random, 12, (78, 78), 0.01, 0.3)
        wanted = vendor_masks(logits, height, width)
        found = np.array([mask.dense() for mask in masks_from_logits(logits, height, width)])
        wrong += int((found != wanted).sum())
        border += border_pixels(wanted)
    assert border > 50_000 and wrong * BORDER_PIXELS_TO_ONE <= border


def test_logits_that_are_not_finite_spoil_no_other_pixel() -> None:
    logits = np.full((1, 8, 8), -1, dtype=np.float32)
    logits[0, 2:6, 2:6] = 3
    logits[0, 4, 4] = np.inf
    wanted = vendor_masks(logits, 50, 70)
    assert np.array_equal(masks_from_logits(logits, 50, 70)[0].dense(), wanted[0]) and wanted.any()
    logits[0, 4, 4] = np.nan
    assert masks_from_logits(logits, 50, 70)[0].dense()[13:20, 18:26].all()


@pytest.mark.parametrize(("queries", "slots", "select"), [(30, 4, 20), (7, 91, 300), (5, 1, 5)])
@pytest.mark.parametrize("confidence", [0.0, 0.4, 0.999999])
def test_selection_scores_and_boxes_are_rfdetrs(queries: int, slots: int, select: int, confidence: float) -> None:
    import torch
    from rfdetr.models.postprocess import PostProcess

    random = np.random.default_rng(queries)
    boxes = random.uniform(-0.2, 1.2, (2, queries, 4)).astype(np.float32)
    logits = random.normal(0, 3, (2, queries, slots)).astype(np.float32)
    logits[:, ::2] = np.round(logits[:, ::2])  # equal scores, whose order is by query and class
    mask_logits = random.normal(0, 1, (2, queries, 9, 11)).astype(np.float32)
    sizes = [(37, 53), (60, 21)]
    raw = {"pred_boxes": boxes, "pred_logits": logits, "pred_masks": mask_logits}
    told = PostProcess(select)(
        {name: torch.from_numpy(one) for name, one in raw.items()}, torch.tensor(sizes), score_threshold=confidence
    )
    # The last slot is of no class, where there are several; the others are classes in another order.
    of_slot: list[int | None] = list(range(slots))[::-1]
    if slots > 1:
        of_slot[-1] = None
    spec = {"slots": of_slot, "num_select": select}
    for at, (result, size) in enumerate(zip(told, sizes, strict=True)):
        found = decode_output([boxes[at], logits[at], mask_logits[at]], size, spec, confidence)
        kept = [row for row, slot in enumerate(result["labels"].tolist()) if of_slot[slot] is not None]
        assert [one.class_id for one in found] == [of_slot[result["labels"][row]] for row in kept]
        assert np.abs(np.array([one.score for one in found]) - result["scores"][kept].numpy()).max(initial=0) < 1e-6
        corners = np.array([one.xyxy for one in found]).reshape(-1, 4)
        assert np.abs(corners - result["boxes"][kept].numpy()).max(initial=0) < 1e-4
        wanted = result["masks"][kept][:, 0].numpy()
        assert sum(int((one.mask != mask).sum()) for one, mask in zip(found, wanted, strict=True)) <= 1


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    side=st.integers(1, 120),
)
def test_the_input_is_rfdetrs(seed: int, size: tuple[int, int], side: int) -> None:
    import torch
    import torchvision.transforms.functional as transforms

    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    planes = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    wanted = transforms.resize(planes, [side, side], antialias=False).numpy()
    # A turned or cut image is a view of another memory order.
    for pixels in (image, np.asfortranarray(image), np.repeat(image, 2, axis=0)[::2]):
        assert np.abs(resize_pixels(pixels, side, side) / 255 - wanted).max() < 1e-6


def found_in(size: tuple[int, int], count: int = 6) -> sv.Detections:
    logits = discs(np.random.default_rng(3), count, (20, 20), 0.05, 0.3)
    made = [
        Detection(at % 2, 0.9 - at / 10, np.array([at, 0, at + 1, 1], np.float32), mask)
        for at, mask in enumerate(masks_from_logits(logits, *size))
    ]
    return to_detections(made, size, ["nut", "bolt"])


def test_detections_are_supervisions_and_stay_compact_until_their_masks_are_read() -> None:
    found = found_in((90, 120))
    assert isinstance(found, sv.Detections) and len(found) == 6 and found.class_id is not None
    selections: list[Any] = [found.class_id == 1, [4, 0], slice(1, 3), 2, np.array([5]), -1]
    parts = [found[one] for one in selections]
    assert all(compact_masks(part) is not None and len(compact_masks(part) or ()) == len(part) for part in parts)
    whole = np.array(found.mask)
    assert whole.shape == (6, 90, 120) and whole.dtype == np.bool_ and found.mask is found.mask
    plain = sv.Detections(found.xyxy, whole, found.confidence, found.class_id, None, found.data)
    assert found == plain
    for one, part in zip(selections, parts, strict=True):
        assert part == plain[one] and found[one] == plain[one]
    assert found["class_name"].tolist() == ["nut", "bolt"] * 3
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), sv.Detections.merge([found])):
        assert other == plain
    assert found.with_nms(0.01) == plain.with_nms(0.01)
    assert (found.area == plain.area).all()
    found.mask = whole[:, ::-1]
    assert compact_masks(found) is None and np.array_equal(found[2].mask[0], whole[2, ::-1])
    empty = found_in((90, 120), 0)
    assert empty.mask.shape == (0, 90, 120) and len(empty[[]]) == 0 and empty.is_empty()


def test_the_overlap_of_crops_is_that_of_the_masks() -> None:
    stack = masks_from_logits(discs(np.random.default_rng(5), 8, (24, 24), 0, 0.4), 61, 83)
    for one in stack:
        for other in stack:
            a, b = one.dense(), other.dense()
            union = (a | b).sum()
            wanted = (a & b).sum() / union if union else 1.0
            assert mask_iou(one.crop(), other.crop()) == pytest.approx(wanted)
