"""What else lies in the folders that people have: other JSON files, masks, archives' rests; and files that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core.errors import DataError, MissingInputError
from autodistill_rfdetr_seg.readers import read_gold, read_source, repair
from autodistill_rfdetr_seg.readers.image_sources import find_images
from autodistill_rfdetr_seg.targets.training.training_data import find_dataset
from helpers import foreign_dataset as foreign
from helpers.coco_files import ANNOTATIONS, edit, objects


def renamed(root: Path, name: str) -> Path:
    """The scene's dataset with its COCO files called `name`."""
    foreign.write(root)
    for split in foreign.SCENE:
        (root / split / ANNOTATIONS).rename(root / split / name)
    return root


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("annotations.json", {"predictions.json": [{"image_id": 1, "score": 0.5}], "package.json": {"name": "x"}}),
        ("annotations.json", {"results.json": {"images": 3, "info": "a run"}}),
        ("instances.json", {"categories.json": {"categories": []}, "info.json": {"info": {}}}),
        ("a.json", {"b.json": {"annotations": [], "categories": []}, "c.json": {}}),
    ],
)
def test_other_json_files_beside_the_annotations_are_no_annotations(
    name: str, others: dict[str, object], tmp_path: Path
) -> None:
    root = renamed(tmp_path / "dataset", name)
    for file, document in others.items():
        (root / "train" / file).write_text(json.dumps(document))
    # Whatever stands first in the file.
    edit(root / "train" / name, lambda data: None)
    text = (root / "train" / name).read_text()
    (root / "train" / name).write_text('{"licenses": "' + "x" * 5000 + '", ' + text[1:])
    found = read_source(root)
    assert found.problems == () and objects(found.splits["train"]) == foreign.known("train")
    (root / "train" / "copy.json").write_text(text)
    with pytest.raises(DataError, match=r"several COCO files: .*copy\.json"):
        read_source(root)


def test_captions_key_points_and_panoptic_files_of_a_split_give_way_to_its_masks(tmp_path: Path) -> None:
    for split, year in (("train", "train2017"), ("valid", "val2017")):
        document = foreign.document(split)
        folder = tmp_path / "annotations"
        folder.mkdir(exist_ok=True)
        for kind in ("instances", "stuff", "person_keypoints"):
            (folder / f"{kind}_{year}.json").write_text(json.dumps(document))
        rows = [{"id": 1, "image_id": 1, "caption": "a lamp"}]
        (folder / f"captions_{year}.json").write_text(json.dumps({"images": document["images"], "annotations": rows}))
        panoptic = {**document, "annotations": [{"image_id": 1, "segments_info": []}]}
        (folder / f"panoptic_{year}.json").write_text(json.dumps(panoptic))
        for at, things in enumerate(foreign.SCENE[split]):
            (tmp_path / year).mkdir(exist_ok=True)
            foreign.draw(things).save(tmp_path / year / f"im{at:02}.png")
    found = read_source(tmp_path)
    assert {split: file.name for split, file in found.files.items()} == {
        "train": "instances_train2017.json",
        "valid": "instances_val2017.json",
    }
    for split in foreign.SCENE:
        assert objects(found.splits[split]) == foreign.known(split)


def test_what_archives_leave_beside_a_dataset_is_passed_over(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "unpacked" / "dataset")
    (tmp_path / "unpacked" / "__MACOSX" / "train").mkdir(parents=True)
    for folder in (tmp_path / "unpacked" / "__MACOSX" / "train", root / "train"):
        for name in (f"._{ANNOTATIONS}", "._im00.png", "._other.json"):
            (folder / name).write_bytes(b"\0\5\26\7")
    found = find_dataset(tmp_path / "unpacked")
    assert found.source.problems == () and objects(found.splits["train"]) == foreign.known("train")
    # Two folders are no wrapping: which is meant is not guessed.
    foreign.write(tmp_path / "unpacked" / "another")
    with pytest.raises(MissingInputError, match="which contains __MACOSX/, another/, dataset/"):
        read_source(tmp_path / "unpacked")


