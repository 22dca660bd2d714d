"""Folds of an audit: groups stay whole, folds are of one size, and a student has labels in both of its splits."""

from __future__ import annotations

from collections import Counter

import pytest

from autodistill_rfdetr_seg.core.config import SplitConfig
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.dataset.fold_assignment import assign_folds, assign_student_splits, fold_groups
from autodistill_rfdetr_seg.labels.stored_labels import Key


def key(path: str, sha256: str, phash: int | None = None) -> Key:
    return Key("0" * 16, path, 1, 1, sha256, phash, 10, 10, "part", 0)


def test_copies_look_alikes_and_frames_stay_in_one_fold() -> None:
    # Hashes of which each two differ in 32 bits or more, by Hadamard's construction.
    hashes = [sum(((at & bit).bit_count() & 1) << bit for bit in range(64)) for at in range(1, 31)]
    keys = {f"{at:02d}.png": key(f"{at:02d}.png", str(at), hashes[at]) for at in range(30)}
    keys["copy.png"] = key("copy.png", "3", None)
    keys["like.png"] = key("like.png", "like", hashes[5] ^ 0b11)
    video = {f"{at:02d}.png": "video" for at in range(20, 25)}
    for folds in (2, 3, 5):
        groups = fold_groups(keys, video, SplitConfig(), folds)
        fold_of = assign_folds(groups, folds, 0)
        assert fold_of["copy.png"] == fold_of["03.png"]
        assert fold_of["like.png"] == fold_of["05.png"]
        assert len({fold_of[path] for path in video}) == 1
        sizes = Counter(fold_of.values())
        assert sorted(sizes) == list(range(folds)) and max(sizes.values()) - min(sizes.values()) <= 5
        assert fold_of == assign_folds(groups, folds, 0)
    assert assign_folds(groups, 5, 0) != assign_folds(groups, 5, 1)


def test_too_few_scenes_are_refused() -> None:
    keys = {f"{at}.png": key(f"{at}.png", str(at)) for at in range(3)}
    with pytest.raises(DataError, match="3 images in 3 groups"):
        fold_groups(keys, {}, SplitConfig(), 2)


def test_a_student_has_labels_to_learn_from_and_to_choose_by() -> None:
    groups = {f"{at:02d}": f"{at // 2}" for at in range(40)}
    labeled = ["06", "30"]
    split_of = assign_student_splits(groups, labeled, 0)
    assert {split_of[path] for path in labeled} == {"train", "valid"}
    assert all(split_of[f"{at:02d}"] == split_of[f"{at + 1:02d}"] for at in range(0, 40, 2))
    assert 4 <= Counter(split_of.values())["valid"] <= 8
