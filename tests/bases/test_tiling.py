from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodistill_rfdetr_seg.bases.adapter import BaseAdapter
from autodistill_rfdetr_seg.bases.registry import create_base
from autodistill_rfdetr_seg.bases.tiling import ask_in_tiles, tile_windows
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import UsageError
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import evaluate
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from helpers.paths import SHARED_DATA
from helpers.shapes import disc

MUSHROOMS = SHARED_DATA / "mushrooms"
CLASSES = Classes.from_ontology({"bright": "mushroom"})


def scene(height: int, width: int, *shapes: np.ndarray, classes: list[int] | None = None) -> np.ndarray:
    """An image where the oracle can tell objects apart: red is the class + 1, green and blue count the objects."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for number, shape in enumerate(shapes):
        pixels[shape] = (1 + (classes[number] if classes else 0), number // 256, number % 256)
    return pixels


def oracle(pixels: np.ndarray) -> list[Instance]:
    """Every connected part (8-connected) of every colour that is not black, right up to the edge."""
    code = (pixels.astype(np.int32) * (65536, 256, 1)).sum(axis=2)
    found = []
    for value in np.unique(code[code > 0]).tolist():
        count, parts = cv2.connectedComponents((code == value).astype(np.uint8), connectivity=8)
        for part in range(1, count):
            found.append(
                Instance(value // 65536 - 1, masks.encode(parts == part), 0.5, prompt_index=value // 65536 + 4)
            )
    return found


def in_tiles(
    ask: Callable[[np.ndarray], list[Instance]], pixels: np.ndarray, tile: int, overlap: float
) -> list[Instance]:
    """What is asked about each tile as an image of its own, joined."""
    return ask_in_tiles(lambda w: ask(pixels[w.top : w.bottom, w.left : w.right]), *pixels.shape[:2], tile, overlap)


def content(instances: list[Instance]) -> list[tuple[Any, ...]]:
    return sorted((i.class_index, i.prompt_index, i.rle.height, i.rle.width, i.rle.counts) for i in instances)


def tiled(pixels: np.ndarray, tile: int = 40, overlap: float = 0.25) -> list[Instance]:
    return in_tiles(oracle, pixels, tile, overlap)


def assert_like_untiled(pixels: np.ndarray, count: int, tile: int = 40, overlap: float = 0.25) -> None:
    found = tiled(pixels, tile, overlap)
    assert len(found) == count
    assert content(found) == content(oracle(pixels))


def bar(height: int, width: int, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(10, 120), st.floats(0, 0.9))
def test_tiles_cover_evenly_and_overlap_enough(length: int, tile: int, overlap: float) -> None:
    windows = tile_windows(length, 7, tile, overlap)
    assert windows[0].top == 0
    assert windows[-1].bottom == length
    assert {w.bottom - w.top for w in windows} == {min(tile, length)}
    assert {(w.left, w.right) for w in windows} == {(0, 7)}
    steps = {b.top - a.top for a, b in itertools.pairwise(windows)}
    assert all(tile - step >= overlap * tile for step in steps)
    assert not steps or max(steps) - min(steps) <= 1
    # One tile fewer would leave a gap or overlap too little.
    fewer = len(windows) - 1
    assert fewer == 0 or tile + (fewer - 1) * (tile - int(np.ceil(overlap * tile))) < length


@pytest.mark.parametrize(("tile", "overlap"), [(9, 0.2), (0, 0.2), (64, -0.1), (64, 0.91), (64, float("nan"))])
def test_tiles_out_of_range(tile: int, overlap: float) -> None:
    with pytest.raises(UsageError):
        tile_windows(100, 100, tile, overlap)


@pytest.mark.parametrize("shape", [(30, 40), (40, 40), (1, 1)])
def test_a_small_image_is_one_call_given_back_unchanged(shape: tuple[int, int]) -> None:
    asked = []
    answer = [Instance(0, masks.encode(np.ones(shape, bool)), s, 0.25, 3, "base") for s in (0.1, 0.9)]

    def ask(pixels: np.ndarray) -> list[Instance]:
        asked.append(pixels)
        return answer

    pixels = np.zeros((*shape, 3), np.uint8)
    assert in_tiles(ask, pixels, 40, 0.2) == answer
    assert len(asked) == 1
    assert asked[0].shape == pixels.shape


def test_small_discs_are_as_untiled() -> None:
    at = [(x, y) for y in range(6, 120, 11) for x in range(6, 150, 11)]
    assert_like_untiled(scene(125, 155, *(disc(125, 155, x, y, 4) for x, y in at)), len(at))


@pytest.mark.parametrize("vertical", [False, True])
def test_a_bar_across_all_tiles_is_one(vertical: bool) -> None:
    pixels = scene(61, 103, bar(61, 103, 28, 3, 32, 100), bar(61, 103, 50, 0, 54, 103))
    assert_like_untiled(pixels.transpose(1, 0, 2).copy() if vertical else pixels, 2)


@pytest.mark.parametrize("radius", [6, 12, 19, 27, 34])
@pytest.mark.parametrize("shift", [0, 3])
def test_a_ring_around_a_tile_corner_is_one(radius: int, shift: int) -> None:
    middle = 35 + shift
    ring = disc(71, 71, middle, middle, radius) & ~disc(71, 71, middle, middle, radius - 3)
    assert_like_untiled(scene(71, 71, ring), 1)
    assert_like_untiled(scene(71, 71, ring, disc(71, 71, middle, middle, radius - 4)), 2)


@pytest.mark.parametrize("reach", [37, 39, 60])
def test_both_arms_of_a_u_belong_to_it(reach: int) -> None:
    u = bar(40, 70, 8, 5, 32, 10) | bar(40, 70, 8, 5, 13, reach) | bar(40, 70, 27, 5, 32, reach)
    assert_like_untiled(scene(40, 70, u), 1)


@pytest.mark.parametrize("seam", range(20, 52))
def test_touching_neighbours_stay_two(seam: int) -> None:
    left, right = disc(40, 70, seam - 9, 20, 9), disc(40, 70, seam + 10, 20, 9)
    assert (np.roll(left, 1, axis=1) & right).any()
    assert not (left & right).any()
    assert_like_untiled(scene(40, 70, left, right), 2)


def test_classes_do_not_join() -> None:
    shape = bar(40, 70, 10, 20, 20, 50)

    def ask(pixels: np.ndarray) -> list[Instance]:
        found = oracle(pixels)
        return [dataclasses.replace(i, class_index=c) for i in found for c in (0, 1)]

    found = in_tiles(ask, scene(40, 70, shape), 40, 0.25)
    assert sorted(i.class_index for i in found) == [0, 1]
    assert all(np.array_equal(masks.decode(i.rle), shape) for i in found)


def test_a_part_and_a_whole_stay_two() -> None:
    whole = bar(40, 70, 10, 20, 20, 50)
    part = bar(40, 70, 10, 20, 17, 50)  # IoU 0.7 in the zone

    def ask(pixels: np.ndarray) -> list[Instance]:
        found = oracle(pixels)
        low = np.flatnonzero(pixels.any(axis=(1, 2)))[:7]
        return found + [
            dataclasses.replace(i, rle=masks.encode(masks.decode(i.rle) & np.isin(np.arange(40), low)[:, None]))
            for i in found
        ]

    found = in_tiles(ask, scene(40, 70, whole), 40, 0.25)
    assert sorted(masks.area(i.rle) for i in found) == [part.sum(), whole.sum()]


def test_with_no_shared_pixels_nothing_joins() -> None:
    pixels = scene(40, 80, bar(40, 80, 10, 30, 20, 50))
    halves = [bar(40, 80, 10, 30, 20, 40), bar(40, 80, 10, 40, 20, 50)]
    assert content(tiled(pixels, 40, 0.0)) == content([Instance(0, masks.encode(h), 1, prompt_index=5) for h in halves])


def test_one_pixel_more_than_the_tiles() -> None:
    pixels = scene(41, 81, disc(41, 81, 40, 20, 9), bar(41, 81, 39, 2, 41, 80))
    assert_like_untiled(pixels, 2, 40, 0.0)


def swollen(pixels: np.ndarray) -> list[Instance]:
    """The oracle, but what ends at the tile's edge is a pixel too large, has half the score, and is no mere sliver."""
    found = []
    for one in oracle(pixels):
        mask = masks.decode(one.rle)
        if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
            if mask.any(axis=0).sum() < 4:
                continue
            grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            one = dataclasses.replace(one, rle=masks.encode(grown), score=0.25)
        found.append(one)
    return found