def test_a_mask_that_has_an_images_name_is_not_taken_for_it(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    (root / "train" / "masks").mkdir()
    (root / "train" / "im00.png").rename(root / "train" / "masks" / "im00.png")
    (problem,) = (one for one in read_source(root).problems if one.severity == "error")
    assert problem.kind.name == "image file is missing" and problem.image_id == 1
    # An image in another format is named, and not taken either: its pixels may be others.
    edit(root / "train" / ANNOTATIONS, lambda data: data["images"][1].update(file_name="im01.jpg"))
    problems = [one.message for one in read_source(root).problems if one.severity == "error"]
    assert "im01.png exists" in problems[1]


def test_the_folder_of_a_split_comes_before_one_that_has_the_same_names(tmp_path: Path) -> None:
    """`images/im00.png` is an image of train, `images/val/im00.png` one of valid."""
    for split, name, folder in (("train", "train", "images"), ("valid", "val", "images/val")):
        (tmp_path / folder).mkdir(parents=True)
        for at, things in enumerate(foreign.SCENE[split]):
            foreign.draw(things).save(tmp_path / folder / f"im{at:02}.png")
        (tmp_path / f"{name}.json").write_text(json.dumps(foreign.document(split)))
    (image,) = read_source(tmp_path).splits["valid"].images
    assert image.path == tmp_path / "images" / "val" / "im00.png"


@pytest.mark.parametrize("prefix", ["", "/data/", "C:\\data\\", "../", "https://example.com/"])
def test_images_that_are_not_there_are_told_apart_by_their_whole_names(prefix: str, tmp_path: Path) -> None:
    """Scores need no images: a name is one of another place then, and two folders may hold the same names."""
    document = foreign.document("train")
    for row in document["images"]:
        row["file_name"] = f"{prefix}cam{row['id']}/frame.png" + ("?a=b/c" if "https" in prefix else "")
    (tmp_path / "gold.json").write_text(json.dumps(document))
    truth = read_gold(tmp_path / "gold.json", images="ignored")
    assert len({image.path for image in truth.images}) == 3
    for number, image in enumerate(truth.images, start=1):
        assert image.path.name == "frame.png" and image.path.parent.name == f"cam{number}"
        assert image.path.is_relative_to(tmp_path) and ".." not in image.path.parts


@pytest.mark.parametrize("place", ["annotations/instances_default.json", "annotations/default/instances.json"])
def test_a_file_of_the_working_folder_has_its_images_beside_that_folder(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "set" / place
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(foreign.document("train")))
    (tmp_path / "set" / "images" / "default").mkdir(parents=True)
    for at, things in enumerate(foreign.SCENE["train"]):
        foreign.draw(things).save(tmp_path / "set" / "images" / "default" / f"im{at:02}.png")
    for folder in (file.parent, tmp_path, tmp_path / "set"):
        monkeypatch.chdir(folder)
        found = read_source(file.relative_to(folder))
        assert found.problems == () and objects(found.splits[""]) == foreign.known("train")
        names = [name for _, name in find_images(file.relative_to(folder), tmp_path / "frames").items]
        assert names == [f"images/default/im{at:02}.png" for at in range(3)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_folder_of_an_images_name_is_not_waited_for(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    for name in ("im00.png", "im01.png"):
        (root / "train" / name).unlink()
    os.mkfifo(root / "train" / "im00.png")
    (root / "train" / "im01.png").mkdir()
    problems = [one for one in read_source(root).problems if one.severity == "error"]
    assert [(one.kind.name, one.image_id) for one in problems] == [
        ("image file cannot be opened", 1),
        ("image file cannot be opened", 2),
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b", "c"),
        ("a/b.png", "a__b.png", "A__B.png"),
        ("x.png", "x.bmp", "X.png"),
        ("a\nb.png", " lead.png", "trail .png"),
        ("a b%20c.png", "ü😀.png", "x?y=1&z.png"),
        ("l" * 240 + ".png", "l" * 239 + "m.png", ".hidden.png"),
        ("a.tif", "b.gif", "c.webp"),
    ],
)
def test_each_image_keeps_its_own_masks_whatever_its_name(names: tuple[str, ...], tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    for at, name in enumerate(names):
        (root / "train" / f"im{at:02}.png").unlink()
        (root / "train" / name).parent.mkdir(exist_ok=True)
        image = foreign.draw(foreign.SCENE["train"][at])
        options = {"lossless": True} if name.endswith("webp") else {}
        image.save(root / "train" / name, format=None if "." in name else "PNG", **options)
        edit(root / "train" / ANNOTATIONS, lambda data, at=at, name=name: data["images"][at].update(file_name=name))
    data = find_dataset(root)
    assert data.source.problems == ()
    data.prepare(tmp_path / "work", progress=False)
    prepared = coco.read(data.folder(tmp_path / "work") / "train").images
    assert [len(image.instances) for image in prepared] == [3, 1, 0]
    for image, things in zip(prepared, foreign.SCENE["train"], strict=True):
        with Image.open(image.path) as opened:
            assert np.array_equal(np.asarray(opened.convert("RGB")), np.asarray(foreign.draw(things)))


def test_one_image_in_two_splits_is_told(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    (root / "images").mkdir(parents=True)
    for at, things in enumerate(foreign.SCENE["train"]):
        foreign.draw(things).save(root / "images" / f"im{at:02}.png")
    document = foreign.document("train")
    (root / "train.json").write_text(json.dumps(document))
    document["images"] = document["images"][:1]
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] == 1]
    (root / "val.json").write_text(json.dumps(document))
    (problem,) = read_source(root).problems
    assert problem.kind.name == "image is in two splits" and problem.file.name == "val.json" and problem.image_id == 1


def test_an_annotation_that_is_there_twice_is_kept_and_told(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    edit(root / "train" / ANNOTATIONS, lambda data: data["annotations"].append(dict(data["annotations"][0], id=70)))
    found = read_source(root)
    (problem,) = found.problems
    assert problem.kind.name == "annotation is there twice" and problem.annotation_id == 70
    assert len(found.splits["train"].images[0].instances) == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"<!DOCTYPE html><title>404</title>", "HTML"),
        ('{"categories": [{"name": "\xe9"}]}'.encode("latin-1"), "byte 0xE9, which is not UTF-8"),
        (b'{"images": [], "annotations": [1], "annotations": [], "categories": []}', "the key `annotations` twice"),
        (b'{"images": [{"id": 3, "width": 5, "width": 6}]}', r"an object \(id 3\) has the key `width` twice"),
    ],
)
def test_what_is_no_json_or_says_two_things_is_refused_in_words(content: bytes, said: str, tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    (root / "train" / ANNOTATIONS).write_bytes(content)
    with pytest.raises(DataError, match=said):
        repair(root / "train", tmp_path / "clean", progress=False)


def test_a_key_twice_does_no_harm_where_nothing_depends_on_it(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    file = root / "train" / ANNOTATIONS
    file.write_text(file.read_text().replace('"iscrowd": 0', '"iscrowd": 0, "iscrowd": 0, "who": 1, "who": 2'))
    assert read_source(root).problems == ()


def test_repair_loses_no_mask_that_has_no_category(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset", foreign.without("category_id"))
    done = repair(root, tmp_path / "clean", progress=False)
    assert done.left_out == 0 and done.counts["train"]["instances"] == 4
    truth = read_source(tmp_path / "clean").splits["train"]
    assert {name for rows in objects(truth).values() for name, _ in rows} == {"no category"}
