from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Rle
from helpers.shapes import disc

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_round_trip_area_and_box(mask: np.ndarray) -> None:
    rle = masks.encode(mask)
    assert np.array_equal(masks.decode(rle), mask)
    assert masks.area(rle) == mask.sum()
    if mask.any():
        ys, xs = np.nonzero(mask)
        expected = (xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
        assert masks.bbox_xywh(rle) == expected


@settings(max_examples=300, deadline=None)
@given(MASKS, st.sampled_from([bool, np.uint8, np.float32]))
def test_encoding_is_pycocotools_own(mask: np.ndarray, kind: type) -> None:
    expected = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert masks.encode(mask.astype(kind)) == Rle(*mask.shape, expected["counts"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5)])
@pytest.mark.parametrize("value", [False, True])
def test_encoding_of_all_or_nothing(shape: tuple[int, int], value: bool) -> None:
    mask = np.full(shape, value)
    expected = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert masks.encode(mask).counts == expected["counts"]


def test_iou_and_nesting() -> None:
    big, small, apart = disc(60, 60, 25, 25, 20), disc(60, 60, 25, 25, 8), disc(60, 60, 55, 55, 3)
    rles = [masks.encode(m) for m in (big, small, apart)]
    iou = masks.iou_matrix(rles, rles)
    assert iou[0, 1] == pytest.approx((big & small).sum() / (big | small).sum())
    assert iou[0, 2] == 0
    nested = masks.intersection_over_minimum(iou, np.array([m.sum() for m in (big, small, apart)], float))
    assert nested[0, 1] == pytest.approx(1)
    assert nested[1, 0] == pytest.approx(1)
    assert nested[0, 2] == 0


def test_islands() -> None:
    mask = disc(50, 50, 20, 20, 10) | disc(50, 50, 45, 45, 1)
    assert np.array_equal(masks.remove_islands(mask, 10), disc(50, 50, 20, 20, 10))
    assert np.array_equal(masks.remove_islands(mask, 2), mask)
    assert masks.remove_islands(disc(50, 50, 45, 45, 1), 10_000).sum() == 5


def test_holes_but_not_bays() -> None:
    ring = disc(50, 50, 20, 20, 10) & ~disc(50, 50, 20, 20, 3)
    assert np.array_equal(masks.fill_holes(ring, 100), disc(50, 50, 20, 20, 10))
    assert np.array_equal(masks.fill_holes(ring, 5), ring)
    frame = np.ones((10, 10), bool)
    frame[0:3, 4] = False
    assert np.array_equal(masks.fill_holes(frame, 100), frame)


def test_only_two_axes() -> None:
    with pytest.raises(ValueError, match="2 axes"):
        masks.encode(np.zeros((3, 4, 5), bool))


def test_what_differs_in_its_outline_alone() -> None:
    ring = disc(60, 80, 40, 30, 20) & ~disc(60, 80, 40, 30, 5)
    thin, thick = disc(60, 80, 40, 30, 19), disc(60, 80, 40, 30, 21)
    holed, apart, whole = ring.copy(), ring.copy(), disc(60, 80, 40, 30, 20)
    holed[45, 40] = False
    apart[1, 1] = True
    dented = ring.copy()
    dented[28:33, 20:23] = False
    cases = {
        "itself": (ring, ring, True),
        "a pixel less": (whole, thin, True),
        "a pixel more": (whole, thick, True),
        "two pixels": (thin, thick, False),
        "a hole": (ring, holed, False),
        "a hole less": (ring, whole, False),
        "a part": (ring, apart, False),
        "a deep dent": (ring, dented, False),
        "nothing": (whole, np.zeros_like(whole), False),
        "both nothing": (np.zeros_like(whole), np.zeros_like(whole), True),
    }
    found = {name: masks.differ_in_outline_alone(masks.encode(a), masks.encode(b)) for name, (a, b, _) in cases.items()}
    assert found == {name: same for name, (_, _, same) in cases.items()}
    # At the image's edge too.
    edge = np.zeros((40, 40), bool)
    edge[:10, :10] = True
    assert masks.differ_in_outline_alone(masks.encode(edge), masks.encode(np.pad(edge, 1)[:40, :40] | edge))