@pytest.mark.parametrize("x", range(15, 55))
def test_what_a_tile_sees_whole_wins_over_fragments_with_false_edges(x: int) -> None:
    shape = disc(40, 70, x, 20, 9)
    found = in_tiles(swollen, scene(40, 70, shape), 40, 0.5)
    assert [(i.score, masks.area(i.rle)) for i in found] == [(0.5, shape.sum())]
    assert np.array_equal(masks.decode(found[0].rle), shape)


@pytest.mark.parametrize(("shift", "count"), [(2, 1), (9, 2)])
def test_two_whole_views_are_one_where_they_agree(shift: int, count: int) -> None:
    shape = disc(40, 60, 30, 15, 6)
    answers = iter([(0, 0.3), (shift, 0.6)])

    def ask(pixels: np.ndarray) -> list[Instance]:
        down, score = next(answers)
        return [
            dataclasses.replace(i, rle=masks.encode(np.roll(masks.decode(i.rle), down, axis=0)), score=score)
            for i in oracle(pixels)
        ]

    found = in_tiles(ask, scene(40, 60, shape), 40, 0.5)
    assert [i.score for i in found] == [0.6, 0.3][:count]
    assert np.array_equal(masks.decode(found[0].rle), np.roll(shape, shift, axis=0))


def test_a_fragment_nobody_else_saw_is_kept() -> None:
    def ask(pixels: np.ndarray) -> list[Instance]:
        return oracle(pixels) if pixels[0, 0].any() else []

    pixels = scene(40, 70, bar(40, 70, 0, 0, 1, 1), bar(40, 70, 10, 20, 20, 60))
    kept = [bar(40, 70, 0, 0, 1, 1), bar(40, 70, 10, 20, 20, 40)]
    assert content(in_tiles(ask, pixels, 40, 0.25)) == content(
        [Instance(0, masks.encode(k), 1, prompt_index=5) for k in kept]
    )


