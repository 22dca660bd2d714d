"""Exports whose images were renamed find the run's images; an image that matches none is reported with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.review.import_corrections import ImportSummary, import_labels
from autodistill_rfdetr_seg.review.match_images import original_names
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.run_rows import annotation, rows_of
from helpers.shapes import disc
from helpers.square_photos import label_args, photo

HASH = "0f3a9c1d2e4b5a69788796a5b4c3d2e1"
MINE = disc(64, 64, 30, 30, 9)
NAMES = ("x/a.png", "y/a.png", "y/b.png", "c d.png", "e.png", "f.png")


def picture(at: int) -> np.ndarray:
    """Large soft shapes, so that a hash tells one from another and from its mirror image."""
    rng = np.random.default_rng(at)
    small = Image.fromarray(rng.integers(0, 140, (5, 5, 3), dtype=np.uint8))
    pixels = np.array(small.resize((64, 64), Image.Resampling.BICUBIC))
    pixels[10 + at : 26 + at, 20:40] = (230, 20, 20)
    return pixels


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    for at, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(at)).save(path)
    assert main(label_args(tmp_path / "photos", tmp_path / "run", "--near-duplicates", "0")) == 0
    return RunFolder(tmp_path / "run")


def export(run: RunFolder, names: dict[str, str], size: tuple[int, int] = (64, 64)) -> Path:
    """A COCO file alone with `MINE` in each image; name → original name, "" for none."""
    folder = run.root.parent / "export"
    folder.mkdir(exist_ok=True)
    rows = [
        {"id": at, "file_name": name, "height": size[1], "width": size[0], **({"extra": {"name": was}} if was else {})}
        for at, (name, was) in enumerate(names.items())
    ]
    masks = disc(size[1], size[0], 30, 30, 9)
    data = {
        "images": rows,
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [annotation(masks, 100 + row["id"], row["id"]) for row in rows],
    }
    (folder / coco.ANNOTATIONS).write_text(json.dumps(data))
    return folder


def beside(folder: Path, name: str, pixels: np.ndarray) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def imported(run: RunFolder, **names: str) -> ImportSummary:
    return import_labels(run, export(run, names))


def reasons(summary: ImportSummary) -> dict[str, str]:
    return {one.name: one.reason for one in summary.unmatched}


def mine(run: RunFolder) -> set[str]:
    """The images that are as `export` has them, in the dataset built again."""
    assert main(["build", str(run.root), "-q"]) == 0
    return {
        name
        for name in NAMES
        if [(row["source"], np.array_equal(mask, MINE)) for mask, row in rows_of(run.root, name)] == [("human", True)]
    }


ROBOFLOW = {f"e_png.rf.{HASH}.jpg": "e.png", f"y__b_png.rf.{HASH}.jpg": "y__b.png"}


@pytest.mark.parametrize(
    "names",
    [
        ROBOFLOW,
        dict.fromkeys(ROBOFLOW, ""),
        {f"train/{name}": "" for name in ROBOFLOW},
        # The name it had says more than what is left in the file's.
        {f"1_jpg.rf.{HASH}.jpg": "e.png", f"2_jpg.rf.{HASH}.jpg": "y/b.png"},
        {"1a2b3c4d-e.png": "", "1a2b3c4e-b.png": ""},
        {"images/1a2b3c4d-e.png": "", "images/1a2b3c4e-y__b.png": ""},
        {"data/upload/7/1a2b3c4d-e.png": "", "data/upload/7/1a2b3c4e-b.png": ""},
        {"images/default/e.png": "", "images/default/y/b.png": ""},
        {"E.PNG": "", "Y/B.PNG": ""},
    ],
)
def test_renamed_files_are_found_from_the_json_alone(run: RunFolder, names: dict[str, str]) -> None:
    summary = import_labels(run, export(run, names))
    assert (summary.imported, summary.unmatched) == (2, ())
    assert mine(run) == {"e.png", "y/b.png"}


def test_signs_that_an_upload_replaces(run: RunFolder) -> None:
    assert imported(run, **{"1a2b3c4d-c_d.png": ""}).renamed == {"1a2b3c4d-c_d.png": "c d.png"}
    assert mine(run) == {"c d.png"}


def test_several_matches_or_none_are_reported(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"1a2b3c4d-a.png": "", "gone.png": "", "images/e.png": "", "z/b.png": ""}
    folder = export(run, names)
    capsys.readouterr()
    assert main(["import", str(run.root), str(folder), "-q"]) == 4
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1 images now have the labels of a person, 0 are unchanged"
    assert "not of this run  1a2b3c4d-a.png: 2 images of the run have the name a.png: x/a.png, y/a.png" in said
    assert "not of this run  gone.png: no image of the run has this name or content" in said
    assert "not of this run  z/b.png: no image of the run has this name or content" in said
    assert sum(line.startswith("what to do ") for line in said) == 1
    assert main(["import", str(run.root), str(folder), "-q", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert told["unknown"] == [one["name"] for one in told["unplaced"]] == ["1a2b3c4d-a.png", "gone.png", "z/b.png"]
    assert mine(run) == {"e.png"}


def test_the_first_reason_is_reported_when_nothing_matches(run: RunFolder) -> None:
    with pytest.raises(
        DataError, match=r"matches an image of the run .*\. The first, 1a2b3c4d-a\.png: 2 images .* x/a\.png"
    ):
        imported(run, **{"1a2b3c4d-a.png": ""})
    assert not list(run.human.glob("part-*"))


def test_content_goes_before_any_name(run: RunFolder) -> None:
    """A tool that numbers images, and by chance gives one the name of another."""
    folder = export(run, {"0001.png": "", "e.png": "", f"e_png.rf.{HASH}.png": ""})
    photos = run.root.parent / "photos"
    for name, source in (("0001.png", "y/a.png"), ("e.png", "f.png"), (f"e_png.rf.{HASH}.png", "c d.png")):
        shutil.copyfile(photos / source, folder / name)
    assert import_labels(run, folder).unmatched == ()
    assert mine(run) == {"y/a.png", "f.png", "c d.png"}


def test_a_copy_in_the_dataset_is_found_by_content(tmp_path: Path) -> None:
    """A photo with an orientation mark is converted for the dataset: other bytes than the user's."""
    for at in range(4):
        path = photo(tmp_path / "photos" / f"{at}.png", 4 + 6 * at)
        with Image.open(path) as image:
            image.convert("RGBA").save(path)
    assert main(label_args(tmp_path / "photos", tmp_path / "run", "--split", "0.5,0.5,0")) == 0
    run = RunFolder(tmp_path / "run")
    index = json.loads((run.dataset / "dataset.json").read_text())["images"]
    folder = export(run, {"img-a.png": "", "img-b.png": ""})
    for name, source in (("img-a.png", "3.png"), ("img-b.png", "0.png")):
        shutil.copyfile(run.dataset / index[source]["split"] / index[source]["file_name"], folder / name)
    assert import_labels(run, folder).imported == 2
    assert main(["build", str(run.root), "-q"]) == 0
    for name in ("3.png", "0.png"):
        assert [row["source"] for _, row in rows_of(run.root, name)] == ["human"]


