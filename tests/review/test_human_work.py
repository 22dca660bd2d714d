"""What becomes of a person's work as files, names and classes change around it; through the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.coco.segmentation import to_polygons
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import SPLITS, Rle
from autodistill_rfdetr_seg.system.files import read_json
from helpers.commands import here
from helpers.lamps import BASE, arguments, scene
from helpers.run_rows import annotation, rows_of
from helpers.shapes import disc
from helpers.square_photos import label_args, photo

MINE = disc(64, 64, 30, 30, 9)
NAME = "9.png"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """`photos` and the run `run` of them."""
    for i in range(10):
        photo(tmp_path / "photos" / f"{i}.png", 4 + 2 * i)
    assert here(label_args(tmp_path / "photos", tmp_path / "run"))[0] == 0
    return tmp_path


def edited(run: Path, name: str, change: Callable[[list[dict[str, Any]], int], list[dict[str, Any]]]) -> Path:
    """The COCO file that holds the image `name`, its rows passed through `change`, as an editor saves it."""
    entry = read_json(run / "dataset" / "dataset.json")["images"][name]
    data = json.loads((run / "dataset" / entry["split"] / coco.ANNOTATIONS).read_text())
    (number,) = (image["id"] for image in data["images"] if image["file_name"] == entry["file_name"])
    rows = [row for row in data["annotations"] if row["image_id"] == number]
    others = [row for row in data["annotations"] if row["image_id"] != number]
    data["annotations"] = others + change(rows, number)
    path = run.parent / "edited.json"
    path.write_text(json.dumps(data))
    return path


def redraw(run: Path, name: str) -> None:
    """A person draws `MINE` in the image in place of what is there."""
    file = edited(run, name, lambda _, number: [annotation(MINE, 900, number)])
    code, out, err = here(["import", str(run), str(file), "-q"])
    assert (code, out.startswith("1 images now have")) == (0, True), (out, err)
    assert is_mine(run, name)


def is_mine(run: Path, name: str) -> bool:
    return [row["source"] for _, row in rows_of(run, name)] == ["human"] and np.array_equal(
        rows_of(run, name)[0][0], MINE
    )


def loud(args: list[str]) -> list[str]:
    return [one for one in args if one != "-q"]


def test_a_file_that_is_replaced_takes_leave_of_the_work_on_the_old_one(home: Path) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    old = (photos / NAME).read_bytes()
    photo(photos / NAME, 40)
    code, _, err = here(loud(label_args(photos, run, "--resume")))
    assert code == 0, err
    assert f"{NAME} has changed since a person worked on it" in err
    entry = read_json(run / "dataset" / "dataset.json")["images"][NAME]
    assert (run / "dataset" / entry["split"] / entry["file_name"]).read_bytes() == (photos / NAME).read_bytes() != old
    ((mask, row),) = rows_of(run, NAME)
    assert (row["source"], mask[45, 45], mask[30, 30]) == ("base", True, False)
    code, _, err = here(loud(label_args(photos, run, "--overwrite")))
    assert (code, f"{NAME} has changed since a person worked on it" in err) == (0, True), err
    assert [row["source"] for _, row in rows_of(run, NAME)] == ["base"]
    # Nothing is lost: with the old photo the work on it is back.
    (photos / NAME).write_bytes(old)
    code, _, err = here(loud(label_args(photos, run, "--resume")))
    assert (code, "a person" in err) == (0, False), err
    assert is_mine(run, NAME)


def test_work_on_the_new_file_does_not_end_that_on_the_old(home: Path) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    old = (photos / NAME).read_bytes()
    photo(photos / NAME, 40)
    assert here(label_args(photos, run, "--resume"))[0] == 0
    file = edited(run, NAME, lambda _, __: [])
    assert here(["import", str(run), str(file), "-q"])[0] == 0
    assert rows_of(run, NAME) == []
    (photos / NAME).write_bytes(old)
    assert here(label_args(photos, run, "--resume"))[0] == 0
    assert is_mine(run, NAME)


def test_a_file_that_is_moved_takes_the_work_along(home: Path) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    (photos / "day1").mkdir()
    (photos / NAME).rename(photos / "day1" / NAME)
    code, _, err = here(loud(label_args(photos, run, "--resume")))
    assert (code, "a person" in err) == (0, False), err
    assert is_mine(run, f"day1/{NAME}")
    # And what is done there next is found by its new name, and the work on the old one is out of the way.
    file = edited(run, f"day1/{NAME}", lambda _, __: [])
    assert here(["import", str(run), str(file), "-q"])[0] == 0
    assert rows_of(run, f"day1/{NAME}") == []


def test_names_that_shift_take_the_work_along(home: Path) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    (photos / NAME).rename(photos / "10.png")
    (photos / "8.png").rename(photos / NAME)
    code, _, err = here(loud(label_args(photos, run, "--resume")))
    assert (code, "a person" in err) == (0, False), err
    assert is_mine(run, "10.png")
    assert [row["source"] for _, row in rows_of(run, NAME)] == ["base"]


def test_a_copy_of_the_file_is_as_the_person_left_it_too(home: Path) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    (photos / "copy.png").write_bytes((photos / NAME).read_bytes())
    assert here(label_args(photos, run, "--resume"))[0] == 0
    assert is_mine(run, NAME)
    assert is_mine(run, "copy.png")


def test_the_dataset_of_moved_work_is_that_of_a_run_that_never_moved(home: Path) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    (photos / NAME).rename(photos / "x.png")
    assert here(label_args(photos, run, "--resume"))[0] == 0
    moved = {split: (run / "dataset" / split / coco.ANNOTATIONS).read_bytes() for split in SPLITS}
    assert here(label_args(photos, run, "--overwrite"))[0] == 0
    assert moved == {split: (run / "dataset" / split / coco.ANNOTATIONS).read_bytes() for split in SPLITS}


def test_work_on_a_file_that_is_gone_is_told(home: Path) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    (photos / NAME).unlink()
    code, _, err = here(loud(label_args(photos, run, "--resume")))
    assert (code, f"A person's work on {NAME} is not used" in err) == (0, True), err
    assert NAME not in read_json(run / "dataset" / "dataset.json")["images"]


def test_work_stands_in_for_a_base_that_fails(photos: Path) -> None:
    run, name = photos.parent / "run", "05.png"
    scene(photos / name, 5, (0, 0, 0))
    (photos.parent / "base.py").write_text(BASE.replace("raise ValueError", "str"))
    assert here(arguments(photos, run))[0] == 0
    square = np.zeros((48, 56), bool)
    square[20:30, 20:30] = True
    file = edited(run, name, lambda _, number: [annotation(square, 900, number)])
    assert here(["import", str(run), str(file), "-q"])[0] == 0
    (photos / name).rename(photos / "moved.png")
    (photos.parent / "base.py").write_text(BASE)
    code, out, _ = here(arguments(photos, run, "--overwrite"))
    assert (code, "failed  moved.png" in out) == (4, True)
    ((mask, _),) = rows_of(run, "moved.png")
    assert np.array_equal(mask, square)


@pytest.mark.parametrize("word", ["--resume", "--overwrite"])
def test_a_class_that_people_drew_is_not_dropped(home: Path, word: str) -> None:
    photos, run = home / "photos", home / "run"
    redraw(run, NAME)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    given = label_args(photos, run, word)
    given[given.index("--ontology") + 1] = '{"red": "nut"}'
    code, _, err = here(given)
    assert code == 1, err
    assert err.startswith(f"Error: The ontology has no class 'square', which a person drew in {NAME}")
    assert "KeyError" not in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    # A class more is none lost.
    given[given.index("--ontology") + 1] = '{"green": "nut", "red": "square"}'
    assert here(given)[0] == 0
    assert is_mine(run, NAME)


def test_an_image_of_the_wrong_size_is_told_before_anything_is_stored(home: Path) -> None:
    run = home / "run"
    folder = run / "dataset" / "train"
    data = json.loads((folder / coco.ANNOTATIONS).read_text())
    last = data["images"][-1]
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] != last["id"]][1:]
    last["width"] = 65
    (home / "edited.json").write_text(json.dumps(data))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, _, err = here(["import", str(run), str(home / "edited.json"), "-q"])
    assert (code, f"{last['file_name']} is 65x64 in the file" in err) == (1, True), err
    assert not list(run.glob("human/part-*"))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def carved(rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """A hole of 2 pixels in the first mask: 99.4 % of it are as they were."""
    (row,) = rows
    mask = masks.decode(Rle(*row["segmentation"]["size"], row["segmentation"]["counts"].encode()))
    ys, xs = np.nonzero(mask)
    mask[ys.mean().astype(int), xs.mean().astype(int) : xs.mean().astype(int) + 2] = False
    return [{**row, **annotation(mask, row["id"], number)}]


@pytest.mark.parametrize("more", [(), ("--all",)])
def test_a_small_correction_counts(home: Path, more: tuple[str, ...]) -> None:
    run = home / "run"
    (whole, _), *_ = rows_of(run, NAME)
    file = edited(run, NAME, carved)
    code, out, err = here(["import", str(run), str(file), "-q", *more])
    assert code == 0, err
    assert out.startswith("8 images" if more else "1 images"), out
    ((mask, row),) = rows_of(run, NAME)
    assert (int(whole.sum() - mask.sum()), row["source"]) == (2, "human")


@pytest.mark.parametrize(("more", "source"), [((), "base"), (("--all",), "human")])
def test_what_an_editor_rounds_is_no_work_but_where_all_of_it_counts(
    home: Path, more: tuple[str, ...], source: str
) -> None:
    def outlined(rows: list[dict[str, Any]], _: int) -> list[dict[str, Any]]:
        (row,) = rows
        x, y, w, h = row["bbox"]
        # One corner is a pixel off.
        return [{**row, "segmentation": [[x, y, x + w, y, x + w, y + h, x + 2, y + h, x, y + h - 2]]}]

    run = home / "run"
    (before, _), *_ = rows_of(run, NAME)
    file = edited(run, NAME, outlined)
    code, out, err = here(["import", str(run), str(file), "-q", *more])
    assert code == 0, err
    assert out.startswith("8 images" if more else "0 images"), out
    ((mask, row),) = rows_of(run, NAME)
    assert (np.array_equal(mask, before), row["source"]) == (not more, source)


def test_a_label_taken_twice_in_place_of_another_is_work(home: Path) -> None:
    run = home / "run"
    other = disc(64, 64, 50, 10, 4)
    first = edited(run, NAME, lambda rows, number: [*rows, annotation(other, 901, number)])
    assert here(["import", str(run), str(first), "-q"])[0] == 0
    assert len(rows_of(run, NAME)) == 2
    twice = edited(run, NAME, lambda rows, _: [rows[0], {**rows[0], "id": 902}])
    assert here(["import", str(run), str(twice), "-q"])[1].startswith("1 images now have")
    assert not any(np.array_equal(mask, other) for mask, _ in rows_of(run, NAME))


def test_marks_and_scores_stay_at_the_next_import(home: Path) -> None:
    run = home / "run"
    (_, base), *_ = rows_of(run, NAME)
    for x in (10, 50):
        more = annotation(disc(64, 64, x, 55, 3), 900 + x, 0)
        file = edited(run, NAME, lambda rows, number, more=more: [*rows, {**more, "image_id": number}])
        assert here(["import", str(run), str(file), "-q"])[1].startswith("1 images now have")
    told = [row for _, row in rows_of(run, NAME)]
    assert [(row["source"], row["score"]) for row in told] == [("base", base["score"]), ("human", 1.0), ("human", 1.0)]
    # What came back as it was is no more work.
    file = edited(run, NAME, lambda rows, _: rows)
    assert here(["import", str(run), str(file), "-q"])[1].startswith("0 images now have")


def test_holes_and_parts_that_polygons_give_back(home: Path) -> None:
    """A polygon has no holes, so that one less in polygons is nobody's work; a part less is."""
    run = home / "run"
    ring = disc(64, 64, 30, 30, 14) & ~disc(64, 64, 30, 30, 2)
    ring[2:4, 2:4] = True
    first = edited(run, NAME, lambda _, number: [annotation(ring, 901, number)])
    assert here(["import", str(run), str(first), "-q"])[1].startswith("1 images now have")
    parts, whole = to_polygons(masks.encode(ring))
    assert (len(parts), whole) == (2, False)
    same = edited(run, NAME, lambda rows, _: [{**rows[0], "segmentation": parts}])
    assert here(["import", str(run), str(same), "-q"])[1].startswith("0 images now have")
    assert np.array_equal(rows_of(run, NAME)[0][0], ring)
    less = edited(run, NAME, lambda rows, _: [{**rows[0], "segmentation": parts[:1]}])
    assert here(["import", str(run), str(less), "-q"])[1].startswith("1 images now have")
    assert not rows_of(run, NAME)[0][0][:8, :8].any()