@pytest.mark.parametrize(
    ("mask_scores", "expected"), [((None, None), None), ((0.4, 0.8), 20 / 35 * 0.4 + 15 / 35 * 0.8), ((None, 0.8), 0.8)]
)
def test_scores_of_a_joined_object_are_weighted_by_area(
    mask_scores: tuple[float | None, ...], expected: float | None
) -> None:
    answers = iter(zip((0.9, 0.2), mask_scores, strict=True))

    def ask(pixels: np.ndarray) -> list[Instance]:
        score, mask_score = next(answers)
        return [dataclasses.replace(i, score=score, mask_score=mask_score) for i in oracle(pixels)]

    # 20 columns in the first tile (20..39), 15 in the second (30..44), which cuts it too.
    found = in_tiles(ask, scene(40, 70, bar(40, 70, 10, 20, 20, 45)), 40, 0.25)
    assert len(found) == 1
    assert found[0].score == pytest.approx(20 / 35 * 0.9 + 15 / 35 * 0.2)
    assert found[0].mask_score == pytest.approx(expected)
    assert found[0].prompt_index == 5


def test_order_is_by_score_then_from_the_top() -> None:
    spots = [disc(60, 100, x, y, 3) for x, y in ((80, 10), (10, 10), (50, 50), (20, 50))]

    def ask(pixels: np.ndarray) -> list[Instance]:
        return [dataclasses.replace(i, score=0.1 + 0.5 * i.class_index) for i in oracle(pixels)]

    found = in_tiles(ask, scene(60, 100, *spots, classes=[0, 0, 1, 0]), 40, 0.25)
    assert [(i.score, masks.bbox_xywh(i.rle)[:2]) for i in found] == [
        (0.6, (47, 47)),
        (0.1, (7, 7)),
        (0.1, (77, 7)),
        (0.1, (17, 47)),
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(20, 90), st.integers(20, 90)),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(1, 30)), min_size=1, max_size=12),
    st.sampled_from([0.1, 0.25, 0.5, 0.8]),
)
def test_any_discs_are_as_untiled(size: tuple[int, int], discs: list[tuple[int, int, int]], overlap: float) -> None:
    # A later disc leaves a crescent of an earlier one, or nothing, or hides its middle.
    pixels = scene(*size, *(disc(*size, *one) for one in discs), classes=[n % 2 for n in range(len(discs))])
    assert content(tiled(pixels, 20, overlap)) == content(oracle(pixels))


