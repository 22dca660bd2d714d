from __future__ import annotations

from pathlib import Path

import pytest

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.core.types import Classes, ImageRecord, Instance
from autodistill_rfdetr_seg.labels import label_store as store
from autodistill_rfdetr_seg.labels.label_store import LabelStore
from autodistill_rfdetr_seg.labels.stored_labels import Provenance, StoredLabels
from helpers.shapes import disc

MADE = Provenance("threshold", {"opening": 3}, ("bright", "red"), {"python": "3"})


def row(name: str, score: float = 0.5, sha: str = "ab") -> StoredLabels:
    image = ImageRecord(name, name, 40, 60, sha)
    rle = masks.encode(disc(40, 60, 20, 20, 9) & ~disc(40, 60, 20, 20, 3))
    return StoredLabels(image, (Instance(1, rle, score, 0.25, 1),), ".png", 123, 456, 0.5, {"unknown_class": 2})


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [row("b.png", 1 / 3), row("a.png"), StoredLabels(ImageRecord("c", "c", 5, 5, "s"), (), None, 1, 2, 0.0)]
    with LabelStore(tmp_path) as made:
        for one in rows:
            made.append(one, MADE)
    again = LabelStore(tmp_path)
    found = list(again.read_all(again.keys(MADE.fingerprint)))
    assert found == sorted(rows, key=lambda r: r.image.path)


def test_shards_are_whole_files_and_few_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROWS_PER_SHARD", 4)
    with LabelStore(tmp_path) as made:
        for i in range(100):
            made.append(row(f"{i:03d}.png"), MADE)
    assert len(list(tmp_path.glob("part-*.parquet"))) == 25
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("part-")] == []
    again = LabelStore(tmp_path)
    names = [found.image.path for found in again.read_all(again.keys(MADE.fingerprint))]
    assert names == [f"{i:03d}.png" for i in range(100)]
    assert len(again._cache) <= 8


def test_newest_row_of_a_path_wins_and_bases_are_apart(tmp_path: Path) -> None:
    other = Provenance("threshold", {"opening": 5}, ("bright", "red"))
    with LabelStore(tmp_path) as made:
        made.append(row("a.png", 0.1), MADE)
        made.flush()
        made.append(row("a.png", 0.2), MADE)
        made.flush()
        made.append(row("a.png", 0.3), other)
    keys = LabelStore(tmp_path).keys(MADE.fingerprint)
    assert LabelStore(tmp_path).read(keys["a.png"]).instances[0].score == 0.2
    assert LabelStore(tmp_path).keys(Provenance("x", {}, ()).fingerprint) == {}


def test_versions_do_not_change_the_fingerprint() -> None:
    assert Provenance("t", {"a": 1}, ("x",), {"v": "1"}).fingerprint == Provenance("t", {"a": 1}, ("x",)).fingerprint
    assert Provenance("t", {"a": 2}, ("x",)).fingerprint != Provenance("t", {"a": 1}, ("x",)).fingerprint
    assert Provenance("t", {}, ("x", "y")).fingerprint != Provenance("t", {}, ("y", "x")).fingerprint


def test_a_block_that_ends_badly_still_flushes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), LabelStore(tmp_path) as made:
        made.append(row("a.png"), MADE)
        raise KeyboardInterrupt
    assert set(LabelStore(tmp_path).keys(MADE.fingerprint)) == {"a.png"}


def test_torn_shard_is_named(tmp_path: Path) -> None:
    with LabelStore(tmp_path) as made:
        made.append(row("a.png"), MADE)
    shard = next(tmp_path.glob("part-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DataError, match=shard.name):
        LabelStore(tmp_path).keys(MADE.fingerprint)


def test_damage_is_told_wherever_it_is(tmp_path: Path) -> None:
    with LabelStore(tmp_path) as made:
        made.append(row("a.png"), MADE)
    shard = next(tmp_path.glob("part-*.parquet"))
    sound = shard.read_bytes()
    (key,) = LabelStore(tmp_path).keys(MADE.fingerprint).values()
    for at in range(0, len(sound), len(sound) // 60):
        shard.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        with pytest.raises(DataError, match=shard.name):
            LabelStore(tmp_path).read(key)
        assert LabelStore(tmp_path).keys(MADE.fingerprint, heal=True) == {}
        assert shard.with_suffix(".torn").read_bytes() != sound


def test_what_comes_after_a_shard_put_aside_is_still_the_newest(tmp_path: Path) -> None:
    for score in (0.1, 0.2, 0.3):
        with LabelStore(tmp_path) as made:
            made.append(row("a.png", score), MADE)
    next(tmp_path.glob("part-000000-*")).write_bytes(b"torn")
    store = LabelStore(tmp_path)
    store.keys(MADE.fingerprint, heal=True)
    for score in (0.4, 0.5, 0.6):
        with store:
            store.append(row("a.png", score), MADE)
        newest = store.read(store.keys(MADE.fingerprint)["a.png"])
        assert [instance.score for instance in newest.instances] == [score]


def test_prompts_become_classes() -> None:
    classes = Classes.from_ontology({"dog": "dog", "puppy": "dog", "cat": "cat"})
    labels = row("a.png").with_classes(classes)
    assert (labels.instances[0].class_index, labels.instances[0].prompt_index) == (0, 1)