@pytest.mark.parametrize(
    ("change", "matched"),
    [
        (lambda pixels: pixels, True),
        (lambda pixels: (pixels * 0.7).astype(np.uint8), True),
        (lambda pixels: pixels[:, ::-1], False),
        (lambda pixels: pixels[::-1], False),
        (lambda pixels: picture(40), False),
    ],
)
@pytest.mark.parametrize("name", [f"e_png.rf.{HASH}.jpg", "e.png"])
def test_an_image_file_must_look_like_its_match(
    run: RunFolder, name: str, change: Callable[[np.ndarray], np.ndarray], matched: bool
) -> None:
    """Roboflow's augmented copies keep the name; their masks lie elsewhere."""
    folder = export(run, {name: "e.png", "f.png": ""})
    beside(folder, name, np.ascontiguousarray(change(picture(4))))
    summary = import_labels(run, folder)
    assert (summary.unmatched == ()) is matched
    if not matched:
        assert "it shows another picture than e.png" in reasons(summary)[name]
        assert "augmented" in summary.unmatched[0].hint
    assert mine(run) == ({"e.png", "f.png"} if matched else {"f.png"})


def test_another_size_is_reported(run: RunFolder) -> None:
    with pytest.raises(DataError, match=r"1a2b3c4d-e\.png: it is 80x70 in the file, but e\.png in the run is 64x64"):
        import_labels(run, export(run, {"1a2b3c4d-e.png": ""}, (80, 70)))
    # An image that has the run's very name and another size ends it all, as ever.
    with pytest.raises(DataError, match=r"e\.png is 80x70 in the file .*64x64"):
        import_labels(run, export(run, {"e.png": ""}, (80, 70)))


def test_an_image_of_the_run_is_matched_once(run: RunFolder) -> None:
    other = "1111111111111111"
    names = {f"e_png.rf.{HASH}.jpg": "", f"e_png.rf.{other}.jpg": "", "f.png": "", f"f_png.rf.{HASH}.jpg": ""}
    told = reasons(import_labels(run, export(run, names)))
    assert told == {
        f"e_png.rf.{HASH}.jpg": f"e_png.rf.{other}.jpg in the file matches the same image of the run, e.png",
        f"e_png.rf.{other}.jpg": f"e_png.rf.{HASH}.jpg in the file matches the same image of the run, e.png",
        f"f_png.rf.{HASH}.jpg": "f.png in the file is a better match for the image of the run with its name, f.png",
    }
    assert mine(run) == {"f.png"}


def test_the_users_path_goes_before_another_images_name_in_the_dataset(tmp_path: Path) -> None:
    for at, name in enumerate(("a.png", "sub/a.png", "b.png", "c.png")):
        photo(tmp_path / "photos" / name, 4 + 6 * at)
    assert main(label_args(tmp_path / "photos", tmp_path / "run", "--split", "0.5,0.5,0")) == 0
    run = RunFolder(tmp_path / "run")
    assert import_labels(run, export(run, {"sub/a.png": ""})).imported == 1
    assert main(["build", str(run.root), "-q"]) == 0
    assert [row["source"] for _, row in rows_of(run.root, "sub/a.png")] == ["human"]
    assert [row["source"] for _, row in rows_of(run.root, "a.png")] == ["base"]


@pytest.mark.parametrize("uncompressed", [True, False])
def test_brush_masks_that_cvat_calls_crowds_stay_masks(run: RunFolder, uncompressed: bool) -> None:
    folder = export(run, {"e.png": "", "images/default/f.png": ""})
    data = json.loads((folder / coco.ANNOTATIONS).read_text())
    for row in data["annotations"]:
        row["iscrowd"] = 1
        if uncompressed:
            flat = MINE.ravel(order="F")
            edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
            row["segmentation"]["counts"] = np.diff([0, *edges, flat.size]).tolist()
    (folder / coco.ANNOTATIONS).write_text(json.dumps(data))
    assert import_labels(run, folder).imported == 2
    assert mine(run) == {"e.png", "f.png"}
    for name in ("e.png", "f.png"):
        assert [row["iscrowd"] for _, row in rows_of(run.root, name)] == [0]


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"images": None}, {"images": [1, {"extra": 3, "file_name": "a"}, {"extra": {"name": 3}}]}],
)
def test_original_names_of_odd_files(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    assert original_names(path) == {}