def labelled(path: Path, scale: int, tile: int) -> tuple[tuple[int, int], tuple[Instance, ...], tuple[Instance, ...]]:
    """A real image's height and width, and what the threshold base says of it untiled and in tiles."""
    pixels = cv2.resize(open_rgb(path), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    base = create_base("threshold", CLASSES)
    whole, tiled = (BaseAdapter(base, 1, "bgr", at, 0.2).ask(pixels).instances for at in (None, tile))
    return pixels.shape[:2], whole, tiled


def ap50(images: list[tuple[tuple[int, int], tuple[Instance, ...], tuple[Instance, ...]]]) -> float:
    """Mask AP50 of the tiled labels with the untiled ones as the truth."""
    truth, predictions = [], []
    for number, (shape, whole, tiled) in enumerate(images):
        gold = tuple(TruthInstance(i.class_index, i.rle) for i in whole)
        truth.append(TruthImage(str(number), Path(), *shape, gold))
        predictions.append(ImagePredictions(str(number), tiled))
    report = evaluate(GroundTruth(CLASSES, tuple(truth), "x"), predictions, max_detections=500, area_from="mask")
    assert report.mask["ap50"] is not None
    return float(report.mask["ap50"])


def mushrooms() -> list[Path]:
    """All the images of valid and test."""
    paths = [path for folder in ("valid", "test") for path in sorted((MUSHROOMS / folder).glob("*.jpg"))]
    if not paths:
        pytest.skip("the shared mushroom images are absent")
    return paths


@pytest.mark.slow
def test_mushrooms_labelled_in_tiles_are_as_untiled() -> None:
    # A third of them; `benchmarks/tiles.py` does all.
    images = [labelled(path, 1, 400) for path in mushrooms()[::3]]
    assert len(images) == 3
    assert ap50(images) >= 0.95
    # Neither lost nor doubled: AP forgives what comes too much with a low score.
    for one in images:
        assert ap50([one]) >= 0.95
        assert len(one[2]) == pytest.approx(len(one[1]), rel=0.03)


@pytest.mark.slow
def test_mushrooms_at_twice_their_size_are_as_untiled() -> None:
    # The smallest; `benchmarks/tiles.py` does all of them at this size.
    one = labelled(min(mushrooms(), key=lambda path: path.stat().st_size), 2, 640)
    assert ap50([one]) >= 0.95
    assert len(one[2]) == pytest.approx(len(one[1]), rel=0.03)


@pytest.mark.slow
def test_mushrooms_seen_alike_in_every_tile_are_as_untiled() -> None:
    shape, whole, _ = labelled(random.Random(1).choice(mushrooms()), 1, 640)
    painted = scene(*shape, *(masks.decode(i.rle) for i in whole))
    found = tiled(painted, 320, 0.2)
    assert len(found) >= len(whole) > 100
    assert content(found) == content(oracle(painted))
