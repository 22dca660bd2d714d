"""Human work is sacred: once imported it wins over the base, whatever is run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.review.import_corrections import import_labels
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.shapes import disc
from helpers.square_photos import label_args, photo


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    for i in range(10):
        photo(tmp_path / "photos" / f"{i}.png", 4 + 2 * i)
    assert main(label_args(tmp_path / "photos", tmp_path / "run")) == 0
    return RunFolder(tmp_path / "run")


def edited(run: RunFolder, change: Any) -> tuple[Path, str]:
    """The train split's file with `change` made to its rows, where people put it, and the first image's name."""
    data = json.loads((run.dataset / "train" / coco.ANNOTATIONS).read_text())
    change(data)
    path = run.root.parent / "edited.json"
    path.write_text(json.dumps(data))
    return path, data["images"][0]["file_name"]


def instances(run: RunFolder, name: str) -> list[Any]:
    image = next(i for i in coco.read(run.dataset / "train").images if i.image_id == name)
    return [masks.decode(i.rle) for i in image.instances]


MINE = disc(64, 64, 30, 30, 9)


def draw(data: dict[str, Any]) -> None:
    """A person replaces the first image's mask by a disc of their own, and adds a second, smaller one."""
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] != 1]
    for number, mask in enumerate((MINE, disc(64, 64, 50, 10, 4))):
        rle = masks.encode(mask)
        data["annotations"].append(
            {
                "id": 900 + number,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": list(masks.bbox_xywh(rle)),
                "area": masks.area(rle),
                "segmentation": {"size": [64, 64], "counts": rle.counts.decode()},
            }
        )


def test_changed_images_are_taken_and_the_others_stay_the_bases(run: RunFolder) -> None:
    path, name = edited(run, draw)
    assert main(["import", str(run.root), str(path), "-q"]) == 0
    assert len(instances(run, name)) == 2
    assert np.array_equal(instances(run, name)[0], MINE)
    data = json.loads((run.dataset / "train" / coco.ANNOTATIONS).read_text())
    by_source = [a["source"] for a in data["annotations"]]
    assert (by_source.count("human"), by_source.count("base")) == (2, 7)


def test_no_rule_no_label_and_no_overwrite_touches_it(run: RunFolder) -> None:
    path, name = edited(run, draw)
    assert main(["import", str(run.root), str(path), "-q"]) == 0
    photos = run.root.parent / "photos"
    for args in (
        ["build", str(run.root), "--min-area", "0.9", "-q"],
        label_args(photos, run.root, "--resume"),
        label_args(photos, run.root, "--overwrite", "--base-arg", "opening=5"),
    ):
        assert main(args) == 0
        assert len(instances(run, name)) == 2
        assert np.array_equal(instances(run, name)[0], MINE)


def test_deleting_everything_is_work_too(run: RunFolder) -> None:
    def wipe(data: dict[str, Any]) -> None:
        data["annotations"] = [a for a in data["annotations"] if a["image_id"] != 1]

    path, name = edited(run, wipe)
    summary = import_labels(run, path)
    assert (summary.imported, summary.unchanged, summary.unknown) == (1, 7, ())
    assert main(["build", str(run.root), "-q"]) == 0
    assert instances(run, name) == []


def test_nothing_changed_nothing_imported_unless_all_were_checked(run: RunFolder) -> None:
    assert import_labels(run, run.dataset / "train").imported == 0
    assert not list(run.human.glob("part-*"))
    assert import_labels(run, run.dataset / "train", everything=True).imported == 8


def test_rounded_polygons_are_not_a_change(run: RunFolder) -> None:
    def outline(data: dict[str, Any]) -> None:
        for row in data["annotations"]:
            x, y, w, h = row["bbox"]
            row["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]

    path, _ = edited(run, outline)
    assert import_labels(run, path).imported == 0


def test_refusals(run: RunFolder) -> None:
    path, _ = edited(run, lambda data: data["categories"][0].update(name="circle"))
    with pytest.raises(DataError, match=r"'circle'.*square"):
        import_labels(run, path)
    path, _ = edited(run, lambda data: [image.update(file_name=f"x{image['id']}.png") for image in data["images"]])
    with pytest.raises(DataError, match="matches an image of the run"):
        import_labels(run, path)
    path, _ = edited(run, lambda data: [image.update(file_name="gone.png") for image in data["images"][:1]])
    assert import_labels(run, path).unknown == ("gone.png",)
