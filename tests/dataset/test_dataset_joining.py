"""Datasets of several runs as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.dataset.dataset_index import read_index, split_of_content
from autodistill_rfdetr_seg.dataset.dataset_joining import Part, join
from helpers.square_photos import label_args, photo


def run_of(folder: Path, sizes: range, *more: str) -> Path:
    for at in sizes:
        photo(folder / "photos" / f"{at}.png", 4 + 2 * at)
    assert main([*label_args(folder / "photos", folder / "run"), *more]) == 0
    return folder / "run"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Ten photos in three splits, and eight in train alone, of which the first three are among the ten."""
    new = run_of(tmp_path / "new", range(7, 15), "--split", "1,0,0", "--stability")
    return run_of(tmp_path / "old", range(10)), new


def scores(run: Path) -> dict[str, float]:
    rows = coco.read_rows(run / "dataset" / "train")
    return {name: min(row["score"] for row in told) for name, told in rows.items()}


def test_every_content_once_and_where_the_first_has_it(two: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = two
    joined = join([Part(old), Part(new)], tmp_path / "joined")
    assert (joined.repeated, joined.unsure) == (3, 0)
    before = read_index(old / "dataset")["counts"]
    assert joined.dataset.counts["train"]["images"] == before["train"]["images"] + 5
    assert {s: joined.dataset.counts[s] for s in ("valid", "test")} == {s: before[s] for s in ("valid", "test")}
    # Scoring asks this of a dataset: a photo of the old test split has not come into train by the new part.
    places = split_of_content(tmp_path / "joined")
    assert {content: places[content] for content in split_of_content(old / "dataset")} == split_of_content(
        old / "dataset"
    )
    row = coco.read_rows(tmp_path / "joined" / "train")["2__12.png"][0]
    (same,) = coco.read_rows(new / "dataset" / "train")["12.png"]
    assert {**row, "id": 0, "image_id": 0} == {**same, "id": 0, "image_id": 0} and "stability" in row
    assert not [p for p in coco.validate(tmp_path / "joined" / "train") if p.severity == "error"]
    again = join([Part(old), Part(new)], tmp_path / "joined")
    assert again.dataset.fingerprint == joined.dataset.fingerprint


def test_an_unsure_image_counts_only_where_a_person_has_worked_on_it(two: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = two
    least = sorted((score, name) for name, score in scores(new).items() if int(name.removesuffix(".png")) > 9)
    bound = (least[1][0] + least[2][0]) / 2
    joined = join([Part(old), Part(new, confidence=bound)], tmp_path / "joined")
    unsure = {f"2__{name}" for _, name in least[:2]}
    assert joined.unsure == 2 and not unsure & set(coco.read_rows(tmp_path / "joined" / "train"))
    # A bound on the first part is its own: nothing of it scores this.
    assert join([Part(old, confidence=1.1), Part(new)], tmp_path / "none").dataset.counts["train"]["images"] == 5
    data = json.loads((new / "dataset" / "train" / coco.ANNOTATIONS).read_text())
    (image,) = (one for one in data["images"] if one["file_name"] == least[0][1])
    data["annotations"] = [one for one in data["annotations"] if one["image_id"] != image["id"]]
    (tmp_path / "edited.json").write_text(json.dumps(data))
    assert main(["import", str(new), str(tmp_path / "edited.json"), "-q"]) == 0
    joined = join([Part(old), Part(new, confidence=bound)], tmp_path / "joined")
    assert joined.unsure == 1
    assert coco.read_rows(tmp_path / "joined" / "train")[f"2__{least[0][1]}"] == []
    unstable = join([Part(old), Part(new, stability=1.01)], tmp_path / "unstable")
    assert unstable.unsure == 4


def test_other_classes_are_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    photo(tmp_path / "other" / "a.png")
    args = ["label", str(tmp_path / "other"), "--base", "threshold", "--class", "red=disc", "--split", "1,0,0", "-q"]
    assert main([*args, "--output", str(tmp_path / "run")]) == 0
    with pytest.raises(DataError, match="has the classes"):
        join([Part(two[0]), Part(tmp_path / "run")], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
