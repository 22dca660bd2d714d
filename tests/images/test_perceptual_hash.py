from __future__ import annotations

import itertools
import random
from pathlib import Path

import cv2
import numpy as np
import pytest

from autodistill_rfdetr_seg.core.errors import UsageError
from autodistill_rfdetr_seg.images import perceptual_hash as perceptual_hash_module
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.images.perceptual_hash import (
    _bit_count,
    groups,
    near_duplicates,
    perceptual_hash,
    runs_of_neighbors,
)
from autodistill_rfdetr_seg.images.rgb_image import RgbImage


def differing(first: int | None, second: int | None) -> int:
    assert first is not None and second is not None
    return bin(first ^ second).count("1")


def jpeg(pixels: RgbImage, quality: int) -> RgbImage:
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.fixture
def photos(shared_data: Path) -> list[RgbImage]:
    return [open_rgb(path) for path in sorted((shared_data / "coco_permissive" / "valid").glob("*.jpg"))]


def test_a_photo_keeps_its_hash_and_another_has_another(photos: list[RgbImage]) -> None:
    hashes = [perceptual_hash(photo) for photo in photos]
    for photo, value in zip(photos, hashes, strict=True):
        height, width = photo.shape[:2]
        brighter = np.clip(photo.astype(float) * 1.1 + 8, 0, 255).astype(np.uint8)
        for changed in (jpeg(photo, 40), cv2.resize(photo, (width * 2 // 3, height * 2 // 3)), brighter):
            assert differing(value, perceptual_hash(changed)) <= 6
        assert differing(value, perceptual_hash(np.ascontiguousarray(photo[::-1]))) > 10
    assert min(differing(*pair) for pair in itertools.combinations(hashes, 2)) > 10


def test_the_hash_is_of_the_lowest_frequencies() -> None:
    # A ramp falling from left to right has positive odd coefficients in the first row, its mirror negative ones.
    ramp = np.repeat(np.linspace(255, 0, 320).astype(np.uint8)[None, :, None], 200, axis=0).repeat(3, axis=2)
    value, mirrored = perceptual_hash(ramp), perceptual_hash(np.ascontiguousarray(ramp[:, ::-1]))
    assert value is not None and mirrored is not None
    assert (value >> 62) & 1 == 1 and (mirrored >> 62) & 1 == 0
    assert value >> 63 == mirrored >> 63 == 1


def test_flat_pictures_have_no_hash() -> None:
    rng = np.random.default_rng(0)
    black = np.zeros((240, 320, 3), np.uint8)
    noisy = rng.integers(95, 106, (480, 640, 3), dtype=np.uint8)
    assert perceptual_hash(black) is None
    assert perceptual_hash(noisy) is None
    assert near_duplicates({"a": None, "b": None, "c": 5}, 64) == []


@pytest.mark.parametrize("distance", [0, 1, 4, 9, 20, 63, 64])
def test_exactly_the_pairs_of_brute_force(distance: int) -> None:
    rng = np.random.default_rng(distance)
    values = {int(value) for value in rng.integers(0, 2**64, 120, dtype=np.uint64)}
    for value in list(values):
        # Neighbours at every small distance, on both sides of the limit.
        bits = rng.permutation(64)[: int(rng.integers(1, 24))]
        values.add(value ^ sum(1 << int(bit) for bit in bits))
    order = rng.permutation(len(values))
    hashes = {f"{number:03d}": value for number, value in zip(order, sorted(values), strict=True)}
    expected = sorted(
        (one, other)
        for one, other in itertools.combinations(sorted(hashes), 2)
        if bin(hashes[one] ^ hashes[other]).count("1") <= distance
    )
    assert near_duplicates(hashes, distance) == expected
    assert distance == 0 or expected


def test_skewed_hashes_that_share_segments() -> None:
    # All agree in all but 12 bits: every segment but one or two is one bucket.
    values = range(0, 4096, 3)
    hashes = {f"{value:04d}": value << 20 for value in values}
    expected = [pair for pair in itertools.combinations(values, 2) if bin(pair[0] ^ pair[1]).count("1") <= 2]
    assert near_duplicates(hashes, 2) == [(f"{one:04d}", f"{other:04d}") for one, other in expected]


def test_equal_hashes_are_a_chain() -> None:
    hashes = {f"{number:05d}": 7 for number in range(5000)} | {"a": 6, "b": 6, "c": 1 << 40}
    pairs = near_duplicates(hashes, 1)
    assert len(pairs) == 4999 + 1 + 1
    assert ("00000", "a") in pairs and ("a", "b") in pairs and ("04998", "04999") in pairs
    assert set(groups(hashes, pairs, {}).values()) == {"00000", "c"}


def test_fifty_thousand_hashes() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 50_000, dtype=np.uint64)
    hashes = {f"{number:05d}": int(value) for number, value in enumerate(values)}
    hashes["planted"] = hashes["31415"] ^ 0b101 ^ (1 << 33) ^ (1 << 63)
    assert near_duplicates(hashes, 3) == []
    assert near_duplicates(hashes, 4) == [("31415", "planted")]


def test_bits_are_counted_alike_by_old_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([0, 1, 2**63, 2**64 - 1, 0b1011 << 30], np.uint64)
    assert _bit_count(values).tolist() == [0, 1, 1, 64, 3]
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert _bit_count(values).tolist() == [0, 1, 1, 64, 3]


@pytest.mark.parametrize("distance", [-1, 65])
def test_a_distance_there_is_not(distance: int) -> None:
    with pytest.raises(UsageError, match="0 to 64"):
        near_duplicates({"a": 1}, distance)


def test_groups_join_links_and_given_ones() -> None:
    names = ["e", "d", "c", "b", "a", "z"]
    links = [("e", "d"), ("c", "gone"), ("gone", "z")]
    found = groups(names, links, {"d": "video", "b": "video", "gone": "other", "c": "other"})
    assert found == {"a": "a", "b": "b", "c": "c", "d": "b", "e": "b", "z": "z"}
    assert groups(reversed(names), reversed(links), {"b": "video", "d": "video"}) == found


def test_a_long_chain_is_one_group() -> None:
    names = [f"{number:05d}" for number in range(20_000)]
    assert set(groups(names, itertools.pairwise(names[::-1]), {}).values()) == {"00000"}


def test_stretches_are_runs_in_reading_order() -> None:
    names = [f"IMG_{number}.jpg" for number in range(8, 19)]
    found = runs_of_neighbors(reversed(names), 7)
    runs = [[name for name in names if found[name] == first] for first in dict.fromkeys(found[name] for name in names)]
    assert runs == [names[:4], names[4:8], names[8:]]
    assert found["IMG_12.jpg"] == "IMG_12.jpg" and found["IMG_11.jpg"] == "IMG_8.jpg"
    assert len(set(runs_of_neighbors(["b", "7", "a/1", "a1", "", "٣"], 1).values())) == 6


def test_seams_stay_where_names_come_at_the_end_or_between() -> None:
    def cut_at(every: int, end: int, longest: int) -> set[int]:
        found = runs_of_neighbors([f"frame_{number:06d}.png" for number in range(0, end, every)], longest)
        return {int(first[6:12]) for first in found.values()}

    old = cut_at(30, 3000, 8)
    assert old == set(range(0, 3000, 240))
    assert cut_at(30, 6000, 8) >= old
    assert cut_at(30, 6000, 16) == set(range(0, 6000, 480)) and cut_at(15, 3000, 16) == old


@pytest.mark.parametrize("cameras", [1, 3, 12])
@pytest.mark.parametrize("changes", [3, 6, 12])
def test_of_too_many_pairs_those_remain_that_connect_the_same_hashes(
    monkeypatch: pytest.MonkeyPatch, cameras: int, changes: int
) -> None:
    """Frames of fixed cameras: near most others of the camera with 3 changed bits, some near none with 12."""
    draw = random.Random(5)
    views = [draw.getrandbits(64) for _ in range(cameras)]
    hashes = {
        f"{at:04d}": views[at % cameras] ^ sum({1 << draw.randrange(64) for _ in range(draw.randrange(changes + 1))})
        for at in range(1200)
    }
    every = near_duplicates(hashes, 4)
    monkeypatch.setattr(perceptual_hash_module, "_MOST_PAIRS", 300)
    few = near_duplicates(hashes, 4)
    distinct = len(set(hashes.values()))
    assert len(every) > 2 * distinct
    assert set(few) <= set(every)
    assert groups(hashes, few, {}) == groups(hashes, every, {})
    # A forest: a pair less than there are names in each group.
    assert len(few) == len(hashes) - len(set(groups(hashes, few, {}).values()))