def test_where_labels_of_a_person_s_image_came_from(home: Path) -> None:
    run = home / "run"
    mine = disc(64, 64, 55, 8, 4)
    file = edited(run, NAME, lambda rows, number: [*rows, annotation(mine, 901, number)])
    assert here(["import", str(run), str(file), "-q"])[0] == 0
    split = read_json(run / "dataset" / "dataset.json")["images"][NAME]["split"]
    (_, of_base), (_, of_person) = rows_of(run, NAME)

    code, out, err = here(["explain", str(run), f"{split}:{of_person['id']}", "--json"])
    assert code == 0, err
    told = json.loads(out)
    assert (told["source"], told["prompt"], told["class_name"], told["steps"]) == ("human", None, "square", [])
    assert (told["base"], told["raw_area"], told["area"]) == (None, None, int(mine.sum()))
    assert (told["by_person"], told["image"]["path"], told["image"]["sha256"]) == (
        True,
        NAME,
        read_json(run / "dataset" / "dataset.json")["images"][NAME]["sha256"],
    )
    code, out, _ = here(["explain", str(run), f"{split}:{of_person['id']}"])
    assert (code, "a person, imported" in out, "rules" in out) == (0, True, False)

    code, out, err = here(["explain", str(run), f"{split}:{of_base['id']}", "--json"])
    assert code == 0, err
    told = json.loads(out)
    assert (told["source"], told["prompt"], told["by_person"]) == ("base", "red", True)
    assert (told["base"]["name"], told["score"]) == ("threshold", pytest.approx(of_base["score"], abs=1e-6))
    assert [step["rule"] for step in told["steps"]][:2] == ["confidence", "stability"]
    code, out, _ = here(["explain", str(run), f"{split}:{of_base['id']}"])
    assert (code, "base, in an image that a person corrected" in out) == (0, True)

    # With other rules than those it was found by, the base's row no longer has it; the person's image still does.
    assert here(["build", str(run), "--min-area", "0.9", "-q"])[0] == 0
    code, out, err = here(["explain", str(run), f"{split}:{rows_of(run, NAME)[0][1]['id']}"])
    assert code == 0, err
    assert "base, in an image that a person corrected" in out


def test_review_asks_for_no_label_of_a_person_s_image(home: Path) -> None:
    run = home / "run"
    redraw(run, NAME)
    (home / "photos" / NAME).rename(home / "photos" / "x.png")
    assert here(label_args(home / "photos", run, "--resume"))[0] == 0
    code, out, err = here(["review", str(run), "--json"])
    assert code == 0, err
    images = {entry["image"] for entry in json.loads(out)["labels"]}
    assert images == {f"{i}.png" for i in range(9)}
